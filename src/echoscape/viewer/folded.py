"""Paths as they run: from a direction and a length to the corners at the walls.

A direction and a length fix the image of the far end.  With a mesh, the ray is followed from wall
to wall for that length; the walls that it meets then give the exact corners, by images.  Without,
or where the mesh gives another length, one corner stands on the ray such that the length is right:
exact for a single reflection or scatterer, the equivalent of one otherwise.

Takes a direction and a length at the station, and the far end.
Gives corners.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from echoscape.propagation.ray_cast import BoxTree, cast
from echoscape.scene.mesh import Mesh

_MOST = 5  # reflections that are followed
_LENGTH = 1.5  # by how much the length may differ, or 2 % of it if that is more [m]


def fold(
    station: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "3"],
    length: float,
    end: Float[np.ndarray, "3"],
    walls: tuple[Mesh, BoxTree] | None = None,
) -> tuple[Float[np.ndarray, "corner 3"], bool]:
    """Find the corners of a path, its ends included.

    Args:
        station: Where it starts [m].
        direction: Unit vector along which it leaves.
        length: Its length [m].
        end: Where it ends [m].
        walls: Mesh, and its tree.

    Returns:
        Corners [m], and whether each reflection lies on a wall of the mesh.
    """
    allowed = max(_LENGTH, 0.02 * length)
    straight = float(np.linalg.norm(end - station))
    ahead = (end - station) @ direction > 0.9995 * straight
    if ahead and abs(straight - length) < 0.2 + 1e-3 * length:
        return np.stack([station, end]), True
    if walls is not None:
        planes = _planes_met(station, direction, length, *walls)
        for count in range(len(planes), 0, -1):
            corner = _corners(station, end, planes[:count])
            if corner is not None and abs(_length(corner) - length) < allowed:
                return corner, True
    return np.stack([station, _one_corner(station, direction, length, end), end]), False


def _planes_met(station, direction, length, mesh: Mesh, tree: BoxTree):
    """Follow a ray from wall to wall; a plane each, as a point and a normal."""
    start, ahead, left = station.astype(float), direction.astype(float), length
    met = []
    for _ in range(_MOST):
        hit = cast(tree, jnp.asarray(start[None]), jnp.asarray(ahead[None]))
        face, away = int(hit.face[0]), float(hit.distance[0])
        if face < 0 or away >= left:
            break
        a, b, c = mesh.vertex[mesh.face[face]]
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal)
        start = start + away * ahead
        met.append((a, normal))
        ahead = ahead - 2 * (ahead @ normal) * normal
        start, left = start + 1e-3 * ahead, left - away
    return met


def _corners(station, end, planes):
    """Place the corners by images; None where a wall is met from behind or along."""
    images = [end]
    for point, normal in reversed(planes):
        images.append(images[-1] - 2 * ((images[-1] - point) @ normal) * normal)
    corner = [station]
    for (point, normal), image in zip(planes, images[:0:-1]):
        ahead = image - corner[-1]
        slope = ahead @ normal
        share = ((point - corner[-1]) @ normal) / slope if abs(slope) > 1e-9 else -1.0
        if not 0 < share < 1:
            return None
        corner.append(corner[-1] + share * ahead)
    return np.stack([*corner, end])


def _one_corner(station, direction, length, end):
    """Place one corner on the ray such that the path has the length."""
    away = end - station
    along = length - away @ direction
    reach = 0.5 * (length**2 - away @ away) / along if along > 1e-9 else length
    return station + np.clip(reach, 0.0, length) * direction


def _length(corner):
    return float(np.linalg.norm(np.diff(corner, axis=0), axis=1).sum())
