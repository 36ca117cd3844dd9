"""Locating when the rank of each path is known: the paper's own setting.

Where echoes carry the rank of their forward and of their return path, a position is scored by
comparing every echo with the map's paths of those ranks.  On a grid that score is one matrix
product between sums over a target's echoes and numbers of the map; the best cells are refined
with the map linearised there once for all targets.

Takes `PairedEchoes` and a `ChannelMap`.
Gives a `Batch` for `run`.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.localization.associated.paired_likelihood import (
    PairedEchoes,
    RankedPaths,
    cell_weights,
    log_likelihood,
    ranked_paths,
    target_sums,
)
from echoscape.localization.associated.paired_search import PairedGrid, PairedSearch
from echoscape.localization.localizer import Batch, Chunk, Height
from echoscape.localization.unassociated.ascent import LocalMaxima, gauss_newton_ascent

_BLOCK = 64  # cells
_NEVER = -1e20  # weight of an observation of the first path at a cell that is padding


class AssociatedByRank(PairedSearch):
    """Locate from echoes of known pairs of paths, whose ranks are those of the map.

    Eq. (40) of [wu-ckm] as printed has the map's variances only, and a sharp map then trusts
    noisy echoes to the centimetre; here the echoes' own variances are added.
    """

    name: ClassVar[str] = "by-rank"

    refined: int = pydantic.Field(default=2, ge=1)
    """Ends of the first ascent that are refined again, with the map queried anew."""
    steps: int = pydantic.Field(default=3, ge=2)
    """Steps of each ascent."""
    chunk: Chunk = 1000

    def prepare(
        self, maps: Mapping[str, ChannelMap], height: Height, measurements: PairedEchoes
    ) -> Any:
        """Query the map's strongest paths on a grid."""
        grid, paths = self.grid_of(maps, height), measurements.delay.shape[-1]
        return _Grid(grid, _ranked_at(grid.predictor, grid.cells, paths, not grid.height_free))

    def batch(self, prepared: "_Grid", measurements: PairedEchoes) -> Batch:
        """Turn every target's echoes into sums, and the grid into their weights."""
        grid = prepared.grid
        echoes = measurements.of_pairs(self.pairs, prepared.ranked.mean.shape[1])
        angle_std, delay_std = echoes.deviations()
        if np.ptp(angle_std) > 0 or np.ptp(delay_std) > 0:
            raise InputError(
                "AssociatedByRank needs the same errors of all targets, and these differ; "
                "AssociatedByPath can use them"
            )
        zenith = echoes.departure_zenith is not None
        errors = jnp.asarray(angle_std[0], float), jnp.asarray(delay_std[0], float)
        weight = cell_weights(prepared.ranked, *errors, zenith)
        weight = weight.at[0].set(jnp.where(grid.valid, weight[0], _NEVER))

        def search(some: PairedEchoes) -> LocalMaxima:
            numbers = (self.starts, self.refined, self.steps)
            return _search(
                grid.predictor, grid.cells, prepared.ranked, weight, some, errors,
                jnp.asarray(grid.heights), numbers, not grid.height_free,
            )  # fmt: skip

        conclude = functools.partial(self.conclude, grid)
        return Batch(len(echoes.delay), echoes.without_deviations(), search, conclude)


class _Grid(NamedTuple):
    """A map queried on a grid."""

    grid: PairedGrid
    ranked: RankedPaths


@eqx.filter_jit
def _ranked_at(
    channel_map: ChannelMap, position: Float[Array, "cell 3"], count: int, given: bool
) -> RankedPaths:
    return jax.vmap(lambda at: ranked_paths(channel_map, at, count, height_given=given))(position)


@eqx.filter_jit
def _search(
    channel_map, cells, ranked: RankedPaths, weight, echoes: PairedEchoes, errors, heights,
    numbers: tuple[int, int, int], given: bool,
) -> LocalMaxima:  # fmt: skip
    starts, refined, steps = numbers
    sums = jax.vmap(target_sums)(echoes)
    cell = _best(sums.astype(jnp.float32) @ weight, starts)

    def ascend(start, paths, echo):
        angle_std, delay_std, between = (
            jnp.asarray(value, start.dtype) for value in (*errors, heights)
        )

        def objective(position):
            return log_likelihood(paths, echo, angle_std, delay_std, position)

        return gauss_newton_ascent(objective, start, between, steps)

    every = jax.vmap(jax.vmap(ascend, in_axes=(0, 0, None)))
    # The first ascent uses slopes made once, and single precision is enough for it; the second
    # queries the map where it matters.
    position, value, _ = every(*_single((cells[cell], _take(ranked, cell), echoes)))
    _, best = jax.lax.top_k(value, min(refined, value.shape[1]))
    position = jnp.take_along_axis(position, best[..., None], 1).astype(cells.dtype)
    count = ranked.mean.shape[1]
    query = jax.vmap(lambda at: ranked_paths(channel_map, at, count, height_given=given))
    paths = jax.vmap(query)(position)
    position, value, information = every(position, paths, echoes)
    detected = jnp.broadcast_to(jnp.sum(echoes.valid, axis=(1, 2))[:, None], value.shape) * 1.0
    unknown = jnp.full((*value.shape, 1), jnp.nan)
    once = jnp.ones_like(value)
    return LocalMaxima(position, value, information, detected, detected, unknown, once)


def _best(score: Float[Array, "target cell"], count: int) -> Int[Array, "target start"]:
    """Find the best cells of every target: they are in the blocks whose best cells are best."""
    count = min(count, score.shape[1])
    blocks = score.reshape(len(score), -1, _BLOCK)
    _, block = jax.lax.top_k(blocks.max(axis=-1), min(count, blocks.shape[1]))
    some = jnp.take_along_axis(blocks, block[..., None], 1)
    _, index = jax.lax.top_k(some.reshape(len(score), -1), count)
    return jnp.take_along_axis(block, index // _BLOCK, 1) * _BLOCK + index % _BLOCK


def _take(paths: RankedPaths, index: Int[Array, "target start"]) -> RankedPaths:
    return jax.tree.map(lambda leaf: leaf[index], paths)


def _single(tree):
    numbers, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), numbers), rest)
