"""The sensing channel: radar equation, Doppler, Bessel lines, exchange, energy, other stations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import jv

from echoscape.channel_model import frequency_response, rays_from_points
from echoscape.channel_model.cross_section import ConstantSection
from echoscape.channel_model.ray import evolve
from echoscape.channel_model.sensing import (
    add_line_of_sight,
    check_size,
    clutter,
    echo_realization,
    echo_response,
    move_station,
    random_phases,
    sense,
)
from echoscape.channel_model.target import make_target
from echoscape.channel_model.target_types import TargetType, target_type
from echoscape.checks import InputError
from echoscape.scene import PlanarArray, StaticPoints
from echoscape.scene.static_points import concatenate
from echoscape.units import SPEED_OF_LIGHT

STATION, OTHER = np.array([3.0, -2.0, 9.0]), np.array([-14.0, 6.0, 5.0])
CARRIER = 5e9
WAVELENGTH = SPEED_OF_LIGHT / CARRIER
SECTION = 2.0
TIME = np.array([0.0, 1.0, 2.0])
VELOCITY = np.array([1.3, -2.0, 0.3])
PLACE = np.array([20.0, 11.0, 1.0]) + TIME[:, None] * VELOCITY
ARRAY = PlanarArray(2, 2, azimuth=0.4, tilt=0.1)


def points():
    """A wall, the ground and two scatterers, with gains."""
    walls = StaticPoints.from_walls(
        np.array([[np.cos(0.3), np.sin(0.3), 0.0], [0.0, 0.0, 1.0]]), np.array([40.0, -0.5]),
        log_gain=np.log(WAVELENGTH**2 / (4 * np.pi) ** 2 * np.array([0.3, 0.2])),
    )  # fmt: skip
    size = WAVELENGTH**2 * np.array([6.0, 3.0]) / (4 * np.pi) ** 3
    scatterers = StaticPoints.scatterers(
        np.array([[10.0, 24.0, 3.0], [-9.0, 12.0, 2.0]]), log_gain=np.log(size)
    )
    return concatenate([walls, scatterers])


def rays(station=STATION):
    return add_line_of_sight(rays_from_points(points(), station, (0.0, 10.0)), WAVELENGTH)


def straight(station=STATION):
    """Keep the line of sight alone."""
    whole = rays(station)
    own = {n: getattr(whole, n)[:1] for n in
           ("point", "scattered", "rotation", "reflection", "vertical_reflection")}  # fmt: skip
    both = {n: getattr(whole, n)[:, :1] for n in ("gain_db", "presence")}
    return dataclasses.replace(whole, **own, **both)


def target(kind=None):
    return make_target(TIME, PLACE, kind or target_type("constant", SECTION))


@pytest.mark.slow
def test_in_sight_the_radar_equation_and_its_doppler_come_out():
    when = jnp.array([0.4, 0.4 + 1e-6])
    out, back = straight(), straight(OTHER)
    found = sense(out, back, [target()], when, CARRIER, PlanarArray(), PlanarArray())
    where = np.array([20.0, 11.0, 1.0]) + 0.4 * VELOCITY
    legs = [where - STATION, where - OTHER]
    away = [np.linalg.norm(leg) for leg in legs]
    power = WAVELENGTH**2 * SECTION / ((4 * np.pi) ** 3 * (away[0] * away[1]) ** 2)
    assert found.power[0, 0, 0, 0] == pytest.approx(power, rel=1e-9)
    made = echo_realization(found)
    assert np.abs(made.coefficient[0, 0, 0, 0]) ** 2 == pytest.approx(power, rel=1e-9)
    assert made.delay[0, 0] == pytest.approx(sum(away) / SPEED_OF_LIGHT, rel=1e-12)
    closing = -sum(leg @ VELOCITY / d for leg, d in zip(legs, away))
    doppler = float(found.doppler[0, 0, 0, 0])
    assert doppler == pytest.approx(closing / WAVELENGTH, rel=1e-6)
    turned = np.angle(made.coefficient[1, 0, 0, 0] / made.coefficient[0, 0, 0, 0])
    assert turned / (2 * np.pi * 1e-6) == pytest.approx(doppler, abs=1e-2)  # phases to 1e-7
    # one station: twice the speed of approach
    alone = sense(out, out, [target()], when, CARRIER, PlanarArray(), PlanarArray())
    once = 2 * -(legs[0] @ VELOCITY) / away[0] / WAVELENGTH
    assert alone.doppler[0, 0, 0, 0] == pytest.approx(once, rel=1e-6)


@pytest.mark.slow
def test_a_rotating_point_far_away_has_the_lines_of_bessel():
    # phase 4 pi r / wavelength cos(angle): line n has the size |J_n|
    radius, rate, count = 0.031, 7.0, 64
    kind = TargetType(
        jnp.zeros((1, 3)), (ConstantSection(jnp.asarray(1.0)),),
        spin=jnp.array([[radius, rate, 0.3]]),
    )  # fmt: skip
    far = np.array([[5e4, 0.0, 9.0]])
    station = np.array([0.0, 0.0, 9.0])
    one = make_target(np.zeros(1), far, kind)
    when = jnp.arange(count) / (count * rate)
    out = straight(station)
    found = sense(out, out, [one], when, CARRIER, PlanarArray(), PlanarArray())
    echo = np.asarray(echo_response(found, jnp.zeros(1)))[:, 0, 0, 0]
    lines = np.abs(np.fft.fft(echo)) / count / np.mean(np.abs(echo))
    expected = np.abs(jv(np.arange(8), 4 * np.pi * radius / WAVELENGTH))
    assert np.allclose(lines[:8], expected, atol=2e-5)  # r / d, by which fronts are no planes


@pytest.mark.slow
def test_pairs_summed_are_the_response_and_hold_its_energy():
    when = jnp.array([0.0, 0.7])
    kinds = [target(), target(target_type("vehicle-points"))]
    found = sense(rays(), rays(), kinds, when, CARRIER, ARRAY, ARRAY, key=jax.random.key(3))
    offset = jnp.array([-4e6, 1e6, 9e6])
    whole = echo_response(found, offset)
    made = echo_realization(found)
    assert made.coefficient.shape == (2, 4, 4, 6 * 25)
    assert np.allclose(frequency_response(made, offset), whole, rtol=1e-9, atol=1e-20)
    # every pair has its power on every pair of elements: arrays add phases alone
    energy = np.sum(np.abs(np.asarray(made.coefficient)) ** 2, axis=3)
    assert np.allclose(energy, np.sum(found.power, axis=(1, 2, 3))[:, None, None], rtol=1e-9)
    strongest = echo_realization(found, 7)
    least = np.sort(np.asarray(found.power.sum(axis=0)).ravel())[-7:]
    kept = np.sum(np.abs(np.asarray(strongest.coefficient[:, 0, 0])) ** 2)
    assert kept == pytest.approx(least.sum(), rel=1e-9)
    one = echo_response(found, offset, 0) + echo_response(found, offset, 1)
    assert np.allclose(one, whole, rtol=1e-9, atol=1e-20)


@pytest.mark.slow
def test_sending_and_receiving_are_reciprocal():
    when, offset, key = jnp.array([0.3, 1.0]), jnp.array([2e6]), jax.random.key(1)
    kind = [target(target_type("uav-large"))]
    alone = sense(rays(), rays(), kind, when, CARRIER, ARRAY, ARRAY, key=key)
    response = np.asarray(echo_response(alone, offset))[0, :, :, 0]
    assert np.allclose(response, response.T, rtol=1e-9)
    assert abs(response[0, 1] - response[0, 2]) > 0.01 * abs(response[0, 1])
    # two stations: exchanging them transposes
    more = PlanarArray(1, 3, azimuth=-1.0)
    there = sense(rays(), rays(OTHER), kind, when, CARRIER, ARRAY, more)
    back = sense(rays(OTHER), rays(), kind, when, CARRIER, more, ARRAY)
    first, second = (np.asarray(echo_response(f, offset))[0, :, :, 0] for f in (there, back))
    assert first.shape == (3, 4)
    assert np.allclose(first, second.T, rtol=1e-9)


@pytest.mark.slow
def test_a_target_is_reached_as_a_user_in_its_place():
    found = sense(rays(), rays(), [target()], jnp.array([1.0, 1.5]), CARRIER, ARRAY, ARRAY)
    user = evolve(rays(), jnp.asarray(PLACE[1]), jnp.asarray(VELOCITY), jnp.array(1.0))
    factor = 4 * np.pi * SECTION / WAVELENGTH**2
    pairs = factor * np.outer(user.power, user.power)
    assert np.allclose(found.power[0, 0], pairs, rtol=1e-9)
    assert np.allclose(found.delay[0, 0], np.add.outer(user.delay, user.delay), rtol=1e-12)


def test_another_station_meets_the_same_points():
    moved, made = move_station(rays(), jnp.asarray(OTHER)), rays(OTHER)
    assert np.allclose(moved.point, made.point, atol=1e-9)


def test_without_targets_scatterers_and_facing_walls_send_back():
    wave, delay = clutter(
        rays(), jnp.asarray(STATION), jnp.array(0.0), CARRIER, PlanarArray(), PlanarArray()
    )
    away = 40.0 - (np.cos(0.3) * STATION[0] + np.sin(0.3) * STATION[1])
    near = np.linalg.norm(np.array([10.0, 24.0, 3.0]) - STATION)
    assert np.abs(wave[0, 0, 0]) == 0.0  # no line of sight to oneself
    assert SPEED_OF_LIGHT * delay[1] == pytest.approx(2 * away, rel=1e-9)
    size = 0.3 * (WAVELENGTH / (4 * np.pi * 2 * away)) ** 2
    assert np.abs(wave[0, 0, 1]) ** 2 == pytest.approx(size, rel=1e-9)
    size = WAVELENGTH**2 * 6.0 / ((4 * np.pi) ** 3 * near**4)
    assert np.abs(wave[0, 0, 3]) ** 2 == pytest.approx(size, rel=1e-9)
    # to another station the straight way is there too
    wave, _ = clutter(
        rays(), jnp.asarray(OTHER), jnp.array(0.0), CARRIER, PlanarArray(), PlanarArray()
    )
    apart = np.linalg.norm(OTHER - STATION)
    assert np.abs(wave[0, 0, 0]) == pytest.approx(WAVELENGTH / (4 * np.pi * apart), rel=1e-9)


def test_random_phases_turn_reflections_and_keep_powers(key):
    when = jnp.array([0.0, 1.0])
    plain = sense(rays(), rays(), [target()], when, CARRIER, ARRAY, ARRAY)
    turned = random_phases(rays(), key=key)
    found = sense(turned, turned, [target()], when, CARRIER, ARRAY, ARRAY)
    turn = np.asarray(found.outward / plain.outward)[0, 0]
    assert np.allclose(np.abs(turn), 1.0, rtol=1e-9)
    assert np.allclose(turn[0], 1.0, rtol=1e-9)
    assert np.ptp(np.angle(turn[:, 0])) > 0.1
    assert np.allclose(turn, turn[:, :1], rtol=1e-9)
    assert np.allclose(found.power, plain.power, rtol=1e-12)


@pytest.mark.slow
def test_the_drawn_part_of_a_cross_section_has_the_mean_one(key):
    kind = [target(target_type("vehicle"))] * 40
    when = jnp.array([0.0, 1.0])
    plain = sense(rays(), rays(), kind, when, CARRIER, PlanarArray(), PlanarArray())
    drawn = sense(rays(), rays(), kind, when, CARRIER, PlanarArray(), PlanarArray(), key=key)
    ratio = np.asarray(drawn.power / plain.power)[0]
    upper = np.triu_indices(5)
    values = ratio[:, upper[0], upper[1]]
    std = np.sqrt(np.exp((np.log(10) / 10 * 3.41) ** 2) - 1)  # of a log-normal of mean 1
    assert values.mean() == pytest.approx(1.0, abs=4 * std / np.sqrt(values.size))
    assert 10 * np.log10(values).std() == pytest.approx(3.41, rel=0.15)


def test_a_tensor_too_large_is_refused_in_one_sentence():
    big = PlanarArray(8, 8)
    with pytest.raises(InputError, match=r"100 times 64 x 64 antennas 500 paths are 3.1 GiB"):
        check_size(100, big, big, 500, "paths", 2**31)
