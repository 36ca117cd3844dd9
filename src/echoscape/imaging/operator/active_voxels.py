"""Which voxels of a grid a problem asks: all of them, or those that may matter.

Nearly all voxels of a large grid are empty, and soon known to be.  A problem that keeps only the
doubtful ones costs as little as these few; what hides what is still asked of the whole grid, whose
indices the others keep.

Takes a grid, and indices of voxels.
Gives the way between a vector over the active voxels and one over the grid.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from echoscape.imaging.occlusion.segments import centres_of
from echoscape.scene.voxel_grid import TracedGrid


class ActiveVoxels(eqx.Module):
    """Voxels of a grid, in the order of a problem."""

    grid: TracedGrid
    """The grid they are of."""
    index: Int[Array, " kept"] | None = None
    """Their flat indices, all different; none means the whole grid."""

    @property
    def voxels(self) -> int:
        """How many are kept."""
        return self.grid.voxels if self.index is None else len(self.index)

    def on_grid(self, active: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Turn places among the active voxels into indices of the grid."""
        return active if self.index is None else self.index[active]

    def centres_of(self, active: Int[Array, "*batch"]) -> Float[Array, "*batch 3"]:
        """Place the centres of some of the active voxels [m]."""
        return centres_of(self.grid, self.on_grid(active))

    def pick(self, whole: Shaped[Array, "*batch voxel"]) -> Shaped[Array, "*batch kept"]:
        """Take what a vector over the grid says of the active voxels."""
        return whole if self.index is None else whole[..., self.index]

    def spread(self, some: Shaped[Array, " kept"]) -> Shaped[Array, " voxel"]:
        """Make a vector over the grid from one over the active voxels, zero elsewhere."""
        if self.index is None:
            return some
        return jnp.zeros(self.grid.voxels, some.dtype).at[self.index].set(some)
