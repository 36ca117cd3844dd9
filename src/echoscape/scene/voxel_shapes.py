"""What can stand in a grid of voxels: scattered points, boxes, walls, a mesh.

Takes a `VoxelGrid` and a shape in metres.
Gives flat indices of the voxels it occupies.
"""

import numpy as np
from jaxtyping import Float, Int

from echoscape.scene.voxel_grid import VoxelGrid


def random_voxels(
    grid: VoxelGrid, count: int, generator: np.random.Generator
) -> Int[np.ndarray, " occupied"]:
    """Scatter single voxels uniformly, none twice."""
    if not 1 <= count <= grid.voxels:
        raise ValueError(
            f"between one and all {grid.voxels} voxels can be occupied; got a count of {count}"
        )
    return np.sort(generator.choice(grid.voxels, count, replace=False))


def box_voxels(
    grid: VoxelGrid, lower: Float[np.ndarray, "3"], upper: Float[np.ndarray, "3"]
) -> Int[np.ndarray, " occupied"]:
    """Fill a box, walls included: every voxel whose centre lies in it."""
    centre = grid.centres()
    return np.flatnonzero(np.all((centre >= lower) & (centre <= upper), axis=1))


def mesh_voxels(
    grid: VoxelGrid, vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Int[np.ndarray, " occupied"]:
    """Occupy every voxel that a triangle of a mesh passes through.

    Triangles are sampled at half an edge, which can miss a corner that is cut by less.  What lies
    on a face between two voxels occupies the upper one, all of it whatever the rounding, and on the
    upper side of the grid the last; what merely ends on a face does not occupy the voxel beyond.
    """
    found, nudge = [], 1e-6 * grid.edge
    low, high = np.asarray(grid.origin), np.asarray(grid.upper)
    for corner in np.asarray(vertices, float)[np.asarray(faces, int)]:
        sides = corner[1:] - corner[0]
        steps = max(int(np.ceil(2 * np.linalg.norm(sides, axis=1).max() / grid.edge)), 1)
        u, v = np.meshgrid(*[np.linspace(0, 1, steps + 1)] * 2, indexing="ij")
        u, v = u[u + v <= 1 + 1e-9], v[u + v <= 1 + 1e-9]
        at = corner[0] + u[:, None] * sides[0] + v[:, None] * sides[1]
        middle = corner.mean(0)
        at = middle + (1 - 1e-4) * (at - middle)
        last = np.abs(at - high) <= nudge
        at = np.where(last, high - nudge, low + _onto_faces(at - low, grid.edge, nudge))
        found.append(grid.index_of(at))
    index = np.unique(np.concatenate(found)) if found else np.zeros(0, int)
    return index[index >= 0]


def _onto_faces(at: np.ndarray, edge: float, nudge: float) -> np.ndarray:
    """Move coordinates within rounding of a face to just above it."""
    face = edge * np.round(at / edge)
    return np.where(np.abs(at - face) <= nudge, face + nudge, at)
