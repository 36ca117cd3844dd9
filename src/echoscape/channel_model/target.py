"""Targets that move: where their scattering points are at any time, and how they turn.

A target's centre goes along the cubic between the places of its table; its points keep their places
in its own axes, which the heading turns, and some of them rotate or swing there, which makes
micro-Doppler.

Takes a `Target` and times.
Gives positions and velocities of points, and the turn from the target's axes into the site's.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_model.ray import Motion, move
from echoscape.channel_model.target_types import TargetType
from echoscape.checks import InputError

LARGEST_GAP = 10.0
"""Places further apart in time do not tell the way between them [s]."""
_STANDING = 0.05  # below this speed the heading stays what it was [m/s]


class Target(eqx.Module):
    """One target on its way."""

    motion: Motion
    """Where its centre is."""
    heading: Float[Array, " instant"]
    """Where it looks at the instants of `motion`, from +x counter-clockwise, unwrapped [rad]."""
    type: TargetType
    """Its points."""


def make_target(
    time: Float[np.ndarray, " instant"],
    position: Float[np.ndarray, "instant 3"],
    type: TargetType,
    *,
    velocity: Float[np.ndarray, "instant 3"] | None = None,
    heading: Float[np.ndarray, " instant"] | None = None,
) -> Target:
    """Make a target of the places that it passes.

    Args:
        time: When, rising [s].
        position: Where [m].
        type: Its points.
        velocity: How fast [m/s]; differences of the places if not given.
        heading: Where it looks [rad]; along its motion if not given.
    """
    time, position = np.asarray(time, float), np.asarray(position, float)
    if len(time) == 1:
        time, position = np.array([time[0], time[0] + 1.0]), np.repeat(position, 2, axis=0)
        velocity = np.zeros((2, 3))
        heading = None if heading is None else np.repeat(heading, 2)
    speed = np.asarray(np.gradient(position, time, axis=0) if velocity is None else velocity)
    if heading is None:
        heading = heading_along(speed)
    motion = Motion(*(jnp.asarray(each) for each in (time, position, speed)))
    return Target(motion, jnp.asarray(np.unwrap(heading)), type)


def heading_along(velocity: Float[np.ndarray, "instant 3"]) -> Float[np.ndarray, " instant"]:
    """Look where one goes; standing, where one went before, or goes next [rad]."""
    moving = np.flatnonzero(np.hypot(velocity[:, 0], velocity[:, 1]) > _STANDING)
    if not len(moving):
        return np.zeros(len(velocity))
    last = np.maximum(np.searchsorted(moving, np.arange(len(velocity)), side="right") - 1, 0)
    return np.arctan2(velocity[:, 1], velocity[:, 0])[moving[last]]


def stands_still(target: Target) -> bool:
    """Tell whether a target never moves, so that it is known at all times."""
    place = np.asarray(target.motion.position)
    return bool(np.ptp(place, axis=0).max() == 0) and not np.any(np.asarray(target.motion.velocity))


def check_gaps(target: Target, first: float, last: float, name: str) -> None:
    """Refuse times that a target's table does not tell about.

    Args:
        target: The target.
        first: First time asked for [s].
        last: Last time asked for [s].
        name: What to call the target.

    Raises:
        InputError: The times lie outside the table's, or a gap of more than `LARGEST_GAP` in the
            table lies among them.
    """
    time = np.asarray(target.motion.time)
    if stands_still(target):
        return
    if first < time[0] - 1e-9 or last > time[-1] + 1e-9:
        raise InputError(
            f"{name} is known from {time[0]:g} to {time[-1]:g} s, but {first:g} to {last:g} s was "
            "asked for; give --times within"
        )
    gap = np.diff(time)
    wide = (gap > LARGEST_GAP) & (time[1:] > first) & (time[:-1] < last)
    if wide.any():
        k = int(np.argmax(wide))
        raise InputError(
            f"{name} has no place between {time[k]:g} and {time[k + 1]:g} s, a gap of {gap[k]:g} s,"
            f" more than the {LARGEST_GAP:g} s that can be bridged; give --times on one side of it"
        )


def motion_at(
    target: Target, time: Float[Array, " time"]
) -> tuple[
    Float[Array, "time point 3"], Float[Array, "time point 3"], Float[Array, "time point 3 3"]
]:
    """Place all points at all times, with velocities and the turn from the target's axes.

    Args:
        target: The target.
        time: When [s].
    """
    kind = target.type
    still = jnp.zeros_like(kind.position)
    spin = still if kind.spin is None else kind.spin
    swing = still if kind.swing is None else kind.swing
    return _motion_at(target.motion, target.heading, kind.position, spin, swing, time)


@jax.jit
def _motion_at(motion, heading, position, spin, swing, time):
    """Compile once for all types with as many points."""

    def place(t):
        radius, rate, first = spin.T
        angle = 2 * math.pi * rate * t + first
        around = jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle), 0.0 * angle], axis=1)
        size, rate, first = swing.T
        ahead = size * jnp.sin(2 * math.pi * rate * t + first)
        own = position + around + jnp.stack([ahead, 0.0 * ahead, 0.0 * ahead], axis=1)
        angle = jnp.interp(t, motion.time, heading)
        cos, sin, zero = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
        rows = ([cos, -sin, zero], [sin, cos, zero], [zero, zero, zero + 1.0])
        turn = jnp.stack([jnp.stack(row) for row in rows])
        return move(motion, t)[0][None] + own @ turn.T, turn

    def one(t):
        (places, turn), (speeds, _) = jax.jvp(place, (t,), (jnp.ones_like(t),))
        return places, speeds, jnp.broadcast_to(turn, (len(places), 3, 3))

    return jax.vmap(one)(time)
