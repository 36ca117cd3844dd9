"""Values over a grid of directions: laid out from rows in any order, interpolated at any direction.

Takes rows of azimuths and zeniths that fill a grid.
Gives a `DirectionGrid`, and values on it anywhere, on round through the seam of the azimuth.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

from echoscape.checks import InputError


class DirectionGrid(eqx.Module):
    """Azimuths and zeniths at which something is known."""

    azimuth: Float[Array, " azimuth"]
    """Rising, evenly or not, within one turn [rad]."""
    zenith: Float[Array, " zenith"]
    """Rising, 0 to pi [rad]."""

    def interpolate(
        self,
        values: Inexact[Array, "azimuth zenith"],
        azimuth: Float[Array, ""],
        zenith: Float[Array, ""],
    ) -> Inexact[Array, ""]:
        """Interpolate values at one direction, linearly in both angles; as they are at the ends.

        Args:
            values: At the grid's directions.
            azimuth: Where [rad].
            zenith: Where [rad].
        """
        across = self.azimuth[0] + jnp.remainder(azimuth - self.azimuth[0], 2 * math.pi)
        around = jnp.concatenate([self.azimuth, self.azimuth[:1] + 2 * math.pi])
        closed = jnp.concatenate([values, values[:1]])
        i, u = _between(around, across)
        j, v = _between(self.zenith, zenith)
        near = closed[i, j] + v * (closed[i, j + 1] - closed[i, j])
        far = closed[i + 1, j] + v * (closed[i + 1, j + 1] - closed[i + 1, j])
        return near + u * (far - near)


def _between(grid: Float[Array, " n"], value: Float[Array, ""]):
    """Find the cell of a grid that a value lies in, and how far into it."""
    i = jnp.clip(jnp.searchsorted(grid, value, side="right") - 1, 0, len(grid) - 2)
    return i, jnp.clip((value - grid[i]) / (grid[i + 1] - grid[i]), 0.0, 1.0)


def lay_grid(
    azimuth: Float[np.ndarray, " row"], zenith: Float[np.ndarray, " row"], source: str
) -> tuple[DirectionGrid, Int[np.ndarray, "azimuth zenith"]]:
    """Find the grid that rows fill, and which row belongs where.

    Args:
        azimuth: Of each row, counter-clockwise [rad].
        zenith: Of each row [rad].
        source: What the rows came from, for messages.

    Raises:
        InputError: An angle is no number, or the rows fill no grid.
    """
    for name, values in (("azimuth", azimuth), ("zenith", zenith)):
        if not np.isfinite(values).all():
            raise InputError(f"{source}: {name} must be finite, in rad; got NaN or infinity")
    turned = np.round(np.mod(azimuth + np.pi, 2 * np.pi) - np.pi, 12)
    across, up = np.unique(turned), np.unique(np.round(zenith, 12))
    if len(azimuth) != len(across) * len(up) or len(across) < 2 or len(up) < 2:
        raise InputError(
            f"{source} must hold every pair of at least two azimuths and two zeniths once; got "
            f"{len(azimuth)} rows of {len(across)} azimuths and {len(up)} zeniths"
        )
    if up[0] < 0 or up[-1] > np.pi + 1e-9:
        raise InputError(f"{source}: zenith must lie between 0 and pi, in rad; are these degrees?")
    row = np.full((len(across), len(up)), -1)
    place = np.searchsorted(across, turned), np.searchsorted(up, np.round(zenith, 12))
    row[place] = np.arange(len(azimuth))
    if (row < 0).any():
        raise InputError(f"{source} holds a pair of azimuth and zenith twice and lacks another")
    return DirectionGrid(jnp.asarray(across), jnp.asarray(up)), row
