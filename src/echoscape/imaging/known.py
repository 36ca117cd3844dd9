"""What a perfect solver would find: least squares on the true support.

A genie-aided solver knows which voxels are occupied and which segments are open.  With the true
mask it is a little optimistic, for the mask itself shows voxels that nobody sees; with the mask
that the seen voxels make, it is the best that anyone who works from what is seen can do.

Takes a `Problem`, a support and a mask.
Gives a `Solution`.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.imaging.problem import Problem
from echoscape.imaging.simulation import Truth, open_segments
from echoscape.imaging.solver import GridSolver, Solution, degrees_of_freedom
from echoscape.imaging.support_search import support
from echoscape.imaging.voxel_image import ImageStatus
from echoscape.numerics.denoisers import BernoulliGaussian
from echoscape.progress import Progress, silent
from echoscape.scene.voxel_grid import VoxelGrid

_WIDE = 100.0
"""Prior variance of a coefficient: hardly pulls, keeps unseen voxels regular."""
_SLOTS = 64
"""Lists are padded to a multiple of this, so that few lengths are compiled."""

_refit, _misfit = eqx.filter_jit(support.refit), eqx.filter_jit(support.misfit_of)


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
        progress(0, 1, "least squares, compiling")
        voxels, listed = problem.grid.voxels, self.occupied
        real = problem.cascade.real_type
        kind = problem.cascade.complex_type if problem.is_complex else real
        wide = jnp.asarray(_WIDE, real)
        scene = support.Scene(
            received=problem.received,
            cascade=problem.cascade,
            active=problem.active,
            view=problem.view,
            noise=problem.noise,
            prior=BernoulliGaussian(jnp.asarray(0.5, real), jnp.zeros((), kind), wide),
            radius=problem.radius,
            false_occlusion=0.05,
        )
        count = len(listed)
        slots = -(-count // _SLOTS) * _SLOTS
        padded = np.pad(listed, (0, slots - count))
        first = support.Support(
            index=jnp.asarray(padded),
            valid=jnp.arange(slots) < count,
            value=jnp.zeros(slots, kind),
            user=jnp.asarray(self.user[:, padded]),
            station=jnp.asarray(self.station[:, padded]),
            variance=jnp.zeros(slots, real),
            residual=problem.received,
            score=jnp.zeros((), real),
        )
        found = _refit(scene, first)
        mean, variance = np.zeros(voxels, np.asarray(found.value).dtype), np.zeros(voxels)
        mean[listed] = np.asarray(found.value)[:count]
        variance[listed] = np.asarray(found.variance)[:count]
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
            misfit=float(_misfit(scene, found)) * size / degrees_of_freedom(problem, float(count)),
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
