"""Who sees what: voxels that are occupied hide what stands behind them.

Voxel C hides voxel B from a view A when C lies within a radius of the line AB, ahead of A and
nearer than B: Eqs. (3)-(5) of [multiview-imaging].  `hidden_by_pairs` says so for every
pair, as the rule is written; `cast_on_all_voxels` adds up the shadows of a list of voxels.

Takes a grid, views and the voxels that stand in the way.
Gives, for each view and voxel, how much hides it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from echoscape.imaging.operator.chunk_size import block
from echoscape.scene.voxel_grid import AnyGrid, VoxelGrid

NEARER = 1 - 1e-6
"""A nearer blocker is so by this factor of the squared distance; none hides itself by rounding."""

CASTING = 256
"""Voxels that cast shadows are blamed this many at a time."""


def hides(
    view: Float[Array | np.ndarray, "*#batch 3"],
    behind: Float[Array | np.ndarray, "*#batch 3"],
    blocker: Float[Array | np.ndarray, "*#batch 3"],
    radius: Float[Array | np.ndarray, ""] | float,
) -> Bool[Array | np.ndarray, "*batch"]:
    """Apply the rule of Eqs. (3)-(5): whether `blocker` hides `behind` from `view`.

    Only products and sums of the coordinates, in one order, so every caller rounds alike, and numpy
    as compiled code.
    """
    ax, ay, az = (behind[..., i] - view[..., i] for i in range(3))
    bx, by, bz = (blocker[..., i] - view[..., i] for i in range(3))
    across = (by * az - bz * ay) ** 2 + (bz * ax - bx * az) ** 2 + (bx * ay - by * ax) ** 2
    length = ax * ax + ay * ay + az * az
    near = across < radius**2 * length
    ahead = ax * bx + ay * by + az * bz > 0
    return near & ahead & (bx * bx + by * by + bz * bz < NEARER * length)


def hidden_by_pairs(
    grid: VoxelGrid,
    view: Float[Array, "view 3"],
    occupied: Int[Array, " blocker"],
    radius: Float[Array, ""] | float,
) -> Int[Array, "view voxel"]:
    """Count what hides each voxel from each view, pair by pair: slow, and right by definition."""
    centre = jnp.asarray(grid.centres())

    def one_view(view):
        def one_blocker(blocker):
            return hides(view, centre, centre[blocker], radius)

        return jnp.sum(jax.vmap(one_blocker)(occupied), axis=0)

    return jax.vmap(one_view)(view)


def centres_of(grid: AnyGrid, index: Int[Array, "*batch"]) -> Float[Array, "*batch 3"]:
    """Place the centres of voxels inside compiled code [m]."""
    places = jnp.unravel_index(index, grid.shape)
    place = [o + grid.edge * (i + 0.5) for o, i in zip(grid.origin, places, strict=True)]
    return jnp.stack(place, axis=-1)


def cast_on_all_voxels(
    total: Shaped[Array, "view voxel"],
    grid: AnyGrid,
    view: Float[Array, "view 3"],
    blocker: Int[Array, " listed"],
    amount: Shaped[Array, " listed"],
    count: Int[Array, ""] | int,
    radius: Float[Array, ""] | float,
) -> Shaped[Array, "view voxel"]:
    """Add the shadows of the first `count` listed voxels by asking all voxels: for small grids."""
    centre = centres_of(grid, jnp.arange(grid.voxels))
    listed = centres_of(grid, blocker)

    def cast(i, total):
        shadow = hides(view[:, None], centre[None], listed[i], radius)
        return total + jnp.where(shadow, amount[i], 0).astype(total.dtype)

    return jax.lax.fori_loop(0, count, cast, total)


def occupancy_message(evidence, present, shadow, cast, false_occlusion, most, xp=jnp):
    """Turn the log-odds of a segment being open into those of a voxel on it being occupied.

    The segment is open with log-odds `evidence`; a voxel on it that were occupied would close it,
    whatever the others do, which leave it open with probability ``exp(shadow - cast)``.
    """
    others = xp.clip(xp.exp(shadow - cast), 1e-3, 1 - false_occlusion)
    odds = xp.clip(evidence, -30.0, 30.0)
    message = -xp.log(others * xp.exp(odds) + 1 - others)
    return xp.clip(message, -most, most) * present


def messages_without_shadow(known) -> Float[Array, "view listed"]:
    """Make the messages to voxels that have no part in the shadows."""
    evidence, present, shadow, _, false_occlusion, most = known
    return occupancy_message(evidence, present[None], shadow, 0.0, false_occlusion, most).astype(
        shadow.dtype
    )


def correct_casting_voxels(total, grid, view, seen, count, known, radius):
    """Put right the message of voxels that cast shadows, whose own must not count against them.

    They are few, and the messages, all different, are what costs.
    """
    evidence, present, shadow, cast, false_occlusion, most = known
    listed, room = centres_of(grid, seen), min(block(CASTING, 16 * CASTING), grid.voxels)
    together = block(1, 32)
    first = jnp.nonzero(cast != 0, size=grid.voxels, fill_value=0)[0]  # sorting takes longer
    casting = jnp.sum(cast != 0)

    def cast_by(j, total):
        number = j * room + jnp.arange(room)
        voxel = first[jnp.minimum(number, grid.voxels - 1)]
        centre, own = centres_of(grid, voxel), cast[voxel]

        def one(i, part):
            which = i * together + jnp.arange(together)
            asked, which = which < count, jnp.minimum(which, len(seen) - 1)
            ends = listed[which][None, :, None]
            between = hides(view[:, None, None], ends, centre[None, None], radius)
            segments = evidence[:, which, None], present[None, which, None], shadow[:, which, None]
            message = occupancy_message(*segments, own[None, None], false_occlusion, most)
            message = jnp.where(between & asked[None, :, None], message, 0.0)
            return part + jnp.sum(message, 1).astype(part.dtype)

        part = jnp.zeros((len(view), room), total.dtype)
        part = jnp.sum(jax.lax.fori_loop(0, -(-count // together), one, part), 0)
        place = jnp.where(number < casting, voxel, grid.voxels)
        return total.at[place].set(part, mode="drop")

    return jax.lax.fori_loop(0, -(-casting // room), cast_by, total)
