"""Spreads and distributions with closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import ks_distance, ks_halves, spreads
from echoscape.channel_model.statistic import level_crossings, time_correlation


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


def test_correlation_of_a_tone_is_its_turn():
    tone = jnp.exp(0.3j * jnp.arange(200))
    found = time_correlation(tone, 3)
    assert np.allclose(found, np.exp(0.3j * np.arange(4)), atol=1e-12)


def test_a_sine_crosses_once_a_period():
    time = np.linspace(0, 4, 4000, endpoint=False)
    envelope = 1.5 + np.sin(2 * np.pi * 2.5 * time + 0.3)
    crossings, below = level_crossings(envelope, 0.5, 4.0)
    assert crossings == pytest.approx(2.5)
    share = np.mean(envelope < 0.5 * np.sqrt(np.mean(envelope**2)))
    assert below == pytest.approx(share * 4.0 / 10)
