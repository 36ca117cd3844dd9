"""From the ends of many descents to a target's possible places and a verdict.

Ends that coincide are one place; each place weighs as much as its likelihood times the room it
leaves (a Laplace approximation of the posterior).

Takes what a search found.
Gives a `Fix`.
"""

import numpy as np

from echoscape.localization.fix import Fix, FixStatus

PRIOR = 300.0**-2
"""Information that keeps directions finite which no echo tells of [1/m^2]."""
TOGETHER = 0.5
"""Ends nearer than this many metres, or deviations of the better one, are one place."""


def gather_places(
    target, found, support, free_height, *, reach, ambiguous_below, vague_above
) -> Fix:
    """Merge the ends of the descents into places, weigh them, and judge.

    Args:
        target: The targets' numbers.
        found: Ends of the descents, their log-likelihood and information.
        support: Distance of every end from the nearest report [m].
        free_height: Whether the height was searched.
        reach: Support beyond nearly this is outside [m].
        ambiguous_below: Posterior share that the best place needs.
        vague_above: Widest standard deviation that is not ambiguous [m].
    """
    count, starts = found.value.shape
    size = 3 if free_height else 2
    information = found.information[..., :size, :size]
    cut = np.linalg.inv(information + PRIOR * np.eye(size))
    covariance = np.zeros((count, starts, 3, 3))
    covariance[..., :size, :size] = cut
    finite = np.isfinite(found.value) & (found.heard > 0)
    value = np.where(finite, found.value, -np.inf)
    room = 0.5 * np.linalg.slogdet(cut)[1]
    evidence = np.where(finite, value + room, -np.inf)
    order = np.argsort(-value, axis=1, kind="stable")

    def sort(leaf):
        return _reorder(leaf, order)

    place, covariance, value, evidence, support, finite = map(
        sort, (np.asarray(found.place), covariance, value, evidence, support, finite)
    )
    explained = sort(found.explained) / np.maximum(sort(found.heard), 1.0)
    agreeing = np.zeros((count, starts), dtype=int)
    first = np.zeros((count, starts), dtype=bool)
    taken = ~finite
    std = np.sqrt(np.trace(covariance[..., :2, :2], axis1=-2, axis2=-1))
    for k in range(starts):
        first[:, k] = ~taken[:, k]
        near = np.linalg.norm(place - place[:, k : k + 1], axis=-1) < np.maximum(
            TOGETHER, TOGETHER * std[:, k : k + 1]
        )
        mine = near & ~taken & first[:, k : k + 1]
        agreeing[:, k] = mine.sum(axis=1)
        taken |= mine
    evidence = np.where(first, evidence, -np.inf)
    top = np.max(evidence, axis=1, keepdims=True)
    weight = np.exp(evidence - np.where(np.isfinite(top), top, 0.0))
    total = weight.sum(axis=1, keepdims=True)
    probability = weight / np.where(total > 0, total, 1.0)
    rank = np.argsort(~first, axis=1, kind="stable")

    def pick(leaf):
        return _reorder(leaf, rank)

    place, covariance, value, probability, agreeing, first, explained, support = map(
        pick, (place, covariance, value, probability, agreeing, first, explained, support)
    )
    fix = Fix(
        target=np.asarray(target),
        position=place,
        covariance=covariance,
        log_likelihood=np.where(np.isfinite(value), value, 0.0),
        probability=probability,
        agreeing_starts=agreeing,
        starts=np.full(count, starts),
        status=np.zeros(count, dtype=int),
        valid=first,
    )
    status = np.full(count, int(FixStatus.LOCATED))
    status[(probability[:, 0] < ambiguous_below) | (fix.spread > vague_above)] = FixStatus.AMBIGUOUS
    status[explained[:, 0] < 0.5] = FixStatus.UNEXPLAINED
    status[support[:, 0] > 0.95 * reach] = FixStatus.OUTSIDE
    status[~first[:, 0]] = FixStatus.NO_ECHO
    return Fix(
        fix.target, place, covariance, fix.log_likelihood, probability, agreeing, fix.starts,
        status, first,
    )  # fmt: skip


def _reorder(leaf, order):
    """Reorder the second axis of an array, each target's in its own way."""
    return np.take_along_axis(leaf, order.reshape(order.shape + (1,) * (leaf.ndim - 2)), 1)
