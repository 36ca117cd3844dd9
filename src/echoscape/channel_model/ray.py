"""Rays of a channel between observations: static points, a moving user, everything else derived.

Between two observations nothing needs to be interpolated but the user's place: delays, angles and
Doppler follow from it and from points that stand still, exactly and at any rate.  The power of a
ray follows its spreading, ``1 / length^2`` by way of walls and ``1 / (d1 d2)^2`` over the two legs
to a scatterer, times a gain that is interpolated on the decibel scale, and a presence between 0 and
1 that rises and falls smoothly at birth and death.  Points may move, as scatterers on a car do.

Takes a `RaySet`, a `Motion` and times.
Gives `RayState`.
"""

import abc
import dataclasses
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from echoscape.scene import distance
from echoscape.tracking.anchor import AnchorType, predict_path
from echoscape.units import delay_of

_SAME = 1e-3  # nearer to the station than this, a ray's point is the station [m]
NEAREST = 0.1
"""Below this distance from a scatterer its power rises no more [m]."""
AnyArray = jax.Array | np.ndarray


class Rays(eqx.Module):
    """What a channel is made of: rays whose lengths and angles follow from where the user is."""

    station: eqx.AbstractVar[Float[Array, "3"]]
    time: eqx.AbstractVar[Float[Array, " instant"]]
    gain_db: eqx.AbstractVar[Float[Array, "instant ray"]]
    presence: eqx.AbstractVar[Float[Array, "instant ray"]]
    jones: eqx.AbstractVar[Complex[Array, "instant ray pol pol"] | None]

    @property
    @abc.abstractmethod
    def direct(self) -> Bool[Array, " ray"]:
        """Which ray is the line of sight."""

    @abc.abstractmethod
    def state(
        self, position: Float[Array, "3"], velocity: Float[Array, "3"], time: Float[Array, ""]
    ) -> "RayState":
        """Find every ray at one time, see `evolve`."""


Kind = TypeVar("Kind", bound=Rays)
"""Rays of one kind, given and given back."""


class RaySet(Rays):
    """Static points that rays come from, and how strong each is over time."""

    station: Float[Array, "3"]
    """Position of the station [m]."""
    point: Float[Array, "ray 3"]
    """Virtual anchors, or scatterers [m]."""
    scattered: Bool[Array, " ray"]
    """Whether the point is a scatterer."""
    rotation: Float[Array, " ray"]
    """Rotation angle of the isometry [rad]; the column ``turn`` of tracks."""
    reflection: Float[Array, " ray"]
    """-1 after an odd number of reflections in vertical walls, else +1."""
    vertical_reflection: Float[Array, " ray"]
    """-1 after an odd number of reflections in level surfaces, else +1."""
    time: Float[Array, " instant"]
    """When gains and presence are given, rising [s]."""
    gain_db: Float[Array, "instant ray"]
    """Power gain times squared length, in decibels [dB m^2]; of a scatterer, times the squares of
    both legs [dB m^4]."""
    presence: Float[Array, "instant ray"]
    """How much of the ray's amplitude is there, 0 to 1."""
    jones: Complex[Array, "instant ray pol pol"] | None = None
    """What a ray does to phase and polarisation, receive by transmit, vertical before horizontal:
    mean square 1/2 an entry, or of size 1 for one polarisation; nothing if not known."""
    shift: Float[Array, "instant ray 3"] | None = None
    """How far each point is from `point` at the instants; nothing moves if not given [m]."""
    shift_velocity: Float[Array, "instant ray 3"] | None = None
    """How fast it moves then [m/s]."""

    @property
    def direct(self) -> Bool[Array, " ray"]:
        """Which ray is the line of sight: its point is the station."""
        return ~self.scattered & (distance(self.point - self.station[None]) < _SAME)

    def moved(self, time: Float[Array, ""]) -> tuple["RaySet", Float[Array, "ray 3"]]:
        """Put every point where it is at one time, and tell how fast it moves [m/s]."""
        if self.shift is None or self.shift_velocity is None:
            return self, jnp.zeros_like(self.point)
        along = jax.vmap(lambda place, speed: move(Motion(self.time, place, speed), time), (1, 1))
        step, velocity = along(self.shift, self.shift_velocity)
        here = self.point + step
        return dataclasses.replace(self, point=here, shift=None, shift_velocity=None), velocity

    def state(self, position, velocity, time):
        """Find every ray at one time, see `evolve`."""
        rays, speeds = self.moved(time)
        kind = jnp.where(rays.scattered, int(AnchorType.SCATTERER), int(AnchorType.EVEN))
        kind = jnp.where(~rays.scattered & (rays.reflection < 0), int(AnchorType.ODD), kind)

        def one(point, rotation, kind, reflection, vertical):
            local = jnp.concatenate([position, point, rotation[None]])
            return predict_path(local, kind, reflection, vertical, rays.station)

        which = kind, rays.reflection, rays.vertical_reflection
        measured = jax.vmap(one)(rays.point, rays.rotation, *which)
        toward = rays.point - position[None]
        out = rays.point - rays.station[None]
        speed = (toward @ velocity - jnp.sum(toward * speeds, axis=1)) / _least(distance(toward))
        first = jnp.sum(out * speeds, axis=1) / _least(distance(out))
        speed = speed - jnp.where(rays.scattered, first, 0.0)
        gain_db, presence = between_instants(rays, time)
        length = measured[:, 0]
        legs = distance(out), distance(toward)
        power = presence**2 * 10 ** (0.1 * gain_db) / spreading(length, *legs, rays.scattered)
        return RayState(length, *measured[:, 1:].T, speed=speed, power=power)


class Motion(eqx.Module):
    """Where a user is and how it moves, at given times."""

    time: Float[Array, " instant"]
    """When, rising [s]."""
    position: Float[Array, "instant 3"]
    """Where [m]."""
    velocity: Float[Array, "instant 3"]
    """How fast [m/s]."""


class RayState(eqx.Module):
    """All rays at one time."""

    length: Float[Array, "*time ray"]
    """Length [m]."""
    arrival_azimuth: Float[Array, "*time ray"]
    """Azimuth at the user [rad]."""
    arrival_zenith: Float[Array, "*time ray"]
    """Angle from +z at the user [rad]."""
    departure_azimuth: Float[Array, "*time ray"]
    """Azimuth at the station [rad]."""
    departure_zenith: Float[Array, "*time ray"]
    """Angle from +z at the station [rad]."""
    speed: Float[Array, "*time ray"]
    """Speed at which the length shrinks; Doppler is this over the wavelength [m/s]."""
    power: Float[Array, "*time ray"]
    """Power gain, presence included [1]."""

    @property
    def delay(self) -> Float[Array, "*time ray"]:
        """Delay, absolute [s]."""
        return delay_of(self.length)


def move(motion: Motion, time: Float[Array, ""]) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Find position and velocity at any time, by the cubic that both ends' velocities fix.

    Outside the given times the nearest end goes straight on.
    """
    last = len(motion.time) - 2
    i = jnp.clip(jnp.searchsorted(motion.time, time, side="right") - 1, 0, last)
    begin, end = motion.time[i], motion.time[i + 1]
    step = end - begin
    first, second = motion.position[i], motion.position[i + 1]
    u = jnp.clip((time - begin) / step, 0.0, 1.0)
    pull, push = step * motion.velocity[i], step * motion.velocity[i + 1]
    # a + b u + c u^2 + d u^3
    c = 3 * (second - first) - 2 * pull - push
    d = 2 * (first - second) + pull + push
    place = first + u * (pull + u * (c + u * d))
    speed = (pull + u * (2 * c + 3 * u * d)) / step
    beyond = time - jnp.clip(time, begin, end)
    return place + beyond * speed, speed


def spreading(
    length: Float[AnyArray, "*ray"],
    first: Float[AnyArray, "*ray"],
    second: Float[AnyArray, "*ray"],
    scattered: Bool[AnyArray, "*ray"],
) -> Float[AnyArray, "*ray"]:
    """Tell what a ray's power falls with: squared length, or the squares of two legs.

    A wall mirrors a spherical wave, which goes on spreading; a scatterer sends out one of its own.

    Args:
        length: Of the whole path [m].
        first: From the station to the point [m].
        second: From the point to the user [m].
        scattered: Whether the point is a scatterer.
    """
    nearest = NEAREST
    legs = jnp.maximum(first, nearest) * jnp.maximum(second, nearest)
    return jnp.where(scattered, legs, length) ** 2


def evolve(
    rays: Rays,
    position: Float[Array, "3"],
    velocity: Float[Array, "3"],
    time: Float[Array, ""],
) -> RayState:
    """Find every ray at one time, Eqs. (5)-(9) of [isac-gbsm]; with image points from a `RaySet`.

    Args:
        rays: The rays.
        position: Of the user [m].
        velocity: Of the user [m/s].
        time: For gains and presence [s].
    """
    return rays.state(position, velocity, time)


def _least(distance: Float[Array, " ray"]) -> Float[Array, " ray"]:
    return jnp.maximum(distance, 1e-9)


def between_instants(
    rays: Rays, time: Float[Array, ""]
) -> tuple[Float[Array, " ray"], Float[Array, " ray"]]:
    """Interpolate gains and presence."""
    i, u = instant_of(rays, time)
    gain_db = rays.gain_db[i] + u * (rays.gain_db[i + 1] - rays.gain_db[i])
    presence = rays.presence[i] + u * (rays.presence[i + 1] - rays.presence[i])
    return gain_db, presence


def jones_at(rays: Rays, time: Float[Array, ""]) -> Complex[Array, "ray pol pol"]:
    """Interpolate the Jones matrices of rays that bring some.

    Raises:
        ValueError: They bring none.
    """
    if rays.jones is None:
        raise ValueError("these rays bring no Jones matrices")
    i, u = instant_of(rays, time)
    return rays.jones[i] + u * (rays.jones[i + 1] - rays.jones[i])


def instant_of(rays: Rays, time: Float[Array, ""]) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Find between which two instants a time lies, and how far from the first."""
    last = len(rays.time) - 2
    i = jnp.clip(jnp.searchsorted(rays.time, time, side="right") - 1, 0, last)
    return i, jnp.clip((time - rays.time[i]) / (rays.time[i + 1] - rays.time[i]), 0.0, 1.0)
