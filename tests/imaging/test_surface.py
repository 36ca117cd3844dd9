"""Surfaces of images: faces of a box by hand, normals outwards, files that readers take."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging.surface import surface_of, write_surface
from echoscape.imaging.voxel_image import Certificate, ImageStatus, VoxelImage
from echoscape.scene.mesh import read_mesh
from echoscape.scene.voxel_grid import VoxelGrid

GRID = VoxelGrid((1.0, -2.0, 0.5), (6, 5, 4), 0.5)


def made(occupied, unseen=None):
    unseen = np.zeros(GRID.shape, bool) if unseen is None else unseen
    return VoxelImage(
        GRID, 0.7 * occupied, 0.01 * occupied, np.where(occupied, 0.98, 0.02), unseen,
        np.ones((2, *GRID.shape), bool), 1.0, 3, ImageStatus.CONVERGED, Certificate(1.0, 1.1, True),
    )  # fmt: skip


@pytest.fixture
def box():
    """A box of 3 x 2 x 2 voxels in the middle, and its lower side out of sight."""
    occupied, unseen = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    occupied[1:4, 1:3, 1:3] = True
    unseen[1:4, 1:3, 0] = True
    return made(occupied, unseen)


def normals(surface):
    a, b, c, _ = surface.vertex[surface.face].transpose(1, 0, 2)
    return np.cross(b - a, c - a) / GRID.edge**2


def test_a_box_has_the_faces_that_are_seen(box):
    surface = surface_of(box)
    assert len(surface.face) == 2 * (2 * 2) + 2 * (3 * 2) + 3 * 2  # none below
    middle = surface.vertex[surface.face].mean(1)
    centre = np.array([1.0, -2.0, 0.5]) + 0.5 * np.array([2.5, 2.0, 2.0])
    normal = normals(surface)
    half = 0.25 * np.array([3, 2, 2])
    along = np.abs((middle - centre) / half)
    assert np.allclose(along[np.abs(normal) > 0.5], 1.0)
    assert np.all(np.sum((middle - centre) * normal, 1) > 0)  # outwards
    assert np.allclose(np.linalg.norm(normal, axis=1), 1)
    assert not np.any(normal[:, 2] < -0.5)
    assert np.all(surface.probability == 0.98)
    assert np.all(surface.coefficient == 0.7)


def test_files_hold_the_surface(box, tmp_path):
    surface = surface_of(box)
    write_surface(surface, tmp_path / "box.obj")
    mesh = read_mesh(tmp_path / "box.obj")
    assert len(mesh.face) == 2 * len(surface.face)
    assert len(np.unique(mesh.wall)) == 5
    write_surface(surface, tmp_path / "box.ply")
    head, body = (tmp_path / "box.ply").read_text().split("end_header\n")
    lines = body.splitlines()
    count = len(surface.vertex)
    assert f"element vertex {count}\n" in head
    assert f"element face {len(surface.face)}\n" in head
    assert np.allclose([[float(v) for v in line.split()] for line in lines[:count]], surface.vertex)
    faces = np.array([[float(v) for v in line.split()] for line in lines[count:]])
    assert np.array_equal(faces[:, 1:5], surface.face)
    assert np.allclose(faces[:, 5:], [0.98, 0.7, 0.5 / 12**0.5], rtol=1e-5)


def test_an_empty_image_and_other_formats_are_refused(box, tmp_path):
    with pytest.raises(InputError, match="no occupied voxel, so there is no surface"):
        surface_of(made(np.zeros(GRID.shape, bool)))
    with pytest.raises(InputError, match=r"must end in .ply or .obj"):
        write_surface(surface_of(box), tmp_path / "box.stl")
    assert not list(tmp_path.iterdir())
