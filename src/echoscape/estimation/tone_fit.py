"""What every estimator of tones gives, and what they share: gains, and steps that improve all.

Takes tensors of samples and frequencies.
Gives `ToneFit`: tones in no order, padded to one length.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from echoscape.estimation.path_estimates import AnyArray
from echoscape.numerics.harmonics import (
    correlate,
    correlate_slopes,
    frequency_information,
    gram,
    synthesize,
)

_RIDGE = 1e-10  # of a Gram matrix with ones on its diagonal


class ToneFit(eqx.Module):
    """Tones found in a sample tensor."""

    frequency: Float[AnyArray, "tone axis"]
    """Their frequencies [rad/sample]; zero for padding."""
    gain: Complex[AnyArray, " tone"]
    """Their complex gains; zero for padding."""
    valid: Bool[AnyArray, " tone"]
    """False for padding."""


@jax.jit
def fit_gains(
    samples: Complex[Array, "..."],
    frequency: Float[Array, "tone axis"],
    valid: Bool[Array, " tone"],
) -> Complex[Array, " tone"]:
    """Fit the gains of some tones by least squares."""
    taken = jnp.where(valid, 1.0, 0.0)
    matrix = gram(frequency, samples.shape) * taken[:, None] * taken[None]
    matrix = matrix + jnp.diag(1.0 - taken + _RIDGE)
    matched = taken * correlate(samples, frequency) / math.prod(samples.shape)
    return jnp.linalg.solve(matrix, matched)


def improve(samples: Complex[Array, "..."], fit: ToneFit) -> tuple[ToneFit, Array]:
    """Move all frequencies by one damped scoring step, if that lowers the residual.

    Returns:
        The better fit, and its residual.
    """
    shape = samples.shape
    frequency, gain = jnp.asarray(fit.frequency), jnp.asarray(fit.gain)
    valid = jnp.asarray(fit.valid)
    residual = samples - synthesize(frequency, gain, shape)
    _, slope = correlate_slopes(residual, frequency)
    pull = 2.0 * jnp.real(jnp.conj(gain)[:, None] * slope)
    known = frequency_information(frequency, gain, shape, 1.0)
    count, axes = frequency.shape
    matrix = known.reshape(count * axes, count * axes)
    diagonal = jnp.diagonal(matrix)
    scale = jnp.where(diagonal > 0, 1.0 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 0.0)
    scaled = matrix * scale[:, None] * scale[None]
    scaled = scaled + jnp.diag(jnp.where(diagonal > 0, 1e-4, 1.0))
    step = scale * jnp.linalg.solve(scaled, scale * pull.ravel())
    longest = jnp.asarray([0.5 * math.pi / size for size in shape])
    step = jnp.clip(step.reshape(count, axes), -longest[None], longest[None])
    moved = jnp.where(valid[:, None], frequency + step, 0.0)
    new_gain = fit_gains(samples, moved, valid)
    new_residual = samples - synthesize(moved, new_gain, shape)
    better = jnp.sum(jnp.abs(new_residual) ** 2) < jnp.sum(jnp.abs(residual) ** 2)
    chosen = ToneFit(
        jnp.where(better, moved, frequency), jnp.where(better, new_gain, gain), valid
    )  # fmt: skip
    return chosen, jnp.where(better, new_residual, residual)
