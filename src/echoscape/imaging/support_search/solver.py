"""The solver to use: visibility variables on every segment, several starts, and a search.

Message passing with visibility variables settles nearly every voxel; the search puts the rest
right, and while the image leaves a doubt, another start goes out.  On a large grid only the first
asks all voxels.

Takes a `Problem`.
Gives a `Solution`.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from echoscape.imaging.gamp.solvers import (
    gamp_settings,
    run_gamp,
    status_of,
)
from echoscape.imaging.gamp.state import Guess, MaskModel, Outcome
from echoscape.imaging.problem import Problem, explained
from echoscape.imaging.solver import (
    DEVIATIONS_BELOW,
    GridSolver,
    Solution,
    degrees_of_freedom,
    limit_of,
)
from echoscape.imaging.support_search import screening, search, support
from echoscape.imaging.support_search.survey import hidden_and_accused
from echoscape.imaging.voxel_image import LEAST_EXPLAINED
from echoscape.numerics.denoisers import BernoulliGaussian
from echoscape.progress import Progress, within


class VisibilityGamp(GridSolver):
    """Visibility variables on every segment, several starts, then a search over supports."""

    iterations: int = 100
    """The most iterations of each start."""
    starts: int = 6
    """The most starts; later ones run only while the best image leaves a doubt."""
    slots: int | None = None
    """The most occupied voxels; by default some more than the first start finds."""
    learn_noise: bool = True
    """Whether to solve again with the noise learnt where the stated one contradicts the residual;
    then the image is that of the learnt noise, and the certificate still judges by the stated."""

    def __check_init__(self):
        for name in ("iterations", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least one; got {getattr(self, name)}")

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem; again with the noise learnt where what is left contradicts the stated.

        The shorter description of the samples is preferred.  It mends a stated noise that is wrong
        by 10 dB; it does not reliably mend errors of positions, for which there are deviations.
        """
        found = self._solve(problem, progress)
        low, high = _limit(problem, -DEVIATIONS_BELOW), _limit(problem, DEVIATIONS_BELOW)
        contradicts = problem.noise_known and not low <= found.misfit <= high
        share = explained(problem, found.misfit * found.noise, found.noise)
        if not (self.learn_noise and contradicts) or share < LEAST_EXPLAINED:
            return found
        again = self._solve(dataclasses.replace(problem, noise_known=False), progress)
        stated = float(problem.noise)
        again = again._replace(misfit=again.misfit * again.noise / stated)
        return min(found, again, key=lambda one: _description(problem, one))

    def _solve(self, problem: Problem, progress: Progress | None) -> Solution:
        """Solve with the noise as it stands.

        Every second start goes out from what the best so far is sure of, whose mask is nearly
        right; the others begin from nothing with other settings.  On a large grid all but the
        first ask a list of voxels.
        """
        best, scene, iterations, outcome, in_vain = None, None, 0, None, 0
        asked, slots = problem, self.slots
        for start in range(self.starts):
            tell = progress and within(progress, f"start {start + 1} of {self.starts} at most")
            changes = dict(_STARTS[start % len(_STARTS)])
            settings = gamp_settings(
                asked, mask_model=MaskModel.LEARNED, iterations=self.iterations, **changes
            )
            if best is None or scene is None or start % 2 == 0:
                seen = asked.fully_visible(alike=True)
                outcome = run_gamp(asked, settings, seen, progress=tell)
            else:
                outcome = _continue_gamp(asked, settings, scene, best, tell)
            if tell is not None:
                tell(0, 1, "which voxels")
            iterations += outcome.iterations
            scene = scene or _scene(asked, outcome)
            slots = slots or _slots(asked, outcome)
            first = _first_support(asked, scene, outcome, slots)
            if asked is problem and screening.is_large(problem):
                asked, scene, first = screening.screen(problem, scene, support.tidy(scene, first))
            found = search.search(scene, first, _limit(problem, 0.5), slots)
            in_vain += 1
            if best is None or found.score > best.score + 0.5:
                best, in_vain = found, 0
            if in_vain >= 3 or not _doubtful(problem, scene, best, in_vain):
                break
            if _is_another_place(problem, scene, best):
                break
        if (
            best is None or scene is None or outcome is None or slots is None
        ):  # not reached: there is a start
            raise RuntimeError("no start was made")
        if progress is not None:
            progress(self.starts, self.starts, "weighing voxels")
        return _from_support(problem, *_among_all(problem, scene, best, slots), iterations, outcome)


_SCREENINGS = 3
"""How often the list of a large grid is made anew."""


def _among_all(problem: Problem, scene: support.Scene, best: support.Support, slots: int):
    """Put the image among all voxels; while one that was not listed pays, list and search again."""
    for _ in range(_SCREENINGS):
        whole, found = screening.restore(problem, scene, best)
        if whole.active is scene.active:
            break
        if not screening.was_screened_out(scene, search.evaluate_candidates(whole, found).pays):
            break
        _, scene, first = screening.screen(problem, whole, found)
        best = search.search(scene, first, _limit(problem, 0.5), slots)
    return screening.restore(problem, scene, best)


_STARTS: tuple[dict, ...] = (
    {},
    {"first_update": 0.0},
    {"first_update": 20.0},
    {"first_update": 0.0, "presence_threshold": 0.6},
    {"presence_threshold": 0.6, "message_cap": 0.0},
    {"first_update": 0.0, "false_occlusion": 0.02},
)


def _description(problem: Problem, found: Solution) -> float:
    """Measure the length of what describes the samples: residual, and place and size of voxels.

    Twice the negative log-likelihood with the noise learnt, and for each voxel the logarithms of
    how many there are and, for each of its half complex numbers, of the samples.
    """
    samples, occupied = problem.received.size, float(np.sum(found.mean != 0))
    left = degrees_of_freedom(problem, occupied)
    power = max(found.misfit * float(problem.noise) * left / samples, 1e-30)
    each = 2 * math.log(problem.active.voxels) + math.log(2 * samples)
    return 2 * samples * math.log(power) + occupied * each


def _limit(problem: Problem, deviations: float) -> float:
    """Largest misfit that noise explains: one, and some standard deviations."""
    return limit_of(problem.received.size, deviations)


def _scene(problem: Problem, outcome: Outcome) -> support.Scene:
    best = outcome.best
    noise = problem.noise if problem.noise_known else best.noise
    kind = complex if problem.is_complex else float
    prior = support.CoefficientPrior(
        float(best.prior.rate), kind(best.prior.mean), float(best.prior.variance)
    )
    return support.Scene(problem, prior, float(noise))


def _slots(problem: Problem, outcome: Outcome) -> int:
    present = np.asarray(outcome.best.present).reshape(-1)[: problem.active.voxels]
    found = int(np.sum(present > 0.5))
    return slots_for(found, problem.active.voxels)


def slots_for(found: int, voxels: int) -> int:
    """Size the list of occupied voxels, in few sizes since each is compiled for."""
    slots = 64
    while slots < 1.25 * found + 24:
        slots *= 2
    return min(slots, voxels)


def _first_support(problem, scene, outcome, slots: int) -> support.Support:
    best = outcome.best
    present, mean = (np.asarray(problem.flat(part)) for part in (best.present, best.mean))
    return support.support_from(scene, present, mean, best.segments(problem.active.voxels), slots)


def _continue_gamp(problem, settings, scene, best, progress: Progress | None) -> Outcome:
    """Pass messages from what a search is sure of: its coefficients, its visibility variables."""
    sure = support.log_odds(scene, best) > 20.0
    chunks, size = problem.cascade.padded
    real = problem.cascade.real_type
    kind = problem.cascade.complex_type if problem.is_complex else real
    kinds = zip(scene.prior, (real, kind, real), strict=True)
    prior = BernoulliGaussian(*(jnp.asarray(np.asarray(leaf, each)) for leaf, each in kinds))
    mean = np.zeros(chunks * size, kind)
    mean[best.index[sure]] = best.value[sure]
    hidden, _ = hidden_and_accused(scene, best)
    seen = np.where(hidden, 0.02, 0.95)
    segments = np.concatenate([best.user, best.station])[:, sure]
    seen[:, best.index[sure]] = np.where(segments, 0.95, 0.02)
    users = len(best.user)
    guess = Guess(jnp.asarray(mean.reshape(chunks, size)), prior, jnp.array(True))
    mask = problem.mask_of(seen[:users], seen[users:])
    return run_gamp(problem, settings, mask, guess, progress)


def _doubtful(problem, scene, best, in_vain: int) -> bool:
    """Ask whether another start might find better: too much is left, or a voxel hardly pays."""
    least = float(np.min(support.log_odds(scene, best), initial=math.inf))
    misfit = _reduced_misfit(problem, scene, best)
    if misfit > _limit(problem, 1.5) or least < 8.0:
        return True
    return (misfit > _limit(problem, 1.0) or support.unexplained(scene, best) > 0) and in_vain < 1


def _is_another_place(problem, scene, best) -> bool:
    """Ask whether what was received can hardly come from this grid, however it is occupied."""
    noise = float(scene.noise)
    return explained(problem, support.misfit_of(scene, best) * noise, noise) < LEAST_EXPLAINED


def _reduced_misfit(problem: Problem, scene: support.Scene, found: support.Support) -> float:
    left = degrees_of_freedom(problem, float(len(found.index)))
    return support.misfit_of(scene, found) * problem.received.size / left


def _from_support(problem, scene, found, iterations: int, outcome) -> Solution:
    voxels, index = problem.grid.voxels, found.index
    evaluation = search.evaluate_candidates(scene, found)

    def spread(value):
        vector = np.zeros(voxels, value.dtype)
        vector[index] = value
        return vector

    visibility = ~evaluation.hidden
    visibility[:, index] = np.concatenate([found.user, found.station])
    return Solution(
        mean=spread(found.value),
        variance=spread(found.variance),
        occupancy=evaluation.occupancy,
        visibility=visibility,
        noise=scene.noise,
        misfit=_reduced_misfit(problem, scene, found),
        iterations=iterations,
        status=status_of(outcome, 10**9),
        trace=outcome.misfit,
        least_log_odds=float(np.min(evaluation.log_odds, initial=math.inf)),
    )
