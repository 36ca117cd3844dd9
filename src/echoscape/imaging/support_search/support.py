"""A list of occupied voxels and the visibility of their segments, made as probable as can be.

Given which voxels are occupied, coefficients follow exactly from least squares with a wide prior,
and each user's visibility variables are a small problem of its own.  `settle` alternates between
the two, `log_odds` says what each voxel is good for, `tidy` deletes those that are good for
nothing.  A list is short, and all of it is numpy: nothing is compiled for any size.

Takes samples, a `Cascade`, the views, and a first list.
Gives a `Support`: the list, its visibility variables, and how well it explains the samples.
"""

import copy
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Inexact, Int

from echoscape.imaging.occlusion.segments import hides
from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade
from echoscape.imaging.operator.padding import pad_cascade, padded_samples
from echoscape.imaging.problem import Problem

BLOCKED = 7.0
"""Log-odds against a segment that passes through an occupied voxel."""
FALSE_OCCLUSION = 0.05
"""Probability that a segment is hidden by what no estimate shows."""


class CoefficientPrior(NamedTuple):
    """A voxel is empty, or its coefficient is Gaussian: `BernoulliGaussian` on the host."""

    rate: Any
    """Probability of a voxel being occupied."""
    mean: Any
    """Mean of the coefficients of those that are."""
    variance: Any
    """Their variance."""


class Support(NamedTuple):
    """Occupied voxels, their coefficients and the visibility of their segments."""

    index: Int[np.ndarray, " listed"]
    value: Inexact[np.ndarray, " listed"]
    user: Bool[np.ndarray, "user listed"]
    station: Bool[np.ndarray, "station listed"]
    variance: Float[np.ndarray, " listed"]
    residual: Complex[np.ndarray, "subcarrier user station antenna"]
    score: float = -np.inf
    """Log-posterior, up to a constant."""

    def part(self, stays: Bool[np.ndarray, " listed"]) -> "Support":
        """Keep some voxels of the list."""
        return self._replace(
            index=self.index[stays],
            value=self.value[stays],
            user=self.user[:, stays],
            station=self.station[:, stays],
            variance=self.variance[stays],
        )


class Factors(NamedTuple):
    """Channels of listed voxels, the voxels last."""

    user: Complex[np.ndarray, "subcarrier user listed"]
    antenna: Complex[np.ndarray, "subcarrier station antenna listed"]


class Scene:
    """What does not change during the search; arrays of numpy but for the cascade."""

    def __init__(self, problem: Problem, prior: CoefficientPrior, noise: float):
        """Take samples and channels from a problem.

        Args:
            problem: What was received, and the channels.
            prior: Of the coefficients.
            noise: Mean squared noise of a sample.
        """
        self.received = np.asarray(problem.received).astype(complex)
        self.view = np.asarray(problem.view)
        self.noise = noise
        self.radius = float(problem.radius)
        self.prior = prior
        self.is_complex = problem.is_complex
        self._grid = problem.grid
        self._pairs = _Pairs(self)
        self._ask(problem.cascade, problem.active)

    def _ask(self, cascade: Cascade, active: ActiveVoxels) -> None:
        self.active = active
        self.padded = pad_cascade(cascade, padded_samples(cascade, active.grid.voxels))
        self._parts = np.asarray(cascade.user), np.asarray(cascade.antenna)
        self._index = None if active.index is None else np.asarray(active.index)

    def over(self, problem: Problem) -> "Scene":
        """Give the same over other voxels of the same grid."""
        other = copy.copy(self)
        other._ask(problem.cascade, problem.active)
        return other

    def on_grid(self, index: np.ndarray) -> np.ndarray:
        """Turn places among the voxels that are asked into indices of the grid."""
        return index if self._index is None else self._index[index]

    def pick(self, whole: np.ndarray) -> np.ndarray:
        """Take what an array over the grid, voxels last, says of the voxels that are asked."""
        return whole if self._index is None else whole[..., self._index]

    def centres_of(self, on_grid: np.ndarray) -> Float[np.ndarray, "listed 3"]:
        """Place the centres of voxels of the grid [m]."""
        places = np.stack(np.unravel_index(on_grid, self._grid.shape), -1)
        return np.asarray(self._grid.origin) + np.asarray(self._grid.edge) * (places + 0.5)

    def factors_of(self, index: Int[np.ndarray, " listed"]) -> Factors:
        """Fetch the channels of listed voxels."""
        size = self._parts[0].shape[-1]
        chunk, place = index // size, index % size
        user, antenna = (np.moveaxis(part[chunk, ..., place], 0, -1) for part in self._parts)
        return Factors(*(one[..., 0, :, :] + 1j * one[..., 1, :, :] for one in (user, antenna)))

    def odds_of(self, index: Int[np.ndarray, " listed"]) -> Float[np.ndarray, "view listed"]:
        """Ask the geometry for the log-odds of the segments of listed voxels being open."""
        clear = np.log((1 - FALSE_OCCLUSION) / FALSE_OCCLUSION)
        return np.where(self._pairs.hidden(self.on_grid(index)), -BLOCKED, clear)


class _Pairs:
    """Which voxel hides which from every view, for those that were asked so far."""

    ROOM = 512
    """Voxels remembered at most."""

    def __init__(self, scene: Scene):
        self._scene, self._known = scene, np.zeros(0, int)
        self._hides = np.zeros((len(scene.view), 0, 0), bool)

    def hidden(self, on_grid: Int[np.ndarray, " listed"]) -> Bool[np.ndarray, "view listed"]:
        """Say from which views the listed voxels hide one another."""
        new = np.setdiff1d(on_grid, self._known)
        if len(self._known) + len(new) > self.ROOM:
            self._known, new = np.zeros(0, int), on_grid
            self._hides = self._hides[:, :0, :0]
        if len(new):
            scene, old = self._scene, len(self._known)
            self._known = np.concatenate([self._known, new])
            at = scene.centres_of(self._known)
            whole = np.zeros((len(scene.view), len(at), len(at)), bool)
            whole[:, :old, :old] = self._hides
            view = scene.view[:, None, None]
            whole[:, old:] = hides(view, at[old:, None], at[None], scene.radius)
            whole[:, :old, old:] = hides(view, at[:old, None], at[None, old:], scene.radius)
            self._hides = whole
        order = np.argsort(self._known)
        place = order[np.searchsorted(self._known, on_grid, sorter=order)]
        return np.any(self._hides[:, place][:, :, place], axis=-1)


def _predict(scene: Scene, support: Support, factors: Factors) -> Support:
    user = factors.user * (support.user * support.value)
    antenna = factors.antenna * support.station[None, :, None]
    flat = antenna.reshape(len(user), -1, antenna.shape[-1])
    model = (user @ np.swapaxes(flat, -1, -2)).reshape(scene.received.shape)
    return support._replace(residual=scene.received - model)


def gram_of(
    user: Complex[np.ndarray, "subcarrier user slot"],
    antenna: Complex[np.ndarray, "subcarrier station antenna slot"],
) -> Complex[np.ndarray, "slot slot"]:
    """Multiply the columns of listed voxels with one another."""
    antenna = antenna.reshape(len(user), -1, antenna.shape[-1])
    gram = [np.conj(np.swapaxes(part, -1, -2)) @ part for part in (user, antenna)]
    return np.sum(gram[0] * gram[1], 0)


def refit(scene: Scene, support: Support, factors: Factors | None = None) -> Support:
    """Refit the coefficients exactly: Gaussian posterior on the support, given the visibility."""
    factors = factors or scene.factors_of(support.index)
    user = factors.user * support.user[None]
    antenna = factors.antenna * support.station[None, :, None]
    towards = np.sum(np.conj(user) * _rows(scene.received, antenna), (0, 1))
    gram, factor = gram_of(user, antenna), 1.0
    if not scene.is_complex:
        gram, towards, factor = np.real(gram), np.real(towards), 2.0
    # A wide prior keeps the system regular and hardly pulls.
    prior = scene.prior
    own = 1 / (4 * prior.variance + np.abs(prior.mean) ** 2)
    left = factor * gram / scene.noise + own * np.eye(len(gram))
    inverse = np.linalg.inv(left)
    value = inverse @ (factor * towards / scene.noise + own * prior.mean)
    variance = np.real(np.diagonal(inverse))
    return _predict(scene, support._replace(value=value, variance=variance), factors)


def _rows(samples: np.ndarray, antenna: np.ndarray) -> Complex[np.ndarray, "subcarrier user slot"]:
    """Correlate samples with the antennas' channels of listed voxels, summed over stations."""
    flat = antenna.reshape(len(antenna), -1, antenna.shape[-1])
    return samples.reshape(*samples.shape[:2], -1) @ np.conj(flat)


def _links(samples: np.ndarray, factors: Factors) -> Complex[np.ndarray, "user station slot"]:
    """Correlate samples with every link of listed voxels."""
    rows = np.moveaxis(samples, 2, 1) @ np.conj(factors.antenna)  # [subcarrier, station, user, .]
    return np.moveaxis(np.sum(rows * np.conj(factors.user)[:, None], 0), 0, 1)


def _link_power(factors: Factors) -> Float[np.ndarray, "user station slot"]:
    power = np.sum(np.abs(factors.antenna) ** 2, 2)
    return np.sum(np.abs(factors.user[:, :, None]) ** 2 * power[:, None], 0)


def _flip_visibility(
    scene: Scene, support: Support, factors: Factors, odds: np.ndarray, strength: np.ndarray
) -> tuple[Support, bool]:
    """Flip the best visibility variable of every user and of every station, if it pays."""
    users = len(support.user)

    def gains(support):
        link = np.real(np.conj(support.value) * _links(support.residual, factors)) / scene.noise
        own = strength * support.user[:, None] * support.station[None]
        return 2 * (link + own) - strength

    def best(gain, segments):
        gain = np.where(segments, -gain, gain)
        which = np.argmax(gain, 1)
        pays = gain[np.arange(len(gain)), which] > 0
        flipped = segments.copy()
        flipped[pays, which[pays]] ^= True
        return flipped, bool(pays.any())

    gain = np.einsum("kbn,bn->kn", gains(support), support.station * 1.0) + odds[:users]
    user, moved = best(gain, support.user)
    if moved:
        support = _predict(scene, support._replace(user=user), factors)
    gain = np.einsum("kbn,kn->bn", gains(support), support.user * 1.0) + odds[users:]
    station, moved_too = best(gain, support.station)
    if moved_too:
        support = _predict(scene, support._replace(station=station), factors)
    return support, moved or moved_too


def settle(scene: Scene, support: Support, sweeps: int = 12) -> Support:
    """Flip visibility variables and refit coefficients until neither helps, then score.

    Once from the visibility variables as they are and once from those that the geometry predicts:
    where the voxels are right but the visibility variables are not, single flips need not find the
    way.
    """
    odds, factors = scene.odds_of(support.index), scene.factors_of(support.index)
    if not len(support.index):
        alone = support._replace(residual=scene.received)
        return alone._replace(score=_score(scene, alone, odds))
    power = _link_power(factors) / scene.noise

    def from_segments(user, station):
        found = refit(scene, support._replace(user=user, station=station), factors)
        for _ in range(sweeps):
            moved = False
            for _ in range(2):
                strength = np.abs(found.value) ** 2 * power
                found, again = _flip_visibility(scene, found, factors, odds, strength)
                moved |= again
                if not again:
                    break
            if not moved:
                break
            found = refit(scene, found, factors)
        return found._replace(score=_score(scene, found, odds))

    users = len(support.user)
    first = from_segments(support.user, support.station)
    second = from_segments(odds[:users] > 0, odds[users:] > 0)
    return second if second.score > first.score else first


def _visibility_log_prior(support: Support, odds: np.ndarray) -> Float[np.ndarray, " listed"]:
    segments = np.concatenate([support.user, support.station])
    return -np.sum(np.logaddexp(0, np.where(segments, -odds, odds)), 0)


def voxel_log_prior(rate: Any, xp: ModuleType = np) -> Any:
    """Log-odds of a voxel before anything is seen; `xp` is numpy, or its like for compiled code."""
    rate = xp.clip(rate, 1e-4, 0.2)
    return xp.log(rate) - xp.log1p(-rate)


def coefficient_log_prior(
    prior: CoefficientPrior, value: Any, variance: Any, xp: ModuleType = np
) -> Any:
    """Weigh a coefficient against the prior, and its freedom against what the samples leave of it.

    The second part is Occam's: a fitted number that could have been anything explains less.
    """
    spread = prior.variance + variance
    half = 1.0 if xp.iscomplexobj(value) else 0.5
    far = xp.abs(value - prior.mean) ** 2 / spread
    return -half * (xp.minimum(far, 30.0) + xp.log(spread / xp.maximum(variance, 1e-12)))


def _score(scene: Scene, support: Support, odds: np.ndarray) -> float:
    misfit = np.sum(np.abs(support.residual) ** 2) / scene.noise
    own = coefficient_log_prior(scene.prior, support.value, support.variance)
    own = own + voxel_log_prior(scene.prior.rate) + _visibility_log_prior(support, odds)
    return float(np.sum(own) - misfit)


def log_odds(scene: Scene, support: Support) -> Float[np.ndarray, " listed"]:
    """Say how much the posterior would fall without each voxel, everything else as it is."""
    odds, factors = scene.odds_of(support.index), scene.factors_of(support.index)
    seen = support.user[:, None] * support.station[None] * 1.0
    gain = 2 * np.real(np.conj(support.value) * _links(support.residual, factors))
    gain = (gain + np.abs(support.value) ** 2 * _link_power(factors)) / scene.noise
    gain = np.einsum("kbn,kbn->n", seen, gain) + voxel_log_prior(scene.prior.rate)
    gain = gain + _visibility_log_prior(support, odds)
    return gain + coefficient_log_prior(scene.prior, support.value, support.variance)


def tidy(scene: Scene, support: Support) -> Support:
    """Settle, and delete voxels that cost more than they explain until none does."""
    while True:
        support = settle(scene, support)
        if not len(support.index):
            return support
        gain = log_odds(scene, support)
        # All that are worse than half the worst go at once.
        gone = gain < 0.5 * min(float(gain.min()), -1e-9)
        if not gone.any():
            return support
        support = support.part(~gone)


def unexplained(scene: Scene, support: Support) -> int:
    """Count closed segments through which no listed voxel stands."""
    segments = np.concatenate([support.user, support.station])
    return int(np.sum(~segments & (scene.odds_of(support.index) > 0)))


def misfit_of(scene: Scene, support: Support) -> float:
    """Mean squared residual over the noise: one for the truth."""
    return float(np.mean(np.abs(support.residual) ** 2)) / scene.noise


def support_from(
    scene: Scene, present: np.ndarray, value: np.ndarray, segments: tuple, slots: int
) -> Support:
    """List the voxels that are more likely occupied than not, the likeliest first.

    Args:
        scene: What does not change.
        present: Probabilities, flat over the voxels.
        value: Coefficients, likewise.
        segments: Which are open, [user, voxel] and [station, voxel].
        slots: The most voxels of the list.
    """
    index = np.flatnonzero(present > 0.5)
    index = index[np.argsort(-present[index], kind="stable")][:slots]
    user, station = (part[:, index] for part in segments)
    return Support(index, value[index], user, station, np.zeros(len(index)), scene.received)
