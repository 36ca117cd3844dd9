"""The factored operator against the long matrix that it never forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.imaging.noncoherent import _moments
from echoscape.imaging.operator.cascade import (
    Cascade,
    Mask,
    adjoint,
    forward,
    forward_moments,
    free_space,
    make_factors,
)
from echoscape.imaging.operator.products import correlate, correlate_power, join, split
from echoscape.imaging.support_search.support import gram_of
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.voxel_scenes import GRID, stations

FREQUENCY = np.array([27.9e9, 28.0e9, 28.3e9])
USERS = np.array([[0.3, 3.1, 1.1], [6.2, 1.0, 2.2], [-3.0, 5.5, 0.7], [2.2, 9.4, 3.3]])


def make(dtype, chunk):
    factors = make_factors(
        GRID, USERS, stations(GRID, 2), FREQUENCY, np.array([1.0, 0.5, 2.0, 1.3]),
        chunk=chunk, dtype=dtype,
    )  # fmt: skip
    return Cascade(*map(jnp.asarray, factors))


def masks(key, cascade):
    chunks, size = cascade.padded
    one, two = jax.random.split(key)
    real = cascade.real_type
    return Mask(
        jax.random.uniform(one, (chunks, 4, size), real),
        jax.random.uniform(two, (chunks, 2, size), real),
    )


def long_matrix(cascade, mask):
    """The matrix of every sample and voxel, in plain numpy."""
    user, antenna = (np.asarray(join(segment)) for segment in (cascade.user, cascade.antenna))
    user = user * np.asarray(mask.user)[:, None]
    antenna = antenna * np.asarray(mask.station)[:, None, :, None]
    whole = user[:, :, :, None, None] * antenna[:, :, None]
    return np.moveaxis(whole, 0, -2).reshape(-1, user.shape[0] * user.shape[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.complex64, 2e-6), (np.complex128, 1e-13)])
@pytest.mark.parametrize("chunk", [10_000, 90])
def test_products_are_those_of_the_long_matrix(key, dtype, tolerance, chunk):
    cascade = make(dtype, chunk)
    mask = masks(key, cascade)
    matrix = long_matrix(cascade, mask)
    generator = np.random.default_rng(1)
    x = generator.standard_normal(cascade.padded) + 1j * generator.standard_normal(cascade.padded)
    y = generator.standard_normal(cascade.samples) + 1j * generator.standard_normal(cascade.samples)
    scale = np.abs(matrix).max()
    out = np.asarray(forward(cascade, mask, jnp.asarray(x, dtype))).ravel()
    assert np.allclose(out, matrix @ x.ravel(), atol=tolerance * scale * x.size, rtol=0)
    back = np.asarray(adjoint(cascade, mask, jnp.asarray(y, dtype))).ravel()
    assert np.allclose(back, matrix.conj().T @ y.ravel(), atol=tolerance * scale * y.size, rtol=0)


def test_forward_and_adjoint_are_each_others(key):
    cascade = make(np.complex128, 90)
    mask = masks(key, cascade)
    generator = np.random.default_rng(2)
    x = jnp.asarray(generator.standard_normal(cascade.padded) * (1 + 2j))
    y = jnp.asarray(generator.standard_normal(cascade.samples) * (1 - 0.5j))
    left = jnp.vdot(y, forward(cascade, mask, x))
    right = jnp.vdot(adjoint(cascade, mask, y), x)
    assert abs(left - right) < 1e-12 * abs(left)


@pytest.mark.slow
def test_variances_are_those_of_independent_coefficients_and_legs(key):
    """Against Monte Carlo, within five standard errors of a variance of 1000 draws."""
    cascade = make(np.complex128, 90)
    mask = masks(key, cascade)
    chunks, size = cascade.padded
    mean = jax.random.normal(key, (chunks, size))
    variance = jax.random.uniform(jax.random.key(5), (chunks, size))

    def draw(key):
        one, two, three = jax.random.split(key, 3)
        x = mean + jnp.sqrt(variance) * jax.random.normal(one, mean.shape)
        user = jax.random.bernoulli(two, mask.user) * 1.0
        station = jax.random.bernoulli(three, mask.station) * 1.0
        return forward(cascade, Mask(user, station), x)

    drawn = jax.lax.map(draw, jax.random.split(key, 1000), batch_size=200)
    expected = forward_moments(cascade, mask, mean, variance)
    found = jnp.var(drawn, axis=0)
    # Segments of one voxel to one user are shared by stations, so samples, not their sums, compare.
    # The variance of a variance of near-Gaussian draws is 2 / draws relative.
    assert jnp.allclose(found, expected.variance, rtol=5 * np.sqrt(2 / 1000))
    assert jnp.all(expected.reaction < expected.variance)


def test_a_channel_is_friis_with_the_phase_of_its_length():
    near, far = np.array([[0.0, 0.0, 0.0]]), np.array([[3.0, 4.0, 12.0]])
    channel = free_space(near, far, np.array([28e9]), np.complex128)[0, 0, 0]
    wavelength = SPEED_OF_LIGHT / 28e9
    assert np.isclose(
        channel, wavelength / (4 * np.pi * 13) * np.exp(-2j * np.pi * 13 / wavelength)
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("size", [(4, 14, 4, 16, 700), (1, 5, 4, 6, 90)])
def test_compiled_products_are_those_of_sums_written_out(size, dtype):
    # Large enough for the compiler to take the road of large matrices.
    subcarriers, users, stations, antennas, voxels = size
    rng = np.random.default_rng(2)

    def draw(*shape):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)

    user, antenna = draw(subcarriers, users, voxels), draw(subcarriers, stations, antennas, voxels)
    received = draw(subcarriers, users, stations, antennas)
    real = np.finfo(dtype).dtype
    weight = rng.uniform(0.2, 2.0, received.shape).astype(real)
    link, spread = draw(users, stations, voxels), rng.uniform(0.1, 1.0, (users, stations, voxels))
    spread = spread.astype(real)
    segments = (jnp.asarray(split(user)), jnp.asarray(split(antenna)))

    def near(found, expected):
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e4 * np.finfo(dtype).eps * np.abs(expected).max()
        )

    found = jax.jit(correlate)(*segments, jnp.asarray(received))
    near(found, np.einsum("fkn,fban,fkba->kbn", user.conj(), antenna.conj(), received))
    found = jax.jit(correlate_power)(*segments, jnp.asarray(weight))
    near(found, np.einsum("fkn,fban,fkba->kbn", abs(user) ** 2, abs(antenna) ** 2, weight))
    whole = Cascade(segments[0][None], segments[1][None])
    mean, variance = jax.jit(_moments)(whole, jnp.asarray(link)[None], jnp.asarray(spread)[None])
    near(mean, np.einsum("fkn,kbn,fban->fkba", user, link, antenna))
    near(variance, np.einsum("fkn,kbn,fban->fkba", abs(user) ** 2, spread, abs(antenna) ** 2))
    few = slice(0, 64)
    gram = gram_of(user[..., few], antenna[..., few])
    rows = np.einsum("fkn,fban->fkban", user[..., few], antenna[..., few]).reshape(-1, 64)
    near(gram, rows.conj().T @ rows)
