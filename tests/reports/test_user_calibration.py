"""Users' clocks and headings: carried from users in sight to the others, or not stated."""

import numpy as np
import pytest

from echoscape.channel_map.calibration import calibrate
from echoscape.checks import InputError
from echoscape.reports.user_calibration import (
    USER_UNKNOWNS,
    estimate_user_bias,
    remove_user_bias,
)
from echoscape.units import SPEED_OF_LIGHT, length_of, wrap_angle
from tests.worlds.direct_paths import make_reports, without
from tests.worlds.station_faults import measured, replace

ANGLE, LENGTH = 0.005, 0.3


def world(seed, users=60, sight=0.4, **errors):
    """Users of whom some are in sight, among four walls."""
    return measured(make_reports(seed, users, sight, walls=4), seed, **errors)


def shifted(reports, seed=0, clock=True, heading=True):
    """Give every user a clock and a heading of its own, and say which."""
    rng, paths = np.random.default_rng(seed), reports.estimates
    late = rng.uniform(0.0, 150.0, len(reports)) * clock
    turn = rng.uniform(-np.pi, np.pi, len(reports)) * heading
    changed = {
        "length": np.where(paths.valid, paths.length + late[:, None], 0.0),
        "arrival_azimuth": np.where(
            paths.valid, wrap_angle(paths.arrival_azimuth + turn[:, None]), 0.0
        ),
    }
    return replace(reports, changed), late, turn


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unknown", [USER_UNKNOWNS[:1], USER_UNKNOWNS[1:], USER_UNKNOWNS])
def test_most_users_follow_from_those_in_sight_and_none_is_wrong(seed, unknown):
    clock, heading = (name in unknown for name in USER_UNKNOWNS)
    reports, late, turn = shifted(
        world(seed, angle=ANGLE, length=LENGTH), seed, clock=clock, heading=heading
    )
    found = estimate_user_bias(reports, unknown)
    known = np.isfinite(found.clock) & np.isfinite(found.heading)
    assert 10 < found.direct < 45  # of some 24 in sight
    assert known.sum() > found.direct + 5
    miss = np.abs(found.clock - late)[known]
    off = np.abs(wrap_angle(found.heading - turn))[known]
    if clock:
        # A gate of 3.5 deviations a vote; wrong matches would be metres off.
        assert np.all(miss < 6 * found.clock_std[known])
        assert np.median(miss) < LENGTH
    else:
        assert np.all(found.clock == 0.0)
        assert np.all(found.clock_std == 0.0)
    if heading:
        assert np.all(off < 6 * found.heading_std[known])
        assert np.median(off) < np.radians(0.5)
    else:
        assert np.all(found.heading == 0.0)


def test_exact_reports_give_the_biases_exactly():
    reports, late, turn = shifted(make_reports(3, 40, 0.5, walls=4))
    found = estimate_user_bias(reports, USER_UNKNOWNS)
    known = np.isfinite(found.clock)
    assert known.sum() > 25
    np.testing.assert_allclose(found.clock[known], late[known], atol=1e-6)
    assert np.abs(wrap_angle(found.heading - turn))[known].max() < 1e-8


def test_what_is_taken_off_is_what_was_put_on():
    reports = world(1, angle=ANGLE, length=LENGTH)
    late, late_turn = shifted(reports), estimate_user_bias(shifted(reports)[0], USER_UNKNOWNS)
    clean = remove_user_bias(late[0], late_turn)
    kept = np.isfinite(late_turn.clock)
    assert len(clean) == kept.sum() < len(reports)  # those without a clock are left out
    before, after, valid = reports.estimates[kept], clean.estimates, clean.estimates.valid
    assert np.median(np.abs(before.length - after.length)[valid]) < LENGTH
    turned = wrap_angle(before.arrival_azimuth - after.arrival_azimuth)
    assert np.median(np.abs(turned)[valid]) < 2 * ANGLE
    assert np.all(after.length_std[valid] > before.length_std[valid])


def test_a_user_without_a_heading_keeps_its_lengths_alone():
    reports = world(1)
    found = estimate_user_bias(shifted(reports, clock=False)[0], USER_UNKNOWNS[1:])
    found.heading[4] = np.nan
    clean = remove_user_bias(reports, found)
    assert len(clean) == len(reports)
    assert np.all(np.isinf(clean.estimates.arrival_azimuth_std[4][reports.estimates.valid[4]]))
    np.testing.assert_array_equal(clean.estimates.length[4], reports.estimates.length[4])


def test_without_arrivals_only_users_in_sight_are_known():
    reports = world(2, angle=ANGLE)
    sighted = np.abs(reports.estimates.length[:, 0] - np.linalg.norm(
        reports.position - reports.station_position[0], axis=1)) < 2.0  # fmt: skip
    blind = without(shifted(reports, heading=False)[0], "arrival_azimuth", "arrival_zenith")
    found = estimate_user_bias(blind, USER_UNKNOWNS[:1])
    known = np.isfinite(found.clock)
    assert known.sum() == found.direct > 10
    assert not np.any(known & ~(sighted & reports.estimates.valid[:, 0]))
    with pytest.raises(InputError, match="follows from arrival azimuths at the users"):
        estimate_user_bias(blind, USER_UNKNOWNS[1:])


def test_nobody_in_sight_is_refused():
    reports = shifted(world(0, sight=0.0))[0]
    with pytest.raises(InputError, match="user-clock at station 'bs-0' cannot be estimated"):
        estimate_user_bias(reports, USER_UNKNOWNS[:1])


def test_stations_are_calibrated_apart_and_their_own_clock_is_refused():
    two = measured(make_reports(5, 40, 0.6, walls=4, stations=2), angle=ANGLE)
    reports, late, _ = shifted(two, heading=False)
    clean, stated = calibrate(reports, ["user-clock"])
    assert set(stated) == {"bs-0", "bs-1"}
    for station, name in enumerate(("bs-0", "bs-1")):
        mine = late[reports.station_index == station]
        users = stated[name]["users"]
        clock = np.array([np.nan if v is None else v for v in users["clock"]])
        known = np.isfinite(clock)
        assert known.sum() == (clean.station_index == station).sum() > 15
        assert np.median(np.abs(clock * SPEED_OF_LIGHT - mine)[known]) < 2 * LENGTH
        assert users["report"] == reports.report[reports.station_index == station].tolist()
    with pytest.raises(InputError, match="station-clock cannot be estimated beside user-clock"):
        calibrate(reports, ["station-clock", "user-clock"])
    with pytest.raises(InputError, match="unknown 'clock'"):
        calibrate(reports, ["clock"])


def test_a_clock_that_shortens_paths_below_the_line_is_impossible():
    """Too large a clock by the straight line, too small a one by the heights."""
    from echoscape.reports.user_calibration import _Search

    reports, late, _ = shifted(make_reports(4, 30, 1.0, walls=3), heading=False)
    search = _Search(reports, True, False)
    row = 7
    longer = np.array([0.0, length_of(100e-9), -length_of(1e-6)])
    assert search._possible(row, late[row] + longer).tolist() == [True, False, False]


def test_the_command_counts_known_users_and_warns_of_the_others(capsys):
    from echoscape.cli.calibration import print_calibration

    found = estimate_user_bias(shifted(world(1, angle=ANGLE))[0], USER_UNKNOWNS)
    print_calibration("bs-0", {"users": found.stated(np.arange(60))})
    told = capsys.readouterr()
    known = int(np.isfinite(found.clock).sum())
    assert f"clock of {known} of 60 users to 0." in told.out
    assert "heading of" in told.out
    assert f"the clocks of {60 - known} users are not observable" in " ".join(told.err.split())
