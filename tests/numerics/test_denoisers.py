"""Denoisers: mean and variance are derivatives of the log-partition; learning finds the prior."""

import jax
import jax.numpy as jnp
import pytest

from echoscape.numerics.denoisers import BernoulliExponential, BernoulliGaussian

PRIOR = BernoulliGaussian(jnp.array(0.13), jnp.array(0.7), jnp.array(0.21))


def log_partition(field, noise):
    """Log of the prior's integral with the likelihood exp(field x - x^2 / (2 noise))."""
    v, m, rate = PRIOR.variance, PRIOR.mean, PRIOR.rate
    precision = 1 / v + 1 / noise
    inside = (field + m / v) ** 2 / (2 * precision) - m**2 / (2 * v)
    there = jnp.log(rate) - 0.5 * jnp.log(v * precision) + inside
    return jnp.logaddexp(jnp.log1p(-rate), there)


@pytest.mark.parametrize("value", [-1.3, 0.02, 0.4, 1.1])
@pytest.mark.parametrize("noise", [0.03, 0.7])
def test_mean_and_variance_are_derivatives_of_the_log_partition(value, noise):
    field = jnp.array(value / noise)
    found = PRIOR(jnp.array(value), jnp.array(noise))
    mean = jax.grad(log_partition)(field, noise)
    variance = jax.grad(jax.grad(log_partition))(field, noise)
    assert jnp.allclose(found.mean, mean, rtol=1e-9)
    assert jnp.allclose(found.variance, variance, rtol=1e-8)


def test_a_complex_prior_seen_in_noise_is_bayes_by_quadrature():
    prior = BernoulliGaussian(jnp.array(0.2), jnp.array(0.3 - 0.5j), jnp.array(0.4))
    seen, noise = jnp.array(0.5 + 0.2j), jnp.array(0.3)
    axis = jnp.linspace(-8, 8, 1601)
    x = axis[:, None] + 1j * axis[None]
    gauss = jnp.exp(-(jnp.abs(x - prior.mean) ** 2) / prior.variance) / (jnp.pi * prior.variance)
    like = jnp.exp(-(jnp.abs(seen - x) ** 2) / noise) / (jnp.pi * noise)
    weight = prior.rate * gauss * like * (axis[1] - axis[0]) ** 2
    none = (1 - prior.rate) * jnp.exp(-(jnp.abs(seen) ** 2) / noise) / (jnp.pi * noise)
    total = jnp.sum(weight) + none
    found = prior(seen, noise)
    assert jnp.allclose(found.present, jnp.sum(weight) / total, rtol=1e-9)
    mean = jnp.sum(weight * x) / total
    assert jnp.allclose(found.mean, mean, rtol=1e-9)
    spread = jnp.sum(weight * jnp.abs(x) ** 2) / total - jnp.abs(mean) ** 2
    assert jnp.allclose(found.variance, spread, rtol=1e-8)


@pytest.mark.slow
def test_learning_finds_the_prior_that_made_the_values(key):
    values = PRIOR.sample(key, (40_000,))
    noise = 0.02
    seen = values + jnp.sqrt(noise) * jax.random.normal(jax.random.key(1), values.shape)
    guess = BernoulliGaussian(jnp.array(0.3), jnp.array(0.1), jnp.array(1.0))
    for _ in range(60):
        guess = guess.learn(guess(seen, jnp.full_like(seen, noise)), jnp.ones_like(seen, bool))
    # 5200 values are present: three standard errors of each parameter.
    assert jnp.abs(guess.rate - PRIOR.rate) < 3 * 0.003
    assert jnp.abs(guess.mean - PRIOR.mean) < 3 * 0.01
    assert jnp.abs(guess.variance - PRIOR.variance) < 3 * 0.008


SPIKE = BernoulliExponential(jnp.array(0.13), jnp.array(0.8))


@pytest.mark.parametrize("value", [-1.3, 0.02, 0.4, 3.1])
def test_an_exponential_prior_has_mean_and_variance_as_derivatives(value):
    noise = jnp.array(0.2)

    def whole(field):
        """Log of the prior's integral with exp(field x - x^2 / (2 noise)), by closed form."""
        edge = (field * noise - noise / SPIKE.scale) / jnp.sqrt(noise)
        slab = jnp.log(jnp.sqrt(2 * jnp.pi * noise) / SPIKE.scale) + 0.5 * edge**2
        there = jnp.log(SPIKE.rate) + slab + jax.scipy.special.log_ndtr(edge)
        return jnp.logaddexp(jnp.log1p(-SPIKE.rate), there)

    field = jnp.array(value) / noise
    found = SPIKE(jnp.array(value), noise)
    assert jnp.allclose(found.mean, jax.grad(whole)(field), rtol=1e-7)
    assert jnp.allclose(found.variance, jax.grad(jax.grad(whole))(field), rtol=1e-6)


def test_an_exponential_far_below_zero_stays_finite_and_smooth():
    """Where the cut Gaussian turns into an exponential, both forms must agree."""
    noise = jnp.array(0.01)
    edge = jnp.array([-19.99, -20.01, -300.0])
    found = SPIKE(0.1 * edge + noise / SPIKE.scale, jnp.full(3, noise))
    assert jnp.isclose(found.mean_if_present[0], found.mean_if_present[1], rtol=1e-2)
    assert jnp.isclose(found.mean_if_present[2], 0.1 / 300, rtol=1e-3)
    assert bool(jnp.all(jnp.isfinite(found.mean)))


@pytest.mark.slow
def test_an_exponential_prior_is_learnt_and_has_its_own_moments(key):
    values = SPIKE.sample(key, (40_000,))
    mean, variance = SPIKE.moments()
    # Three standard errors of 40 000 draws.
    assert jnp.abs(jnp.mean(values) - mean) < 3 * jnp.sqrt(variance / 40_000)
    assert jnp.isclose(jnp.var(values), variance, rtol=0.1)
    guess = BernoulliExponential(jnp.array(0.3), jnp.array(0.3))
    seen = values + 0.1 * jax.random.normal(jax.random.key(1), values.shape)
    for _ in range(100):
        guess = guess.learn(guess(seen, jnp.full_like(seen, 0.01)), jnp.ones_like(seen, bool))
    assert jnp.abs(guess.rate - 0.13) < 0.012
    assert jnp.abs(guess.scale - 0.8) < 3 * 0.8 / jnp.sqrt(5200) + 0.02


@pytest.mark.parametrize(
    "prior",
    [
        PRIOR,
        BernoulliExponential(jnp.array(0.2), jnp.array(0.6)),
        BernoulliGaussian(jnp.array(0.3), jnp.array(0.4 + 0.5j), jnp.array(0.7)),
    ],
)
def test_moments_are_those_of_the_posterior_when_nothing_is_seen(prior):
    """A value in very large noise says nothing: what is left is the prior."""
    value = jnp.zeros((), prior.moments()[0].dtype)
    found = prior(value, jnp.array(1e5))
    mean, variance = prior.moments()
    # The value pulls by its precision, 1e-5, times a few variances of the prior.
    assert jnp.allclose(found.mean, mean, rtol=1e-4)
    assert jnp.allclose(found.variance, variance, rtol=1e-4)


@pytest.mark.parametrize("kind", [BernoulliGaussian, BernoulliExponential])
def test_a_learnt_share_may_exceed_a_half(kind):
    """One step of expectation-maximisation over coefficients of which seven in eight are there."""
    values = jnp.array([2.0, 3.0, 2.5, 0.0, 2.2, 2.8, 3.1, 2.4])
    first = (jnp.array(0.5), jnp.array(2.5)) + (
        (jnp.array(0.4),) if kind is BernoulliGaussian else ()
    )
    prior = kind(*first)
    found = prior.learn(prior(values, jnp.full(8, 1e-3)), jnp.ones(8, bool))
    assert jnp.isclose(found.rate, 7 / 8, atol=0.01)
