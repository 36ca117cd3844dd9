"""Walls of a map against the planes that its reports were reflected in."""

import dataclasses
import json

import numpy as np
import pytest

from echoscape.channel_map import NearestReports, fit_map, save_maps
from echoscape.channel_map.walls import Walls, find_walls, write_walls
from echoscape.checks import InputError
from echoscape.cli import main
from tests.worlds.direct_paths import make_reports, noisy

SEED, WALLS = 3, 4


def planes():
    """Repeat the draw of `make_reports`: normals and distances of its walls [m]."""
    rng = np.random.default_rng(SEED)
    for size in ((60, 2), 60, (1, 2), 1):
        rng.uniform(size=size)
    angle = rng.uniform(0, 2 * np.pi, WALLS)
    return np.stack([np.cos(angle), np.sin(angle)], 1), rng.uniform(80, 110, WALLS)


@pytest.fixture(scope="module")
def fitted():
    return fit_map(noisy(make_reports(SEED, 60, 0.6, WALLS), 1, 0.001, 0.05, stated=True))


def test_walls_lie_in_the_planes_and_reach_as_far_as_the_reflections(fitted):
    walls = find_walls(fitted)
    normal, distance = planes()
    reports = make_reports(SEED, 60, 0.6, WALLS)
    station = reports.station_position[0]
    assert len(walls.low) == WALLS
    for k in range(WALLS):
        off = [np.abs(end @ normal.T - distance) for end in (walls.start[k], walls.end[k])]
        wall = int(np.argmin(off[0] + off[1]))
        assert (
            max(off[0][wall], off[1][wall]) < 0.3
        )  # 0.1 m across in 60 reports, beyond their ends
        flat = np.r_[normal[wall], 0.0]
        image = station - 2 * (station @ flat - distance[wall]) * flat
        ray = reports.position - image
        share = (distance[wall] - image @ flat) / (ray @ flat)
        spot = (image + share[:, None] * ray)[reports.estimates.valid[:, 1 + wall]]
        along = np.array([-normal[wall, 1], normal[wall, 0]])
        seen = np.sort([walls.start[k] @ along, walls.end[k] @ along])
        reach = spot[:, :2] @ along
        # a fifth of the reports lacks the path, but lies among others that hold it
        assert np.all(np.abs(seen - [reach.min(), reach.max()]) < 6.0)
        assert abs(walls.high[k] - spot[:, 2].max()) < 0.5
        assert abs(walls.low[k] - spot[:, 2].min()) < 0.5


def test_reflections_by_way_of_the_ground_lie_above_it(fitted):
    points, count = fitted.points, len(fitted.points)
    ground = 0.7
    below = dataclasses.replace(
        points, vertical_reflection=-np.ones(count), height_offset=np.full(count, 2 * ground)
    )
    walls = find_walls(dataclasses.replace(fitted, points=below))
    straight = find_walls(fitted)
    np.testing.assert_allclose(walls.start, straight.start)
    assert np.all(walls.low >= ground)  # unfolded, half of the way to the image lies below
    assert np.all(walls.low < straight.low)


def test_files_hold_every_wall(fitted, tmp_path, capsys):
    walls = find_walls(fitted)
    save_maps(fitted, tmp_path / "m")
    assert main(["map", "walls", str(tmp_path / "m"), "--out", str(tmp_path / "w.geojson")]) == 0
    assert "4 walls of" in capsys.readouterr().out
    stored = json.loads((tmp_path / "w.geojson").read_text())["features"]
    lines = np.array([each["geometry"]["coordinates"] for each in stored])
    np.testing.assert_allclose(lines, np.stack([walls.start, walls.end], 1))
    assert [each["properties"]["high"] for each in stored] == walls.high.tolist()
    write_walls({fitted.station: walls}, tmp_path / "w.ply")
    text = (tmp_path / "w.ply").read_text().splitlines()
    body = text[text.index("end_header") + 1 :]
    corners = np.array([row.split() for row in body[: 4 * WALLS]], float)
    np.testing.assert_allclose(corners[2], [*walls.end[0], walls.high[0]], rtol=1e-5)
    assert body[4 * WALLS :] == [f"4 {4 * k} {4 * k + 1} {4 * k + 2} {4 * k + 3}" for k in range(4)]
    with pytest.raises(InputError, match=r"written as \.geojson or \.ply"):
        write_walls({"a": walls}, tmp_path / "w.obj")


def test_maps_without_walls_are_refused(tmp_path, capsys):
    reports = make_reports(SEED, 20, 1.0, 1)
    with pytest.raises(InputError, match="is of another kind"):
        find_walls(fit_map(reports, NearestReports()))
    alone = reports.estimates.valid & (np.arange(2) == 0)
    direct = dataclasses.replace(
        reports, estimates=dataclasses.replace(reports.estimates, valid=alone)
    )
    without = fit_map(direct)
    with pytest.raises(InputError, match="no single reflection"):
        find_walls(without)
    save_maps(without, tmp_path / "m")
    assert main(["map", "walls", str(tmp_path / "m"), "--out", str(tmp_path / "w.ply")]) == 2
    assert "they show no wall" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "w.ply").exists()


def test_the_command_says_which_walls_contradict_each_other(fitted, tmp_path, capsys, monkeypatch):
    column = np.array([[-20.0, 30.0], [0.0, 0.0]]), np.array([[20.0, 30.0], [0.0, 60.0]])
    crossed = Walls(*column, np.zeros(2), np.full(2, 9.0), np.array([9, 50]))
    monkeypatch.setattr("echoscape.channel_map.walls.find_walls", lambda _: crossed)
    save_maps(fitted, tmp_path / "m")
    assert main(["map", "walls", str(tmp_path / "m"), "--out", str(tmp_path / "w.ply")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "walls 2 and 1 of" in said
    assert "50 reflections speak for the first, 9 for the second" in said
