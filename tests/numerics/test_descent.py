"""Descent: closed forms, other methods' answers, and every result code."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from echoscape.numerics import (
    DescentSettings,
    DescentStatus,
    damped_newton,
)

damped_newton = eqx.filter_jit(damped_newton)


def from_residuals(residual):
    """Half the sum of squares, its gradient and Gauss-Newton curvature."""

    def objective(x):
        r, jacobian = residual(x), jax.jacfwd(residual)(x)
        return 0.5 * r @ r, r @ jacobian, jacobian.T @ jacobian

    return objective


def descend_from(objective, starts, settings):
    """Descend from every start at once."""
    return jax.vmap(lambda start: damped_newton(objective, start, settings=settings))(starts)


def rosenbrock(x):
    return jnp.stack([1.0 - x[0], 10.0 * (x[1] - x[0] ** 2)])


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_a_linear_problem_is_solved_as_the_normal_equations_say(key, n):
    a, b = jax.random.normal(key, (n + 3, n)), jnp.arange(n + 3.0) - 1.7
    settings = DescentSettings(max_steps=40, tolerance_step=1e-10)
    descent = damped_newton(from_residuals(lambda x: a @ x - b), jnp.ones(n), settings=settings)
    expected = np.linalg.lstsq(a, b)[0]
    assert np.allclose(descent.x, expected, rtol=0, atol=1e-9)
    assert np.allclose(descent.curvature, a.T @ a, rtol=1e-12)
    assert np.isclose(descent.value, 0.5 * np.sum((a @ expected - b) ** 2), rtol=1e-12)
    assert descent.status == DescentStatus.CONVERGED


def test_the_answer_is_that_of_an_independent_solver(key):
    anchors = jnp.array([[0.0, 0.0], [30.0, 4.0], [7.0, 25.0], [-12.0, 9.0]])
    ranges = jnp.linalg.norm(anchors - jnp.array([[11.0, 8.0]]), axis=-1)
    ranges = ranges + 0.3 * jax.random.normal(key, (4,))

    def residual(x):
        return jnp.linalg.norm(anchors - x[None], axis=-1) - ranges

    ours = damped_newton(from_residuals(residual), jnp.array([20.0, 2.0]))
    theirs = scipy.optimize.least_squares(residual, [20.0, 2.0], xtol=1e-12, gtol=1e-12)
    assert np.allclose(ours.x, theirs.x, atol=1e-6)
    assert np.isclose(ours.value, theirs.cost, rtol=1e-9)


def test_many_starts_compiled_equal_one_by_one(key):
    starts = 2.0 * jax.random.normal(key, (4, 2))
    settings = DescentSettings(max_steps=60)
    objective = from_residuals(rosenbrock)
    together = descend_from(objective, starts, settings)
    assert np.allclose(together.x, 1.0, atol=1e-5)
    for k, start in enumerate(starts):
        alone = damped_newton(objective, start, settings=settings)
        assert np.allclose(together.x[k], alone.x, atol=1e-12)
        assert together.steps[k] == alone.steps
        assert together.status[k] == alone.status == DescentStatus.CONVERGED


def test_units_of_the_unknowns_do_not_matter():
    settings = DescentSettings(max_steps=9, tolerance_step=0.0)
    unit = jnp.array([1.0, 1e-6])
    plain = damped_newton(from_residuals(rosenbrock), jnp.array([-1.0, 2.0]), settings=settings)
    scaled = damped_newton(
        from_residuals(lambda x: rosenbrock(x / unit)),
        jnp.array([-1.0, 2.0]) * unit,
        settings=settings,
    )
    assert np.allclose(scaled.x / unit, plain.x, rtol=1e-9)


def test_steps_are_never_longer_than_allowed_and_running_out_is_said():
    settings = DescentSettings(max_steps=3, step_limit=0.5, initial_damping=1e-6)
    start = jnp.array([30.0, -40.0])
    descent = damped_newton(from_residuals(lambda x: x), start, settings=settings)
    assert descent.status == DescentStatus.STEP_LIMIT
    assert descent.steps == 3
    assert np.allclose(descent.x, start * (1 - 1.5 / 50), rtol=1e-9)


def test_a_small_gradient_ends_the_descent_at_once():
    settings = DescentSettings(tolerance_gradient=1e-3)
    descent = damped_newton(from_residuals(lambda x: x), jnp.full(2, 1e-4), settings=settings)
    assert descent.status == DescentStatus.CONVERGED
    assert descent.steps == 0


def test_a_forbidden_region_is_walked_around_not_into():
    def residual(x):  # NaN left of 0.5, where the first full step would land
        return jnp.stack([jnp.log(x[0] - 0.5) - jnp.log(0.25), x[1] - 3.0])

    settings = DescentSettings(max_steps=50)
    descent = damped_newton(from_residuals(residual), jnp.array([5.0, 1.0]), settings=settings)
    assert np.allclose(descent.x, [0.75, 3.0], atol=1e-6)
    assert descent.status == DescentStatus.CONVERGED


def test_a_start_that_is_not_finite_is_a_status_and_no_nan_comes_out():
    objective = from_residuals(lambda x: jnp.sqrt(x))
    starts = jnp.array([[-1.0, 2.0], [4.0, 2.0], [3.0, -5.0]])
    descent = descend_from(objective, starts, DescentSettings(max_steps=3))
    wanted = [DescentStatus.NOT_FINITE, DescentStatus.STEP_LIMIT, DescentStatus.NOT_FINITE]
    assert descent.status.tolist() == wanted
    assert np.isinf(descent.value[0])
    assert np.array_equal(descent.x[0], starts[0])
    for leaf in jax.tree.leaves(descent):
        assert not np.any(np.isnan(leaf))


def test_a_gradient_that_lies_is_found_out():
    def uphill(x):
        return x[0] ** 2, -2.0 * x, 2.0 * jnp.eye(1)

    settings = DescentSettings(max_steps=100)
    descent = damped_newton(uphill, jnp.array([3.0]), settings=settings)
    assert descent.status == DescentStatus.STALLED
    assert descent.x == 3.0


def test_a_singular_curvature_still_descends():
    settings = DescentSettings(max_steps=40)
    objective = from_residuals(lambda x: jnp.stack([x[0] + 2.0 * x[1] - 3.0, 0.0 * x[0]]))
    descent = damped_newton(objective, jnp.array([4.0, 4.0]), settings=settings)
    assert np.isclose(descent.x @ jnp.array([1.0, 2.0]), 3.0, atol=1e-6)
    assert descent.status == DescentStatus.CONVERGED


def test_single_precision_stays_single_and_converges():
    start = jnp.array([-1.2, 1.0], jnp.float32)
    settings = DescentSettings(max_steps=60, tolerance_step=1e-4)
    descent = damped_newton(from_residuals(rosenbrock), start, settings=settings)
    assert descent.x.dtype == jnp.float32
    assert np.allclose(descent.x, 1.0, atol=1e-3)
    assert descent.status == DescentStatus.CONVERGED


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"max_steps": 0}, "max_steps must be at least 1; got 0"),
        ({"step_limit": -1.0}, "step_limit must be above zero; got -1"),
        ({"initial_damping": float("nan")}, "initial_damping must be above zero; got nan"),
        ({"tolerance_step": -1e-3}, "tolerance_step must not be negative; got -0.001"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        DescentSettings(**wrong)
