"""Frequency responses: spherical fronts at every tone, squinting beams, Sionna's grid."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import ChannelRealization, Motion, RaySet, realize
from echoscape.channel_model.response import (
    frequency_response,
    subcarrier_offsets,
    write_grid,
)
from echoscape.checks import InputError
from echoscape.scene import PlanarArray
from echoscape.units import SPEED_OF_LIGHT

CARRIER = 28e9
STATION = np.array([1.0, -2.0, 9.0])


def direct(gain_db=0.0):
    """Make the straight way alone."""
    one, zero = jnp.ones(1), jnp.zeros(1)
    return RaySet(
        station=jnp.asarray(STATION), point=jnp.asarray(STATION[None]),
        scattered=jnp.zeros(1, bool), rotation=zero, reflection=one, vertical_reflection=one,
        time=jnp.array([0.0, 1.0]), gain_db=jnp.full((2, 1), gain_db), presence=jnp.ones((2, 1)),
    )  # fmt: skip


def test_with_squint_every_tone_has_the_length_between_its_own_elements(key):
    user = np.array([30.0, 14.0, 1.5])
    motion = Motion(jnp.array([0.0, 1.0]), jnp.asarray(np.stack([user, user])), jnp.zeros((2, 3)))
    transmit, receive = PlanarArray(2, 3, azimuth=0.4), PlanarArray(1, 2, azimuth=-2.0)
    time = jnp.array([0.0, 0.5])
    made = realize(direct(), motion, time, CARRIER, transmit, receive, squint=True, key=key)
    offset = np.array([-1.5e9, 0.0, 2e9])
    found = frequency_response(made, jnp.asarray(offset))
    wavelength = SPEED_OF_LIGHT / CARRIER
    start, end = (np.asarray(a.positions()) * wavelength for a in (transmit, receive))
    length = np.linalg.norm((user + end)[:, None] - (STATION + start)[None], axis=2)
    centre = np.linalg.norm(user - STATION)
    cycles = length[..., None] / SPEED_OF_LIGHT * (CARRIER + offset)
    exact = np.exp(-2j * np.pi * cycles) / centre
    assert np.allclose(found[1], exact, atol=1e-8 / centre)  # 3e3 cycles at 1e-12 each
    plain = ChannelRealization(made.coefficient, made.delay, made.time, CARRIER)
    flat = frequency_response(plain, jnp.asarray(offset))
    assert np.abs(flat[1, ..., 2] - exact[..., 2]).max() > 0.05 / centre


def test_a_beam_of_phases_points_elsewhere_at_the_edge_of_a_wide_band(key):
    # phases for sin(0.5) at the carrier point to sin = sin(0.5) fc / f at f
    count, band, angle = 64, 0.2, 0.5
    array = PlanarArray(1, count)
    across = np.linspace(0.3, 0.6, 601)
    far = STATION + 1e7 * np.stack([np.sqrt(1 - across**2), across, 0 * across], axis=1)
    times = jnp.arange(601.0)
    motion = Motion(times, jnp.asarray(far), jnp.zeros((601, 3)))
    made = realize(direct(), motion, times, CARRIER, array, PlanarArray(), squint=True, key=key)
    weight = np.exp(-1j * np.pi * np.sin(angle) * (np.arange(count) - (count - 1) / 2))
    for offset in (0.0, 0.5 * band * CARRIER):
        response = np.asarray(frequency_response(made, jnp.array([offset])))[:, 0, :, 0]
        best = across[np.argmax(np.abs(response @ weight))]
        assert best == pytest.approx(np.sin(angle) * CARRIER / (CARRIER + offset), abs=6e-4)


def test_a_grid_is_laid_out_as_sionnas_and_replaces_its_own_kind(tmp_path):
    rng = np.random.default_rng(1)
    response = rng.normal(size=(5, 2, 3, 4, 2)) @ np.array([1.0, 1j])
    offset = subcarrier_offsets(4, 30e3)
    assert np.array_equal(offset, [-60e3, -30e3, 0.0, 30e3])
    write_grid(response, tmp_path / "g.npz", time=np.arange(5.0), offset=offset,
               carrier_frequency=CARRIER)  # fmt: skip
    with np.load(tmp_path / "g.npz") as file:
        assert file["h_freq"].shape == (1, 1, 2, 1, 3, 5, 4)
        assert np.array_equal(file["h_freq"][0, 0, 1, 0, 2], response[:, 1, 2])
        assert np.array_equal(file["offset"], offset)


@pytest.mark.parametrize(
    ("count", "spacing", "message"),
    [(0, 1.0, "at least one subcarrier; got 0"),
     (4, np.nan, "spacing must be finite and above zero, in Hz; got nan"),
     (4, -15e3, "spacing must be finite and above zero, in Hz; got -15000")],
)  # fmt: skip
def test_what_is_no_grid_is_refused(count, spacing, message):
    with pytest.raises(InputError, match=message):
        subcarrier_offsets(count, spacing)
