"""Planar antenna arrays: where their elements are, what they see, which beams they form.

An upright array has its rows along z and its columns along the horizontal; it looks along its
boresight.  Elements run row by row, lowest row first, and within a row from right to left as the
array looks.  Every element is isotropic.

Takes an array and directions in the site's frame.
Gives steering vectors and a DFT codebook of beams.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from echoscape.scene.direction import array_rotation, unit_vector


class PlanarArray(eqx.Module):
    """Rows times columns of elements; one row makes a linear array."""

    rows: int = eqx.field(default=1, static=True)
    """Elements along the array's vertical."""
    columns: int = eqx.field(default=1, static=True)
    """Elements along the horizontal."""
    row_spacing: float = eqx.field(default=0.5, static=True)
    """Distance between rows [wavelength]."""
    column_spacing: float = eqx.field(default=0.5, static=True)
    """Distance between columns [wavelength]."""
    azimuth: float = eqx.field(default=0.0, static=True)
    """Where the boresight points, from +x counter-clockwise [rad]."""
    tilt: float = eqx.field(default=0.0, static=True)
    """How far the boresight points below the horizon [rad]."""

    def __check_init__(self):
        if self.rows < 1 or self.columns < 1:
            raise ValueError(
                f"an array needs at least one row and one column; got {self.rows} x {self.columns}"
            )
        for name in ("row_spacing", "column_spacing"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"{name} must be finite and above zero, in wavelengths; got {value}"
                )

    @property
    def elements(self) -> int:
        """How many elements."""
        return self.rows * self.columns

    def positions(self) -> Float[Array, "element 3"]:
        """Place the elements about the array's centre, in the site's axes [wavelength]."""
        up = self.row_spacing * (np.arange(self.rows) - (self.rows - 1) / 2)
        left = self.column_spacing * (np.arange(self.columns) - (self.columns - 1) / 2)
        rows, columns = np.meshgrid(up, left, indexing="ij")
        inside = np.stack([np.zeros(self.elements), columns.ravel(), rows.ravel()], axis=-1)
        rotation = array_rotation(jnp.asarray(self.azimuth), jnp.asarray(self.tilt))
        return jnp.asarray(inside) @ rotation.T


def steering_vector(
    array: PlanarArray, azimuth: Float[Array, ""], zenith: Float[Array, ""]
) -> Complex[Array, " element"]:
    """Phase the elements of an array for one direction of the site's frame.

    ``exp(+j 2 pi r.u / wavelength)``: an element displaced towards the direction leads.
    """
    return jnp.exp(2j * jnp.pi * (array.positions() @ unit_vector(azimuth, zenith)))


def dft_codebook(rows: int, columns: int) -> Complex[np.ndarray, "beam element"]:
    """Make the orthonormal DFT beams of an array, as many as it has elements.

    Beam ``(i, k)`` is number ``i * columns + k`` and advances by ``i / rows`` of a cycle from
    row to row and by ``k / columns`` from column to column; on an array of half-wavelength
    spacing it peaks at twice those numbers (taken in [-1/2, 1/2)) as cosine to the array's up
    and left axes.
    """

    def one_way(n: int) -> np.ndarray:
        index = np.arange(n)
        return np.exp(2j * np.pi * np.outer(index, index) / n) / np.sqrt(n)

    return np.kron(one_way(rows), one_way(columns))


def beam_direction(array: PlanarArray, beam: int) -> Float[np.ndarray, "3"]:
    """Point where a beam of `dft_codebook` peaks, on the side that the array looks to.

    Args:
        array: The array.
        beam: Number of the beam in the codebook.

    Returns:
        Unit vector in the site's axes; NaN for a beam that peaks at no direction [1].
    """
    row, column = divmod(beam, array.columns)
    cycle = np.array([column / array.columns, row / array.rows])
    cycle = np.where(cycle < 0.5, cycle, cycle - 1.0)
    left, up = cycle / np.array([array.column_spacing, array.row_spacing])
    ahead = 1.0 - left**2 - up**2
    rotation = np.asarray(array_rotation(jnp.asarray(array.azimuth), jnp.asarray(array.tilt)))
    return rotation @ np.array([np.sqrt(ahead) if ahead >= 0 else np.nan, left, up])
