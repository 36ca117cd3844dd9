"""What a receiver can know of paths: directions, delays, powers, and how far to trust them.

A report of a user and the echoes of a target share this type.  In a report, departure is at the
base station and arrival at the user; in an echo both are at the base station.

Takes arrays with the paths on the last axis.
Gives `PathEstimates`, the type that reports, channel maps and localization exchange.
"""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float

AnyArray = jax.Array | np.ndarray


class PathEstimates(eqx.Module):
    """Sets of path parameters, padded to one length; no identity unless stated.

    A quantity that was not measured holds zero with an infinite standard deviation, so that its
    information is zero and no NaN is ever stored.  Padding has ``valid`` false.
    """

    departure_azimuth: Float[AnyArray, "*batch path"]
    """Azimuth at the base station, from +x counter-clockwise [rad]."""
    departure_zenith: Float[AnyArray, "*batch path"]
    """Angle from +z at the base station [rad]."""
    arrival_azimuth: Float[AnyArray, "*batch path"]
    """Azimuth at the receiving end [rad]."""
    arrival_zenith: Float[AnyArray, "*batch path"]
    """Angle from +z at the receiving end [rad]."""
    delay: Float[AnyArray, "*batch path"]
    """Delay: one-way in a report, out and back in an echo [s]."""
    power: Float[AnyArray, "*batch path"]
    """Power gain, linear [1]."""
    departure_azimuth_std: Float[AnyArray, "*batch path"]
    """Standard deviation of `departure_azimuth` [rad]."""
    departure_zenith_std: Float[AnyArray, "*batch path"]
    """Standard deviation of `departure_zenith` [rad]."""
    arrival_azimuth_std: Float[AnyArray, "*batch path"]
    """Standard deviation of `arrival_azimuth` [rad]; infinite where not measured."""
    arrival_zenith_std: Float[AnyArray, "*batch path"]
    """Standard deviation of `arrival_zenith` [rad]; infinite where not measured."""
    delay_std: Float[AnyArray, "*batch path"]
    """Standard deviation of `delay` [s]."""
    valid: Bool[AnyArray, "*batch path"]
    """False for padding."""

    def __getitem__(self, index) -> "PathEstimates":
        """Index the batch axes of every field."""
        return jax.tree.map(lambda leaf: leaf[index], self)
