"""Bodies: a box found whole by the surface prior, and what each part of it decides."""

import dataclasses

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging import ImageStatus, NoncoherentPoints, image
from echoscape.imaging.choice import choose_solver
from echoscape.imaging.field.places import Places
from echoscape.imaging.field.search import Settings, empty, neighbours, settle
from echoscape.imaging.field.solver import assemble_points, make_scene
from echoscape.imaging.simulation import random_users, simulate
from echoscape.scene.voxel_shapes import box_voxels
from tests.worlds.voxel_scenes import FREQUENCY, GRID, stations

TONES = FREQUENCY + 400e6 * ((np.arange(8) + 0.5) / 8 - 0.5)


def body(sides):
    """Simulate a box of so many voxels, eight users with random phases stated exactly."""
    low = np.asarray(GRID.origin) + GRID.edge * np.array([3, 2, 1])
    index = box_voxels(GRID, low, low + GRID.edge * np.array(sides))
    generator = np.random.default_rng(8)
    coefficient = np.zeros(GRID.voxels)
    coefficient[index] = generator.uniform(0.2, 1, len(index))
    users = random_users(GRID, index, 8, generator, margin=3.0)
    return simulate(
        GRID, coefficient, users, stations(GRID, 3), TONES, snr=100.0, seed=8, random_phase=True
    )


def test_a_box_is_found_whole_and_certified():
    snapshots, truth = body((3, 2, 2))
    solver, why = choose_solver(snapshots, ["phase"], bodies=True)
    assert "by the surface prior" in why
    found = image(snapshots, GRID, solver=solver, unknown=["phase"])
    occupied, true = found.occupied().ravel(), truth.coefficient != 0
    assert not np.any(occupied & ~true)
    assert np.all(occupied[true & truth.in_range])
    assert found.status is ImageStatus.CONVERGED
    assert found.certificate.holds
    assert found.point_position is not None
    assert found.point_covariance is not None
    apart = found.point_position - GRID.centre_of(GRID.index_of(found.point_position))
    assert not apart.any()
    assert np.allclose(found.point_covariance, GRID.edge**2 / 12 * np.eye(3))


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_insides_that_nobody_sees_are_as_probable_as_the_prior_says(weight):
    """Three neighbours count, of six; the evidence counts for what stands in sight only."""
    snapshots, truth = body((3, 3, 3))
    scene, unit, noise = make_scene(snapshots, GRID)
    settings = Settings(GRID.edge, 0.5 * GRID.edge, 0.02, 0.0, 99, 3, 5, 1e-9, 0.0, weight)
    index = np.flatnonzero((truth.coefficient != 0) & truth.in_range)
    place, start = GRID.centre_of(index), empty(scene)
    cloud = start._replace(
        point=place,
        centre=place,
        power=np.full(len(index), 0.4),
        is_open=(truth.user[:, None] & truth.station[None])[..., index],
        log_odds=np.zeros(len(index)),
        noise=np.full(start.noise.shape, noise),
    )
    bare, _ = settle(scene, cloud, settings._replace(neighbour=0.0))
    cloud, _ = settle(scene, cloud, settings)
    solver = NoncoherentPoints(neighbour=weight)
    found = assemble_points(
        solver, scene, cloud, Places(scene, GRID, 1), settings, snapshots, unit, noise
    )
    hidden = np.flatnonzero(found.unseen)
    beside = neighbours(GRID.centre_of(hidden), place, GRID.edge)
    assert beside.max() == 3
    odds = 0.02 / 0.98 * np.exp(beside * weight)
    assert np.allclose(found.occupancy.ravel()[hidden], odds / (1 + odds))
    more = weight * neighbours(place, place, GRID.edge)
    assert np.allclose(cloud.log_odds - bare.log_odds, more)
    assert np.isclose(cloud.score - bare.score, 0.5 * more.sum())


def test_neighbours_share_a_face_and_count_three_at_most():
    point = np.array([[0, 0, 0], [2, 0, 0], [1, 1, 0], [1, 0, 1], [5, 5, 5.0]])
    at = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0], [5, 5, 4.0], [6, 6, 5]])
    assert np.array_equal(neighbours(at, point, 1.0), [3, 2, 0, 1, 0])
    assert np.array_equal(neighbours(2.5 * at, 2.5 * point, 2.5), [3, 2, 0, 1, 0])


def test_one_subcarrier_and_a_weight_that_is_none_are_refused():
    snapshots, _ = body((3, 2, 2))
    one = dataclasses.replace(snapshots, frequency=FREQUENCY, received=snapshots.received[..., :1])
    with pytest.raises(InputError, match="surface prior needs at least two subcarriers"):
        choose_solver(one, bodies=True)
    with pytest.raises(ValueError, match="neighbour must lie between 0 and 100; got -1"):
        NoncoherentPoints(neighbour=-1.0)
