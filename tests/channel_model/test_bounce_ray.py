"""Rays in the paper's form: lengths leg by leg, Doppler of moving bounces, and what they cost."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import BounceRays, Motion, realize
from echoscape.channel_model.rician import rician_factor, with_rician_factor
from echoscape.scene import PlanarArray
from echoscape.units import SPEED_OF_LIGHT
from tests.channel_model.test_ray import evolve
from tests.worlds.walls import STATION, WALLS, image_path

CARRIER = 5e9
USER = np.array([-9.0, -17.0, 1.3])
VELOCITY = np.array([1.2, 0.4, 0.0])
MOTION = Motion(
    jnp.array([0.0, 1.0]), jnp.asarray(np.stack([USER, USER + VELOCITY])),
    jnp.asarray(np.tile(VELOCITY, (2, 1))),
)  # fmt: skip
FIRST = np.array([[0.0, 0, 0], [4.0, 9.0, 3.0], [12.0, -6.0, 2.0]])
LAST = np.array([[0.0, 0, 0], [4.0, 9.0, 3.0], [-14.0, 3.0, 5.0]])
SPEED = np.array([[0.0, 0, 0], [0.5, -1.0, 0.1], [0.0, 2.0, 0.0]])


def rays(gain_db=-40.0):
    """Make the line of sight, a moving scatterer, and two bounces with 7 m between."""
    ends = [np.stack([place, place + SPEED]) for place in (FIRST, LAST)]
    return BounceRays(
        station=jnp.asarray(STATION), line_of_sight=jnp.array([True, False, False]),
        time=jnp.array([0.0, 1.0]), first=jnp.asarray(ends[0]), last=jnp.asarray(ends[1]),
        beyond=jnp.array([[0.0, 0.0, 7.0], [0.0, 0.0, 8.5]]),
        gain_db=jnp.full((2, 3), gain_db), presence=jnp.ones((2, 3)),
    )  # fmt: skip


def exact(when, transmit, receive):
    """Add up the legs of Eqs. (5)-(7) between all elements."""
    user, first, last = USER + when * VELOCITY, FIRST + when * SPEED, LAST + when * SPEED
    found = np.zeros((len(receive), len(transmit), 3))
    for q, p in np.ndindex(found.shape[:2]):
        start, end = STATION + transmit[p], user + receive[q]
        found[q, p, 0] = np.linalg.norm(end - start)
        for n in (1, 2):
            legs = np.linalg.norm(first[n] - start) + np.linalg.norm(last[n] - end)
            found[q, p, n] = legs + (0.0, 0.0, 7.0 + 1.5 * when)[n]
    return found


def test_coefficients_have_the_lengths_leg_by_leg(key):
    transmit, receive = PlanarArray(1, 3, azimuth=0.3), PlanarArray(2, 1)
    made = realize(rays(), MOTION, jnp.array([0.0, 0.35]), CARRIER, transmit, receive, squint=True,
                   key=key)  # fmt: skip
    wavelength = SPEED_OF_LIGHT / CARRIER
    ends = (np.asarray(a.positions()) * wavelength for a in (transmit, receive))
    length = exact(0.35, *ends)
    centre = exact(0.35, np.zeros((1, 3)), np.zeros((1, 3)))[0, 0]
    assert np.allclose(made.element_delay[1], length / SPEED_OF_LIGHT, rtol=1e-12)
    assert np.allclose(made.delay[1], centre / SPEED_OF_LIGHT, rtol=1e-12)
    wave = 1e-2 / centre * np.exp(-2j * np.pi * length / wavelength)
    assert np.allclose(made.coefficient[1], wave, atol=1e-9 * np.abs(wave).max())


def test_doppler_is_the_slope_of_the_length_and_angles_are_the_legs():
    place = USER + 0.35 * VELOCITY
    state = evolve(rays(), jnp.asarray(place), jnp.asarray(VELOCITY), jnp.array(0.35))
    nothing = np.zeros((1, 3))
    slope = (exact(0.35 + 1e-4, nothing, nothing) - exact(0.35 - 1e-4, nothing, nothing)) / 2e-4
    assert np.allclose(state.speed, -slope[0, 0], atol=1e-6)
    out, back = FIRST[2] + 0.35 * SPEED[2] - STATION, LAST[2] + 0.35 * SPEED[2] - place
    assert state.departure_azimuth[2] == pytest.approx(np.arctan2(out[1], out[0]))
    assert state.arrival_zenith[2] == pytest.approx(np.arccos(back[2] / np.linalg.norm(back)))
    straight = STATION - place
    assert state.arrival_azimuth[0] == pytest.approx(np.arctan2(straight[1], straight[0]))
    assert state.departure_azimuth[0] == pytest.approx(np.arctan2(-straight[1], -straight[0]))


def test_a_wave_front_about_the_bounce_is_wrong_for_a_mirror():
    # one wall: exact at the centres; a transmit element aside goes by another point of the wall
    measured, _, points = image_path(USER, [WALLS[0]], STATION)
    one = BounceRays(
        jnp.asarray(STATION), jnp.array([False]), jnp.array([0.0, 1.0]),
        jnp.asarray(np.tile(points[0], (2, 1, 1))), jnp.asarray(np.tile(points[0], (2, 1, 1))),
        jnp.zeros((2, 1)), jnp.zeros((2, 1)), jnp.ones((2, 1)),
    )  # fmt: skip
    aside = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    found = one.lengths(jnp.asarray(USER), jnp.asarray(aside), jnp.zeros((1, 3)), jnp.array(0.5))
    assert found[0, 0, 0] == pytest.approx(measured[0], abs=1e-9)
    truth = image_path(USER, [WALLS[0]], STATION + aside[1])[0][0]
    assert found[0, 1, 0] > truth + 1e-3  # never shorter than the mirror's way


def test_the_rician_factor_is_that_of_the_ray_without_bounce():
    time = jnp.array([0.0, 1.0])
    length = np.stack([exact(t, np.zeros((1, 3)), np.zeros((1, 3)))[0, 0] for t in (0.0, 1.0)])
    expected = length[:, 0] ** -2 / (length[:, 1:] ** -2).sum(axis=1)
    assert np.allclose(rician_factor(rays(), MOTION, time), expected, rtol=1e-9)
    changed = with_rician_factor(rays(), MOTION, 6.0)
    assert np.allclose(rician_factor(changed, MOTION, time), 10**0.6, rtol=1e-9)
