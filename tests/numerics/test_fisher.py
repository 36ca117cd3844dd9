"""Fisher information: closed forms, laws, and the ratio for echo delays."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.numerics import (
    bound,
    information,
    spectrum,
    whiten,
    whiten_correlated,
)


def test_independent_rows_give_the_inverse_of_the_normal_matrix(key):
    jacobian = jax.random.normal(key, (7, 3))
    std = jnp.array([0.1, 2.0, 1e-3, 0.5, 0.7, 3.0, 1.1])
    normal = jacobian.T @ np.diag(std**-2.0) @ jacobian
    rows = whiten(jacobian, std)
    assert np.allclose(information(rows), normal, rtol=1e-12)
    assert np.allclose(bound(rows), np.linalg.inv(normal), rtol=1e-9)


def test_radians_and_nanoseconds_share_a_matrix():
    # Distance from a delay, the direction across from an angle: oblique, closed form.
    ahead, aside, distance = np.array([0.6, 0.8]), np.array([-0.8, 0.6]), 30.0
    jacobian = jnp.array([aside / distance, 2 * ahead / 299_792_458.0])
    result = bound(whiten(jacobian, jnp.array([0.02, 2e-9])))
    along, across = (299_792_458.0 * 2e-9 / 2) ** 2, (distance * 0.02) ** 2
    expected = along * np.outer(ahead, ahead) + across * np.outer(aside, aside)
    assert np.allclose(result, expected, rtol=1e-9)


def test_correlated_errors_match_the_explicit_inverse_and_the_diagonal_case(key):
    jacobian = jax.random.normal(key, (4, 2))
    root = jax.random.normal(jax.random.split(key)[0], (4, 4))
    covariance = root @ root.T + jnp.eye(4)
    expected = jacobian.T @ np.linalg.inv(covariance) @ jacobian
    assert np.allclose(information(whiten_correlated(jacobian, covariance)), expected, rtol=1e-10)
    std = jnp.array([1.0, 0.2, 3.0, 0.4])
    independent = information(whiten(jacobian, std))
    diagonal = information(whiten_correlated(jacobian, jnp.diag(std**2)))
    assert np.allclose(diagonal, independent, rtol=1e-12)


def test_an_infinite_deviation_adds_nothing_and_more_measurements_never_hurt(key):
    jacobian = jax.random.normal(key, (5, 2))
    std = jnp.array([1.0, 2.0, 0.5, 3.0, jnp.inf])
    assert np.allclose(
        bound(whiten(jacobian, std)), bound(whiten(jacobian[:4], std[:4])), rtol=1e-12
    )
    more = bound(whiten(jacobian[:4], std[:4]))
    fewer = bound(whiten(jacobian[:3], std[:3]))
    assert np.linalg.eigvalsh(fewer - more).min() >= -1e-14


def test_an_unobserved_direction_is_refused_eager_and_compiled_and_named_by_the_spectrum():
    ahead = jnp.array([0.6, 0.8])
    rows = jnp.stack([ahead, 2 * ahead, -3 * ahead])
    with pytest.raises(RuntimeError, match="leave a direction unobserved"):
        bound(rows)
    with pytest.raises(eqx.EquinoxRuntimeError, match="leave a direction unobserved"):
        eqx.filter_jit(bound)(rows)
    with pytest.raises(ValueError, match="1 measurements cannot bound 2 parameters"):
        bound(rows[:1])
    seen = spectrum(information(rows))
    assert seen.observed.tolist() == [False, True]
    assert np.isclose(abs(seen.direction[:, 0] @ jnp.array([-0.8, 0.6])), 1.0, rtol=1e-12)
    assert np.allclose(seen.information, [0.0, 14.0], atol=1e-12)
    assert np.allclose(seen.covariance, np.outer(ahead, ahead) / 14, atol=1e-14)


def test_the_spectrum_inverts_what_is_fully_observed(key):
    rows = jax.random.normal(key, (6, 3))
    seen = spectrum(information(rows))
    assert seen.observed.all()
    assert np.allclose(seen.covariance, bound(rows), rtol=1e-9)


def test_a_covariance_that_is_none_is_refused():
    with pytest.raises(RuntimeError, match="must be positive definite"):
        whiten_correlated(jnp.eye(2), jnp.array([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.parametrize("paths", [2, 3, 5])
def test_all_pairs_of_echo_delays_inform_half_a_path_count_more_than_reciprocal_ones(paths):
    # Full 2 L I + 2 11^T against 4 I: L/2 across the common delay (L-1 times), L along it.
    one = np.eye(paths)
    every = jnp.asarray([one[i] + one[j] for i in range(paths) for j in range(paths)])
    reciprocal = jnp.asarray([2 * one[i] for i in range(paths)])
    full, diagonal = information(every), information(reciprocal)
    assert np.allclose(full, 2 * paths * np.eye(paths) + 2, atol=1e-12)
    ratio = np.sort(np.linalg.eigvals(np.linalg.inv(diagonal) @ full).real)
    assert np.allclose(ratio, [paths / 2] * (paths - 1) + [paths], rtol=1e-12)
