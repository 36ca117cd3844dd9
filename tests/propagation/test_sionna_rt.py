"""Sionna RT as a source: what it traces is static images, ours, and adds up to its own response.

The traced cases need `sionna-rt` and LLVM 17 or newer and are skipped without.
"""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_model import ChannelRealization, frequency_response, rays_from_paths
from echoscape.channel_model.coefficient import image_lengths
from echoscape.channel_model.ray import evolve, jones_at
from echoscape.checks import InputError
from echoscape.propagation import sionna_rt
from echoscape.propagation.traced_route import read_traced_route, traced_table
from echoscape.propagation.wall_images import trace
from echoscape.units import SPEED_OF_LIGHT

STATION, CARRIER = np.array([-30.0, 0.5, 10.0]), 28e9


@pytest.fixture(scope="module")
def traced():
    problem = sionna_rt.why_not()
    if problem is not None:
        pytest.skip(problem)
    time = 0.25 * np.arange(36)  # more than are traced together
    velocity = np.array([0.9, -0.2, 0.0])
    position = np.array([14.0, 3.0, 1.5]) + time[:, None] * velocity
    return sionna_rt.trace_sionna(
        "simple_street_canyon", STATION, time, position, np.tile(velocity, (36, 1)), CARRIER,
        rays=300_000,
    )  # fmt: skip


@pytest.mark.slow
def test_images_of_one_identity_stand_still_and_nothing_is_lost_on_disk(traced):
    paths = traced.paths
    valid, identity = np.asarray(paths.valid), np.asarray(paths.identity)
    azimuth, zenith = np.asarray(paths.arrival_azimuth), np.asarray(paths.arrival_zenith)
    level = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1) * np.sin(zenith)[..., None]
    ahead = np.concatenate([level, np.cos(zenith)[..., None]], axis=-1)
    length = SPEED_OF_LIGHT * np.asarray(paths.delay)
    image = traced.position[:, None] + length[..., None] * ahead
    for number in np.unique(identity[valid]):
        mine = valid & (identity == number)
        assert (mine.sum(axis=1) <= 1).all()  # no doubles
        assert np.ptp(image[mine], axis=0).max() < 2e-3  # single precision at 100 m
    assert len(np.unique(identity[valid])) >= 5
    again = read_traced_route(traced_table(traced), CARRIER)
    assert np.array_equal(again.paths.valid, valid)
    assert np.allclose(again.jones, traced.jones, atol=0, rtol=1e-14)
    assert np.allclose(again.paths.gain, paths.gain, rtol=1e-6)
    speed = np.einsum("tpc,tc->tp", ahead, traced.velocity) * CARRIER / SPEED_OF_LIGHT
    assert np.allclose(speed[valid], np.asarray(paths.doppler)[valid], atol=0.05)


@pytest.mark.slow
def test_the_built_in_image_method_finds_the_same_paths(traced):
    rt = importlib.import_module("sionna.rt")
    mesh = sionna_rt.sionna_mesh(rt.load_scene(rt.scene.simple_street_canyon))
    found = trace(mesh, STATION, traced.position, CARRIER)
    valid = np.asarray(traced.paths.valid)
    missing = wrong = 0
    for k in range(len(traced.time)):
        ours = np.sort(found.length[found.place == k])
        theirs = np.asarray(traced.paths.delay)[k][valid[k]] * SPEED_OF_LIGHT
        apart = np.abs(ours[None] - theirs[:, None])
        missing += np.sum(apart.min(axis=1) > 3e-3)
        wrong += np.sum(apart.min(axis=0) > 3e-3)
    assert missing <= 0.02 * valid.sum()
    assert wrong <= 0.02 * len(found.place)


@pytest.mark.slow
def test_the_channel_of_its_paths_is_its_own_frequency_response(traced):
    rt = importlib.import_module("sionna.rt")
    scene = rt.load_scene(rt.scene.simple_street_canyon)
    scene.frequency = CARRIER
    kinds = {"vertical_spacing": 0.5, "horizontal_spacing": 0.5, "pattern": "iso"}
    scene.tx_array = rt.PlanarArray(num_rows=8, num_cols=8, polarization="V", **kinds)
    scene.rx_array = rt.PlanarArray(num_rows=4, num_cols=4, polarization="V", **kinds)
    scene.add(rt.Transmitter("t", position=[float(x) for x in STATION]))
    k = 10
    scene.add(rt.Receiver("r", position=[float(x) for x in traced.position[k]]))
    paths = rt.PathSolver()(scene, max_depth=3, samples_per_src=300_000, refraction=False)
    offset = np.linspace(-200e6, 200e6, 64)
    theirs = paths.cfr(frequencies=offset, normalize_delays=False, out_type="numpy")
    theirs = theirs.reshape(16, 64, 64)
    wavelength = SPEED_OF_LIGHT / CARRIER
    elements = [
        np.array(array.positions(wavelength)).T for array in (scene.tx_array, scene.rx_array)
    ]
    rays = rays_from_paths(traced)
    here, now = jnp.asarray(traced.position[k]), jnp.asarray(traced.time[k])
    length = image_lengths(rays, here, *(jnp.asarray(e) for e in elements))
    centre = image_lengths(rays, here, jnp.zeros((1, 3)), jnp.zeros((1, 3)))[0, 0]
    state = evolve(rays, here, jnp.zeros(3), now)
    size = jnp.sqrt(state.power) * jones_at(rays, now)[:, 0, 0]
    wave = size[None, None] * jnp.exp(-2j * jnp.pi * length / wavelength)
    channel = ChannelRealization(wave[None], centre[None] / SPEED_OF_LIGHT, now[None], CARRIER)
    ours = np.asarray(frequency_response(channel, jnp.asarray(offset)))[0]
    wrong = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    print(f"relative error of the frequency response: {wrong:.2e}")
    assert wrong < 5e-3


def test_the_version_of_llvm_is_read_and_a_named_one_is_taken(monkeypatch):
    assert sionna_rt.version_of("/x/libLLVM.so.19.1") == 19
    assert sionna_rt.version_of("/x/libLLVM-17.so") == 17
    assert sionna_rt.version_of("/x/libLLVM.so") == 0
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", "/x/libLLVM-15.so")
    assert sionna_rt.find_llvm() == "/x/libLLVM-15.so"


def test_without_it_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sionna_rt.why_not.cache_clear()
    place = np.zeros((2, 3))
    with pytest.raises(InputError, match=r"sionna.rt is not installed\): .*echoscape\[rt\]"):
        sionna_rt.trace_sionna("munich", STATION, np.arange(2.0), place, place, CARRIER)
    sionna_rt.why_not.cache_clear()
