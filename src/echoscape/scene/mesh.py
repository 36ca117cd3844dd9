"""Triangles that stand for buildings and ground, and the flat walls they make up.

Ray tracers merge most of a city in few objects, so objects do not tell walls: neighbours that share
an edge and lie in one plane do.

Takes a file of triangles, ``.npz`` or ``.obj``.
Gives `Mesh`, each face with the number of its wall.
"""

import itertools
from pathlib import Path

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from echoscape.checks import InputError
from echoscape.files import check_input, check_size, open_npz

_WELD = 1e-3  # corners closer than this are one [m]
_PARALLEL = 1e-6  # one minus the cosine between normals of one plane
_FLUSH = 1e-2  # neighbours whose planes are closer are one wall [m]


class Mesh(eqx.Module):
    """Triangles, two-sided (numpy)."""

    vertex: Float[np.ndarray, "vertex 3"]
    """Corners [m]."""
    face: Int[np.ndarray, "face 3"]
    """Corners of each triangle."""
    wall: Int[np.ndarray, " face"]
    """Flat wall that each triangle belongs to."""

    @property
    def triangle(self) -> Float[np.ndarray, "face 3 3"]:
        """Corners of every triangle, spelt out [m]."""
        return self.vertex[self.face]

    @property
    def normal(self) -> Float[np.ndarray, "face 3"]:
        """Unit normals; the side depends on the order of the corners [1]."""
        a, b, c = self.triangle.transpose(1, 0, 2)
        cross = np.cross(b - a, c - a)
        return cross / np.linalg.norm(cross, axis=1, keepdims=True)


def make_mesh(vertex: Float[np.ndarray, "vertex 3"], face: Integer[np.ndarray, "face 3"]) -> Mesh:
    """Make a mesh, find its walls, and leave out triangles without area.

    Raises:
        InputError: There is no triangle, or one refers to a corner that is not there.
    """
    vertex, face = np.asarray(vertex, np.float64), np.asarray(face, np.int64)
    if face.size and (face.min() < 0 or face.max() >= len(vertex)):
        raise InputError(
            f"a face refers to vertex {face.max()}, but the mesh has {len(vertex)} vertices, "
            "numbered from 0; export it again"
        )
    if not np.isfinite(vertex).all():
        raise InputError("the mesh has a vertex that is not finite, in m; export it again")
    a, b, c = vertex[face].transpose(1, 0, 2) if len(face) else np.zeros((3, 0, 3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = face[area > 1e-9]
    if len(face) == 0:
        raise InputError("the mesh has no faces with an area; at least one triangle was needed")
    bare = Mesh(vertex, face, np.zeros(len(face), np.int64))
    return Mesh(vertex, face, _walls(bare))


def read_mesh(path: str | Path) -> Mesh:
    """Read triangles: arrays ``vertices`` and ``faces`` of an ``.npz``, or an ``.obj`` file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file holds no mesh.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with open_npz(path, "a mesh") as archive:
            vertex = archive.array("vertices", "real", (None, 3))
            arrays = vertex, archive.array("faces", "integer", (None, 3))
    elif suffix == ".obj":
        arrays = _read_obj(path)
    else:
        raise InputError(f"{path} must end in .npz or .obj, which tells the format of the mesh")
    try:
        return make_mesh(*arrays)
    except InputError as refusal:
        raise InputError(f"{path}: {refusal}") from None


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Take vertices and faces; a polygon becomes a fan of triangles."""
    check_size(path, 50 * check_input(path, "a mesh"), "its lines")
    vertex, face = [], []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            word = line.split()
            try:
                if word[:1] == ["v"]:
                    x, y, z, *_ = (float(value) for value in word[1:])
                    vertex.append((x, y, z))
                elif word[:1] == ["f"]:
                    corner = [int(value.split("/")[0]) for value in word[1:]]
                    corner = [c - 1 if c > 0 else len(vertex) + c for c in corner]
                    face += [(corner[0], *pair) for pair in itertools.pairwise(corner[1:])]
            except ValueError:
                raise InputError(
                    f"{path} has a line that is no vertex or face: {line[:60]!r}"
                ) from None
    try:
        return np.array(vertex).reshape(-1, 3), np.array(face, np.int64).reshape(-1, 3)
    except OverflowError:
        raise InputError(f"{path} has a face whose corner has too large a number") from None


def _walls(mesh: Mesh) -> np.ndarray:
    """Join faces that share an edge and lie in one plane, and number the pieces."""
    rounded = np.round(mesh.vertex / _WELD).astype(np.int64)
    welded = np.unique(rounded, axis=0, return_inverse=True)[1].reshape(-1)[mesh.face]
    edge = np.sort(
        np.concatenate([welded[:, [0, 1]], welded[:, [1, 2]], welded[:, [2, 0]]]), axis=1
    )
    owner = np.tile(np.arange(len(mesh.face)), 3)
    order = np.lexsort((edge[:, 1], edge[:, 0]))
    edge, owner = edge[order], owner[order]
    normal, start = mesh.normal, mesh.triangle[:, 0]
    first, second = [], []
    for gap in (1, 2, 3):  # more than four faces at one edge do not occur in one plane
        same = np.flatnonzero((edge[gap:] == edge[:-gap]).all(axis=1))
        a, b = owner[same], owner[same + gap]
        flat = 1 - np.abs(np.sum(normal[a] * normal[b], axis=1)) < _PARALLEL
        flush = np.abs(np.sum(normal[a] * (start[a] - start[b]), axis=1)) < _FLUSH
        first.append(a[flat & flush])
        second.append(b[flat & flush])
    rows, columns = np.concatenate(first), np.concatenate(second)
    count = len(mesh.face)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
