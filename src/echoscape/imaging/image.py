"""One verb for the whole stage: from snapshots to an image.

Takes `Snapshots`, a `VoxelGrid` and a solver.
Gives a `VoxelImage`.
"""

import math

import numpy as np

from echoscape.checks import InputError
from echoscape.imaging.gamp.solvers import Progress, Solution, Solver
from echoscape.imaging.problem import Problem, explained, make_problem
from echoscape.imaging.snapshots import Snapshots
from echoscape.imaging.support_search.solver import VisibilityBits
from echoscape.imaging.voxel_image import Certificate, VoxelImage
from echoscape.scene.voxel_grid import VoxelGrid

DEVIATIONS = 1.5
"""A certified misfit exceeds one by at most this many of its standard deviations."""


def image(
    snapshots: Snapshots,
    grid: VoxelGrid,
    *,
    solver: Solver | None = None,
    radius: float | None = None,
    is_complex: bool = False,
    progress: Progress | None = None,
) -> VoxelImage:
    """Image the voxels of a grid from users' pilots.

    Args:
        snapshots: What the stations received.
        grid: The voxels.
        solver: How; `VisibilityBits` by default.
        radius: How close to a leg an occupied voxel hides it; half an edge by default [m].
        is_complex: Whether coefficients may be complex; they are real by default.
        progress: Told how much is done, and of how much.

    Raises:
        InputError: The grid is too large, or nothing in it can be seen.
    """
    problem = make_problem(snapshots, grid, radius=radius, is_complex=is_complex)
    solution = (solver or VisibilityBits()).solve(problem, progress)
    return picture(problem, solution, snapshots)


def picture(problem: Problem, solution: Solution, snapshots: Snapshots) -> VoxelImage:
    """Put what a solver found on the grid."""
    shape = problem.grid.shape
    users = len(snapshots.user_position)
    seen = np.any(solution.visibility[:users], 0) & np.any(solution.visibility[users:], 0)
    size = problem.received.size
    certificate = Certificate(
        misfit=float(solution.misfit),
        limit=1 + DEVIATIONS / math.sqrt(size),
        noise_known=problem.noise_known,
        least_worth=float(solution.least_worth),
        explained=explained(problem, float(solution.misfit * solution.noise), solution.noise),
    )
    mean, variance = np.where(seen, solution.mean, 0), np.where(seen, solution.variance, 0)
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(variance))):
        raise InputError("the solver found no finite image; its samples may be all noise")
    return VoxelImage(
        grid=problem.grid,
        mean=mean.reshape(shape),
        variance=variance.astype(float).reshape(shape),
        occupancy=solution.occupancy.astype(float).reshape(shape),
        unseen=np.logical_not(seen).reshape(shape),
        visibility=solution.visibility.reshape(-1, *shape),
        noise_variance=solution.noise * problem.unit,
        iterations=solution.iterations,
        status=solution.status,
        certificate=certificate,
    )
