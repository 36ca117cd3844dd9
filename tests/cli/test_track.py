"""`echoscape track` and `echoscape channel`: from a file of observations to a file of channels."""

import json

import equinox as eqx
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from echoscape.channel_map import save_maps
from echoscape.cli import main
from echoscape.cli.track import read_points
from echoscape.reports import write_observations
from echoscape.tracking.echo_surface import unit_vectors
from echoscape.tracking.track_table import TRACKS, USER
from tests.tracking.test_joint_start import heard
from tests.worlds.point_maps import SCATTERER, scatterer_map
from tests.worlds.walls import STATION, image_path, observe, sequences


def words(values):
    return ",".join(str(value) for value in values)


def run(capsys, *arguments):
    code = main([str(word) for word in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    observations, user, velocity, _ = observe(np.random.default_rng(4), instants=80)
    write_observations(observations, folder / "seen.parquet")
    code = main(
        [
            "track", str(folder / "seen.parquet"), "--station", words(STATION), "--start",
            words(user[0]), "--start-velocity", words(velocity), "--out", str(folder / "out"),
            "--json",
        ]
    )  # fmt: skip
    assert code == 0
    return folder, user


@pytest.mark.slow
def test_tracks_and_user_have_the_columns_of_the_manual(walked):
    folder, user = walked
    tracks = parquet.read_table(folder / "out/tracks.parquet")
    found = parquet.read_table(folder / "out/user.parquet")
    assert tracks.column_names == list(TRACKS.names)
    assert found.column_names == list(USER.names)
    assert found.schema.metadata[b"echoscape"] == b"user 1"
    wrong = np.c_[found["x"], found["y"]] - user[:, :2]
    assert np.sqrt(np.mean(np.sum(wrong**2, axis=1))) < 0.5
    seen = parquet.read_table(folder / "seen.parquet")
    rows = tracks["observation"].drop_null().to_numpy()
    times = tracks.filter(pa.compute.is_valid(tracks["observation"]))["time"].to_numpy()
    assert (seen["time"].to_numpy()[rows] == times).all()
    assert len(np.unique(rows)) == len(rows)
    assert (folder / "out/tracks.png").stat().st_size > 20_000
    assert (folder / "out/tracks.pdf").exists()


@pytest.mark.slow
def test_a_channel_is_made_of_the_tracks(walked, capsys):
    folder, _ = walked
    code, out, err = run(
        capsys, "channel", folder / "out", "--out", folder / "channel.npz", "--carrier", "28e9",
        "--times", "4,6", "--rate", "200", "--transmit", "2x2", "--receive", "1x2", "--json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    with np.load(folder / "channel.npz") as file:
        assert file["a"].shape == (1, 2, 1, 4, told["paths"], 401)
        assert file["tau"].shape == (1, 1, told["paths"])
        power = np.sum(np.abs(file["a"]) ** 2, axis=4).mean()
        # every observation of this world has power 1e-9, of about eleven at a time
        assert 5e-9 < power < 15e-9
    again = run(
        capsys, "channel", folder / "out", "--out", folder / "again.npz", "--carrier", "28e9",
        "--times", "4,90",
    )  # fmt: skip
    assert again[0] == 2
    assert "--times must lie within the track, from 0 to 15.8 s" in again[2]


@pytest.mark.slow
def test_a_channel_has_the_stated_rician_factor_and_phases_of_its_own(walked, capsys):
    folder, _ = walked

    def make(*options):
        code, out, err = run(
            capsys, "channel", folder / "out", "--out", folder / "options.npz", "--carrier",
            "28e9", "--times", "0.4,2", "--rate", "50", "--json", *options,
        )  # fmt: skip
        assert code == 0, err
        with np.load(folder / "options.npz") as file:
            return json.loads(out), file["a"][0, 0, 0, 0]

    stated, plain = make()
    assert abs(stated["Rician factor in sight, median [dB]"] - 7.0) > 2.0
    set_to, shared = make("--rician", "7")
    assert set_to["Rician factor in sight, median [dB]"] == pytest.approx(7.0, abs=0.1)
    power = np.abs(plain) ** 2
    assert np.sum(np.abs(shared) ** 2) == pytest.approx(np.sum(power), rel=0.02)
    _, drawn = make("--random-phases", "--seed", "3")
    assert np.abs(drawn) ** 2 == pytest.approx(power, rel=1e-9)
    there = power > 0.1 * power.max()
    turn = np.angle(np.where(there, drawn, 1.0) / np.where(there, plain, 1.0))
    for path in range(len(turn)):  # constant in time
        assert np.ptp(turn[path][there[path]]) < 1e-6 if there[path].any() else True
    assert np.sum(np.abs(turn).max(axis=1) > 0.3) >= 5
    assert not np.allclose(make("--random-phases", "--seed", "4")[1], drawn, atol=1e-9)
    for options, message in (
        (("--rician", "99"), "--rician must lie between -60 and 60, in dB; got 99"),
        (("--random-phases", "--polarised"), "--random-phases is for tracks without --polarised"),
    ):
        code, _, err = run(
            capsys, "channel", folder / "out", "--out", folder / "x.npz", "--carrier", "28e9",
            *options,
        )  # fmt: skip
        assert code == 2
        assert message in err


@pytest.mark.slow
@pytest.mark.parametrize("filter", ["paper", "ekf"])
def test_bounces_start_where_the_station_hears_itself(tmp_path, capsys, filter):
    observations, user, _, truth = observe(np.random.default_rng(4), instants=20, false=0.0)
    observations = eqx.tree_at(
        lambda o: (o.user_position, o.user_known), observations, (user, np.ones(20, bool))
    )
    write_observations(observations, tmp_path / "seen.parquet")
    echoes = heard()
    point = STATION + echoes.range[:, None] * unit_vectors(echoes.azimuth, echoes.zenith)
    np.savez(tmp_path / "echoes.npz", point=point, range_m=echoes.range)
    words_of = ["track", tmp_path / "seen.parquet", "--station", words(STATION), "--filter", filter]
    words_of += ["--echoes", tmp_path / "echoes.npz", "--out", tmp_path / "out", "--json"]
    code, _, err = run(capsys, *words_of)
    assert code == 2
    assert "states no errors; give --angle-std [rad] and --delay-std [s] of its echoes" in err
    code, out, err = run(capsys, *words_of, "--angle-std", "0.005", "--delay-std", "1e-9")
    assert code == 0, err
    assert json.loads(out)["user known"] == 20
    start = parquet.read_table(tmp_path / "out/start.parquet")
    number = truth[0][truth[0] >= 0]
    assert len(start) == len(number)
    bounces = np.array([len(sequences()[n]) for n in number])
    named = np.array(["direct", "single", "several"])[bounces]
    assert np.mean(np.array(start["class"].to_pylist()) == named) >= 0.8
    first = np.stack([start[f"first_{axis}"].to_numpy() for axis in "xyz"], axis=1)
    exact = [image_path(user[0], sequences()[n])[2] for n in number]
    off = [np.linalg.norm(first[k] - exact[k][0]) for k in range(len(number)) if bounces[k]]
    assert np.median(off) < 1.0
    # and the filter heeds it
    plain = [tmp_path / "plain" if word == tmp_path / "out" else word for word in words_of]
    where = plain.index("--echoes")
    code, _, err = run(capsys, *plain[:where], *plain[where + 2 :])
    assert code == 0, err
    with_start, without = (
        parquet.read_table(tmp_path / name / "tracks.parquet")["first_x"].to_numpy()
        for name in ("out", "plain")
    )
    assert len(with_start) == len(without)
    assert np.nanmax(np.abs(with_start - without)) > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--station", "1,2"], "--station needs three numbers with commas between"),
        (["--station", "1,2,x"], "in m; got '1,2,x'"),
        (["--station", "1,2,3", "--start-velocity", "1"], "in m/s; got '1'"),
        (["--station", "1,2,3"], "give --start X,Y,Z or"),
        (["--station", "1,2,3", "--angle-std", "2.0"], "every observation"),
    ],
)
def test_what_cannot_be_tracked_is_refused_in_one_sentence(tmp_path, capsys, arguments, message):
    observations, *_ = observe(np.random.default_rng(1), instants=3)
    write_observations(observations, tmp_path / "seen.parquet")
    if "--angle-std" in arguments:
        table = parquet.read_table(tmp_path / "seen.parquet").drop_columns(["delay_std"])
        parquet.write_table(table, tmp_path / "seen.parquet")
    code, _, err = run(
        capsys, "track", tmp_path / "seen.parquet", "--out", tmp_path / "out", *arguments
    )
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_bounce_filters_write_the_same_tables_and_no_channel_follows(tmp_path, capsys):
    observations, user, *_ = observe(np.random.default_rng(4), instants=40)
    observations = eqx.tree_at(
        lambda o: (o.user_position, o.user_known), observations, (user, np.ones(40, bool))
    )
    write_observations(observations, tmp_path / "seen.parquet")
    code, out, err = run(
        capsys, "track", tmp_path / "seen.parquet", "--station", words(STATION), "--out",
        tmp_path / "out", "--filter", "ekf", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["user known"] == 40
    tracks = parquet.read_table(tmp_path / "out/tracks.parquet")
    assert tracks.column_names == list(TRACKS.names)
    scatterer = tracks.filter(pa.compute.equal(tracks["kind"], "scatterer"))
    assert len(scatterer) > 100
    assert scatterer["first_x"].null_count == scatterer["last_x"].null_count == 0
    code, _, err = run(
        capsys, "channel", tmp_path / "out", "--out", tmp_path / "a.npz", "--carrier", "28e9"
    )
    assert code == 2
    assert "holds moving bounce points, but images stand still; give --form bounces" in err


@pytest.mark.slow
def test_a_forecast_goes_on_after_the_last_observation(tmp_path, capsys):
    observations, user, velocity, _ = observe(np.random.default_rng(4), instants=40)
    write_observations(observations, tmp_path / "seen.parquet")
    code, _, err = run(
        capsys, "track", tmp_path / "seen.parquet", "--station", words(STATION), "--start",
        words(user[0]), "--start-velocity", words(velocity), "--out", tmp_path / "out",
        "--forecast", "2.1",
    )  # fmt: skip
    assert code == 0, err
    ahead = parquet.read_table(tmp_path / "out/forecast.parquet")
    assert ahead.column_names == list(TRACKS.names)
    assert np.unique(ahead["time"]) == pytest.approx(observations.time[-1] + 0.2 * np.arange(1, 11))
    assert set(ahead["status"].to_pylist()) == {"coasting"}
    assert ahead["observation"].null_count == len(ahead)
    later = parquet.read_table(tmp_path / "out/forecast_user.parquet")
    assert len(later) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filter", "paper"], "needs the user's position at every instant, in m, but at 0 s"),
        (["--filter", "ukf", "--smooth"], "--smooth does not go with --filter ukf"),
        (["--filter", "ekf", "--start", "1,2,3"], "--start does not go with --filter ekf"),
        (["--filter", "ekf", "--map", "city"], "--map does not go with --filter ekf"),
        (["--filter", "ekf", "--forecast", "3"], "--forecast does not go with --filter ekf"),
        (["--forecast", "-1"], "--forecast must be above zero and below 1e6, in s; got -1"),
        (["--particles", "1"], "--particles must lie between 2 and 1000000; got 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, capsys, arguments, message):
    observations, *_ = observe(np.random.default_rng(1), instants=3)
    write_observations(observations, tmp_path / "seen.parquet")
    code, _, err = run(
        capsys, "track", tmp_path / "seen.parquet", "--station", "1,2,3", "--out",
        tmp_path / "out", *arguments,
    )  # fmt: skip
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_map_of_another_station_is_refused(tmp_path, capsys):
    observations, *_ = observe(np.random.default_rng(1), instants=3)
    write_observations(observations, tmp_path / "seen.parquet")
    save_maps(scatterer_map(), tmp_path / "map")
    code, _, err = run(
        capsys, "track", tmp_path / "seen.parquet", "--station", "51,2,0", "--start", "1,2,3",
        "--out", tmp_path / "out", "--map", tmp_path / "map",
    )  # fmt: skip
    assert code == 2
    assert "has no station within 1 m of --station; the nearest is mast at 50,0,0, 2.24 m" in err
    found = read_points(tmp_path / "map", np.array([50.2, 0.0, 0.0]))
    assert np.asarray(found.offset) == pytest.approx(SCATTERER[:, :2])


def test_a_user_inside_a_building_is_refused(tmp_path, capsys):
    observations, user, *_ = observe(np.random.default_rng(1), instants=3)
    write_observations(observations, tmp_path / "seen.parquet")
    x, y = user[0, :2]
    corner = [[x + 4 * i, y + 5 * j, z] for i in (-1, 1) for j in (-1, 1) for z in (0, 9)]
    far = [[-300, -300, 0], [300, -300, 0], [300, 300, 0]]
    side = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (1, 5, 7, 3)]
    face = [[a, b, c] for a, b, c, _ in side] + [[a, c, d] for a, _, c, d in side] + [[8, 9, 10]]
    np.savez(tmp_path / "city.npz", vertices=np.array(corner + far), faces=np.array(face))
    code, _, err = run(
        capsys, "track", tmp_path / "seen.parquet", "--out", tmp_path / "out", "--station",
        words(STATION), "--start", words(user[0]), "--mesh", tmp_path / "city.npz",
    )  # fmt: skip
    assert code == 2
    assert "inside a building of" in err
    assert "--start" in err
    assert not (tmp_path / "out").exists()
