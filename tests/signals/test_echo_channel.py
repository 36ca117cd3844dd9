"""Factored echoes against long atoms and against geometry, noise in closed form, refusals."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.propagation import scatter
from echoscape.scene import PlanarArray, Site, steering_vector
from echoscape.scene.array_axes import check_unambiguous, direction_of_advance, phase_advance
from echoscape.signals import (
    EchoSnapshots,
    Waveform,
    echo_channel,
    empty_scene,
    noise_for_ratio,
    sample_scene,
    thermal_noise,
)

C = 299_792_458.0
SENDER = PlanarArray(rows=2, columns=3, azimuth=1.1, tilt=0.2, column_spacing=0.4)
LISTENER = PlanarArray(rows=1, columns=4, azimuth=0.7, tilt=-0.1)
WAVEFORM = Waveform(12, 2e5)


@pytest.fixture
def site():
    return Site(
        carrier_frequency=28e9,
        bandwidth=100e6,
        station=("south", "roof"),
        station_position=jnp.array([[50.0, 0.0, 1.5], [-12.0, 33.0, 10.0]]),
        array=(SENDER, LISTENER),
        bounds=jnp.array([[0.0, 0.0, 0.0], [100.0, 100.0, 30.0]]),
        scatterer_position=jnp.array([[31.0, 80.0, 4.0], [70.0, 21.0, 9.0], [43.0, 44.0, 0.5]]),
        scatterer_cross_section=jnp.array([10.0, 0.3, 2.0]),
    )


PLACE = jnp.array([62.0, 37.0, 1.2])


def paths(site, station):
    return scatter(site, PLACE, station=station, with_line_of_sight=False)


@pytest.mark.slow
def test_the_factors_make_what_long_atoms_make(site, key):
    out, back = paths(site, 0), paths(site, 1)
    real, imaginary = jax.random.normal(key, (2, 3, 3))
    reflection = real + 1j * imaginary  # not symmetric: a transposed pairing would show
    found = echo_channel(out, back, SENDER, LISTENER, WAVEFORM, reflection=reflection)
    expected = np.zeros(found.shape, complex)
    frequency = 2e5 * (np.arange(12) - 5.5)
    for i in range(3):
        a = steering_vector(SENDER, out.departure_azimuth[i], out.departure_zenith[i])
        for j in range(3):
            b = steering_vector(LISTENER, back.departure_azimuth[j], back.departure_zenith[j])
            turn = np.exp(-2j * np.pi * frequency * float(out.delay[i] + back.delay[j]))
            gain = complex(out.gain[i] * back.gain[j] * reflection[i, j])
            expected += gain * np.einsum("r,t,k->rtk", b, a, turn)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
    mono = echo_channel(out, out, SENDER, SENDER, WAVEFORM, reflection=reflection, reciprocal=True)
    diagonal = echo_channel(
        out, out, SENDER, SENDER, WAVEFORM, reflection=jnp.diag(jnp.diagonal(reflection))
    )
    np.testing.assert_allclose(mono, diagonal, atol=1e-25)


@pytest.mark.slow
def test_the_phases_are_those_of_the_distances_between_elements(site):
    # Line of sight to a point far away, element by element: no formula of steering in between.
    far = PLACE + jnp.array([3e4, 8e4, 2e4])
    line = scatter(
        dataclasses.replace(site, scatterer_position=jnp.zeros((0, 3)),
                            scatterer_cross_section=jnp.zeros(0)), far
    )  # fmt: skip
    one = Waveform(1, 2e5)
    found = echo_channel(line, line, SENDER, SENDER, one, reflection=jnp.ones((1, 1), complex))
    element = site.station_position[:1] + site.wavelength * SENDER.positions()
    length = np.linalg.norm(np.asarray(far[None] - element), axis=1)
    phase = -2 * np.pi * (length[:, None] + length[None]) / site.wavelength
    relative = np.asarray(found[..., 0]) / complex(found[0, 0, 0])
    expected = np.exp(1j * (phase - phase[0, 0]))
    # elements of 2 cm at 90 km: the wave's curvature is below 1e-6 of a wavelength
    np.testing.assert_allclose(relative, expected, atol=1e-4)
    np.testing.assert_allclose(found[..., 0], found[..., 0].T, rtol=1e-9)  # reciprocity


def test_the_papers_conjugate_numbers_the_transmit_elements_backwards(site):
    a = steering_vector(SENDER, jnp.asarray(0.9), jnp.asarray(1.3))
    np.testing.assert_allclose(a.conj(), a[::-1], atol=1e-12)


@pytest.mark.parametrize("array", [SENDER, LISTENER, PlanarArray(rows=5, azimuth=-2.0)])
def test_phases_lead_back_to_a_direction_of_the_same_phases(array):
    advance = phase_advance(array, jnp.asarray(1.3), jnp.asarray(1.2))
    azimuth, zenith = direction_of_advance(array, advance)
    again = phase_advance(array, azimuth, zenith)
    known = np.array([array.rows > 1, array.columns > 1])
    np.testing.assert_allclose(again[known], advance[known], atol=1e-9)
    if known.all():  # in front of the array: the very direction
        np.testing.assert_allclose([azimuth, zenith], [1.3, 1.2], atol=1e-9)


@pytest.mark.slow
def test_a_stated_ratio_is_that_of_the_matched_filter(site, key):
    kwargs = {"key": key, "clutter": False, "cross_section": 3.0}
    loud = sample_scene(site, WAVEFORM, np.asarray(PLACE)[None], snr_db=300.0, **kwargs)
    quiet = sample_scene(site, WAVEFORM, np.asarray(PLACE)[None], snr_db=13.0, **kwargs)
    out = paths(site, 0)
    target = 4 * math.pi * 3.0 / site.wavelength**2
    power = target * np.mean(np.abs(np.outer(out.gain, out.gain)) ** 2)
    assert quiet.noise_variance == pytest.approx(power * 36 * 12 / 10**1.3, rel=1e-9)
    noise = quiet.received - loud.received
    # 432 complex samples: their mean square is known to 5 %
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(quiet.noise_variance, rel=0.2)
    with pytest.raises(InputError, match="must be a finite number, in dB; got nan"):
        sample_scene(site, WAVEFORM, np.asarray(PLACE)[None], snr_db=math.nan, **kwargs)
    with pytest.raises(InputError, match="at least one echo"):
        noise_for_ratio(jnp.zeros(2, complex), 3.0, SENDER, SENDER, WAVEFORM)


def test_thermal_noise_is_the_link_budgets():
    # P / K on each pilot; after all samples of one element pair: P T_s / (k T F), T_s = 1/spacing
    found = thermal_noise(Waveform(100, 1e5, symbols=4), 30.0, 6.0)
    expected = 1.380649e-23 * 290 * 10**0.6 * 1e5 * 100 / (1.0 * 4)
    assert found == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match="noise figure must be zero or more"):
        thermal_noise(WAVEFORM, 30.0, -1.0)
    with pytest.raises(InputError, match="finite number, in dBm"):
        thermal_noise(WAVEFORM, math.inf, 1.0)


@pytest.mark.slow
def test_several_targets_clutter_and_the_leak_add_up(site, key):
    two = np.array([[62.0, 37.0, 1.2], [20.0, 55.0, 0.7]])
    kwargs = {"key": key, "snr_db": 300.0, "coupling_db": -40.0, "paths": 3}
    each = sample_scene(site, WAVEFORM, two, **kwargs)
    both = sample_scene(site, WAVEFORM, two, together=True, **kwargs)
    np.testing.assert_allclose(both.echoes[0], each.echoes.sum(axis=0),
                               atol=1e-9 * np.abs(each.received).max())  # fmt: skip
    silent = empty_scene(site, WAVEFORM, clutter=False, coupling_db=-40.0, key=key)
    np.testing.assert_allclose(np.abs(silent), 0.01, rtol=1e-9)
    assert np.abs(both.empty).max() > 1e3 * np.abs(both.echoes).max()  # what differencing is for
    bistatic = sample_scene(site, WAVEFORM, two, receive=1, **kwargs)
    assert bistatic.received.shape == (2, 4, 6, 12)
    assert (bistatic.transmit_station, bistatic.receive_station) == ("south", "roof")
    with pytest.raises(InputError, match="one station that transmits and receives"):
        sample_scene(site, WAVEFORM, two, receive=1, reciprocal=True, **kwargs)


def test_noise_is_estimated_where_it_is_not_stated(site, key):
    made = sample_scene(site, Waveform(64, 2e5), np.asarray(PLACE)[None], key=key, snr_db=15.0)
    unknown = dataclasses.replace(made, noise_variance=None)
    assert unknown.noise() == pytest.approx(made.noise_variance, rel=0.2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Waveform(0, 1e5), "at least 1 of subcarriers; got 0"),
        (lambda: Waveform(8, math.nan), "spacing must be finite and above zero, in Hz; got nan"),
        (lambda: Waveform(8, 1e5, symbols=0), "at least 1 of symbols"),
        (lambda: PlanarArray(columns=4, column_spacing=0.0),
         "column_spacing must be finite and above zero, in wavelengths; got 0.0"),
        (lambda: check_unambiguous(PlanarArray(columns=4, column_spacing=0.7), "receiving"),
         "column spacing of 0.7 wavelengths of the receiving array; it must be at most 0.5"),
    ],
)  # fmt: skip
def test_impossible_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_delays_that_fold_are_refused(site, key):
    with pytest.raises(InputError, match=r"delays repeat after 200 ns, but the longest echo has"):
        sample_scene(site, Waveform(12, 5e6), np.asarray(PLACE)[None], key=key)
    with pytest.raises(InputError, match="no target to sample"):
        sample_scene(site, WAVEFORM, np.zeros((0, 3)), key=key)


def test_snapshots_that_do_not_fit_are_refused():
    good = {"target": np.arange(1), "time": np.zeros(1), "waveform": WAVEFORM, "transmit": SENDER,
            "receive": LISTENER, "transmit_station": "a", "receive_station": "a"}  # fmt: skip
    with pytest.raises(InputError, match=r"received must have the shape \(1, 4, 6, 12\)"):
        EchoSnapshots(received=np.ones((1, 4, 6, 11), complex), **good)
    bad = np.full((1, 4, 6, 12), np.nan, complex)
    with pytest.raises(InputError, match="288 of 288 are NaN or infinite"):
        EchoSnapshots(received=bad, **good)
    with pytest.raises(InputError, match="noise_variance must be finite and above zero"):
        EchoSnapshots(received=np.ones(bad.shape, complex), noise_variance=-1.0, **good)
