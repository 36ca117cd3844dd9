"""What a simulation of links asks of a channel: how long and how wide it stays the same, its fades.

Takes a frequency response over time.
Gives one table of `describe_channel`, as JSON holds it.
"""

from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from echoscape.channel_model.statistic import (
    level_crossings,
    stationarity_distance,
    time_frequency_correlation,
)
from echoscape.checks import InputError

LEVELS_DB = (-30.0, -25.0, -20.0, -15.0, -10.0, -5.0, 0.0, 5.0)
"""Levels at which fades are counted, in the envelope's root mean square [dB]."""
_MOST_LAGS, _MOST_SHIFTS, _MOST_WINDOWS = 200, 100, 40


def describe_channel(
    response: Complex[np.ndarray, "time rx tx tone"],
    time: Float[np.ndarray, " time"],
    spacing: float,
    window: float | None = None,
) -> dict[str, Any]:
    """Measure correlations, distances between windows, and fades of a channel.

    Correlations are means over antenna pairs; distances are those of their correlation matrices at
    the middle tone, so a single pair has none; fades are counted on every pair at the middle tone.

    Args:
        response: The channel at evenly spaced times and tones.
        time: The times [s].
        spacing: Distance between tones [Hz].
        window: Length of the windows that are compared; a twentieth of the time if not given [s].

    Returns:
        ``lag`` [s], ``shift`` [Hz] and ``correlation`` (magnitude, lag by shift); coherence time
        [s] and bandwidth [Hz], where it first falls below one half, none where it never does;
        ``window`` [s] and ``stationarity_distance``; ``level`` [dB], ``crossings`` [Hz] and
        ``fade_duration`` [s].

    Raises:
        InputError: There are fewer than two times, no power, or less than two samples in a window.
    """
    count, tones = response.shape[0], response.shape[3]
    if count < 2:
        raise InputError(f"statistics over time need at least two times; got {count}")
    if not np.any(response):
        raise InputError("this channel has no power, so it has no statistics; take other times")
    step = float(time[1] - time[0])
    span = count * step
    length = max(2, round((span / 20 if window is None else window) / step))
    if window is not None and not 2 * step <= window <= span:
        raise InputError(
            f"a window must hold two samples and at most all, {2 * step:g} to {span:g} s; got "
            f"{window:g}"
        )
    longest, widest = min(count // 2, _MOST_LAGS), min(tones // 2, _MOST_SHIFTS)
    pairs = np.moveaxis(response, 3, 1).reshape(count, tones, -1)
    correlation = np.abs(time_frequency_correlation(pairs, longest, widest))
    middle = pairs[:, tones // 2]
    power = np.mean(np.abs(middle) ** 2, axis=0)
    heard = np.abs(middle[:, power > 0])
    fades = np.array(
        [
            [level_crossings(one, 10 ** (0.05 * level), span) for one in heard.T]
            for level in LEVELS_DB
        ]
    ).mean(axis=1)
    windows = min(count // length, _MOST_WINDOWS)
    apart = None
    if middle.shape[1] > 1 and windows > 1:
        apart = stationarity_distance(middle[: windows * length], length).tolist()
    return {
        "lag": (step * np.arange(longest + 1)).tolist(),
        "shift": (spacing * np.arange(widest + 1)).tolist(),
        "correlation": correlation.tolist(),
        "coherence_time": _first_below(correlation[:, 0], step),
        "coherence_bandwidth": _first_below(correlation[0], spacing),
        "window": length * step,
        "stationarity_distance": apart,
        "level": list(LEVELS_DB),
        "crossings": fades[:, 0].tolist(),
        "fade_duration": fades[:, 1].tolist(),
    }


def _first_below(correlation: np.ndarray, step: float) -> float | None:
    """Find where a correlation falls through one half, between samples."""
    low = np.flatnonzero(correlation < 0.5)
    if not len(low):
        return None
    k = int(low[0])
    return step * (k - (0.5 - correlation[k]) / (correlation[k - 1] - correlation[k]))
