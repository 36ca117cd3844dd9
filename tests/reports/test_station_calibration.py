"""Clock and mounting of a station from its reports: found, cross-checked, or refused."""

import dataclasses

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.reports.finding import Cause
from echoscape.reports.first_arrivals import bias_of_direct_paths
from echoscape.reports.geometry import check_geometry
from echoscape.reports.station_bias import StationBias, remove_station_bias
from echoscape.reports.station_calibration import (
    STATION_UNKNOWNS,
    combine,
    estimate_station_bias,
)
from echoscape.reports.straight_line import straight_lines
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.direct_paths import make_reports, without
from tests.worlds.station_faults import CLOCK, TURN, faulty, faulty_reports, measured, replace

TRUTH = np.r_[CLOCK, TURN]
ALL = np.ones(4, bool)


def estimate(reports, unknown=STATION_UNKNOWNS):
    return estimate_station_bias(reports, reports.station[0], unknown)


@pytest.mark.parametrize("seed", range(3))
def test_a_third_of_the_users_in_sight_tell_clock_and_mounting(seed):
    found = estimate(faulty_reports(seed))
    off = np.abs(found.values - TRUTH)
    assert off[0] < 0.5e-9 * SPEED_OF_LIGHT
    assert np.all(off[1:] < np.radians(0.25))  # the yaw of 30 paths of 0.6 degrees: 0.1
    assert np.all(off < 4 * np.sqrt(np.diag(found.covariance)))
    assert abs(found.direct_paths - 30) < 12


def test_what_is_declared_known_stays():
    reports = measured(faulty(make_reports(1, 60, 0.5), turn=np.zeros(3)), 1)
    found = estimate(reports, ("station-clock",))
    assert found.yaw == found.pitch == found.roll == 0.0
    assert np.all(found.covariance[1:, 1:] == 0.0)
    assert abs(found.clock - CLOCK) < 0.2


def test_heights_alone_tell_clock_and_tilt_but_no_yaw():
    found = estimate(faulty_reports(2, users=150, sight=0.0, angle=0.002))
    std = np.sqrt(np.diag(found.covariance))
    observable = np.array([0, 2, 3])
    assert found.direct_paths == 0
    assert np.all(np.abs(found.values - TRUTH)[observable] < 4 * std[observable])
    assert std[0] < 5e-9 * SPEED_OF_LIGHT
    assert np.isinf(std[1])
    assert found.stated()["yaw"] is None


def test_neither_direct_paths_nor_heights_are_refused():
    level = without(faulty_reports(3, sight=0.0), "departure_zenith", "arrival_zenith")
    with pytest.raises(InputError, match="add reports in its sight"):
        estimate(level)


def test_azimuths_alone_tell_the_yaw_but_no_tilt():
    level = without(faulty_reports(4, users=80, sight=0.6), "departure_zenith", "arrival_zenith")
    found = estimate(level)
    assert abs(found.yaw - TURN[0]) < 0.02  # the tilt that stays turns azimuths by its square
    assert found.pitch == found.roll == 0.0


def test_errors_larger_than_stated_are_learnt_and_widened():
    reports = faulty_reports(5, users=150, sight=0.5, angle=0.02, length=0.6, stated=0.25)
    found = estimate(reports)
    assert 3.0 < found.angle_scale < 5.0  # 75 paths: 10 %
    assert 2.5 < found.length_scale < 5.5
    widened = remove_station_bias(reports, {reports.station[0]: found}).estimates
    valid = widened.valid
    np.testing.assert_allclose(widened.departure_azimuth_std[valid], 0.005 * found.angle_scale)
    np.testing.assert_allclose(widened.length_std[valid], 0.15 * found.length_scale)


def test_taking_the_bias_off_gives_the_true_paths_back():
    true = make_reports(6, 20, 0.7, stations=2)
    none = estimate(measured(make_reports(6, 60, 0.7), 0))
    bias = dataclasses.replace(none, clock=CLOCK, yaw=TURN[0], pitch=TURN[1], roll=TURN[2],
                               angle_scale=1.0, length_scale=1.0)  # fmt: skip
    back = remove_station_bias(faulty(true), {name: bias for name in true.station})
    for name in ("length", "departure_azimuth", "departure_zenith"):
        np.testing.assert_allclose(
            getattr(back.estimates, name), getattr(true.estimates, name), atol=1e-9
        )
    half = remove_station_bias(faulty(true), {true.station[0]: bias}).estimates.length
    first = true.station_index == 0
    np.testing.assert_allclose(half[first], back.estimates.length[first])
    np.testing.assert_array_equal(half[~first], faulty(true).estimates.length[~first])


def test_of_two_nearly_equal_lengths_the_stronger_is_the_direct_path():
    reports = faulty_reports(7, users=200, sight=1.0)
    paths = reports.estimates
    # a weaker twin by way of the ground in place of the last path: lower, and as long
    twin = lambda name: np.array(getattr(paths, name))  # noqa: E731
    zenith, length, power = twin("departure_zenith"), twin("length"), twin("power")
    azimuth = twin("departure_azimuth")
    rng = np.random.default_rng(1)
    azimuth[:, -1], power[:, -1] = azimuth[:, 0], 0.2 * power[:, 0]
    zenith[:, -1] = zenith[:, 0] + 3.4 / length[:, 0]
    length[:, -1] = length[:, 0] + 0.1 + 0.3 * rng.normal(size=len(reports))
    mixed = replace(reports, {"departure_azimuth": azimuth, "departure_zenith": zenith,
                              "length": length, "power": power})  # fmt: skip
    found = bias_of_direct_paths(straight_lines(mixed, 0), ALL)
    assert found is not None
    assert np.all(np.abs(found.values - TRUTH) < 5 * np.sqrt(np.diag(found.covariance)))


def test_paths_around_one_edge_are_no_direct_paths():
    # In sight of an edge, not of the station: all first arrivals leave alike and are longer.
    reports = make_reports(8, 120, 1.0, walls=1)
    edge = reports.station_position[0] + np.array([25.0, 14.0, -4.0])
    out, leg = edge - reports.station_position[0], reports.position - edge
    paths = reports.estimates
    length, azimuth, zenith = (
        np.array(getattr(paths, n)) for n in ("length", "departure_azimuth", "departure_zenith")
    )
    length[:, 0] = np.linalg.norm(out) + np.linalg.norm(leg, axis=1)
    azimuth[:, 0] = np.arctan2(out[1], out[0])
    zenith[:, 0] = np.arctan2(np.hypot(*out[:2]), out[2])
    around = replace(reports, {"length": length, "departure_azimuth": azimuth,
                               "departure_zenith": zenith})  # fmt: skip
    assert bias_of_direct_paths(straight_lines(measured(around, 1), 0), ALL) is None


def test_heights_sharpen_the_tilt_they_agree_on_and_outvote_a_few_direct_paths():
    direct = StationBias(6.0, 0.05, 0.03, 0.02, np.diag([0.1, 2e-3, 3e-3, 3e-3]) ** 2, 12, 1.0, 1.0)
    heights = StationBias(
        6.5, 0.0, 0.032, 0.018, np.diag([1.0, np.inf, 1e-3, 1e-3]) ** 2, 0, 1.0, 1.0
    )
    both = combine(direct, heights)
    assert both is not None
    assert both.clock == 6.0  # users' heights may be wrong
    assert both.yaw == 0.05
    np.testing.assert_allclose([both.pitch, both.roll], [0.0318, 0.0182], atol=1e-12)  # nine to one
    np.testing.assert_allclose(both.covariance[2, 2], 1 / (1 / 3e-3**2 + 1 / 1e-3**2))
    late = dataclasses.replace(heights, clock=18.0)
    assert combine(direct, late) is direct
    assert combine(dataclasses.replace(direct, sure=False), late) is None


def test_undeclared_the_check_names_the_cause_and_the_option():
    reports = faulty_reports(10, users=120)
    found = check_geometry(reports)
    assert [each.cause for each in found] == [Cause.STATION_BIAS]
    assert "--unknown station-clock,station-heading" in found[0].sentence
    late = measured(faulty(make_reports(10, 120, 0.3, walls=4), turn=np.zeros(3)), 1)
    sentences = " ".join(each.sentence for each in check_geometry(late))
    assert "--unknown station-clock" in sentences
    assert "station-heading" not in sentences
    assert check_geometry(measured(make_reports(10, 120, 0.3, walls=4), 1)) == ()
