"""Tones one after the other, off any grid, until nothing stands out of the noise.

The strongest cell of the residual's spectrum starts a tone; then all tones move together by
scoring steps, which undoes the harm that neighbours did to one another when they were found
(orthogonal matching pursuit with Newton steps, [mamandipoor-nomp], with all tones at once instead
of in turn).

Takes a sample tensor and its noise.
Gives a `ToneFit`.
"""

import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from echoscape.estimation.tone_fit import ToneFit, fit_gains, improve
from echoscape.numerics.harmonics import synthesize

_FINER = 2  # cells of the spectrum for each resolved one
_MOST_STEPS = 12  # after each new tone
_ENOUGH = 0.05  # of one noise sample's energy: a step that gains less is the last

Order = Literal["cfar", "bic"]


def stop_threshold(shape: tuple[int, ...], order: Order, false_alarm: float) -> float:
    """Choose how far above the noise a peak must stand to become a tone.

    Args:
        shape: Of the samples.
        order: "cfar" bounds the probability that noise alone makes a tone; "bic" is the penalty of
            the Bayesian information criterion, the same as minimum description length, for a tone's
            frequencies and complex gain.
        false_alarm: That probability.
    """
    samples = math.prod(shape)
    if order == "cfar":
        return math.log(samples * _FINER ** len(shape) / false_alarm)
    return 0.5 * (len(shape) + 2) * math.log(2 * samples)


@eqx.filter_jit
def find_greedily(
    samples: Complex[Array, "..."],
    noise: Float[Array, ""],
    *,
    most: int,
    order: Order = "cfar",
    false_alarm: float = 1e-2,
) -> ToneFit:
    """Find the tones of a sample tensor.

    Args:
        samples: The tensor.
        noise: Mean squared noise of a sample; with "bic" the residual itself is the noise.
        most: Most tones.
        order: How many tones there are; as `stop_threshold`.
        false_alarm: Probability that noise alone makes a tone.
    """
    shape, count = samples.shape, math.prod(samples.shape)
    threshold = stop_threshold(shape, order, false_alarm)
    grid = tuple(_FINER * size for size in shape)

    def noise_of(residual):
        if order == "cfar":
            return noise
        return jnp.sum(jnp.abs(residual) ** 2) / count

    def strongest(residual):
        power = jnp.abs(jnp.fft.fftn(residual, grid)) ** 2
        best = jnp.argmax(power)
        index = jnp.stack(jnp.unravel_index(best, grid))
        frequency = 2 * math.pi * index / jnp.asarray(grid)
        return frequency, power.ravel()[best] / (count * noise_of(residual)) > threshold

    def settle(fit):
        """Move all tones until that gains no more than noise would."""

        def unsettled(state):
            _, _, last, energy, steps = state
            return (steps < _MOST_STEPS) & (last - energy > _ENOUGH * noise_of(state[1]))

        def step(state):
            fit, _, _, energy, steps = state
            fit, residual = improve(samples, fit)
            return fit, residual, energy, jnp.sum(jnp.abs(residual) ** 2), steps + 1

        residual = samples - synthesize(fit.frequency, fit.gain, shape)
        start = (
            fit,
            residual,
            jnp.asarray(jnp.inf),
            jnp.sum(jnp.abs(residual) ** 2),
            jnp.asarray(0),
        )
        fit, residual, *_ = jax.lax.while_loop(unsettled, step, start)
        return fit, residual

    def go_on(state):
        _, _, found, _, stands_out = state
        return stands_out & (found < most)

    def add(state):
        fit, residual, found, start, _ = state
        frequency = jnp.asarray(fit.frequency).at[found].set(start)
        valid = jnp.asarray(fit.valid).at[found].set(True)
        fit = ToneFit(frequency, fit_gains(samples, frequency, valid), valid)
        fit, residual = settle(fit)
        return fit, residual, found + 1, *strongest(residual)

    nothing = ToneFit(
        jnp.zeros((most, len(shape))), jnp.zeros(most, dtype=complex), jnp.zeros(most, dtype=bool)
    )
    state = (nothing, samples.astype(complex), jnp.asarray(0), *strongest(samples))
    fit, residual, *_ = jax.lax.while_loop(go_on, add, state)
    # What moving together left too weak was never a tone of its own.
    power = count * jnp.abs(fit.gain) ** 2 / noise_of(residual)
    kept = jnp.asarray(fit.valid) & (power > 0.25 * threshold)
    frequency = jnp.where(kept[:, None], fit.frequency, 0.0)
    return ToneFit(frequency, fit_gains(samples, frequency, kept), kept)
