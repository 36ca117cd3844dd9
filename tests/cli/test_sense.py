"""Sensing by command: what it writes agrees, is located through a map, and what is refused."""

import contextlib
import json
import sys

import jax
import numpy as np
import pytest

from echoscape.channel_map import ScattererMap, save_maps
from echoscape.channel_model import read_channel
from echoscape.cli import main
from echoscape.cli.sense_scene import Scene, draw_presence
from echoscape.reports import read_echoes, read_fixes
from echoscape.reports.sample_file import read_samples
from echoscape.reports.target_table import read_targets
from echoscape.scene import Site, StaticPoints

SITE = """
carrier_frequency = 28e9
bandwidth = 100e6
[bounds]
lower = [0.0, 0.0, 0.0]
upper = [40.0, 40.0, 0.0]
[[station]]
name = "bs"
position = [20.0, 0.0, 0.0]
array = { columns = 4, azimuth_deg = 90.0 }
[[station]]
name = "east"
position = [40.0, 10.0, 2.0]
array = { columns = 2, azimuth_deg = 180.0 }
"""
SCATTERERS = [(31.0, 22.0), (8.0, 31.0), (14.0, 12.0), (27.0, 37.0)]
WALK = "time,x,y,z\n" + "".join(f"{t},{11 + t},{20 + 0.5 * t},0\n" for t in range(4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sense")
    lines = [f"[[scatterer]]\nposition = [{x}, {y}, 0.0]\n" for x, y in SCATTERERS]
    (folder / "site.toml").write_text(SITE + "".join(lines))
    (folder / "walk.csv").write_text(WALK)
    return folder


def run(capsys, *words):
    code = main(["sense", *(str(word) for word in words)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.slow
def test_echoes_are_located_through_a_map_of_the_same_scene(folder, capsys, monkeypatch):
    stages = []

    @contextlib.contextmanager
    def record(stage, quiet):
        stages.append(stage)
        yield lambda done, total, stage: stages.append(stage)

    monkeypatch.setattr(sys.modules["echoscape.cli.sense"], "progress", record)
    words = [folder / "site.toml", "--targets", folder / "walk.csv", "--no-line-of-sight"]
    words += ["--out", folder / "c.npz", "--samples", folder / "s.npz", "--snr", 30]
    words += ["--echoes", folder / "e.parquet", "--truth", folder / "t.csv", "--subcarriers", 8]
    words += ["--angle-std", 0.005, "--delay-std", 1e-10, "--json"]
    code, printed, problem = run(capsys, *words)
    assert code == 0, problem
    assert stages == ["reading", "compiling", "writing the channel", "sampling", "making echoes"]
    told = json.loads(printed)
    assert told["instants"] == told["snapshots"] == 4
    assert told["echoes"] == told["echoes possible"] == 4 * 16
    made = read_channel(folder / "c.npz")
    assert made.coefficient.shape == (4, 4, 4, 16)
    # samples without noise and clutter are the channel at their subcarriers
    samples = read_samples(folder / "s.npz")
    turn = np.exp(-2j * np.pi * np.einsum(
        "tp,f->tpf", made.delay, np.asarray(samples.waveform.frequencies())))  # fmt: skip
    clean = np.einsum("trsp,tpf->trsf", made.coefficient, turn)
    left = samples.received - samples.empty - clean
    assert np.mean(np.abs(left) ** 2) == pytest.approx(samples.noise_variance, rel=0.1)
    assert np.mean(np.abs(samples.empty) ** 2) > 100 * np.mean(np.abs(clean) ** 2)
    assert np.allclose(samples.time, [0, 1, 2, 3])
    # the strongest echoes of the table carry the channel's powers
    echoes = read_echoes(folder / "e.parquet")
    power = np.sort(np.abs(np.asarray(made.coefficient[0, 0, 0])) ** 2)
    assert np.allclose(np.sort(echoes.estimates.power[0]), power, rtol=1e-6)
    number, place = read_targets(folder / "t.csv")
    assert np.allclose(place[:, 0], 11 + number)
    site = Site.from_toml(folder / "site.toml")
    points = site.static_points()
    spread = np.tile(np.diag([1e-4, 1e-4, 0.0]), (4, 1, 1))
    exact = type(points).scatterers(
        np.asarray(site.scatterer_position), spread, log_gain=points.log_gain,
        log_gain_std=np.full(4, 0.1), visibility=np.ones(4),
    )  # fmt: skip
    where = np.random.default_rng(0).uniform(0.0, 40.0, (40, 3)) * np.array([1.0, 1.0, 0.0])
    known = ScattererMap(
        points=exact, report_position=where, station="bs",
        station_position=np.array([20.0, 0.0, 0.0]), reported_paths=4, planar=True,
    )  # fmt: skip
    save_maps({"bs": known}, folder / "map")
    words = ["locate", folder / "e.parquet", "--map", folder / "map", "--out", folder / "f.csv"]
    assert main([str(word) for word in words]) == 0
    capsys.readouterr()
    fixes = read_fixes(folder / "f.csv")
    best = np.asarray(fixes["rank"]) == 0
    found = np.stack([np.asarray(fixes[axis])[best] for axis in "xy"], axis=1)
    # 16 echoes of 0.005 rad and 3 cm at 10 to 30 m
    assert np.all(np.linalg.norm(found - place[:, :2], axis=1) < 0.3)


@pytest.mark.slow
def test_points_of_a_map_echo_where_the_map_has_them(folder, capsys):
    """Of the map's four points the third is there for nobody."""
    site = Site.from_toml(folder / "site.toml")
    gain = site.static_points().log_gain
    known = ScattererMap(
        points=StaticPoints.scatterers(
            np.asarray(site.scatterer_position), np.zeros((4, 3, 3)), log_gain=gain,
            log_gain_std=np.full(4, 0.1), visibility=np.array([1.0, 1.0, 0.0, 1.0]),
        ),
        report_position=np.zeros((1, 3)), station="bs", planar=True, reported_paths=4,
        station_position=np.array([20.0, 0.0, 0.0]),
    )  # fmt: skip
    save_maps({"bs": known}, folder / "three")
    words = [folder / "three", "--targets", folder / "walk.csv", "--carrier", 28e9, "--json"]
    words += ["--echoes", folder / "m.parquet", "--angle-std", 1e-6, "--delay-std", 1e-13]
    code, printed, problem = run(capsys, *words)
    assert code == 0, problem
    assert json.loads(printed)["echoes possible"] == 4 * 9
    paths = read_echoes(folder / "m.parquet").estimates
    away = np.asarray(site.scatterer_position)[:, :2] - known.station_position[:2]
    azimuth = np.arctan2(away[:, 1], away[:, 0])
    seen = np.asarray(paths.departure_azimuth)[np.asarray(paths.valid)]
    nearest = np.abs(seen[:, None] - azimuth).argmin(axis=1)
    assert np.bincount(nearest, minlength=4).tolist() == [12, 12, 0, 12]


def test_a_ray_is_there_as_often_as_its_probability_says():
    likely = np.array([[0.3, 0.9, 0.0, 1.0], [0.6, 0.9, 0.0, 1.0]])
    scene = Scene(("a", "b"), [], (None, None), 28e9, None, (lambda at: likely[: len(at)],) * 2)
    place = np.zeros((1, 2, 3))
    drawn = np.array([draw_presence(scene, place, jax.random.key(k)) for k in range(400)])[:, :, 0]
    error = np.sqrt(likely * (1 - likely) / 400)
    assert np.all(np.abs(drawn.mean(axis=0) - likely) <= 3.5 * error)
    one, two = drawn[:, :, 0], drawn[:, :, 1]
    assert np.all(two >= one)  # places share the number: what reaches the first, reaches the second
    assert np.any(drawn[:, 0, 0, 0] != drawn[:, 1, 0, 0])  # stations do not
    alone = Scene(("a", "a"), [], (None, None), 28e9, None, scene.presence)
    out, back = draw_presence(alone, place, jax.random.key(0))
    assert out is back
    assert draw_presence(Scene(("a", "a"), [], (None, None), 28e9, None), place, None) is None


@pytest.mark.slow
def test_two_stations_and_a_rotor(folder, capsys):
    (folder / "drone.toml").write_text(
        '[[type]]\nname = "drone"\n[[type.point]]\nmodel = "uav-small"\n'
        "[[type.point]]\ncross_section = 0.001\n"
        "position = [0.2, 0.0, 0.1]\nspin = { radius = 0.1, rate = 80.0 }\n"
    )
    words = [folder / "site.toml", "--targets", folder / "walk.csv", "--type", "drone", "--types",
             folder / "drone.toml", "--receiver", "east", "--out", folder / "two.npz",
             "--times", "0,1", "--rate", 3]  # fmt: skip
    code, printed, problem = run(capsys, *words, "--json")
    assert code == 0, problem
    told = json.loads(printed)
    assert told["scattering points"] == 2
    made = read_channel(folder / "two.npz")
    assert made.coefficient.shape == (4, 2, 4, 50)
    # the blade's tip: up to twice its speed and the walk's over the wavelength
    tip = 2 * np.pi * 80.0 * 0.1
    assert 0.3 * 2 * tip / 0.0107 < told["largest Doppler [Hz]"] < 2 * (tip + 1.2) / 0.0107


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give at least one of --out, --samples and --echoes"),
        (["--out", "x.npz", "--times", "0,9"], "target 0 is known from 0 to 3 s, but 0 to 9 s"),
        (["--out", "x.npz", "--type", "plane"], "there is no target type 'plane'"),
        (["--out", "x.npz", "--carrier", "5e9"], "--carrier 5e+09 Hz is not that of"),
        (["--out", "x.npz", "--receiver", "west"], "there is no station 'west'; did you mean"),
        (
            ["--out", "x.npz", "--types", "bad.toml"],
            "'cross_section' must hold numbers [m^2], but row 2 has nan",
        ),
        (["--out", "x.npz", "--mesh", "house.obj"], "target 0 is inside a building of"),
    ],
)
def test_what_cannot_be_sensed_is_refused(folder, capsys, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    (folder / "rcs.csv").write_text(
        "azimuth,zenith,cross_section\n0,0.5,1\n0,1,nan\n1,0.5,1\n1,1,1\n"
    )
    (folder / "bad.toml").write_text('[[type]]\nname = "car"\n[[type.point]]\ntable = "rcs.csv"\n')
    corner = [f"v {x} {y} {z}\n" for z in (-1, 9) for x, y in ((0, 0), (40, 0), (40, 40), (0, 40))]
    sides = ("1 2 3 4", "5 6 7 8", "1 2 6 5", "2 3 7 6", "3 4 8 7", "4 1 5 8")
    (folder / "house.obj").write_text("".join([*corner, *(f"f {side}\n" for side in sides)]))
    code, _, problem = run(capsys, "site.toml", "--targets", "walk.csv", *words)
    assert code == 2
    assert message in problem


def test_a_gap_of_minutes_in_the_targets_way_is_refused(folder, capsys):
    (folder / "gap.csv").write_text("time,x,y,z\n0,11,20,0\n1,12,20,0\n181,20,30,0\n")
    words = [folder / "site.toml", "--targets", folder / "gap.csv", "--out", folder / "g.npz"]
    code, _, problem = run(capsys, *words)
    assert code == 2
    assert "target 0 has no place between 1 and 181 s, a gap of 180 s" in problem
