"""One tone, users with phases of their own and a centimetre off: as good as knowing them."""

import dataclasses

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging import (
    ImageStatus,
    UserFreeVoxels,
    VisibilityGamp,
    image,
    read_image,
    write_image,
)
from tests.worlds.voxel_scenes import GRID, error_db, scene

USERS = 8


@pytest.fixture(scope="module")
def case():
    generator = np.random.default_rng(6)
    snapshots, truth = scene(3, users=USERS, occupied=8)
    gain = np.exp(2j * np.pi * generator.uniform(size=USERS))
    stated = dataclasses.replace(
        snapshots,
        pilots=snapshots.pilots / gain,
        user_position=snapshots.user_position + 0.01 * generator.standard_normal((USERS, 3)),
        user_position_std=np.full(USERS, 0.01),
    )
    return stated, truth, snapshots, gain


@pytest.fixture(scope="module")
def found(case):
    return image(case[0], GRID, unknown=("phase",))


@pytest.mark.slow
def test_the_image_is_as_good_as_with_users_known(case, found):
    stated, truth, exact, gain = case
    known = image(exact, GRID, solver=VisibilityGamp())
    assert '"UserFreeVoxels"' in found.settings
    # Four numbers a user, fitted to 36 samples, may cost what is asked at most.
    assert error_db(found, truth) < error_db(known, truth) + 6.0
    assert found.status is ImageStatus.CONVERGED
    assert found.certificate.holds
    away = np.linalg.norm(found.user_position - exact.user_position, axis=1)
    before = np.linalg.norm(stated.user_position - exact.user_position, axis=1)
    assert np.median(away) < 0.1 * np.median(before)
    assert np.allclose(np.abs(found.user_gain), 1)
    assert np.median(np.abs(np.angle(found.user_gain / gain))) < 1.0
    assert found.model_error < 0.005


@pytest.mark.slow
def test_gains_survive_the_file(found, tmp_path):
    write_image(found, tmp_path / "image.npz")
    again = read_image(tmp_path / "image.npz")
    assert np.array_equal(again.user_gain, found.user_gain)
    assert np.array_equal(again.user_position, found.user_position)


@pytest.mark.slow
def test_users_metres_off_leave_magnitudes(case):
    stated, truth, _, _ = case
    lost = dataclasses.replace(stated, user_position_std=np.full(USERS, 0.5))
    free = image(lost, GRID, unknown=("phase",))
    assert free.user_position is None
    assert np.all(free.mean >= 0)
    seen = (truth.coefficient != 0) & truth.in_range
    assert np.all(free.occupied().ravel()[seen])
    assert free.certificate.needed_log_odds > 5


@pytest.mark.slow
def test_users_that_are_elsewhere_are_no_certified_image(case):
    stated, _, _, _ = case
    wrong = dataclasses.replace(
        stated, user_position=stated.user_position + np.array([0.3, 0.2, -0.1])
    )
    away = image(wrong, GRID, unknown=("phase",))
    assert away.status is ImageStatus.MISFIT
    assert not away.certificate.holds


@pytest.mark.slow
def test_refusals(case):
    with pytest.raises(InputError, match="complex ones have the same effect on phases"):
        image(case[0], GRID, solver=UserFreeVoxels(), is_complex=True)
    with pytest.raises(InputError, match="occlusion radius must be finite and above zero, in m"):
        image(case[0], GRID, solver=UserFreeVoxels(), radius=0.0)
    with pytest.raises(ValueError, match="rounds must be at least one; got 0"):
        UserFreeVoxels(rounds=0)
    with pytest.raises(ValueError, match="occupied_share must lie between 0 and 1"):
        UserFreeVoxels(occupied_share=1.0)
