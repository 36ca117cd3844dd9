"""Directions: round trips, the poles, and frames of arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.scene import (
    angles_of,
    array_rotation,
    distance,
    elevation,
    unit_vector,
)


def test_a_known_direction_points_where_it_should():
    # 30 degrees from x towards y, 60 degrees down from z.
    azimuth, zenith = jnp.asarray(np.pi / 6), jnp.asarray(np.pi / 3)
    expected = [np.sqrt(3) / 2 * np.sqrt(3) / 2, np.sqrt(3) / 2 * 0.5, 0.5]
    assert np.allclose(unit_vector(azimuth, zenith), expected, rtol=1e-15)
    assert np.isclose(elevation(np.pi / 3), np.pi / 6)
    assert np.isclose(elevation(elevation(0.3)), 0.3)


def test_angles_come_back_from_vectors_of_any_length(key):
    azimuth = jax.random.uniform(key, (50,), minval=-np.pi, maxval=np.pi)
    zenith = jax.random.uniform(jax.random.split(key)[0], (50,), minval=0.01, maxval=3.13)
    length = jnp.linspace(0.1, 90.0, 50)[:, None]
    again = angles_of(length * unit_vector(azimuth, zenith))
    assert np.allclose(again[0], azimuth, atol=1e-13)
    assert np.allclose(again[1], zenith, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vector", "expected"),
    [((0, 0, 2.0), (0, 0)), ((0, 0, -2.0), (0, np.pi)), ((0, 0, 0), (0, 0))],
)
def test_poles_and_the_origin_have_finite_angles_and_gradients(vector, expected):
    vector = jnp.asarray(vector, jnp.float64)
    assert np.allclose(jnp.stack(angles_of(vector)), expected, atol=1e-15)
    assert np.all(np.isfinite(jax.jacfwd(angles_of)(vector)))
    assert np.all(np.isfinite(jax.jacrev(angles_of)(vector)))
    assert np.all(np.isfinite(jax.grad(distance)(vector)))
    assert distance(vector) == np.linalg.norm(vector)


def test_gradients_match_finite_differences():
    vector, step = jnp.array([-3.0, 2.0, -0.7]), 1e-6

    def both(vector):
        return jnp.stack([*angles_of(vector), distance(vector)])

    differences = [
        (both(vector + step * axis) - both(vector - step * axis)) / (2 * step) for axis in np.eye(3)
    ]
    assert np.allclose(jax.jacfwd(both)(vector), np.stack(differences, axis=-1), atol=1e-9)


def test_an_array_sees_its_boresight_straight_ahead_and_left_on_its_left():
    azimuth, tilt = jnp.asarray(2.1), jnp.asarray(0.2)
    rotation = array_rotation(azimuth, tilt)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)
    assert np.isclose(np.linalg.det(rotation), 1.0)
    ahead = unit_vector(azimuth, jnp.asarray(np.pi / 2 + 0.2)) @ rotation
    assert np.allclose(ahead, [1.0, 0.0, 0.0], atol=1e-14)
    left = unit_vector(azimuth + np.pi / 2, jnp.asarray(np.pi / 2)) @ rotation
    assert np.allclose(left, [0.0, 1.0, 0.0], atol=1e-14)
    level = unit_vector(azimuth, jnp.asarray(np.pi / 2)) @ rotation
    assert np.allclose(level, [np.cos(0.2), 0.0, np.sin(0.2)], atol=1e-14)


def test_without_tilt_only_the_azimuth_turns(key):
    azimuth = jax.random.uniform(key, (20,), minval=-np.pi, maxval=np.pi)
    zenith = jnp.linspace(0.3, 2.9, 20)
    rotation = array_rotation(jnp.asarray(-2.5), jnp.asarray(0.0))
    turned = jax.vmap(unit_vector)(azimuth, zenith) @ rotation
    assert np.allclose(turned, jax.vmap(unit_vector)(azimuth + 2.5, zenith), atol=1e-13)
