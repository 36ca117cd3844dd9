"""The learned map: a small fully connected network from place to the strongest paths.

The network of [wu-ckm], 128-256-128 with LeakyReLU, predicts path slots.  In falling power, as
the paper has them, means jump and labels change wherever two paths exchange rank; slots without
an order (see `losses`) stay with their path.

Azimuth is predicted as a direction (east, north), continuous all round the station; the planar
form is the paper's square, where angles do not wrap, with four numbers a slot.

Takes a position.
Gives a `PathPrior`.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.storage import storable
from echoscape.estimation import AnyArray
from echoscape.units import length_of, wrap_angle

SPREADS = ("azimuth_spread", "zenith_spread", "delay_spread")
HEADS = ("east", "north", "zenith", "delay", *SPREADS, "log_power", "presence")
LIKELIHOOD_HEADS = (*HEADS, "trust")
PLANAR_HEADS = ("azimuth", "delay", "azimuth_spread", "delay_spread")

VARIANCE_FLOOR = 1e-6
"""Smallest variance of a standardised quantity."""


@storable("network_scale")
class SlotScale(eqx.Module):
    """Averages over the reports, by which the network's numbers are scaled."""

    position_mean: Float[AnyArray, "3"]
    """Middle of the reports [m]."""
    position_scale: Float[AnyArray, "3"]
    """Scale of each coordinate [m]; infinite where all reports agree: the network ignores it."""
    azimuth_mean: Float[AnyArray, ""]
    """Circular mean of azimuth [rad]."""
    zenith_mean: Float[AnyArray, ""]
    """Mean zenith angle [rad]."""
    delay_mean: Float[AnyArray, ""]
    """Mean delay [s]."""
    log_power_mean: Float[AnyArray, ""]
    """Mean natural logarithm of power."""
    azimuth_scale: Float[AnyArray, ""]
    """Circular standard deviation of azimuth in the planar form, else one [rad]."""
    zenith_scale: Float[AnyArray, ""]
    """Standard deviation of zenith [rad]."""
    delay_scale: Float[AnyArray, ""]
    """Standard deviation of delay [s]."""
    log_power_scale: Float[AnyArray, ""]
    """Standard deviation of the logarithm of power."""
    slot_log_power: Float[AnyArray, " path"]
    """Mean of each slot, standardised, for a network that does not predict power."""
    slot_presence: Float[AnyArray, " path"]
    """Logit of the share of reports that fill each slot, for one that does not predict it."""


class Slots(eqx.Module):
    """What the network says of each slot."""

    direction: Float[Array, "*batch path 2"]
    """Horizontal direction (east, north), of length near one."""
    azimuth: Float[Array, "*batch path"]
    """Mean azimuth: the angle of `direction` [rad]."""
    zenith: Float[Array, "*batch path"]
    """Mean zenith angle, standardised."""
    delay: Float[Array, "*batch path"]
    """Mean delay, standardised."""
    variance: Float[Array, "*batch path 3"]
    """Variance of azimuth, zenith and delay, each over its scale squared."""
    log_power: Float[Array, "*batch path"]
    """Mean logarithm of power, standardised."""
    presence: Float[Array, "*batch path"]
    """Logit that the path exists."""
    trust: Float[Array, "*batch path"]
    """Logit that the path, if it exists, is the one predicted."""


def forward(
    weights: tuple[Array, ...], biases: tuple[Array, ...], features: Float[Array, "*batch feature"]
) -> Float[Array, "*batch output"]:
    """Run the fully connected layers."""
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if layer:
            features = jax.nn.leaky_relu(features, 0.01)
        features = features @ weight + bias[(None,) * (features.ndim - 1)]
    return features


def read_slots(
    raw: Float[Array, "*batch output"], scale: SlotScale, heads: tuple[str, ...]
) -> Slots:
    """Name the network's output; what it has no head for is the reports' average, and certain."""
    raw = raw.reshape(*raw.shape[:-1], len(heads), -1)
    head = {name: raw[..., k, :] for k, name in enumerate(heads)}
    zero = jnp.zeros_like(raw[..., 0, :])
    lift = (None,) * (zero.ndim - 1)
    if "azimuth" in heads:
        size = jnp.asarray(scale.azimuth_scale, raw.dtype)
        azimuth = jnp.asarray(scale.azimuth_mean, raw.dtype) + size * head["azimuth"]
        direction = jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)], axis=-1)
    else:
        direction = jnp.stack([head["east"], head["north"]], axis=-1)
        away = jnp.sum(direction**2, axis=-1) > 1e-6  # at zero an angle has no gradient
        azimuth = jnp.arctan2(
            jnp.where(away, direction[..., 1], 0.0), jnp.where(away, direction[..., 0], 1.0)
        )
    spread = jnp.stack([head.get(name, zero) for name in SPREADS], axis=-1)
    average = jnp.asarray(scale.slot_log_power, raw.dtype)[lift]
    usual = jnp.asarray(scale.slot_presence, raw.dtype)[lift]
    return Slots(
        direction=direction,
        azimuth=azimuth,
        zenith=head.get("zenith", zero),
        delay=head["delay"],
        variance=VARIANCE_FLOOR + jax.nn.softplus(spread) ** 2,
        log_power=head.get("log_power", zero + average),
        presence=head.get("presence", zero + usual),
        trust=head.get("trust", zero + 20.0),
    )


@storable("network")
class NetworkMap(ChannelMap):
    """Fully connected network of one station."""

    weights: tuple[Float[AnyArray, "_ _"], ...]
    """Weights of each layer, in single precision."""
    biases: tuple[Float[AnyArray, " _"], ...]
    """Offsets of each layer."""
    scale: SlotScale
    """How the network's numbers are scaled."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    report_position: Float[AnyArray, "report 3"]
    """Where the map's reports were [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    heads: tuple[str, ...] = eqx.field(static=True)
    """Quantities that the network's last layer holds, for all slots each."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        scale = jax.tree.map(lambda leaf: jnp.asarray(leaf, position.dtype), self.scale)
        features = ((position - scale.position_mean) / scale.position_scale).astype(jnp.float32)
        weights = tuple(jnp.asarray(weight) for weight in self.weights)
        biases = tuple(jnp.asarray(bias) for bias in self.biases)
        slots = read_slots(forward(weights, biases, features), self.scale, self.heads)
        slots = jax.tree.map(lambda leaf: leaf.astype(position.dtype), slots)
        # A saved network keeps its delays in seconds.
        per_delay = length_of(scale.delay_scale)
        size = jnp.stack([scale.azimuth_scale, scale.zenith_scale, per_delay])
        std = jnp.sqrt(slots.variance) * size[None]
        zenith = scale.zenith_mean + scale.zenith_scale * slots.zenith
        prior = PathPrior(
            probability=jax.nn.sigmoid(slots.presence) * jax.nn.sigmoid(slots.trust),
            departure_azimuth=wrap_angle(slots.azimuth),
            departure_zenith=jnp.clip(zenith, 0.0, jnp.pi),
            length=jnp.maximum(length_of(scale.delay_mean) + per_delay * slots.delay, 0.0),
            covariance=(std**2)[..., None] * jnp.eye(3, dtype=std.dtype)[None],
            power=jnp.exp(scale.log_power_mean + scale.log_power_scale * slots.log_power),
        )
        order = jnp.argsort(-prior.probability)
        return jax.tree.map(lambda leaf: leaf[order], prior)

    def predictor(self) -> ChannelMap:
        """Leave the reports out."""
        return dataclasses.replace(self, report_position=np.zeros((1, 3)), station="")
