"""A second station from the walls of the first: exact images, extents, shadows."""

import numpy as np
import pytest

from echoscape.channel_map import NearestReports, fit_map, load_maps, save_maps, shared_walls
from echoscape.channel_map.shared_walls import map_of_walls, shared_points
from echoscape.channel_map.virtual_anchors.unfolded import unfold
from echoscape.channel_map.walls import Walls, contradictions
from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.scene import isometry
from tests.worlds.direct_paths import make_reports, noisy

SEED, WALLS = 3, 4
SITE = """carrier_frequency = 28e9
bandwidth = 400e6
[bounds]
lower = [-200.0, -200.0, 0.0]
upper = [200.0, 200.0, 30.0]
[[station]]
name = "{name}"
position = [{x}, {y}, {z}]
array = {{ rows = 4, columns = 8, azimuth_deg = 80.0, tilt_deg = 8.0 }}
"""


@pytest.fixture(scope="module")
def reports():
    """Two stations among the same walls."""
    return noisy(make_reports(SEED, 60, 0.6, WALLS, stations=2), 1, 0.001, 0.05, stated=True)


@pytest.fixture(scope="module")
def first(reports):
    return {"bs-0": fit_map(reports, station="bs-0")}


def explained(channel_map, reports, near=1.0):
    """Share of the paths that a point of the map predicts within a metre."""
    mine = reports[reports.station_index == 1]
    station = reports.station_position[1]
    paths = unfold(mine, mine.position - station, 0.0)
    image = np.array([np.asarray(isometry(channel_map.points, each)) for each in mine.position])
    gap = np.linalg.norm(image[paths.report] - station - paths.point[:, None], axis=2)
    return np.mean(gap.min(axis=1) < near)


@pytest.mark.slow
def test_every_single_reflection_of_a_station_without_reports_is_predicted(reports, first):
    position = reports.station_position[1]
    found = map_of_walls(first, "bs-1", position)
    # walls known to 0.1 m and their azimuths to a few milliradians, images up to 250 m away
    assert explained(found, reports) > 0.95
    mine = np.flatnonzero(reports.station_index == 1)
    chance = found.presence(reports.position[mine])
    singles = np.sum(chance[:, 1 : 1 + WALLS] > 0.2, axis=1)
    assert np.median(singles) >= WALLS - 1
    assert chance[:, 0].min() > 0.5  # nothing stands between


@pytest.mark.slow
def test_few_reports_begin_with_the_walls_of_the_other_station(reports, first):
    mine = reports[reports.station_index == 1]
    few = mine[np.arange(0, len(mine), 20)]
    with_walls = fit_map(few, station="bs-1", start=shared_points(first))
    alone = fit_map(few, station="bs-1")
    assert explained(with_walls, reports) > max(0.95, explained(alone, reports) + 0.1)


def wall(start, end, reports=50):
    one = lambda value: np.array([value])  # noqa: E731
    ends = np.array([start], float), np.array([end], float)
    return Walls(*ends, one(0.0), one(9.0), one(reports))


def join(*walls):
    return Walls(
        *(np.concatenate(group) for group in zip(*(vars(each).values() for each in walls)))
    )


def test_a_path_needs_its_bounce_on_the_wall_and_nothing_between():
    mirror = wall([-20, 30], [20, 30])
    place, station = np.array([[10.0, 0.0], [200.0, 0.0]]), np.array([-10.0, 0.0])
    seen = shared_walls._exists(mirror, np.array([0, -1]), station, place)
    assert seen[0] == 1.0  # half-way, at x = 0
    assert seen[1] == 0.0  # the bounce would lie at x = 95
    both = join(mirror, wall([5, 5], [5, 40]))
    blocked = shared_walls._exists(both, np.array([0, -1]), station, place)
    assert blocked[0] == 0.0
    line = shared_walls._exists(both, np.array([-1, -1]), station, place[:1])
    assert line[0] == 1.0  # that wall begins beside the straight line


def test_the_same_wall_of_two_maps_is_one():
    one, other = wall([-20, 30], [20, 30]), wall([0, 30.2], [35, 30.1])
    crossing = wall([0, 0], [0, 60])
    walls = join(one, other, crossing)
    assert shared_walls._different(walls).tolist() == [0]  # the third cuts the first in two


def test_walls_that_cross_in_their_middles_contradict_each_other():
    cross = join(wall([-20, 30], [20, 30], 9), wall([0, 0], [0, 60], 50))
    assert contradictions(cross).tolist() == [[1, 0]]  # the better known one first
    for ends in (  # corners, a wall that ends at another, one beside it
        ([20, 0], [20, 60]),
        ([19.0, 0], [19.0, 60]),
        ([0, 0], [0, 31.0]),
        ([-20, 33], [20, 33]),
    ):
        assert len(contradictions(join(wall([-20, 30], [20, 30], 9), wall(*ends, 50)))) == 0


@pytest.mark.slow
def test_the_command_makes_a_map_of_a_station_without_reports(reports, first, tmp_path, capsys):
    save_maps(first, tmp_path / "m")
    x, y, z = reports.station_position[1]
    (tmp_path / "site.toml").write_text(SITE.format(name="roof", x=x, y=y, z=z))
    line = ["map", "fit", "--walls", str(tmp_path / "m"), "--site", str(tmp_path / "site.toml")]
    assert main([*line, "--out", str(tmp_path / "new")]) == 0
    assert "from the walls of bs-0 alone" in " ".join(capsys.readouterr().out.split())
    made = load_maps(tmp_path / "new")["roof"]
    np.testing.assert_allclose(made.station_position, [x, y, z])
    assert main(["map", "fit", "--out", str(tmp_path / "none")]) == 2
    assert "give reports, or --walls" in " ".join(capsys.readouterr().err.split())


def test_maps_without_walls_are_refused(reports):
    other = fit_map(reports, NearestReports(), station="bs-0")
    with pytest.raises(InputError, match="walls follow from a map of virtual anchors"):
        shared_points({"bs-0": other})
    with pytest.raises(InputError, match="got none"):
        map_of_walls({}, "roof", [0.0, 0.0, 9.0])
