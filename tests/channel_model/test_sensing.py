"""Echoes of point scatterers against the radar equation and their own geometry."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model.sensing import first_bounces, sense
from echoscape.scene import PlanarArray
from echoscape.units import SPEED_OF_LIGHT

STATION = jnp.array([3.0, -2.0, 9.0])
POINT = jnp.array([[20.0, 11.0, 1.0], [-8.0, 30.0, 4.0]])
VELOCITY = jnp.array([[1.0, -2.0, 0.3], [0.0, 0.0, 0.0]])
SECTION = jnp.array([2.0, 0.5])
CARRIER = 5e9


def test_echoes_obey_the_radar_equation_and_tell_where_they_come_from():
    one = PlanarArray(2, 3, azimuth=0.4)
    echoes = sense(STATION, POINT, VELOCITY, SECTION, one, CARRIER)
    away = np.linalg.norm(np.asarray(POINT) - np.asarray(STATION), axis=1)
    wavelength = SPEED_OF_LIGHT / CARRIER
    power = wavelength**2 * np.asarray(SECTION) / ((4 * np.pi) ** 3 * away**4)
    assert np.allclose(np.abs(echoes.coefficient) ** 2, power[None, None], rtol=1e-9)
    assert np.allclose(first_bounces(echoes, STATION), POINT, atol=1e-9)
    # sending and hearing are reciprocal, and no two elements are alike
    assert np.allclose(echoes.coefficient, np.swapaxes(echoes.coefficient, 0, 1))
    assert abs(echoes.coefficient[0, 1, 0] - echoes.coefficient[0, 2, 0]) > 0.1 * power[0] ** 0.5


def test_doppler_is_the_rate_at_which_the_phase_turns():
    one, step = PlanarArray(), 1e-6
    phase = [
        np.angle(
            np.asarray(
                sense(STATION, POINT + t * VELOCITY, VELOCITY, SECTION, one, CARRIER).coefficient
            )[0, 0]
        )
        for t in (-step, step)
    ]
    turn = (phase[1] - phase[0] + np.pi) % (2 * np.pi) - np.pi
    doppler = sense(STATION, POINT, VELOCITY, SECTION, one, CARRIER).doppler
    assert turn / (2 * np.pi * 2 * step) == pytest.approx(np.asarray(doppler), abs=1e-3)
    assert doppler[0] != 0
    assert doppler[1] == 0
