"""Interchangeable ways from samples to coefficients.

`VisibilityBits` is the one to use.  The others are what it is measured against: message passing
that ignores occlusion, that learns the mask without geometry (BiGAMP), that follows the geometry of
its own estimate (GAMP-MVSVR of [multiview-imaging]), or that is told the mask.

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

from echoscape.imaging import passing, search, support
from echoscape.imaging.cascade import Mask
from echoscape.imaging.messages import Guess, Outcome, PassingSettings, Sight
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
        settings = _settings(problem, sight=Sight.GIVEN, iterations=self.iterations)
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
        settings = _settings(problem, sight=Sight.GIVEN, iterations=self.iterations)
        mask = problem.mask_of(jnp.asarray(self.user), jnp.asarray(self.station))
        return _passed(problem, settings, mask)


class UnknownMask(Solver):
    """Message passing that learns the mask leg by leg, without geometry: BiGAMP."""

    iterations: int = 150
    """The most iterations."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        del progress
        settings = _settings(problem, sight=Sight.FREE, iterations=self.iterations)
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
        settings = _settings(
            problem,
            sight=Sight.GEOMETRY,
            iterations=self.iterations,
            threshold=self.threshold,
            first_update=5.0,
        )
        return _passed(problem, settings, problem.everything_seen(alike=True))


class VisibilityBits(Solver):
    """Bits of visibility on every leg, several starts, and a search that puts the rest right."""

    iterations: int = 100
    """The most iterations of each start."""
    starts: int = 6
    """The most starts; later ones run only while the best image leaves a doubt."""
    slots: int | None = None
    """The most occupied voxels; by default some more than the first start finds."""

    def __check_init__(self):
        for name in ("iterations", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least one; got {getattr(self, name)}")

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem.

        Every second start goes out from what the best so far is sure of, whose mask is nearly
        right; the others begin from nothing with other settings.
        """
        best, scene, iterations, outcome, in_vain = None, None, 0, None, 0
        for start in range(self.starts):
            if progress is not None:
                progress(start, self.starts)
            changes = dict(_STARTS[start % len(_STARTS)])
            settings = _settings(problem, sight=Sight.BITS, iterations=self.iterations, **changes)
            if best is None or scene is None or start % 2 == 0:
                outcome = _pass(problem, settings, problem.everything_seen(alike=True))
            else:
                outcome = _pass_on(problem, settings, scene, best)
            iterations += int(outcome.iterations)
            scene = scene or _scene(problem, outcome)
            first = _first_support(problem, scene, outcome, self.slots or _slots(problem, outcome))
            if best is not None and len(best.index) != len(first.index):
                first = _resize(first, len(best.index))
            found = search.search(scene, first, _limit(problem, 0.5))
            in_vain += 1
            if best is None or found.score > best.score + 0.5:
                best, in_vain = found, 0
            if in_vain >= 3 or not _doubtful(problem, scene, best, in_vain):
                break
        if best is None or scene is None or outcome is None:  # not reached: there is a start
            raise RuntimeError("no start was made")
        if progress is not None:
            progress(self.starts, self.starts)
        return _from_support(problem, scene, best, iterations, outcome)


_STARTS: tuple[dict, ...] = (
    {},
    {"first_update": 0.0},
    {"first_update": 20.0},
    {"first_update": 0.0, "believed": 0.6},
    {"believed": 0.6, "blame_cap": 0.0},
    {"first_update": 0.0, "surprise": 0.02},
)


def _settings(problem: Problem, **changes) -> PassingSettings:
    real = problem.cascade.real_type
    settings = PassingSettings(
        radius=problem.radius, learn_noise=not problem.noise_known, **changes
    )
    numbers = ("step", "rate", "threshold", "surprise", "believed", "bit_step")
    numbers += ("blame_step", "blame_cap", "blame_most", "first_update")
    return dataclasses.replace(
        settings, **{name: jnp.asarray(getattr(settings, name), real) for name in numbers}
    )


def _pass(
    problem: Problem,
    settings: PassingSettings,
    mask: Mask,
    guess: Guess | None = None,
) -> Outcome:
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
        problem.grid,
        problem.view,
        settings,
        problem.is_complex,
        guess=guess,
    )


def _status(outcome: Outcome, settings_limit: int) -> ImageStatus:
    if not bool(outcome.finite):
        return ImageStatus.DIVERGED
    if int(outcome.iterations) >= settings_limit:
        return ImageStatus.ITERATION_LIMIT
    return ImageStatus.CONVERGED


def _passed(problem: Problem, settings: PassingSettings, mask: Mask) -> Solution:
    outcome = _pass(problem, settings, mask)
    best = outcome.best
    present = np.asarray(problem.flat(best.present))
    legs = (best.user, best.station)
    seen = [np.asarray(jnp.moveaxis(m, 1, 0).reshape(m.shape[1], -1)) for m in legs]
    fitted = _freedom(problem, float(present[present > 0.5].sum()))
    return Solution(
        mean=np.asarray(problem.flat(best.mean)),
        variance=np.asarray(problem.flat(best.variance)),
        occupancy=present,
        visibility=np.concatenate(seen)[:, : problem.grid.voxels],
        noise=float(best.noise),
        misfit=float(best.misfit / best.noise) * fitted,
        iterations=int(outcome.iterations),
        status=_status(outcome, settings.iterations),
        trace=_trace(outcome),
        least_worth=_least_odds(present),
    )


def _least_odds(present: np.ndarray) -> float:
    """Give the log-odds of the least sure of the voxels that count as occupied."""
    least = float(np.min(present[present > 0.5], initial=1 - 1e-12))
    least = min(least, 1 - 1e-12)
    return math.log(least) - math.log1p(-least)


def _trace(outcome: Outcome) -> np.ndarray:
    return np.asarray(outcome.misfit, float)[: int(outcome.iterations)]


def _freedom(problem: Problem, fitted: float) -> float:
    """Divide the samples by those that are left when `fitted` coefficients took their share."""
    share = fitted * (1.0 if problem.is_complex else 0.5)
    return problem.received.size / max(problem.received.size - share, 1.0)


def _limit(problem: Problem, deviations: float) -> float:
    """Largest misfit that noise explains: one, and some standard deviations."""
    return 1 + deviations / math.sqrt(problem.received.size)


def _scene(problem: Problem, outcome: Outcome) -> support.Scene:
    best = outcome.best
    return support.Scene(
        received=problem.received,
        cascade=problem.cascade,
        grid=problem.grid,
        view=problem.view,
        noise=problem.noise if problem.noise_known else best.noise,
        prior=best.prior,
        radius=problem.radius,
        surprise=0.05,
    )


def _slots(problem: Problem, outcome: Outcome) -> int:
    found = int(jnp.sum(problem.flat(outcome.best.present) > 0.5))
    slots = 64
    while slots < 1.25 * found + 24:
        slots *= 2
    return min(slots, problem.grid.voxels)


def _first_support(problem, scene, outcome, slots: int) -> support.Support:
    best = outcome.best

    def flat(mask):
        return jnp.moveaxis(mask, 1, 0).reshape(mask.shape[1], -1)[:, : problem.grid.voxels]

    return support.support_from(
        scene,
        problem.flat(best.present),
        problem.flat(best.mean),
        flat(best.user),
        flat(best.station),
        slots,
    )


def _pass_on(problem, settings, scene, best) -> Outcome:
    """Pass messages from what a search is sure of: its coefficients, its bits."""
    painted = search.paint(scene, best)
    sure = best.valid & (painted.worth > 20.0)
    chunks, size = problem.cascade.padded
    place = jnp.where(sure, best.index, chunks * size)
    mean = jnp.zeros(chunks * size, best.value.dtype).at[place].set(best.value, mode="drop")
    bits = jnp.concatenate([best.user, best.station])
    there = jnp.where(sure, best.index, problem.grid.voxels)
    seen = jnp.logical_not(painted.hidden).at[:, there].set(bits, mode="drop")
    seen = jnp.where(seen, 0.95, 0.02)
    users = best.user.shape[0]
    guess = Guess(mean.reshape(chunks, size), scene.prior, jnp.array(True))
    mask = problem.mask_of(seen[:users], seen[users:])
    return _pass(problem, settings, mask, guess)


def _doubtful(problem, scene, best, in_vain: int) -> bool:
    """Ask whether another start might find better: too much is left, or a voxel hardly pays."""
    painted = search.paint(scene, best)
    least = float(jnp.min(painted.worth))
    misfit = _reduced_misfit(scene, best)
    if misfit > _limit(problem, 1.5) or least < 8.0:
        return True
    return (misfit > _limit(problem, 1.0) or bool(painted.unexplained > 0)) and in_vain < 1


def _resize(found: support.Support, slots: int) -> support.Support:
    def cut(leaf):
        if leaf.ndim == 0 or leaf.shape[-1] != len(found.index):
            return leaf
        short = max(slots - leaf.shape[-1], 0)
        return jnp.pad(leaf[..., :slots], [(0, 0)] * (leaf.ndim - 1) + [(0, short)])

    names = ("index", "valid", "value", "user", "station", "variance")
    return found._replace(**{name: cut(getattr(found, name)) for name in names})


def _reduced_misfit(scene: support.Scene, found: support.Support) -> float:
    size = scene.received.size
    share = float(jnp.sum(found.valid)) * (1.0 if jnp.iscomplexobj(found.value) else 0.5)
    return float(support.misfit_of(scene, found)) * size / max(size - share, 1.0)


def _from_support(problem, scene, found, iterations: int, outcome) -> Solution:
    voxels = problem.grid.voxels
    picture = search.paint(scene, found)
    valid = np.asarray(found.valid)
    index = np.asarray(found.index)[valid]

    def spread(value, kind):
        vector = np.zeros(voxels, kind)
        vector[index] = np.asarray(value)[valid]
        return vector

    visibility = ~np.asarray(picture.hidden)
    bits = np.concatenate([np.asarray(found.user), np.asarray(found.station)])[:, valid]
    visibility[:, index] = bits
    return Solution(
        mean=spread(found.value, np.asarray(found.value).dtype),
        variance=spread(found.variance, float),
        occupancy=np.asarray(picture.occupancy),
        visibility=visibility,
        noise=float(scene.noise),
        misfit=_reduced_misfit(scene, found),
        iterations=iterations,
        status=_status(outcome, 10**9),
        trace=_trace(outcome),
        least_worth=float(np.min(np.asarray(picture.worth)[valid], initial=math.inf)),
    )
