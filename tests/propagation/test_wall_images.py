"""Paths between two oblique walls over a ground, against mirroring done by hand."""

import itertools

import numpy as np
import pytest

from echoscape.propagation.ray_cast import build_tree
from echoscape.propagation.wall_images import launch, trace, wall_planes, wall_points
from echoscape.scene import compose, path_length
from echoscape.scene.mesh import make_mesh

STATION, PLACE = np.array([2.0, 3.0, 8.0]), np.array([41.0, -6.0, 1.5])


def quad(a, b, height):
    low = [[*a, 0.0], [*b, 0.0]]
    return np.array([*low, [*b, height], [*a, height]])


@pytest.fixture(scope="module")
def street():
    """A wall on each side, not parallel, a ground, and a screen that hides the line of sight."""
    corners = [
        quad((-20, 14), (80, 21), 30.0),
        quad((-20, -17), (80, -12), 30.0),
        np.array([[-90, -90, 0], [120, -90, 0], [120, 90, 0], [-90, 90, 0.0]]),
        quad((20, -4), (20.5, 2), 12.0),
    ]
    vertex = np.concatenate(corners)
    face = [[4 * k, 4 * k + i, 4 * k + i + 1] for k in range(4) for i in (1, 2)]
    return make_mesh(vertex, np.array(face))


def by_hand(mesh, plane, sequence):
    """Mirror the station in the walls and check each leg against each triangle; None if blocked."""
    image = [STATION]
    for wall in sequence:
        normal, offset = plane.normal[wall], plane.offset[wall]
        image.append(image[-1] - 2 * (image[-1] @ normal - offset) * normal)
    points, end = [PLACE], PLACE
    for wall, mirrored in zip(sequence[::-1], image[:0:-1]):
        normal, offset = plane.normal[wall], plane.offset[wall]
        ahead = mirrored - end
        share = (offset - end @ normal) / (ahead @ normal)
        if not 0 < share < 1:
            return None
        end = end + share * ahead
        points.append(end)
    points.append(STATION)
    for leg, (start, stop) in enumerate(itertools.pairwise(points)):
        for number, (a, b, c) in enumerate(mesh.triangle):
            try:
                t, u, v = np.linalg.solve(np.stack([start - stop, b - a, c - a], 1), start - a)
            except np.linalg.LinAlgError:
                continue
            inside = u >= 0 and v >= 0 and u + v <= 1
            if inside and 1e-9 < t < 1 - 1e-9:
                return None
            mine = leg < len(sequence) and mesh.wall[number] == sequence[::-1][leg]
            if mine and inside and abs(t - 1) < 1e-9:
                break
        else:
            if leg < len(sequence):
                return None  # the bounce is beyond the edge of its wall
    return np.linalg.norm(image[-1] - PLACE), points


def test_all_paths_of_two_bounces_are_found_and_no_other(street):
    plane, tree = wall_planes(street), build_tree(street)
    walls = range(int(street.wall.max()) + 1)
    expected = {}
    for count in range(3):
        for sequence in itertools.product(walls, repeat=count):
            if all(a != b for a, b in itertools.pairwise(sequence)):
                found = by_hand(street, plane, sequence)
                if found is not None:
                    expected[sequence] = found
    paths = trace(street, STATION, PLACE[None], 28e9, rays=4000, depth=2, tree=tree)
    got = {tuple(int(w) for w in s if w >= 0): i for i, s in enumerate(paths.sequence)}
    assert len(expected) >= 5
    assert () not in expected  # the screen stands in the way
    assert set(got) == set(expected)
    for sequence, (length, points) in expected.items():
        assert paths.length[got[sequence]] == pytest.approx(length, abs=1e-9)
        assert paths.last[got[sequence]] == pytest.approx(points[1], abs=1e-9)
        assert paths.first[got[sequence]] == pytest.approx(points[-2], abs=1e-9)


def test_composed_walls_are_the_static_points_of_the_paths(street):
    walls = wall_points(wall_planes(street))
    paths = trace(street, STATION, PLACE[None], 28e9, rays=4000, depth=2)
    tried = set()
    for sequence, length in zip(paths.sequence, paths.length):
        used = [int(wall) for wall in sequence if wall >= 0]
        point = walls[used[:1]]
        for wall in used[1:]:  # counted from the station
            point = compose(point, walls[[wall]])
        assert path_length(point, PLACE, STATION) == pytest.approx([length], abs=1e-9)
        tried.add(len(used))
    assert tried == {1, 2}


def test_tilted_walls_have_no_static_point():
    ramp = np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 3], [0, 10, 3]])
    mesh = make_mesh(ramp, np.array([[0, 1, 2], [0, 2, 3]]))
    assert len(wall_points(wall_planes(mesh))) == 0


def test_launched_sequences_alternate_and_have_no_gaps(street):
    found = launch(street, build_tree(street), STATION, rays=2000, depth=3)
    assert (found[:, 0] >= 0).all()
    assert not ((found[:, 1] < 0) & (found[:, 2] >= 0)).any()
    assert not ((found[:, 1:] == found[:, :-1]) & (found[:, 1:] >= 0)).any()


def test_a_reflection_loses_what_fresnel_says(street):
    place = np.array([[30.0, 4.0, 8.0]])
    paths = trace(street, STATION, place, 28e9, rays=4000, depth=1)
    (row,) = np.flatnonzero((paths.bounces == 1) & (paths.last[:, 1] > 10))
    normal = np.array([-7.0, 100.0, 0.0]) / np.hypot(7, 100)
    cos = abs((paths.last[row] - place[0]) @ normal) / np.linalg.norm(paths.last[row] - place[0])
    eta = 5.24 - 1j * 0.0462 * 28**0.7822 / (2 * np.pi * 28e9 * 8.854187e-12)
    root = np.sqrt(eta - 1 + cos**2)
    free = 299792458 / 28e9 / (4 * np.pi * paths.length[row])
    assert abs(paths.gain[row]) / free == pytest.approx(abs((cos - root) / (cos + root)), rel=1e-6)
