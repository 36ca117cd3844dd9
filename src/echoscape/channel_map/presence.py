"""How probable it is that a path is among those that a receiver lists at a place.

A path that a near report lists as its second strongest will most likely be listed here too; one
that a far report lists as its tenth will not.  How much each is worth is learnt from the reports
themselves, every report being predicted from its neighbours (a logistic regression on rank and
distance).  The result lies on a raster of cells, each with its most probable paths.

Takes for every report the rank of each anchor.
Gives a `PresenceRaster`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.spatial import KDTree

NOT_LISTED = 99
_RANKS = 13  # the last: not listed


class PresenceRaster(NamedTuple):
    """Cells of a square raster with the anchors most probably listed there."""

    corner: Float[np.ndarray, "2"]
    """Centre of the first cell [m]."""
    step: float
    """Side of a cell [m]."""
    slot: Int[np.ndarray, "east north slot"]
    """Anchors."""
    probability: Float[np.ndarray, "east north slot"]
    """Their probabilities."""


class Presence(NamedTuple):
    """What a neighbour's list is worth: a logistic regression on rank and distance."""

    level: Float[np.ndarray, " rank"]
    """Log-odds at 3.5 m for each rank."""
    slope: Float[np.ndarray, " rank"]
    """Change of the log-odds with log(1 + distance)."""


def _log_odds(model: Presence, rank, distance):
    bin_ = np.where(rank < _RANKS - 1, rank, _RANKS - 1)
    return model.level[bin_] + model.slope[bin_] * (np.log1p(distance) - 1.5)


def _weight(distance):
    weight = (distance + 1.0) ** -2
    return weight / weight.sum(axis=-1, keepdims=True)


def learn_presence(
    place: Float[np.ndarray, "report 2"], rank: Int[np.ndarray, "report anchor"],
    listed: int, neighbours: int,
) -> Presence:  # fmt: skip
    """Learn from every report and its neighbours what being listed nearby is worth."""
    if len(place) < 2:
        return Presence(np.where(np.arange(_RANKS) < listed, 1.0, -2.0), np.full(_RANKS, -0.5))
    count = min(neighbours + 1, len(place))
    found = KDTree(place).query(place, k=count)
    distance, near = (np.reshape(item, (len(place), count))[:, 1:] for item in found)
    some = np.linspace(0, len(place) - 1, min(len(place), 1500)).astype(int)
    bins, lags, hits = [], [], []
    for part in np.array_split(some, max(1, len(some) // 250)):
        around = rank[near[part]]
        report, anchor = np.nonzero((around < NOT_LISTED).any(axis=1))
        bins.append(around[report, :, anchor])
        lags.append(distance[part][report])
        hits.append(rank[part][report, anchor] < listed)
    bins = np.concatenate(bins)
    bins = np.where(bins < _RANKS - 1, bins, _RANKS - 1).ravel()
    lag = np.log1p(np.concatenate(lags)).ravel() - 1.5
    hit = np.repeat(np.concatenate(hits).astype(float), count - 1)

    def loss(parameter):
        level, slope = parameter[:_RANKS], parameter[_RANKS:]
        z = level[bins] + slope[bins] * lag
        error = 1.0 / (1.0 + np.exp(-z)) - hit
        gradient = np.concatenate(
            [np.bincount(bins, error, _RANKS), np.bincount(bins, error * lag, _RANKS)]
        )
        value = np.mean(np.logaddexp(0.0, z) - hit * z) + 1e-5 * parameter @ parameter
        return value, gradient / len(hit) + 2e-5 * parameter

    found = minimize(loss, np.zeros(2 * _RANKS), jac=True, method="L-BFGS-B").x
    return Presence(found[:_RANKS], found[_RANKS:])


def presence_raster(
    model: Presence, place: Float[np.ndarray, "report 2"], rank: Int[np.ndarray, "report anchor"],
    *, step: float, margin: float, slots: int, neighbours: int,
) -> PresenceRaster:  # fmt: skip
    """Predict presence on a raster over the reports and a margin around them."""
    low, high = place.min(axis=0) - margin, place.max(axis=0) + margin
    step = max(step, float(np.sqrt(np.prod(high - low) / 90_000)))
    east = np.arange(low[0], high[0] + step, step)
    north = np.arange(low[1], high[1] + step, step)
    cells = np.stack(np.meshgrid(east, north, indexing="ij"), axis=-1).reshape(-1, 2)
    count = min(neighbours, len(place))
    distance, near = (
        np.reshape(item, (len(cells), count)) for item in KDTree(place).query(cells, k=count)
    )
    slots = min(slots, rank.shape[1])
    slot = np.zeros((len(cells), slots), dtype=np.int32)
    probability = np.zeros((len(cells), slots), dtype=np.float32)
    for part in np.array_split(np.arange(len(cells)), max(1, len(cells) // 1000)):
        # Cells of one strip share most of their neighbours: look at those anchors only.
        around = np.unique(near[part])
        used = np.flatnonzero((rank[around] < NOT_LISTED).any(axis=0))
        if not len(used):
            continue
        row = np.searchsorted(around, near[part])
        listed = rank[np.ix_(around, used)][row]
        candidate = (listed < NOT_LISTED).any(axis=1)
        odds = _log_odds(model, listed, distance[part][..., None])
        chance = np.einsum("cr,cra->ca", _weight(distance[part]), 1.0 / (1.0 + np.exp(-odds)))
        chance = np.where(candidate, chance, 0.0)
        keep = min(slots, len(used))
        order = np.argsort(-chance, axis=1, kind="stable")[:, :keep]
        slot[part, :keep] = used[order]
        probability[part, :keep] = np.take_along_axis(chance, order, 1)
    shape = (len(east), len(north), slots)
    return PresenceRaster(low, step, slot.reshape(shape), probability.reshape(shape))
