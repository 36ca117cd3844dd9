"""Clusters: stated spreads and powers where the user is half way, Doppler of their own."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import Clusters, Motion, clustered
from echoscape.checks import InputError
from echoscape.units import wrap_angle
from tests.channel_model.test_ray import SEQUENCES, USER, evolve, world

SPEED = np.array([1.0, 0.4, 0.0])
# presence lasts from 0 to 10 s, so that half way is at 5 s
MOTION = Motion(
    jnp.array([0.0, 10.0]), jnp.asarray(np.stack([USER - 5 * SPEED, USER + 5 * SPEED])),
    jnp.asarray(np.tile(SPEED, (2, 1))),
)  # fmt: skip
INSIDE = Clusters(20, 0.06, 0.02, 0.03, 4e-9)


def states(clusters, key, place=USER):
    rays = clustered(world(), MOTION, clusters, key=key)
    many = (len(rays.point) - 1) // (len(SEQUENCES))
    state = evolve(rays, jnp.asarray(place), jnp.asarray(SPEED), jnp.array(5.0))
    return rays, state, many


def test_every_cluster_has_the_stated_spreads_and_its_paths_power(key):
    _, state, many = states(INSIDE, key)
    assert many == 20
    plain = evolve(world(), jnp.asarray(USER), jnp.asarray(SPEED), jnp.array(5.0))
    assert state.power[0] == pytest.approx(
        float(plain.power[0]), rel=1e-12
    )  # the line of sight alone
    for n in range(1, len(SEQUENCES) + 1):
        rows = slice(1 + (n - 1) * many, 1 + n * many)
        assert np.allclose(state.power[rows], plain.power[n] / many, rtol=1e-9)
        across = wrap_angle(np.asarray(state.arrival_azimuth[rows] - plain.arrival_azimuth[n]))
        assert np.sqrt(np.mean(across**2)) == pytest.approx(0.06, rel=1e-9)
        up = np.asarray(state.arrival_zenith[rows] - plain.arrival_zenith[n])
        assert np.sqrt(np.mean(up**2)) == pytest.approx(0.02, rel=1e-9)
        if n == len(SEQUENCES):
            continue  # a scatterer's departure and delay follow from its places
        late = np.asarray(state.delay[rows] - plain.delay[n])
        assert late.min() == pytest.approx(0.0, abs=1e-18)
        assert late.std() == pytest.approx(4e-9, rel=1e-9)
        aside = wrap_angle(np.asarray(state.departure_azimuth[rows] - plain.departure_azimuth[n]))
        assert np.sqrt(np.mean(aside**2)) == pytest.approx(0.03, rel=1e-9)
        assert abs(np.corrcoef(across, aside)[0, 1]) < 0.8  # shuffled apart


def test_the_diffuse_part_has_its_share_wider_and_later(key):
    _, state, many = states(dataclasses.replace(INSIDE, diffuse=0.3), key)
    assert many == 40
    plain = evolve(world(), jnp.asarray(USER), jnp.asarray(SPEED), jnp.array(5.0))
    rows = slice(1, 1 + many)
    power = np.asarray(state.power[rows])
    assert power.sum() == pytest.approx(float(plain.power[1]), rel=1e-9)
    assert power[20:].sum() == pytest.approx(0.3 * float(plain.power[1]), rel=1e-9)
    late = np.asarray(state.delay[rows] - plain.delay[1])
    assert late[20:].std() == pytest.approx(16e-9, rel=1e-9)
    across = wrap_angle(np.asarray(state.arrival_azimuth[rows] - plain.arrival_azimuth[1]))
    assert np.sqrt(np.mean(across[20:] ** 2)) == pytest.approx(0.24, rel=1e-9)


def test_rays_of_a_cluster_have_dopplers_of_their_own(key):
    rays, state, many = states(INSIDE, key)
    step = 1e-4
    ends = [
        evolve(
            rays, jnp.asarray(USER + s * step * SPEED), jnp.asarray(SPEED), jnp.array(5.0)
        ).length
        for s in (-1, 1)
    ]
    assert np.allclose(state.speed, (ends[0] - ends[1]) / (2 * step), atol=1e-6)
    assert np.ptp(np.asarray(state.speed[1 : 1 + many])) > 0.05
    turn = np.asarray(rays.jones[0, :, 0, 0])
    assert np.allclose(np.abs(turn), 1.0)
    assert np.abs(turn[1:].mean()) < 4 / np.sqrt(len(turn))
    assert turn[0] == 1.0
    assert rays.jones.shape == (2, len(turn), 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rays": 1}, "at least two rays; got 1"),
     ({"azimuth_spread": 5.0}, "azimuth_spread of a cluster must lie between 0 and 1, in rad"),
     ({"delay_spread": 4.0}, "if these are nanoseconds, multiply by 1e-9"),
     ({"diffuse": 1.0}, "a share from 0 to below 1; got 1")],
)  # fmt: skip
def test_what_is_no_cluster_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Clusters(**change)


def test_too_many_gains_are_refused(key, monkeypatch):
    monkeypatch.setattr("echoscape.channel_model.cluster._MOST_ENTRIES", 100)
    with pytest.raises(InputError, match="clusters of 20 rays make 202 gains over 2 instants"):
        clustered(world(), MOTION, INSIDE, key=key)
