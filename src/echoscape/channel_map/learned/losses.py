"""Three answers to what a network's error is, given the paths that a report lists.

- *squared*: the squared error of [wu-ckm].  It does not say what the variance head learns; here
  that head is regressed on the squared residual, which is held constant.
- *likelihood*: slot l is the l-th strongest path; each residual is weighed by the variance claimed
  plus the errors the report states.  A path that is not the one predicted, because two exchanged
  rank or the report is wrong, is explained by a broad background instead.
- *set*: the paths are a set without order, a Poisson process whose intensity is the sum of the
  slots' densities, weighted by their probabilities, and of the background.  Slots then follow
  physical paths, because nothing makes them jump when powers cross.

Takes `Slots` and a `TrainingSet`.
Gives a mean loss over reports.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from echoscape.channel_map.learned.network import Slots, SlotScale
from echoscape.estimation import AnyArray

Loss = Literal["squared", "likelihood", "set"]

CLUTTER = -6.0
"""Logarithm of the background's intensity in the *set* loss, per standard unit cubed."""


class TrainingSet(eqx.Module):
    """Reports as the network sees them, strongest path first; numpy or JAX, single precision."""

    features: Float[AnyArray, "*report 3"]
    """Standardised position."""
    target: Float[AnyArray, "*report path 3"]
    """Azimuth [rad], standardised zenith, standardised delay; zero where not measured."""
    noise: Float[AnyArray, "*report path 3"]
    """Variance of `target` that the report states, over the scales squared."""
    measured: Bool[AnyArray, "*report path 3"]
    """Whether the quantity was measured."""
    log_power: Float[AnyArray, "*report path"]
    """Standardised logarithm of power."""
    valid: Bool[AnyArray, "*report path"]
    """False where the report has fewer paths."""


def squared_loss(slots: Slots, examples: TrainingSet, scale: SlotScale) -> Float[AnyArray, ""]:
    """Mean squared error, with the variance regressed on the squared residual."""
    gaps = _gaps(slots, examples, scale)
    azimuth = examples.target[..., 0]
    goal = jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)], axis=-1)
    # On the circle the chord takes the place of the angle: it has no cut.
    chord = jnp.sum((slots.direction - goal) ** 2, axis=-1) / scale.azimuth_scale**2
    total = _company(slots, examples)
    for quantity, error in enumerate((chord, gaps[1] ** 2, gaps[2] ** 2)):
        known = jax.lax.stop_gradient(gaps[quantity] ** 2)
        spread = (slots.variance[..., quantity] - known) ** 2
        measured = examples.measured[..., quantity]
        total += jnp.sum(jnp.where(measured, error + spread, 0.0), axis=-1)
    return jnp.mean(total)


def likelihood_loss(slots: Slots, examples: TrainingSet, scale: SlotScale) -> Float[AnyArray, ""]:
    """Mean negative log-likelihood of paths in falling power."""
    gaps = _gaps(slots, examples, scale)
    ours = _log_density(gaps, slots.variance + examples.noise, examples.measured)
    # The background: any azimuth; zenith and delay of twice their spread over the reports.
    width = jnp.stack([1.8 / jnp.asarray(scale.azimuth_scale), jnp.asarray(2.0), jnp.asarray(2.0)])
    broad = jnp.broadcast_to(width[(None,) * gaps[0].ndim] ** 2, examples.target.shape)
    other = _log_density(gaps, broad, examples.measured)
    mixture = jnp.logaddexp(
        jax.nn.log_sigmoid(slots.trust) + ours, jax.nn.log_sigmoid(-slots.trust) + other
    )
    paths = jnp.sum(jnp.where(examples.valid, -mixture, 0.0), axis=-1)
    return jnp.mean(paths + _company(slots, examples))


def set_loss(slots: Slots, examples: TrainingSet, scale: SlotScale) -> Float[AnyArray, ""]:
    """Mean negative log-likelihood of a set of paths without order."""
    every = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, slots.delay.ndim - 1), slots)
    each = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, examples.valid.ndim), examples)
    ours = _log_density(_gaps(every, each, scale), every.variance + each.noise, each.measured)
    ours = ours + jax.nn.log_sigmoid(every.presence)
    found = jax.nn.logsumexp(ours, axis=-1)
    owner = jax.lax.stop_gradient(jnp.exp(ours - found[..., None]))
    power = 0.5 * jnp.sum(owner * (each.log_power - every.log_power) ** 2, axis=-1)
    paths = jnp.where(examples.valid, power - jnp.logaddexp(found, CLUTTER), 0.0)
    return jnp.mean(jnp.sum(paths, axis=-1) + jnp.sum(jax.nn.sigmoid(slots.presence), axis=-1))


def _gaps(slots: Slots, examples: TrainingSet, scale: SlotScale):
    """Subtract the predicted azimuth, zenith and delay, standardised.

    Three arrays, not one with a short last axis: that runs several times slower.
    """
    turn = examples.target[..., 0] - slots.azimuth
    turn = turn - 2 * jnp.pi * jnp.round(turn / (2 * jnp.pi))
    return (
        turn / scale.azimuth_scale,
        examples.target[..., 1] - slots.zenith,
        examples.target[..., 2] - slots.delay,
    )


def _log_density(gaps, variance, measured):
    """Gaussian log density of what was measured, without its constant."""
    square, product = jnp.zeros_like(gaps[0]), jnp.ones_like(gaps[0])
    for quantity, gap in enumerate(gaps):
        known, spread = measured[..., quantity], variance[..., quantity]
        square += jnp.where(known, gap**2 / spread, 0.0)
        product *= jnp.where(known, spread, 1.0)
    return -0.5 * (square + jnp.log(product))


def _company(slots: Slots, examples: TrainingSet) -> Float[AnyArray, "*report"]:
    """Loss of what goes with a path: whether it exists, and its power."""
    exists = jnp.where(examples.valid, -slots.presence, slots.presence)
    power = jnp.where(examples.valid, 0.5 * (examples.log_power - slots.log_power) ** 2, 0.0)
    return jnp.sum(jax.nn.softplus(exists) + power, axis=-1)
