"""Who hides what, kept as lists: for small grids, where asking once is cheaper than asking again.

A voxel hides from a view a few dozen others, and a few lie before it.  Both lists are made when a
voxel is first asked for, by the pair rule, and kept; then shadows and messages are sums over short
lists.  It is numpy: no size of a grid, and no number of views, is compiled for.

Takes a grid, views and the voxels that stand in the way, or are looked at.
Gives, for each view and voxel, how much hides it; for each voxel, the message that it is occupied.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from echoscape.imaging.occlusion.segments import hides, occupancy_message
from echoscape.scene.voxel_grid import AnyGrid, VoxelGrid


class Entries(NamedTuple):
    """Triples of a listed voxel, a view and another voxel."""

    item: Int[np.ndarray, " entry"]
    """Place of the voxel in the list that was asked for."""
    view: Int[np.ndarray, " entry"]
    voxel: Int[np.ndarray, " entry"]


class ShadowLists:
    """Which voxels stand before and behind others."""

    def __init__(self, grid: VoxelGrid, view: Float[np.ndarray, "view 3"], radius: float):
        """Begin with no list."""
        self.voxels, self.views = grid.voxels, len(view)
        self._centre, self._view, self._radius = grid.centres(), view[:, None], radius
        self._behind: dict[int, np.ndarray] = {}
        self._before: dict[int, np.ndarray] = {}

    def behind(self, listed: Int[np.ndarray, " listed"]) -> Entries:
        """List what each voxel hides, and from which views."""
        return self._entries(
            listed, self._behind, lambda at: hides(self._view, self._centre, at, self._radius)
        )

    def before(self, listed: Int[np.ndarray, " listed"]) -> Entries:
        """List what would hide each voxel, and from which views."""
        return self._entries(
            listed, self._before, lambda at: hides(self._view, at, self._centre, self._radius)
        )

    def _entries(
        self,
        listed: Int[np.ndarray, " listed"],
        kept: dict[int, np.ndarray],
        ask: Callable[[np.ndarray], np.ndarray | Array],
    ) -> Entries:
        found = [np.zeros(0, int)]
        for voxel in listed.tolist():
            if voxel not in kept:
                kept[voxel] = np.flatnonzero(ask(self._centre[voxel]))
            found.append(kept[voxel])
        item = np.repeat(np.arange(len(found) - 1), [len(each) for each in found[1:]])
        view, voxel = np.divmod(np.concatenate(found), self.voxels)
        return Entries(item, view, voxel)

    def cast(
        self, listed: Int[np.ndarray, " listed"], amount: Float[np.ndarray, " listed"]
    ) -> Float[np.ndarray, "view voxel"]:
        """Add up the shadows of listed voxels; whole amounts add up exactly."""
        item, view, voxel = self.behind(listed)
        flat, size = view * self.voxels + voxel, self.views * self.voxels
        total = np.bincount(flat, weights=amount[item], minlength=size)
        return total.reshape(self.views, self.voxels).astype(float)  # whole if nothing is listed

    def messages(
        self,
        seen: Int[np.ndarray, " listed"],
        evidence: Float[np.ndarray, "view listed"],
        present: Float[np.ndarray, " listed"],
        shadow: Float[np.ndarray, "view listed"],
        cast: Float[np.ndarray, " voxel"],
        false_occlusion: float,
        most: float,
    ) -> Float[np.ndarray, " voxel"]:
        """Ask every voxel whether it stands in segments that the samples show open, or closed.

        `shadows.occupancy_messages` describes the arguments.
        """
        item, view, voxel = self.before(seen)
        message = occupancy_message(
            evidence[view, item], present[item], shadow[view, item], cast[voxel],
            false_occlusion, most, np,
        )  # fmt: skip
        return np.bincount(voxel, weights=message, minlength=self.voxels).astype(float)


def shadow_lists(grid: AnyGrid, view: Float[np.ndarray, "view 3"], radius: float) -> ShadowLists:
    """Give the lists of a scene; those of the last scenes are kept.

    Args:
        grid: The voxels.
        view: Where the views are [m].
        radius: How close to a segment an occupied voxel hides it [m].
    """
    x, y, z = (float(value) for value in np.asarray(grid.origin))
    place = np.asarray(view, float)
    return _lists((x, y, z), grid.shape, float(grid.edge), place.tobytes(), float(radius))


@functools.lru_cache(maxsize=4)
def _lists(origin, shape, edge, view: bytes, radius) -> ShadowLists:
    return ShadowLists(VoxelGrid(origin, shape, edge), np.frombuffer(view).reshape(-1, 3), radius)
