"""The link budget: the radar equation, and accuracies against Fisher information by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest

from echoscape.checks import InputError
from echoscape.estimation import (
    LinkBudget,
    delay_deviation,
    direction_deviation,
    echo_power,
    integrated_snr,
)
from echoscape.numerics import bound
from echoscape.scene import PlanarArray, steering_vector

EXACT = LinkBudget(angle_floor_deg=0.0, delay_floor=0.0)


def test_line_of_sight_out_and_back_is_the_radar_equation():
    budget = LinkBudget(transmit_rows=4, transmit_columns=2, cross_section_dbsm=7.0)
    distance, wavelength = 83.0, 299_792_458.0 / 28e9
    gain = np.array((wavelength / (4 * np.pi * distance)) ** 2)
    sigma, arrays = 10**0.7, 8 * 64
    expected = 1.0 * arrays * wavelength**2 * sigma / ((4 * np.pi) ** 3 * distance**4)
    assert np.isclose(echo_power(budget, gain, gain), expected, rtol=1e-12)


def test_the_ratio_follows_from_noise_density_and_coherent_time_alone():
    # 1 fW for 10 ms over k 290 K and 7 dB: -120 dBm - (-174 + 7) dBm/Hz - 20 dB Hz = 26.97 dB.
    power = np.array([1e-15])
    snr = integrated_snr(LinkBudget(), power)
    assert np.isclose(10 * np.log10(snr), -120 + 173.975 - 7 - 20, atol=0.001)
    assert np.array_equal(integrated_snr(LinkBudget(bandwidth=1e6), power), snr)


def fisher_deviation(model, truth, snr):
    """Deviations from the Fisher information of complex samples, amplitude and phase unknown."""

    def samples(parameters):
        shape = model(parameters[2:])
        gain = jnp.sqrt(snr / shape.shape[0]) * parameters[0] * jnp.exp(1j * parameters[1])
        signal = gain * shape  # unit noise power: snr over all samples
        return jnp.concatenate([signal.real, signal.imag]) * jnp.sqrt(2.0)

    start = jnp.concatenate([jnp.array([1.0, 0.4]), truth])
    covariance = bound(jax.jacfwd(samples)(start))
    return np.sqrt(np.diagonal(covariance)[2:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("azimuth", "zenith", "panel"),
    [(0.3, 1.2, 0.0), (-2.0, 1.9, -np.pi / 2), (1.1, 1.5, np.pi / 2)],
)
def test_directions_are_as_uncertain_as_fisher_information_says(azimuth, zenith, panel):
    rows, columns, snr = 5, 7, 40.0
    array = PlanarArray(rows=rows, columns=columns, azimuth=panel)
    expected = fisher_deviation(
        lambda angles: steering_vector(array, angles[0], angles[1]),
        jnp.array([azimuth, zenith]),
        snr,
    )
    ours = direction_deviation(
        EXACT, np.array(snr), np.array(azimuth), np.array(zenith), rows=rows, columns=columns
    )
    assert np.allclose(ours, expected, rtol=1e-9)


def test_a_linear_arrays_cosine_has_the_textbook_deviation():
    # Level and straight ahead the cosine's deviation is the azimuth's.
    snr, n = np.array(100.0), 64
    azimuth, zenith = np.array(0.0), np.array(np.pi / 2)
    std, up = direction_deviation(EXACT, snr, azimuth, zenith, rows=1, columns=n)
    assert np.isclose(std, np.sqrt(6 / (np.pi**2 * n**2 * snr)), rtol=2e-4)  # N^2 for N^2 - 1
    assert np.isinf(up)


def test_delay_is_as_uncertain_as_fisher_information_says():
    snr, count, bandwidth = 35.0, 400, 4e8
    frequency = jnp.arange(count) * (bandwidth / count)
    expected = fisher_deviation(
        lambda delay: jnp.exp(-2j * jnp.pi * frequency * delay[0] * 1e-9), jnp.array([7.0]), snr
    )
    ours = delay_deviation(EXACT, np.array(snr))
    assert np.isclose(ours, expected[0] * 1e-9, rtol=1e-5)  # K^2 for K^2 - 1


def test_a_floor_is_added_and_more_signal_never_hurts():
    budget = LinkBudget(angle_floor_deg=0.5, delay_floor=2e-10)
    snr = np.array([20.0, 1e3, 1e12])
    angle = np.full(3, 0.4), np.full(3, 1.3)
    azimuth, zenith = direction_deviation(budget, snr, *angle, rows=8, columns=8)
    for std, floor in (
        (azimuth, np.radians(0.5)),
        (zenith, np.radians(0.5)),
        (delay_deviation(budget, snr), 2e-10),
    ):
        assert np.all(np.diff(std) < 0)
        assert np.isclose(std[-1], floor, rtol=1e-6)


def test_four_panels_make_every_quarter_turn_alike():
    azimuth = np.array([0.3, 0.3 + np.pi / 2, 0.3 - np.pi / 2, 0.3 + np.pi])
    snr, zenith = np.full(4, 50.0), np.full(4, 1.1)
    std, _ = direction_deviation(EXACT, snr, azimuth, zenith, rows=8, columns=8)
    assert np.allclose(std, std[0], rtol=1e-12)
    one = LinkBudget(panels=1, panel_azimuth_deg=90.0, angle_floor_deg=0.0)
    std, _ = direction_deviation(one, snr, azimuth, zenith, rows=8, columns=8)
    assert np.argmin(std) == 1


def test_an_angle_nobody_can_know_is_not_measured():
    azimuth, up = np.array([0.3, 0.3]), np.array([1e-9, np.pi / 2])
    std = direction_deviation(EXACT, np.full(2, 20.0), azimuth, up, rows=8, columns=8)
    assert np.isinf(std[0][0])
    assert np.isinf(std[1][0])
    assert np.all(np.isfinite([std[0][1], std[1][1]]))


def test_a_file_gives_the_budget_and_a_wrong_one_is_refused(tmp_path):
    file = tmp_path / "link.toml"
    file.write_text("transmit_power_dbm = 20\nbandwidth = 100e6\npanels = 3\n")
    assert LinkBudget.from_toml(file) == LinkBudget(
        transmit_power_dbm=20.0, bandwidth=100e6, panels=3
    )
    for content, sentence in [
        ("transmit_power = 20", "no setting 'transmit_power'; did you mean 'transmit_power_dbm'"),
        ("bandwidth = -1", r"'bandwidth' \(in Hz\) should be greater than 0; got -1"),
        ("noise_figure_db = inf", r"'noise_figure_db' \(in dB\) should be a finite number"),
        ("receive_rows = 2.5", r"'receive_rows' \(elements upwards\) should be a valid integer"),
        ("coherent_time = true", r"'coherent_time' \(in s\) should be a valid number; got True"),
    ]:
        file.write_text(content)
        with pytest.raises(InputError, match=sentence):
            LinkBudget.from_toml(file)
    with pytest.raises(pydantic.ValidationError):
        LinkBudget(panels=0)
