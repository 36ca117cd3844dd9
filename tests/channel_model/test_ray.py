"""Rays between observations: exact lengths, Doppler and departures against mirroring."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import BounceRays, Motion, RaySet
from echoscape.channel_model import evolve as _evolve
from echoscape.channel_model import move as _move
from echoscape.channel_model.coefficient import (
    Polarisation,
    jones_matrices,
    phasor,
    realize,
)
from echoscape.channel_model.coefficient import image_lengths as _image_lengths
from echoscape.channel_model.response import frequency_response
from echoscape.scene import PlanarArray
from echoscape.units import SPEED_OF_LIGHT, wrap_angle
from tests.worlds.walls import GROUND, STATION, WALLS, image_path

evolve, move, image_lengths = (eqx.filter_jit(f) for f in (_evolve, _move, _image_lengths))
USER = np.array([-9.0, -17.0, 1.3])
SEQUENCES = ([], [WALLS[0]], WALLS[1:3], [GROUND, WALLS[3]], [WALLS[2], GROUND, WALLS[1]])
SCATTERER = np.array([4.0, -3.0, 6.0])


def world(level=-60.0, presence=1.0):
    """Make rays of the sequences above and one scatterer, all of one level."""
    point, turn, sense, flip = [], [], [], []
    for planes in SEQUENCES:
        exact, image, _ = image_path(USER, planes)
        walls = sum(plane is not GROUND for plane in planes)
        sense.append((-1.0) ** walls)
        flip.append((-1.0) ** (len(planes) - walls))
        bearing = np.arctan2(*(USER - image)[1::-1])
        turn.append(wrap_angle(exact[3] - sense[-1] * bearing))
        point.append(image)
    count = len(SEQUENCES) + 1
    return RaySet(
        station=jnp.asarray(STATION),
        point=jnp.asarray(np.array([*point, SCATTERER])),
        scattered=jnp.arange(count) == count - 1,
        rotation=jnp.asarray(np.array([*turn, 0.0])),
        reflection=jnp.asarray(np.array([*sense, 1.0])),
        vertical_reflection=jnp.asarray(np.array([*flip, 1.0])),
        time=jnp.array([0.0, 10.0]),
        gain_db=jnp.full((2, count), level),
        presence=jnp.full((2, count), presence),
    )


def test_every_pair_of_elements_has_the_length_of_its_own_mirror_path():
    rays = world()
    transmit = np.array([[0.0, 0, 0], [0.3, -0.2, 0.4], [-0.7, 0.1, 0.2]])
    receive = np.array([[0.0, 0, 0], [0.2, 0.5, -0.3]])
    found = image_lengths(rays, jnp.asarray(USER), jnp.asarray(transmit), jnp.asarray(receive))
    for i, planes in enumerate(SEQUENCES):
        for q, p in np.ndindex(2, 3):
            exact, _, _ = image_path(USER + receive[q], planes, STATION + transmit[p])
            assert found[q, p, i] == pytest.approx(exact[0], abs=1e-9)
    there = jnp.tile(jnp.asarray(SCATTERER), (2, 1, 1))
    bounce = BounceRays(
        rays.station, jnp.array([False]), rays.time, there, there, jnp.zeros((2, 1)),
        rays.gain_db[:, -1:], rays.presence[:, -1:],
    )  # fmt: skip
    legs = bounce.lengths(
        jnp.asarray(USER), jnp.asarray(transmit), jnp.asarray(receive), jnp.array(0.0)
    )
    assert found[..., -1:] == pytest.approx(np.asarray(legs), abs=1e-9)


def test_angles_elsewhere_are_those_of_mirroring():
    place = USER + np.array([6.0, 2.0, 0.0])
    state = evolve(world(), jnp.asarray(place), jnp.zeros(3), jnp.array(1.0))
    for i, planes in enumerate(SEQUENCES):
        exact, _, _ = image_path(place, planes)
        found = [
            state.length[i],
            state.arrival_azimuth[i],
            state.arrival_zenith[i],
            state.departure_azimuth[i],
            state.departure_zenith[i],
        ]
        assert np.allclose(wrap_angle(np.array(found) - exact), 0, atol=1e-9)


def test_the_length_shrinks_at_the_speed_that_is_stated():
    velocity = jnp.array([1.3, -0.8, 0.2])

    def length(time):
        place = jnp.asarray(USER) + time * velocity
        return evolve(world(), place, velocity, jnp.array(1.0)).length

    state = evolve(world(), jnp.asarray(USER), velocity, jnp.array(1.0))
    slope = jax.jacfwd(length)(jnp.array(0.0))
    assert np.allclose(state.speed, -slope, atol=1e-9)


def test_power_follows_spreading_level_and_presence():
    rays = world(level=-50.0, presence=0.5)
    state = evolve(rays, jnp.asarray(USER), jnp.zeros(3), jnp.array(3.0))
    assert np.allclose(state.power, 0.25 * 1e-5 / np.asarray(state.length) ** 2, rtol=1e-9)


def test_motion_is_exact_for_a_cubic_and_straight_beyond():
    def place(t):
        return jnp.stack([t**3 - t, 0.5 * t**2, 2.0 - t])

    speed = jax.jacfwd(place)
    knots = jnp.array([0.0, 1.5, 2.0])
    motion = Motion(knots, jax.vmap(place)(knots), jax.vmap(speed)(knots))
    for t in (0.3, 1.5, 1.9):
        found = move(motion, jnp.array(t))
        assert np.allclose(found[0], place(jnp.array(t)), atol=1e-12)
        assert np.allclose(found[1], speed(jnp.array(t)), atol=1e-12)
    later = move(motion, jnp.array(3.0))
    assert np.allclose(later[0], place(2.0) + speed(2.0), atol=1e-12)


@pytest.mark.slow
def test_coefficients_turn_with_the_delay_and_sum_to_the_response(key):
    rays, carrier = world(), 3e9
    motion = Motion(
        jnp.array([0.0, 1.0]), jnp.asarray(np.stack([USER, USER + 1.0])), jnp.ones((2, 3))
    )
    array = PlanarArray(1, 2)
    made = realize(rays, motion, jnp.array([0.0, 0.4]), carrier, array, array, key=key)
    assert made.coefficient.shape == (2, 2, 2, len(SEQUENCES) + 1)
    place, _ = move(motion, jnp.array(0.4))
    wavelength = SPEED_OF_LIGHT / carrier
    offset = array.positions() * wavelength
    length = image_lengths(rays, place, offset, offset)
    state = evolve(rays, place, jnp.ones(3), jnp.array(0.4))
    exact = np.sqrt(state.power) * np.exp(-2j * np.pi * np.asarray(length) / wavelength)
    assert np.allclose(made.coefficient[1], exact, atol=1e-6 * np.abs(exact).max())
    tone = jnp.array([-5e6, 7e6])
    response = frequency_response(made, tone)
    turn = np.exp(-2j * np.pi * np.asarray(made.delay)[1][:, None] * np.asarray(tone))
    assert np.allclose(response[1], np.asarray(made.coefficient[1]) @ turn, rtol=1e-6)


def test_pairs_of_polarisations_leak_as_much_as_the_ratio_says(key):
    drawn = jones_matrices(20000, Polarisation(9.0, 3.0, -2.0), key=key)
    power = np.asarray(jnp.mean(jnp.abs(drawn) ** 2, axis=0))
    mu, kappa = 10**-0.2, 10**0.9
    mean = np.exp(0.5 * (3.0 * np.log(10) / 10) ** 2) / kappa  # of a log-normal reciprocal
    assert power[1, 0] == pytest.approx(mean, rel=0.05)  # 20000 draws of a spread of 0.7: 0.5 %
    assert power[0, 1] == pytest.approx(mu * mean, rel=0.05)
    assert power[1, 1] == pytest.approx(mu, rel=1e-9)


def test_line_of_sight_keeps_polarisation(key):
    motion = Motion(jnp.array([0.0, 1.0]), jnp.asarray(np.stack([USER, USER])), jnp.zeros((2, 3)))
    one = PlanarArray()
    made = realize(
        world(), motion, jnp.array([0.5]), 3e9, one, one, Polarisation(), key=key
    ).coefficient[0]
    assert made.shape[:2] == (2, 2)
    assert abs(made[0, 1, 0]) == 0
    assert made[1, 1, 0] == -made[0, 0, 0]
    assert abs(made[0, 1, 1]) > 0


def test_a_phasor_is_the_exponential_to_round_off():
    # large cycles lose digits before either way; so check within a few, and at the folds
    cycles = np.concatenate([np.linspace(-2.7, 3.1, 1001), [0.5, -0.5, 1.5, 0.25]])
    amplitude = 1.0 + np.arange(len(cycles)) / 7
    found = phasor(jnp.asarray(cycles), jnp.asarray(amplitude))
    exact = amplitude * np.exp(-2j * np.pi * cycles)
    assert np.max(np.abs(found - exact) / amplitude) < 5e-15
    slope = jax.vmap(jax.grad(lambda c: phasor(c[None], jnp.ones(1)).real[0]))(jnp.asarray(cycles))
    assert np.allclose(slope, -2 * np.pi * np.sin(2 * np.pi * cycles), atol=1e-12)
