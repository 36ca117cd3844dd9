"""A map near one place as plain numbers: the paths that matter there, to first order.

Searches ask a map at many places and climb from each.  Between two looks at the map its
predictions are straight lines in position, so one compiled search serves every kind of map, and
the map itself is asked once a round instead of once a step.

Takes a `ChannelMap`, a place, and the one-way paths of a target.
Gives `NearbyPaths`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.localization.unassociated.one_way_paths import OneWayPaths, wrap_angle

LEAST_CHANCE, MOST_CHANCE = 1e-7, 0.98
"""Nothing that a map says of a path's presence is taken as certain."""
_UNKNOWN_GAIN_STD = 3.0  # of a map that states none


class NearbyPaths(NamedTuple):
    """Paths of a map near a place, azimuth and zenith in radians and lengths in metres."""

    place: Float[Array, "3"]
    """Where the map was asked [m]."""
    mean: Float[Array, "slot 3"]
    """Azimuth, zenith and length there."""
    slope: Float[Array, "slot 3 3"]
    """Their derivative in position."""
    variance: Float[Array, "slot 3"]
    """Variance of each."""
    log_odds: Float[Array, " slot"]
    """Of being present."""
    log_gain: Float[Array, " slot"]
    """Natural logarithm of the power gain."""
    log_gain_variance: Float[Array, " slot"]
    """Its variance."""
    silent: Float[Array, ""]
    """Log-probability that all other slots of the map are absent."""
    way: Int[Array, " slot"] | None = None
    """Of two stations' paths: 1 where only ways out go, 2 where only ways back; None if any may."""

    def pick(self, index) -> "NearbyPaths":
        """Take some slots."""
        return self._replace(**{name: leaf[index] for name, leaf in self.slots().items()})

    def join(self, more: "NearbyPaths") -> "NearbyPaths":
        """Put slots behind one another; place and silence stay."""
        other = more.slots()
        both = {n: jnp.concatenate([leaf, other[n]]) for n, leaf in self.slots().items()}
        return self._replace(**both)

    def slots(self) -> dict[str, Array]:
        """Name what has an entry for each slot."""
        shared = ("place", "silent")
        return {n: v for n, v in self._asdict().items() if n not in shared and v is not None}


def paths_near(
    channel_map: ChannelMap,
    place: Float[Array, "3"],
    heard: OneWayPaths,
    keep: int,
    slack,
) -> NearbyPaths:
    """Ask a map at a place for the slots that match the paths heard best.

    Args:
        channel_map: Predicts paths.
        place: Where [m].
        heard: One-way paths of the target.
        keep: Slots kept, the rest being silent; padded with absent ones.
        slack: Variance of the target about the place, in each coordinate [m^2].
    """
    near = channel_map.around(place)
    prior = near(place)
    spread = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
    length = prior.length
    turn = slack / jnp.maximum(length, 1.0) ** 2
    square = (
        wrap_angle(prior.departure_azimuth[None] - heard.azimuth[:, None]) ** 2
        / ((spread[:, 0] + turn)[None] + heard.azimuth_variance[:, None])
        + (prior.departure_zenith[None] - heard.zenith[:, None]) ** 2
        / ((spread[:, 1] + turn)[None] + heard.zenith_variance[:, None] + 1e-6)
        + (length[None] - heard.length[:, None]) ** 2
        / (spread[None, :, 2] + heard.length_variance[:, None] + slack)
    )
    match = jnp.max(jnp.where(heard.valid[:, None], -0.5 * square, -1e9), axis=0)
    chance = jnp.clip(prior.probability, LEAST_CHANCE, MOST_CHANCE)
    count = min(keep, chance.shape[0])
    _, slot = jax.lax.top_k(match + jnp.log(chance), count)
    silent = jnp.sum(jnp.log1p(-chance)) - jnp.sum(jnp.log1p(-chance[slot]))

    def measurement(position):
        there = near(position)
        columns = [there.departure_azimuth, there.departure_zenith, there.length]
        return jnp.stack(columns, axis=-1)[slot].astype(place.dtype)

    gain_std = _UNKNOWN_GAIN_STD if prior.log_power_std is None else prior.log_power_std[slot]
    floor = jnp.array([0.0, 1e-6, 0.0], place.dtype)
    found = NearbyPaths(
        place=place,
        mean=measurement(place),
        slope=jax.jacfwd(measurement)(place),
        variance=spread[slot] + floor[None],
        log_odds=jnp.log(chance[slot]) - jnp.log1p(-chance[slot]),
        log_gain=jnp.log(jnp.maximum(prior.power[slot], 1e-30)),
        log_gain_variance=gain_std**2 * jnp.ones_like(chance[slot]),
        silent=silent,
    )
    return _pad(found, keep - count)


def _pad(found: NearbyPaths, extra: int) -> NearbyPaths:
    """Add slots that are absent, so that every map has as many."""
    if extra == 0:
        return found

    def widen(leaf, value):
        width = [(0, extra)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, width, constant_values=value)

    absent = {"variance": 1.0, "log_odds": -1e3, "log_gain_variance": 1.0}
    wider = {n: widen(leaf, absent.get(n, 0.0)) for n, leaf in found.slots().items()}
    return found._replace(**wider)


@eqx.filter_jit
def paths_near_all(
    channel_map: ChannelMap,
    place: Float[Array, "target start 3"],
    heard: OneWayPaths,
    keep: int,
    slack: Float[Array, ""],
) -> NearbyPaths:
    """Ask a map at every start of every target; as `paths_near`."""

    def one(where, paths):
        return paths_near(channel_map, where, paths, keep, slack)

    return jax.vmap(jax.vmap(one, in_axes=(0, None)))(place, heard)
