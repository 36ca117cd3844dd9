"""The paths of a wave between two ends, as physics has them, before any receiver.

Takes arrays with the paths on the last axis.
Gives `Paths`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int


class Paths(eqx.Module):
    """Sets of paths, padded to one length; the first end is always a base station."""

    gain: Complex[Array, "*batch path"]
    """Amplitude between isotropic antennas, carrier phase ``exp(-j 2 pi f delay)`` included [1]."""
    delay: Float[Array, "*batch path"]
    """Delay, absolute, never normalised [s]."""
    departure_azimuth: Float[Array, "*batch path"]
    """Azimuth at the first end, from +x counter-clockwise [rad]."""
    departure_zenith: Float[Array, "*batch path"]
    """Angle from +z at the first end [rad]."""
    arrival_azimuth: Float[Array, "*batch path"]
    """Azimuth at the second end, looking back along the path [rad]."""
    arrival_zenith: Float[Array, "*batch path"]
    """Angle from +z at the second end [rad]."""
    doppler: Float[Array, "*batch path"]
    """Shift of the carrier; zero while nothing moves [Hz]."""
    bounces: Int[Array, "*batch path"]
    """Interactions on the way; 0 is line of sight."""
    first_bounce: Float[Array, "*batch path 3"]
    """First interaction; for line of sight the second end [m]."""
    last_bounce: Float[Array, "*batch path 3"]
    """Last interaction; for line of sight the first end [m]."""
    identity: Int[Array, "*batch path"]
    """Same number, same physical path at another place: the scatterer's index, -1 for line of
    sight, and for the pair (i, j) of a cascade ``i * paths + j``."""
    valid: Bool[Array, "*batch path"]
    """False for padding."""

    @property
    def power(self) -> Float[Array, "*batch path"]:
        """Power gain, zero for padding [1]."""
        return jnp.where(self.valid, jnp.abs(self.gain) ** 2, 0.0)

    def __getitem__(self, index) -> "Paths":
        """Index the batch axes of every field."""
        return jax.tree.map(lambda leaf: leaf[index], self)


def strongest(paths: Paths, count: int) -> Paths:
    """Keep one set's ``count`` strongest paths in falling power, padded if there are fewer."""
    order = jnp.argsort(jnp.where(paths.valid, -paths.power, jnp.inf))[:count]
    kept = paths[order]
    missing = count - order.shape[0]
    if missing <= 0:
        return kept
    return jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, jnp.zeros((missing, *leaf.shape[1:]), leaf.dtype)]),
        kept,
    )
