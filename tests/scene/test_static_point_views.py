"""Views of static points: images are inverse, lengths have no direction, walls come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.scene import (
    PointKind,
    StaticPoints,
    compose,
    image_of_station,
    image_of_user,
    inverse,
    isometry,
    mirror_walls,
    path_length,
    scatterer_position,
)
from tests.scene.test_static_points import DISTANCES, NORMALS, USER, drawn, mirror, of_kind

STATION = np.array([-12.0, 21.5, 9.0])
EXACT = {"rtol": 0, "atol": 1e-12}  # round-off of metres


def test_image_of_the_user_and_image_of_the_station_are_inverse():
    points = drawn()
    for k, anchor in enumerate(image_of_station(points, STATION)):
        np.testing.assert_allclose(isometry(points, anchor)[k], STATION, **EXACT)
    images = image_of_user(points, USER, STATION)
    np.testing.assert_allclose(images, isometry(points, USER), **EXACT)


def test_length_is_that_from_either_image():
    points = drawn()
    length = path_length(points, USER, STATION)
    anchors = image_of_station(points, STATION)
    np.testing.assert_allclose(np.linalg.norm(anchors - USER, axis=1), length, **EXACT)


@pytest.mark.parametrize("kind", list(PointKind)[:3])
def test_length_stays_when_the_ends_are_swapped(kind):
    points = of_kind(drawn(), kind)
    there = path_length(points, USER, STATION)
    back = path_length(inverse(points), STATION, USER)
    np.testing.assert_allclose(back, there, **EXACT)


def test_length_by_way_of_two_walls_is_that_of_the_broken_ray():
    walls = StaticPoints.from_walls(NORMALS, DISTANCES)
    points = compose(walls[[0]], walls[[1]])
    image = mirror(mirror(USER, NORMALS[1], DISTANCES[1]), NORMALS[0], DISTANCES[0])
    # Follow the ray from the station to the first wall, then to the second, then to the user.
    first = STATION + (image - STATION) * (DISTANCES[0] - STATION @ NORMALS[0]) / (
        (image - STATION) @ NORMALS[0]
    )
    near = mirror(USER, NORMALS[1], DISTANCES[1])
    second = first + (near - first) * (DISTANCES[1] - first @ NORMALS[1]) / (
        (near - first) @ NORMALS[1]
    )
    legs = (first - STATION, second - first, USER - second)
    broken = float(sum(np.linalg.norm(leg) for leg in legs))
    np.testing.assert_allclose(path_length(points, USER, STATION), [broken], **EXACT)
    np.testing.assert_allclose(second @ NORMALS[1], DISTANCES[1], **EXACT)


def test_a_scatterer_ends_both_legs():
    position = np.array([[8.0, 3.0, 6.5], [-20.0, 4.0, 0.5]])
    points = StaticPoints.scatterers(position)
    first, second = (np.linalg.norm(position - end, axis=1) for end in (STATION, USER))
    np.testing.assert_allclose(path_length(points, USER, STATION), first + second, **EXACT)
    image = image_of_user(points, USER, STATION) - STATION
    along = (position - STATION) / first[:, None]
    np.testing.assert_allclose(image / np.linalg.norm(image, axis=1)[:, None], along, **EXACT)
    np.testing.assert_array_equal(image_of_station(points, STATION), position)
    np.testing.assert_array_equal(scatterer_position(points), position)


def test_the_path_by_way_of_an_edge_is_the_shortest_over_its_height():
    points = of_kind(StaticPoints.scatterers(np.array([[8.0, 3.0, 0.0]])), PointKind.EDGE)
    height = np.linspace(0.0, 10.0, 100_001)
    foot = np.stack([np.full_like(height, 8.0), np.full_like(height, 3.0), height], -1)
    legs = np.linalg.norm(foot - STATION, axis=1) + np.linalg.norm(foot - USER, axis=1)
    # The grid misses the lowest point by at most 5e-5 m, where the slope is zero.
    np.testing.assert_allclose(path_length(points, USER, STATION), [legs.min()], rtol=0, atol=1e-8)
    np.testing.assert_array_equal(image_of_station(points, STATION)[0], [8.0, 3.0, 9.0])


def test_an_undetermined_point_keeps_its_image_and_has_no_anchor():
    points = of_kind(drawn(), PointKind.UNDETERMINED)
    images = image_of_user(points, USER, STATION)
    moved = image_of_user(points, USER + np.array([4.0, 7.0, 0.0]), STATION)
    np.testing.assert_array_equal(images, moved)
    np.testing.assert_array_equal(images[:, :2], points.offset)
    np.testing.assert_array_equal(images[:, 2], isometry(points, USER)[:, 2])
    assert np.isnan(image_of_station(points, STATION)).all()


def test_the_wall_of_a_single_reflection_comes_back():
    walls = mirror_walls(StaticPoints.from_walls(NORMALS, DISTANCES))
    np.testing.assert_allclose(walls.normal[:2], NORMALS[:2, :2], **EXACT)
    np.testing.assert_allclose(walls.distance[:2], DISTANCES[:2], **EXACT)
    np.testing.assert_allclose(walls.glide[:2], 0.0, **EXACT)
    assert np.isnan(walls.distance[2])  # the ground is no vertical wall


def test_a_wall_bisects_the_user_and_the_image():
    points = StaticPoints.from_walls(NORMALS[:2], DISTANCES[:2])
    walls = mirror_walls(points)
    middle = 0.5 * (image_of_user(points, USER, STATION) + USER)[:, :2]
    np.testing.assert_allclose(np.sum(middle * walls.normal, axis=1), walls.distance, **EXACT)


def test_three_walls_glide_and_two_have_no_wall():
    one, two = (StaticPoints.from_walls(NORMALS[[k]], DISTANCES[[k]]) for k in (0, 1))
    even = compose(one, two)
    assert np.isnan(mirror_walls(even).glide).all()
    odd = compose(even, StaticPoints.from_walls(np.array([[0.28, 0.96, 0.0]]), np.array([7.0])))
    assert abs(mirror_walls(odd).glide[0]) > 1.0


@pytest.mark.slow
def test_length_has_a_finite_gradient_at_the_station_and_at_a_scatterer():
    points = jax.tree.map(jnp.asarray, StaticPoints.scatterers(USER[None]))
    at_scatterer = jax.grad(lambda p: path_length(points, p, jnp.asarray(STATION))[0])
    assert np.isfinite(at_scatterer(jnp.asarray(USER))).all()
    direct = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:1], drawn())
    compiled = jax.jit(image_of_user)(direct, jnp.asarray(USER), jnp.asarray(STATION))
    np.testing.assert_allclose(compiled, image_of_user(drawn()[:1], USER, STATION), **EXACT)
    image = image_of_station(direct, jnp.asarray(STATION))[0]
    slope = jax.grad(lambda p: path_length(direct, p, jnp.asarray(STATION))[0])(image)
    assert np.isfinite(slope).all()
