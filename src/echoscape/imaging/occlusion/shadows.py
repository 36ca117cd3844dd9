"""Shadows on large grids: only voxels that may be concerned are asked.

What a voxel hides from a view is a cone behind it; what may hide a voxel is a tube before it.
Both are cut into slices across their dominant axis, each slice is bounded by a rectangle, and the
pair rule is asked inside, so the cost is that of the shadows and not of the grid.  Rectangles are
a little too large, never too small: the answer is the pair rule's, bit by bit.

Takes a grid, views and the voxels that stand in the way, or are looked at.
Gives, for each view and voxel, how much hides it; for each voxel, the message that it is occupied.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from echoscape.imaging.occlusion.segments import (
    cast_on_all_voxels,
    centres_of,
    correct_casting_voxels,
    hides,
    messages_without_shadow,
)
from echoscape.imaging.operator.chunk_size import block
from echoscape.scene.voxel_grid import AnyGrid

SMALL_GRID = 6000
"""On grids up to this many voxels asking all of them is faster."""

_SLACK = 1e-3
"""Part of an edge, of a radius and of a distance by which bounds are widened against rounding."""


class _Aim(NamedTuple):
    """From a view to a listed voxel, in axes of which the first is the dominant one."""

    axes: Int[Array, "pair 3"]
    """Which axes of the grid these are."""
    view: Float[Array, "pair 3"]
    """Where the view is [m]."""
    ahead: Float[Array, "pair 3"]
    """Unit vector, turned so that its first entry is positive."""
    sign: Float[Array, " pair"]
    """Whether the first axis was turned."""
    distance: Float[Array, " pair"]
    """How far the voxel is [m]."""


class _Bounds(NamedTuple):
    """Where a shadow or a tube can be."""

    first: Float[Array, " pair"]
    """Least distance along the dominant axis [m]."""
    last: Float[Array, " pair"]
    """Largest distance along the dominant axis [m]."""
    low: Float[Array, "pair slice 2"]
    """Least distance along the other axes, in each slice [m]."""
    high: Float[Array, "pair slice 2"]
    """Largest distance along the other axes [m]."""


def cast_shadows(
    total: Shaped[Array, "view voxel"],
    grid: AnyGrid,
    view: Float[Array, "view 3"],
    blocker: Int[Array, " listed"],
    amount: Shaped[Array, " listed"],
    count: Int[Array, ""] | int,
    radius: Float[Array, ""] | float,
) -> Shaped[Array, "view voxel"]:
    """Add the shadows of the first `count` listed voxels to what was cast before.

    A change of a few voxels costs what the shadows of these few cost; whole amounts add up exactly.
    """
    if grid.voxels <= SMALL_GRID:
        return cast_on_all_voxels(total, grid, view, blocker, amount, count, radius)
    return cast_by_cones(total, grid, view, blocker, amount, count, radius)


def cast_by_cones(
    total: Shaped[Array, "view voxel"],
    grid: AnyGrid,
    view: Float[Array, "view 3"],
    blocker: Int[Array, " listed"],
    amount: Shaped[Array, " listed"],
    count: Int[Array, ""] | int,
    radius: Float[Array, ""] | float,
) -> Shaped[Array, "view voxel"]:
    """Add shadows by asking only inside their cones."""
    listed = centres_of(grid, blocker)

    def add(total, at, item, voxel, asked):
        behind = centres_of(grid, voxel)
        shadow = hides(view[at], behind, listed[item], radius) & asked
        place = jnp.where(shadow, voxel, grid.voxels)
        return total.at[at, place].add(amount[item].astype(total.dtype), mode="drop")

    wanted = (amount != 0) & (jnp.arange(len(blocker)) < count)
    return _visit(total, grid, view, listed, wanted, count, radius, _cone, add)


def occupancy_messages(
    grid: AnyGrid,
    view: Float[Array, "view 3"],
    seen: Int[Array, " listed"],
    count: Int[Array, ""] | int,
    evidence: Float[Array, "view listed"],
    present: Float[Array, " listed"],
    shadow: Float[Array, "view listed"],
    cast: Float[Array, " voxel"],
    false_occlusion: Float[Array, ""] | float,
    most: Float[Array, ""] | float,
    radius: Float[Array, ""] | float,
) -> Float[Array, " voxel"]:
    """Ask the voxels in the tubes around segments that the samples show open, or closed.

    Args:
        grid: The voxels.
        view: Where the views are [m].
        seen: Voxels whose segments are known.
        count: How many of these are meant.
        evidence: Log-odds of each segment being open.
        present: Probability that the voxel at its end is occupied.
        shadow: Log-probability that nothing known closes the segment.
        cast: What each voxel itself contributes to `shadow`.
        false_occlusion: Probability that a segment is hidden by what no estimate shows.
        most: Largest log-odds that one segment contributes.
        radius: How close to a segment an occupied voxel hides it [m].
    """
    known = (evidence, present, shadow, cast, false_occlusion, most)
    message = messages_without_shadow(known)
    listed = centres_of(grid, seen)

    def add(total, at, item, voxel, asked):
        between = hides(view[at], listed[item], centres_of(grid, voxel), radius) & asked
        place = jnp.where(between, voxel, grid.voxels)
        return total.at[place].add(message[at, item], mode="drop")

    wanted = (present != 0) & (jnp.arange(len(seen)) < count)
    total = jnp.zeros(grid.voxels, message.dtype)
    total = _visit(total, grid, view, listed, wanted, count, radius, _tube, add)
    return correct_casting_voxels(total, grid, view, seen, count, known, radius)


def _cone(
    aim: _Aim, along: Float[Array, "pair slice"], radius: Float[Array, ""] | float
) -> _Bounds:
    """Bound the cone behind a voxel: tangents to the conic that it cuts out of each slice."""
    main, others = aim.ahead[:, :1], aim.ahead[:, 1:]
    sine = radius / aim.distance[:, None]
    room = main**2 - sine**2
    wide = (room < 0.01)[..., 0]  # across the dominant plane, or the view is inside the voxel
    room = jnp.maximum(room, 0.01)
    root = sine * jnp.sqrt(jnp.maximum(main**2 + others**2 - sine**2, 0))
    low, high = ((main * others + side * root) / room for side in (-1, 1))
    low = jnp.where(wide[:, None], -jnp.inf, low)
    high = jnp.where(wide[:, None], jnp.inf, high)
    cosine = jnp.sqrt(jnp.maximum(1 - sine**2, 0))
    first = aim.distance * (main * cosine - jnp.sqrt(jnp.maximum(1 - main**2, 0)) * sine)[:, 0]
    first = jnp.where(wide, -jnp.inf, (1 - _SLACK) * first)
    along = jnp.maximum(along, 1e-6 * radius)[..., None]
    return _Bounds(
        first, jnp.full_like(first, jnp.inf), along * low[:, None], along * high[:, None]
    )


def _tube(
    aim: _Aim, along: Float[Array, "pair slice"], radius: Float[Array, ""] | float
) -> _Bounds:
    """Bound the tube from a view to a voxel."""
    main, others = aim.ahead[:, :1], aim.ahead[:, 1:]
    middle = along[..., None] * (others / main)[:, None]
    half = (radius * jnp.sqrt(main**2 + others**2) / main)[:, None]
    last = main[:, 0] * aim.distance + radius
    return _Bounds(jnp.full_like(last, -radius), last, middle - half, middle + half)


def _aim(view: Float[Array, "pair 3"], listed: Float[Array, "pair 3"]) -> _Aim:
    towards = listed - view
    axes = (jnp.argmax(jnp.abs(towards), 1)[:, None] + jnp.arange(3)[None]) % 3
    distance = jnp.maximum(jnp.linalg.norm(towards, axis=1), 1e-12)
    ahead = jnp.take_along_axis(towards / distance[:, None], axes, 1)
    sign = jnp.where(ahead[:, 0] < 0, -1.0, 1.0).astype(ahead.dtype)
    ahead = ahead.at[:, 0].set(jnp.maximum(jnp.abs(ahead[:, 0]), 0.5))  # below only if nowhere
    return _Aim(axes, jnp.take_along_axis(view, axes, 1), ahead, sign, distance)


def _visit(
    total: Array,
    grid: AnyGrid,
    view: Float[Array, "view 3"],
    listed: Float[Array, "listed 3"],
    wanted: Bool[Array, " listed"],
    count: Int[Array, ""] | int,
    radius: Float[Array, ""] | float,
    bound: Callable[[_Aim, Array, Array | float], _Bounds],
    add: Callable[[Array, Array, Array, Array, Array], Array],
) -> Array:
    """Ask every voxel inside the bounds of every pair of view and listed voxel.

    Rectangles of a block of pairs are laid end to end, and their voxels asked in equal blocks.
    """
    pairs, most = block(128, 2048), block(8192, 1 << 20)  # pairs bounded, voxels asked at a time
    views, slices = len(view), max(grid.shape)
    shape = np.asarray(grid.shape)
    stride = jnp.array([grid.shape[1] * grid.shape[2], grid.shape[2], 1])
    shape, origin = jnp.asarray(shape), jnp.asarray(grid.origin, view.dtype)
    widened = radius * (1 + _SLACK)

    def rectangles(pair):
        item, at = jnp.minimum(pair // views, len(listed) - 1), pair % views
        aim = _aim(view[at], listed[item])
        lowest, size = origin[aim.axes], shape[aim.axes]
        where = jnp.arange(slices)[None]
        along = lowest[:, :1] + grid.edge * (where + 0.5) - aim.view[:, :1]
        along = along * aim.sign[:, None]
        found = bound(aim, along, widened)
        spare = _SLACK * grid.edge
        inside = (along >= found.first[:, None] - spare) & (along <= found.last[:, None] + spare)
        inside &= (where < size[:, :1]) & (wanted[item] & (pair < views * len(listed)))[:, None]
        offset = (aim.view - lowest)[:, None, 1:]
        largest = size[:, None, 1:].astype(view.dtype)
        low = jnp.ceil((offset + found.low - spare) / grid.edge - 0.5)
        high = jnp.floor((offset + found.high + spare) / grid.edge - 0.5)
        low = jnp.clip(low, 0, largest).astype(jnp.int32)
        high = jnp.clip(high, -1, largest - 1).astype(jnp.int32)
        width = jnp.where(inside[..., None], jnp.maximum(high - low + 1, 0), 0)
        steps = stride[aim.axes]
        start = where * steps[:, :1] + jnp.sum(low * steps[:, None, 1:], -1)
        return start.reshape(-1), width.reshape(-1, 2), steps

    def visit(i, total):
        pair = i * pairs + jnp.arange(pairs)
        start, width, steps = rectangles(pair)
        end = jnp.cumsum(width[:, 0] * width[:, 1])

        def ask(j, total):
            number = j * most + jnp.arange(most)
            asked = number < end[-1]
            which = jnp.searchsorted(end, number, side="right")
            which = jnp.minimum(which, len(end) - 1)
            across = jnp.maximum(width[which, 1], 1)
            rest = number - (end[which] - width[which, 0] * width[which, 1])
            own = which // slices
            voxel = start[which] + (rest // across) * steps[own, 1] + rest % across * steps[own, 2]
            voxel = jnp.where(asked, voxel, 0)
            own = pair[own]
            return add(total, own % views, own // views, voxel, asked)

        return jax.lax.fori_loop(0, -(-end[-1] // most), ask, total)

    blocks = -(-(jnp.asarray(count) * views) // pairs)
    return jax.lax.fori_loop(0, blocks, visit, total)
