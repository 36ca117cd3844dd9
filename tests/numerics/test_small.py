"""Written-out factorisations against the library's."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.numerics.small import mahalanobis


@pytest.mark.parametrize("size", [1, 2, 5])
def test_distance_and_determinant_equal_the_librarys(size):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(4, 3, size, size))
    covariance = root @ root.swapaxes(-1, -2) + 0.1 * np.eye(size)
    vector = rng.normal(size=(4, 3, size))
    squared, log_determinant = mahalanobis(jnp.asarray(vector), jnp.asarray(covariance))
    solved = np.linalg.solve(covariance, vector[..., None])[..., 0]
    assert np.allclose(squared, np.sum(vector * solved, axis=-1), rtol=1e-9)
    assert np.allclose(log_determinant, np.linalg.slogdet(covariance)[1], atol=1e-9)


def test_round_off_below_zero_makes_no_nan():
    covariance = jnp.array([[1.0, 1.0 + 1e-12], [1.0 + 1e-12, 1.0]])
    assert jnp.isfinite(jnp.stack(mahalanobis(jnp.ones(2), covariance))).all()
