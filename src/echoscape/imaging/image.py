"""One verb for the whole stage: from snapshots to an image.

Takes `Snapshots`, a `VoxelGrid` and a solver.
Gives a `VoxelImage`.
"""

from collections.abc import Sequence

from echoscape.imaging.choice import choose_solver, with_unknowns
from echoscape.imaging.snapshots import Snapshots
from echoscape.imaging.solver import Solver
from echoscape.imaging.voxel_image import VoxelImage
from echoscape.progress import Progress
from echoscape.scene.voxel_grid import VoxelGrid


def image(
    snapshots: Snapshots,
    grid: VoxelGrid,
    *,
    solver: Solver | None = None,
    radius: float | None = None,
    is_complex: bool = False,
    unknown: Sequence[str] = (),
    progress: Progress | None = None,
) -> VoxelImage:
    """Image the voxels of a grid from users' pilots.

    Args:
        snapshots: What the stations received.
        grid: The voxels.
        solver: How, its settings being its fields; by default `choose_solver` chooses by the
            stated deviations and the band.
        radius: How close to a segment an occupied voxel hides it; half an edge by default [m].
        is_complex: Whether coefficients may be complex; they are real by default.
        unknown: What is not known of the users: "gain", "phase", "position", "clock"; deviations
            that the snapshots do not state are those of `with_unknowns`.
        progress: Called as ``progress(done, total, stage)``.

    Raises:
        InputError: The grid is too large, or nothing in it can be seen.
    """
    snapshots = with_unknowns(snapshots, unknown)
    if solver is None:
        solver, _ = choose_solver(snapshots, unknown)
    return solver.image(snapshots, grid, radius=radius, is_complex=is_complex, progress=progress)
