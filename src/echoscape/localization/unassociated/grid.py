"""A grid over all places that a map knows, scored by how well its paths match a target's.

Every path heard is one of the map's at the place, with its presence, or one that the map does not
know (a multi-Bernoulli likelihood of the one-way paths): cheap enough for every cell.

Takes channel maps, and `OneWayPaths` or `EchoSet`s.
Gives cells and the peaks of their scores.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.localization.unassociated.bistatic import score_pairs
from echoscape.localization.unassociated.grid_features import CellFeatures, score_cells
from echoscape.localization.unassociated.one_way_paths import EchoModel, EchoSet, OneWayPaths

_MOST_CELLS = 500_000  # of all levels: some gigabyte of predictions
_BLOCKS = 64  # of the coarse pass that are looked at closely


class Cells(NamedTuple):
    """A grid over all places near enough to a report, in blocks of up to two by two cells."""

    place: Float[AnyArray, "cell 3"]
    """Centres [m]."""
    block: Int[AnyArray, "block 4"]
    """Cells of each block, the last repeated where there are fewer."""


def lay_cells(maps, low, high, settings) -> Cells:
    """Lay a grid over all places near enough to a report."""
    reports = np.concatenate([np.asarray(m.report_position)[:, :2] for m in maps])
    bottom, top = reports.min(axis=0) - settings.reach, reports.max(axis=0) + settings.reach
    step = max(settings.cell, float(np.sqrt(np.prod(top - bottom) / 200_000)))
    counts = np.ceil((top - bottom) / step).astype(int) + 1
    index = np.indices(counts).reshape(2, -1).T
    plane = np.concatenate([bottom + step * index, np.zeros((len(index), 1))], axis=1)
    near = np.min([m.support(plane) for m in maps], axis=0) < settings.reach
    plane, index = plane[near], index[near]
    levels = 1 + int(np.ceil((high - low) / settings.level))
    most = max(1, _MOST_CELLS // max(len(plane), 1))
    if levels > most:
        raise InputError(
            f"heights from {low:g} to {high:g} m take {levels} levels of {len(plane)} cells; here "
            f"a range of up to {(most - 1) * settings.level:g} m can be searched: narrow it"
        )
    heights = np.linspace(low, high, levels)
    place = np.repeat(plane, len(heights), axis=0)
    place[:, 2] = np.tile(heights, len(plane))
    key = index[:, 0] // 2 * counts[1] + index[:, 1] // 2
    key = (key[:, None] * len(heights) + np.arange(len(heights))).ravel()
    order = np.argsort(key, kind="stable")
    _, first, count = np.unique(key[order], return_index=True, return_counts=True)
    member = first[:, None] + np.minimum(np.arange(4), count[:, None] - 1)
    return Cells(place, order[member])


def score_way(features, heard: OneWayPaths | EchoSet, model: EchoModel, slack):
    """Score every cell by what one station heard of itself, or one of another.

    Args:
        features: A map's; those of the sender's and the listener's where these are two.
        heard: One-way paths, or echoes where two stations took part.
        model: Detection and clutter.
        slack: Variance of the target about each cell, in each coordinate [m^2].
    """
    if isinstance(heard, OneWayPaths):
        return score_cells(features, heard, slack)
    return score_pairs(features, heard, model, slack)


def find_peaks(scores, cells, count, apart):
    """Take the best cell, then the best farther than `apart` from it, and so on."""

    def step(scores, _):
        best = jnp.argmax(scores)
        far = jnp.sum((cells - cells[best][None]) ** 2, axis=-1) > apart**2
        return jnp.where(far, scores, -jnp.inf), best

    return jax.lax.scan(step, scores, None, count)[1]


@functools.partial(jax.jit, static_argnames="count")
def grid_peaks(
    features: list[CellFeatures | tuple[CellFeatures, CellFeatures]],
    heard: list[OneWayPaths | EchoSet],
    model: EchoModel,
    cells: Cells,
    slack: Float[Array, ""],
    apart: float | Float[Array, ""],
    *,
    count: int,
) -> Int[Array, "target start"]:
    """Find the peaks of the summed scores of all ways, for each target; as `score_way`.

    One cell of every block is scored with room for the whole block; then all of the best blocks.
    """
    blocks = min(_BLOCKS, cells.block.shape[0])
    coarse = _take(features, cells.block[:, 0])

    def one(paths):
        def score(features, slack):
            return sum(score_way(f, p, model, slack) for f, p in zip(features, paths))

        _, best = jax.lax.top_k(score(coarse, 4.0 * slack), blocks)
        # A cell that a block repeats is a peak once: the next is taken at a distance.
        fine = cells.block[best].ravel()
        peaks = find_peaks(score(_take(features, fine), slack), cells.place[fine], count, apart)
        return fine[peaks]

    return jax.lax.map(one, heard)


def _take(features, index):
    return jax.tree.map(lambda leaf: leaf[index], features)
