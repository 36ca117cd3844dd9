"""Locating when it is known which paths an echo took: the paper's own setting.

Where echoes carry the rank of their path out and of their path back, a place is scored by
comparing every echo with the map's paths of those ranks.  On a grid that score is one matrix
product between sums over a target's echoes and numbers of the map; the best cells are climbed
from on the map's tangents, which are made once for all targets.

Takes `PairedEchoes` and a `ChannelMap`.
Gives a `Fix`.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.channel_map.station_reports import distance_to_nearest
from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.localization.associated.by_rank_likelihood import (
    PairedEchoes,
    RankedPaths,
    cell_weights,
    log_likelihood,
    ranked_paths,
    target_sums,
)
from echoscape.localization.fix import Fix
from echoscape.localization.posterior_modes import gather_places
from echoscape.localization.unassociated.ascent import Found, climb_steps
from echoscape.localization.unassociated.grid import lay_cells
from echoscape.localization.unassociated.method import height_range

Pairs = Literal["all", "reciprocal"]

_ROUND, _BLOCK = 1024, 64  # cells
_NEVER = -1e20  # weight of a look along the first path at a cell that is not there


class PairedSettings(pydantic.BaseModel):
    """How places are searched where the pairing is known."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    cell: float = pydantic.Field(default=2.0, gt=0)
    """Side of the grid's cells [m]."""
    level: float = pydantic.Field(default=4.0, gt=0)
    """Distance between the grid's heights, when the height is searched too [m]."""
    reach: float = pydantic.Field(default=15.0, gt=0)
    """How far from the nearest report a target may be [m]."""
    starts: int = pydantic.Field(default=4, ge=1)
    """Cells that are climbed from."""
    kept: int = pydantic.Field(default=2, ge=1)
    """Ends of the first climb that are climbed from again, with the map asked anew."""
    steps: int = pydantic.Field(default=3, ge=2)
    """Steps of each climb."""
    chunk: int = pydantic.Field(default=1000, ge=1)
    """Targets in memory at a time."""
    ambiguous_below: float = pydantic.Field(default=0.9, gt=0, le=1)
    """A best place with less of the posterior than this is called ambiguous."""
    vague_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""


class PairedSearch(eqx.Module):
    """A map's grid, made once and used for any number of targets."""

    channel_map: ChannelMap
    """Predicts paths."""
    report_position: Float[np.ndarray, "report 3"]
    """Where the map's reports were [m]."""
    cells: Float[AnyArray, "cell 3"]
    """Centres, the last repeated to a round number of them [m]."""
    paths: RankedPaths
    """The map's paths at every cell."""
    weight: Float[Array, "sum cell"]
    """What every sum over a target's echoes is worth at every cell."""
    angle_std: Float[Array, ""]
    """Deviation of every angle of an echo [rad]."""
    delay_std: Float[Array, ""]
    """Deviation of every delay of an echo [s]."""
    zenith: bool = eqx.field(static=True)
    """Whether the echoes carry zenith angles."""
    heights: tuple[float, float] = eqx.field(static=True)
    """Lowest and highest z [m]."""
    settings: PairedSettings = eqx.field(static=True)


def prepare_paired(
    channel_map: ChannelMap,
    *,
    paths: int,
    angle_std: float,
    delay_std: float,
    zenith: bool = False,
    height: float | tuple[float, float] | None = None,
    settings: PairedSettings | None = None,
) -> PairedSearch:
    """Lay a grid over a map for echoes of given errors.

    Eq. (40) of [wu-ckm] as printed has the map's variances only, and a sharp map then trusts
    blurred echoes to the centimetre; here the echoes' own variances are added, which therefore
    must be stated.

    Args:
        channel_map: Predicts paths.
        paths: How many of the strongest paths echo.
        angle_std: Deviation of every angle of an echo [rad].
        delay_std: Deviation of every delay of an echo [s].
        zenith: Whether the echoes carry zenith angles.
        height: Height of the targets, or the range to search [m]; the reports' own by default.
        settings: How to search.

    Raises:
        InputError: A deviation is not above zero.
    """
    settings = settings or PairedSettings()
    for name, unit, value in (("angle_std", "rad", angle_std), ("delay_std", "s", delay_std)):
        if not 0 < value < np.inf:
            raise InputError(
                f"the likelihood needs the echoes' own errors: {name} must be finite and above "
                f"zero, in {unit}; got {value}"
            )
    low, high = height_range([channel_map], height)
    cells = np.asarray(lay_cells([channel_map], low, high, settings).place)
    count, predictor = len(cells), channel_map.predictor()
    # Grids of much the same size share one compiled program; a repeated cell is never chosen.
    full = np.minimum(np.arange(-(-count // _ROUND) * _ROUND), count - 1)
    cells = jnp.asarray(cells[full])
    ranked = _ranked_at(predictor, cells, paths, low == high)
    # Arrays: as plain numbers every other error would compile the search anew.
    errors = jnp.asarray(angle_std, float), jnp.asarray(delay_std, float)
    weight = cell_weights(ranked, *errors, zenith).at[0, count:].set(_NEVER)
    return PairedSearch(
        predictor, np.asarray(channel_map.report_position), cells, ranked, weight, *errors, zenith,
        (low, high), settings,
    )  # fmt: skip


def localize_paired(echoes: PairedEchoes, search: PairedSearch, *, pairs: Pairs = "all") -> Fix:
    """Locate targets whose echoes carry the ranks of their paths.

    Args:
        echoes: One set of echoes for each target.
        search: The map's grid.
        pairs: Take "all" ordered pairs of paths, Eq. (6) of [wu-ckm], or only the "reciprocal"
            ones that return the way they came, Eq. (5).

    Raises:
        InputError: There is no target, or more paths are paired than the search was prepared for.
    """
    settings, count = search.settings, len(echoes.delay)
    have, need = search.paths.mean.shape[1], echoes.delay.shape[-1]
    if count == 0:
        raise InputError("there are no echoes to locate a target from; the set is empty")
    if need != have:
        raise InputError(
            f"the echoes pair {need} paths, but the search was prepared for {have}; "
            f"prepare it with paths={need}"
        )
    if search.zenith != (echoes.departure_zenith is not None):
        raise InputError(
            f"the search was prepared for echoes with{'' if search.zenith else 'out'} zenith "
            f"angles, and these are not so; prepare it with zenith={not search.zenith}"
        )
    if pairs == "reciprocal":
        diagonal = np.eye(need, dtype=bool)
        echoes = eqx.tree_at(lambda e: e.valid, echoes, echoes.valid & diagonal)
    compiled = eqx.tree_at(lambda s: s.report_position, search, search.report_position[:1])
    # Few sizes compile: the next power of two of the targets, or the whole chunk.
    chunk, parts = min(settings.chunk, 1 << (count - 1).bit_length()), []
    for first in range(0, count, chunk):
        index = np.minimum(np.arange(first, first + chunk), count - 1)
        some = jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf[index]), echoes)
        part, kept = _search(compiled, some), min(chunk, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], part))
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    support = distance_to_nearest(found.place.reshape(-1, 3), search.report_position)
    return gather_places(
        np.arange(count), found, support.reshape(found.place.shape[:2]),
        search.heights[0] < search.heights[1], reach=settings.reach,
        ambiguous_below=settings.ambiguous_below, vague_above=settings.vague_above,
    )  # fmt: skip


@eqx.filter_jit
def _ranked_at(
    channel_map: ChannelMap, place: Float[Array, "place 3"], count: int, level: bool
) -> RankedPaths:
    return jax.vmap(lambda where: ranked_paths(channel_map, where, count, level=level))(place)


@eqx.filter_jit
def _search(search: PairedSearch, echoes: PairedEchoes) -> Found:
    settings = search.settings
    sums = jax.vmap(target_sums)(echoes)
    cell = _best(sums.astype(jnp.float32) @ search.weight, settings.starts)

    def climb(start, paths, echo):
        angle_std, delay_std, heights = (
            jnp.asarray(value, start.dtype)
            for value in (search.angle_std, search.delay_std, search.heights)
        )

        def evaluate(place):
            return log_likelihood(paths, echo, angle_std, delay_std, place)

        return climb_steps(evaluate, start, heights, settings.steps)

    every = jax.vmap(jax.vmap(climb, in_axes=(0, 0, None)))
    # The first climb follows tangents made once, and single precision is enough for it; the
    # second asks the map where it matters.
    place, value, _ = every(*_single((search.cells[cell], _take(search.paths, cell), echoes)))
    _, best = jax.lax.top_k(value, min(settings.kept, value.shape[1]))
    place = jnp.take_along_axis(place, best[..., None], 1).astype(search.cells.dtype)
    count, level = search.paths.mean.shape[1], search.heights[0] == search.heights[1]
    ask = jax.vmap(lambda where: ranked_paths(search.channel_map, where, count, level=level))
    paths = jax.vmap(ask)(place)
    place, value, information = every(place, paths, echoes)
    heard = jnp.broadcast_to(jnp.sum(echoes.valid, axis=(1, 2))[:, None], value.shape)
    unknown = jnp.full((*value.shape, 1), jnp.nan)
    return Found(place, value, information, 1.0 * heard, 1.0 * heard, unknown)


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
