"""Locate targets through channel maps: a grid over the map's area, then descent from its peaks.

Random starts lose targets; a grid does not.  Each target's echoes are grouped into one-way paths
(`grouping`), every cell is scored by how well its paths match them (a multi-Bernoulli likelihood,
cheap), and the best peaks are refined and compared by the likelihood of the echoes themselves
(`explain`).  Maps of several stations add up.

Takes `Echoes` and a `ChannelMap` for each station.
Gives a `Fix`.
"""

import functools
import operator
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.checks import Refusal
from echoscape.estimation import AnyArray
from echoscape.localization.explain import (
    Choice,
    choose,
    make_view,
    position_information,
    value_gradient_curvature,
)
from echoscape.localization.fix import Fix
from echoscape.localization.grid import cell_features, find_peaks, lay_cells, score_cells
from echoscape.localization.grouping import (
    EchoModel,
    EchoSet,
    OneWayPaths,
    group_echoes,
)
from echoscape.localization.places import gather_places
from echoscape.reports import Echoes
from echoscape.units import SPEED_OF_LIGHT


class SearchSettings(pydantic.BaseModel):
    """How places are searched."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    cell: float = pydantic.Field(default=2.0, gt=0)
    """Side of the grid's cells [m]."""
    level: float = pydantic.Field(default=4.0, gt=0)
    """Distance between the grid's heights, when the height is searched too [m]."""
    reach: float = pydantic.Field(default=15.0, gt=0)
    """How far from the nearest report a target may be [m]."""
    starts: int = pydantic.Field(default=8, ge=1)
    """Peaks of the grid that are refined."""
    steps: int = pydantic.Field(default=5, ge=1)
    """Steps of each of the three rounds of a refinement."""
    candidates: int = pydantic.Field(default=16, ge=1)
    """Most paths of the map compared with the echoes at a place."""
    detection: float = pydantic.Field(default=0.9, gt=0, le=1)
    """Probability that an echo of two existing paths is heard."""
    false_share: float = pydantic.Field(default=0.1, ge=0, lt=1)
    """Expected share of false echoes."""
    use_power: bool = True
    """Whether the echoes' relative powers count; their fluctuation is learnt from the echoes."""
    ambiguous_below: float = pydantic.Field(default=0.9, gt=0, le=1)
    """A best place with less of the posterior than this is called ambiguous."""
    vague_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""
    chunk: int = pydantic.Field(default=32, ge=1)
    """Targets in memory at a time."""


def localize(
    echoes: Echoes,
    maps: ChannelMap | Mapping[str, ChannelMap],
    *,
    height: float | tuple[float, float] | None = None,
    settings: SearchSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fix:
    """Locate targets from their unordered echoes, association free.

    Implements Eq. (42) of [wu-ckm] with the measurement covariance added to the map's in (40),
    and a mixture over all pairs of paths in place of the known pairing.

    Args:
        echoes: Echoes of the targets; one set for each station that heard one.
        maps: The map, or one for each station by name.
        height: Height of the targets, or the range to search [m]; the reports' own by default.
        settings: How to search.
        progress: Called with targets done and all targets.

    Raises:
        Refusal: A station of the echoes has no map, or an option makes no sense.
    """
    settings = settings or SearchSettings()
    if isinstance(maps, ChannelMap):
        maps = {maps.station: maps}
    used = [name for k, name in enumerate(echoes.station) if np.any(echoes.station_index == k)]
    missing = [name for name in used if name not in maps]
    if missing:
        raise Refusal(
            f"the echoes are of station '{missing[0]}', but the map knows only "
            f"{', '.join(sorted(maps))}; fit a map from that station's reports"
        )
    station_maps = [maps[name] for name in used]
    if not station_maps:
        raise Refusal("there are no echoes to locate a target from; the set is empty")
    low, high = _height_range(station_maps, height)
    cells = lay_cells(station_maps, low, high, settings)
    features = [cell_features(station, cells) for station in station_maps]
    targets, sets = _sets_of_targets(echoes, used)
    model = EchoModel(
        jnp.asarray(settings.detection), jnp.asarray(settings.false_share + 1e-3),
        jnp.asarray(0.25), jnp.asarray(0.0),
    )  # fmt: skip
    powers = settings.use_power and bool(np.all(echoes.estimates.power[echoes.estimates.valid] > 0))
    grouped = [_group(each, model, settings.chunk) for each in sets]
    if powers:
        model = model._replace(
            log_power_std=jnp.asarray(_fluctuation(grouped)), power_counts=jnp.asarray(1.0)
        )
    search = _Search(settings, low < high, jnp.asarray(cells), jnp.asarray([low, high]))
    parts, count = [], len(targets)
    for first in range(0, count, settings.chunk):
        index = np.minimum(np.arange(first, first + settings.chunk), count - 1)
        take = lambda tree, index=index: jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), tree)  # noqa: E731
        part = _search_chunk(
            search, station_maps, features, [take(s) for s in sets], [take(g) for g in grouped],
            model,
        )  # fmt: skip
        kept = min(settings.chunk, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], part))
        if progress is not None:
            progress(first + kept, count)
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    support = np.min([m.support(found.place.reshape(-1, 3)) for m in station_maps], axis=0)
    return gather_places(
        targets, found, support.reshape(found.place.shape[:2]), low < high,
        reach=settings.reach, ambiguous_below=settings.ambiguous_below,
        vague_above=settings.vague_above,
    )  # fmt: skip


class Found(eqx.Module):
    """Where refinements ended, by target and start."""

    place: Float[AnyArray, "*batch 3"]
    """End point [m]."""
    value: Float[AnyArray, "*batch"]
    """Log-likelihood there."""
    information: Float[AnyArray, "*batch 3 3"]
    """Fisher information there [1/m^2]."""
    explained: Float[AnyArray, "*batch"]
    """Echoes that the map explains."""
    heard: Float[AnyArray, "*batch"]
    """Echoes heard."""


class _Search(eqx.Module):
    settings: SearchSettings = eqx.field(static=True)
    free_height: bool = eqx.field(static=True)
    cells: Float[Array, "cell 3"]
    heights: Float[Array, "2"]


def _height_range(maps, height) -> tuple[float, float]:
    if height is None:
        common = float(np.median(np.concatenate([m.report_position[:, 2] for m in maps])))
        return common, common
    low, high = (height, height) if np.ndim(height) == 0 else height
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise Refusal(f"a height range needs two ascending numbers in metres; got {height}")
    return float(low), float(high)


def _sets_of_targets(echoes: Echoes, stations: list[str]):
    """Line the targets up, with one set of echoes for each station, empty where it heard none."""
    targets = np.unique(echoes.target)
    # Padding to few lengths lets sets of different files share a compiled program.
    extra = -echoes.estimates.valid.shape[-1] % 16
    e = jax.tree.map(lambda leaf: np.pad(leaf, ((0, 0), (0, extra))), echoes.estimates)

    def std(value):
        return np.where(np.isfinite(value) & (value > 0), np.minimum(value, 2.5), 2.5)

    with np.errstate(divide="ignore"):
        log_power = np.where(e.power > 0, np.log(np.where(e.power > 0, e.power, 1.0)), 0.0)
    whole = EchoSet(
        e.departure_azimuth, e.departure_zenith, e.arrival_azimuth, e.arrival_zenith,
        SPEED_OF_LIGHT * e.delay, log_power,
        std(e.departure_azimuth_std), std(e.departure_zenith_std), std(e.arrival_azimuth_std),
        std(e.arrival_zenith_std),
        np.where(e.valid, SPEED_OF_LIGHT * np.where(e.valid, e.delay_std, 1.0), 1.0), e.valid,
    )  # fmt: skip
    sets = []
    for name in stations:
        mine = np.flatnonzero(echoes.station_index == echoes.station.index(name))
        row = np.zeros(len(targets), dtype=int)
        has = np.zeros(len(targets), dtype=bool)
        place = np.searchsorted(targets, echoes.target[mine])
        row[place], has[place] = mine, True
        one = EchoSet(*(np.asarray(leaf)[row] for leaf in whole))
        sets.append(one._replace(valid=one.valid & has[:, None]))
    return targets, sets


def _group(echo: EchoSet, model: EchoModel, chunk: int) -> OneWayPaths:
    count = len(echo.length)
    parts = []
    for first in range(0, count, chunk):
        index = np.minimum(np.arange(first, first + chunk), count - 1)
        some = EchoSet(*(jnp.asarray(leaf[index]) for leaf in echo))
        part = _group_many(some, model)
        kept = min(chunk, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@jax.jit
def _group_many(echo: EchoSet, model: EchoModel) -> OneWayPaths:
    return jax.vmap(group_echoes, in_axes=(0, None))(echo, model)


def _fluctuation(grouped: list[OneWayPaths]) -> float:
    """Learn how much echo powers fluctuate from how badly path gains add up to them."""
    scatter = np.concatenate([np.asarray(g.gain_scatter) for g in grouped])
    freedom = np.concatenate([np.asarray(g.gain_freedom) for g in grouped])
    enough = freedom >= 3
    if not np.any(enough):
        return 1.3  # nothing to learn from: 5.6 dB, a Swerling target
    return float(np.clip(np.sqrt(np.median(scatter[enough])), 0.1, 3.0))


@eqx.filter_jit
def _search_chunk(search: _Search, maps, features, echoes, grouped, model) -> Found:
    settings = search.settings
    # A place within a cell, and within a level where heights are searched.
    half = jnp.float32((settings.cell**2 + search.free_height * settings.level**2) / 8)
    slack = 3.0 * half
    apart = 2.25 * settings.cell

    def one_target(row):
        echo, paths = row
        scores = sum(score_cells(f, p, half) for f, p in zip(features, paths))
        starts = search.cells[find_peaks(scores, search.cells, settings.starts, apart)]
        refine = lambda start: _refine(search, maps, start, echo, paths, model, slack)  # noqa: E731
        return jax.vmap(refine)(starts)

    return jax.lax.map(one_target, (echoes, grouped), batch_size=4)


def _refine(search: _Search, maps, start, echoes, grouped, model, slack) -> Found:
    settings = search.settings
    views = [
        make_view(channel_map.around(start), start, echo, paths, model, settings.candidates, slack)
        for channel_map, echo, paths in zip(maps, echoes, grouped)
    ]
    # The first rounds allow for the grid's cell and learn the target's level; one body for all
    # rounds, and the start evaluated by the first step, keep the compiled program small.
    slacks = jnp.array([slack, slack, 0.0], start.dtype)
    count = views[0].slot.shape[0] + grouped[0].valid.shape[0]
    nothing = Choice(jnp.zeros(count, bool), jnp.full_like(start[0], jnp.nan))

    def round_(carry, slack):
        place, choices, _ = carry
        choices = [choose(view, place, c.level, slack) for view, c in zip(views, choices)]
        place, value = _climb(search, views, choices, place)
        return (place, choices, value), None

    carry = (start, [nothing] * len(views), jnp.full_like(start[0], -jnp.inf))
    (place, choices, value), _ = jax.lax.scan(round_, carry, slacks)
    parts = [position_information(view, choice, place) for view, choice in zip(views, choices)]
    information, explained, heard = (
        functools.reduce(operator.add, column) for column in zip(*parts)
    )
    return Found(place, value, information, explained, 1.0 * heard)


def _climb(search: _Search, views, choices, start):
    """Climb the log-likelihood by damped Gauss-Newton steps with the choices held."""
    move = jnp.array([1.0, 1.0, 1.0 if search.free_height else 0.0], start.dtype)

    def step(carry, _):
        place, value, gradient, curvature, damping = carry
        matrix = curvature * move[:, None] * move[None] + jnp.diag(1.0 - move + 1e-9)
        matrix = matrix + damping * jnp.diag(jnp.diagonal(matrix))
        delta = _solve(matrix, gradient * move)
        delta = delta * jnp.minimum(1.0, 5.0 / jnp.maximum(jnp.linalg.norm(delta), 1e-9))
        trial = place + delta
        trial = trial.at[2].set(jnp.clip(trial[2], search.heights[0], search.heights[1]))
        parts = [value_gradient_curvature(v, c, trial) for v, c in zip(views, choices)]
        new = tuple(sum(column) for column in zip(*parts))
        better = new[0] > value
        keep = lambda a, b: jnp.where(better, a, b)  # noqa: E731
        return (
            keep(trial, place), keep(new[0], value), keep(new[1], gradient),
            keep(new[2], curvature), keep(damping * 0.2, damping * 5.0),
        ), None  # fmt: skip

    carry = (
        start, jnp.full_like(start[0], -jnp.inf), jnp.zeros_like(start), jnp.eye(3),
        jnp.full_like(start[0], 5e-2),
    )  # fmt: skip
    place, value, *_ = jax.lax.scan(step, carry, None, search.settings.steps)[0]
    return place, value


def _solve(matrix, right):
    """Solve a positive definite system of three: minors are far faster than a batched solver."""
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    d, e, f = matrix[1, 1], matrix[1, 2], matrix[2, 2]
    minors = jnp.stack([
        jnp.stack([d * f - e * e, c * e - b * f, b * e - c * d]),
        jnp.stack([c * e - b * f, a * f - c * c, b * c - a * e]),
        jnp.stack([b * e - c * d, b * c - a * e, a * d - b * b]),
    ])  # fmt: skip
    determinant = a * minors[0, 0] + b * minors[0, 1] + c * minors[0, 2]
    return minors @ right / jnp.where(determinant > 0, determinant, jnp.inf)
