"""Coverage of a site: every voxel and view by hand, sums of Eqs. (65) and (66), and bad input."""

import itertools

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging.planning import plan_coverage
from echoscape.scene import Site

TEXT = """
carrier_frequency = 28e9
bandwidth = 400e6
[bounds]
lower = [1, 2, 0]
upper = [6, 5, 2]
[[station]]
name = "roof"
position = [0.2, 1.3, 3.5]
[[station]]
name = "lamp"
position = [7.1, 3.3, 2.8]
[[scatterer]]
position = [3.4, 3.6, 0.7]
cross_section = 1.0
[[scatterer]]
position = [4.4, 3.6, 1.7]
cross_section = 1.0
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "site.toml"
    path.write_text(TEXT)
    return Site.from_toml(path)


def hidden(view, centre, blockers, share, radius, low, high):
    """Chance of one segment, by Eqs. (3)-(5) and a thousand steps along it."""
    ray = centre - view
    length = np.linalg.norm(ray)
    for blocker in blockers:
        towards = blocker - view
        away = np.linalg.norm(np.cross(towards, ray)) / length
        if away < radius and towards @ ray > 0 and np.linalg.norm(towards) < length - 1e-6:
            return 1.0
    steps = view + ((np.arange(4000) + 0.5) / 4000)[:, None] * ray
    inside = np.mean(np.all((steps >= low) & (steps <= high), axis=1)) * length
    return 1 - (1 - share) ** (np.pi * radius**2 * inside)


def test_every_station_and_voxel_is_that_of_the_pair_rule_and_eq_61(site):
    found = plan_coverage(site, edge=1.0, users=3, share=0.05, places=8)
    centre, low, high = found.grid.centres(), np.array([1.0, 2, 0]), np.array([6.0, 5, 2])
    blockers = centre[found.occupied]
    assert np.allclose(blockers, [[3.5, 3.5, 0.5], [4.5, 3.5, 1.5]])
    views = np.asarray(site.station_position)
    wanted = [
        [hidden(view, each, blockers, 0.05, 0.5, low, high) for each in centre] for view in views
    ]
    assert np.allclose(found.station_hidden, wanted, atol=2e-3)
    assert (found.station_hidden == 1).any()
    assert (found.station_hidden < 1).any()
    assert np.all((found.user_hidden > 0) & (found.user_hidden <= 1))


def test_sums_are_those_of_the_paper(site):
    found = plan_coverage(site, edge=1.0, users=3, share=0.05, places=8)
    total, by_station = 0.0, np.zeros(2)
    for n in range(found.grid.voxels):
        users = found.user_hidden[n] ** 3
        total += 1 - (1 - users) * (1 - found.station_hidden[0, n] * found.station_hidden[1, n])
        for b in range(2):
            by_station[b] += 1 - (1 - users) * (1 - found.station_hidden[b, n])
    assert np.isclose(found.unseen_count, total)
    assert np.allclose(found.unseen_by_station, by_station)
    assert np.allclose(found.user_views, 3 * (1 - found.user_hidden))
    assert np.allclose(found.station_views, 2 - found.station_hidden.sum(0))


def test_users_are_averaged_over_the_bounds(site):
    """Sixty-four places against two thousand at random; nothing unknown stands in the way."""
    found = plan_coverage(site, edge=1.0, share=0.0)
    centre, low, high = found.grid.centres(), np.array([1.0, 2, 0]), np.array([6.0, 5, 2])
    places = np.random.default_rng(0).uniform(low, high, (2000, 3))
    blockers = centre[found.occupied]
    places = places[~np.isin(found.grid.index_of(places), np.flatnonzero(found.occupied))]
    ray = centre[None] - places[:, None]
    length = np.linalg.norm(ray, axis=-1)
    closed = np.zeros(length.shape, bool)
    for blocker in blockers:
        towards = (blocker - places)[:, None]
        away = np.linalg.norm(np.cross(towards, ray), axis=-1) / length
        nearer = np.linalg.norm(towards, axis=-1) < length - 1e-6
        closed |= (away < 0.5) & (np.sum(towards * ray, -1) > 0) & nearer
    assert np.max(np.abs(found.user_hidden - closed.mean(0))) < 0.13  # 64 places: sd .06
    assert np.mean(np.abs(found.user_hidden - closed.mean(0))) < 0.03


def test_a_mesh_hides_what_stands_behind_and_inside_it(tmp_path):
    """Walls of a closed box are occupied; what stands behind is hidden as by the pair rule."""
    low, high = np.array([2.6, 2.6, 0.1]), np.array([4.4, 4.4, 1.9])
    corner = [low + (high - low) * each for each in itertools.product((0, 1), repeat=3)]
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    lines = ["v {:g} {:g} {:g}".format(*place) for place in corner]
    lines += ["f " + " ".join(str(i + 1) for i in side) for side in sides]
    (tmp_path / "box.obj").write_text("\n".join(lines))
    text = TEXT.split("[[scatterer]]")[0].replace("bandwidth", 'mesh = "box.obj"\nbandwidth')
    (tmp_path / "site.toml").write_text(text.replace("upper = [6, 5, 2]", "upper = [6, 6, 3]"))
    found = plan_coverage(Site.from_toml(tmp_path / "site.toml"), edge=1.0, share=0.0, places=16)
    centre, touched = found.grid.centres(), found.occupied
    # Whatever a wall passes through, and nothing that none comes near.
    from_wall = np.max(np.maximum(low - centre, centre - high), axis=1)
    assert np.all(touched[np.abs(from_wall) < 0.3])
    assert not np.any(touched[np.abs(from_wall) > 1.0])
    views = np.asarray(Site.from_toml(tmp_path / "site.toml").station_position)
    blockers = centre[touched]
    wanted = [
        [hidden(view, each, blockers, 0.0, 0.5, low, high) for each in centre] for view in views
    ]
    assert np.allclose(found.station_hidden, wanted)
    assert 0 < np.mean(found.station_hidden) < 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"users": 0}, "users and places must be at least one; got 0 and 64"),
        ({"share": 1.0}, "share of occupied voxels must lie between 0 and 1; got 1"),
        ({"radius": 0.0}, "occlusion radius must be finite and above zero, in m"),
        ({"edge": 0.01}, "are too many; choose a longer edge or fewer places"),
    ],
)
def test_bad_input_is_one_sentence(site, options, sentence):
    with pytest.raises(InputError, match=sentence):
        plan_coverage(site, **({"edge": 1.0} | options))


def test_the_table_has_a_row_for_each_voxel(site):
    found = plan_coverage(site, edge=1.0, share=0.05, places=4)
    rows = found.to_arrow().to_pylist()
    assert len(rows) == 30
    index = list(itertools.product(range(5), range(3), range(2))).index((2, 1, 0))
    assert [rows[index][axis] for axis in "xyz"] == [3.5, 3.5, 0.5]
    assert rows[index]["occupied"]
    assert rows[index]["unseen"] == found.unseen[index]
