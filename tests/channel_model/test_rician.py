"""The Rician factor: measured against two powers, set, and refused where there is no sight."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import Motion
from echoscape.channel_model.ray import evolve
from echoscape.channel_model.rician import rician_factor, with_rician_factor
from echoscape.checks import InputError
from tests.channel_model.test_sensing import rays

TIME = jnp.array([0.0, 4.0, 10.0])
MOTION = Motion(
    TIME,
    jnp.array([[20.0, 11.0, 1.0], [24.0, 5.0, 1.0], [30.0, -4.0, 1.0]]),
    jnp.array([[1.0, -1.5, 0.0], [1.0, -1.5, 0.0], [1.0, -1.5, 0.0]]),
)


@pytest.mark.slow
def test_a_stated_factor_is_measured_again_and_the_total_stays():
    world = rays()
    states = [evolve(world, MOTION.position[k], MOTION.velocity[k], TIME[k]) for k in (0, 2)]
    expected = [float(s.power[0] / s.power[1:].sum()) for s in states]
    found = np.asarray(rician_factor(world, MOTION, TIME))
    assert found[[0, 2]] == pytest.approx(expected, rel=1e-9)
    gain = jnp.broadcast_to(world.gain_db[:1], (3, world.point.shape[0]))
    world = dataclasses.replace(
        world, time=TIME, gain_db=gain, presence=jnp.ones_like(gain).at[1, 0].set(0.0)
    )
    changed = with_rician_factor(world, MOTION, 7.0)
    factor = np.asarray(rician_factor(changed, MOTION, TIME))
    assert factor[[0, 2]] == pytest.approx(10**0.7, rel=1e-9)
    assert factor[1] == 0.0  # out of sight nothing changes
    assert np.allclose(changed.gain_db[1], world.gain_db[1])
    for k in range(3):
        before, after = (
            evolve(each, MOTION.position[k], MOTION.velocity[k], TIME[k]).power.sum()
            for each in (world, changed)
        )
        assert float(after) == pytest.approx(float(before), rel=1e-9)


@pytest.mark.slow
def test_without_sight_a_factor_is_refused():
    world = rays()
    hidden = dataclasses.replace(world, presence=world.presence.at[:, 0].set(0.0))
    motion = dataclasses.replace(MOTION, time=jnp.array([0.0, 4.0, 10.0]))
    with pytest.raises(InputError, match="a Rician factor needs the straight way beside other"):
        with_rician_factor(hidden, motion, 3.0)
