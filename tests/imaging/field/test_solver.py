"""The field: points off the grid found with users that are decimetres off, and refusals."""

import dataclasses

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging import ImageStatus, NoncoherentPoints, image, read_image, write_image
from tests.worlds.voxel_scenes import GRID, scene

TONES = 28e9 + 400e6 * ((np.arange(8) + 0.5) / 8 - 0.5)


@pytest.fixture(scope="module")
def case():
    """Eight points anywhere in their voxels, eight users stated 10 cm off along each axis."""
    generator = np.random.default_rng(3)
    offset = generator.uniform(-0.5, 0.5, (GRID.voxels, 3)) * GRID.edge
    snapshots, truth = scene(4, users=8, occupied=8, frequency=TONES, offset=offset)
    index = np.flatnonzero(truth.coefficient)
    place = GRID.centre_of(index) + offset[index]
    true_user = snapshots.user_position
    stated = true_user + 0.1 * generator.standard_normal(true_user.shape)
    snapshots = dataclasses.replace(
        snapshots, user_position=stated, user_position_std=np.full(8, 0.1)
    )
    return snapshots, place[truth.in_range[index]], true_user, truth.coefficient[index]


@pytest.fixture(scope="module")
def found(case):
    return image(case[0], GRID, solver=NoncoherentPoints())


def distances(found, place):
    apart = np.linalg.norm(found.point_position[:, None] - place[None], axis=-1)
    return apart.min(0), apart.min(1)


def test_points_and_users_are_found_to_centimetres(case, found):
    _, place, true_user, _ = case
    there, false = distances(found, place)
    assert np.all(there < 0.5 * GRID.edge)
    assert np.sum(false > 0.5 * GRID.edge) == 0
    assert np.median(there) < 0.03
    stated = np.linalg.norm(case[0].user_position - true_user, axis=1)
    refined = np.linalg.norm(found.user_position - true_user, axis=1)
    assert np.median(refined) < 0.3 * np.median(stated)
    assert found.status is ImageStatus.CONVERGED
    assert found.certificate.holds


def test_the_claimed_covariance_covers_the_errors(case, found):
    _, place, _, _ = case
    nearest = np.argmin(np.linalg.norm(found.point_position[:, None] - place[None], axis=-1), 1)
    wrong = found.point_position - place[nearest]
    squared = np.einsum("ni,nij,nj->n", wrong, np.linalg.inv(found.point_covariance), wrong)
    # Three degrees of freedom: median 2.4, 99.9 % below 16; systematic errors may double it.
    assert np.median(squared) < 6.0


def test_points_are_handed_on_with_their_covariance(found):
    points = found.static_points()
    assert np.array_equal(points.offset, found.point_position[:, :2])
    assert np.array_equal(points.covariance[:, :3, :3], found.point_covariance)


def test_everything_survives_the_file(found, tmp_path):
    write_image(found, tmp_path / "image.npz")
    again = read_image(tmp_path / "image.npz")
    for name in ("point_position", "point_covariance", "point_coefficient", "user_position"):
        assert np.array_equal(getattr(again, name), getattr(found, name)), name
    assert again.model_error == found.model_error
    assert again.certificate == found.certificate
    assert again.settings == found.settings


@pytest.fixture(scope="module")
def mirrored(case):
    """Add the same points by way of a mirror at the ground, 20 dB weaker."""
    snapshots = case[0]
    generator = np.random.default_rng(3)
    offset = generator.uniform(-0.5, 0.5, (GRID.voxels, 3)) * GRID.edge
    below, _ = scene(
        4, users=8, occupied=8, frequency=TONES, offset=offset, random_phase=True, lower=2.0
    )
    size = np.linalg.norm(snapshots.received) / np.linalg.norm(below.received)
    return dataclasses.replace(snapshots, received=snapshots.received + 0.1 * size * below.received)


@pytest.mark.parametrize("share", [None, pytest.param(0.0, marks=pytest.mark.slow)])
def test_waves_by_way_of_a_mirror_make_no_points_but_a_misfit(case, mirrored, share):
    """Without a least share of the evidence the weak images would count."""
    settings = {"restarts": 0} if share is None else {"restarts": 0, "least_share": share}
    again = image(mirrored, GRID, solver=NoncoherentPoints(**settings))
    there, false = distances(again, case[1])
    assert np.all(there < 0.5 * GRID.edge)
    assert np.any(false > 0.5 * GRID.edge) == (share is not None)
    if share is None:
        assert again.status is ImageStatus.MISFIT
        assert (again.model_error or 0.0) > 0.002


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.1, 10.0, None])
def test_noise_stated_wrong_or_not_at_all_changes_no_point(case, found, factor):
    snapshots, place, _, _ = case
    noise = None if factor is None else factor * snapshots.noise_variance
    wrong = dataclasses.replace(snapshots, noise_variance=noise)
    again = image(wrong, GRID, solver=NoncoherentPoints())
    there, false = distances(again, place)
    assert np.all(there < 0.5 * GRID.edge)
    assert np.all(false < 0.5 * GRID.edge)
    assert np.isclose(again.noise_variance, snapshots.noise_variance, rtol=0.3)
    wanted = {0.1: ImageStatus.MISFIT, 10.0: ImageStatus.OVERFITTED, None: ImageStatus.CONVERGED}
    assert again.status is wanted[factor]
    assert not again.certificate.holds


def test_refusals_name_the_tones_and_the_region(case):
    snapshots = case[0]
    one = dataclasses.replace(snapshots, frequency=TONES[:1], received=snapshots.received[..., :1])
    with pytest.raises(InputError, match=r"at least two subcarriers.*got 1: choose another"):
        image(one, GRID, solver=NoncoherentPoints())
    wide = dataclasses.replace(snapshots, frequency=28e9 + 240e6 * np.arange(8))
    with pytest.raises(InputError, match=r"240 MHz apart let path lengths repeat after 1.25 m"):
        image(wide, GRID, solver=NoncoherentPoints())
    same = dataclasses.replace(snapshots, frequency=np.full(8, 28e9))
    with pytest.raises(InputError, match="two are the same"):
        image(same, GRID, solver=NoncoherentPoints())
    with pytest.raises(InputError, match="occlusion radius must be finite and above zero, in m"):
        image(snapshots, GRID, solver=NoncoherentPoints(), radius=-1.0)
    with pytest.raises(ValueError, match="points must be at least one; got 0"):
        NoncoherentPoints(points=0)
    with pytest.raises(ValueError, match="least_share must lie between 0 and 1"):
        NoncoherentPoints(least_share=-0.1)
    with pytest.raises(ValueError, match="occupied_share must lie between 0 and 1"):
        NoncoherentPoints(occupied_share=0.0)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("user_position_std", -0.1, "user_position_std must lie between 0 and 1000, in m"),
        ("user_clock_std", 1.0, "user_clock_std must lie between 0 and 0.001, in s; nanoseconds"),
    ],
)
def test_deviations_that_are_none_are_refused(case, name, value, sentence):
    with pytest.raises(InputError, match=sentence):
        dataclasses.replace(case[0], **{name: np.full(8, value)})


def test_the_most_points_are_a_limit_that_is_said(case):
    few = image(case[0], GRID, solver=NoncoherentPoints(points=3, restarts=0))
    assert few.status is ImageStatus.ITERATION_LIMIT
    assert not few.certificate.holds


def test_a_band_too_narrow_for_the_voxels_certifies_nothing():
    """A band of 50 MHz resolves 3 m: two points within that pass for one, and leave no misfit."""
    tones = 28e9 + (TONES - 28e9) / 8
    snapshots, _ = scene(4, users=8, occupied=4, frequency=tones)
    found = image(snapshots, GRID, solver=NoncoherentPoints(restarts=0))
    certificate = found.certificate
    assert certificate.lowest <= certificate.misfit <= certificate.limit
    assert not certificate.holds
    assert found.status is ImageStatus.UNSURE
