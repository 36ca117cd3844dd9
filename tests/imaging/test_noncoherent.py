"""Images without phase: the group's posterior by enumeration, scatterers off the grid, refusals."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging import NoncoherentGamp, image
from echoscape.imaging.noncoherent import _OPEN, GroupPrior, denoise_group
from tests.worlds.voxel_scenes import GRID, scene


def gauss(value, variance):
    return np.exp(-(np.abs(value) ** 2) / variance) / (np.pi * variance)


def test_a_group_is_bayes_over_all_open_and_closed_links():
    value = np.array([[0.4 + 0.3j, -0.1j], [0.05 + 0.02j, 0.9 - 0.4j], [0.2 + 0j, -0.3 + 0.1j]])
    noise = np.array([[0.1, 0.2], [0.05, 0.3], [0.15, 0.1]])
    rate, size = 0.07, 0.5
    weights, mean, open_ = 0.0, np.zeros(value.shape, complex), np.zeros(value.shape)
    none = (1 - rate) * np.prod(gauss(value, noise))
    for segments in itertools.product([0, 1], repeat=value.size):
        segments = np.array(segments).reshape(value.shape)
        like = np.where(
            segments, _OPEN * gauss(value, noise + size), (1 - _OPEN) * gauss(value, noise)
        )
        weight = rate * np.prod(like)
        weights += weight
        mean += weight * segments * size / (size + noise) * value
        open_ += weight * segments
    found = denoise_group(
        jnp.asarray(value)[..., None],
        jnp.asarray(noise)[..., None],
        GroupPrior(jnp.array(rate), jnp.array([size])),
    )
    total = weights + none
    assert np.allclose(found.present[0], weights / total, rtol=1e-9)
    assert np.allclose(found.open[..., 0], open_ / weights, rtol=1e-9)
    assert np.allclose(found.mean[..., 0], mean / total, rtol=1e-9)


@pytest.mark.slow
def test_scatterers_off_the_grid_with_random_phases_are_found():
    """Two centimetres off the grid are two wavelengths: no coherent solver stands a chance."""
    offset = np.random.default_rng(1).uniform(-0.02, 0.02, (GRID.voxels, 3))
    tones = 28e9 + 400e6 * ((np.arange(8) + 0.5) / 8 - 0.5)
    snapshots, truth = scene(7, frequency=tones, random_phase=True, offset=offset)
    found = image(snapshots, GRID, solver=NoncoherentGamp())
    there = (truth.coefficient != 0) & truth.in_range
    said = (found.mean.ravel() > 0.1) & truth.in_range
    assert 2 * np.sum(said & there) / (said.sum() + there.sum()) >= 0.9
    # Magnitudes average over a voxel's open links, 18 at most, of some 20 dB and less each.
    both = said & there
    off = np.abs(found.mean.ravel()[both] / truth.coefficient[both] - 1)
    assert np.median(off) < 0.15


def test_one_subcarrier_is_refused():
    snapshots, _ = scene(7)
    with pytest.raises(InputError, match=r"at least two subcarriers.*got 1: choose another solver"):
        image(snapshots, GRID, solver=NoncoherentGamp())


def test_progress_comes_between_rounds_which_change_nothing():
    tones = 28e9 + 400e6 * ((np.arange(2) + 0.5) / 2 - 0.5)
    snapshots, _ = scene(7, frequency=tones, random_phase=True)
    solver, stages = NoncoherentGamp(iterations=30), []
    whole = image(snapshots, GRID, solver=solver)
    found = image(snapshots, GRID, solver=solver, progress=lambda *what: stages.append(what))
    assert found.iterations == whole.iterations == 30
    assert np.array_equal(found.mean, whole.mean)
    stage = "30 iterations at most"
    assert stages == [(0, 30, f"{stage}, compiling"), (25, 30, stage)]
