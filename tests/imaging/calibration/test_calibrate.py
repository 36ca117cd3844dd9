"""Users fitted to what is occupied: a beam finds the offset, least squares the rest."""

import numpy as np
import pytest

from echoscape.imaging.calibration.calibrate import LATTICE, Freedom, Occupied, refine, start, steer
from echoscape.imaging.field.links import Scene
from echoscape.units import SPEED_OF_LIGHT, wavelength_of

OFFSET = np.array([[0.011, -0.007, 0.004], [-0.016, 0.005, 0.009], [0.002, 0.013, -0.012]])
GAIN = np.array([1.4 * np.exp(0.7j), 0.8 * np.exp(-2.1j), np.exp(3.0j)])
CLOCK = SPEED_OF_LIGHT * np.array([1e-9, -0.4e-9, 0.2e-9])


def world(tones=1, clock=0.0):
    """Three users and stations, twelve points, made straight from the formula and free of noise."""
    generator = np.random.default_rng(5)
    frequency = 28e9 + 50e6 * np.arange(tones)
    place = generator.uniform(0, 8, (12, 3))
    value = generator.uniform(0.3, 1, 12)
    user = generator.uniform(-3, 11, (3, 3))
    array = 0.005 * np.stack(np.meshgrid([0, 1, 2], [0, 1], [0, 1]), -1).reshape(-1, 3)
    antenna = np.array([[-4.0, 1, 5], [12, 3, 6], [5, 13, 4]])[:, None] + array
    seen = generator.uniform(size=(3, 12)) < 0.8
    wavelength = wavelength_of(frequency)[:, None, None]

    def through(where, extra=0.0):
        length = np.linalg.norm(place - where[:, None], axis=-1)
        return (
            wavelength / (4 * np.pi * length) * np.exp(-2j * np.pi * (length + extra) / wavelength)
        )

    to_antenna = through(antenna.reshape(-1, 3)).reshape(tones, 3, -1, 12)
    link = through(user + OFFSET) * seen
    turn = np.exp(
        -2j * np.pi * clock / wavelength_of(1.0) * (frequency - frequency.mean())[:, None]
    )
    link = link * (GAIN * turn)[..., None]
    channel = np.einsum("fkn,n,fban->fkba", link, value, to_antenna)
    scene = Scene(channel, frequency, user, antenna, np.ones(3))
    return scene, Occupied(place, seen, np.ones((3, 12), bool)), to_antenna, value


def freedom(clock=0.0):
    return Freedom(np.full(3, 0.02), np.full(3, clock), 0.7, True)


def test_a_beam_finds_offset_and_phase_to_the_lattice():
    scene, occupied, _, value = world()
    length = np.linalg.norm(occupied.place - (scene.user + OFFSET)[:, None], axis=-1)
    wavelength = wavelength_of(28e9)
    link = (GAIN[:, None] * value * np.exp(-2j * np.pi * length / wavelength))[:, None]
    weight = 1e3 * occupied.user[:, None]
    gain, offset = steer(scene, occupied, link, weight, value, freedom())
    assert np.all(np.abs(offset - OFFSET) <= 1.01 * LATTICE * wavelength)
    assert np.allclose(np.abs(gain), 1)
    # What phase and offset predict adds up with the links: a beam that misses by half a step along
    # each axis loses a decibel, and the phase is that of the sum.
    length = np.linalg.norm(occupied.place - (scene.user + offset)[:, None], axis=-1)
    model = gain[:, None] * value * np.exp(-2j * np.pi * length / wavelength)
    product = np.conj(link[:, 0]) * model * occupied.user
    aligned = np.sum(product, 1) / np.sum(np.abs(product), 1)
    assert np.all(np.real(aligned) > 0.8)
    assert np.all(np.abs(np.imag(aligned)) < 0.1)


@pytest.mark.parametrize(("tones", "clock"), [(1, None), (3, CLOCK)])
def test_least_squares_finds_gains_offsets_and_clocks(tones, clock):
    scene, occupied, antenna, value = world(tones, 0.0 if clock is None else clock)
    near = OFFSET + 0.001 * np.array([[1, -1, 1], [-1, 1, 1], [1, 1, -1]])
    first = start(3, 12)._replace(gain=GAIN / np.abs(GAIN) * np.exp(0.2j), offset=near)
    noise = 1e-6 * float(np.mean(np.abs(scene.channel) ** 2))
    own = freedom(0.0 if clock is None else 0.3)
    fit = refine(scene, occupied, antenna, first, own, noise, np.ones(3), 60)
    # The priors pull by (deviation of the estimate over that of the prior) squared, below 1e-3.
    assert np.allclose(fit.offset, OFFSET, atol=2e-4)
    ratio = fit.gain / GAIN
    assert np.allclose(ratio, ratio[0], atol=2e-2)
    assert np.allclose(fit.value * np.abs(ratio[0]), value, rtol=2e-2)
    assert fit.noise < 1e-2 * noise
    if clock is not None:
        assert np.allclose(fit.clock, clock, atol=0.03)


def test_what_is_known_stays_and_users_set_aside_stay():
    scene, occupied, antenna, _ = world()
    known = Freedom(np.zeros(3), np.zeros(3), 0.0, False)
    fit = refine(scene, occupied, antenna, start(3, 12), known, 1e-20, np.ones(3))
    assert np.all(fit.offset == 0)
    assert np.all(fit.gain == 1)
    first = start(3, 12)._replace(gain=GAIN / np.abs(GAIN), offset=OFFSET + 0.001)
    weight = np.array([1.0, 1e-3, 1.0])
    fit = refine(scene, occupied, antenna, first, freedom(), 1e-20, weight)
    assert np.all(fit.offset[1] == first.offset[1])
    assert not np.any(fit.offset[[0, 2]] == first.offset[[0, 2]])
    assert fit.left[1] > 100 * fit.left[0]


def test_the_stated_deviation_matches_the_scatter_of_estimates():
    scene, occupied, antenna, _ = world()
    noise = 1e-3 * float(np.mean(np.abs(scene.channel) ** 2))
    generator = np.random.default_rng(1)
    first = start(3, 12)._replace(gain=GAIN, offset=OFFSET)
    away, said = [], []
    for _ in range(20):
        shape = scene.channel.shape
        rustle = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
        noisy = scene._replace(channel=scene.channel + np.sqrt(noise / 2) * rustle)
        fit = refine(noisy, occupied, antenna, first, freedom(), noise, np.ones(3))
        away.append(np.abs(fit.offset - OFFSET).max())
        said.append(fit.deviation.max())
    # The largest of nine errors is 1 to 2.5 times the largest deviation.
    assert 0.4 < np.median(away) / np.median(said) < 3.0
