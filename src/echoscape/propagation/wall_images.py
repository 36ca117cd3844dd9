"""Specular paths by images: a mesh alone yields paths, without a ray tracer.

Rays launched from the station find which sequences of walls can be met at all; for a place, each
sequence has one exact path, the straight line from the station's image, which counts if every
bounce lies on its wall and nothing stands between.

Takes a `Mesh`, the station, and places.
Gives `SpecularPaths`: exact lengths, directions and bounces, of up to three reflections.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float, Int

from echoscape.propagation.ray_cast import BoxTree, build_tree, cast, sees
from echoscape.scene import StaticPoints
from echoscape.scene.mesh import Mesh
from echoscape.units import wavelength_of

PERMITTIVITY = 5.24
"""Relative permittivity of concrete, ITU-R P.2040-3 table 3 [1]."""
CONDUCTIVITY = (0.0462, 0.7822)
"""Conductivity of concrete, ``first * (f / GHz)^second``, ITU-R P.2040-3 table 3 [S/m]."""
_VACUUM = 8.854_187_8128e-12
_EDGE = 0.02  # how far outside its wall's box a bounce may lie, for round-off [m]
_BLOCK = 2_000_000  # sequences times places that are looked at together


class WallPlanes(eqx.Module):
    """The plane and extent of every flat wall of a mesh (numpy)."""

    normal: Float[np.ndarray, "wall 3"]
    """Unit normal [1]."""
    offset: Float[np.ndarray, " wall"]
    """Distance of the plane from the origin along the normal [m]."""
    low: Float[np.ndarray, "wall 3"]
    """Lowest corner of the wall's box [m]."""
    high: Float[np.ndarray, "wall 3"]
    """Highest corner [m]."""


class SpecularPaths(eqx.Module):
    """Paths to places, one row each, in the order of the places (numpy)."""

    place: Int[np.ndarray, " path"]
    """Which place."""
    sequence: Int[np.ndarray, "path bounce"]
    """Walls from the station on, -1 beyond the last."""
    bounces: Int[np.ndarray, " path"]
    """How many reflections; 0 is line of sight."""
    length: Float[np.ndarray, " path"]
    """Length [m]."""
    image: Float[np.ndarray, "path 3"]
    """Image of the station that the path comes straight from [m]."""
    first: Float[np.ndarray, "path 3"]
    """First bounce; the place for line of sight [m]."""
    last: Float[np.ndarray, "path 3"]
    """Last bounce; the station for line of sight [m]."""
    gain: Complex[np.ndarray, " path"]
    """Amplitude between vertical isotropic antennas, without the carrier's phase [1]."""


def wall_planes(mesh: Mesh) -> WallPlanes:
    """Give each wall the plane of its largest triangle and the box around all of them."""
    count = int(mesh.wall.max()) + 1
    corner = mesh.triangle
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    order = np.lexsort((area, mesh.wall))
    largest = order[np.searchsorted(mesh.wall[order], np.arange(count), side="right") - 1]
    normal = mesh.normal[largest]
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, mesh.wall, corner.min(axis=1))
    np.maximum.at(high, mesh.wall, corner.max(axis=1))
    return WallPlanes(normal, np.sum(normal * corner[largest, 0], axis=1), low, high)


def wall_points(plane: WallPlanes) -> StaticPoints:
    """Give the single reflections in vertical and level walls; others have no static point.

    A wall counts as vertical or level within 0.1 degrees, which moves no image by more than a
    decimetre at 50 m.
    """
    upright, level = np.abs(plane.normal[:, 2]) < 2e-3, np.abs(plane.normal[:, 2]) > 1 - 2e-6
    keep = upright | level
    normal = plane.normal[keep] * np.where(upright[keep, None], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    origin = np.zeros(len(normal), dtype=int)
    return StaticPoints.from_walls(
        normal, plane.offset[keep], origin=origin, provenance=("mesh",)
    )  # fmt: skip


def launch(
    mesh: Mesh,
    tree: BoxTree,
    station: Float[np.ndarray, "3"],
    rays: int = 100_000,
    depth: int = 3,
) -> Int[np.ndarray, "sequence bounce"]:
    """Find the sequences of walls that rays from the station meet.

    Args:
        mesh: The walls.
        tree: The mesh, for casting.
        station: Where rays start [m].
        rays: How many, evenly over the sphere.
        depth: Most reflections.

    Returns:
        All sequences of one to `depth` walls, padded by -1.
    """
    index = np.arange(rays) + 0.5
    level = 1 - 2 * index / rays
    around = math.pi * (1 + math.sqrt(5)) * index
    across = np.sqrt(1 - level**2)
    ahead = np.stack([across * np.cos(around), across * np.sin(around), level], axis=1)
    start = np.tile(np.asarray(station, float), (rays, 1))
    met = np.full((rays, depth), -1)
    alive = np.arange(rays)
    found = []
    normal = mesh.normal
    for bounce in range(depth):
        hit = cast(tree, jnp.asarray(start), jnp.asarray(ahead))
        face, away = np.asarray(hit.face), np.asarray(hit.distance)
        keep = face >= 0
        alive, face = alive[keep], face[keep]
        start = start[keep] + away[keep, None] * ahead[keep]
        side = normal[face]
        ahead = ahead[keep] - 2 * np.sum(ahead[keep] * side, axis=1, keepdims=True) * side
        start = start + 1e-3 * ahead
        met[alive, bounce] = mesh.wall[face]
        found.append(np.unique(met[alive], axis=0))
    return np.unique(np.concatenate(found), axis=0)


def trace(
    mesh: Mesh,
    station: Float[np.ndarray, "3"],
    place: Float[np.ndarray, "place 3"],
    carrier_frequency: float,
    *,
    sequences: Int[np.ndarray, "sequence bounce"] | None = None,
    rays: int = 100_000,
    depth: int = 3,
    tree: BoxTree | None = None,
) -> SpecularPaths:
    """Find all specular paths from the station to places.

    Args:
        mesh: The walls.
        station: Position of the station [m].
        place: Where the paths end [m].
        carrier_frequency: Carrier, for the strength of reflections [Hz].
        sequences: Walls to try, as `launch` gives them; launched from the station if not given.
        rays: How many are launched.
        depth: Most reflections.
        tree: The mesh, for casting; built if not given.
    """
    tree = build_tree(mesh) if tree is None else tree
    station, place = np.asarray(station, float), np.asarray(place, float)
    tried = launch(mesh, tree, station, rays, depth) if sequences is None else sequences
    plane = wall_planes(mesh)
    direct = np.flatnonzero(_clear(tree, np.tile(station, (len(place), 1)), place))
    empty = np.full((len(direct), tried.shape[1]), -1)
    chain = np.zeros((len(direct), tried.shape[1], 3))
    parts = [(direct, empty, np.tile(station, (len(direct), 1)), chain)]
    for count in range(1, tried.shape[1] + 1):
        some = tried[(tried >= 0).sum(axis=1) == count]
        step = max(1, _BLOCK // max(len(some), 1))
        for begin in range(0, len(place) if len(some) else 0, step):
            block = np.arange(begin, min(begin + step, len(place)))
            parts.append(_paths_of(plane, mesh, tree, station, place, block, some, count))
    which, sequence, image, bounce = (np.concatenate(part) for part in zip(*parts))
    order = np.argsort(which, kind="stable")
    which, sequence, image, bounce = which[order], sequence[order], image[order], bounce[order]
    count = (sequence >= 0).sum(axis=1)
    row, end = np.arange(len(which)), place[which]
    reflected = count > 0
    first = np.where(reflected[:, None], bounce[:, 0], end)
    last = np.where(reflected[:, None], bounce[row, np.maximum(count - 1, 0)], station[None])
    length = np.linalg.norm(image - end, axis=1)
    gain = _strength(plane, station, end, sequence, bounce, length, carrier_frequency)
    return SpecularPaths(which, sequence, count, length, image, first, last, gain)


def _paths_of(plane, mesh, tree, station, place, block, sequence, count):
    """Try sequences of one length at a block of places."""
    images = [np.tile(station, (len(sequence), 1))]
    for k in range(count):
        normal, offset = plane.normal[sequence[:, k]], plane.offset[sequence[:, k]]
        above = np.sum(images[-1] * normal, axis=1) - offset
        images.append(images[-1] - 2 * above[:, None] * normal)
    row, end = (x.ravel() for x in np.meshgrid(np.arange(len(sequence)), block))
    point, bounces = place[end], []
    for k in range(count - 1, -1, -1):
        wall = sequence[row, k]
        normal = plane.normal[wall]
        ahead = images[k + 1][row] - point
        fall = np.sum(ahead * normal, axis=1)
        away = plane.offset[wall] - np.sum(point * normal, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = away / fall
            point = point + share[:, None] * ahead
        good = (share > 1e-9) & (share < 1 - 1e-9)
        near = (point >= plane.low[wall] - _EDGE) & (point <= plane.high[wall] + _EDGE)
        good &= near.all(axis=1)
        row, end, point = row[good], end[good], point[good]
        bounces = [each[good] for each in bounces]
        bounces.insert(0, point)
    seen = np.ones(len(row), bool)
    before = np.tile(station, (len(row), 1))
    for k, point in enumerate(bounces):
        ahead = point - before
        length = np.linalg.norm(ahead, axis=1)
        unit = ahead / np.maximum(length, 1e-9)[:, None]
        hit = cast(
            tree, jnp.asarray(before + 2e-3 * unit), jnp.asarray(unit), jnp.asarray(length + 0.05)
        )
        on_wall = mesh.wall[np.asarray(hit.face)] == sequence[row, k]
        close = np.abs(np.asarray(hit.distance) + 2e-3 - length) < _EDGE
        seen &= (np.asarray(hit.face) >= 0) & on_wall & close
        before = point
    seen &= _clear(tree, before, place[end])
    chain = np.zeros((int(seen.sum()), sequence.shape[1], 3))
    for k, point in enumerate(bounces):
        chain[:, k] = point[seen]
    return end[seen], sequence[row[seen]], images[-1][row[seen]], chain


def _clear(tree, start, end):
    return np.asarray(sees(tree, jnp.asarray(start), jnp.asarray(end)))


def _strength(plane, station, end, sequence, bounce, length, carrier_frequency):
    """Thin out over the length, and lose at each wall what Fresnel says for vertical polarisation.

    Walls are met across the plane of incidence, level faces along it.
    """
    conductivity = CONDUCTIVITY[0] * (carrier_frequency / 1e9) ** CONDUCTIVITY[1]
    loss = conductivity / (2 * math.pi * carrier_frequency * _VACUUM)
    eta = PERMITTIVITY - 1j * loss
    gain = wavelength_of(carrier_frequency) / (4 * math.pi * np.maximum(length, 1e-3)) + 0j
    before = np.tile(station, (len(length), 1))
    for k in range(sequence.shape[1]):
        there = sequence[:, k] >= 0
        wall = np.maximum(sequence[:, k], 0)
        ahead = bounce[:, k] - before
        unit = ahead / np.maximum(np.linalg.norm(ahead, axis=1), 1e-9)[:, None]
        cos = np.abs(np.sum(unit * plane.normal[wall], axis=1))
        root = np.sqrt(eta - (1 - cos**2))
        across, along = (cos - root) / (cos + root), (eta * cos - root) / (eta * cos + root)
        level = np.abs(plane.normal[wall, 2]) > 0.7
        gain = np.where(there, gain * np.where(level, along, across), gain)
        before = np.where(there[:, None], bounce[:, k], before)
    return gain
