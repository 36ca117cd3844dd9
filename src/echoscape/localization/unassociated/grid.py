"""A grid over all positions that a map knows, scored by how well its paths match a target's.

Every observed path is one of the map's at the position, with its probability, or one that the map
does not know (a multi-Bernoulli likelihood of the one-way paths): cheap enough for every cell.

Takes channel maps, and `OneWayPaths` or `EchoSet`s.
Gives cells and the peaks of their scores.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.localization.unassociated.bistatic import score_pairs
from echoscape.localization.unassociated.grid_features import CellFeatures, score_cells
from echoscape.localization.unassociated.one_way_paths import EchoModel, EchoSet, OneWayPaths

_MOST_CELLS = 500_000  # of all heights: some gigabyte of predictions
_BLOCKS = 64  # of the coarse pass whose cells are all scored
_COARSE_PATHS = 16  # likeliest paths of a cell that count in the coarse pass
_ROUND = 1024  # grids of much the same size share one compiled program


class Cells(NamedTuple):
    """A grid over all positions near enough to a report, in blocks of up to two by two cells."""

    position: Float[AnyArray, "cell 3"]
    """Centres [m]; the last repeated to a round number."""
    block: Int[AnyArray, "block 4"]
    """Cells of each block, the last repeated where there are fewer."""
    valid: Bool[AnyArray, " block"]
    """False for padding."""


def cell_centres(maps, low, high, *, cell, height_step, reach) -> tuple[np.ndarray, np.ndarray]:
    """Lay a grid over all positions near enough to a report.

    Args:
        maps: The maps.
        low: Lowest z [m].
        high: Highest z [m].
        cell: Side of the cells [m], larger where there would be too many.
        height_step: Distance between heights [m].
        reach: How far from a report to search [m].

    Returns:
        Centres [m], and the block of each.

    Raises:
        InputError: The heights are too many.
    """
    reports = np.concatenate([np.asarray(m.report_position)[:, :2] for m in maps])
    bottom, top = reports.min(axis=0) - reach, reports.max(axis=0) + reach
    step = max(cell, float(np.sqrt(np.prod(top - bottom) / 200_000)))
    counts = np.ceil((top - bottom) / step).astype(int) + 1
    index = np.indices(counts).reshape(2, -1).T
    plane = np.concatenate([bottom + step * index, np.zeros((len(index), 1))], axis=1)
    near = np.min([m.support(plane) for m in maps], axis=0) < reach
    plane, index = plane[near], index[near]
    count = 1 + int(np.ceil((high - low) / height_step))
    most = max(1, _MOST_CELLS // max(len(plane), 1))
    if count > most:
        raise InputError(
            f"heights from {low:g} to {high:g} m take {count} levels of {len(plane)} cells; here "
            f"a range of up to {(most - 1) * height_step:g} m can be searched: narrow it"
        )
    heights = np.linspace(low, high, count)
    position = np.repeat(plane, len(heights), axis=0)
    position[:, 2] = np.tile(heights, len(plane))
    key = index[:, 0] // 2 * counts[1] + index[:, 1] // 2
    return position, (key[:, None] * len(heights) + np.arange(len(heights))).ravel()


def round_up(leaf: np.ndarray, multiple: int = _ROUND) -> np.ndarray:
    """Repeat the last row of an array until there is a round number of rows."""
    count = len(leaf)
    return leaf[np.minimum(np.arange(-(-count // multiple) * multiple), count - 1)]


def make_cells(maps, low, high, *, cell, height_step, reach) -> Cells:
    """Lay a grid in blocks; arguments as for `cell_centres`."""
    position, key = cell_centres(maps, low, high, cell=cell, height_step=height_step, reach=reach)
    order = np.argsort(key, kind="stable")
    _, first, count = np.unique(key[order], return_index=True, return_counts=True)
    member = first[:, None] + np.minimum(np.arange(4), count[:, None] - 1)
    block = round_up(order[member])
    return Cells(round_up(position), block, np.arange(len(block)) < len(member))


def score_station(features, observed: OneWayPaths | EchoSet, model: EchoModel, position_variance):
    """Score every cell by what one station received of its own pulse, or of another's.

    Args:
        features: A map's; those of the transmitter's and the receiver's where these are two.
        observed: One-way paths, or echoes where two stations took part.
        model: Detection and clutter.
        position_variance: Of the target about each cell, in each coordinate [m^2].
    """
    if isinstance(observed, OneWayPaths):
        return score_cells(features, observed, position_variance)
    return score_pairs(features, observed, model, position_variance)


def find_peaks(scores, cells, count, separation):
    """Take the best cell, then the best farther than `separation` from it, and so on."""

    def step(scores, _):
        best = jnp.argmax(scores)
        far = jnp.sum((cells - cells[best][None]) ** 2, axis=-1) > separation**2
        return jnp.where(far, scores, -jnp.inf), best

    return jax.lax.scan(step, scores, None, count)[1]


@functools.partial(jax.jit, static_argnames="count")
def grid_peaks(
    features: list[CellFeatures | tuple[CellFeatures, CellFeatures]],
    observed: list[OneWayPaths | EchoSet],
    model: EchoModel,
    cells: Cells,
    position_variance: Float[Array, ""],
    separation: float | Float[Array, ""],
    *,
    count: int,
) -> tuple[Int[Array, "target start"], Float[Array, " target"]]:
    """Find the peaks of the summed scores, for each target, and the best score; as `score_station`.

    One cell of every block is scored with the variance of a whole block; then all cells of the
    best blocks.
    """
    blocks = min(_BLOCKS, cells.block.shape[0])
    coarse = jax.tree.map(
        lambda each: each.likeliest(_COARSE_PATHS), _take(features, cells.block[:, 0]),
        is_leaf=lambda each: isinstance(each, CellFeatures),
    )  # fmt: skip

    def one(paths):
        def score(features, variance):
            return sum(score_station(f, p, model, variance) for f, p in zip(features, paths))

        block_score = jnp.where(cells.valid, score(coarse, 4.0 * position_variance), -jnp.inf)
        _, best = jax.lax.top_k(block_score, blocks)
        # A cell that a block repeats is one peak: the next is taken at a distance.
        fine = cells.block[best].ravel()
        value = score(_take(features, fine), position_variance)
        value = jnp.where(jnp.repeat(cells.valid[best], 4), value, -jnp.inf)
        return fine[find_peaks(value, cells.position[fine], count, separation)], jnp.max(value)

    return jax.lax.map(one, observed)


def _take(features, index):
    return jax.tree.map(lambda leaf: leaf[index], features)
