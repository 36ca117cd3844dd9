"""Arrays and beams: phases by hand, orthonormality, peaks where they belong."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.scene import PlanarArray, dft_codebook, steering_vector


def test_a_linear_array_has_the_textbook_phases():
    # Boresight along +x: the cosine to the array's axis (+y) is sin(azimuth).
    array = PlanarArray(columns=5)
    azimuth, zenith = jnp.asarray(0.4), jnp.asarray(np.pi / 2)
    vector = steering_vector(array, azimuth, zenith)
    index = np.arange(5) - 2
    assert np.allclose(vector, np.exp(1j * np.pi * index * np.sin(0.4)), atol=1e-14)


def test_a_turned_and_tilted_array_has_the_phases_of_its_elements_positions():
    array = PlanarArray(rows=2, columns=3, row_spacing=0.7, azimuth=0.9, tilt=0.3)
    positions = array.positions()
    assert np.allclose(positions.mean(axis=0), 0.0, atol=1e-15)
    across = positions[1] - positions[0]
    assert np.allclose(across, 0.5 * np.array([-np.sin(0.9), np.cos(0.9), 0.0]), atol=1e-15)
    up = positions[3] - positions[0]
    leaning = [np.sin(0.3) * np.cos(0.9), np.sin(0.3) * np.sin(0.9), np.cos(0.3)]
    assert np.allclose(up, 0.7 * np.array(leaning), atol=1e-15)
    vector = steering_vector(array, jnp.asarray(-1.1), jnp.asarray(1.9))
    ray = np.array([np.sin(1.9) * np.cos(-1.1), np.sin(1.9) * np.sin(-1.1), np.cos(1.9)])
    assert np.allclose(vector, np.exp(2j * np.pi * np.asarray(positions) @ ray), atol=1e-13)


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (3, 2), (8, 8)])
def test_beams_are_orthonormal(rows, columns):
    codebook = dft_codebook(rows, columns)
    n = rows * columns
    assert np.allclose(codebook @ codebook.conj().T, np.eye(n), atol=1e-13)


def test_each_beam_peaks_where_its_number_says():
    array, codebook = PlanarArray(rows=4, columns=8), dft_codebook(4, 8)
    for row, column in [(0, 0), (1, 2), (3, 7), (2, 1)]:
        up = 2 * ((row / 4 + 0.5) % 1 - 0.5)
        left = 2 * ((column / 8 + 0.5) % 1 - 0.5)
        if up**2 + left**2 > 1:
            continue
        zenith = jnp.arccos(up)
        azimuth = jnp.arcsin(left / jnp.sin(zenith)) if abs(up) < 1 else jnp.asarray(0.0)
        gains = np.abs(np.conj(codebook) @ steering_vector(array, azimuth, zenith)) ** 2
        assert int(np.argmax(gains)) == row * 8 + column
        assert np.isclose(gains.max(), 32.0, rtol=1e-12)
    seen = steering_vector(array, jnp.asarray(0.3), jnp.asarray(1.2))
    gains = np.abs(np.conj(codebook) @ seen) ** 2
    assert np.isclose(gains.sum(), 32.0, rtol=1e-12)  # no power is lost between beams


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"rows": 0}, "at least one row and one column; got 0 x 1"),
        ({"row_spacing": -0.5}, "row_spacing must be finite and above zero, in wavelengths"),
        ({"column_spacing": float("inf")}, "column_spacing must be finite"),
    ],
)
def test_an_impossible_array_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        PlanarArray(**wrong)
