"""How two sets of numbers differ in distribution, and how a channel changes over time.

Takes samples, frequency responses over time.
Gives Kolmogorov-Smirnov distances, correlations, stationarity distances, level crossings.
"""

import numpy as np
from jaxtyping import Complex, Float


def ks_distance(first: Float[np.ndarray, " a"], second: Float[np.ndarray, " b"]) -> float:
    """Measure the largest difference of two cumulative distributions [1]."""
    both = np.sort(np.concatenate([first, second]))
    low = np.searchsorted(np.sort(first), both, side="right") / len(first)
    high = np.searchsorted(np.sort(second), both, side="right") / len(second)
    return float(np.abs(low - high).max())


def ks_halves(sample: Float[np.ndarray, " a"]) -> float:
    """Measure the distance between a sample's own first and second half: what no model need beat.

    Over one short window of a non-stationary channel this is large, and a distance below it says
    nothing.
    """
    half = len(sample) // 2
    return ks_distance(sample[:half], sample[half:])


def time_frequency_correlation(
    response: Complex[np.ndarray, "time tone pair"], longest: int, widest: int
) -> Complex[np.ndarray, "lag shift"]:
    """Correlate a frequency response with itself later and at a higher tone, 1 at no lag [1].

    Means over all places of a lag and over antenna pairs, found by padded Fourier transforms.

    Args:
        response: Antenna pairs, evenly sampled in time and frequency.
        longest: Largest lag in time [sample].
        widest: Largest shift in frequency [tone].
    """
    time, tone, _ = response.shape
    size = (time + longest, tone + widest)  # so that nothing wraps onto a lag that is wanted
    spectrum = np.fft.fft2(response, size, axes=(0, 1))
    total = np.fft.ifft2(np.mean(np.abs(spectrum) ** 2, axis=2))[: longest + 1, : widest + 1]
    places = np.outer(time - np.arange(longest + 1), tone - np.arange(widest + 1))
    return total / places / np.mean(np.abs(response) ** 2)


def stationarity_distance(
    coefficient: Complex[np.ndarray, "time antenna"], window: int
) -> Float[np.ndarray, "window window"]:
    """Measure how differently a channel's power lies in space from one window to another.

    The correlation matrix distance of [herdin-distance]: 0 where two windows' correlation matrices
    agree up to a factor, 1 where nothing of one lies where the other has power.

    Args:
        coefficient: Antennas, or antenna pairs, over time.
        window: Samples in each window; a rest that fills none is left out.

    Returns:
        The distance of every window from every other; 0 between windows without power.
    """
    count = coefficient.shape[0] // window
    parts = coefficient[: count * window].reshape(count, window, -1)
    matrix = np.einsum("wta,wtb->wab", parts, parts.conj()).reshape(count, -1)
    size = np.linalg.norm(matrix, axis=1)
    both = size[:, None] * size[None]
    alike = np.real(matrix @ matrix.conj().T) / np.where(both > 0, both, 1.0)
    one_empty = (size[:, None] > 0) ^ (size[None] > 0)
    distance = np.where(both > 0, np.clip(1 - alike, 0.0, 1.0), 0.0)
    return np.where(one_empty, 1.0, distance)


def level_crossings(
    envelope: Float[np.ndarray, " time"], level: float, duration: float
) -> tuple[float, float]:
    """Count how often an envelope rises through a level, and how long it stays below.

    Args:
        envelope: Magnitudes, evenly sampled.
        level: In the root mean square of the envelope [1].
        duration: Time that the samples span [s].

    Returns:
        Crossings per second [Hz], and the mean time below between them [s].
    """
    below = envelope < level * np.sqrt(np.mean(envelope**2))
    crossings = int(np.sum(below[:-1] & ~below[1:]))
    spent = below.mean() * duration
    return crossings / duration, spent / crossings if crossings else 0.0
