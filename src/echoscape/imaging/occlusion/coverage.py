"""How much of a region anyone can see: probabilities that segments are free, over positions.

Occupied voxels are independent, each with a probability, and hide as balls; a segment of length d
inside the region passes close to ``pi radius^2 d / edge^3`` voxels.  The length that counts is
**inside the region**: taking the whole length, as is easily read out of the paper, is wrong by tens
of per cent when users and stations stand outside.

Takes places, a grid, the share of occupied voxels and the occlusion radius.
Gives probabilities that a voxel is hidden, Eqs. (61)-(66) and (76) of [multiview-imaging].
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.scene.voxel_grid import VoxelGrid


def length_inside(
    grid: VoxelGrid, start: Float[Array, "*#batch 3"], end: Float[Array, "*#batch 3"]
) -> Float[Array, "*batch"]:
    """Measure how much of each segment lies inside the grid's box [m]."""
    ray = end - start
    enter, leave = jnp.zeros(()), jnp.ones(())
    for axis, (low, high) in enumerate(zip(grid.origin, grid.upper, strict=True)):
        along = ray[..., axis]
        slope = jnp.where(along == 0, 1.0, along)
        first, second = (low - start[..., axis]) / slope, (high - start[..., axis]) / slope
        within = (start[..., axis] >= low) & (start[..., axis] <= high)
        flat_in, flat_out = jnp.where(within, -jnp.inf, jnp.inf), jnp.inf
        near = jnp.where(along == 0, flat_in, jnp.minimum(first, second))
        far = jnp.where(along == 0, flat_out, jnp.maximum(first, second))
        enter, leave = jnp.maximum(enter, near), jnp.minimum(leave, far)
    part = jnp.clip(leave - enter, 0.0, 1.0)
    return part * jnp.sqrt(jnp.sum(ray**2, axis=-1))


def segment_hidden(
    length: Float[Array, "*batch"],
    grid: VoxelGrid,
    rate: Float[Array, ""] | float,
    radius: Float[Array, ""] | float,
) -> Float[Array, "*batch"]:
    """Give the probability that a segment is hidden, ``1 - (1 - rate)^(pi radius^2 d / edge^3)``.

    Eq. (61) of [multiview-imaging], with the length inside the region.

    Args:
        length: Of the segment inside the region [m].
        grid: The voxels.
        rate: Probability that a voxel is occupied.
        radius: How close to a segment an occupied voxel hides it [m].
    """
    crossed = jnp.pi * radius**2 * length / grid.edge**3
    return -jnp.expm1(crossed * jnp.log1p(-rate))


def hidden_from_all(hidden: Float[Array, "view *batch"]) -> Float[Array, "*batch"]:
    """Multiply over users, Eq. (63), or over stations, Eq. (64), as if they were independent.

    They are not: segments to one voxel share what stands next to it.  Up to three views the product
    is good to about 30 per cent, beyond that it is low by factors.
    """
    return jnp.prod(hidden, axis=0)


def unseen(
    user: Float[Array, "*#batch"], station: Float[Array, "*#batch"]
) -> Float[Array, "*batch"]:
    """Give the probability that either segment is hidden, ``1 - (1 - P) (1 - P')``: Eq. (76).

    Summed over voxels, with the products of (63) and (64), this is (65) and (66).
    """
    return 1 - (1 - user) * (1 - station)


def least_squares_error(occupied: int, noise: float, mean_column_norm: float) -> float:
    """Estimate a perfect solver's squared error, ``S sigma^2 / (2 cbar)`` if coefficients are real.

    The yardstick that stands in for Theorem 2 of [multiview-imaging], whose constants are lost:
    least squares on the true support lies between one and about two times it.

    Args:
        occupied: Occupied voxels in sight.
        noise: Mean squared noise of a sample.
        mean_column_norm: Mean squared norm of the columns of those voxels.
    """
    return occupied * noise / (2 * mean_column_norm)
