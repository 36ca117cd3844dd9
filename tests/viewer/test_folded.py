"""Corners of paths: images in a mesh by hand, and lengths that must hold without one."""

import numpy as np
import pytest

from echoscape.propagation.ray_cast import build_tree
from echoscape.scene.mesh import make_mesh
from echoscape.viewer.folded import fold

START, END = np.array([2.0, 3.0, 4.0]), np.array([7.0, -1.0, 1.5])


def panel(corners):
    return np.array(corners, float)


@pytest.fixture
def walls():
    """Walls x = 20 and y = 30, both far larger than where paths meet them."""
    first = panel([(20, -60, -50), (20, 80, -50), (20, 80, 60), (20, -60, 60)])
    second = panel([(-60, 30, -50), (60, 30, -50), (60, 30, 60), (-60, 30, 60)])
    face = np.array([(0, 1, 2), (0, 2, 3), (4, 5, 6), (4, 6, 7)])
    mesh = make_mesh(np.concatenate([first, second]), face)
    return mesh, build_tree(mesh)


def mirrored(place, axis, at):
    image = place.copy()
    image[axis] = 2 * at - image[axis]
    return image


def toward(image):
    length = float(np.linalg.norm(image - START))
    return (image - START) / length, length


def total(corner):
    return np.linalg.norm(np.diff(corner, axis=0), axis=1).sum()


def test_two_walls_give_the_corners_of_the_images(walls):
    image = mirrored(mirrored(END, 1, 30.0), 0, 20.0)
    ahead, length = toward(image)
    corner, exact = fold(START, ahead, length, END, walls)
    assert exact
    assert corner.shape == (4, 3)
    assert corner[1][1] == pytest.approx(30.0, abs=1e-9)  # met first
    assert corner[2][0] == pytest.approx(20.0, abs=1e-9)
    assert total(corner) == pytest.approx(length, rel=1e-12)


def test_a_direction_with_an_error_still_meets_the_end(walls):
    ahead, length = toward(mirrored(END, 0, 20.0))
    ahead = ahead + np.array([0.0, 0.01, -0.01])
    corner, exact = fold(START, ahead / np.linalg.norm(ahead), length, END, walls)
    assert exact
    np.testing.assert_allclose(corner[-1], END)
    assert corner[1][0] == pytest.approx(20.0, abs=1e-9)


@pytest.mark.parametrize("wall", [True, False])
def test_a_length_that_no_wall_explains_is_kept_by_one_corner(walls, wall):
    ahead, length = np.array([-0.6, 0.0, 0.8]), 33.0
    corner, exact = fold(START, ahead, length, END, walls if wall else None)
    assert not exact
    assert corner.shape == (3, 3)
    assert total(corner) == pytest.approx(length, rel=1e-12)
    along = corner[1] - START
    np.testing.assert_allclose(along / np.linalg.norm(along), ahead, atol=1e-12)


def test_one_corner_is_exact_for_one_reflection():
    ahead, length = toward(mirrored(END, 0, 20.0))
    corner, _ = fold(START, ahead, length, END)
    assert corner[1][0] == pytest.approx(20.0, abs=1e-9)


def test_the_straight_line_has_no_corner(walls):
    ahead, length = toward(END)
    corner, exact = fold(START, ahead, length + 0.05, END, walls)
    assert exact
    np.testing.assert_allclose(corner, [START, END])
