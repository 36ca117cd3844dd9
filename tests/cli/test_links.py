"""`echoscape links`: all users to all stations, by points and drawn, against the library."""

import json

import numpy as np
import pytest

from echoscape.cli import main
from echoscape.units import SPEED_OF_LIGHT

SITE = """
carrier_frequency = 3.5e9
bandwidth = 100e6
[bounds]
lower = [-50, -50, 0]
upper = [50, 50, 10]
[[station]]
name = "west"
position = [-30.0, 2.0, 9.0]
array = { rows = 1, columns = 2, azimuth_deg = 10.0, tilt_deg = 0.0 }
[[station]]
name = "east"
position = [40.0, -8.0, 6.0]
array = { rows = 1, columns = 2, azimuth_deg = 170.0, tilt_deg = 0.0 }
[[scatterer]]
position = [4.0, 12.0, 3.0]
cross_section = 5.0
"""
STATIONS = np.array([[-30.0, 2.0, 9.0], [40.0, -8.0, 6.0]])


def run(capsys, *words):
    code = main(["links", *map(str, words)])
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.mark.slow
def test_links_by_points_have_the_ways_of_every_pair_and_drawn_ones_their_loss(tmp_path, capsys):
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "users.csv").write_text(
        "target,time,x,y,z\n0,0,1,-5,1.5\n0,1,2,-5,1.5\n1,0,-8,20,1.5\n1,1,-8,21,1.5\n"
        "2,0,9,9,1.5\n2,1,9,9,1.5\n"
    )
    out = tmp_path / "links.npz"
    words = [tmp_path / "site.toml", "--out", out, "--json"]
    code, told, problem = run(
        capsys, *words, "--users", tmp_path / "users.csv", "--times", "0,0.5", "--rate", "2"
    )
    assert code == 0, problem
    assert json.loads(told)["stations"] == 2
    with np.load(out) as file:
        made = {name: file[name] for name in file.files if name != "station"}
    assert made["a"].shape == (3, 1, 2, 2, 2, 2)
    assert made["tau"].shape == (3, 2, 2)
    user = np.array([-8.0, 20.5, 1.5])
    assert np.allclose(made["position"][1, 1], user)
    point = np.array([4.0, 12.0, 3.0])
    for s, station in enumerate(STATIONS):
        straight = np.linalg.norm(user - station)
        legs = np.linalg.norm(point - station), np.linalg.norm(point - user)
        expected = np.array([straight, sum(legs)]) / SPEED_OF_LIGHT
        assert np.allclose(made["delay"][1, s, 1], expected, rtol=1e-9)
        wavelength = SPEED_OF_LIGHT / 3.5e9
        size = np.abs(made["a"][1, 0, s, 0, :, 1])
        friis = wavelength / (4 * np.pi * straight)
        radar = np.sqrt(wavelength**2 * 5.0 / (4 * np.pi) ** 3) / np.prod(legs)
        assert np.allclose(size, [friis, radar], rtol=1e-6)
    drawn = [*words, "--drops", "4", "--radius", "80", "--model", "tr38901-umi", "--seed", "2"]
    code, told, problem = run(capsys, *drawn)
    assert code == 0, problem
    with np.load(out) as file:
        away = np.linalg.norm(file["position"][:, 0, :2] - STATIONS[0, :2], axis=1)
        power = np.sum(np.abs(file["a"]) ** 2, axis=(1, 3, 4, 5)) / 2  # two elements
        assert np.all((away >= 10) & (away <= 80))
        assert np.allclose(-10 * np.log10(power), file["path_loss"], atol=1e-6)
        first = file["a"]
    run(capsys, *drawn)
    with np.load(out) as file:
        assert np.array_equal(file["a"], first)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one of --users, a table of their places, and --drops, their number"),
        (["--drops", "2", "--radius", "5"], "--radius must be above 10 m; got 5"),
        (["--drops", "2", "--carrier", "1e9"], "is not that of"),
    ],
)
def test_what_makes_no_links_is_refused(tmp_path, capsys, words, message):
    (tmp_path / "site.toml").write_text(SITE)
    code, _, problem = run(capsys, tmp_path / "site.toml", "--out", tmp_path / "a.npz", *words)
    assert code == 2
    assert message in problem
