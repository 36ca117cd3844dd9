"""How a user holds its array while it moves: rotations over time.

Angles are bearing, downtilt and slant of TR 38.901, clause 7.1: about z, then y, then x.

Takes angles at instants, or a motion to look along.
Gives the rotation at any time.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_model.ray import Motion
from echoscape.channel_model.target import heading_along
from echoscape.scene import array_rotation


class Turning(eqx.Module):
    """Rotations of a user's axes over time."""

    time: Float[Array, " instant"]
    """When, rising [s]."""
    angle: Float[Array, "instant 3"]
    """Bearing, downtilt and slant, unwrapped [rad]."""


def fixed_turning(angle: Float[np.ndarray, "3"]) -> Turning:
    """Hold the array one way.

    Args:
        angle: Bearing, downtilt and slant [rad].
    """
    return Turning(jnp.array([0.0, 1.0]), jnp.asarray(np.tile(np.asarray(angle, float), (2, 1))))


def turn_along(motion: Motion) -> Turning:
    """Look where one goes; standing, where one went before, or goes next."""
    heading = np.unwrap(heading_along(np.asarray(motion.velocity)))
    angle = np.stack([heading, 0 * heading, 0 * heading], axis=1)
    return Turning(motion.time, jnp.asarray(angle))


def rotation_at(turning: Turning, time: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Find the user's axes, as columns in the site's frame; angles are interpolated linearly.

    Args:
        turning: The rotations.
        time: When [s].
    """
    bearing, tilt, slant = (jnp.interp(time, turning.time, angle) for angle in turning.angle.T)
    cos, sin, zero = jnp.cos(slant), jnp.sin(slant), jnp.zeros_like(slant)
    about_x = jnp.stack(
        [jnp.stack([zero + 1.0, zero, zero]), jnp.stack([zero, cos, -sin]),
         jnp.stack([zero, sin, cos])]
    )  # fmt: skip
    return array_rotation(bearing, tilt) @ about_x
