"""Spreads and distributions with closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import ks_distance, ks_halves, spreads
from echoscape.channel_model.spread import azimuth_deviation
from echoscape.channel_model.statistic import (
    level_crossings,
    stationarity_distance,
    time_frequency_correlation,
)


def two(power, delay, azimuth, zenith):
    power, delay, azimuth, zenith = (jnp.asarray(x, float) for x in (power, delay, azimuth, zenith))
    return spreads(power, delay, azimuth, zenith, azimuth[::-1], zenith)


def test_two_paths_spread_by_their_split_and_distance():
    found = two([3.0, 1.0], [2e-7, 6e-7], [3.0, -3.0], [1.2, 1.5])
    split = np.sqrt(0.75 * 0.25)
    assert found.delay == pytest.approx(split * 4e-7)
    assert found.departure_zenith == pytest.approx(split * 0.3)
    # across the cut at pi the two are 2 pi - 6 apart, not 6
    half = 0.5 * (2 * np.pi - 6.0)
    resultant = np.hypot(np.cos(half), 0.5 * np.sin(half))
    assert found.departure_azimuth == pytest.approx(np.sqrt(-2 * np.log(resultant)))
    assert found.dominance == pytest.approx(3.0)


def test_one_path_and_none_have_no_spread():
    for power in ([2.0, 0.0], [0.0, 0.0]):
        found = two(power, [1e-7, 5e-7], [0.4, 2.0], [1.0, 1.1])
        assert found.delay == pytest.approx(0.0, abs=1e-12)
        assert found.arrival_azimuth == pytest.approx(0.0, abs=1e-6)
        assert np.isinf(found.dominance)


def test_ks_of_shifted_combs_is_the_shift():
    comb = np.arange(100) / 100
    assert ks_distance(comb, comb + 0.305) == pytest.approx(0.31)
    assert ks_distance(comb, comb) == 0
    assert ks_halves(comb) == pytest.approx(1.0)


def test_a_sine_crosses_once_a_period():
    time = np.linspace(0, 4, 4000, endpoint=False)
    envelope = 1.5 + np.sin(2 * np.pi * 2.5 * time + 0.3)
    crossings, below = level_crossings(envelope, 0.5, 4.0)
    assert crossings == pytest.approx(2.5)
    share = np.mean(envelope < 0.5 * np.sqrt(np.mean(envelope**2)))
    assert below == pytest.approx(share * 4.0 / 10)


def brute_correlation(response, lag, shift):
    time, tone, _ = response.shape
    product = response[lag:, shift:] * response[: time - lag, : tone - shift].conj()
    return product.mean() / np.mean(np.abs(response) ** 2)


def test_correlation_of_one_path_turns_with_doppler_and_against_delay():
    time, tone = np.arange(90)[:, None, None], np.arange(40)[None, :, None]
    found = time_frequency_correlation(np.exp(1j * (0.31 * time - 0.17 * tone)), 3, 2)
    lag, shift = np.arange(4)[:, None], np.arange(3)[None]
    assert np.allclose(found, np.exp(1j * (0.31 * lag - 0.17 * shift)), atol=1e-12)


def test_correlation_is_the_mean_product_at_every_lag_and_shift():
    rng = np.random.default_rng(8)
    response = rng.normal(size=(13, 7, 3, 2)) @ np.array([1.0, 1j])
    found = time_frequency_correlation(response, 12, 6)  # to the last lag: nothing may wrap
    for lag, shift in np.ndindex(13, 7):
        assert found[lag, shift] == pytest.approx(brute_correlation(response, lag, shift))


def test_stationarity_distance_of_known_directions():
    rng = np.random.default_rng(3)
    angle = 0.4
    steer = np.array([[1.0, 1.0j, -0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    steer[1] = np.cos(angle) * steer[0] / 1.5 + np.sin(angle) * np.array([1.0, -1.0j, 0]) / 2**0.5
    steer[2] = [1j, 1.0, 0.0]
    steer[2] -= (steer[2] @ steer[0].conj()) / 2.25 * steer[0]  # orthogonal to the first
    gain = rng.normal(size=(3, 8, 2)) @ [1.0, 1j]
    parts = [gain[i][:, None] * steer[i] for i in range(3)] + [5.0 * gain[0][:, None] * steer[0]]
    parts += [np.zeros((8, 3)), np.zeros((3, 3))]  # silence, and a rest
    found = stationarity_distance(np.concatenate(parts), 8)
    assert found.shape == (5, 5)
    assert found[0, 3] == pytest.approx(0.0, abs=1e-12)
    assert found[0, 2] == pytest.approx(1.0, abs=1e-12)
    share = abs(steer[0].conj() @ steer[1]) ** 2 / np.prod([np.vdot(s, s).real for s in steer[:2]])
    assert found[0, 1] == pytest.approx(1 - share, abs=1e-12)
    assert np.allclose(found[4, :4], 1.0)
    assert found[4, 4] == 0.0


def test_two_azimuths_deviate_from_their_circular_mean():
    power, azimuth = jnp.array([1.0, 1.0]), jnp.array([3.0, -3.1])
    half = 0.5 * (2 * np.pi - 6.1)  # the shorter way round, across the cut
    assert azimuth_deviation(power, azimuth) == pytest.approx(half)
