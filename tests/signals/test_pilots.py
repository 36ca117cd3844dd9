"""Pilots are orthogonal with the energy asked for; noise has the variance asked for."""

import numpy as np
import pytest

from echoscape.signals import add_noise, dft_pilots


def test_pilots_are_orthogonal_and_carry_the_energy_asked_for():
    amplitude = np.array([1.0, 0.3, 2.5])
    sent = dft_pilots(5, amplitude)
    assert np.allclose(sent.conj().T @ sent, np.diag(amplitude**2), atol=1e-14)


def test_pilots_shorter_than_users_are_refused():
    with pytest.raises(ValueError, match="at least as long as there are users, 3; got 2"):
        dft_pilots(2, np.ones(3))


def test_noise_is_circular_with_the_variance_asked_for():
    noise = add_noise(np.zeros((200, 100), complex), 0.7, np.random.default_rng(0))
    # 20000 samples: four standard errors.
    assert abs(np.mean(np.abs(noise) ** 2) - 0.7) < 4 * 0.7 / np.sqrt(20_000)
    assert abs(np.mean(noise**2)) < 4 * 0.7 / np.sqrt(20_000)
