"""The surface of what an image shows: the faces between occupied voxels and free ones in sight.

Insides of bodies and sides that nobody sees have no face: the image says nothing about these.

Takes a `VoxelImage`.
Gives a `Surface`, and ``.ply`` and ``.obj`` files of it.
"""

import os
from pathlib import Path

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.files import atomic_path
from echoscape.imaging.voxel_image import VoxelImage


class Surface(eqx.Module):
    """Square faces of voxels, normals outwards (numpy)."""

    vertex: Float[np.ndarray, "vertex 3"]
    """Corners [m]."""
    face: Int[np.ndarray, "face 4"]
    """Corners of each face, counter-clockwise as seen from outside."""
    probability: Float[np.ndarray, " face"]
    """That the voxel behind the face is occupied [1]."""
    coefficient: Float[np.ndarray, " face"]
    """Magnitude of its scattering coefficient [1]."""
    position_std: float
    """Standard deviation of a face along its normal: the surface lies anywhere in the voxel [m]."""


def surface_of(image: VoxelImage) -> Surface:
    """Find the faces between occupied voxels and free voxels in sight, and those on the grid's box.

    Raises:
        InputError: No voxel is occupied.
    """
    occupied = image.occupied()
    if not occupied.any():
        raise InputError(
            "the image shows no occupied voxel, so there is no surface; a mesh needs at least one"
        )
    closed = np.pad(occupied | image.unseen, 1)
    place = np.argwhere(occupied)
    corners, owner = [], []
    for axis in range(3):
        across = [(axis + 1) % 3, (axis + 2) % 3]
        for side in (0, 1):
            beside = place + 1
            beside[:, axis] += 2 * side - 1
            free = np.flatnonzero(~closed[tuple(beside.T)])
            square = np.zeros((4, 3), int)
            square[:, across] = [(0, 0), (1, 0), (1, 1), (0, 1)]
            square[:, axis] = side
            corners.append(place[free][:, None] + (square if side else square[::-1]))
            owner.append(free)
    index = np.concatenate(owner)
    flat = np.concatenate(corners).reshape(-1, 3)
    unique, face = np.unique(flat, axis=0, return_inverse=True)
    where = tuple(place[index].T)
    return Surface(
        vertex=np.asarray(image.grid.origin) + image.grid.edge * unique,
        face=face.reshape(-1, 4),
        probability=image.occupancy[where],
        coefficient=np.abs(image.mean[where]),
        position_std=image.grid.edge / 12**0.5,
    )


def write_surface(surface: Surface, path: str | os.PathLike[str]) -> None:
    """Write a surface, whole or not at all; only ``.ply`` carries the numbers of each face.

    Raises:
        InputError: The name ends in neither ``.ply`` nor ``.obj``.
    """
    check_surface_name(path)
    with atomic_path(Path(path)) as temporary:
        text = _ply(surface) if Path(path).suffix.lower() == ".ply" else _obj(surface)
        temporary.write_text(text, encoding="ascii")


def check_surface_name(path: str | os.PathLike[str]) -> None:
    """Refuse a name that tells no format of meshes."""
    if Path(path).suffix.lower() not in (".ply", ".obj"):
        raise InputError(f"{path} must end in .ply or .obj, which tells the format of the mesh")


def _ply(surface: Surface) -> str:
    head = [
        "ply", "format ascii 1.0",
        f"comment metres; position_std {surface.position_std:.6g} m along each normal",
        f"element vertex {len(surface.vertex)}",
        *(f"property double {axis}" for axis in "xyz"),
        f"element face {len(surface.face)}",
        "property list uchar int vertex_indices",
        *(f"property float {name}" for name in ("probability", "coefficient", "position_std")),
        "end_header",
    ]  # fmt: skip
    lines = [" ".join(f"{value:.9g}" for value in row) for row in surface.vertex]
    for corner, probability, size in zip(
        surface.face, surface.probability, surface.coefficient, strict=True
    ):
        words = " ".join(str(value) for value in corner)
        lines.append(f"4 {words} {probability:.6g} {size:.6g} {surface.position_std:.6g}")
    return "\n".join(head + lines) + "\n"


def _obj(surface: Surface) -> str:
    lines = [f"# metres; position_std {surface.position_std:.6g} m along each normal"]
    lines += ["v " + " ".join(f"{value:.9g}" for value in row) for row in surface.vertex]
    lines += ["f " + " ".join(str(value + 1) for value in row) for row in surface.face]
    return "\n".join(lines) + "\n"
