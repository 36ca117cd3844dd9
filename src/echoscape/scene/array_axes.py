"""What a planar array can know of a direction: the advance of phase along its two axes.

The cosines to the array's up and left axes decide the phases of all elements, row by row and
column by column.  Back from phases, the direction is the one in front of the array.  A linear
array knows one cosine alone: then the wave is taken to travel at a given angle to the other axis.

Takes arrays and directions in the site's frame, or advances of phase.
Gives advances [rad/element], or directions and their slopes.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.checks import InputError
from echoscape.scene.antenna import PlanarArray
from echoscape.scene.direction import angles_of, array_rotation, unit_vector


def phase_advance(
    array: PlanarArray, azimuth: Float[Array, "*batch"], zenith: Float[Array, "*batch"]
) -> Float[Array, "*batch 2"]:
    """Compute how much the phase advances from row to row and from column to column [rad].

    Args:
        array: The array.
        azimuth: Of the wave's source, in the site's frame [rad].
        zenith: The same [rad].
    """
    rotation = array_rotation(jnp.asarray(array.azimuth, float), jnp.asarray(array.tilt, float))
    inside = unit_vector(azimuth, zenith) @ rotation
    spacing = jnp.asarray([array.row_spacing, array.column_spacing], float)
    turn = jnp.broadcast_to(2 * math.pi * spacing, (*inside.shape[:-1], 2))
    return turn * jnp.stack([inside[..., 2], inside[..., 1]], axis=-1)


def direction_of_advance(
    array: PlanarArray, advance: Float[Array, "2"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Find the direction in front of the array that makes phases advance so [rad].

    Args:
        array: The array; along an axis of one element the wave is taken to have no component in
            the array's frame, as for a horizontal wave on an upright row.
        advance: From row to row and from column to column [rad]; wrapped as need be.
    """
    turned = jnp.remainder(advance + math.pi, 2 * math.pi) - math.pi
    spacing = jnp.asarray([array.row_spacing, array.column_spacing], float)
    known = jnp.asarray([array.rows > 1, array.columns > 1])
    cosine = jnp.where(known, turned / (2 * math.pi * spacing), 0.0)
    squared = jnp.sum(cosine**2)
    # Noise may lead beyond what any direction can make; that becomes the array's own plane.
    cosine = jnp.where(squared < 1, cosine, cosine / jnp.sqrt(jnp.maximum(squared, 1.0) + 1e-9))
    ahead = jnp.sqrt(jnp.maximum(1.0 - jnp.sum(cosine**2), 1e-12))
    rotation = array_rotation(jnp.asarray(array.azimuth, float), jnp.asarray(array.tilt, float))
    return angles_of(rotation @ jnp.stack([ahead, cosine[1], cosine[0]]))


def check_unambiguous(array: PlanarArray, name: str) -> None:
    """Refuse an array whose phases repeat within the directions in front of it.

    Raises:
        InputError: Elements are more than half a wavelength apart.
    """
    for axis, count, spacing in (
        ("row", array.rows, array.row_spacing),
        ("column", array.columns, array.column_spacing),
    ):
        if count > 1 and spacing > 0.5:
            raise InputError(
                f"angles are ambiguous for a {axis} spacing of {spacing:g} wavelengths of the "
                f"{name} array; it must be at most 0.5"
            )
