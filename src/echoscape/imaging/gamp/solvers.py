"""Interchangeable ways from samples to coefficients.

`VisibilityGamp`, in a module of its own, is the one to use.  These are what it is measured
against: message passing that ignores occlusion, that learns the mask without geometry, that follows
the geometry of its own estimate (GAMP-MVSVR of [multiview-imaging] with damping and safeguards),
or that is given the mask.  What was published as such is in `published`.

Takes a `Problem`.
Gives a `Solution`.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from echoscape.imaging.gamp import iteration as gamp_iteration
from echoscape.imaging.gamp.state import GampSettings, Guess, MaskModel, Outcome
from echoscape.imaging.operator.cascade import Mask
from echoscape.imaging.problem import Problem
from echoscape.imaging.solver import GridSolver, Solution, degrees_of_freedom
from echoscape.imaging.voxel_image import ImageStatus
from echoscape.numerics.denoisers import BernoulliGaussian
from echoscape.progress import Progress


class IgnoreOcclusion(GridSolver):
    """Message passing with everything in sight."""

    iterations: int = 150
    """The most iterations."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        settings = gamp_settings(problem, mask_model=MaskModel.KNOWN, iterations=self.iterations)
        return _solve_with(problem, settings, problem.fully_visible(alike=True), progress)


class KnownMask(GridSolver):
    """Genie-aided message passing: which segments are open is known."""

    user: Bool[np.ndarray, "user voxel"]
    """Whether each user sees each voxel."""
    station: Bool[np.ndarray, "station voxel"]
    """Whether each station does."""
    iterations: int = 150
    """The most iterations."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        settings = gamp_settings(problem, mask_model=MaskModel.KNOWN, iterations=self.iterations)
        mask = problem.mask_of(self.user, self.station)
        return _solve_with(problem, settings, mask, progress)


class UnstructuredMask(GridSolver):
    """Message passing that learns the mask segment by segment, without geometry.

    It is not BiG-AMP, see `BigAmp`: antennas of a station share what it sees, messages are damped.
    """

    iterations: int = 150
    """The most iterations."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        settings = gamp_settings(
            problem, mask_model=MaskModel.UNSTRUCTURED, iterations=self.iterations
        )
        return _solve_with(problem, settings, problem.fully_visible(alike=True), progress)


class OcclusionAwareGamp(GridSolver):
    """Message passing whose mask follows the geometry of its estimate, every iteration.

    GAMP-MVSVR made to converge: damped, antennas rotated, threshold relative; see `GampMvsvr`.
    """

    iterations: int = 150
    """The most iterations."""
    threshold: float = 0.3
    """Part of the typical coefficient below which a voxel hides nothing; at 0.15, spurious small
    ones of the first iterations close segments that never open again."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        settings = gamp_settings(
            problem,
            mask_model=MaskModel.GEOMETRIC,
            iterations=self.iterations,
            threshold=self.threshold,
            first_update=5.0,
        )
        return _solve_with(problem, settings, problem.fully_visible(alike=True), progress)


def gamp_settings(problem: Problem, *, iterations: int, **changes) -> GampSettings:
    """Make the settings of message passing in the precision of a problem."""
    real = problem.cascade.real_type
    settings = GampSettings(
        radius=problem.radius,
        learn_noise=jnp.asarray(not problem.noise_known),
        iterations=jnp.asarray(iterations, jnp.int32),
        **changes,
    )
    numbers = (
        "step",
        "rate",
        "threshold",
        "false_occlusion",
        "presence_threshold",
        "visibility_step",
    )
    numbers += ("message_step", "message_cap", "segment_message_limit", "first_update")
    return dataclasses.replace(
        settings, **{name: jnp.asarray(getattr(settings, name), real) for name in numbers}
    )


def run_gamp(
    problem: Problem,
    settings: GampSettings,
    mask: Mask,
    guess: Guess | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Pass messages over a problem, from nothing or from a guess."""
    if guess is None:
        real = problem.cascade.real_type
        kind = problem.cascade.complex_type if problem.is_complex else real
        nothing = jnp.zeros((), real)
        prior = BernoulliGaussian(nothing, nothing.astype(kind), nothing)
        guess = Guess(jnp.zeros(problem.cascade.padded, kind), prior, jnp.array(False))
    return gamp_iteration.run(
        problem.received,
        problem.cascade,
        mask,
        problem.noise,
        problem.active,
        problem.view,
        settings,
        guess=guess,
        progress=progress,
    )


def status_of(outcome: Outcome, settings_limit: int) -> ImageStatus:
    """Say how message passing ended."""
    if not outcome.finite:
        return ImageStatus.DIVERGED
    if outcome.iterations >= settings_limit:
        return ImageStatus.ITERATION_LIMIT
    return ImageStatus.CONVERGED


def _solve_with(
    problem: Problem, settings: GampSettings, mask: Mask, progress: Progress | None
) -> Solution:
    outcome = run_gamp(problem, settings, mask, progress=progress)
    best = outcome.best
    present = np.asarray(problem.flat(best.present))
    left = degrees_of_freedom(problem, float(present[present > 0.5].sum()))
    return Solution(
        mean=np.asarray(problem.flat(best.mean)),
        variance=np.asarray(problem.flat(best.variance)),
        occupancy=present,
        visibility=np.concatenate(best.segments(problem.active.voxels)),
        noise=float(best.noise),
        misfit=float(best.misfit / best.noise) * problem.received.size / left,
        iterations=outcome.iterations,
        status=status_of(outcome, int(settings.iterations)),
        trace=outcome.misfit,
        least_log_odds=least_log_odds_of(present),
    )


def least_log_odds_of(present: np.ndarray) -> float:
    """Give the log-odds of the least sure of the voxels that count as occupied."""
    least = float(np.min(present[present > 0.5], initial=1 - 1e-12))
    least = min(least, 1 - 1e-12)
    return math.log(least) - math.log1p(-least)
