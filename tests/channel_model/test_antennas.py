"""Antennas in a channel: Malus' law, gains, a turned user, the world turned as a whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import Motion, realize
from echoscape.channel_model.antenna_file import read_antenna
from echoscape.channel_model.turning import Turning, fixed_turning, rotation_at, turn_along
from echoscape.checks import InputError
from echoscape.scene import PlanarArray
from echoscape.scene.antenna_pattern import Antenna, DipolePattern, SectorPattern, make_antenna
from tests.channel_model.test_ray import STATION, USER, world

CARRIER = 3e9
MOVING = Motion(
    jnp.array([0.0, 1.0]), jnp.asarray(np.stack([USER, USER + np.array([1.0, 0.4, 0.0])])),
    jnp.asarray(np.tile([1.0, 0.4, 0.0], (2, 1))),
)  # fmt: skip
TIME = jnp.array([0.0, 0.6])


def made(antennas=None, turning=None, rays=None, motion=MOVING, transmit=None, receive=None):
    """Realise the world of tests/channel_model/test_ray.py."""
    one = PlanarArray()
    return np.asarray(
        realize(
            rays or world(), motion, TIME, CARRIER, transmit or one, receive or one,
            antennas=antennas, turning=turning, key=jax.random.key(0),
        ).coefficient
    )  # fmt: skip


def test_slants_that_face_each_other_couple_by_malus():
    # dipoles' gains are not asked: isotropic; only the line of sight, level enough
    first, second = 0.4, 0.9
    isotropic = make_antenna("isotropic").pattern
    level = Motion(MOVING.time, MOVING.position.at[:, 2].set(STATION[2]), 0 * MOVING.velocity)
    toward = np.arctan2(*(USER - STATION)[1::-1])
    arrays = {"transmit": PlanarArray(azimuth=float(toward)),
              "receive": PlanarArray(azimuth=float(toward + np.pi))}  # fmt: skip
    found = made((Antenna(isotropic, (first,)), Antenna(isotropic, (second, -first))),
                 motion=level, **arrays)  # fmt: skip
    both = made(motion=level, **arrays)[0, 0, 0, 0]
    # as one looks along the way, the other's slant is the other way round
    assert found[0, 0, 0, 0] == pytest.approx(both * np.cos(first + second), rel=1e-3)
    assert found[0, 1, 0, 0] == pytest.approx(both, rel=1e-3)


@pytest.mark.slow
def test_gains_are_those_of_the_directions_at_both_ends():
    transmit, receive = PlanarArray(azimuth=-2.0, tilt=0.2), PlanarArray(azimuth=0.9)
    found = made((Antenna(SectorPattern()), Antenna(DipolePattern())), transmit=transmit,
                 receive=receive)[0, 0, 0, 0]  # fmt: skip
    plain = made()[0, 0, 0, 0]
    away = USER - STATION
    length = np.linalg.norm(away)
    c, s = np.cos(0.2), np.sin(0.2)
    level = np.array([[np.cos(-2.0), np.sin(-2.0), 0], [-np.sin(-2.0), np.cos(-2.0), 0], [0, 0, 1]])
    x, y, z = level @ away / length
    x, z = x * c - z * s, x * s + z * c
    azimuth, zenith = np.degrees(np.arctan2(y, x)), np.degrees(np.arccos(z))
    fall = min(12 * (azimuth / 65) ** 2, 30) + min(12 * ((zenith - 90) / 65) ** 2, 30)
    gain = 10 ** (0.1 * (8 - min(fall, 30))) * 1.5 * (1 - (away[2] / length) ** 2)
    # the tilt turns the polarisation: only what is still along rising zenith couples
    assert abs(found) <= abs(plain) * np.sqrt(gain) * (1 + 1e-9)
    assert abs(found) == pytest.approx(abs(plain) * np.sqrt(gain), rel=0.03)


@pytest.mark.slow
def test_a_turned_user_is_a_turned_array():
    receive = PlanarArray(2, 2)
    antennas = (make_antenna("isotropic"), make_antenna("tr38901", "cross"))
    held = made(antennas, fixed_turning(np.array([0.8, 0.3, 0.0])), receive=receive)
    looks = made(antennas, receive=PlanarArray(2, 2, azimuth=0.8, tilt=0.3))
    assert np.allclose(held, looks, atol=1e-12 * np.abs(looks).max() + 1e-15)
    assert np.abs(held - made(antennas, receive=receive)).max() > 0.1 * np.abs(held).max()


@pytest.mark.slow
def test_a_world_turned_as_a_whole_has_the_same_channel():
    angle = 0.9
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0],
                     [0, 0, 1.0]])  # fmt: skip
    rays = world()
    # departure = rotation + reflection bearing: both sides gain the angle
    turned = dataclasses.replace(
        rays, station=rays.station @ turn.T, point=rays.point @ turn.T,
        rotation=rays.rotation + angle * (1 - rays.reflection),
    )  # fmt: skip
    motion = Motion(MOVING.time, MOVING.position @ turn.T, MOVING.velocity @ turn.T)
    antennas = (make_antenna("tr38901", "VH"), make_antenna("dipole", "cross"))
    transmit, receive = PlanarArray(1, 2, azimuth=0.3, tilt=0.1), PlanarArray(2, 1)
    hold = np.array([0.4, -0.2, 0.3])
    here = made(antennas, fixed_turning(hold), transmit=transmit, receive=receive)
    there = made(
        antennas, fixed_turning(hold + np.array([angle, 0, 0])), turned, motion,
        dataclasses.replace(transmit, azimuth=0.3 + angle), receive,
    )  # fmt: skip
    assert np.allclose(here, there, atol=1e-7 * np.abs(here).max())


def test_a_user_looks_where_it_goes_across_the_seam():
    bearing = np.array([3.0, 3.3, 3.5])
    velocity = jnp.asarray(np.stack([np.cos(bearing), np.sin(bearing), 0 * bearing], axis=1))
    turning = turn_along(Motion(jnp.arange(3.0), jnp.zeros((3, 3)), velocity))
    found = rotation_at(turning, jnp.array(0.5))
    assert np.allclose(found[:, 0], [np.cos(3.15), np.sin(3.15), 0], atol=1e-9)
    slanted = rotation_at(Turning(jnp.arange(2.0), jnp.tile(jnp.array([0.0, 0.0, 0.5]), (2, 1))),
                          jnp.array(0.0))  # fmt: skip
    assert np.allclose(slanted[:, 2], [0, -np.sin(0.5), np.cos(0.5)], atol=1e-9)


def test_antennas_are_read_by_name_and_from_tables(tmp_path):
    azimuth, zenith = np.linspace(-np.pi, 2.0, 6), np.linspace(0, np.pi, 4)
    rows = ["azimuth,zenith,theta_re,phi_im"]
    rows += [f"{a},{z},{np.sin(z)},{0.5 * np.cos(a)}" for a in azimuth for z in zenith]
    (tmp_path / "horn.csv").write_text("\n".join(rows))
    found = read_antenna(f"{tmp_path / 'horn.csv'},cross")
    assert found.slant == (np.pi / 4, -np.pi / 4)
    field = found.pattern.field(jnp.asarray(azimuth[2]), jnp.asarray(zenith[1]))
    assert np.allclose(field, [np.sin(zenith[1]), 0.5j * np.cos(azimuth[2])], atol=1e-9)
    assert read_antenna("dipole").slant == (0.0,)
    with pytest.raises(InputError, match="H, V, VH, cross"):
        read_antenna(f"{tmp_path / 'horn.csv'},X")
    with pytest.raises(InputError, match="dipole, isotropic, tr38901"):
        read_antenna("horn")
