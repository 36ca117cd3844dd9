"""How widely a channel spreads in delay and angle, and how much of it is one path.

Takes powers, delays and angles of one instant's paths.
Gives spreads.
"""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.units import wrap_angle

NAMES = ("delay", "departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith")


class Spreads(eqx.Module):
    """Power-weighted spreads, Eqs. (24)-(26) of [isac-gbsm]."""

    delay: Float[Array, "*batch"]
    """Root mean square of the delay about its mean [s]."""
    departure_azimuth: Float[Array, "*batch"]
    """Circular spread [rad]."""
    departure_zenith: Float[Array, "*batch"]
    """Root mean square about the mean [rad]."""
    arrival_azimuth: Float[Array, "*batch"]
    """Circular spread [rad]."""
    arrival_zenith: Float[Array, "*batch"]
    """Root mean square about the mean [rad]."""
    dominance: Float[Array, "*batch"]
    """Strongest path over the sum of all others, the K-factor where that path is direct [1]."""


def spreads(
    power: Float[Array, " path"],
    delay: Float[Array, " path"],
    departure_azimuth: Float[Array, " path"],
    departure_zenith: Float[Array, " path"],
    arrival_azimuth: Float[Array, " path"],
    arrival_zenith: Float[Array, " path"],
) -> Spreads:
    """Weigh the paths of one instant; spreads of no power at all are zero.

    The paper prints no formula for angles: azimuths take the circular spread
    ``sqrt(-2 ln|sum P e^(j a) / sum P|)``, zeniths, which do not wrap, the root mean square.
    """
    total = jnp.sum(power)
    weight = power / jnp.where(total > 0, total, 1.0)

    def linear(value):
        mean = weight @ value
        return jnp.sqrt(jnp.maximum(weight @ (value - mean) ** 2, 0.0))

    def circular(angle):
        long = jnp.abs(jnp.sum(weight * jnp.exp(1j * angle)))
        safe = jnp.clip(long, 1e-12, 1.0)
        return jnp.where(total > 0, jnp.sqrt(-2 * jnp.log(safe)), 0.0)

    strongest = jnp.max(power)
    rest = total - strongest
    return Spreads(
        delay=linear(delay),
        departure_azimuth=circular(departure_azimuth),
        departure_zenith=linear(departure_zenith),
        arrival_azimuth=circular(arrival_azimuth),
        arrival_zenith=linear(arrival_zenith),
        dominance=jnp.where(rest > 0, strongest / jnp.where(rest > 0, rest, 1.0), math.inf),
    )


def azimuth_deviation(
    power: Float[Array, " path"], azimuth: Float[Array, " path"]
) -> Float[Array, ""]:
    """Measure an azimuth spread the other way in use: root mean square about the circular mean.

    For comparison with programs that define it so, `quadriga-lib` among them; it never exceeds pi,
    where the circular spread of `spreads` has no bound.

    Args:
        power: Of the paths [1].
        azimuth: Of the paths [rad].
    """
    total = jnp.sum(power)
    weight = power / jnp.where(total > 0, total, 1.0)
    mean = jnp.angle(jnp.sum(weight * jnp.exp(1j * azimuth)))
    return jnp.sqrt(weight @ wrap_angle(azimuth - mean) ** 2)
