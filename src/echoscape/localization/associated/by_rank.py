"""Locating when the rank of each path is known: the paper's own setting.

Where echoes carry the rank of their forward and of their return path, a position is scored by
comparing every echo with the map's paths of those ranks.  On a grid that score is one matrix
product between sums over a target's echoes and numbers of the map; the best cells are refined
with the map linearised there once for all targets.

Takes `PairedEchoes` and a `ChannelMap`.
Gives a `Batch` for `run`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Bool, Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.channel_map.station_reports import distance_to_nearest
from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.localization.associated.paired_likelihood import (
    PairedEchoes,
    RankedPaths,
    cell_weights,
    log_likelihood,
    ranked_paths,
    target_sums,
)
from echoscape.localization.localizer import (
    AmbiguousAbove,
    AmbiguousBelow,
    Batch,
    CellSize,
    Chunk,
    Height,
    HeightStep,
    Localizer,
    Reach,
    Starts,
    height_range,
    only_map,
)
from echoscape.localization.posterior_modes import posterior_modes
from echoscape.localization.unassociated.ascent import LocalMaxima, gauss_newton_ascent
from echoscape.localization.unassociated.grid import cell_centres, round_up

Pairs = Annotated[
    Literal["all", "reciprocal"],
    pydantic.Field(
        description='Use "all" ordered pairs of paths, Eq. (6) of [wu-ckm], or only the '
        '"reciprocal" ones that return the way they came, Eq. (5).'
    ),
]

_BLOCK = 64  # cells
_NEVER = -1e20  # weight of an observation of the first path at a cell that is padding


class AssociatedByRank(Localizer):
    """Locate from echoes of known pairs of paths, whose ranks are those of the map.

    Eq. (40) of [wu-ckm] as printed has the map's variances only, and a sharp map then trusts
    noisy echoes to the centimetre; here the echoes' own variances are added.
    """

    name: ClassVar[str] = "by-rank"
    measurements: ClassVar[tuple[type, ...]] = (PairedEchoes,)
    needs: ClassVar[str] = "echoes of known pairs of paths (PairedEchoes)"

    cell: CellSize = 2.0
    height_step: HeightStep = 4.0
    reach: Reach = 15.0
    starts: Starts = 4
    refined: int = pydantic.Field(default=2, ge=1)
    """Ends of the first ascent that are refined again, with the map queried anew."""
    steps: int = pydantic.Field(default=3, ge=2)
    """Steps of each ascent."""
    pairs: Pairs = "all"
    ambiguous_below: AmbiguousBelow = 0.9
    ambiguous_above: AmbiguousAbove = 3.0
    chunk: Chunk = 1000

    def prepare(
        self, maps: Mapping[str, ChannelMap], height: Height, measurements: PairedEchoes
    ) -> Any:
        """Query the map's strongest paths on a grid."""
        channel_map = only_map(maps, "paired echoes")
        paths = measurements.delay.shape[-1]
        low, high = height_range([channel_map], height)
        centres, _ = cell_centres(
            [channel_map], low, high, cell=self.cell, height_step=self.height_step,
            reach=self.reach,
        )  # fmt: skip
        cells, predictor = jnp.asarray(round_up(centres)), channel_map.predictor()
        ranked = _ranked_at(predictor, cells, paths, low == high)
        valid = np.arange(len(cells)) < len(centres)
        report = np.asarray(channel_map.report_position)
        return _Grid(predictor, report, cells, valid, ranked, np.array([low, high]))

    def batch(self, prepared: "_Grid", measurements: PairedEchoes) -> Batch:
        """Turn every target's echoes into sums, and the grid into their weights."""
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
        weight = weight.at[0].set(jnp.where(prepared.valid, weight[0], _NEVER))
        low, high = prepared.heights

        def search(some: PairedEchoes) -> LocalMaxima:
            numbers = (self.starts, self.refined, self.steps)
            return _search(
                prepared.predictor, prepared.cells, prepared.ranked, weight, some, errors,
                jnp.asarray(prepared.heights), numbers, bool(low == high),
            )  # fmt: skip

        def conclude(found: LocalMaxima):
            support = distance_to_nearest(found.position.reshape(-1, 3), prepared.report_position)
            return posterior_modes(
                np.arange(len(found.position)), found,
                support.reshape(found.position.shape[:2]), low < high, reach=self.reach,
                ambiguous_below=self.ambiguous_below, ambiguous_above=self.ambiguous_above,
                starts=self.starts,
            )  # fmt: skip

        return Batch(len(echoes.delay), echoes.without_deviations(), search, conclude)


class _Grid(NamedTuple):
    """A map queried on a grid."""

    predictor: ChannelMap
    report_position: Float[np.ndarray, "report 3"]
    cells: Float[AnyArray, "cell 3"]
    valid: Bool[np.ndarray, " cell"]
    ranked: RankedPaths
    heights: Float[np.ndarray, "2"]


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
