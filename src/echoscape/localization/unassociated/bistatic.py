"""Echoes of one station's pulse heard by another: the paths of two maps, paired.

No echo returns the way it came, so nothing averages into one-way paths.  Each echo tells a
direction at the sender, one at the listener, and the sum of two lengths; every path out of the
sender's map may go on along every path back of the listener's.

Takes two channel maps and an `EchoSet`.
Gives `NearbyPaths` for `explain`, and scores of cells for `grid`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.localization.unassociated.grid_features import CellFeatures
from echoscape.localization.unassociated.linearised_map import NearbyPaths, paths_near
from echoscape.localization.unassociated.one_way_paths import (
    EchoModel,
    EchoSet,
    OneWayPaths,
    log_clutter_density,
    wrap_angle,
)

_ANY_LENGTH = 1e8  # variance of a length that is not told [m^2]
_MOST = 10  # paths of each map that count in a cell


def _directions(echo: EchoSet, end: str) -> OneWayPaths:
    """Read the directions at one end as one-way paths of any length."""
    azimuth, zenith, wide, high = (
        getattr(echo, f"{end}_{name}")
        for name in ("azimuth", "zenith", "azimuth_std", "zenith_std")
    )
    zero = jnp.zeros_like(echo.length)
    return OneWayPaths(
        azimuth, zenith, 0.5 * echo.length, zero, wide**2, high**2, zero + _ANY_LENGTH,
        zero[0], zero[0], echo.valid,
    )  # fmt: skip


def join_ways(out: NearbyPaths, back: NearbyPaths) -> NearbyPaths:
    """Put the sender's paths before the listener's, each to be gone one way only."""
    way = jnp.concatenate([jnp.full(out.log_odds.shape, 1), jnp.full(back.log_odds.shape, 2)])
    return out.join(back)._replace(silent=out.silent + back.silent, way=way)


@eqx.filter_jit
def pairs_near_all(
    maps: tuple[ChannelMap, ChannelMap],
    place: Float[Array, "target start 3"],
    echo: EchoSet,
    keep: int,
    slack: Float[Array, ""],
) -> NearbyPaths:
    """Ask the sender's and the listener's map at every start of every target.

    Args:
        maps: The sender's, the listener's.
        place: Where [m].
        echo: Echoes by target.
        keep: Slots kept of each map, those whose directions match best.
        slack: Variance of the target about the place, in each coordinate [m^2].
    """

    def one(where, echo):
        ends = zip(maps, ("departure", "arrival"))
        return join_ways(
            *(paths_near(m, where, _directions(echo, end), keep, slack) for m, end in ends)
        )

    return jax.vmap(jax.vmap(one, in_axes=(0, None)))(place, echo)


def score_pairs(
    features: tuple[CellFeatures, CellFeatures], echo: EchoSet, model: EchoModel, slack
) -> Float[Array, " cell"]:
    """Score every cell: echoes are a Poisson process of pairs of the maps' likeliest paths there.

    Args:
        features: Of the sender's map, of the listener's.
        echo: Echoes of one target.
        model: Detection and clutter.
        slack: Variance of the target about each cell, in each coordinate [m^2].
    """
    out, back = (_likeliest(feature) for feature in features)
    clutter = log_clutter_density(echo, model).astype(jnp.float32)
    chance = [feature.odds / (1 + feature.odds) for feature in (out, back)]
    detection = model.detection.astype(jnp.float32)

    def direction(feature, azimuth, zenith, azimuth_std, zenith_std):
        turn = slack / jnp.maximum(feature.length, 1.0) ** 2
        u = feature.azimuth_variance + azimuth_std**2 + turn
        v = feature.zenith_variance + zenith_std**2 + turn
        square = wrap_angle(feature.azimuth - azimuth) ** 2 / u + (feature.zenith - zenith) ** 2 / v
        return jnp.exp(-0.5 * square) * jax.lax.rsqrt(u * v) / (2 * jnp.pi)

    def add(total, one: EchoSet):
        leave = chance[0] * direction(
            out, one.departure_azimuth, one.departure_zenith, one.departure_azimuth_std,
            one.departure_zenith_std,
        )  # fmt: skip
        arrive = chance[1] * direction(
            back, one.arrival_azimuth, one.arrival_zenith, one.arrival_azimuth_std,
            one.arrival_zenith_std,
        )  # fmt: skip
        w = out.length_variance[:, :, None] + back.length_variance[:, None]
        w = w + one.length_std**2 + slack
        miss = one.length - out.length[:, :, None] - back.length[:, None]
        late = jnp.exp(-0.5 * miss**2 / w) * jax.lax.rsqrt(2 * jnp.pi * w)
        heard = detection * jnp.einsum("ck,ckl,cl->c", leave, late, arrive)
        return total + jnp.where(one.valid, jnp.log1p(heard * jnp.exp(-clutter)), 0.0), None

    promised = detection * jnp.sum(chance[0], axis=1) * jnp.sum(chance[1], axis=1)
    start = jnp.where(jnp.any(echo.valid), -promised, 0.0)
    small = jax.tree.map(lambda leaf: leaf if leaf.dtype == bool else leaf.astype("f4"), echo)
    return jax.lax.scan(add, start, small)[0]


def _likeliest(feature: CellFeatures) -> CellFeatures:
    """Keep the likeliest slots of every cell."""
    _, slot = jax.lax.top_k(feature.odds, min(_MOST, feature.odds.shape[1]))
    return jax.tree.map(
        lambda leaf: leaf if leaf.ndim == 1 else jnp.take_along_axis(leaf, slot, axis=1), feature
    )
