"""Locating targets whose echoes are known by pair of paths, with rank association stated.

The grid is scored by independent paths, cheap enough for every cell and every exchange of ranks;
its peaks are refined with all correlations kept and the map queried anew at every step, and the
posterior is integrated around the best two ends (`posterior_quadrature`).

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
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.localization.associated.one_way_likelihood import (
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
from echoscape.localization.associated.paired_likelihood import PairedEchoes
from echoscape.localization.associated.paired_search import PairedGrid, PairedSearch
from echoscape.localization.localizer import Batch, Chunk, Height, Starts
from echoscape.localization.unassociated.ascent import LocalMaxima, gauss_newton_ascent
from echoscape.localization.unassociated.grid import find_peaks
from echoscape.localization.unassociated.grid_features import (
    CellFeatures,
    features_of_cells,
    score_cells,
)
from echoscape.localization.unassociated.one_way_paths import OneWayPaths
from echoscape.localization.unassociated.posterior_quadrature import integrate_modes


class AssociatedByPath(PairedSearch):
    """Locate from echoes of known pairs of paths, each a path of the map by its rank or by match.

    Implements Eq. (42) of [wu-ckm] with the echoes' own errors added to the map's, the map's error
    of a path shared by all its echoes, and soft rank association.
    """

    name: ClassVar[str] = "by-path"

    rank_association: Ranks = "soft"
    """What the order of power implies: "hard", the order of the map's paths; "soft", that but for
    exchanges of neighbours, weighed by their gap of power; "none", nothing."""
    starts: Starts = 6
    refined: int = pydantic.Field(default=2, ge=1)
    """Best ends of the ascents that are refined again."""
    steps: int = pydantic.Field(default=12, ge=2)
    """Steps of each ascent."""
    candidates: int = pydantic.Field(default=12, ge=1)
    """Most paths of the map compared at a position without rank association."""
    chunk: Chunk = 200

    def prepare(
        self, maps: Mapping[str, ChannelMap], height: Height, measurements: PairedEchoes
    ) -> Any:
        """Query the map on a grid."""
        grid, paths = self.grid_of(maps, height), measurements.delay.shape[-1]
        return _Grid(
            grid, _near_all(grid.predictor, grid.cells, paths + 1),
            features_of_cells(grid.predictor, np.asarray(grid.cells)),
        )  # fmt: skip

    def batch(self, prepared: "_Grid", measurements: PairedEchoes) -> Batch:
        """Check the echoes and search with all that is prepared."""
        paths = prepared.near.mean.shape[1] - 1
        echoes = measurements.of_pairs(self.pairs, paths)
        deviations = echoes.deviations()
        grid, heights = prepared.grid, prepared.grid.heights
        width = self.candidates if self.rank_association == "none" else paths + 1
        numbers = (self.starts, self.refined, self.steps, width)

        def search(inputs) -> LocalMaxima:
            some, errors = inputs
            found = _search(
                grid.predictor, grid.cells, jnp.asarray(grid.valid), prepared.near,
                prepared.features, some, errors, jnp.asarray(heights), jnp.asarray(self.cell),
                self.rank_association, numbers,
            )  # fmt: skip

            def evaluate_points(rows, position, _):
                take = lambda leaf: np.asarray(leaf)[rows]  # noqa: E731
                echo, deviation = jax.tree.map(take, (some, errors))
                return _values(
                    grid.predictor, echo, deviation, self.rank_association, width,
                    jnp.asarray(position),
                )  # fmt: skip

            return integrate_modes(jax.tree.map(np.asarray, found), evaluate_points, heights)

        inputs = (echoes.without_deviations(), deviations)
        conclude = functools.partial(self.conclude, grid)
        return Batch(len(echoes.delay), inputs, search, conclude)


class _Grid(NamedTuple):
    """A map queried on a grid."""

    grid: PairedGrid
    near: NearPaths
    """The map's ranked paths at every cell."""
    features: CellFeatures
    """All paths of the map at every cell."""


@eqx.filter_jit
def _near_all(channel_map: ChannelMap, position: Float[Array, "cell 3"], count: int) -> NearPaths:
    return jax.vmap(lambda where: near_paths(channel_map, where, count))(position)


@eqx.filter_jit
def _search(
    channel_map, cells, valid, near, features, echoes: PairedEchoes, errors, heights, side,
    ranks: Ranks, numbers: tuple[int, int, int, int],
) -> LocalMaxima:  # fmt: skip
    starts, refined, steps, width = numbers
    zenith = echoes.departure_zenith is not None

    def one(row):
        echo, (angle_std, delay_std) = row
        target = one_way_target(echo, angle_std, delay_std)
        if ranks == "none":
            score = score_cells(features, _as_paths(target, zenith), (0.3 * side) ** 2)
        else:
            score = _ranked_scores(near, target, ranks, zenith, side)
        cell = find_peaks(jnp.where(valid, score, -jnp.inf), cells, starts, 1.5 * side)

        def at(position):
            return _evaluate(channel_map, target, position, ranks, zenith, width)

        def ascend(ends, number):
            # Every start once, then the best ends again: a valley may be long and flat.
            position, value, fresh = ends
            again = jnp.argmax(jnp.where(fresh, value, -jnp.inf))
            slot = jnp.where(number < starts, number, again)

            # The map's variances change with position: their slope is part of the gradient.
            def objective(position):
                (value, (curvature, _)), gradient = jax.value_and_grad(at, has_aux=True)(position)
                return value, gradient, curvature

            end, top, _ = gauss_newton_ascent(
                objective, position[slot], heights, steps, secant=True
            )
            fresh = fresh.at[slot].set(number < starts)
            return (position.at[slot].set(end), value.at[slot].set(top), fresh), None

        start = cells[cell]
        ends = (start, jnp.full_like(start[:, 0], -jnp.inf), jnp.ones(len(start), bool))
        rounds = jnp.arange(starts + min(refined, starts))
        (position, value, _), _ = jax.lax.scan(ascend, ends, rounds)
        information, known = jax.lax.map(lambda x: at(x)[1], position)
        detected = jnp.broadcast_to(1.0 * jnp.sum(target.detected), value.shape)
        unknown = jnp.full((*value.shape, 1), jnp.nan)
        once = jnp.ones_like(value)
        return LocalMaxima(position, value, information, 1.0 * known, detected, unknown, once)

    return jax.lax.map(one, (echoes, errors), batch_size=16)


@eqx.filter_jit
def _values(
    channel_map, echoes: PairedEchoes, errors, ranks: Ranks, width: int,
    position: Float[Array, "target point 3"],
) -> Float[Array, "target point"]:  # fmt: skip
    """Evaluate positions of each target."""
    zenith = echoes.departure_zenith is not None

    def one(row):
        echo, (angle_std, delay_std), positions = row
        target = one_way_target(echo, angle_std, delay_std)
        at = lambda where: _evaluate(channel_map, target, where, ranks, zenith, width)[0]  # noqa: E731
        return jax.vmap(at)(positions)

    return jax.lax.map(one, (echoes, errors, position), batch_size=16)


def _evaluate(channel_map, target: OneWayTarget, position, ranks: Ranks, zenith: bool, width: int):
    """Query the map at a position: log-likelihood, and curvature with how many paths are known."""
    near = near_paths(channel_map, position, width)
    value, _, curvature, known = evaluate(near, target, position, ranks, zenith)
    return value, (curvature, known)


def _ranked_scores(near: NearPaths, target: OneWayTarget, ranks: Ranks, zenith: bool, side):
    """Score every cell by its best order of the map's paths, each path by itself."""
    paths = target.detected.shape[0]
    orders = exchanges(paths) if ranks == "soft" else np.arange(paths)[None]
    # A cell stands for all positions in it: a length may be off by some of its side.
    added = (0.3 * side) ** 2 * jnp.eye(paths)
    wide = target._replace(length_covariance=target.length_covariance + added)

    def one(near):
        match = match_matrix(near, wide, zenith, near.position)
        prior = exchange_log_prior(near, orders) if ranks == "soft" else jnp.zeros(1)
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
        length_covariance=target.length_covariance,
        log_gain_variance=unknown + 1.0,
        log_gain_residual=jnp.zeros(()),
        degrees_of_freedom=jnp.zeros(()),
        valid=target.detected,
    )
