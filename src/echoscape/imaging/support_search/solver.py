"""The solver to use: bits of visibility on every leg, several starts, and a search.

Message passing with bits settles nearly every voxel; the search puts the rest right, and while the
image leaves a doubt, another start goes out.  On a large grid only the first asks all voxels.

Takes a `Problem`.
Gives a `Solution`.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from echoscape.imaging.gamp.solvers import (
    Progress,
    Solution,
    Solver,
    pass_messages,
    settings_for,
    status_of,
    trace_of,
)
from echoscape.imaging.gamp.state import Guess, Outcome, Sight
from echoscape.imaging.problem import Problem, explained
from echoscape.imaging.support_search import screening as shortlist
from echoscape.imaging.support_search import search, support
from echoscape.imaging.voxel_image import LITTLE

_tidy = eqx.filter_jit(support.tidy)


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
        right; the others begin from nothing with other settings.  On a large grid all but the
        first ask a list of voxels.
        """
        best, scene, iterations, outcome, in_vain = None, None, 0, None, 0
        asked = problem
        for start in range(self.starts):
            if progress is not None:
                progress(start, self.starts)
            changes = dict(_STARTS[start % len(_STARTS)])
            settings = settings_for(asked, sight=Sight.BITS, iterations=self.iterations, **changes)
            if best is None or scene is None or start % 2 == 0:
                outcome = pass_messages(asked, settings, asked.everything_seen(alike=True))
            else:
                outcome = _pass_on(asked, settings, scene, best)
            iterations += int(outcome.iterations)
            scene = scene or _scene(asked, outcome)
            first = _first_support(asked, scene, outcome, self.slots or _slots(asked, outcome))
            if asked is problem and shortlist.is_large(problem):
                asked, scene, first = shortlist.shorten(problem, scene, _tidy(scene, first))
            if best is not None and len(best.index) != len(first.index):
                first = _resize(first, len(best.index))
            found = search.search(scene, first, _limit(problem, 0.5))
            in_vain += 1
            if best is None or found.score > best.score + 0.5:
                best, in_vain = found, 0
            if in_vain >= 3 or not _doubtful(problem, scene, best, in_vain):
                break
            if _is_elsewhere(problem, scene, best):
                break
        if best is None or scene is None or outcome is None:  # not reached: there is a start
            raise RuntimeError("no start was made")
        if progress is not None:
            progress(self.starts, self.starts)
        return _from_support(problem, *_among_all(problem, scene, best), iterations, outcome)


_LOOKS = 3
"""How often the list of a large grid is made anew."""


def _among_all(problem: Problem, scene: support.Scene, best: support.Support):
    """Put the image among all voxels; while one that was not listed pays, list and search again."""
    for _ in range(_LOOKS):
        whole, found = shortlist.lengthen(problem, scene, best)
        picture = search.paint(whole, found)
        if not shortlist.left_out(scene, np.asarray(picture.pays)):
            break
        _, scene, first = shortlist.shorten(problem, whole, found)
        best = search.search(scene, first, _limit(problem, 0.5))
    return shortlist.lengthen(problem, scene, best)


_STARTS: tuple[dict, ...] = (
    {},
    {"first_update": 0.0},
    {"first_update": 20.0},
    {"first_update": 0.0, "believed": 0.6},
    {"believed": 0.6, "blame_cap": 0.0},
    {"first_update": 0.0, "surprise": 0.02},
)


def _limit(problem: Problem, deviations: float) -> float:
    """Largest misfit that noise explains: one, and some standard deviations."""
    return 1 + deviations / math.sqrt(problem.received.size)


def _scene(problem: Problem, outcome: Outcome) -> support.Scene:
    best = outcome.best
    return support.Scene(
        received=problem.received,
        cascade=problem.cascade,
        kept=problem.kept,
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
    return min(slots, problem.kept.voxels)


def _first_support(problem, scene, outcome, slots: int) -> support.Support:
    best = outcome.best
    user, station = best.legs(problem.kept.voxels)
    legs = jnp.asarray(user), jnp.asarray(station)
    present, mean = problem.flat(best.present), problem.flat(best.mean)
    return support.support_from(scene, present, mean, *legs, slots)


def _pass_on(problem, settings, scene, best) -> Outcome:
    """Pass messages from what a search is sure of: its coefficients, its bits."""
    painted = search.paint(scene, best)
    sure = best.valid & (painted.worth > 20.0)
    chunks, size = problem.cascade.padded
    place = jnp.where(sure, best.index, chunks * size)
    mean = jnp.zeros(chunks * size, best.value.dtype).at[place].set(best.value, mode="drop")
    bits = jnp.concatenate([best.user, best.station])
    there = jnp.where(sure, best.index, problem.kept.voxels)
    seen = jnp.logical_not(painted.hidden).at[:, there].set(bits, mode="drop")
    seen = jnp.where(seen, 0.95, 0.02)
    users = best.user.shape[0]
    guess = Guess(mean.reshape(chunks, size), scene.prior, jnp.array(True))
    mask = problem.mask_of(seen[:users], seen[users:])
    return pass_messages(problem, settings, mask, guess)


def _doubtful(problem, scene, best, in_vain: int) -> bool:
    """Ask whether another start might find better: too much is left, or a voxel hardly pays."""
    painted = search.paint(scene, best)
    least = float(jnp.min(painted.worth))
    misfit = _reduced_misfit(scene, best)
    if misfit > _limit(problem, 1.5) or least < 8.0:
        return True
    return (misfit > _limit(problem, 1.0) or bool(painted.unexplained > 0)) and in_vain < 1


def _is_elsewhere(problem, scene, best) -> bool:
    """Ask whether what was received can hardly come from this grid, however it is occupied."""
    noise = float(scene.noise)
    return explained(problem, float(support.misfit_of(scene, best)) * noise, noise) < LITTLE


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
        status=status_of(outcome, 10**9),
        trace=trace_of(outcome),
        least_worth=float(np.min(np.asarray(picture.worth)[valid], initial=math.inf)),
    )
