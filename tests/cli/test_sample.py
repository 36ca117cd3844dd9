"""Samples by command: a site's echoes sampled, estimated, located both ways, and refusals."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.estimation import PathEstimates
from echoscape.propagation import scatter
from echoscape.reports import Reports, read_echoes, read_fixes, write_reports
from echoscape.reports.sample_file import read_samples
from echoscape.scene import Site
from echoscape.signals import Waveform, sample_scene
from echoscape.signals.scene_echoes import fitting_spacing

SITE = """
carrier_frequency = 28e9
bandwidth = 100e6
[bounds]
lower = [0.0, 0.0, 0.0]
upper = [40.0, 40.0, 0.0]
[[station]]
name = "bs"
position = [20.0, 0.0, 0.0]
array = { columns = 8, azimuth_deg = 90.0 }
"""
SCATTERERS = [(31.0, 22.0), (8.0, 31.0), (14.0, 12.0), (27.0, 37.0)]
TARGETS = np.array([[11.3, 20.2, 0.0], [29.0, 9.5, 0.0]])


def run(capsys, *words):
    code = main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site, targets, and samples of their echoes."""
    folder = tmp_path_factory.mktemp("site")
    lines = [f"[[scatterer]]\nposition = [{x}, {y}, 0.0]\n" for x, y in SCATTERERS]
    (folder / "site.toml").write_text(SITE + "".join(lines))
    rows = "".join(f"{n},{x},{y},{z}\n" for n, (x, y, z) in zip((4, 2), TARGETS))
    (folder / "t.csv").write_text("target,x,y,z\n" + rows)
    words = ["echoes", "sample", folder / "site.toml", "--targets", folder / "t.csv", "--out",
             folder / "s.npz", "--snr", "25", "--paths", "4", "--coupling", "-60",
             "--subcarriers", "96"]  # fmt: skip
    assert main([*map(str, words)]) == 0
    return folder


@pytest.fixture(scope="module")
def channel_map(folder):
    """A map learnt from reports of the site's users."""
    site = Site.from_toml(folder / "site.toml")
    place = np.random.default_rng(1).uniform(0.0, 40.0, (120, 2))
    place = np.concatenate([place, np.zeros((120, 1))], axis=1)
    paths = jax.vmap(lambda p: scatter(site, p, with_line_of_sight=False))(jnp.asarray(place))
    ends, kinds = ("departure", "arrival"), ("azimuth", "zenith")
    names = [f"{end}_{kind}" for end in ends for kind in kinds]
    angles = {name: np.asarray(getattr(paths, name)) for name in names}
    std = {f"{name}_std": np.full(paths.delay.shape, 1e-4) for name in angles}
    estimates = PathEstimates.from_delays(
        **angles, **std, delay=np.asarray(paths.delay), power=np.asarray(paths.power),
        delay_std=np.full(paths.delay.shape, 1e-11), valid=np.asarray(paths.valid),
    )  # fmt: skip
    reports = Reports(
        estimates=estimates, report=np.arange(120), position=place, position_std=np.zeros(120),
        time=np.zeros(120), station_index=np.zeros(120, int), station=("bs",),
        station_position=np.asarray(site.station_position),
    )  # fmt: skip
    write_reports(reports, folder / "r.parquet")
    words = ["map", "fit", str(folder / "r.parquet"), "--out", str(folder / "map"), "--quiet"]
    assert main(words) == 0
    return folder / "map"


@pytest.mark.slow
def test_samples_lead_to_places_with_and_without_detection(folder, channel_map, tmp_path, capsys):
    samples = read_samples(folder / "s.npz")
    assert samples.received.shape == (2, 8, 8, 96)
    assert samples.empty is not None
    echoes = tmp_path / "e.parquet"
    code, out, _ = run(capsys, "estimate", folder / "s.npz", "--out", echoes, "--quiet", "--json")
    assert code == 0
    assert json.loads(out)["without_echo"] == 0
    assert sorted(read_echoes(echoes).target.tolist()) == [2, 4]
    for source, name in ((echoes, "a.csv"), (folder / "s.npz", "b.csv")):
        code, _, err = run(capsys, "locate", source, "--map", channel_map, "--out",
                           tmp_path / name, "--quiet")  # fmt: skip
        assert code == 0, err
        fixes = read_fixes(tmp_path / name)
        best = np.asarray(fixes["rank"]) == 0
        place = np.stack([np.asarray(fixes[axis])[best] for axis in "xy"], axis=1)
        number = np.asarray(fixes["target"])[best]
        # the bound is decimetres; a map of anchors claims 0.1 m for itself
        for target, truth in zip((4, 2), TARGETS):
            assert np.linalg.norm(place[number == target][0] - truth[:2]) < 1.0, name


@pytest.mark.slow
@pytest.mark.parametrize("method", ["esprit", "fft"])
def test_other_estimators_write_echoes_too(folder, tmp_path, capsys, method):
    code, out, _ = run(capsys, "estimate", folder / "s.npz", "--method", method, "--out",
                       tmp_path / "e.csv", "--quiet")  # fmt: skip
    assert code == 0
    assert "echoes in 2 snapshots" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--snr", "nan"], "signal-to-noise ratio must be a finite number, in dB; got nan"),
        (["--snr", "5", "--power", "3"], "either --snr or --power and --noise-figure"),
        (["--spacing", "2e7"], "delays repeat after 50 ns, but the longest echo has"),
        (["--station", "bus"], "there is no station 'bus'; did you mean 'bs'?"),
        (["--cross-section", "0"], "--cross-section must be finite and above zero, in m^2"),
        (["--noise-figure", "-1"], "noise figure must be zero or more"),
    ],
)
def test_what_cannot_be_sampled_is_one_sentence(folder, tmp_path, capsys, words, message):
    code, _, err = run(capsys, "echoes", "sample", folder / "site.toml", "--targets",
                       folder / "t.csv", "--out", tmp_path / "s.npz", *words)  # fmt: skip
    assert code == 2
    assert message in err
    assert err.count("\n") <= 3
    assert not (tmp_path / "s.npz").exists()


@pytest.mark.slow
def test_the_spacing_fits_the_site_by_itself():
    place = np.array([[400.0, 20.0, 1.5]])
    site = Site.from_toml(
        pathlib.Path(__file__).parents[2] / "src/echoscape/sample/files/site.toml"
    )
    wide = fitting_spacing(site, place * [0.01, 0.01, 1], 100_000)
    assert wide == site.bandwidth / 100_000
    narrow = fitting_spacing(site, place, 8)
    made = sample_scene(site, Waveform(8, narrow, 1), place, key=jax.random.key(0), snr_db=20.0)
    assert made.waveform.unambiguous_delay == pytest.approx(1 / narrow)
    with pytest.raises(InputError, match="delays repeat after"):
        sample_scene(site, Waveform(8, 3 * narrow, 1), place, key=jax.random.key(0), snr_db=20.0)


def test_an_array_without_extent_is_refused_in_the_file(folder, tmp_path, capsys):
    text = (
        (folder / "site.toml").read_text().replace("columns = 8", "columns = 8, column_spacing = 0")
    )
    (tmp_path / "site.toml").write_text(text)
    code, _, err = run(capsys, "echoes", "sample", tmp_path / "site.toml", "--targets",
                       folder / "t.csv", "--out", tmp_path / "s.npz")  # fmt: skip
    assert code == 2
    assert "column_spacing" in err
    assert "greater than 0" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "music", "--sources", "1000", "--most", "1000"],
         "sources; got 1000"),
        (["--method", "music", "--sources", "41"], "--sources 41 is more than the 40 echoes"),
        (["--method", "fft", "--sources", "3"], "--sources is for music and esprit"),
        (["--method", "esprit", "--order", "bic"], "--order is for greedy"),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated_is_one_sentence(folder, tmp_path, capsys, words, message):
    code, _, err = run(capsys, "estimate", folder / "s.npz", "--out", tmp_path / "e.csv", *words)
    assert code == 2
    assert message in " ".join(err.split())


def test_options_of_the_other_kind_of_file_are_refused(folder, tmp_path, capsys):
    words = ("--map", folder / "map", "--out", tmp_path / "f.csv")
    code, _, err = run(capsys, "locate", folder / "s.npz", *words, "--angle-std", "0.1")
    assert code == 2
    assert (
        "--angle-std has no meaning here: the method 'direct' reads errors from the file"
        in " ".join(err.split())
    )
    code, _, err = run(capsys, "locate", folder / "r.parquet", *words, "--method",
                       "unassociated", "--peaks", "2")  # fmt: skip
    assert code == 2
    assert "--peaks has no meaning for the method 'unassociated', only for direct" in " ".join(
        err.split()
    )
