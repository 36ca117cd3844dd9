"""Voxels: places and indices undo each other, shapes occupy what they should."""

import numpy as np
import pytest

from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.scene.voxel_shapes import box_voxels, mesh_voxels, random_voxels

GRID = VoxelGrid((-1.5, 2.0, 0.5), (9, 7, 5), 0.9)


def test_z_runs_fastest_and_centres_lie_half_an_edge_in():
    centre = GRID.centres()
    assert np.allclose(centre[0], [-1.05, 2.45, 0.95])
    assert np.allclose(centre[1] - centre[0], [0, 0, 0.9])
    assert np.allclose(centre[-1], np.array(GRID.upper) - 0.45)


def test_indices_and_places_undo_each_other():
    index = np.arange(GRID.voxels)
    inside = np.random.default_rng(0).uniform(-0.44, 0.44, (GRID.voxels, 3))
    assert np.array_equal(GRID.index_of(GRID.centre_of(index) + inside), index)
    assert GRID.index_of(np.array([[-1.6, 3.0, 1.0]])) == -1


def test_a_box_is_filled_walls_included():
    low, high = np.array([-1.5, 2.0, 0.5]), np.array([3.0, 6.5, 5.0])  # 5 x 5 x 5
    assert len(box_voxels(GRID, low, high)) == 125


def test_a_slanted_triangle_occupies_the_voxels_it_passes():
    corner = np.array([[-1.4, 2.1, 0.6], [6.0, 3.0, 2.0], [2.0, 8.0, 4.9]])
    found = mesh_voxels(GRID, corner, np.array([[0, 1, 2]]))
    weights = np.random.default_rng(1).dirichlet(np.ones(3), 3000)
    passed = GRID.index_of(weights @ corner)
    assert np.isin(passed, found).mean() > 0.98
    centre = GRID.centre_of(found)
    normal = np.cross(corner[1] - corner[0], corner[2] - corner[0])
    normal /= np.linalg.norm(normal)
    assert np.abs((centre - corner[0]) @ normal).max() < 0.9 * np.sqrt(3) / 2 + 1e-9


@pytest.mark.parametrize("off", [-1e-12, 0.0, 1e-12])
@pytest.mark.parametrize(("face", "layer"), [(0, 0), (4, 4), (9, 8)])
def test_a_wall_on_a_face_occupies_one_layer_and_nothing_beyond_its_ends(face, layer, off):
    x = GRID.origin[0] + 0.9 * face + off
    corner = np.array([[x, 2.9, 0.5], [x, 5.6, 0.5], [x, 5.6, 3.2], [x, 2.9, 3.2]])
    found = mesh_voxels(GRID, corner, np.array([[0, 1, 2], [2, 3, 0]]))
    places = np.stack(np.unravel_index(found, GRID.shape), -1)
    wanted = [(layer, j, k) for j in (1, 2, 3) for k in (0, 1, 2)]
    assert sorted(map(tuple, places.tolist())) == wanted


def test_refusals_say_what_was_needed():
    with pytest.raises(ValueError, match="edge must be finite and above zero, in m; got 0"):
        VoxelGrid((0.0, 0.0, 0.0), (2, 2, 2), 0.0)
    with pytest.raises(ValueError, match="each at least one"):
        VoxelGrid((0.0, 0.0, 0.0), (2, 0, 2), 1.0)
    with pytest.raises(ValueError, match="choose a longer edge or a smaller shape"):
        VoxelGrid((0.0, 0.0, 0.0), (10_000, 10_000, 100), 1.0)
    with pytest.raises(ValueError, match="between one and all 315 voxels"):
        random_voxels(GRID, 316, np.random.default_rng(0))
