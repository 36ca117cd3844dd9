"""Conversions at the edges: closed forms, and the end of the circle that belongs to us."""

import jax.numpy as jnp
import numpy as np

from echoscape.units import (
    SPEED_OF_LIGHT,
    delay_of,
    from_db,
    length_of,
    wavelength_of,
    wavenumber_of,
    wrap_angle,
)


def test_decibels_add_where_ratios_multiply():
    assert np.isclose(from_db(3.7) * from_db(-11.2), from_db(3.7 - 11.2), rtol=1e-14)
    assert from_db(30.0) == 1000.0


def test_wrapping_keeps_the_direction_and_the_half_open_range():
    angle = np.linspace(-20.0, 20.0, 1001)
    wrapped = wrap_angle(angle)
    assert np.all((wrapped > -np.pi) & (wrapped <= np.pi))
    assert np.allclose(np.exp(1j * wrapped), np.exp(1j * angle), atol=1e-14)
    assert wrap_angle(np.pi) == np.pi
    assert wrap_angle(-np.pi) == np.pi


def test_wrapping_is_the_same_in_jax():
    angle = np.linspace(-9.0, 9.0, 37)
    assert np.allclose(wrap_angle(jnp.asarray(angle)), wrap_angle(angle), atol=1e-14)


def test_light_is_exact_by_definition_of_the_metre():
    assert SPEED_OF_LIGHT == 299_792_458.0


def test_lengths_delays_and_wavelengths_agree():
    delay = np.array([0.0, 1e-9, 3.3e-6])
    assert np.allclose(delay_of(length_of(delay)), delay, rtol=1e-15)
    assert np.isclose(length_of(1e-9), 0.299792458, rtol=1e-15)
    # A wave of a frequency has one cycle in each wavelength and in each period.
    assert np.isclose(wavelength_of(28e9), length_of(1 / 28e9), rtol=1e-15)
    assert np.isclose(wavenumber_of(28e9) * wavelength_of(28e9), 1.0, rtol=1e-15)
