"""Errors of reports that are larger than stated: learnt from what points leave of their paths."""

import dataclasses

import numpy as np
import pytest

from echoscape.channel_map import fit_map, save_maps
from echoscape.channel_map.updating.update import update_map
from echoscape.channel_map.virtual_anchors.error_scale import ErrorScale, learn_error_scale
from echoscape.channel_map.virtual_anchors.search import FittedPoint
from echoscape.channel_map.virtual_anchors.unfolded import unfold
from echoscape.cli import main
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.direct_paths import edit, make_reports, noisy

ANGLE, LENGTH = 0.01, 0.3


def stated(reports, share):
    """State a share of the errors; arrivals are not measured."""
    paths = reports.estimates
    one = np.ones(paths.valid.shape)
    return edit(
        reports, departure_azimuth_std=share * ANGLE * one,
        departure_zenith_std=share * ANGLE * one,
        delay_std=share * LENGTH / SPEED_OF_LIGHT * one, arrival_azimuth_std=np.inf * one,
        arrival_zenith_std=np.inf * one,
    )  # fmt: skip


@pytest.fixture(scope="module")
def reports():
    return noisy(make_reports(3, 120, 0.6, 5), 1, ANGLE, LENGTH, stated=True)


@pytest.fixture(scope="module")
def right(reports):
    return fit_map(stated(reports, 1.0))


@pytest.fixture(scope="module")
def widened(reports):
    return fit_map(stated(reports, 0.25))


@pytest.mark.slow
def test_right_errors_are_left(right):
    assert tuple(right.state.error_scale) == (1.0, 1.0)


@pytest.mark.slow
def test_a_map_learns_the_scale_and_its_points_err_as_they_claim(right, widened):
    # the medians of some 450 residuals, with three parameters a point
    np.testing.assert_allclose(widened.state.error_scale, 4.0, rtol=0.2)
    for each in (widened, right):
        assert len(each.state.statistics) == 6  # the straight line and five walls
    ratio = np.median(widened.error.variance[:6]) / np.median(right.error.variance[:6])
    assert 0.6 < ratio < 1.5


@pytest.mark.slow
def test_later_reports_are_widened_alike(reports, widened):
    later = dataclasses.replace(stated(reports, 0.25), time=np.full(len(reports), 9.0))
    fresh = noisy(make_reports(3, 120, 0.6, 5), 7, ANGLE, LENGTH, stated=True)
    later = dataclasses.replace(later, estimates=stated(fresh, 0.25).estimates)
    new, changes = update_map(widened, later)
    assert changes.explained > 0.95
    assert tuple(new.state.error_scale) == tuple(widened.state.error_scale)


def test_lengths_and_angles_are_told_apart(reports):
    some = stated(reports, 1.0)
    short = edit(some, delay_std=0.2 * some.estimates.length_std / SPEED_OF_LIGHT)
    paths = unfold(short, some.position - some.station_position[0], 0.1)
    direct = np.flatnonzero(paths.rank == 0)
    sight = np.linalg.norm(paths.point[direct] - paths.place[direct], axis=1) < 5.0
    points = [FittedPoint(1, 0.0, np.zeros(2), direct[sight])]
    none = np.zeros(len(paths.report))
    assert learn_error_scale(paths, points, none, 0.1) == ErrorScale()  # too few to tell
    scale = learn_error_scale(paths, points * 3, none, 0.1)
    assert scale.angle == 1.0
    assert scale.length == pytest.approx(5.0, rel=0.25)


@pytest.mark.slow
def test_the_command_says_so(reports, tmp_path, capsys, widened):
    save_maps(widened, tmp_path / "m")
    assert main(["map", "show", str(tmp_path / "m")]) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "errors of the reports of 'bs-0' are larger than stated" in shown
