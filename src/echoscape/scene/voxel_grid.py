"""A box of cubic voxels: where they are, and how a flat index relates to x, y and z.

Takes a corner, three counts and an edge.
Gives centres of voxels, in one flat order with z running fastest.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LARGEST_GRID = 50_000_000
"""More voxels than this no machine of ours can hold; most likely the edge is in wrong units."""


class VoxelGrid(eqx.Module):
    """Cubic voxels that fill a box; voxel (i, j, k) has the flat index ``(i NY + j) NZ + k``."""

    origin: tuple[float, float, float] = eqx.field(static=True)
    """Corner of the first voxel, lowest in every coordinate [m]."""
    shape: tuple[int, int, int] = eqx.field(static=True)
    """How many voxels along x, y and z."""
    edge: float = eqx.field(static=True)
    """Edge of a voxel [m]."""

    def __check_init__(self):
        if len(self.origin) != 3 or not all(math.isfinite(value) for value in self.origin):
            raise ValueError(f"origin needs three finite numbers, in m; got {self.origin}")
        if len(self.shape) != 3 or any(count < 1 for count in self.shape):
            raise ValueError(
                f"shape needs three counts of voxels, each at least one; got {self.shape}"
            )
        if not (self.edge > 0 and math.isfinite(self.edge)):
            raise ValueError(f"edge must be finite and above zero, in m; got {self.edge}")
        if self.voxels > LARGEST_GRID:
            raise ValueError(
                f"a grid holds at most {LARGEST_GRID} voxels; got {self.voxels}: choose a longer "
                "edge or a smaller shape"
            )

    @property
    def voxels(self) -> int:
        """How many voxels."""
        return math.prod(self.shape)

    @property
    def upper(self) -> tuple[float, float, float]:
        """Corner opposite to the origin [m]."""
        x, y, z = (o + self.edge * n for o, n in zip(self.origin, self.shape, strict=True))
        return x, y, z

    def traced(self) -> "TracedGrid":
        """Give the grid as compiled code takes it: another place or edge compiles nothing anew."""
        origin = jnp.asarray(np.asarray(self.origin), float)
        return TracedGrid(origin, jnp.asarray(self.edge, float), self.shape)

    def centres(self) -> Float[np.ndarray, "voxel 3"]:
        """Place the centres of all voxels [m]."""
        return self.centre_of(np.arange(self.voxels))

    def centre_of(self, index: np.ndarray) -> Float[np.ndarray, "*batch 3"]:
        """Place the centres of voxels given by flat indices [m]."""
        places = np.stack(np.unravel_index(index, self.shape), axis=-1)
        return np.asarray(self.origin) + self.edge * (places + 0.5)

    def index_of(self, position: np.ndarray) -> np.ndarray:
        """Find the flat index of the voxel that holds a position, or -1 outside the box."""
        places = np.floor((np.asarray(position) - np.asarray(self.origin)) / self.edge)
        places = places.astype(np.int64)
        inside = np.all((places >= 0) & (places < np.asarray(self.shape)), axis=-1)
        clipped = np.clip(places, 0, np.asarray(self.shape) - 1)
        flat = np.ravel_multi_index(tuple(np.moveaxis(clipped, -1, 0)), self.shape)
        return np.where(inside, flat, -1)


class TracedGrid(eqx.Module):
    """A `VoxelGrid` whose place and edge are arrays; only its shape is known to the compiler."""

    origin: Float[Array, "3"]
    """Corner of the first voxel [m]."""
    edge: Float[Array, ""]
    """Edge of a voxel [m]."""
    shape: tuple[int, int, int] = eqx.field(static=True)
    """How many voxels along x, y and z."""

    @property
    def voxels(self) -> int:
        """How many voxels."""
        return math.prod(self.shape)


AnyGrid = VoxelGrid | TracedGrid
"""What functions for compiled code take."""
