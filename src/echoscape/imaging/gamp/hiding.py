"""What hides what while message passing goes on: the geometry between two of its steps.

On small grids lists of who hides whom are kept on the host, and any number of voxels and views
costs no compilation; on large ones cones and tubes are compiled.

Takes `Changes` of the coefficients.
Gives shadows, and messages to the voxels that stand in segments shown open or closed.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.imaging.gamp.state import HARD_MASKS, GampSettings, MaskModel
from echoscape.imaging.occlusion.shadow_lists import shadow_lists
from echoscape.imaging.occlusion.shadows import SMALL_GRID, cast_shadows, occupancy_messages
from echoscape.imaging.operator.active_voxels import ActiveVoxels


class Changes(NamedTuple):
    """Voxels whose shadows change, and those whose segments are known; lists padded at the end."""

    due: Bool[Array, ""]
    """Whether the mask is to move at all."""
    listed: Int[Array, " listed"] | None = None
    """Voxels whose shadows change."""
    amount: Float[Array, " listed"] | None = None
    """By how much."""
    count: Int[Array, ""] | None = None
    """How many."""
    seen: Int[Array, " listed"] | None = None
    """Voxels whose segments are known."""
    seen_count: Int[Array, ""] | None = None
    """How many."""
    user: Float[Array, "user listed"] | None = None
    """Log-odds of their segments being open, from the users."""
    station: Float[Array, "station listed"] | None = None
    """The same, to the stations."""
    present: Float[Array, " listed"] | None = None
    """Probability of the voxel at their end being occupied."""


Hiding = Callable[[Changes, Array], tuple[Array | np.ndarray, Array | np.ndarray | None]]
"""Takes changes and what each voxel has cast; gives shadows and, if any, messages."""


def hiding_for(
    active: ActiveVoxels,
    view: Float[Array, "view 3"],
    padded: tuple[int, int],
    views: tuple[int, int],
    settings: GampSettings,
) -> Hiding | None:
    """Begin with nothing hidden; nothing is given where the mask is known.

    Args:
        active: The voxels.
        view: Where the users are, then the centres of the stations [m].
        padded: How many users and stations the messages have.
        views: How many there are.
        settings: How messages are passed.
    """
    if settings.mask_model is MaskModel.KNOWN:
        return None
    if active.grid.voxels <= SMALL_GRID:
        return _ByLists(active, np.asarray(view), padded, views, settings)
    return _ByCones(active, view, settings)


class _ByLists:
    def __init__(self, active, view, padded, views, settings):
        self._lists = shadow_lists(active.grid, view, float(settings.radius))
        self._index = np.arange(active.voxels) if active.index is None else np.asarray(active.index)
        self._padded, self._views, self._settings = padded, views, settings
        self._shadow = np.zeros((sum(views), active.grid.voxels))

    def __call__(self, changes: Changes, cast: Array):
        if changes.listed is None or changes.amount is None or changes.count is None:
            raise RuntimeError("a mask that is known does not change")
        count = int(changes.count)
        if count:
            listed, amount = (np.asarray(each)[:count] for each in (changes.listed, changes.amount))
            self._shadow += self._lists.cast(self._index[listed], amount)
        kept = len(self._index)
        shadow = np.zeros((sum(self._padded), len(cast)), np.float32)
        users, stations = self._views
        rows = np.r_[:users, self._padded[0] : self._padded[0] + stations]
        shadow[rows, :kept] = self._shadow[:, self._index]
        if changes.seen is None or changes.seen_count is None:
            return shadow, None
        padded = np.zeros(len(cast), np.float32)
        if not bool(changes.due):
            return shadow, padded
        count = int(changes.seen_count)
        seen = self._index[np.asarray(changes.seen)[:count]]
        segments = np.asarray(changes.user)[:users], np.asarray(changes.station)[:stations]
        whole = np.zeros(self._lists.voxels)
        whole[self._index] = np.asarray(cast)[:kept]
        message = self._lists.messages(
            seen,
            np.concatenate(segments)[:, :count],
            np.asarray(changes.present)[:count],
            self._shadow[:, seen],
            whole,
            float(self._settings.false_occlusion),
            float(self._settings.segment_message_limit),
        )
        padded[:kept] = message[self._index]
        return shadow, padded


class _ByCones:
    def __init__(self, active, view, settings):
        self._fixed = active, view, settings
        real = np.int16 if settings.mask_model in HARD_MASKS else np.float32
        self._shadow = jnp.asarray(np.zeros((len(view), active.grid.voxels), real))

    def __call__(self, changes: Changes, cast: Array):
        self._shadow, seen, message = _cones(self._shadow, changes, cast, *self._fixed)
        return seen, message


@functools.partial(jax.jit, donate_argnums=0)
def _cones(shadow, changes, cast, active, view, settings):
    grid, kept = active.grid, active.voxels
    listed, amount = active.on_grid(changes.listed), changes.amount.astype(shadow.dtype)
    shadow = cast_shadows(shadow, grid, view, listed, amount, changes.count, settings.radius)
    if settings.mask_model is not MaskModel.LEARNED:
        return shadow, active.pick(shadow), None
    seen = active.on_grid(changes.seen)
    message = occupancy_messages(
        grid,
        view,
        seen,
        changes.seen_count,
        jnp.concatenate([changes.user, changes.station]),
        changes.present,
        shadow[:, seen],
        active.spread(cast[:kept]),
        settings.false_occlusion,
        settings.segment_message_limit,
        settings.radius,
    )
    return shadow, active.pick(shadow), active.pick(message)
