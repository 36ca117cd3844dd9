"""Pilots that separate users, and white noise at a stated ratio.

Takes counts, amplitudes, samples and an explicit random generator.
Gives arrays of numpy.
"""

import numpy as np
from jaxtyping import Complex, Float


def dft_pilots(
    length: int, amplitude: Float[np.ndarray, " user"]
) -> Complex[np.ndarray, "pilot user"]:
    """Make orthogonal pilots, columns of a DFT matrix, whose energy is the amplitude squared.

    Args:
        length: Pilots in time, at least as many as there are users.
        amplitude: Root of the energy of each user over the whole pilot.
    """
    users = len(amplitude)
    if length < users:
        raise ValueError(
            f"pilots must be at least as long as there are users, {users}; got {length}"
        )
    turns = np.outer(np.arange(length), np.arange(users)) / length
    return np.exp(-2j * np.pi * turns) / np.sqrt(length) * amplitude


def add_noise(
    samples: Complex[np.ndarray, "*shape"], variance: float, generator: np.random.Generator
) -> Complex[np.ndarray, "*shape"]:
    """Add circular white Gaussian noise of a variance per sample."""
    real, imaginary = generator.standard_normal((2, *samples.shape))
    return samples + np.sqrt(variance / 2) * (real + 1j * imaginary)
