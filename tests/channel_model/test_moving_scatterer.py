"""Targets as scatterers of communication: the bistatic radar equation, as the sensing channel."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import Motion, add_moving_scatterers, realize
from echoscape.channel_model.sensing import echo_realization, sense
from echoscape.channel_model.target_types import target_type
from echoscape.checks import InputError
from echoscape.scene import PlanarArray
from tests.channel_model.test_ray import evolve
from tests.channel_model.test_sensing import (
    CARRIER,
    OTHER,
    PLACE,
    SECTION,
    STATION,
    TIME,
    VELOCITY,
    WAVELENGTH,
    rays,
    straight,
    target,
)

STILL = Motion(jnp.array([0.0, 2.0]), jnp.asarray(np.stack([OTHER, OTHER])), jnp.zeros((2, 3)))


def over(base, time, jones=None):
    """Give rays other instants, and perhaps Jones matrices."""
    shape = (len(time), base.gain_db.shape[1])
    rows = {n: jnp.broadcast_to(getattr(base, n)[:1], shape) for n in ("gain_db", "presence")}
    return dataclasses.replace(base, time=jnp.asarray(time), jones=jones, **rows)


def test_a_moving_scatterer_has_the_radar_equation_and_its_doppler():
    user_speed = np.array([0.4, -0.3, 0.0])
    motion = Motion(
        jnp.asarray(TIME), jnp.asarray(OTHER + TIME[:, None] * user_speed),
        jnp.asarray(np.tile(user_speed, (3, 1))),
    )  # fmt: skip
    found = add_moving_scatterers(over(straight(), TIME), [target()], motion, CARRIER, (0.0, 2.0))
    when = 0.4

    def length(t):
        place, user = PLACE[0] + t * VELOCITY, OTHER + t * user_speed
        return np.linalg.norm(place - STATION), np.linalg.norm(place - user)

    here = OTHER + when * user_speed
    state = evolve(found, jnp.asarray(here), jnp.asarray(user_speed), jnp.array(when))
    legs = length(when)
    power = WAVELENGTH**2 * SECTION / ((4 * np.pi) ** 3 * (legs[0] * legs[1]) ** 2)
    assert state.power[1] == pytest.approx(power, rel=1e-9)
    assert state.length[1] == pytest.approx(sum(legs), rel=1e-12)
    slope = (sum(length(when + 1e-5)) - sum(length(when - 1e-5))) / 2e-5
    assert state.speed[1] == pytest.approx(-slope, rel=1e-6)
    assert state.length[0] == pytest.approx(np.linalg.norm(here - STATION), rel=1e-12)


@pytest.mark.slow
def test_both_channels_of_one_table_agree(key):
    # a user who stands where another station is receives what that station senses
    when, kind = jnp.array([0.0, 0.7]), [target(target_type("vehicle-points"))]
    transmit, receive = PlanarArray(1, 2, azimuth=0.4), PlanarArray(2, 1)
    sensed = echo_realization(
        sense(straight(), straight(OTHER), kind, when, CARRIER, transmit, receive)
    )
    base = over(straight(), np.linspace(0.0, 2.0, 41))
    among = add_moving_scatterers(base, kind, STILL, CARRIER)
    made = realize(among, STILL, when, CARRIER, transmit, receive, key=key)
    assert np.allclose(made.delay[:, 1:], sensed.delay, rtol=1e-12)
    turn = np.asarray(made.coefficient[..., 1:] / sensed.coefficient)
    # cross-sections are interpolated between instants of 0.05 s, on the decibel scale
    assert np.allclose(np.abs(turn), 1.0, rtol=2e-3)
    assert np.allclose(np.angle(turn), 0.0, atol=1e-6)


def test_a_target_that_is_not_known_all_the_time_is_refused():
    with pytest.raises(InputError, match=r"target 0 is known from 0 to 2 s, but 0 to 10 s was"):
        add_moving_scatterers(straight(), [target()], STILL, CARRIER)


def test_jones_matrices_keep_polarisation_behind_known_ones():
    given = jnp.broadcast_to(jnp.eye(2, dtype=complex), (2, 5, 2, 2))
    base = over(rays(), np.array([0.0, 2.0]), given)
    found = add_moving_scatterers(base, [target()], STILL, CARRIER)
    assert found.jones.shape == (2, 6, 2, 2)
    assert np.allclose(found.jones[0, 5], np.diag([1.0, -1.0]))
