"""How probable it is that a path is among those that a receiver reports at a place.

A path is visible along rays from its source, the virtual anchor or the scatterer, and ends at the
edge of a shadow.  So a report farther along the same ray is strong evidence, one as far across the
rays weak evidence.  How much each distance, and a rank in a report, counts is learnt from the
reports themselves, every report being predicted from its neighbours.  The result lies on a
raster of cells, each with its most probable paths.

Takes for every report the rank of each point, and the source of its path.
Gives a `VisibilityRaster`.
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

NOT_REPORTED = 99
"""Rank of a point that a report does not hold."""
_RANKS = 13
"""Ranks distinguished; the last stands for all weaker ones and for not reported."""
_LEARNT_FROM = 15_000
"""Pairs of report and point that the model is learnt from: bounds the time."""
_STEPS = 50
"""Most steps of L-BFGS-B for its thirty numbers."""
_AWAY = 1e4
"""Distance at which a neighbour has no weight [m]."""
_TIGHTNESS = 1e-5
"""Weight of the prior at the start, which keeps ranks that no report holds there."""


class VisibilityRaster(NamedTuple):
    """Cells of a square raster with the points most probably reported there."""

    corner: Float[np.ndarray, "2"]
    """Centre of the first cell [m]."""
    step: float
    """Side of a cell [m]."""
    slot: Int[np.ndarray, "east north slot"]
    """Points."""
    probability: Float[np.ndarray, "east north slot"]
    """Their probabilities."""


class VisibilityModel(NamedTuple):
    """Evidence of a neighbouring report, by rank there and by distance in a path's own frame."""

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
    """Places with a point each, and its ranks in the neighbouring reports; distances in metres."""

    across: Float[AnyArray, "pair neighbour"]
    along: Float[AnyArray, "pair neighbour"]
    rank: Int[AnyArray, "pair neighbour"]


def _look_up(target, near, place):
    """Give the way from each target to each of its neighbours [m], in single precision."""
    return (place[near] - target[:, None]).astype(np.float32)


def _measure(ray, away, rank) -> _Pairs:
    """Measure the distance of each neighbour across and along the ray from each source."""
    unknown = jnp.isnan(ray[:, :1])  # the source of a path observed at one place only
    ray = jnp.where(unknown, 1.0, ray)
    reach = jnp.maximum(jnp.sqrt(jnp.sum(ray**2, axis=1)), 1e-6)[:, None]
    across = jnp.abs(ray[:, None, 0] * away[..., 1] - ray[:, None, 1] * away[..., 0]) / reach
    other = jnp.sqrt(jnp.sum((ray[:, None] + away) ** 2, axis=-1))
    same = jnp.sqrt(0.5 * jnp.sum(away**2, axis=-1))
    return _Pairs(
        jnp.where(unknown, same, across), jnp.where(unknown, same, jnp.abs(other - reach)), rank
    )


def _predict(model: VisibilityModel, pairs: _Pairs):
    """Predict visibility: the neighbours' evidence, weighted by nearness."""
    distance = jnp.sqrt(
        (jnp.exp(model.across) * pairs.across) ** 2
        + (jnp.exp(model.along) * pairs.along) ** 2
        + 1e-6
    )
    lag = jnp.log1p(distance)
    weight = jax.nn.softmax(-jnp.exp(model.decay) * lag, axis=-1)
    level, slope = (jnp.asarray(leaf).at[pairs.rank].get(mode="promise_in_bounds")
                    for leaf in (model.level, model.slope))  # fmt: skip
    odds = level + slope * (lag - 1.0)
    return jnp.sum(weight * jax.nn.sigmoid(odds), axis=-1)


@jax.jit
def _measure_and_predict(model: VisibilityModel, *looked_up):
    small = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), model)
    return _predict(small, _measure(*looked_up))


def learn_visibility(
    place: Float[np.ndarray, "report 2"], rank: Int[np.ndarray, "report anchor"],
    source: Float[np.ndarray, "anchor 2"], reported_paths: int, neighbours: int,
) -> VisibilityModel:  # fmt: skip
    """Learn from every report and its neighbours how much being reported nearby counts.

    Args:
        place: Where the reports are from [m].
        rank: Rank of every point in every report, `NOT_REPORTED` if it is not in it.
        source: Virtual anchor or scatterer of each path, NaN where unknown [m].
        reported_paths: How many paths a receiver reports.
        neighbours: Reports to predict from.
    """
    start = VisibilityModel(
        level=np.where(np.arange(_RANKS) < reported_paths, 2.0, -3.0), slope=np.full(_RANKS, -0.5),
        across=np.asarray(-1.2), along=np.asarray(-2.0), decay=np.asarray(2.0),
    )  # fmt: skip
    if len(place) < 2:
        return start
    count = min(neighbours + 1, len(place))
    found = KDTree(place).query(place, k=count)[1]
    near = np.reshape(found, (len(place), count))[:, 1:]
    report, anchor = _reported_around(rank, near)
    if not len(report):
        return start
    some = np.linspace(0, len(report) - 1, min(len(report), _LEARNT_FROM)).astype(int)
    report, anchor = report[some], anchor[some]
    pairs = jax.jit(_measure)(
        (place[report] - source[anchor]).astype(np.float32),
        _look_up(place[report], near[report], place),
        np.minimum(rank[near[report], anchor[:, None]], _RANKS - 1),
    )
    hit = jnp.asarray(rank[report, anchor] < reported_paths)
    begin, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, float), start))

    @jax.jit
    @jax.value_and_grad
    def loss(parameter):
        predicted = jnp.clip(_predict(unravel(parameter), pairs), 1e-5, 1 - 1e-5)
        log_lik = jnp.where(hit, jnp.log(predicted), jnp.log1p(-predicted))
        return _TIGHTNESS * jnp.sum((parameter - begin) ** 2) - jnp.mean(log_lik)

    def both(parameter):
        value, gradient = loss(jnp.asarray(parameter, begin.dtype))
        return float(value), np.asarray(gradient, dtype=float)

    best = minimize(
        both, np.asarray(begin, float), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    return jax.tree.map(np.asarray, unravel(jnp.asarray(best.x, begin.dtype)))


def _reported_around(rank, near):
    """List the rows and the points that any neighbouring report of theirs holds."""
    rows, anchors = [], []
    for part in np.array_split(np.arange(len(near)), max(1, len(near) // 1000)):
        # Rows of one strip share most of their neighbours: consider those points only.
        around = np.unique(near[part])
        used = np.flatnonzero((rank[around] < NOT_REPORTED).any(axis=0))
        reported = rank[np.ix_(around, used)] < NOT_REPORTED
        row, column = np.nonzero(reported[np.searchsorted(around, near[part])].any(axis=1))
        rows.append(part[row])
        anchors.append(used[column])
    return np.concatenate(rows), np.concatenate(anchors)


def predict_pairs(
    model: VisibilityModel, target, near, row, point, place, rank, source, since=None, until=None
) -> Float[np.ndarray, " pair"]:
    """Predict whether points are reported at places, from the neighbours of each.

    Args:
        model: As learnt.
        target: The places [m].
        near: Neighbouring reports of each place.
        row: Place of each pair.
        point: Point of each pair.
        place: Where the reports are from [m].
        rank: Rank of every point in every report.
        source: Source of the path of every point, NaN where unknown [m].
        since: First report that counts for each point: those before it, when the point was not
            there yet, tell nothing; every report counts if not given.
        until: Last report that counts for each pair; every one if not given.
    """
    away, near = _look_up(target, near, place), near.astype(np.int32)
    by_point = np.ascontiguousarray(np.minimum(rank, _RANKS - 1).T)
    predicted = np.zeros(len(point), dtype=np.float32)
    part = 1 << 14
    for first in range(0, len(point), part):
        # As many at a time as compile once.
        some = np.minimum(np.arange(first, first + part), len(point) - 1)
        r, p = row[some], point[some]
        ray = (target[r] - source[p]).astype(np.float32)
        ranks = by_point[p[:, None], near[r]]
        kept = min(part, len(point) - first)
        no_weight = np.zeros(ranks.shape, bool)
        if since is not None:
            no_weight |= near[r] < since[p][:, None]
        if until is not None:
            no_weight |= near[r] > until[some][:, None]
        ways = np.where(no_weight[..., None], np.float32(_AWAY), away[r])
        found = np.asarray(_measure_and_predict(model, ray, ways, ranks))
        predicted[first : first + kept] = found[:kept]
    return predicted


def predict_cells(
    model: VisibilityModel, cells: Float[np.ndarray, "cell 2"],
    near: Int[np.ndarray, "cell neighbour"], place: Float[np.ndarray, "report 2"],
    rank: Int[np.ndarray, "report anchor"], source: Float[np.ndarray, "anchor 2"], slots: int,
    since: Int[np.ndarray, " anchor"] | None = None,
) -> tuple[Int[np.ndarray, "cell slot"], Float[np.ndarray, "cell slot"]]:  # fmt: skip
    """List the points most probably reported at places, and their probabilities.

    Args:
        model: As learnt.
        cells: The places [m].
        near: Neighbouring reports of each.
        place: Where the reports are from [m].
        rank: Rank of every point in every report.
        source: Source of the path of every point, NaN where unknown [m].
        slots: How many points to list.
        since: As for `predict_pairs`.
    """
    row, anchor = _reported_around(rank, near)
    predicted = predict_pairs(model, cells, near, row, anchor, place, rank, source, since)
    slot = np.zeros((len(cells), slots), dtype=np.int32)
    probability = np.zeros((len(cells), slots), dtype=np.float32)
    order = np.lexsort((-predicted, row))
    row, anchor, predicted = row[order], anchor[order], predicted[order]
    column = np.arange(len(row)) - np.searchsorted(row, row)
    keep = column < slots
    slot[row[keep], column[keep]] = anchor[keep]
    probability[row[keep], column[keep]] = predicted[keep]
    return slot, probability


def visibility_raster(
    model: VisibilityModel, place: Float[np.ndarray, "report 2"],
    rank: Int[np.ndarray, "report anchor"], source: Float[np.ndarray, "anchor 2"], *,
    step: float, margin: float, slots: int, neighbours: int,
) -> VisibilityRaster:  # fmt: skip
    """Predict visibility on a raster over the reports and a margin around them."""
    low, high = place.min(axis=0) - margin, place.max(axis=0) + margin
    step = max(step, float(np.sqrt(np.prod(high - low) / 90_000)))
    east = np.arange(low[0], high[0] + step, step)
    north = np.arange(low[1], high[1] + step, step)
    cells = np.stack(np.meshgrid(east, north, indexing="ij"), axis=-1).reshape(-1, 2)
    count = min(neighbours, len(place))
    near = np.reshape(KDTree(place).query(cells, k=count)[1], (len(cells), count))
    slots = min(slots, rank.shape[1])
    slot, probability = predict_cells(model, cells, near, place, rank, source, slots)
    shape = (len(east), len(north), slots)
    return VisibilityRaster(low, step, slot.reshape(shape), probability.reshape(shape))
