"""Separable tones against long atoms written out, and the textbook bound of one tone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.numerics.harmonics import (
    correlate,
    correlate_slopes,
    frequency_covariances,
    frequency_information,
    gram,
    synthesize,
)

SHAPE = (3, 5, 8)  # unequal on purpose
FREQUENCY = jnp.array([[0.3, -1.1, 2.0], [0.5, -0.7, 1.6], [-2.0, 0.4, -0.9]])
GAIN = jnp.array([1.0 + 0.5j, -0.3 + 0.8j, 0.2 - 0.7j])


def long_atoms(frequency):
    """Write every atom out, sample by sample."""
    index = jnp.stack(jnp.meshgrid(*(jnp.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij"))
    return jnp.exp(1j * jnp.einsum("ea,a...->e...", frequency, index)).reshape(len(frequency), -1)


@pytest.mark.slow
def test_inner_products_and_sums_are_those_of_long_atoms(key):
    atoms = long_atoms(FREQUENCY)
    np.testing.assert_allclose(synthesize(FREQUENCY, GAIN, SHAPE).ravel(), GAIN @ atoms, atol=1e-12)
    real, imaginary = jax.random.normal(key, (2, *SHAPE))
    samples = real + 1j * imaginary
    expected = atoms.conj() @ samples.ravel()
    np.testing.assert_allclose(correlate(samples, FREQUENCY), expected, atol=1e-11)
    plain, slope = correlate_slopes(samples, FREQUENCY)
    np.testing.assert_allclose(plain, expected, atol=1e-11)
    derivative = jax.jacfwd(lambda w: long_atoms(w))(FREQUENCY)  # [atom, sample, atom, axis]
    own = derivative[jnp.arange(3), :, jnp.arange(3)]
    np.testing.assert_allclose(slope, jnp.einsum("esa,s->ea", own.conj(), samples.ravel()),
                               atol=1e-11)  # fmt: skip
    np.testing.assert_allclose(
        gram(FREQUENCY, SHAPE), atoms.conj() @ atoms.T / atoms.shape[1], atol=1e-13
    )


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_the_information_is_that_of_all_unknowns_with_the_gains_projected_out(shared):
    # The brute-force twin: every real unknown of the mean, its Fisher matrix, a Schur complement.
    mix = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) if shared else jnp.eye(3)
    unknown = jnp.array([0.7 + 0.2j, 0.2 - 0.7j]) if shared else GAIN
    noise = 0.3

    def mean(flat):
        frequency, gains = flat[:9].reshape(3, 3), flat[9:].reshape(2, -1)
        value = (mix @ (gains[0] + 1j * gains[1])) @ long_atoms(frequency)
        return jnp.concatenate([value.real, value.imag])

    flat = jnp.concatenate([FREQUENCY.ravel(), unknown.real, unknown.imag])
    jacobian = jax.jacfwd(mean)(flat)
    whole = 2 / noise * jacobian.T @ jacobian
    expected = whole[:9, :9] - whole[:9, 9:] @ jnp.linalg.solve(whole[9:, 9:], whole[9:, :9])
    found = frequency_information(FREQUENCY, mix @ unknown, SHAPE, noise, mix if shared else None)
    np.testing.assert_allclose(found.reshape(9, 9), expected, rtol=1e-7, atol=1e-6)
    inverse = jnp.linalg.inv(expected)
    own = frequency_covariances(found)
    for atom in range(3):
        block = inverse[3 * atom : 3 * atom + 3, 3 * atom : 3 * atom + 3]
        # the prior of a full circle adds 0.3 to information of tens and more
        np.testing.assert_allclose(own[atom], block, rtol=0.05, atol=1e-4)


@pytest.mark.slow
def test_one_tone_has_the_textbook_bound():
    shape, noise, gain = (4, 9), 0.01, jnp.array([0.6 - 0.8j])
    snr = 36 / noise
    found = frequency_covariances(
        frequency_information(jnp.array([[0.4, -1.3]]), gain, shape, noise)
    )[0]
    expected = [6 / ((4**2 - 1) * snr), 6 / ((9**2 - 1) * snr)]
    # relative weight of the prior: 0.3 of an information of 9,000 and more
    np.testing.assert_allclose(jnp.diagonal(found), expected, rtol=1e-4)
    assert abs(found[0, 1]) < 1e-12


def test_a_tone_without_gain_is_known_as_badly_as_can_be():
    information = frequency_information(FREQUENCY[:1], jnp.zeros(1, complex), SHAPE, 1.0)
    covariance = frequency_covariances(information)[0]
    np.testing.assert_allclose(jnp.diagonal(covariance), np.pi**2 / 3, rtol=1e-9)
