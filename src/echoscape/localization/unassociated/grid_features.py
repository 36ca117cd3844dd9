"""What maps predict at many places, and how well that matches the paths heard there.

Takes channel maps, places, and `OneWayPaths`.
Gives `CellFeatures` and scores.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.localization.unassociated.one_way_paths import OneWayPaths, wrap_angle

UNKNOWN = 1e-3
"""Density of paths that a map does not know [1/rad^2/m]."""


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
def features_at(channel_map: ChannelMap, cells: Float[Array, "cell 3"]) -> CellFeatures:
    """Ask a map for its paths at some places."""

    def one(cell):
        prior = channel_map(cell)
        spread = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
        chance = jnp.clip(prior.probability, 1e-7, 0.98)
        small = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
        return CellFeatures(
            small(prior.departure_azimuth), small(prior.departure_zenith),
            small(prior.length), small(spread[:, 0]),
            small(spread[:, 1] + 1e-6), small(spread[:, 2]),
            small(chance / (1 - chance)), small(jnp.sum(jnp.log1p(-chance))),
        )  # fmt: skip

    return jax.vmap(one)(cells)


def cell_features(channel_map: ChannelMap, cells: np.ndarray, part: int = 4096) -> CellFeatures:
    """Ask a map for its paths at every cell, as many at a time as compile once."""
    count = len(cells)
    index = np.minimum(np.arange(-(-count // part) * part), count - 1).reshape(-1, part)
    parts = [features_at(channel_map, jnp.asarray(cells[rows])) for rows in index]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


def score_cells(feature: CellFeatures, paths: OneWayPaths, slack) -> Float[Array, " cell"]:
    """Score every cell: each path heard is one of the map's there, or one it does not know."""

    def one(azimuth, zenith, length, azimuth_variance, zenith_variance, length_variance, valid):
        turn = slack / jnp.maximum(feature.length, 1.0) ** 2
        u = feature.azimuth_variance + azimuth_variance + turn
        v = feature.zenith_variance + zenith_variance + turn
        w = feature.length_variance + length_variance + slack
        square = wrap_angle(feature.azimuth - azimuth) ** 2 / u
        square += (feature.zenith - zenith) ** 2 / v + (feature.length - length) ** 2 / w
        density = jnp.exp(-0.5 * square) * jax.lax.rsqrt(u * v * w) / (2 * jnp.pi) ** 1.5
        return jnp.where(valid, jnp.log(UNKNOWN + jnp.sum(feature.odds * density, -1)), 0.0)

    small = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
    columns = [small(leaf) for leaf in paths[:3]] + [small(leaf) for leaf in paths[4:7]]

    def add(total, row):
        return total + one(*row), None

    start = jnp.where(jnp.any(paths.valid), feature.silent, 0.0)
    total, _ = jax.lax.scan(add, start, (*columns, paths.valid))
    return total
