"""What one antenna element sends into each direction: field patterns, slants, rotations.

A pattern is a field with a component along rising zenith and one along rising azimuth, in the
element's own axes (x its boresight, y left, z up); its squared size is the gain.  An element holds
one or two antennas, each slanted about the boresight.  Turned, a field keeps its strength and its
polarisation turns with the axes, as clause 7.1.3 of TR 38.901 has it.

Takes directions.
Gives field components along the site's zenith and azimuth.
"""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from echoscape.checks import InputError, unknown_name
from echoscape.scene.direction import angles_of, unit_vector
from echoscape.scene.direction_grid import DirectionGrid, lay_grid
from echoscape.units import from_db, wrap_angle


class AntennaPattern(eqx.Module):
    """How an upright element's field depends on direction."""

    @abc.abstractmethod
    def field(self, azimuth: Float[Array, ""], zenith: Float[Array, ""]) -> Complex[Array, "2"]:
        """Give the components along rising zenith and azimuth; squared sizes add to the gain [1].

        Args:
            azimuth: From the boresight, counter-clockwise [rad].
            zenith: From the element's top [rad].
        """


def _upright(gain: Float[Array, ""]) -> Complex[Array, "2"]:
    size = jnp.sqrt(gain)
    return jnp.stack([size, 0.0 * size]).astype(complex)


class IsotropicPattern(AntennaPattern):
    """The same gain, 1, in all directions."""

    def field(self, azimuth, zenith):
        """Give a vertical field of size 1."""
        return _upright(1.0 + 0.0 * azimuth)


class DipolePattern(AntennaPattern):
    """A short dipole along the element's vertical: gain ``1.5 sin(zenith)^2``."""

    def field(self, azimuth, zenith):
        """Give the dipole's field."""
        return _upright(1.5 * jnp.sin(zenith) ** 2)


class SectorPattern(AntennaPattern):
    """The element of TR 38.901, Table 7.3-1: 65 degrees wide, 8 dBi, 30 dB down at most."""

    def field(self, azimuth, zenith):
        """Give the element's field."""
        width = math.radians(65.0)
        up = jnp.minimum(12 * ((zenith - 0.5 * math.pi) / width) ** 2, 30.0)
        across = jnp.minimum(12 * (wrap_angle(azimuth) / width) ** 2, 30.0)
        return _upright(from_db(8.0 - jnp.minimum(up + across, 30.0)))


class TabulatedPattern(AntennaPattern):
    """A field measured or computed over azimuth and zenith, interpolated between."""

    grid: DirectionGrid
    """Directions."""
    along_zenith: Complex[Array, "azimuth zenith"]
    """Component along rising zenith [1]."""
    along_azimuth: Complex[Array, "azimuth zenith"]
    """Component along rising azimuth [1]."""

    def field(self, azimuth, zenith):
        """Interpolate both components."""
        parts = (self.along_zenith, self.along_azimuth)
        return jnp.stack([self.grid.interpolate(part, azimuth, zenith) for part in parts])


def tabulated_pattern(
    azimuth: Float[np.ndarray, " row"],
    zenith: Float[np.ndarray, " row"],
    field: Complex[np.ndarray, "row 2"],
    source: str = "the table of an antenna",
) -> TabulatedPattern:
    """Make a pattern of rows in any order that fill a grid of azimuths and zeniths.

    Args:
        azimuth: From the boresight, counter-clockwise [rad].
        zenith: From the element's top [rad].
        field: Components along rising zenith and azimuth [1].
        source: What the rows came from, for messages.

    Raises:
        InputError: A value is no number, all are zero, or the rows fill no grid.
    """
    bad = ~np.isfinite(field).all(axis=1)
    if bad.any():
        raise InputError(
            f"{source}: the field must be finite; row {int(np.argmax(bad)) + 1} has NaN or infinity"
        )
    if not np.any(field):
        raise InputError(f"{source} has no field in any direction; it must be above zero somewhere")
    grid, row = lay_grid(azimuth, zenith, source)
    return TabulatedPattern(grid, *(jnp.asarray(field[row, i], complex) for i in (0, 1)))


POLARISATIONS = {
    "V": (0.0,), "H": (0.5 * math.pi,), "VH": (0.0, 0.5 * math.pi),
    "cross": (0.25 * math.pi, -0.25 * math.pi),
}  # fmt: skip
"""Slants of the antennas of one element [rad]."""
_PATTERNS = {
    "isotropic": IsotropicPattern, "dipole": DipolePattern, "tr38901": SectorPattern,
}  # fmt: skip


class Antenna(eqx.Module):
    """One element: a pattern, and how its one or two antennas are slanted."""

    pattern: AntennaPattern = IsotropicPattern()
    """Of an upright antenna."""
    slant: tuple[float, ...] = eqx.field(default=(0.0,), static=True)
    """Of each antenna, about the boresight [rad]: the polarisation turns and the gain stays, model
    2 of TR 38.901, clause 7.3.2."""

    def __check_init__(self):
        if len(self.slant) not in (1, 2):
            raise ValueError(f"an element has one or two slants, in rad; got {self.slant}")


def make_antenna(pattern: str, polarisation: str = "V") -> Antenna:
    """Make an element by names.

    Args:
        pattern: ``isotropic``, ``dipole`` or ``tr38901``.
        polarisation: One of `POLARISATIONS`.

    Raises:
        InputError: There is no such name.
    """
    if pattern not in _PATTERNS:
        raise unknown_name("antenna pattern", pattern, list(_PATTERNS))
    if polarisation not in POLARISATIONS:
        raise unknown_name("polarisation", polarisation, list(POLARISATIONS))
    return Antenna(_PATTERNS[pattern](), POLARISATIONS[polarisation])


def antenna_field(
    antenna: Antenna,
    rotation: Float[Array, "3 3"],
    azimuth: Float[Array, " ray"],
    zenith: Float[Array, " ray"],
) -> Complex[Array, "antenna ray 2"]:
    """Give each antenna's field along the site's rising zenith and azimuth.

    Args:
        antenna: The element.
        rotation: Its axes, as columns in the site's frame.
        azimuth: Directions in the site's frame [rad].
        zenith: The same [rad].
    """

    def one(azimuth, zenith):
        own = angles_of(unit_vector(azimuth, zenith) @ rotation)
        along, across = antenna.pattern.field(*own)
        turn = _frame(azimuth, zenith) @ rotation @ _frame(*own).T
        slanted = [
            jnp.stack([along * math.cos(s) - across * math.sin(s),
                       along * math.sin(s) + across * math.cos(s)])
            for s in antenna.slant
        ]  # fmt: skip
        return jnp.stack(slanted) @ turn.T

    return jnp.moveaxis(jax.vmap(one)(azimuth, zenith), 0, 1)


def _frame(azimuth: Float[Array, ""], zenith: Float[Array, ""]) -> Float[Array, "2 3"]:
    """Point along rising zenith and along rising azimuth."""
    cos, sin = jnp.cos(azimuth), jnp.sin(azimuth)
    down = jnp.stack([jnp.cos(zenith) * cos, jnp.cos(zenith) * sin, -jnp.sin(zenith)])
    return jnp.stack([down, jnp.stack([-sin, cos, 0.0 * cos])])
