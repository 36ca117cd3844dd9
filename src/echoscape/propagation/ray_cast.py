"""What a ray meets first: a tree of boxes around triangles, walked without a stack.

Each box knows where to go on when a ray hits or misses it, for each octant of directions so that
the nearer half comes first; so a ray carries one number through the tree and a batch of rays is one
compiled loop, on a CPU or a GPU.  Rays that go alike are walked together.

Takes a `Mesh`, starting points and directions.
Gives distances, faces, and whether two points see one another.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from echoscape.propagation.embree import build_native, cast_native
from echoscape.scene.mesh import Mesh

LEAF = 2
"""Most triangles in one box at the bottom."""
_CHUNK = 256  # rays that walk in step: few, since all wait for the slowest
_OUTWARD = 1e-4  # boxes grow by this, against round-off in single precision [m]


class BoxTree(eqx.Module):
    """Boxes around triangles, in single precision: 0.03 mm at 500 m."""

    low: Float[Array, "box 3"]
    """Lowest corner of each box [m]."""
    high: Float[Array, "box 3"]
    """Highest corner [m]."""
    onward: Int[Array, "octant box 2"]
    """Box to go on with on a hit and on a miss, for rays into each octant: the nearer half first.
    """
    first: Int[Array, " box"]
    """First triangle of a box at the bottom, else 0."""
    count: Int[Array, " box"]
    """How many triangles it has, else 0."""
    corner: Float[Array, "triangle 3 3"]
    """First corner and both edges from it, in the order of the boxes [m]."""
    face: Int[Array, " triangle"]
    """Number of each triangle in the mesh."""
    native: Any = eqx.field(static=True, default=None)
    """The same triangles in Embree, where that is installed."""


class Hit(eqx.Module):
    """What rays met first."""

    distance: Float[Array, "*ray"]
    """How far, infinite where nothing was met [m]."""
    face: Int[Array, "*ray"]
    """Triangle of the mesh, -1 where nothing was met."""


def build_tree(mesh: Mesh, native: bool = True) -> BoxTree:
    """Halve the triangles along their longest side until few are left in each box.

    Args:
        mesh: The triangles.
        native: Let Embree cast rays where it is installed and nothing is being compiled.
    """
    triangle = mesh.triangle
    centre = triangle.mean(axis=1)
    bottom, top = triangle.min(axis=1), triangle.max(axis=1)
    low, high, first, count, order = [], [], [], [], []
    halves: list[tuple[int, int, int] | None] = []

    def add(index: np.ndarray) -> int:
        box = len(low)
        low.append(bottom[index].min(axis=0) - _OUTWARD)
        high.append(top[index].max(axis=0) + _OUTWARD)
        halves.append(None)
        leaf = len(index) <= LEAF
        first.append(len(order) if leaf else 0)
        count.append(len(index) if leaf else 0)
        if leaf:
            order.extend(index)
        else:
            axis = int(np.argmax(np.ptp(centre[index], axis=0)))
            half = len(index) // 2
            split = np.argpartition(centre[index, axis], half)
            halves[box] = (axis, add(index[split[:half]]), add(index[split[half:]]))
        return box

    add(np.arange(len(triangle)))
    chosen = triangle[order]
    corner = np.stack([chosen[:, 0], *(chosen[:, i] - chosen[:, 0] for i in (1, 2))], axis=1)
    room = np.concatenate([corner, np.zeros((LEAF, 3, 3))])  # a leaf may look beyond the end
    return BoxTree(
        low=jnp.asarray(np.array(low), jnp.float32),
        high=jnp.asarray(np.array(high), jnp.float32),
        onward=jnp.asarray(_thread(halves), jnp.int32),
        first=jnp.asarray(np.array(first), jnp.int32),
        count=jnp.asarray(np.array(count), jnp.int32),
        corner=jnp.asarray(room, jnp.float32),
        face=jnp.asarray(np.concatenate([order, np.zeros(LEAF)]), jnp.int32),
        native=build_native(mesh) if native else None,
    )


def _thread(halves: list[tuple[int, int, int] | None]) -> np.ndarray:
    """Find where to go on from each box, on a hit and on a miss, for each octant of directions."""
    onward = np.full((8, len(halves), 2), len(halves))
    backward = np.array([[octant >> axis & 1 for octant in range(8)] for axis in range(3)], bool)
    # a box precedes its halves, so where a miss leads is known when its halves are reached
    for box, split in enumerate(halves):
        if split is None:
            onward[:, box, 0] = onward[:, box, 1]
            continue
        axis, low, high = split
        after = onward[:, box, 1]
        swap = backward[axis]
        onward[:, box, 0] = np.where(swap, high, low)
        onward[:, low, 1] = np.where(swap, after, high)
        onward[:, high, 1] = np.where(swap, low, after)
    return onward


def cast(
    tree: BoxTree,
    start: Float[Array, "ray 3"],
    direction: Float[Array, "ray 3"],
    reach: Float[Array, " ray"] | None = None,
) -> Hit:
    """Find what each ray meets first.

    Args:
        tree: The boxes.
        start: Where the rays start [m].
        direction: Where they go, unit vectors.
        reach: How far they go [m]; without end if not given.
    """
    if tree.native is not None and not isinstance(start, Tracer):
        rays = np.asarray(start), np.asarray(direction)
        away, face = cast_native(tree.native, *rays, None if reach is None else np.asarray(reach))
        return Hit(jnp.asarray(away, start.dtype), jnp.asarray(face))
    count = start.shape[0]
    limit = jnp.full(count, jnp.inf) if reach is None else reach
    # few sizes, each compiled once: a power of two
    padded = max(_CHUNK, 1 << max(count - 1, 0).bit_length()) - count
    rays = [
        jnp.concatenate([x, jnp.ones((padded, *x.shape[1:]), x.dtype)])
        for x in (start, direction, limit)
    ]
    # rays that go alike walk together; each keeps its own answer
    order = _alike(rays[0], rays[1])
    hit = _cast(tree, *(x[order] for x in rays))
    back = jnp.zeros_like(order).at[order].set(jnp.arange(len(order), dtype=order.dtype))[:count]
    return Hit(hit.distance[back], hit.face[back])


@jax.jit
def _alike(start: Float[Array, "ray 3"], direction: Float[Array, "ray 3"]) -> Int[Array, " ray"]:
    """Order rays by where they go, coarsely, and then by where they start."""
    bearing = jnp.arctan2(direction[:, 1], direction[:, 0])
    cell = jnp.floor(start / 16.0) % 64
    fields = (
        (8, jnp.clip(4 * direction[:, 2] + 4, 0, 7)),
        (64, jnp.clip(32 / jnp.pi * bearing + 32, 0, 63)),
        (64, cell[:, 0]),
        (64, cell[:, 1]),
        (64, (256 * direction[:, 2]) % 64),
    )
    key = jnp.zeros(start.shape[0], jnp.int32)
    for size, value in fields:
        key = key * size + value.astype(jnp.int32)
    return jnp.argsort(key, stable=False)


@eqx.filter_jit
def _cast(tree: BoxTree, start: Array, direction: Array, reach: Array) -> Hit:
    """Walk the rays chunk after chunk."""
    rays = (start, direction, reach)
    blocks = [x.astype(jnp.float32).reshape(-1, _CHUNK, *x.shape[1:]) for x in rays]

    def together(block):
        return jax.vmap(_walk, (None, 0, 0, 0))(tree, *block)

    distance, face = jax.lax.map(together, blocks)
    return Hit(distance.reshape(-1).astype(start.dtype), face.reshape(-1))


def sees(
    tree: BoxTree,
    start: Float[Array, "ray 3"],
    end: Float[Array, "ray 3"],
    margin: float = 1e-2,
) -> Bool[Array, " ray"]:
    """Tell whether nothing stands between pairs of points.

    Args:
        tree: The boxes.
        start: One end [m].
        end: The other end [m].
        margin: Length at both ends that does not count, for ends that lie on walls [m].
    """
    ahead = end - start
    length = jnp.linalg.norm(ahead, axis=-1, keepdims=True)
    unit = ahead / jnp.maximum(length, 1e-9)
    clear = jnp.maximum(length[:, 0] - 2 * margin, 0.0)
    hit = cast(tree, start + margin * unit, unit, clear)
    return hit.face < 0


def enclosed(tree: BoxTree, point: Float[Array, "point 3"]) -> Bool[Array, " point"]:
    """Tell whether points lie inside a building: no way up from them leads out.

    Straight up and along sixteen slopes around; a street has sky above, a bridge lets slopes pass.

    Args:
        tree: The boxes.
        point: The points [m].
    """
    around = jnp.arange(16) * (jnp.pi / 8) + 0.1
    low = jnp.stack([jnp.cos(around), jnp.sin(around), jnp.ones(16)], axis=1) / jnp.sqrt(2.0)
    ahead = jnp.concatenate([jnp.array([[0.0, 0.0, 1.0]]), low])
    count, ways = point.shape[0], len(ahead)
    hit = cast(tree, jnp.repeat(point, ways, axis=0), jnp.tile(ahead, (count, 1)))
    return (hit.face >= 0).reshape(count, ways).all(axis=1)


def _walk(tree: BoxTree, start, direction, reach):
    """Carry one ray through the boxes."""
    octant = jnp.sum((direction < 0) * jnp.array([1, 2, 4]))
    inverse = 1.0 / jnp.where(jnp.abs(direction) < 1e-12, 1e-12, direction)

    def open_(carry):
        return carry[0] < tree.count.shape[0]

    def visit(carry):
        box, best, face = carry
        near = (tree.low[box] - start) * inverse
        far = (tree.high[box] - start) * inverse
        enter = jnp.max(jnp.minimum(near, far))
        leave = jnp.min(jnp.maximum(near, far))
        inside = (enter <= leave) & (leave > 0) & (enter < best)
        at = tree.first[box] + jnp.arange(LEAF)
        away = jax.vmap(_meet, (0, None, None))(tree.corner[at], start, direction)
        away = jnp.where(jnp.arange(LEAF) < tree.count[box], away, jnp.inf)
        nearest = jnp.argmin(away)
        better = inside & (away[nearest] < best)
        best = jnp.where(better, away[nearest], best)
        face = jnp.where(better, tree.face[at[nearest]], face)
        return tree.onward[octant, box, jnp.where(inside, 0, 1)], best, face

    _, best, face = jax.lax.while_loop(open_, visit, (jnp.int32(0), reach, jnp.int32(-1)))
    return jnp.where(face < 0, jnp.inf, best), face


def _meet(corner, start, direction):
    """Measure how far a ray goes to one triangle, infinite if it misses."""
    origin, one, two = corner
    across = jnp.cross(direction, two)
    tilt = one @ across
    level = jnp.abs(tilt) < 1e-9
    scale = 1.0 / jnp.where(level, 1.0, tilt)
    offset = start - origin
    u = scale * (offset @ across)
    over = jnp.cross(offset, one)
    v = scale * (direction @ over)
    away = scale * (two @ over)
    slack = 1e-5  # so that no ray slips between neighbours
    inside = ~level & (u >= -slack) & (v >= -slack) & (u + v <= 1 + slack) & (away > 1e-4)
    return jnp.where(inside, away, jnp.inf)
