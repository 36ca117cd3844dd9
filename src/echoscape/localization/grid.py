"""A grid over all places that a map knows, scored by how well its paths match a target's.

Every path heard is one of the map's at the place, with its presence, or one that the map does not
know (a multi-Bernoulli likelihood of the one-way paths): cheap enough for every cell.

Takes channel maps and `OneWayPaths`.
Gives cells, their scores, and the peaks among them.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.checks import Refusal
from echoscape.estimation import AnyArray
from echoscape.localization.grouping import OneWayPaths, wrap_angle
from echoscape.units import SPEED_OF_LIGHT

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
        raise Refusal(
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


class CellFeatures(eqx.Module):
    """What a map predicts at every cell, in single precision."""

    azimuth: Array
    zenith: Array
    length: Array
    azimuth_variance: Array
    zenith_variance: Array
    length_variance: Array
    odds: Array
    silent: Array


@eqx.filter_jit
def _features_at(channel_map: ChannelMap, cells) -> CellFeatures:
    def one(cell):
        prior = channel_map(cell)
        spread = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
        chance = jnp.clip(prior.probability, 1e-7, 0.98)
        small = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
        return CellFeatures(
            small(prior.departure_azimuth), small(prior.departure_zenith),
            small(SPEED_OF_LIGHT * prior.delay), small(spread[:, 0]),
            small(spread[:, 1] + 1e-6), small(SPEED_OF_LIGHT**2 * spread[:, 2]),
            small(chance / (1 - chance)), small(jnp.sum(jnp.log1p(-chance))),
        )  # fmt: skip

    return jax.vmap(one)(cells)


def cell_features(channel_map: ChannelMap, cells: np.ndarray, part: int = 4096) -> CellFeatures:
    """Ask a map for its paths at every cell, as many at a time as compile once."""
    count = len(cells)
    index = np.minimum(np.arange(-(-count // part) * part), count - 1).reshape(-1, part)
    parts = [_features_at(channel_map, jnp.asarray(cells[rows])) for rows in index]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


def score_cells(feature: CellFeatures, paths: OneWayPaths, slack) -> Float[Array, " cell"]:
    """Score every cell: each path heard is one of the map's there, or one it does not know."""
    unknown = 1e-3  # per rad^2 and metre

    def one(azimuth, zenith, length, azimuth_variance, zenith_variance, length_variance, valid):
        turn = slack / jnp.maximum(feature.length, 1.0) ** 2
        u = feature.azimuth_variance + azimuth_variance + turn
        v = feature.zenith_variance + zenith_variance + turn
        w = feature.length_variance + length_variance + slack
        square = wrap_angle(feature.azimuth - azimuth) ** 2 / u
        square += (feature.zenith - zenith) ** 2 / v + (feature.length - length) ** 2 / w
        density = jnp.exp(-0.5 * square) * jax.lax.rsqrt(u * v * w) / (2 * jnp.pi) ** 1.5
        return jnp.where(valid, jnp.log(unknown + jnp.sum(feature.odds * density, -1)), 0.0)

    small = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
    columns = [small(leaf) for leaf in paths[:3]] + [small(leaf) for leaf in paths[4:7]]

    def add(total, row):
        return total + one(*row), None

    start = jnp.where(jnp.any(paths.valid), feature.silent, 0.0)
    total, _ = jax.lax.scan(add, start, (*columns, paths.valid))
    return total


def find_peaks(scores, cells, count, apart):
    """Take the best cell, then the best farther than `apart` from it, and so on."""

    def step(scores, _):
        best = jnp.argmax(scores)
        far = jnp.sum((cells - cells[best][None]) ** 2, axis=-1) > apart**2
        return jnp.where(far, scores, -jnp.inf), best

    return jax.lax.scan(step, scores, None, count)[1]


@functools.partial(jax.jit, static_argnames="count")
def grid_peaks(
    features: list[CellFeatures],
    heard: list[OneWayPaths],
    cells: Cells,
    slack: Float[Array, ""],
    apart: float | Float[Array, ""],
    *,
    count: int,
) -> Int[Array, "target start"]:
    """Find the peaks of the stations' summed scores, for each target.

    One cell of every block is scored with room for the whole block; then all of the best blocks.
    """
    blocks = min(_BLOCKS, cells.block.shape[0])
    coarse = _take(features, cells.block[:, 0])

    def one(paths):
        def score(features, slack):
            return sum(score_cells(f, p, slack) for f, p in zip(features, paths))

        _, best = jax.lax.top_k(score(coarse, 4.0 * slack), blocks)
        # A cell that a block repeats is a peak once: the next is taken at a distance.
        fine = cells.block[best].ravel()
        peaks = find_peaks(score(_take(features, fine), slack), cells.place[fine], count, apart)
        return fine[peaks]

    return jax.lax.map(one, heard)


def _take(features, index):
    return jax.tree.map(lambda leaf: leaf[index], features)
