"""Rays of static points: the paths that mirrors give, with the power that a map says."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import rays_from_points
from echoscape.channel_model.ray import evolve
from echoscape.checks import InputError
from echoscape.scene.static_points import StaticPoints
from tests.worlds.walls import STATION, WALLS, image_path


@pytest.mark.slow
def test_walls_make_the_paths_of_mirrors():
    normal = np.stack([wall[0] for wall in WALLS])
    points = StaticPoints.from_walls(normal, np.array([wall[1] for wall in WALLS]))
    user = np.array([5.0, -30.0, 2.2])
    with pytest.raises(InputError, match="needs the gain of every static point, and 4 of 4"):
        rays_from_points(points, STATION, (0.0, 1.0))
    points = dataclasses.replace(points, log_gain=np.log([1e-6, 2e-6, 3e-6, np.nan]))
    rays = rays_from_points(points, STATION, (0.0, 1.0), default_gain=4e-6)
    state = evolve(rays, jnp.asarray(user), jnp.zeros(3), jnp.array(0.5))
    for k, wall in enumerate(WALLS):
        exact, _, _ = image_path(user, [wall])
        seen = [
            state.length[k], state.arrival_azimuth[k], state.arrival_zenith[k],
            state.departure_azimuth[k], state.departure_zenith[k],
        ]  # fmt: skip
        assert np.asarray(seen) == pytest.approx(exact, abs=1e-9)
        assert state.power[k] * exact[0] ** 2 == pytest.approx((k + 1) * 1e-6)


@pytest.mark.slow
def test_a_scatterer_sends_out_a_wave_of_its_own():
    place = np.array([[20.0, -14.0, 5.0]])
    points = StaticPoints.scatterers(place, log_gain=np.log([3e-4]))
    rays = rays_from_points(points, STATION, (0.0, 1.0))
    for user in ([18.0, -13.0, 4.0], [-60.0, 33.0, 1.5]):
        state = evolve(rays, jnp.asarray(user), jnp.zeros(3), jnp.array(0.5))
        first, second = (np.linalg.norm(place[0] - end) for end in (STATION, user))
        assert state.length[0] == pytest.approx(first + second)
        assert state.power[0] == pytest.approx(3e-4 / (first * second) ** 2)
    # nearer than a hand's breadth the law no longer holds
    inside = [evolve(rays, jnp.asarray(place[0] + [d, 0, 0]), jnp.zeros(3), jnp.array(0.5)).power[0]
              for d in (0.01, 0.05, 0.2)]  # fmt: skip
    assert inside[0] == pytest.approx(inside[1])
    assert inside[1] == pytest.approx(4 * inside[2])
