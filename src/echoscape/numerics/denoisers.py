"""Scalar denoisers: what is known of a coefficient before, and after it was seen in noise.

A denoiser holds a prior.  Given a value seen in Gaussian noise it answers with the posterior mean
and variance, which are the first and second derivative of its log-partition, and with how likely
the coefficient is present at all.  `learn` is one step of expectation-maximisation
[vila-em-bg-gm-amp].

Takes values and the variances of their noise, real or complex.
Gives posterior means, variances, probabilities, and better priors.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

_LARGEST_LOGIT = 60.0


class Posterior(NamedTuple):
    """What is known of coefficients after they were seen."""

    mean: Inexact[Array, "*batch"]
    """Posterior mean."""
    variance: Float[Array, "*batch"]
    """Posterior variance; of complex coefficients the mean squared distance from the mean."""
    present: Float[Array, "*batch"]
    """Probability that the coefficient is not zero."""
    mean_if_present: Inexact[Array, "*batch"]
    """Posterior mean of a coefficient that is there."""
    variance_if_present: Float[Array, "*batch"]
    """Posterior variance of a coefficient that is there."""


class Denoiser(eqx.Module):
    """A prior of independent, identically distributed coefficients."""

    @abc.abstractmethod
    def __call__(
        self,
        value: Inexact[Array, "*batch"],
        noise: Float[Array, "*batch"],
        bias: Float[Array, "*#batch"] | float = 0.0,
    ) -> Posterior:
        """Combine the prior with values seen in noise of the given variances."""

    @abc.abstractmethod
    def moments(self) -> tuple[Inexact[Array, ""], Float[Array, ""]]:
        """Give mean and variance of a coefficient before it is seen."""

    @abc.abstractmethod
    def learn(self, posterior: Posterior, counted: Bool[Array, "*batch"]) -> "Denoiser":
        """Move the prior to where it explains the posteriors of the coefficients that count."""

    @abc.abstractmethod
    def sample(self, key: Array, shape: tuple[int, ...]) -> Inexact[Array, "..."]:
        """Draw coefficients from the prior."""


class BernoulliGaussian(Denoiser):
    """Zero, or with some probability Gaussian: the prior (22) of [multiview-imaging].

    Real values have a real prior; complex values a complex one with a circular Gaussian about
    the mean.
    """

    rate: Float[Array, ""]
    """Probability of not being zero."""
    mean: Inexact[Array, ""]
    """Mean of those that are not zero."""
    variance: Float[Array, ""]
    """Variance of those that are not zero."""

    def __call__(
        self,
        value: Inexact[Array, "*batch"],
        noise: Float[Array, "*batch"],
        bias: Float[Array, "*#batch"] | float = 0.0,
    ) -> Posterior:
        """Combine the prior with values seen in noise of the given variances."""
        total = self.variance + noise
        share = self.variance / total
        half = 1.0 if jnp.iscomplexobj(value) else 0.5  # a complex Gaussian has two dimensions
        evidence = half * (
            jnp.log(noise / total)
            + jnp.abs(value) ** 2 / noise
            - jnp.abs(value - self.mean) ** 2 / total
        )
        logit = jnp.log(self.rate) - jnp.log1p(-self.rate) + evidence + bias
        present = jax.nn.sigmoid(jnp.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT))
        mean = share * value + (1 - share) * self.mean
        variance = share * noise
        spread = present * (1 - present) * jnp.abs(mean) ** 2
        return Posterior(present * mean, present * variance + spread, present, mean, variance)

    def moments(self) -> tuple[Inexact[Array, ""], Float[Array, ""]]:
        """Give mean and variance of a coefficient before it is seen."""
        spread = self.rate * (1 - self.rate) * jnp.abs(self.mean) ** 2
        return self.rate * self.mean, self.rate * self.variance + spread

    def learn(self, posterior: Posterior, counted: Bool[Array, "*batch"]) -> "BernoulliGaussian":
        """Take one step of expectation-maximisation over the coefficients that count."""
        present = jnp.where(counted, posterior.present, 0.0)
        total = jnp.maximum(jnp.sum(present), jnp.finfo(present.dtype).tiny)
        mean = jnp.sum(present * posterior.mean_if_present) / total
        difference = jnp.abs(posterior.mean_if_present - mean) ** 2 + posterior.variance_if_present
        variance = jnp.sum(present * difference) / total
        size = jnp.abs(mean) ** 2 + variance
        rate = jnp.sum(present) / jnp.maximum(jnp.sum(counted), 1)
        return BernoulliGaussian(
            rate=jnp.clip(rate, 1e-6, 1 - 1e-6).astype(self.rate.dtype),
            mean=mean.astype(self.mean.dtype),
            variance=jnp.maximum(variance, 1e-3 * size + 1e-30).astype(self.variance.dtype),
        )

    def sample(self, key: Array, shape: tuple[int, ...]) -> Inexact[Array, "..."]:
        """Draw coefficients from the prior."""
        which, how_much = jax.random.split(key)
        there = jax.random.bernoulli(which, self.rate, shape)
        gauss = jax.random.normal(how_much, shape, self.mean.dtype)
        return jnp.where(there, self.mean + jnp.sqrt(self.variance) * gauss, 0)


class BernoulliExponential(Denoiser):
    """Zero, or with some probability exponentially distributed: what is never negative."""

    rate: Float[Array, ""]
    """Probability of not being zero."""
    scale: Float[Array, ""]
    """Mean of those that are not zero."""

    def __call__(
        self,
        value: Float[Array, "*batch"],
        noise: Float[Array, "*batch"],
        bias: Float[Array, "*#batch"] | float = 0.0,
    ) -> Posterior:
        """Combine the prior with values seen in noise of the given variances."""
        root = jnp.sqrt(noise)
        edge = (value - noise / self.scale) / root  # of a Gaussian that is cut at zero
        logit = jnp.log(self.rate) - jnp.log1p(-self.rate) + self._slab(value, noise) + bias
        present = jax.nn.sigmoid(jnp.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT))
        # Inverse Mills ratio; far below zero the cut Gaussian is exponential, mean -root / edge.
        far = jnp.minimum(edge, -20.0)
        ratio = jnp.exp(jax.scipy.stats.norm.logpdf(edge) - jax.scipy.special.log_ndtr(edge))
        mean = jnp.where(edge < -20, 1 / -far - 2 / -(far**3), edge + ratio)
        variance = jnp.where(edge < -20, 1 / far**2, 1 - ratio * (ratio + edge))
        mean, variance = root * mean, noise * jnp.clip(variance, 1e-6, 1.0)
        spread = present * (1 - present) * mean**2
        return Posterior(present * mean, present * variance + spread, present, mean, variance)

    def _slab(self, value: Array, noise: Array) -> Array:
        """Log-evidence of being present over being zero, equal chances before."""
        root = jnp.sqrt(noise)
        edge = (value - noise / self.scale) / root
        gauss = jnp.log(root / self.scale) + 0.5 * jnp.log(2 * jnp.pi)
        return gauss + jax.scipy.special.log_ndtr(edge) + 0.5 * edge**2

    def moments(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Give mean and variance of a coefficient before it is seen."""
        mean = self.rate * self.scale
        return mean, 2 * self.rate * self.scale**2 - mean**2

    def learn(self, posterior: Posterior, counted: Bool[Array, "*batch"]) -> "BernoulliExponential":
        """Take one step of expectation-maximisation over the coefficients that count."""
        present = jnp.where(counted, posterior.present, 0.0)
        total = jnp.maximum(jnp.sum(present), jnp.finfo(present.dtype).tiny)
        scale = jnp.sum(present * posterior.mean_if_present) / total
        rate = jnp.sum(present) / jnp.maximum(jnp.sum(counted), 1)
        return BernoulliExponential(
            rate=jnp.clip(rate, 1e-6, 1 - 1e-6).astype(self.rate.dtype),
            scale=jnp.maximum(scale, 1e-12).astype(self.scale.dtype),
        )

    def sample(self, key: Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draw coefficients from the prior."""
        which, how_much = jax.random.split(key)
        there = jax.random.bernoulli(which, self.rate, shape)
        return jnp.where(there, self.scale * jax.random.exponential(how_much, shape), 0.0)
