"""What a perfect solver would find: least squares on the true support.

A genie-aided solver knows which voxels are occupied and which segments are open.  With the true
mask it is a little optimistic, for the mask itself shows voxels that nobody sees; with the mask
that the seen voxels make, it is the best that anyone who works from what is seen can do.

Takes a `Problem`, a support and a mask.
Gives a `Solution`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.imaging.problem import Problem
from echoscape.imaging.simulation import Truth, open_segments
from echoscape.imaging.solver import GridSolver, Solution, degrees_of_freedom
from echoscape.imaging.support_search import support
from echoscape.imaging.voxel_image import ImageStatus
from echoscape.progress import Progress, silent
from echoscape.scene.voxel_grid import VoxelGrid

_WIDE = 100.0
"""Prior variance of a coefficient: hardly pulls, keeps unseen voxels regular."""


class KnownSupport(GridSolver):
    """Least squares on the occupied voxels, with these and the open segments known."""

    occupied: Int[np.ndarray, " listed"]
    """Flat indices of the occupied voxels."""
    user: Bool[np.ndarray, "user voxel"]
    """Whether each user sees each voxel."""
    station: Bool[np.ndarray, "station voxel"]
    """Whether each station does."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        progress = progress or silent
        progress(0, 1, "least squares")
        voxels, listed = problem.grid.voxels, np.asarray(self.occupied, int)
        prior = support.CoefficientPrior(0.5, 0.0, _WIDE)
        scene = support.Scene(problem, prior, float(problem.noise))
        user, station = (np.asarray(part)[:, listed] for part in (self.user, self.station))
        empty = np.zeros(len(listed))
        found = support.refit(
            scene, support.Support(listed, empty, user, station, empty, scene.received)
        )
        mean, variance = np.zeros(voxels, found.value.dtype), np.zeros(voxels)
        mean[listed], variance[listed] = found.value, found.variance
        occupancy = np.zeros(voxels)
        occupancy[listed] = 1.0
        size = problem.received.size
        progress(1, 1, "least squares")
        return Solution(
            mean=mean,
            variance=variance,
            occupancy=occupancy,
            visibility=np.concatenate([self.user, self.station]),
            noise=float(problem.noise),
            misfit=support.misfit_of(scene, found)
            * size
            / degrees_of_freedom(problem, float(len(listed))),
            iterations=0,
            status=ImageStatus.CONVERGED,
        )


def genie(truth: Truth) -> KnownSupport:
    """Make the solver that knows the true support and the true mask."""
    return KnownSupport(np.flatnonzero(truth.coefficient), truth.user, truth.station)


def realisable_oracle(
    truth: Truth, grid: VoxelGrid, view: Float[np.ndarray, "view 3"], radius: float
) -> KnownSupport:
    """Make the solver that knows the occupied voxels in range, and makes the mask from these."""
    seen = np.flatnonzero((truth.coefficient != 0) & truth.in_range)
    segments = open_segments(grid, view, seen, radius)
    return KnownSupport(seen, segments[: len(truth.user)], segments[len(truth.user) :])
