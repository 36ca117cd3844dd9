"""How probable it is that a path is among those that a receiver lists at a place.

A path is lit along rays from its source, the virtual anchor or the scatterer, and ends at the
edge of a shadow.  So a report farther along the same ray tells much, one as far across the rays
little.  How much each distance, and a rank in a report, is worth is learnt from the reports
themselves, every report being predicted from its neighbours.  The result lies on a raster of
cells, each with its most probable paths.

Takes for every report the rank of each anchor, and where anchors shine from.
Gives a `PresenceRaster`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.spatial import KDTree

from echoscape.estimation import AnyArray

NOT_LISTED = 99
_RANKS = 13  # the last: not listed
_LEARNT_FROM = 15_000  # pairs of report and anchor
_STEPS = 50
_TIGHTNESS = 1e-5  # of the prior that keeps unseen ranks at their start


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
    """What a neighbour's list is worth, by rank there and by distance in a path's own frame."""

    level: Float[AnyArray, " rank"]
    """Log-odds where the distance is 1.7 for each rank."""
    slope: Float[AnyArray, " rank"]
    """Change of the log-odds with log(1 + distance)."""
    across: Float[AnyArray, ""]
    """Logarithm of the distance that a metre across the ray counts for."""
    along: Float[AnyArray, ""]
    """Logarithm of the distance that a metre along the ray counts for."""
    decay: Float[AnyArray, ""]
    """Logarithm of the power of (1 + distance) that neighbours' weights fall with."""


class _Pairs(NamedTuple):
    """Places with an anchor each, and what their neighbours say of it; distances in metres."""

    across: Float[np.ndarray, "pair neighbour"]
    along: Float[np.ndarray, "pair neighbour"]
    rank: Int[np.ndarray, "pair neighbour"]


def _pair_up(target, anchor, around, place, rank, source) -> _Pairs:
    """Measure the way to each neighbour across and along the ray from each anchor."""
    lit = np.nan_to_num(source[anchor])
    ray, other = target - lit, place[around] - lit[:, None]
    reach = np.maximum(np.linalg.norm(ray, axis=1), 1e-6)[:, None]
    across = np.abs(ray[:, None, 0] * other[..., 1] - ray[:, None, 1] * other[..., 0]) / reach
    along = np.abs(np.linalg.norm(other, axis=-1) - reach)
    # Of a path known at one place only nobody knows where it shines from.
    same = np.sqrt(0.5) * np.linalg.norm(place[around] - target[:, None], axis=-1)
    unknown = np.isnan(source[anchor, :1])
    listed = np.minimum(rank[around, anchor[:, None]], _RANKS - 1)
    small = lambda leaf: leaf.astype(np.float32)  # noqa: E731
    return _Pairs(
        small(np.where(unknown, same, across)), small(np.where(unknown, same, along)), listed
    )


def _chance(model: Presence, pairs: _Pairs):
    """Predict presence: what each neighbour says of it, weighted by nearness."""
    distance = jnp.sqrt(
        (jnp.exp(model.across) * pairs.across) ** 2
        + (jnp.exp(model.along) * pairs.along) ** 2
        + 1e-6
    )
    lag = jnp.log1p(distance)
    weight = jax.nn.softmax(-jnp.exp(model.decay) * lag, axis=-1)
    odds = model.level[pairs.rank] + model.slope[pairs.rank] * (lag - 1.0)
    return jnp.sum(weight * jax.nn.sigmoid(odds), axis=-1)


_chance_of = jax.jit(_chance)


def learn_presence(
    place: Float[np.ndarray, "report 2"], rank: Int[np.ndarray, "report anchor"],
    source: Float[np.ndarray, "anchor 2"], listed: int, neighbours: int,
) -> Presence:  # fmt: skip
    """Learn from every report and its neighbours what being listed nearby is worth.

    Args:
        place: Where the reports are from [m].
        rank: Rank of every anchor in every report, `NOT_LISTED` if it is not in it.
        source: Where each anchor shines from, NaN where unknown [m].
        listed: How many paths a receiver lists.
        neighbours: Reports to predict from.
    """
    start = Presence(
        level=np.where(np.arange(_RANKS) < listed, 2.0, -3.0), slope=np.full(_RANKS, -0.5),
        across=np.asarray(-1.2), along=np.asarray(-2.0), decay=np.asarray(2.0),
    )  # fmt: skip
    if len(place) < 2:
        return start
    count = min(neighbours + 1, len(place))
    found = KDTree(place).query(place, k=count)[1]
    near = np.reshape(found, (len(place), count))[:, 1:]
    report, anchor = _listed_around(rank, near)
    if not len(report):
        return start
    some = np.linspace(0, len(report) - 1, min(len(report), _LEARNT_FROM)).astype(int)
    report, anchor = report[some], anchor[some]
    pairs = _pair_up(place[report], anchor, near[report], place, rank, source)
    hit = jnp.asarray(rank[report, anchor] < listed)
    begin, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, float), start))

    @jax.jit
    @jax.value_and_grad
    def loss(parameter):
        chance = jnp.clip(_chance(unravel(parameter), pairs), 1e-5, 1 - 1e-5)
        told = jnp.where(hit, jnp.log(chance), jnp.log1p(-chance))
        return _TIGHTNESS * jnp.sum((parameter - begin) ** 2) - jnp.mean(told)

    def both(parameter):
        value, gradient = loss(jnp.asarray(parameter, begin.dtype))
        return float(value), np.asarray(gradient, dtype=float)

    best = minimize(
        both, np.asarray(begin, float), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    return jax.tree.map(np.asarray, unravel(jnp.asarray(best.x, begin.dtype)))


def _listed_around(rank, near):
    """List the rows and the anchors that any neighbour of theirs lists."""
    rows, anchors = [], []
    for part in np.array_split(np.arange(len(near)), max(1, len(near) // 1000)):
        # Rows of one strip share most of their neighbours: look at those anchors only.
        around = np.unique(near[part])
        used = np.flatnonzero((rank[around] < NOT_LISTED).any(axis=0))
        heard = rank[np.ix_(around, used)] < NOT_LISTED
        row, column = np.nonzero(heard[np.searchsorted(around, near[part])].any(axis=1))
        rows.append(part[row])
        anchors.append(used[column])
    return np.concatenate(rows), np.concatenate(anchors)


def presence_raster(
    model: Presence, place: Float[np.ndarray, "report 2"], rank: Int[np.ndarray, "report anchor"],
    source: Float[np.ndarray, "anchor 2"], *, step: float, margin: float, slots: int,
    neighbours: int,
) -> PresenceRaster:  # fmt: skip
    """Predict presence on a raster over the reports and a margin around them."""
    low, high = place.min(axis=0) - margin, place.max(axis=0) + margin
    step = max(step, float(np.sqrt(np.prod(high - low) / 90_000)))
    east = np.arange(low[0], high[0] + step, step)
    north = np.arange(low[1], high[1] + step, step)
    cells = np.stack(np.meshgrid(east, north, indexing="ij"), axis=-1).reshape(-1, 2)
    count = min(neighbours, len(place))
    near = np.reshape(KDTree(place).query(cells, k=count)[1], (len(cells), count))
    row, anchor = _listed_around(rank, near)
    chance = np.zeros(len(row), dtype=np.float32)
    part = 1 << 15
    for first in range(0, len(row), part):
        # As many at a time as compile once.
        some = np.minimum(np.arange(first, first + part), len(row) - 1)
        pairs = _pair_up(cells[row[some]], anchor[some], near[row[some]], place, rank, source)
        kept = min(part, len(row) - first)
        chance[first : first + kept] = np.asarray(_chance_of(model, pairs))[:kept]
    slots = min(slots, rank.shape[1])
    slot = np.zeros((len(cells), slots), dtype=np.int32)
    probability = np.zeros((len(cells), slots), dtype=np.float32)
    order = np.lexsort((-chance, row))
    row, anchor, chance = row[order], anchor[order], chance[order]
    column = np.arange(len(row)) - np.searchsorted(row, row)
    keep = column < slots
    slot[row[keep], column[keep]] = anchor[keep]
    probability[row[keep], column[keep]] = chance[keep]
    shape = (len(east), len(north), slots)
    return PresenceRaster(low, step, slot.reshape(shape), probability.reshape(shape))
