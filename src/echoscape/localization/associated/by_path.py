"""Locating targets whose echoes are known by pair, with what is known of ranks stated.

The grid is scored by independent paths, cheap enough for every cell and every exchange of ranks;
its peaks are climbed from with all correlations kept and the map asked anew at every step, and
the posterior is weighed around the best two ends (`spread`).

Takes `PairedEchoes` and a `ChannelMap`.
Gives a `Fix`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.channel_map.station_reports import distance_to_nearest
from echoscape.checks import InputError
from echoscape.localization.associated.by_path_likelihood import (
    NearPaths,
    OneWayTarget,
    Ranks,
    evaluate,
    exchange_log_prior,
    exchanges,
    match_matrix,
    near_paths,
    one_way_target,
)
from echoscape.localization.associated.by_rank import Pairs
from echoscape.localization.associated.by_rank_likelihood import PairedEchoes
from echoscape.localization.fix import Fix
from echoscape.localization.posterior_modes import gather_places
from echoscape.localization.unassociated.ascent import Found, climb_steps
from echoscape.localization.unassociated.grid import find_peaks, lay_cells
from echoscape.localization.unassociated.grid_features import (
    CellFeatures,
    cell_features,
    score_cells,
)
from echoscape.localization.unassociated.method import height_range
from echoscape.localization.unassociated.one_way_paths import OneWayPaths
from echoscape.localization.unassociated.posterior_quadrature import weigh_ends

_ROUND = 1024  # cells


class OneWaySettings(pydantic.BaseModel):
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
    starts: int = pydantic.Field(default=6, ge=1)
    """Peaks of the grid that are climbed from."""
    steps: int = pydantic.Field(default=12, ge=2)
    """Steps of each climb."""
    kept: int = pydantic.Field(default=2, ge=1)
    """Best ends of the climbs that are climbed from again."""
    candidates: int = pydantic.Field(default=12, ge=1)
    """Most paths of the map compared at a place, where ranks say nothing."""
    chunk: int = pydantic.Field(default=200, ge=1)
    """Targets in memory at a time."""
    ambiguous_below: float = pydantic.Field(default=0.9, gt=0, le=1)
    """A best place with less of the posterior than this is called ambiguous."""
    vague_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""


class OneWaySearch(eqx.Module):
    """A map's grid, made once and used for any number of targets and any errors."""

    channel_map: ChannelMap
    """Predicts paths."""
    report_position: Float[np.ndarray, "report 3"]
    """Where the map's reports were [m]."""
    cells: Float[Array, "cell 3"]
    """Centres of the grid's cells, the last repeated to a round number of them [m]."""
    near: NearPaths
    """The map's ranked paths at every cell."""
    features: CellFeatures
    """All paths of the map at every cell."""
    paths: int = eqx.field(static=True)
    """How many of the strongest paths echo."""
    heights: tuple[float, float] = eqx.field(static=True)
    """Lowest and highest z [m]."""
    settings: OneWaySettings = eqx.field(static=True)


def prepare_one_way(
    channel_map: ChannelMap,
    *,
    paths: int,
    height: float | tuple[float, float] | None = None,
    settings: OneWaySettings | None = None,
) -> OneWaySearch:
    """Lay a grid over a map.

    Args:
        channel_map: Predicts paths.
        paths: How many of the strongest paths echo.
        height: Height of the targets, or the range to search [m]; the reports' own by default.
        settings: How to search.
    """
    settings = settings or OneWaySettings()
    low, high = height_range([channel_map], height)
    cells = np.asarray(lay_cells([channel_map], low, high, settings).place)
    predictor = channel_map.predictor()
    # Grids of much the same size share one compiled program.
    full = np.minimum(np.arange(-(-len(cells) // _ROUND) * _ROUND), len(cells) - 1)
    cells = jnp.asarray(cells[full])
    features = cell_features(predictor, np.asarray(cells))
    near = _near_all(predictor, cells, paths + 1)
    support = np.asarray(channel_map.report_position)
    return OneWaySearch(predictor, support, cells, near, features, paths, (low, high), settings)


def localize_one_way(
    echoes: PairedEchoes,
    search: OneWaySearch,
    *,
    angle_std: float,
    delay_std: float,
    ranks: Ranks = "doubted",
    pairs: Pairs = "all",
) -> Fix:
    """Locate targets whose echoes are known by pair of paths.

    Implements Eq. (42) of [wu-ckm] with the echoes' own errors added to the map's, the map's error
    of a path shared by all its echoes, and doubt about ranks.

    Args:
        echoes: One set of echoes for each target, paths in falling power where ranks count.
        search: The map's grid.
        angle_std: Deviation of every angle of an echo [rad].
        delay_std: Deviation of every delay of an echo [s].
        ranks: What the order of power says of which path is which.
        pairs: "all" ordered pairs of paths, Eq. (6) of [wu-ckm], or the "reciprocal" ones, (5).

    Raises:
        InputError: There is no target, a deviation is not above zero, or the echoes pair another
            number of paths than the search was prepared for.
    """
    for name, unit, value in (("angle_std", "rad", angle_std), ("delay_std", "s", delay_std)):
        if not 0 < value < np.inf:
            raise InputError(
                f"the likelihood needs the echoes' own errors: {name} must be finite and above "
                f"zero, in {unit}; got {value}"
            )
    settings, count = search.settings, len(echoes.delay)
    if count == 0:
        raise InputError("there are no echoes to locate a target from; the set is empty")
    have, need = search.paths, echoes.delay.shape[-1]
    if need != have:
        raise InputError(
            f"the echoes pair {need} paths, but the search was prepared for {have}; "
            f"prepare it with paths={need}"
        )
    if pairs == "reciprocal":
        valid = echoes.valid & np.eye(need, dtype=bool)
        echoes = eqx.tree_at(lambda e: e.valid, echoes, valid)
    errors = jnp.asarray(angle_std, float), jnp.asarray(delay_std, float)
    compiled = eqx.tree_at(lambda s: s.report_position, search, search.report_position[:1])
    heights = jnp.asarray(search.heights, search.cells.dtype)
    chunk, parts = min(settings.chunk, 1 << (count - 1).bit_length()), []
    for first in range(0, count, chunk):
        index = np.minimum(np.arange(first, first + chunk), count - 1)
        some = jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf[index]), echoes)
        part = weigh_ends(
            _search(compiled, some, *errors, ranks),
            lambda place, _, some=some: _weigh(compiled, some, *errors, ranks, place), heights,
        )  # fmt: skip
        kept = min(chunk, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], part))
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    support = distance_to_nearest(found.place.reshape(-1, 3), search.report_position)
    return gather_places(
        np.arange(count), found, support.reshape(found.place.shape[:2]),
        search.heights[0] < search.heights[1], reach=settings.reach,
        ambiguous_below=settings.ambiguous_below, vague_above=settings.vague_above,
    )  # fmt: skip


@eqx.filter_jit
def _near_all(channel_map: ChannelMap, place: Float[Array, "place 3"], count: int) -> NearPaths:
    return jax.vmap(lambda where: near_paths(channel_map, where, count))(place)


@eqx.filter_jit
def _search(search: OneWaySearch, echoes: PairedEchoes, angle_std, delay_std, ranks) -> Found:
    settings = search.settings
    zenith = echoes.departure_zenith is not None
    heights = jnp.asarray(search.heights, search.cells.dtype)

    def one(echo):
        target = one_way_target(echo, angle_std, delay_std)
        if ranks == "ignored":
            heard = _as_paths(target, zenith)
            score = score_cells(search.features, heard, (0.3 * settings.cell) ** 2)
        else:
            score = _ranked_scores(search.near, target, ranks, zenith, settings.cell)
        cell = find_peaks(score, search.cells, settings.starts, 1.5 * settings.cell)

        def at(place):
            return _evaluate(search, target, place, ranks, zenith)

        def climb(ends, number):
            # Every start once, then the best ends again: a valley may be long and flat.
            place, value, fresh = ends
            again = jnp.argmax(jnp.where(fresh, value, -jnp.inf))
            slot = jnp.where(number < settings.starts, number, again)

            # The map's variances change from place to place: their slope is part of the gradient.
            def step(place):
                (value, (curvature, _)), gradient = jax.value_and_grad(at, has_aux=True)(place)
                return value, gradient, curvature

            end, top, _ = climb_steps(step, place[slot], heights, settings.steps, secant=True)
            fresh = fresh.at[slot].set(number < settings.starts)
            return (place.at[slot].set(end), value.at[slot].set(top), fresh), None

        start = search.cells[cell]
        ends = (start, jnp.full_like(start[:, 0], -jnp.inf), jnp.ones(len(start), bool))
        rounds = jnp.arange(settings.starts + min(settings.kept, settings.starts))
        (place, value, _), _ = jax.lax.scan(climb, ends, rounds)
        information, known = jax.lax.map(lambda x: at(x)[1], place)
        heard = jnp.broadcast_to(1.0 * jnp.sum(target.heard), value.shape)
        level = jnp.full((*value.shape, 1), jnp.nan)
        return Found(place, value, information, 1.0 * known, heard, level)

    return jax.lax.map(one, echoes, batch_size=16)


@eqx.filter_jit
def _weigh(
    search: OneWaySearch, echoes: PairedEchoes, angle_std, delay_std, ranks,
    place: Float[Array, "target point 3"],
) -> Float[Array, "target point"]:  # fmt: skip
    """Evaluate places of each target."""
    zenith = echoes.departure_zenith is not None

    def one(given):
        echo, places = given
        target = one_way_target(echo, angle_std, delay_std)
        return jax.vmap(lambda at: _evaluate(search, target, at, ranks, zenith)[0])(places)

    return jax.lax.map(one, (echoes, place), batch_size=16)


def _evaluate(search: OneWaySearch, target: OneWayTarget, place, ranks: Ranks, zenith: bool):
    """Ask the map at a place: log-likelihood, and curvature with how many paths are known."""
    width = search.settings.candidates if ranks == "ignored" else search.paths + 1
    near = near_paths(search.channel_map, place, width)
    value, _, curvature, known = evaluate(near, target, place, ranks, zenith)
    return value, (curvature, known)


def _ranked_scores(near: NearPaths, target: OneWayTarget, ranks: Ranks, zenith: bool, cell: float):
    """Score every cell by its best order of the map's paths, each path by itself."""
    paths = target.heard.shape[0]
    orders = exchanges(paths) if ranks == "doubted" else np.arange(paths)[None]
    # A cell stands for all places in it, so a length may be off by some of its side.
    slack = (0.3 * cell) ** 2 * jnp.eye(paths)
    wide = target._replace(length_covariance=target.length_covariance + slack)

    def one(near):
        match = match_matrix(near, wide, zenith, near.place)
        prior = exchange_log_prior(near, orders) if ranks == "doubted" else jnp.zeros(1)
        return jnp.max(match[np.arange(paths)[None], orders].sum(1) + prior)

    return jax.vmap(one)(near)


def _as_paths(target: OneWayTarget, zenith: bool) -> OneWayPaths:
    unknown = jnp.zeros_like(target.angle_variance)
    return OneWayPaths(
        azimuth=target.mean[:, 0],
        zenith=target.mean[:, 1],
        length=target.mean[:, 2],
        log_gain=unknown,
        azimuth_variance=target.angle_variance,
        zenith_variance=target.angle_variance if zenith else unknown + 1e2,
        length_variance=jnp.diagonal(target.length_covariance),
        gain_scatter=jnp.zeros(()),
        gain_freedom=jnp.zeros(()),
        valid=target.heard,
    )
