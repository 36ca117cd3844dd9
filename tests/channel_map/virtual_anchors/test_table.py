"""What is said of paths that follow no anchor: twins of anchors, and pairs of either sense."""

import numpy as np

from echoscape.channel_map.virtual_anchors.search import FittedPoint, isometry_matrix, misfit
from echoscape.channel_map.virtual_anchors.table import tabulate
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths
from echoscape.scene import PointKind, rotation_matrix, translate

# Four users at oblique places; paths 0 to 2 follow an anchor, the others follow none.
PLACE = np.array([[12.0, 31.0, 1.5], [25.0, 38.5, 1.5], [9.0, 52.0, 1.5], [30.0, 20.0, 1.5]])
REPORT = np.array([0, 1, 2, 0, 0, 3, 3])


def _unfolded(point):
    """Paths that place their users at these points, without arrival angles."""
    count = len(point)
    ones = np.ones(count)
    return UnfoldedPaths(
        report=REPORT,
        rank=np.arange(count),
        place=PLACE[REPORT],
        point=point,
        outward=point[:, :2] / np.linalg.norm(point[:, :2], axis=1, keepdims=True),
        along_std=0.1 * ones,
        across_std=0.1 * ones,
        height_std=0.2 * ones,
        azimuth=np.arctan2(point[:, 1], point[:, 0]),
        arrival_azimuth=0.0 * ones,
        has_arrival=np.zeros(count, dtype=bool),
        model_error=0.1,
        log_gain=-50.0 * ones,
    )


STATION, TIME = np.array([310.0, -42.0, 9.0]), np.array([5.0, 2.0, 7.0, 3.0])


def _tabulate(paths, anchor, free):
    """Give the points in the station's frame, their matrices, and the ranks."""
    points, error, rank = tabulate(paths, [anchor], free, STATION, TIME)
    return translate(points, STATION), error, rank


def _world():
    turn, shift = isometry_matrix(-1, 0.7), np.array([-60.0, 14.0])
    other, offset = isometry_matrix(-1, 2.1), np.array([35.0, 80.0])
    flat = PLACE[REPORT, :2] @ turn.T + shift
    flat[4:6] = PLACE[REPORT[4:6], :2] @ other.T + offset
    flat[6] = [200.0, 3.0]  # alone
    height = np.array([-8.5, -8.5, -8.5, -11.5, 2.0, 2.0, 2.0])  # path 3: by way of the ground
    paths = _unfolded(np.c_[flat, height])
    anchor = FittedPoint(-1, 0.7, shift, np.array([0, 1, 2]))
    free = np.array([False, False, False, True, True, True, True])
    return paths, anchor, free, (turn, other, offset)


def test_a_ground_twin_turns_as_its_anchor_does():
    paths, anchor, free, (turn, _, _) = _world()
    points, _, rank = _tabulate(paths, anchor, free)
    twin = np.flatnonzero((rank[0] == 3) & (rank[1:] > 90).all(axis=0))
    assert len(twin) == 1
    assert np.allclose(rotation_matrix(points)[twin[0]], turn)
    assert points.vertical_reflection[twin[0]] == -1.0
    assert np.isclose(points.height_offset[twin[0]], -11.5 + 1.5)


def test_a_pair_is_listed_in_both_senses_and_one_is_right():
    paths, anchor, free, (_, other, offset) = _world()
    points, _, rank = _tabulate(paths, anchor, free)
    both = np.flatnonzero((rank[0] == 4) & (rank[3] == 5))
    assert sorted(points.reflection[both]) == [-1, 1]
    right = both[points.reflection[both] < 0][0]
    assert np.allclose(rotation_matrix(points)[right], other)
    assert np.allclose(points.offset[right], offset)
    # both senses explain both of its paths: two points do not tell them apart
    for row in both:
        isometry = points.reflection[row], points.rotation[row], points.offset[row]
        assert misfit(paths, np.array([4, 5]), *isometry).max() < 1e-12


def test_a_path_of_which_nothing_is_known_stands_still():
    paths, anchor, free, _ = _world()
    points, _, rank = _tabulate(paths, anchor, free)
    alone = np.flatnonzero(rank[3] == 6)
    assert len(alone) == 1
    assert points.kind[alone[0]] == PointKind.UNDETERMINED
    assert np.allclose(points.offset[alone[0]], [200.0, 3.0])


def test_points_remember_where_and_when_they_were_observed():
    paths, anchor, free, _ = _world()
    points, error, rank = _tabulate(paths, anchor, free)
    followed = np.flatnonzero((rank[:3] < 90).all(axis=0))[0]
    assert points.confirmed[followed] == 7.0  # the last of the first three reports
    assert points.visibility[followed] == 0.75
    centre = PLACE[:3, :2].mean(axis=0) + STATION[:2]  # equal weights
    np.testing.assert_allclose(error.centre[followed], centre, rtol=0, atol=1e-9)
