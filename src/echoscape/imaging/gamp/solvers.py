"""Interchangeable ways from samples to coefficients.

`VisibilityBits`, in a module of its own, is the one to use.  These are what it is measured
against: message passing that ignores occlusion, that learns the mask without geometry (BiGAMP),
that follows the geometry of its own estimate (GAMP-MVSVR of [multiview-imaging]), or that is told
the mask.

Takes a `Problem`.
Gives a `Solution`.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Inexact

from echoscape.imaging.gamp import iteration as passing
from echoscape.imaging.gamp.state import Guess, Outcome, PassingSettings, Sight
from echoscape.imaging.operator.cascade import Mask
from echoscape.imaging.problem import Problem
from echoscape.imaging.voxel_image import ImageStatus
from echoscape.numerics.denoisers import BernoulliGaussian

Progress = Callable[[float, float], None]


class Solution(NamedTuple):
    """What a solver found; vectors are flat over the voxels."""

    mean: Inexact[np.ndarray, " voxel"]
    """Posterior mean of the coefficients."""
    variance: Float[np.ndarray, " voxel"]
    """Posterior variance."""
    occupancy: Float[np.ndarray, " voxel"]
    """Probability of being occupied."""
    visibility: Bool[np.ndarray, "view voxel"]
    """Which legs are open."""
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
    least_worth: float = math.inf
    """Log-odds of the listed voxel that is least sure; infinite where no list was searched."""


class Solver(eqx.Module):
    """A way to solve a `Problem`."""

    @abc.abstractmethod
    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem; `progress` is told how much is done, and of how much."""


class IgnoreOcclusion(Solver):
    """Message passing with everything in sight."""

    iterations: int = 150
    """The most iterations."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        del progress
        settings = settings_for(problem, sight=Sight.GIVEN, iterations=self.iterations)
        return _passed(problem, settings, problem.everything_seen(alike=True))


class KnownMask(Solver):
    """Message passing that is told which legs are open: the genie."""

    user: Bool[np.ndarray, "user voxel"]
    """Whether each user sees each voxel."""
    station: Bool[np.ndarray, "station voxel"]
    """Whether each station does."""
    iterations: int = 150
    """The most iterations."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        del progress
        settings = settings_for(problem, sight=Sight.GIVEN, iterations=self.iterations)
        mask = problem.mask_of(jnp.asarray(self.user), jnp.asarray(self.station))
        return _passed(problem, settings, mask)


class UnknownMask(Solver):
    """Message passing that learns the mask leg by leg, without geometry: BiGAMP."""

    iterations: int = 150
    """The most iterations."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        del progress
        settings = settings_for(problem, sight=Sight.FREE, iterations=self.iterations)
        return _passed(problem, settings, problem.everything_seen(alike=True))


class OcclusionAwareGamp(Solver):
    """GAMP-MVSVR: the mask follows the geometry of the estimate, every iteration."""

    iterations: int = 150
    """The most iterations."""
    threshold: float = 0.3
    """Part of the typical coefficient below which a voxel hides nothing; at 0.15, spurious small
    ones of the first iterations close legs that never open again."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        del progress
        settings = settings_for(
            problem,
            sight=Sight.GEOMETRY,
            iterations=self.iterations,
            threshold=self.threshold,
            first_update=5.0,
        )
        return _passed(problem, settings, problem.everything_seen(alike=True))


def settings_for(problem: Problem, **changes) -> PassingSettings:
    """Make the settings of message passing in the precision of a problem."""
    real = problem.cascade.real_type
    settings = PassingSettings(
        radius=problem.radius, learn_noise=not problem.noise_known, **changes
    )
    numbers = ("step", "rate", "threshold", "surprise", "believed", "bit_step")
    numbers += ("blame_step", "blame_cap", "blame_most", "first_update")
    return dataclasses.replace(
        settings, **{name: jnp.asarray(getattr(settings, name), real) for name in numbers}
    )


def pass_messages(
    problem: Problem,
    settings: PassingSettings,
    mask: Mask,
    guess: Guess | None = None,
) -> Outcome:
    """Pass messages over a problem, from nothing or from a guess."""
    if guess is None:
        real = problem.cascade.real_type
        kind = problem.cascade.complex_type if problem.is_complex else real
        nothing = jnp.zeros((), real)
        prior = BernoulliGaussian(nothing, nothing.astype(kind), nothing)
        guess = Guess(jnp.zeros(problem.cascade.padded, kind), prior, jnp.array(False))
    return passing.run(
        problem.received,
        problem.cascade,
        mask,
        problem.noise,
        problem.kept,
        problem.view,
        settings,
        problem.is_complex,
        guess=guess,
    )


def status_of(outcome: Outcome, settings_limit: int) -> ImageStatus:
    """Say how message passing ended."""
    if not bool(outcome.finite):
        return ImageStatus.DIVERGED
    if int(outcome.iterations) >= settings_limit:
        return ImageStatus.ITERATION_LIMIT
    return ImageStatus.CONVERGED


def _passed(problem: Problem, settings: PassingSettings, mask: Mask) -> Solution:
    outcome = pass_messages(problem, settings, mask)
    best = outcome.best
    present = np.asarray(problem.flat(best.present))
    fitted = _freedom(problem, float(present[present > 0.5].sum()))
    return Solution(
        mean=np.asarray(problem.flat(best.mean)),
        variance=np.asarray(problem.flat(best.variance)),
        occupancy=present,
        visibility=np.concatenate(best.legs(problem.kept.voxels)),
        noise=float(best.noise),
        misfit=float(best.misfit / best.noise) * fitted,
        iterations=int(outcome.iterations),
        status=status_of(outcome, settings.iterations),
        trace=trace_of(outcome),
        least_worth=_least_odds(present),
    )


def _least_odds(present: np.ndarray) -> float:
    """Give the log-odds of the least sure of the voxels that count as occupied."""
    least = float(np.min(present[present > 0.5], initial=1 - 1e-12))
    least = min(least, 1 - 1e-12)
    return math.log(least) - math.log1p(-least)


def trace_of(outcome: Outcome) -> np.ndarray:
    """Give the misfit at every iteration that was made."""
    return np.asarray(outcome.misfit, float)[: int(outcome.iterations)]


def _freedom(problem: Problem, fitted: float) -> float:
    """Divide the samples by those that are left when `fitted` coefficients took their share."""
    share = fitted * (1.0 if problem.is_complex else 0.5)
    return problem.received.size / max(problem.received.size - share, 1.0)
