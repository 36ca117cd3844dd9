"""Bistatic echoes, of one station's pulse received by another: the paths of two maps, paired.

No echo returns along the path it came by, so nothing averages into one-way paths.  Each echo has a
direction at the transmitter, one at the receiver, and the sum of two lengths; every forward leg of
the transmitter's map may be continued by every return leg of the receiver's.

Takes two channel maps and an `EchoSet`.
Gives `LinearisedPaths` for `pair_likelihood`, and scores of cells for `grid`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.localization.unassociated.grid_features import CellFeatures
from echoscape.localization.unassociated.linearised_map import LinearisedPaths, linearise_map
from echoscape.localization.unassociated.one_way_paths import (
    EchoModel,
    EchoSet,
    OneWayPaths,
    log_clutter_density,
    wrap_angle,
)

_ANY_LENGTH = 1e8  # variance of a length that was not measured [m^2]
_MOST = 10  # paths of each map that count in a cell


def _directions(echo: EchoSet, end: str) -> OneWayPaths:
    """Read the directions at one end as one-way paths of any length."""
    azimuth, zenith, azimuth_std, zenith_std = (
        getattr(echo, f"{end}_{name}")
        for name in ("azimuth", "zenith", "azimuth_std", "zenith_std")
    )
    zero = jnp.zeros_like(echo.length)
    return OneWayPaths(
        azimuth, zenith, 0.5 * echo.length, zero, azimuth_std**2, zenith_std**2,
        zero + _ANY_LENGTH, jnp.outer(zero, zero), zero, zero[0], zero[0], echo.valid,
    )  # fmt: skip


def join_legs(out: LinearisedPaths, back: LinearisedPaths) -> LinearisedPaths:
    """Put the transmitter's paths before the receiver's, each of one leg only."""
    leg = jnp.concatenate([jnp.full(out.log_odds.shape, 1), jnp.full(back.log_odds.shape, 2)])
    return out.join(back)._replace(log_absent=out.log_absent + back.log_absent, leg=leg)


def linearise_pair(
    maps: tuple[ChannelMap, ChannelMap],
    position: Float[Array, "3"],
    echo: EchoSet,
    count: int,
    position_variance,
) -> LinearisedPaths:
    """Linearise the transmitter's and the receiver's map about a position.

    Args:
        maps: The transmitter's, the receiver's.
        position: Where [m].
        echo: Echoes of the target.
        count: Slots taken of each map, those whose directions match best.
        position_variance: Of the target about the position, in each coordinate [m^2].
    """
    forward, backward = (
        linearise_map(m, position, _directions(echo, end), count, position_variance)
        for m, end in zip(maps, ("departure", "arrival"))
    )
    return join_legs(forward, backward)


@eqx.filter_jit
def linearise_pair_at_starts(
    maps: tuple[ChannelMap, ChannelMap],
    position: Float[Array, "target start 3"],
    echo: EchoSet,
    count: int,
    position_variance: Float[Array, ""],
) -> LinearisedPaths:
    """Linearise both maps about every start of every target; as `linearise_pair`."""

    def one(where, echo):
        return linearise_pair(maps, where, echo, count, position_variance)

    return jax.vmap(jax.vmap(one, in_axes=(0, None)))(position, echo)


def score_pairs(
    features: tuple[CellFeatures, CellFeatures], echo: EchoSet, model: EchoModel, position_variance
) -> Float[Array, " cell"]:
    """Score every cell: echoes are a Poisson process of pairs of the maps' likeliest paths there.

    Args:
        features: Of the transmitter's map, of the receiver's.
        echo: Echoes of one target.
        model: Detection and clutter.
        position_variance: Of the target about each cell, in each coordinate [m^2].
    """
    out, back = (feature.likeliest(_MOST) for feature in features)
    clutter = log_clutter_density(echo, model).astype(jnp.float32)
    probability = [feature.odds / (1 + feature.odds) for feature in (out, back)]
    detection = model.detection.astype(jnp.float32)

    def direction(feature, azimuth, zenith, azimuth_std, zenith_std):
        subtended = position_variance / jnp.maximum(feature.length, 1.0) ** 2
        u = feature.azimuth_variance + azimuth_std**2 + subtended
        v = feature.zenith_variance + zenith_std**2 + subtended
        square = wrap_angle(feature.azimuth - azimuth) ** 2 / u + (feature.zenith - zenith) ** 2 / v
        return jnp.exp(-0.5 * square) * jax.lax.rsqrt(u * v) / (2 * jnp.pi)

    def add(total, one: EchoSet):
        forward = probability[0] * direction(
            out, one.departure_azimuth, one.departure_zenith, one.departure_azimuth_std,
            one.departure_zenith_std,
        )  # fmt: skip
        backward = probability[1] * direction(
            back, one.arrival_azimuth, one.arrival_zenith, one.arrival_azimuth_std,
            one.arrival_zenith_std,
        )  # fmt: skip
        w = out.length_variance[:, :, None] + back.length_variance[:, None]
        w = w + one.length_std**2 + position_variance
        residual = one.length - out.length[:, :, None] - back.length[:, None]
        length = jnp.exp(-0.5 * residual**2 / w) * jax.lax.rsqrt(2 * jnp.pi * w)
        received = detection * jnp.einsum("ck,ckl,cl->c", forward, length, backward)
        return total + jnp.where(one.valid, jnp.log1p(received * jnp.exp(-clutter)), 0.0), None

    expected = detection * jnp.sum(probability[0], axis=1) * jnp.sum(probability[1], axis=1)
    start = jnp.where(jnp.any(echo.valid), -expected, 0.0)
    small = jax.tree.map(lambda leaf: leaf if leaf.dtype == bool else leaf.astype("f4"), echo)
    return jax.lax.scan(add, start, small)[0]
