"""How well the echoes that a map predicts at a position explain samples, gains unknown.

Every echo has its own complex gain, of which only the mean power is known: the gains are
integrated out.  Echoes that overlap share the energy they have in common instead of counting it
twice, which the plain sum of squared correlations does.

Takes a sample tensor, a `SelectedView`, a position.
Gives log-likelihoods relative to noise alone, with gradient and curvature.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Complex, Float

from echoscape.localization.direct.forward import SelectedView
from echoscape.numerics.harmonics import correlate, frequency_information, gram


class Fit(NamedTuple):
    """Echoes fitted to samples."""

    value: Float[Array, ""]
    """Log-likelihood relative to noise alone."""
    gain: Complex[Array, " echo"]
    """Posterior mean of every echo's gain."""
    energy: Float[Array, ""]
    """Energy that the echoes explain over the noise of a sample."""


def fit_echoes(
    samples: Complex[Array, "..."],
    frequency: Float[Array, "echo axis"],
    present: Bool[Array, " echo"],
    mix: Float[Array, "echo gain"],
    noise: Float[Array, ""],
    snr: Float[Array, ""],
) -> Fit:
    """Fit the gains of known echoes and integrate them out.

    Args:
        samples: A sample tensor.
        frequency: Of the echoes [rad/sample].
        present: Which take part.
        mix: Which unknown gain each echo has.
        noise: Mean squared noise of a sample.
        snr: Mean integrated ratio of an echo, the prior of the gains [1].
    """
    shape, count = samples.shape, math.prod(samples.shape)
    mask = jnp.where(present, 1.0, 0.0)
    correlation = mix.T @ (mask * correlate(samples, frequency) / count)
    ridge = 1.0 / snr
    matrix = mix.T @ (gram(frequency, shape) * mask[:, None] * mask[None]) @ mix
    # An echo that is left out has no energy and no uncertainty.
    factor = jnp.linalg.cholesky(matrix + ridge * jnp.eye(mix.shape[1]))
    half = solve_triangular(factor, correlation, lower=True)
    gain = mix @ solve_triangular(factor.conj().T, half, lower=False)
    energy = count / noise * jnp.sum(jnp.abs(half) ** 2)
    log_volume = 2.0 * jnp.sum(jnp.log(jnp.real(jnp.diagonal(factor)))) - mix.shape[1] * jnp.log(
        ridge
    )
    return Fit(energy - log_volume, gain, energy)


def descend(
    samples: Complex[Array, "..."],
    view: SelectedView,
    position: Float[Array, "3"],
    error: Float[Array, " error"],
    noise: Float[Array, ""],
    snr: Float[Array, ""],
):
    """Evaluate the negative log-posterior of a position and the map's errors, for a descent.

    The curvature is the Fisher information of the frequencies, the gains unknown, carried over by
    the map's slopes, plus one for every error of the map in its own deviations.

    Returns:
        Value, gradient and curvature over (position, error).
    """
    size = position.shape[0]

    def frequencies(point):
        return view.frequencies(point[:size], point[size:])

    point = jnp.concatenate([position, error])
    frequency = frequencies(point)
    slope = jax.jacfwd(frequencies)(point)  # [echo, axis, point]

    def of_frequency(frequency):
        fit = fit_echoes(samples, frequency, view.present, view.mix, noise, snr)
        return -fit.value, fit.gain

    (value, gain), pull = jax.value_and_grad(of_frequency, has_aux=True)(frequency)
    gain = jnp.where(view.present, gain, 0.0)
    known = frequency_information(frequency, gain, samples.shape, noise, view.mix)
    gradient = jnp.einsum("ea,eap->p", pull, slope)
    curvature = jnp.einsum("eap,eafb,fbq->pq", slope, known, slope)
    prior = jnp.concatenate([jnp.zeros(size), jnp.ones(error.shape[0])])
    value = value + 0.5 * jnp.sum(error**2)
    return value, gradient + prior * point, curvature + jnp.diag(prior)
