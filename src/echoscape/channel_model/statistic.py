"""How two sets of numbers differ in distribution, and how a channel changes over time.

Takes samples, coefficients over time.
Gives Kolmogorov-Smirnov distances, correlations, level crossings.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float


def ks_distance(first: Float[np.ndarray, " a"], second: Float[np.ndarray, " b"]) -> float:
    """Measure the largest difference of two cumulative distributions [1]."""
    both = np.sort(np.concatenate([first, second]))
    low = np.searchsorted(np.sort(first), both, side="right") / len(first)
    high = np.searchsorted(np.sort(second), both, side="right") / len(second)
    return float(np.abs(low - high).max())


def ks_halves(sample: Float[np.ndarray, " a"]) -> float:
    """Measure how far a sample's own first and second half are apart: what no model need beat.

    Over one short window of a non-stationary channel this is large, and a distance below it says
    nothing.
    """
    half = len(sample) // 2
    return ks_distance(sample[:half], sample[half:])


def time_correlation(coefficient: Complex[Array, " time"], longest: int) -> Complex[Array, " lag"]:
    """Correlate a channel with itself some samples later, 1 at lag 0 [1].

    Args:
        coefficient: One antenna pair at one frequency, evenly sampled.
        longest: Largest lag [sample].
    """
    count = coefficient.shape[0]
    power = jnp.mean(jnp.abs(coefficient) ** 2)
    later = [
        jnp.mean(coefficient[lag:] * jnp.conj(coefficient[: count - lag]))
        for lag in range(longest + 1)
    ]
    return jnp.stack(later) / power


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
