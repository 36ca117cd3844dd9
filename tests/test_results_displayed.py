"""Results show counts, spans and statuses as words with advice, and become data frames."""

import numpy as np

from echoscape.imaging import VoxelImage
from echoscape.imaging.voxel_image import Certificate, ImageStatus
from echoscape.scene.voxel_grid import VoxelGrid


def test_an_image_is_a_row_a_voxel_and_says_how_its_solver_ended():
    shape = (2, 3, 2)
    mean = np.arange(12.0).reshape(shape)
    unseen = np.zeros(shape, bool)
    unseen[1, 2] = True
    made = VoxelImage(
        grid=VoxelGrid((1.0, -2.0, 0.5), shape, 0.5), mean=mean, variance=0.1 * mean,
        occupancy=mean / 12, unseen=unseen, visibility=np.ones((2, *shape), bool),
        noise_variance=1.0, iterations=3, status=ImageStatus.ITERATION_LIMIT,
        certificate=Certificate(1.5, 1.1, True),
    )  # fmt: skip
    table = made.to_arrow()
    row = 1 * 6 + 2 * 2 + 1  # x slowest
    assert table["mean"][row].as_py() == mean[1, 2, 1] == 11.0
    assert [table[axis][row].as_py() for axis in "xyz"] == [1.75, -0.75, 1.25]
    assert table["unseen"].to_pylist().count(True) == 2
    shown = repr(made)
    assert "12 of 0.5 m, 3 occupied, 2 out of sight" in shown
    assert "iteration_limit  The allowed iterations" in shown
    assert "cannot be trusted: misfit 1.5, at most 1.1" in shown
    assert "1.25 to 1.75 m" in shown
