"""Three answers to what a network's error is, given the paths that a report lists.

- *squared*: the squared error of [wu-ckm].  It does not say what the variance head learns; here
  that head is regressed on the squared residual, which is held constant.
- *likelihood*: slot l is the l-th strongest path; each residual is weighed by the variance claimed
  plus the errors the report states.  A path that is not the one predicted, because two exchanged
  rank or the report is wrong, is explained by a broad background instead.
- *set*: the paths are a set without order, a Poisson process whose intensity is the sum of the
  slots' densities, weighted by their probabilities, and of the background.  Slots then follow
  physical paths, because nothing makes them jump when powers cross.

Takes `Slots` and a `Lesson`.
Gives a mean loss over reports.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from echoscape.channel_map.network import Slots, SlotScale
from echoscape.estimation import AnyArray
from echoscape.units import wrap_angle

Loss = Literal["squared", "likelihood", "set"]

CLUTTER = -6.0
"""Logarithm of the background's intensity in the *set* loss, per standard unit cubed."""


class Lesson(eqx.Module):
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


def squared_loss(slots: Slots, lesson: Lesson, scale: SlotScale) -> Float[AnyArray, ""]:
    """Mean squared error, with the variance regressed on the squared residual."""
    residual = _residual(slots, lesson, scale)
    azimuth = lesson.target[..., 0]
    goal = jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)], axis=-1)
    # On the circle the chord takes the place of the angle: it has no cut.
    chord = jnp.sum((slots.direction - goal) ** 2, axis=-1) / scale.azimuth_scale**2
    error = jnp.concatenate([chord[..., None], residual[..., 1:] ** 2], axis=-1)
    known = jax.lax.stop_gradient(residual**2)
    fit = jnp.where(lesson.measured, error + (slots.variance - known) ** 2, 0.0)
    return jnp.mean(jnp.sum(fit, axis=(-1, -2)) + _company(slots, lesson))


def likelihood_loss(slots: Slots, lesson: Lesson, scale: SlotScale) -> Float[AnyArray, ""]:
    """Mean negative log-likelihood of paths in falling power."""
    residual = _residual(slots, lesson, scale)
    ours = _log_density(residual, slots.variance + lesson.noise, lesson.measured)
    # The background: any azimuth; zenith and delay of twice their spread over the reports.
    width = jnp.stack([1.8 / scale.azimuth_scale, jnp.float32(2.0), jnp.float32(2.0)])
    broad = jnp.broadcast_to(width[(None,) * (residual.ndim - 1)] ** 2, residual.shape)
    other = _log_density(residual, broad, lesson.measured)
    mixture = jnp.logaddexp(
        jax.nn.log_sigmoid(slots.trust) + ours, jax.nn.log_sigmoid(-slots.trust) + other
    )
    paths = jnp.sum(jnp.where(lesson.valid, -mixture, 0.0), axis=-1)
    return jnp.mean(paths + _company(slots, lesson))


def set_loss(slots: Slots, lesson: Lesson, scale: SlotScale) -> Float[AnyArray, ""]:
    """Mean negative log-likelihood of a set of paths without order."""
    azimuth = wrap_angle(lesson.target[..., None, 0] - slots.azimuth[..., None, :])
    mean = jnp.stack([slots.zenith, slots.delay], axis=-1)[..., None, :, :]
    rest = lesson.target[..., None, 1:] - mean
    residual = jnp.concatenate([azimuth[..., None] / scale.azimuth_scale, rest], axis=-1)
    variance = slots.variance[..., None, :, :] + lesson.noise[..., None, :]
    ours = _log_density(residual, variance, lesson.measured[..., None, :])
    ours = ours + jax.nn.log_sigmoid(slots.presence)[..., None, :]
    intensity = jnp.logaddexp(jax.nn.logsumexp(ours, axis=-1), CLUTTER)
    owner = jax.lax.stop_gradient(jax.nn.softmax(ours, axis=-1))
    power = (lesson.log_power[..., None] - slots.log_power[..., None, :]) ** 2
    power = 0.5 * jnp.sum(owner * power, axis=-1)
    paths = jnp.sum(jnp.where(lesson.valid, power - intensity, 0.0), axis=-1)
    return jnp.mean(paths + jnp.sum(jax.nn.sigmoid(slots.presence), axis=-1))


def _residual(slots: Slots, lesson: Lesson, scale: SlotScale) -> Float[AnyArray, "*report path 3"]:
    azimuth = wrap_angle(lesson.target[..., 0] - slots.azimuth) / scale.azimuth_scale
    return jnp.stack(
        [azimuth, lesson.target[..., 1] - slots.zenith, lesson.target[..., 2] - slots.delay], -1
    )


def _log_density(residual, variance, measured):
    """Gaussian log density of what was measured, without its constant."""
    each = -0.5 * (residual**2 / variance + jnp.log(variance))
    return jnp.sum(jnp.where(measured, each, 0.0), axis=-1)


def _company(slots: Slots, lesson: Lesson) -> Float[AnyArray, "*report"]:
    """Loss of what goes with a path: whether it exists, and its power."""
    exists = jnp.where(lesson.valid, -slots.presence, slots.presence)
    power = jnp.where(lesson.valid, 0.5 * (lesson.log_power - slots.log_power) ** 2, 0.0)
    return jnp.sum(jax.nn.softplus(exists) + power, axis=-1)
