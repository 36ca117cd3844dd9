"""Particles against the Kalman filter, which is exact where all is linear and Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.numerics.kalman import (
    Gaussian,
    extended_update,
    fixed_lag,
    predict,
    smooth,
    unscented_update,
)
from echoscape.numerics.particles import (
    bootstrap_step,
    effective_size,
    start_cloud,
    systematic,
)

STEP, PUSH, ERROR = 0.5, 0.1, 0.2
FORWARD = jnp.kron(jnp.array([[1.0, STEP], [0.0, 1.0]]), jnp.eye(2))
SPREAD = jnp.kron(jnp.array([[STEP**2 / 2], [STEP]]), PUSH * jnp.eye(2))


def measure(state):
    return state[:2]


def walk(key, steps=60):
    key_push, key_error = jax.random.split(key)
    push = jax.random.normal(key_push, (steps, 2))

    def move(state, push):
        state = FORWARD @ state + SPREAD @ push
        return state, state[:2]

    place = jax.lax.scan(move, jnp.array([0.0, 1.0, 0.6, -0.2]), push)[1]
    return place + ERROR * jax.random.normal(key_error, place.shape)


def kalman(measured, update=extended_update):
    def step(belief, value):
        belief = predict(belief, FORWARD, SPREAD @ SPREAD.T)
        belief = update(belief, value, ERROR**2 * jnp.eye(2), measure)
        return belief, belief

    start = Gaussian(jnp.array([0.0, 1.0, 0.6, -0.2]), 0.01 * jnp.eye(4))
    return jax.lax.scan(step, start, measured)[1]


@jax.jit
def textbook(measured):
    mean, covariance = jnp.array([0.0, 1.0, 0.6, -0.2]), 0.01 * jnp.eye(4)
    chosen, found = jnp.eye(2, 4), []
    for value in measured:
        mean = FORWARD @ mean
        covariance = FORWARD @ covariance @ FORWARD.T + SPREAD @ SPREAD.T
        inner = chosen @ covariance @ chosen.T + ERROR**2 * jnp.eye(2)
        gain = covariance @ chosen.T @ jnp.linalg.inv(inner)
        mean = mean + gain @ (value - chosen @ mean)
        covariance = covariance - gain @ inner @ gain.T
        found.append(mean)
    return jnp.stack(found)


@pytest.mark.slow
@pytest.mark.parametrize("update", [extended_update, unscented_update])
def test_both_updates_are_exact_where_all_is_linear(key, update):
    measured = walk(key, 12)
    assert np.allclose(kalman(measured, update).mean, textbook(measured), atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("count", [800, 3200])
def test_particles_approach_the_kalman_filter(key, count):
    measured = walk(key)
    exact = kalman(measured).mean[:, :2]

    def move(key, state):
        return state @ FORWARD.T + jax.random.normal(key, (len(state), 2)) @ SPREAD.T

    @jax.jit
    def run(key):
        def step(cloud, instant):
            value, key = instant
            cloud, _ = bootstrap_step(
                cloud,
                move,
                lambda x: -0.5 * jnp.sum((x[:, :2] - value[None]) ** 2, axis=1) / ERROR**2,
                key=key,
            )
            return cloud, cloud.mean[:2]

        start = jnp.array([[0.0, 1.0, 0.6, -0.2]]) + 0.1 * jax.random.normal(key, (count, 4))
        keys = jax.random.split(key, len(measured))
        return jax.lax.scan(step, start_cloud(start), (measured, keys))[1]

    apart = jnp.sqrt(jnp.mean((run(key) - exact) ** 2))
    assert apart < 1.0 / np.sqrt(count)  # metres; the posterior spread is 0.1 m


def test_ancestors_come_in_proportion_to_their_weights(key):
    log_weight = jnp.log(jnp.array([0.1, 0.6, 0.05, 0.25]))
    wide = jnp.repeat(log_weight, 250)
    share = jnp.bincount(systematic(wide, key=key) // 250, length=4) / 1000
    assert jnp.allclose(share, jnp.exp(log_weight), atol=0.0011)  # a comb is off by one tooth


def test_effective_size_of_equal_and_of_single_weights():
    assert effective_size(jnp.zeros(40)) == pytest.approx(40)
    assert effective_size(jnp.array([0.0, -1e3, -1e3])) == pytest.approx(1)


def test_a_measurement_that_no_particle_explains_loses_nothing(key):
    cloud = start_cloud(jnp.arange(6.0).reshape(3, 2))
    after, evidence = bootstrap_step(
        cloud, lambda _, x: x + 1, lambda x: jnp.full(len(x), -jnp.inf), key=key
    )
    assert jnp.isfinite(after.mean).all()
    assert evidence == -jnp.inf


def test_smoothing_the_last_but_one_equals_conditioning_on_both(key):
    root = jax.random.normal(key, (4, 4))
    first = Gaussian(jnp.arange(4.0), root @ root.T)
    ahead = predict(first, FORWARD, 0.1 * jnp.eye(4))
    value = jnp.array([1.0, 3.0])
    later = extended_update(ahead, value, ERROR**2 * jnp.eye(2), measure)
    found = smooth(first, ahead, later, FORWARD)
    noise = ERROR**2 * jnp.eye(2) + 0.1 * jnp.eye(2)
    direct = extended_update(first, value, noise, lambda x: (FORWARD @ x)[:2])
    assert np.allclose(found.mean, direct.mean, atol=1e-9)
    assert np.allclose(found.covariance, direct.covariance, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("lag", [1, 3, 20])
def test_a_fixed_lag_equals_conditioning_everything_at_once(key, lag):
    steps = 6
    measured = walk(key, steps)
    noise = SPREAD @ SPREAD.T + 1e-3 * jnp.eye(4)
    start = Gaussian(jnp.array([0.0, 1.0, 0.6, -0.2]), 0.3 * jnp.eye(4))
    onward = jax.jit(lambda belief, noise: predict(belief, FORWARD, noise))
    taken_in = jax.jit(
        lambda belief, value: extended_update(belief, value, ERROR**2 * jnp.eye(2), measure)
    )
    filtered, predicted, belief = [], [], start
    for k, value in enumerate(measured):
        if k:
            belief = onward(belief, noise)
            predicted.append(belief)
        belief = taken_in(belief, value)
        filtered.append(belief)
    lay = [jax.tree.map(lambda *x: jnp.stack(x), *each) for each in (filtered, predicted)]
    found = jax.jit(fixed_lag, static_argnums=3)(*lay, jnp.stack([FORWARD] * (steps - 1)), lag)
    # the twin: all states in one Gaussian, built from the start and every push
    size = 4 * steps
    push = np.zeros((size, size))
    grow = np.zeros((size, size))
    for k in range(steps):
        push[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] = noise if k else start.covariance
        for j in range(k + 1):
            power = np.linalg.matrix_power(np.asarray(FORWARD), k - j)
            grow[4 * k : 4 * k + 4, 4 * j : 4 * j + 4] = power
    mean, spread = grow[:, :4] @ start.mean, grow @ push @ grow.T
    look = np.kron(np.eye(steps), np.eye(4)[:2])
    for k in range(steps):
        rows = look[: 2 * min(k + lag + 1, steps)]
        gain = (
            spread @ rows.T @ np.linalg.inv(rows @ spread @ rows.T + ERROR**2 * np.eye(len(rows)))
        )
        value = np.asarray(measured).reshape(-1)[: len(rows)]
        part = slice(4 * k, 4 * k + 4)
        assert np.allclose(found.mean[k], (mean + gain @ (value - rows @ mean))[part], atol=1e-9)
        exact = (spread - gain @ rows @ spread)[part, part]
        assert np.allclose(found.covariance[k], exact, atol=1e-9)
