"""What maps predict at many positions, and how well that matches the paths observed there.

Takes channel maps, positions, and `OneWayPaths`.
Gives `CellFeatures` and scores.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.localization.unassociated.linearised_map import (
    LARGEST_PROBABILITY,
    LEAST_PROBABILITY,
)
from echoscape.localization.unassociated.one_way_paths import OneWayPaths, wrap_angle
from echoscape.localization.unassociated.one_way_shares import LOG_UNKNOWN_DENSITY

_AT_A_TIME = 4096  # cells: few sizes compile


class CellFeatures(eqx.Module):
    """What a map predicts at every cell, in single precision, likely paths first."""

    azimuth: Array
    zenith: Array
    length: Array
    azimuth_variance: Array
    zenith_variance: Array
    length_variance: Array
    odds: Array
    log_absent: Array

    def likeliest(self, count: int) -> "CellFeatures":
        """Keep the likeliest paths of every cell."""
        return jax.tree.map(lambda leaf: leaf if leaf.ndim == 1 else leaf[:, :count], self)


@eqx.filter_jit
def features_at(channel_map: ChannelMap, cells: Float[Array, "cell 3"]) -> CellFeatures:
    """Query a map for its paths at some positions."""

    def one(cell):
        prior = channel_map(cell)
        variance = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
        probability = jnp.clip(prior.probability, LEAST_PROBABILITY, LARGEST_PROBABILITY)
        order = jnp.argsort(-probability)
        variance, probability = variance[order], probability[order]
        single = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
        return CellFeatures(
            single(prior.departure_azimuth[order]), single(prior.departure_zenith[order]),
            single(prior.length[order]), single(variance[:, 0]),
            single(variance[:, 1] + 1e-6), single(variance[:, 2]),
            single(probability / (1 - probability)), single(jnp.sum(jnp.log1p(-probability))),
        )  # fmt: skip

    return jax.vmap(one)(cells)


def features_of_cells(channel_map: ChannelMap, cells: np.ndarray) -> CellFeatures:
    """Query a map for its paths at every cell, as many at a time as compile once."""
    count = len(cells)
    index = np.minimum(np.arange(-(-count // _AT_A_TIME) * _AT_A_TIME), count - 1)
    parts = [
        features_at(channel_map, jnp.asarray(cells[rows])) for rows in index.reshape(-1, _AT_A_TIME)
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


def score_cells(
    feature: CellFeatures, paths: OneWayPaths, position_variance
) -> Float[Array, " cell"]:
    """Score every cell: each observed path is one of the map's there, or one it does not know."""

    def one(azimuth, zenith, length, azimuth_variance, zenith_variance, length_variance, valid):
        subtended = position_variance / jnp.maximum(feature.length, 1.0) ** 2
        u = feature.azimuth_variance + azimuth_variance + subtended
        v = feature.zenith_variance + zenith_variance + subtended
        w = feature.length_variance + length_variance + position_variance
        square = wrap_angle(feature.azimuth - azimuth) ** 2 / u
        square += (feature.zenith - zenith) ** 2 / v + (feature.length - length) ** 2 / w
        density = jnp.exp(-0.5 * square) * jax.lax.rsqrt(u * v * w) / (2 * jnp.pi) ** 1.5
        mixture = jnp.exp(LOG_UNKNOWN_DENSITY) + jnp.sum(feature.odds * density, -1)
        return jnp.where(valid, jnp.log(mixture), 0.0)

    single = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
    columns = [single(leaf) for leaf in paths[:3]] + [single(leaf) for leaf in paths[4:7]]

    def add(total, row):
        return total + one(*row), None

    start = jnp.where(jnp.any(paths.valid), feature.log_absent, 0.0)
    total, _ = jax.lax.scan(add, start, (*columns, paths.valid))
    return total
