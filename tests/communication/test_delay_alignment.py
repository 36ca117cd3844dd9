"""Pilots saved and delays aligned: closed forms, brute force, and orders that must hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.communication.channel_estimation import (
    expected_error,
    informed_pilots,
    least_squares,
    prior_estimate,
)
from echoscape.communication.delay_alignment import (
    Alignment,
    TappedPaths,
    align,
    aligned_rate,
    choose_alignment,
)


@pytest.fixture
def covariance(key):
    """A channel of three directions on eleven elements."""
    parts = jax.random.normal(key, (2, 11, 3))
    root = (parts[0] + 1j * parts[1]) * jnp.array([[2.0, 1.0, 0.4]])
    return root @ jnp.conj(root.T), root


def draws(key, count, size):
    parts = jax.random.normal(key, (2, count, size)) / np.sqrt(2)
    return parts[0] + 1j * parts[1]


@pytest.mark.slow
def test_the_expected_error_is_the_mean_of_what_happens(key, covariance):
    matrix, root = covariance
    pilots = jnp.conj(draws(jax.random.fold_in(key, 3), 5, 11))
    noise = jnp.asarray(0.3)
    channel = draws(jax.random.fold_in(key, 1), 4000, 3) @ root.T
    received = channel @ pilots.T + jnp.sqrt(0.3) * draws(jax.random.fold_in(key, 2), 4000, 5)
    found = jax.vmap(lambda y: prior_estimate(matrix, pilots, y, noise))(received)
    square = jnp.sum(jnp.abs(found - channel) ** 2, axis=1)
    deviation = float(jnp.std(square) / np.sqrt(4000))
    assert float(expected_error(matrix, pilots, noise)) == pytest.approx(
        float(square.mean()), abs=4 * deviation
    )
    alone = jax.vmap(lambda y: least_squares(pilots, y))(received)
    assert square.mean() < jnp.sum(jnp.abs(alone - channel) ** 2, axis=1).mean()


def test_informed_pilots_do_with_three_what_others_need_many_for(key, covariance):
    matrix, _ = covariance
    noise = jnp.asarray(1e-3)
    three = expected_error(matrix, informed_pilots(matrix, 3), noise)
    blind = expected_error(matrix, jnp.eye(11, dtype=matrix.dtype)[:3], noise)
    # Three directions, each seen with the noise of one pilot: at most three times that noise.
    assert 0 < float(three) <= 3e-3
    assert float(blind) > float(three)


def scene(key, paths=3, size=16):
    angle = jnp.array([0.4, 1.3, 2.5])[:paths]
    index = jnp.arange(float(size))
    steering = jnp.exp(1j * jnp.pi * index[None] * jnp.cos(angle)[:, None])
    gain = jnp.array([0.8, 0.5, 0.33])[:paths] * jnp.exp(1j * jnp.array([0.3, 2.0, -1.1]))[:paths]
    return TappedPaths(gain, steering, jnp.array([1e-7, 1.73e-7, 3.1e-7])[:paths])


@pytest.mark.slow
def test_one_path_reaches_the_rate_of_the_whole_array(key):
    truth = scene(key, 1)
    rate = aligned_rate(truth, align(truth, jnp.ones(1)), jnp.asarray(1e8), jnp.asarray(0.7))
    assert float(rate) == pytest.approx(np.log2(1 + 0.7 * 16 * 0.8**2), rel=1e-6)


@pytest.mark.slow
def test_known_paths_arrive_together_without_interference(key):
    truth = scene(key)
    plan = align(truth, jnp.ones(3))
    assert float(jnp.linalg.norm(plan.beam)) == pytest.approx(1.0)
    answer = truth.gain[:, None] * (jnp.conj(truth.steering) @ plan.beam.T)
    crossed = answer - jnp.diag(jnp.diagonal(answer))
    assert float(jnp.abs(crossed).max()) < 1e-2 * float(jnp.abs(answer).max())  # the loading
    rate = aligned_rate(truth, plan, jnp.asarray(1e8), jnp.asarray(0.7))
    signal = float(jnp.sum(jnp.abs(jnp.diagonal(answer))) ** 2)
    assert float(rate) == pytest.approx(np.log2(1 + 0.7 * signal), rel=1e-3)
    one = aligned_rate(truth, align(truth, jnp.eye(3)[0]), jnp.asarray(1e8), jnp.asarray(0.7))
    assert rate > one


def test_the_rate_is_that_of_samples_of_the_pulse(key):
    """Convolve by hand: beams, delays and sinc pulses, at every timing, tap by tap."""
    truth = scene(key)
    plan = align(
        truth._replace(delay=truth.delay + jnp.array([0.4e-8, -0.3e-8, 1e-8])), jnp.ones(3)
    )
    found = aligned_rate(truth, plan, jnp.asarray(1e8), jnp.asarray(0.7))
    best = 0.0
    for shift in np.linspace(-1.5, 1.5, 13):
        taps = np.zeros((4001, 3), complex)
        for path in range(3):
            for beam in range(3):
                response = truth.gain[path] * np.vdot(truth.steering[path], plan.beam[beam])
                late = 1e8 * float(truth.delay[path] + plan.advance[beam]) + shift
                taps[:, beam] += complex(response) * np.sinc(np.arange(-2000, 2001) - late)
        turned = taps @ np.exp(-1j * np.angle(taps[2000]))
        power = np.abs(turned) ** 2
        signal = power[2000]
        best = max(best, np.log2(1 + 0.7 * signal / (1 + 0.7 * (power.sum() - signal))))
    assert float(found) == pytest.approx(best, rel=0.02)  # far taps are counted without their phase


@pytest.mark.slow
def test_uncertain_delays_leave_fewer_beams(key):
    truth = scene(key)
    wild = [
        truth._replace(delay=truth.delay + jnp.array([0.0, s * 4e-8, -s * 7e-8])) for s in (-1, 1)
    ]
    nodes = jax.tree.map(lambda *leaves: jnp.stack(leaves), truth, *wild)
    width, snr = jnp.asarray(1e8), jnp.asarray(5.0)
    sure, promised = choose_alignment(
        truth, jax.tree.map(lambda leaf: leaf[None], truth), jnp.ones(1), width, snr
    )
    unsure, hoped = choose_alignment(truth, nodes, jnp.array([0.2, 0.4, 0.4]), width, snr)
    beams = lambda plan: int(jnp.sum(jnp.linalg.norm(plan.beam, axis=1) > 1e-9))  # noqa: E731
    assert beams(sure) == 3 > beams(unsure)
    assert hoped < promised
    assert isinstance(unsure, Alignment)
