"""What every way from snapshots to an image has in common.

A solver's fields are its settings: documented once, offered by the command line, and saved with
the image.  A `GridSolver` works on coefficients of voxels, the linear `Problem`; others work on
the snapshots themselves.

Takes `Snapshots` and a `VoxelGrid`.
Gives a `VoxelImage`.
"""

import abc
import dataclasses
import json
import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Inexact

from echoscape.checks import InputError
from echoscape.imaging.problem import Problem, explained, make_problem
from echoscape.imaging.snapshots import Snapshots
from echoscape.imaging.voxel_image import Certificate, ImageStatus, VoxelImage
from echoscape.progress import Progress
from echoscape.scene.voxel_grid import VoxelGrid

DEVIATIONS = 1.5
"""A certified misfit exceeds one by at most this many of its standard deviations: above, a missing
voxel hides in the residual of a few users."""
DEVIATIONS_BELOW = 4.0
"""It falls below one by at most this many: nothing but overfitting or too large a stated noise
takes it there, and both go far."""


class Solution(NamedTuple):
    """What a solver found; vectors are flat over the voxels."""

    mean: Inexact[np.ndarray, " voxel"]
    """Posterior mean of the coefficients."""
    variance: Float[np.ndarray, " voxel"]
    """Posterior variance."""
    occupancy: Float[np.ndarray, " voxel"]
    """Probability of being occupied."""
    visibility: Bool[np.ndarray, "view voxel"]
    """Which segments are open."""
    noise: float
    """Mean squared noise of a sample."""
    misfit: float
    """Mean squared residual over the noise, per sample that no coefficient was fitted to."""
    iterations: int
    """Iterations of message passing, over all starts."""
    status: ImageStatus
    """How it ended."""
    trace: Float[np.ndarray, " iteration"] = np.zeros(0)
    """Mean squared residual over the noise at every iteration of the last message passing."""
    least_log_odds: float = math.inf
    """Log-odds of the occupied voxel that is least sure; infinite where none was computed."""


class Solver(eqx.Module):
    """A way to make an image; never instantiated itself."""

    @abc.abstractmethod
    def image(
        self,
        snapshots: Snapshots,
        grid: VoxelGrid,
        *,
        radius: float | None = None,
        is_complex: bool = False,
        progress: Progress | None = None,
    ) -> VoxelImage:
        """Make an image; `echoscape.imaging.image` describes the arguments."""

    def settings(self) -> str:
        """Write the solver's name and its settings as JSON, to be saved with the image."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = {
            name: value
            for name, value in fields.items()
            if value is None or isinstance(value, (bool, int, float, str))
        }
        return json.dumps({"solver": type(self).__name__, **plain})


class GridSolver(Solver):
    """A solver of coefficients of voxels; never instantiated itself."""

    decorrelates: ClassVar[bool] = True
    """Whether it wants each station's antennas rotated."""

    @abc.abstractmethod
    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem; `progress` is called as ``progress(done, total, stage)``."""

    def image(
        self,
        snapshots: Snapshots,
        grid: VoxelGrid,
        *,
        radius: float | None = None,
        is_complex: bool = False,
        progress: Progress | None = None,
    ) -> VoxelImage:
        """Set up the linear problem, solve it, and put the solution on the grid."""
        problem = make_problem(
            snapshots,
            grid,
            radius=radius,
            is_complex=is_complex,
            decorrelate=self.decorrelates,
        )
        found = assemble_image(problem, self.solve(problem, progress), snapshots, grid)
        return dataclasses.replace(found, settings=self.settings())


def limit_of(samples: int, deviations: float = DEVIATIONS) -> float:
    """Give the misfit that lies so many standard deviations above one."""
    return 1 + deviations / math.sqrt(samples)


def degrees_of_freedom(problem: Problem, fitted: float) -> float:
    """Count the samples that are left when so many coefficients took their share.

    A real coefficient takes half a complex sample.
    """
    share = fitted * (1.0 if problem.is_complex else 0.5)
    return max(problem.received.size - share, 1.0)


def assemble_image(
    problem: Problem, solution: Solution, snapshots: Snapshots, grid: VoxelGrid
) -> VoxelImage:
    """Put what a solver found on the grid, with its certificate."""
    shape = grid.shape
    users = len(snapshots.user_position)
    seen = np.any(solution.visibility[:users], 0) & np.any(solution.visibility[users:], 0)
    size = problem.received.size
    certificate = Certificate(
        misfit=float(solution.misfit),
        limit=limit_of(size),
        noise_known=problem.noise_known,
        least_log_odds=float(solution.least_log_odds),
        explained=explained(problem, float(solution.misfit * solution.noise), solution.noise),
        lowest=limit_of(size, -DEVIATIONS_BELOW),
        converged=solution.status is ImageStatus.CONVERGED,
    )
    mean, variance = np.where(seen, solution.mean, 0), np.where(seen, solution.variance, 0)
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(variance))):
        raise InputError("the solver found no finite image; its samples may be all noise")
    return VoxelImage(
        grid=grid,
        mean=mean.reshape(shape),
        variance=variance.astype(float).reshape(shape),
        occupancy=solution.occupancy.astype(float).reshape(shape),
        unseen=np.logical_not(seen).reshape(shape),
        visibility=solution.visibility.reshape(-1, *shape),
        noise_variance=float(solution.noise * problem.unit),
        iterations=solution.iterations,
        status=certificate.judge(solution.status),
        certificate=certificate,
        frequency=float(snapshots.frequency.mean()),
    )
