"""Meshes from files, their walls, and what is refused."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.scene.mesh import make_mesh, read_mesh

CORNER = np.array([[x, y, z] for x in (0, 3) for y in (0, 2) for z in (0, 5)], float)
BOX = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip


def turned(points, angle=0.4):
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + [10, -4, 0]


def test_a_turned_box_has_six_walls_of_two_triangles():
    mesh = make_mesh(turned(CORNER), BOX)
    assert np.bincount(mesh.wall).tolist() == [2] * 6
    assert np.array_equal(mesh.wall[0::2], mesh.wall[1::2])


def test_coplanar_walls_that_do_not_touch_stay_apart():
    twice = np.concatenate([CORNER, CORNER + np.array([0, 7.0, 0])])
    mesh = make_mesh(turned(twice), np.concatenate([BOX, BOX + 8]))
    assert mesh.wall.max() == 11


def test_corners_that_are_written_twice_are_one():
    spelt = turned(CORNER)[BOX].reshape(-1, 3)
    mesh = make_mesh(spelt, np.arange(36).reshape(12, 3))
    assert np.bincount(mesh.wall).tolist() == [2] * 6


def test_files_read_back_and_polygons_become_triangles(tmp_path):
    np.savez(tmp_path / "box.npz", vertices=CORNER, faces=BOX)
    assert np.array_equal(read_mesh(tmp_path / "box.npz").face, BOX)
    lines = [f"v {x} {y} {z}" for x, y, z in CORNER] + [
        "# a wall",
        "f 1/1 2/2 4/3 3/4",
        "f -8 -4 -3",
    ]
    (tmp_path / "box.obj").write_text("\n".join(lines))
    assert read_mesh(tmp_path / "box.obj").face.tolist() == [[0, 1, 3], [0, 3, 2], [0, 4, 5]]


@pytest.mark.parametrize(
    ("vertex", "face", "message"),
    [
        (CORNER, np.zeros((0, 3), int), "has no faces with an area"),
        (CORNER, np.array([[0, 1, 1]]), "has no faces with an area"),
        (CORNER, np.array([[0, 1, 8]]), "refers to vertex 8, but the mesh has 8"),
        (CORNER * np.nan, BOX, "a vertex that is not finite"),
    ],
)
def test_what_is_no_mesh_is_refused(vertex, face, message):
    with pytest.raises(InputError, match=message):
        make_mesh(vertex, face)


def test_files_that_are_no_mesh_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="a mesh was needed"):
        read_mesh(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", points=CORNER)
    with pytest.raises(InputError, match=r"lacks the array 'vertices'; it has points"):
        read_mesh(tmp_path / "other.npz")
    (tmp_path / "bad.obj").write_text("v 1 2 x\n")
    with pytest.raises(InputError, match="no vertex or face"):
        read_mesh(tmp_path / "bad.obj")
    (tmp_path / "mesh.stl").write_text("solid")
    with pytest.raises(InputError, match=r"must end in \.npz or \.obj"):
        read_mesh(tmp_path / "mesh.stl")
