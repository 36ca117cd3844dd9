"""Directions: azimuth from +x counter-clockwise, zenith angle from +z.

Angles turn into unit vectors and back with gradients that stay finite at the poles and at
distance zero, where a direction does not exist: there the angles are (0, 0) or (0, pi) and their
gradients zero.

Takes angles [rad] or vectors, with any batch axes in front.
Gives vectors or angles.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def unit_vector(
    azimuth: Float[Array, "*batch"], zenith: Float[Array, "*batch"]
) -> Float[Array, "*batch 3"]:
    """Point along a direction."""
    across = jnp.sin(zenith)
    return jnp.stack(
        [across * jnp.cos(azimuth), across * jnp.sin(azimuth), jnp.cos(zenith)], axis=-1
    )


def distance(vector: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """Measure a vector's length, with gradient zero at the origin [as the vector]."""
    squared = jnp.sum(vector**2, axis=-1)
    away = squared > 0
    return jnp.where(away, jnp.sqrt(jnp.where(away, squared, 1.0)), 0.0)


def angles_of(
    vector: Float[Array, "*batch 3"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Turn vectors of any length into (azimuth, zenith) [rad]."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    aside = distance(vector[..., :2])
    level = aside > 0
    azimuth = jnp.where(level, jnp.arctan2(jnp.where(level, y, 0.0), jnp.where(level, x, 1.0)), 0.0)
    nowhere = ~level & (z == 0)
    zenith = jnp.arctan2(aside, jnp.where(nowhere, 1.0, z))
    return azimuth, jnp.where(nowhere, 0.0, zenith)


def elevation(zenith):
    """Turn a zenith angle into the elevation above the horizon, or back: one formula [rad]."""
    return 0.5 * math.pi - zenith


def array_rotation(azimuth: Float[Array, ""], tilt: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Turn an array's axes into the site's: columns are boresight, left, and up.

    Args:
        azimuth: Where the boresight points, from +x counter-clockwise [rad].
        tilt: How far it points below the horizon [rad].
    """
    zero = jnp.zeros_like(azimuth)
    boresight = unit_vector(azimuth, 0.5 * math.pi + tilt)
    left = jnp.stack([-jnp.sin(azimuth), jnp.cos(azimuth), zero])
    return jnp.stack([boresight, left, jnp.cross(boresight, left)], axis=-1)
