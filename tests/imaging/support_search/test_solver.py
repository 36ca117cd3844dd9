"""The coherent default where the stated noise is wrong: learnt noise keeps false voxels away."""

import dataclasses

import numpy as np
import pytest

from echoscape.imaging import ImageStatus, VisibilityGamp, image
from tests.worlds.voxel_scenes import GRID, scene


def f1(found, truth):
    there = (truth.coefficient != 0) & truth.in_range
    said = found.occupied().ravel() & truth.in_range
    return 2 * np.sum(said & there) / (said.sum() + there.sum())


@pytest.fixture(scope="module")
def case():
    return scene(12, occupied=9, users=8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "status"), [(0.1, ImageStatus.MISFIT), (10.0, ImageStatus.OVERFITTED)]
)
def test_noise_stated_wrong_by_ten_decibels_costs_no_voxel_and_is_said(case, factor, status):
    snapshots, truth = case
    stated = dataclasses.replace(snapshots, noise_variance=factor * snapshots.noise_variance)
    found = image(stated, GRID, solver=VisibilityGamp())
    assert f1(found, truth) >= 0.95
    assert found.status is status
    assert not found.certificate.holds
    assert 0.5 < found.noise_variance / snapshots.noise_variance < 2.0
