"""Images: each status provoked, the certificate from both sides, points handed on, old files."""

import dataclasses
import math

import numpy as np
import pytest

from echoscape.imaging import (
    Certificate,
    IgnoreOcclusion,
    ImageStatus,
    OcclusionAwareGamp,
    image,
    read_image,
    write_image,
)
from echoscape.imaging.known import genie
from echoscape.scene.static_points import PointKind
from tests.worlds.voxel_scenes import GRID, scene

GOOD = Certificate(1.0, 1.1, True, 9.0, 0.99, 0.8)


@pytest.fixture(scope="module")
def case():
    return scene(occupied=6, users=5, station_count=2)


@pytest.fixture(scope="module")
def found(case):
    snapshots, truth = case
    return image(snapshots, GRID, solver=genie(truth))


def test_the_truth_is_certified(found):
    assert found.status is ImageStatus.CONVERGED
    assert found.certificate.holds


def test_noise_stated_too_low_is_a_misfit_and_too_high_is_overfitted(case):
    """Only the misfit differs: the truth fits the same samples each time."""
    snapshots, truth = case
    for factor, status in ((0.1, ImageStatus.MISFIT), (10.0, ImageStatus.OVERFITTED)):
        stated = dataclasses.replace(snapshots, noise_variance=factor * snapshots.noise_variance)
        found = image(stated, GRID, solver=genie(truth))
        assert found.status is status
        assert not found.certificate.holds
        assert "noise" in found.status.advice


def test_iterations_used_up_are_said_and_not_certified(case):
    snapshots, _ = case
    found = image(snapshots, GRID, solver=OcclusionAwareGamp(iterations=3))
    assert found.status is ImageStatus.ITERATION_LIMIT
    assert not found.certificate.converged
    assert not found.certificate.holds


def test_an_image_of_another_place_is_unexplained(case):
    snapshots, truth = case
    away = np.array([40.0, -25.0, 3.0])
    elsewhere = dataclasses.replace(
        snapshots,
        user_position=snapshots.user_position + away,
        antenna_position=snapshots.antenna_position + away,
    )
    assert image(elsewhere, GRID, solver=genie(truth)).status is ImageStatus.UNEXPLAINED


@pytest.mark.parametrize(
    "changes",
    [
        {"misfit": 1.2},
        {"misfit": 0.7},
        {"misfit": math.nan},
        {"misfit": math.inf},
        {"noise_known": False},
        {"least_log_odds": 4.9},
        {"least_log_odds": math.nan},
        {"explained": 0.4},
        {"explained": math.nan},
        {"converged": False},
    ],
)
def test_each_condition_alone_refuses_a_certificate(changes):
    assert GOOD.holds
    assert not dataclasses.replace(GOOD, **changes).holds


@pytest.mark.parametrize("misfit", [math.nan, math.inf])
def test_a_misfit_that_is_no_number_has_diverged(misfit):
    bad = dataclasses.replace(GOOD, misfit=misfit)
    assert bad.judge(ImageStatus.CONVERGED) is ImageStatus.DIVERGED
    assert bad.judge(ImageStatus.ITERATION_LIMIT) is ImageStatus.ITERATION_LIMIT


def test_a_solver_that_settled_is_called_so_only_if_what_it_shows_is_sure():
    unsure = dataclasses.replace(GOOD, least_log_odds=4.9)
    assert GOOD.judge(ImageStatus.CONVERGED) is ImageStatus.CONVERGED
    assert unsure.judge(ImageStatus.CONVERGED) is ImageStatus.UNSURE
    # What is left over says more than what is doubtful among what was found.
    worse = dataclasses.replace(unsure, misfit=2.0)
    assert worse.judge(ImageStatus.CONVERGED) is ImageStatus.MISFIT


def test_every_status_has_advice_of_its_own():
    assert len({status.advice for status in ImageStatus}) == len(ImageStatus)


def test_occupied_voxels_become_scatterers(found, case):
    points = found.static_points()
    index = np.flatnonzero(found.occupied())
    place = np.column_stack([points.offset, points.height_offset])
    assert np.array_equal(place, GRID.centre_of(index))
    assert np.all(points.kind == PointKind.SCATTERER)
    # A cube of uniform density: edge^2 / 12 along each axis, by drawing.
    draws = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 3)) * GRID.edge
    wanted = np.cov(draws.T)
    assert np.allclose(points.covariance[2, :3, :3], wanted, atol=0.03 * GRID.edge**2 / 12)
    # Power of the path by way of the voxel, times the squares of both segments.
    wavelength = 299_792_458.0 / 28e9
    size = np.abs(found.mean.reshape(-1)[index])
    assert np.allclose(np.exp(points.log_gain), size**2 * (wavelength / (4 * np.pi)) ** 4)
    assert points.provenance == ("image",)


def test_an_empty_image_gives_no_points(case):
    snapshots, _ = case
    nothing = image(snapshots, GRID, solver=IgnoreOcclusion(iterations=2))
    nothing = dataclasses.replace(nothing, occupancy=np.zeros(GRID.shape))
    assert len(nothing.static_points()) == 0


def test_a_file_of_the_version_before_loads(found, tmp_path):
    """Files of before hold `least_worth` and none of what came later."""
    write_image(found, tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name in (
        "settings",
        "reason",
        "misfit_lowest",
        "needed_log_odds",
        "converged",
        "frequency",
    ):
        del arrays[name]
    arrays["least_worth"] = arrays.pop("least_log_odds")
    np.savez(tmp_path / "old.npz", **arrays)
    old = read_image(tmp_path / "old.npz")
    assert old.certificate.least_log_odds == found.certificate.least_log_odds
    assert np.array_equal(old.mean, found.mean)
    assert old.frequency is None
    assert old.static_points().log_gain is None
