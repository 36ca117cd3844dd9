"""Updates of Gaussians against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.numerics.kalman import Gaussian, condition, extended_update, unscented_update


def test_sigma_points_carry_the_mean_of_a_curved_measurement():
    # of x^2 with x ~ N(m, P): mean m^2 + P, covariance with x 2 m P, and 4 m^2 P by two points
    mean, variance, noise, measured = 1.3, 0.4, 0.2, 2.9
    belief = Gaussian(jnp.array([mean]), jnp.array([[variance]]))
    found = unscented_update(belief, jnp.array([measured]), jnp.array([[noise]]), lambda x: x**2)
    gain = 2 * mean * variance / (4 * mean**2 * variance + noise)
    assert found.mean[0] == pytest.approx(mean + gain * (measured - mean**2 - variance))
    assert found.covariance[0, 0] == pytest.approx(variance - gain * 2 * mean * variance)
    # a tangent has no such mean, and the two must differ by what it is worth
    tangent = extended_update(belief, jnp.array([measured]), jnp.array([[noise]]), lambda x: x**2)
    assert tangent.mean[0] - found.mean[0] == pytest.approx(gain * variance)


def test_conditioning_equals_the_formula_with_an_inverse():
    rng = np.random.default_rng(4)
    root, slope = rng.normal(size=(4, 4)), rng.normal(size=(2, 4))
    covariance = root @ root.T
    inner = slope @ covariance @ slope.T + np.diag([0.3, 0.7])
    residual = np.array([0.4, -1.1])
    found = condition(
        Gaussian(jnp.ones(4), jnp.asarray(covariance)), jnp.asarray(residual),
        jnp.asarray(inner), jnp.asarray(slope @ covariance),
    )  # fmt: skip
    gain = covariance @ slope.T @ np.linalg.inv(inner)
    assert np.allclose(found.mean, 1 + gain @ residual, atol=1e-12)
    assert np.allclose(found.covariance, covariance - gain @ slope @ covariance, atol=1e-12)
