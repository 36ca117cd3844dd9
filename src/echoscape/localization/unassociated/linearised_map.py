"""A map linearised about one position: the paths that matter there, to first order.

A search queries a map at many positions and refines each.  Between two queries the map's
predictions are affine in position, so one compiled search serves every kind of map, and the map
itself is queried once a round instead of once a step.

Takes a `ChannelMap`, a position, and the one-way paths of a target.
Gives `LinearisedPaths`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.localization.unassociated.one_way_paths import OneWayPaths, wrap_angle

LEAST_PROBABILITY, LARGEST_PROBABILITY = 1e-7, 0.98
"""No path that a map predicts is taken as certain, nor as impossible."""
_UNSTATED_GAIN_STD = 3.0  # of a map that states no deviation of its log gains
_ZENITH_VARIANCE = 1e-6  # added to a map's: ground and targets are not level to a milliradian


class LinearisedPaths(NamedTuple):
    """Paths of a map near a position, azimuth and zenith in radians and lengths in metres."""

    position: Float[Array, "3"]
    """Where the map was queried [m]."""
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
    log_absent: Float[Array, ""]
    """Log-probability that all other slots of the map are absent."""
    leg: Int[Array, " slot"] | None = None
    """Of two stations' paths: 1 for those of the forward leg, 2 for those of the return leg."""

    def pick(self, index) -> "LinearisedPaths":
        """Take some slots."""
        return self._replace(**{name: leaf[index] for name, leaf in self.slots().items()})

    def join(self, more: "LinearisedPaths") -> "LinearisedPaths":
        """Append slots; the position and the absent slots' probability stay."""
        other = more.slots()
        both = {n: jnp.concatenate([leaf, other[n]]) for n, leaf in self.slots().items()}
        return self._replace(**both)

    def slots(self) -> dict[str, Array]:
        """Name what has an entry for each slot."""
        shared = ("position", "log_absent")
        return {n: v for n, v in self._asdict().items() if n not in shared and v is not None}


def linearise_map(
    channel_map: ChannelMap,
    position: Float[Array, "3"],
    observed: OneWayPaths,
    count: int,
    position_variance,
) -> LinearisedPaths:
    """Query a map at a position for the slots that match the observed paths best.

    Args:
        channel_map: Predicts paths.
        position: Where [m].
        observed: One-way paths of the target.
        count: Slots taken, the others being absent; filled up with absent ones.
        position_variance: Of the target about the position, in each coordinate [m^2].
    """
    near = channel_map.around(position)
    prior = near(position)
    floor = jnp.array([0.0, _ZENITH_VARIANCE, 0.0], position.dtype)
    variance = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1) + floor[None]
    length = prior.length
    subtended = position_variance / jnp.maximum(length, 1.0) ** 2
    square = (
        wrap_angle(prior.departure_azimuth[None] - observed.azimuth[:, None]) ** 2
        / ((variance[:, 0] + subtended)[None] + observed.azimuth_variance[:, None])
        + (prior.departure_zenith[None] - observed.zenith[:, None]) ** 2
        / ((variance[:, 1] + subtended)[None] + observed.zenith_variance[:, None])
        + (length[None] - observed.length[:, None]) ** 2
        / (variance[None, :, 2] + observed.length_variance[:, None] + position_variance)
    )
    match = jnp.max(jnp.where(observed.valid[:, None], -0.5 * square, -1e9), axis=0)
    probability = jnp.clip(prior.probability, LEAST_PROBABILITY, LARGEST_PROBABILITY)
    taken = min(count, probability.shape[0])
    _, slot = jax.lax.top_k(match + jnp.log(probability), taken)
    absent = jnp.log1p(-probability)

    def measurement(position):
        there = near(position)
        columns = [there.departure_azimuth, there.departure_zenith, there.length]
        return jnp.stack(columns, axis=-1)[slot].astype(position.dtype)

    gain_std = _UNSTATED_GAIN_STD if prior.log_power_std is None else prior.log_power_std[slot]
    found = LinearisedPaths(
        position=position,
        mean=measurement(position),
        slope=jax.jacfwd(measurement)(position),
        variance=variance[slot],
        log_odds=jnp.log(probability[slot]) - absent[slot],
        log_gain=jnp.log(jnp.maximum(prior.power[slot], 1e-30)),
        log_gain_variance=gain_std**2 * jnp.ones_like(probability[slot]),
        log_absent=jnp.sum(absent) - jnp.sum(absent[slot]),
    )
    return _pad(found, count - taken)


def _pad(found: LinearisedPaths, extra: int) -> LinearisedPaths:
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
def linearise_at_starts(
    channel_map: ChannelMap,
    position: Float[Array, "target start 3"],
    observed: OneWayPaths,
    count: int,
    position_variance: Float[Array, ""],
) -> LinearisedPaths:
    """Linearise a map about every start of every target; as `linearise_map`."""

    def one(where, paths):
        return linearise_map(channel_map, where, paths, count, position_variance)

    return jax.vmap(jax.vmap(one, in_axes=(0, None)))(position, observed)
