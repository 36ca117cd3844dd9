"""From local maxima to the modes of a target's posterior and a status.

Maxima that coincide are one mode; each mode is weighted by its Laplace evidence, likelihood times
``sqrt(det(covariance))``.  Where visibility is extrapolated above the reports, paths are taken for
independent though one unknown roof decides on several: there evidence is tempered and covariances
are larger.

Takes `LocalMaxima` (ends of ascents).
Gives a `Fix`.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from echoscape.localization.fix import Fix, FixStatus

PRIOR_INFORMATION = 300.0**-2
"""Information that keeps directions finite which no echo measures [1/m^2]."""
COINCIDENT = 0.5
"""Maxima nearer than this many metres, or deviations of the better one, are one mode."""
EDGE = 0.95
"""A mode farther from the reports than this share of the reach is outside: the search ends."""
_EXPLAINED = 0.5
"""Share of the echoes that the map must explain at the best mode."""

EXTRAPOLATED_EVIDENCE = 0.5
"""Power of the evidence of a target where visibility is extrapolated."""
EXTRAPOLATED_VARIANCE = 1.6
"""Factor on the covariance of a mode there."""
ELSEWHERE = 0.5
"""Probability that the target of a flagged fix there is anywhere in the surveyed area."""


def posterior_modes(
    target,
    maxima,
    support,
    height_free,
    *,
    reach,
    ambiguous_below,
    ambiguous_above,
    starts,
    learnt=None,
    extrapolated=None,
) -> Fix:
    """Merge local maxima into modes, weigh them, and judge.

    Args:
        target: The targets' numbers.
        maxima: Local maxima of the likelihood.
        support: Distance of every maximum from the nearest report [m].
        height_free: Whether the height was searched.
        reach: How far from a report was searched [m].
        ambiguous_below: Posterior share that the best mode needs.
        ambiguous_above: Widest standard deviation that is not ambiguous [m].
        starts: Starts of the search.
        learnt: What was learnt from all targets together, by name.
        extrapolated: Whether visibility is extrapolated at every maximum; nowhere if not given.
    """
    count, ends = maxima.log_likelihood.shape
    size = 3 if height_free else 2
    information = maxima.information[..., :size, :size]
    free = np.linalg.inv(information + PRIOR_INFORMATION * np.eye(size))
    unsure = np.zeros((count, ends), bool) if extrapolated is None else extrapolated
    covariance = np.zeros((count, ends, 3, 3))
    covariance[..., :size, :size] = free
    covariance *= np.where(unsure, EXTRAPOLATED_VARIANCE, 1.0)[..., None, None]
    finite = np.isfinite(maxima.log_likelihood) & (maxima.detected > 0)
    value = np.where(finite, maxima.log_likelihood, -np.inf)
    evidence = np.where(finite, value + 0.5 * np.linalg.slogdet(free)[1], -np.inf)
    order = np.argsort(-value, axis=1, kind="stable")
    tempered = np.take_along_axis(unsure, order[:, :1], 1)

    def sort(leaf):
        return _reorder(np.asarray(leaf), order)

    position, covariance, value, evidence, support, finite, members = map(
        sort,
        (maxima.position, covariance, value, evidence, support, finite, maxima.starts),
    )
    explained = sort(maxima.explained) / np.maximum(sort(maxima.detected), 1.0)
    agreeing = np.zeros((count, ends), dtype=int)
    first = np.zeros((count, ends), dtype=bool)
    taken = ~finite
    std = np.sqrt(np.trace(covariance[..., :2, :2], axis1=-2, axis2=-1))
    for k in range(ends):
        first[:, k] = ~taken[:, k]
        near = np.linalg.norm(position - position[:, k : k + 1], axis=-1) < np.maximum(
            COINCIDENT, COINCIDENT * std[:, k : k + 1]
        )
        mine = near & ~taken & first[:, k : k + 1]
        agreeing[:, k] = (mine * members).sum(axis=1)
        taken |= mine
    evidence = np.where(first, evidence, -np.inf)
    top = np.max(evidence, axis=1, keepdims=True)
    ratio = evidence - np.where(np.isfinite(top), top, 0.0)
    weight = np.exp(np.where(tempered, EXTRAPOLATED_EVIDENCE, 1.0) * ratio)
    total = weight.sum(axis=1, keepdims=True)
    probability = weight / np.where(total > 0, total, 1.0)
    rank = np.argsort(~first, axis=1, kind="stable")

    def pick(leaf):
        return _reorder(leaf, rank)

    position, covariance, value, probability, agreeing, first, explained, support = map(
        pick, (position, covariance, value, probability, agreeing, first, explained, support)
    )
    fix = Fix(
        target=np.asarray(target),
        position=position,
        covariance=covariance,
        log_likelihood=np.where(np.isfinite(value), value, 0.0),
        probability=probability,
        agreeing_starts=agreeing,
        starts=np.full(count, starts),
        status=np.zeros(count, dtype=int),
        valid=first,
        learnt=learnt,
    )
    status = np.full(count, int(FixStatus.LOCATED))
    vague = fix.spread > ambiguous_above
    status[(probability[:, 0] < ambiguous_below) | vague] = FixStatus.AMBIGUOUS
    status[support[:, 0] > EDGE * reach] = FixStatus.OUTSIDE
    # wherever it lies, a mode that explains little is no place of the target
    status[explained[:, 0] < _EXPLAINED] = FixStatus.UNEXPLAINED
    status[~first[:, 0]] = FixStatus.NO_ECHO
    fix.status[:] = status
    return fix


def allow_elsewhere(
    fix: Fix, extrapolated: Bool[np.ndarray, " target"], surveyed: Float[np.ndarray, "report 3"]
) -> Fix:
    """Widen flagged fixes where visibility is extrapolated to what is known of such targets.

    Above the reports many targets are seen by way of walls that no report met.  Their echoes agree
    with the known paths of another place by chance, with small errors and few paths, and nothing
    in a likelihood of known paths allows for it.  The best mode gets the covariance of a mixture
    of itself and of the surveyed area; fixes that are `LOCATED` stay as they are.

    Args:
        fix: The fixes.
        extrapolated: Whether it is, at each best mode.
        surveyed: Where users reported [m].
    """
    flags = (FixStatus.AMBIGUOUS, FixStatus.OUTSIDE, FixStatus.UNEXPLAINED)
    wide = np.flatnonzero(np.isin(fix.status, flags) & extrapolated)
    away = np.asarray(surveyed, float)[:, :2]
    middle = away.mean(axis=0) - fix.best[wide, :2]
    area = np.cov(away.T, bias=True) + np.einsum("ti,tj->tij", middle, middle)
    covariance = fix.covariance.copy()
    covariance[wide, 0] *= 1.0 - ELSEWHERE
    covariance[wide, 0, :2, :2] += ELSEWHERE * area
    return dataclasses.replace(fix, covariance=covariance)


def _reorder(leaf, order):
    """Reorder the second axis of an array, each target's in its own way."""
    return np.take_along_axis(leaf, order.reshape(order.shape + (1,) * (leaf.ndim - 2)), 1)
