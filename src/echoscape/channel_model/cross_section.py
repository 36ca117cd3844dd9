"""Radar cross-sections: how much of a wave a point of a target sends on, from where to where.

Directions are unit vectors from the point, in the target's own axes: x ahead, y to the left, z up.
What depends on two directions depends on their bisector and on the bistatic angle between them, so
that exchanging the two changes nothing.

Takes directions towards the transmitter and towards the receiver.
Gives cross-sections [m^2]: of one value, by TR 38.901, or from a table.
"""

import abc
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from echoscape.checks import InputError
from echoscape.scene import angles_of
from echoscape.scene.direction_grid import DirectionGrid, lay_grid
from echoscape.units import from_db, wrap_angle

_LEAST_COSINE = 1e-12  # of half the bistatic angle; the floor of the pattern lies far above


class CrossSection(eqx.Module):
    """How a scattering point's cross-section depends on direction."""

    @abc.abstractmethod
    def section(
        self, incident: Float[Array, "3"], scattered: Float[Array, "3"]
    ) -> Float[Array, ""]:
        """Give the cross-section between two directions [m^2].

        Args:
            incident: Unit vector towards where the wave comes from, in the target's axes.
            scattered: Unit vector towards where it goes.
        """


class ConstantSection(CrossSection):
    """The same in all directions."""

    size: Float[Array, ""]
    """Cross-section [m^2]."""

    def section(self, incident, scattered):
        """Give the one value."""
        return self.size + 0.0 * incident[0]


class PatternSection(CrossSection):
    """The pattern of TR 38.901, Eqs. (7.9.2-2) and (7.9.2-3): lobes over the bisector.

    Model 1 is the one lobe of no width limit that neither angle changes, with k1 = 3 and k2 = 1 and
    no cosine; model 2 picks the lobe in whose ranges the bisector lies.
    """

    lobe: Float[Array, "lobe 10"]
    """Columns of `LOBE_COLUMNS` [rad, dBsm, dB]; infinite widths where an angle changes nothing."""
    decline: Float[Array, "3"]
    """k1 [dB], k2, and how often ``5 lg cos(beta / 2)`` is added [1]."""

    def section(self, incident, scattered):
        """Evaluate the pattern; its lowest value is ``G_max - sigma_max`` of the lobe."""
        middle = incident + scattered
        cosine = 0.5 * jnp.linalg.norm(middle)  # of half the bistatic angle
        azimuth, zenith = angles_of(middle)
        half = jnp.arctan2(0.5 * jnp.linalg.norm(incident - scattered), cosine)
        inside = _inside(self.lobe, azimuth, zenith)
        lobe = self.lobe[jnp.argmax(inside)]
        turned = wrap_angle(azimuth - lobe[0]) / lobe[1]
        raised = (zenith - lobe[2]) / lobe[3]
        most = lobe[5]
        fall = jnp.minimum(12 * raised**2, most) + jnp.minimum(12 * turned**2, most)
        one, two, cosines = self.decline
        level = lobe[4] - jnp.minimum(fall, most) - one * jnp.sin(two * half)
        level = level + cosines * 5 * jnp.log10(jnp.maximum(cosine, _LEAST_COSINE))
        return from_db(jnp.maximum(level, lobe[4] - most))


LOBE_COLUMNS = (
    "phi_center", "phi_3db", "theta_center", "theta_3db", "g_max", "sigma_max",
    "theta_low", "theta_high", "phi_low", "phi_high",
)  # fmt: skip
"""Columns of a lobe, as Tables 7.9.2.1-2 to 7.9.2.1-7 of TR 38.901 have them."""


def _inside(
    lobe: Float[Array, "lobe 10"], azimuth: Float[Array, ""], zenith: Float[Array, ""]
) -> Bool[Array, " lobe"]:
    """Tell in which lobes' ranges a direction lies, upper ends left out."""
    past = jnp.remainder(azimuth - lobe[:, 8], 2 * math.pi)
    around = past < lobe[:, 9] - lobe[:, 8]
    below = (zenith < lobe[:, 7]) | (lobe[:, 7] >= math.pi)
    return around & (zenith >= lobe[:, 6]) & below


class TabulatedSection(CrossSection):
    """Cross-sections measured or computed over azimuth and zenith, looked up at the bisector."""

    grid: DirectionGrid
    """Directions in the target's axes."""
    size: Float[Array, "azimuth zenith"]
    """Monostatic cross-section [m^2]."""

    def section(self, incident, scattered):
        """Interpolate in both angles."""
        return self.grid.interpolate(self.size, *angles_of(incident + scattered))


def tabulated_section(
    azimuth: Float[np.ndarray, " row"],
    zenith: Float[np.ndarray, " row"],
    size: Float[np.ndarray, " row"],
    source: str = "the table of cross-sections",
) -> TabulatedSection:
    """Make a table of rows in any order that fill a grid of azimuths and zeniths.

    Args:
        azimuth: In the target's axes, 0 ahead, counter-clockwise [rad].
        zenith: From its top [rad].
        size: Monostatic cross-section [m^2].
        source: What the rows came from, for messages.

    Raises:
        InputError: A value is no number or negative, or the rows fill no grid.
    """
    bad = ~(np.isfinite(size) & (size >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{source}: cross_section must be finite and not negative, in m^2; got {size[row]:g} "
            f"in row {row + 1}; fill it from its neighbours or leave that direction's ring out"
        )
    grid, row = lay_grid(azimuth, zenith, source)
    return TabulatedSection(grid, jnp.asarray(size[row]))
