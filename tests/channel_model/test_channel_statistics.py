"""Statistics of whole channels against closed forms: two paths, Rayleigh fades."""

import numpy as np
import pytest
from scipy.special import j0

from echoscape.channel_model import describe_channel
from echoscape.channel_model.channel_statistics import LEVELS_DB
from echoscape.checks import InputError

TIME = np.arange(4000) / 1000.0


def test_two_equal_paths_decorrelate_as_a_cosine():
    # |R| = |cos(pi (d lag - tau shift))|: one half at a third of 1/d and of 1/tau
    doppler, delay, spacing = 5.0, 800e-9, 50e3
    time, tone = np.arange(400) / 100.0, spacing * np.arange(400)
    phase = np.exp(2j * np.pi * (doppler * time[:, None] - delay * tone[None]))
    found = describe_channel((1 + phase)[:, None, None], time, spacing)
    lag, shift = (np.array(found[name]) for name in ("lag", "shift"))
    expected = np.abs(np.cos(np.pi * (doppler * lag[:, None] - delay * shift[None])))
    # over 15 periods and more, one broken off weighs 1 / (2 pi 15) at most
    assert np.allclose(np.array(found["correlation"])[:100], expected[:100], atol=0.02)
    assert found["coherence_time"] == pytest.approx(1 / (3 * doppler), rel=0.03)
    assert found["coherence_bandwidth"] == pytest.approx(1 / (3 * delay), rel=0.03)
    assert found["stationarity_distance"] is None  # one pair of antennas


def test_rings_of_scatterers_fade_as_clarke_and_rice_say():
    doppler, rng = 20.0, np.random.default_rng(4)
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 16, 40))
    turn = 2 * np.pi * doppler * np.cos(angle)
    response = np.exp(1j * (TIME[:, None, None] * turn + phase)).sum(axis=2)[:, :, None, None]
    found = describe_channel(response, TIME, 1.0)
    lag = np.array(found["lag"])
    # 640 paths: a standard error of 0.04, three allowed
    assert np.allclose(np.array(found["correlation"])[:, 0], np.abs(j0(2 * np.pi * doppler * lag)),
                       atol=0.12)  # fmt: skip
    level = 10 ** (0.05 * np.array(LEVELS_DB))
    rate = np.sqrt(2 * np.pi) * doppler * level * np.exp(-(level**2))
    crossings, fade = np.array(found["crossings"]), np.array(found["fade_duration"])
    some = np.abs(np.array(LEVELS_DB) + 5) <= 10  # 64 s hold some hundred of these
    assert np.allclose(crossings[some], rate[some], rtol=0.15)
    duration = (1 - np.exp(-(level**2))) / rate
    assert np.allclose(fade[some], duration[some], rtol=0.2)


def test_windows_from_other_directions_are_far_apart():
    steer = np.exp(
        1j * np.pi * np.arange(8)[None] * np.where(np.arange(4000) < 2000, 0.1, 0.6)[:, None]
    )
    found = describe_channel(steer[:, None, :, None], TIME, 1.0, window=0.5)
    apart = np.array(found["stationarity_distance"])
    assert apart.shape == (8, 8)
    assert np.allclose(apart[:4, :4], 0, atol=1e-12)
    overlap = np.abs(np.sum(np.exp(1j * np.pi * 0.5 * np.arange(8)))) / 8
    assert np.allclose(apart[:4, 4:], 1 - overlap**2, atol=1e-12)
    assert found["window"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("response", "window", "message"),
    [(np.ones((1, 1, 1, 1), complex), None, "at least two times; got 1"),
     (np.zeros((9, 1, 1, 1), complex), None, "no power, so it has no statistics"),
     (np.ones((9, 1, 1, 1), complex), 0.001, "at most all, 0.002 to 0.009 s; got 0.001"),
     (np.ones((9, 1, 1, 1), complex), 1.0, "at most all, 0.002 to 0.009 s; got 1")],
)  # fmt: skip
def test_channels_without_statistics_are_refused(response, window, message):
    with pytest.raises(InputError, match=message):
        describe_channel(response, TIME[: len(response)], 1.0, window)
