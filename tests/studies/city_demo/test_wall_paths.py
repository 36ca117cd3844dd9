"""Retracing: mirrors placed by hand, off the axes."""

import numpy as np

from echoscape.studies.city_demo.wall_paths import horizontal_length, mirrored_station, retrace
from echoscape.units import SPEED_OF_LIGHT


def reflected(point, wall):
    """Mirror a point at the line through a wall."""
    along = (wall[1] - wall[0]) / np.linalg.norm(wall[1] - wall[0])
    away = point - wall[0]
    return wall[0] + 2 * (away @ along) * along - away


def azimuth_and_length(vector):
    return float(np.arctan2(vector[1], vector[0])), float(np.linalg.norm(vector))


def test_a_single_bounce_ends_where_its_mirror_image_says():
    wall = np.array([[4.0, -3.0], [9.0, 12.0]])
    start, end = np.array([0.5, 0.25]), np.array([1.5, 6.0])
    azimuth, length = azimuth_and_length(reflected(end, wall) - start)
    corners = retrace(wall[None], start, azimuth, length)
    assert corners.shape == (3, 2)
    np.testing.assert_allclose(corners[-1], end, atol=1e-9)
    np.testing.assert_allclose(mirrored_station(corners), reflected(start, wall), atol=1e-9)


def test_two_bounces_in_order_and_a_wall_that_is_out_of_the_way():
    first = np.array([[5.0, -4.0], [6.0, 9.0]])
    second = np.array([[-4.0, 7.0], [7.0, 9.5]])
    aside = np.array([[-9.0, -9.0], [-8.0, -3.0]])
    start, end = np.array([0.0, 0.0]), np.array([1.0, 4.5])
    image = reflected(reflected(end, second), first)
    azimuth, length = azimuth_and_length(image - start)
    corners = retrace(np.stack([second, aside, first]), start, azimuth, length)
    assert len(corners) == 4
    np.testing.assert_allclose(corners[-1], end, atol=1e-9)
    expected = reflected(reflected(start, first), second)
    np.testing.assert_allclose(mirrored_station(corners), expected, atol=1e-9)


def test_without_a_wall_in_reach_the_path_is_straight():
    wall = np.array([[[10.0, -1.0], [10.0, 1.0]]])
    np.testing.assert_allclose(
        retrace(wall, np.zeros(2), 0.0, 9.5), [[0.0, 0.0], [9.5, 0.0]], atol=1e-12
    )


def test_a_sloping_path_is_shorter_from_above():
    assert np.isclose(horizontal_length(10 / SPEED_OF_LIGHT, np.pi / 6), 5.0)
