"""Occupied voxels without the users: found, and blind to what users' phases are."""

import numpy as np
import pytest

from echoscape.imaging.calibration.user_free import find_voxels, make_sheet
from echoscape.imaging.field.solver import make_scene
from tests.worlds.voxel_scenes import GRID, scene, stations


@pytest.fixture(scope="module")
def case():
    snapshots, truth = scene(3, users=8, occupied=8, antennas=stations(GRID, 3, 4, 4))
    made, _, noise = make_scene(snapshots, GRID)
    return made, noise, truth


def found_in(made, noise, restarts=2):
    sheet = make_sheet(made, GRID.centres(), 0.5 * GRID.edge, 0.02, 0.1 * noise)
    return find_voxels(sheet, 50, restarts)


def test_the_occupied_voxels_are_found(case):
    made, noise, truth = case
    found = found_in(made, noise)
    seen = np.flatnonzero((truth.coefficient != 0) & truth.in_range)
    assert set(seen) <= set(found.index) <= set(np.flatnonzero(truth.coefficient))
    assert np.isclose(found.noise, noise, rtol=0.3)
    # Segments that are hidden are named so, those of the users and those of the stations.
    listed = truth.station[:, found.index]
    assert np.mean(found.station == listed) > 0.9
    assert np.mean(found.user[:, 0] == truth.user[:, found.index]) > 0.9


def test_users_phases_change_nothing_and_positions_hardly(case):
    made, noise, _ = case
    turn = np.exp(2j * np.pi * np.random.default_rng(2).uniform(size=8))
    turned = made._replace(channel=made.channel * turn[:, None, None])
    first, second = found_in(made, noise, 0), found_in(turned, noise, 0)
    assert np.array_equal(first.index, second.index)
    assert np.isclose(first.score, second.score, rtol=1e-9)
    moved = made._replace(user=made.user + 0.3 * np.random.default_rng(3).standard_normal((8, 3)))
    assert set(found_in(moved, noise).index) == set(found_in(made, noise).index)


def test_noise_alone_is_no_voxel(case):
    made, _, _ = case
    generator = np.random.default_rng(4)
    shape = made.channel.shape
    hiss = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    assert len(found_in(made._replace(channel=hiss), 2.0).index) == 0
