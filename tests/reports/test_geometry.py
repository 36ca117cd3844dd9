"""Geometry at the door: every fault of convention is named, and good data raises no alarm."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoscape.reports import summarize_reports
from echoscape.reports.finding import Cause
from echoscape.reports.geometry import add_line_of_sight, check_geometry
from echoscape.sample import load_sample
from echoscape.units import SPEED_OF_LIGHT, wrap_angle
from tests.worlds.direct_paths import FAULTS, edit, make_reports, noisy, without

COPIES = ("doubled", "relative", "amplitudes")  # of exact values


def causes(reports):
    return {finding.cause for finding in check_geometry(reports)}


@pytest.mark.parametrize("fault", FAULTS)
@given(
    seed=st.integers(0, 10_000),
    users=st.integers(15, 60),
    sight=st.floats(0.5, 1.0),
    walls=st.integers(1, 4),
    errors=st.booleans(),
)
@settings(max_examples=6, deadline=None, derandomize=True)
def test_no_fault_passes_silently(fault, seed, users, sight, walls, errors):
    change, expected = FAULTS[fault]
    reports = change(make_reports(seed, users, sight, walls), np.random.default_rng(seed))
    if reports.estimates.valid[:, 0].sum() < 8:
        return  # too few in sight to tell
    if errors and fault not in COPIES:
        reports = noisy(reports, seed, 0.02, 0.2)
    assert causes(reports) & expected


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    users=st.integers(2, 60),
    sight=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    walls=st.integers(1, 4),
    stations=st.integers(1, 3),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_good_reports_raise_no_alarm(seed, users, sight, walls, stations):
    reports = make_reports(seed, users, sight, walls, stations)
    assert check_geometry(reports) == ()
    flat = without(reports, "departure_zenith", "arrival_zenith")
    assert check_geometry(flat) == ()
    assert check_geometry(without(flat, "arrival_azimuth")) == ()
    assert check_geometry(noisy(reports, seed, 0.05, 0.3, stated=True)) == ()


def test_the_sample_city_raises_no_alarm():
    sample = load_sample()
    assert check_geometry(sample.reports) == ()
    assert check_geometry(sample.targets) == ()  # all out of sight
    assert check_geometry(noisy(sample.reports, 3, 0.02, 0.3)) == ()


@pytest.mark.slow
def test_noise_without_stated_errors_is_no_fault():
    alarms = sum(bool(check_geometry(noisy(make_reports(k), k, 0.08, 0.5))) for k in range(40))
    assert alarms <= 2  # one path in thousands lies four deviations off


def test_one_user_is_enough_where_both_ends_are_measured():
    (finding,) = check_geometry(FAULTS["swapped"][0](make_reports(1, 1, 1.0), None))
    assert finding.cause is Cause.SWAPPED_ENDS
    assert "exchange" in finding.sentence


def test_a_station_is_named_where_it_alone_is_wrong():
    reports = make_reports(4, 20, 1.0, 2, 2)
    paths = reports.estimates
    turned = np.where(
        reports.station_index[:, None] == 1,
        wrap_angle(paths.departure_azimuth + 0.4),
        paths.departure_azimuth,
    )
    (finding,) = check_geometry(edit(reports, departure_azimuth=turned))
    assert finding.cause is Cause.TURNED
    assert finding.sentence.startswith("station 'bs-1': ")
    assert "-0.400 rad (-22.9 degrees)" in finding.sentence
    everywhere = edit(reports, departure_azimuth=wrap_angle(paths.departure_azimuth + 0.4))
    (finding,) = check_geometry(everywhere)
    assert not finding.sentence.startswith("station")


def test_the_offset_of_a_clock_is_stated_in_both_units():
    late = edit(make_reports(2), delay=make_reports(2).estimates.delay + 20e-9)
    (finding,) = check_geometry(late)
    assert finding.cause is Cause.DELAY_OFFSET
    assert "+6.00 m (+20.0 ns)" in finding.sentence


def test_directions_that_fit_no_convention_are_said_to():
    reports = make_reports(5, 40, 1.0)
    shape, rng = reports.estimates.delay.shape, np.random.default_rng(0)
    lost = edit(reports, departure_azimuth=rng.uniform(-3, 3, shape))
    (finding,) = check_geometry(lost)
    assert finding.cause is Cause.UNRELATED_DIRECTIONS
    assert "check the headings" in finding.sentence


def test_a_report_or_two_shorter_than_light_allows_are_counted():
    reports = make_reports(6, 40, 1.0)
    delay = reports.estimates.delay.copy()
    away = reports.position[7] - reports.station_position[0]
    delay[7, 0] = 0.6 * np.linalg.norm(away) / SPEED_OF_LIGHT
    (finding,) = check_geometry(edit(reports, delay=delay))
    assert finding.cause is Cause.SHORT
    assert "1 paths of 2.5% of the reports (first: report 7)" in finding.sentence


def test_doubles_that_a_tracer_finds_by_chance_are_no_fault():
    reports = make_reports(7, 400, 1.0)
    doubled = FAULTS["doubled"][0](reports, None)
    width = reports.estimates.delay.shape[1]
    few = doubled.estimates.valid.copy()
    few[1:, width:] = False
    assert causes(edit(doubled, valid=few)) == {Cause.DOUBLED}  # copies, though of one user
    rounded = edit(doubled, delay=doubled.estimates.delay + 1e-14 * np.arange(2 * width))
    few[:, width:] = np.arange(len(few))[:, None] % 20 == 0
    assert causes(edit(rounded, valid=few)) == set()


def test_delays_beyond_the_line_of_sight_are_made_absolute():
    reports = make_reports(3, 20, 1.0)
    away = reports.position - reports.station_position[0]
    straight = np.linalg.norm(away, axis=1)[:, None] / SPEED_OF_LIGHT
    excess = edit(reports, delay=np.maximum(reports.estimates.delay - straight, 0))
    assert causes(excess) == {Cause.RELATIVE_DELAY}
    again = add_line_of_sight(excess)
    np.testing.assert_allclose(again.estimates.delay, reports.estimates.delay, rtol=1e-12)
    assert check_geometry(again) == ()


def test_the_summary_carries_the_sentences():
    reports = FAULTS["kilometres"][0](make_reports(8), None)
    (sentence,) = summarize_reports(reports).warnings
    assert "1000 times as long as the straight line" in sentence


def test_users_at_the_station_or_without_a_path_are_passed_over():
    reports = make_reports(9, 20, 1.0)
    place = reports.position.copy()
    place[3] = reports.station_position[0]
    valid = reports.estimates.valid.copy()
    valid[3:6] = False
    valid[3, 1] = True
    moved = dataclasses.replace(edit(reports, valid=valid), position=place)
    assert check_geometry(moved) == ()
    assert check_geometry(edit(reports, valid=np.zeros_like(valid))) == ()


@pytest.mark.parametrize("users", [1, 2, 3])
def test_a_few_computed_paths_tell_lengths_and_directions(users):
    reports = make_reports(3, users, 1.0, 2)
    paths = reports.estimates
    twice = edit(reports, length=np.where(paths.valid, 2 * paths.length, 0.0))
    assert causes(twice) == {Cause.ROUND_TRIP}
    late = edit(reports, length=np.where(paths.valid, paths.length + 11.0, 0.0))
    assert causes(late) == {Cause.DELAY_OFFSET}
    turned = edit(reports, departure_azimuth=wrap_angle(paths.departure_azimuth + 0.08))
    assert causes(turned) == {Cause.TURNED if users > 1 else Cause.UNRELATED_DIRECTIONS}


@pytest.mark.parametrize("fault", ["swapped", "compass", "turned"])
@pytest.mark.parametrize("users", [2, 3, 5])
def test_reflections_in_the_ground_hide_no_fault_of_a_few_users(fault, users):
    reports = make_reports(11, users, 1.0, 1, ground=True)
    change, expected = FAULTS[fault]
    assert causes(change(reports, np.random.default_rng(2))) & expected
    assert causes(reports) == set()


def test_arrivals_that_were_turned_are_found_as_departures_are():
    reports = make_reports(12, 3, 1.0, 2)
    azimuth = wrap_angle(reports.estimates.arrival_azimuth + 1.1)
    (finding,) = check_geometry(edit(reports, arrival_azimuth=azimuth))
    assert finding.cause is Cause.TURNED
    assert "the arrival azimuths were turned by -1.100 rad" in finding.sentence
    measured = noisy(edit(make_reports(12, 5, 1.0, 2)), 1, 0.01, 0.1)
    lost = measured.estimates.arrival_azimuth + np.array([1, 2, -1, -2, 1.5])[:, None]
    (finding,) = check_geometry(edit(measured, arrival_azimuth=wrap_angle(lost)))
    assert finding.cause is Cause.UNRELATED_DIRECTIONS
    assert "arrive" in finding.sentence


def test_delays_that_are_early_make_no_direct_paths_of_bounces():
    reports = make_reports(13, 8, 1.0, 2, ground=True)
    early = edit(reports, delay=reports.estimates.delay - 6e-9)
    (finding,) = check_geometry(early)
    assert finding.cause is Cause.DELAY_OFFSET
    assert "by -1.80 m" in finding.sentence


def test_measured_directions_that_fit_no_convention_are_said_to():
    swapped = FAULTS["swapped"][0](make_reports(14, 40, 1.0), None)
    both = edit(
        swapped,
        departure_azimuth=wrap_angle(0.5 * np.pi - swapped.estimates.departure_azimuth),
        arrival_azimuth=wrap_angle(0.5 * np.pi - swapped.estimates.arrival_azimuth),
    )
    assert causes(noisy(both, 1, 0.03, 0.3)) == {Cause.UNRELATED_DIRECTIONS}


@pytest.mark.slow
def test_users_out_of_sight_above_a_ground_are_not_accused():
    alarms = []
    for seed in range(20):
        reports = make_reports(seed, 40, 0.0, 2, ground=True)
        measured = noisy(reports, seed, 0.03, 0.3)
        unsure = dataclasses.replace(reports, position_std=np.full(40, 5.0))
        alarms += [*check_geometry(reports), *check_geometry(measured), *check_geometry(unsure)]
    assert len(alarms) <= 1, alarms


def test_positions_of_other_rows_are_no_places_of_these_paths():
    for seed in range(4):
        reports = make_reports(seed, 25, 1.0)
        other = np.roll(reports.position, 7, axis=0)
        assert causes(dataclasses.replace(reports, position=other))


def test_amplitudes_with_fading_are_named():
    reports = make_reports(15, 40, 1.0)
    paths = noisy(reports, 1, 0.03, 0.3).estimates
    fading = 10 ** np.random.default_rng(1).normal(0, 0.2, paths.power.shape)
    faded = dataclasses.replace(reports, estimates=paths)
    assert causes(edit(faded, power=np.sqrt(paths.power * fading))) == {Cause.AMPLITUDE}
    assert causes(edit(faded, power=paths.power * fading)) == set()


def test_reflections_in_the_ground_are_no_angles_from_below():
    user = np.random.default_rng(0).uniform([20, -30, 1.5], [80, 30, 1.5], (12, 3))
    reports = make_reports(3, 12, 1.0, 0)
    station = reports.station_position[0]
    away = user - station * [1, 1, -1]
    length = np.linalg.norm(away, axis=1)[:, None]
    azimuth, zenith = (
        np.arctan2(away[:, 1], away[:, 0]),
        np.pi - np.arccos(away[:, 2] / length[:, 0]),
    )
    first = reports.estimates.valid.copy()
    first[:, 1:] = False

    def lay(values):
        return np.where(first, np.reshape(values, (-1, 1)), 0.0)

    bounced = dataclasses.replace(reports, position=user)
    bounced = edit(
        bounced, valid=first, length=lay(length), power=lay(1e-6 / length**2),
        departure_azimuth=lay(azimuth), departure_zenith=lay(zenith),
        arrival_azimuth=lay(wrap_angle(azimuth + np.pi)), arrival_zenith=lay(zenith),
    )  # fmt: skip
    assert check_geometry(bounced) == ()


def test_gains_that_no_antenna_has_are_named():
    reports = make_reports(3, 20, 1.0, 2)
    paths = reports.estimates
    strongest = np.asarray(paths.power).max()
    assert Cause.TOO_STRONG in causes(edit(reports, power=paths.power / strongest))
    room = edit(reports, length=paths.length / 20)
    room = dataclasses.replace(
        room,
        position=reports.position / 20,
        station_position=reports.station_position / 20,
    )
    (finding,) = check_geometry(edit(room, power=paths.power / strongest))
    assert finding.cause is Cause.TOO_STRONG
    assert "exactly one" in finding.sentence


@pytest.mark.parametrize(("turn", "late"), [(0.08, 0.0), (-0.08, 0.0), (0.0, 0.9), (0.0, -0.9)])
def test_what_all_paths_share_is_found_within_wide_errors(turn, late):
    reports = noisy(make_reports(11, 60, 1.0, 3), 2, 0.05, 0.3)
    assert not check_geometry(reports)
    paths = reports.estimates
    shifted = edit(
        reports,
        departure_azimuth=wrap_angle(paths.departure_azimuth + turn),
        delay=np.where(paths.valid, paths.delay + late / SPEED_OF_LIGHT, 0),
    )
    (found,) = check_geometry(shifted)
    assert found.cause is (Cause.TURNED if turn else Cause.DELAY_OFFSET)
    sign = -turn if turn else late
    assert f"{'-' if sign < 0 else '+'}" in found.sentence


@pytest.mark.parametrize("sight", [0.0, 0.2])
def test_users_in_kilometres_beside_a_station_in_metres_are_noticed(sight):
    for seed in range(6):
        reports = make_reports(seed, 20, sight, 2)
        crowded = dataclasses.replace(reports, position=1e-3 * reports.position)
        assert any("multiply them by 1000" in f.sentence for f in check_geometry(crowded)), seed
        few = crowded[np.arange(20) < 4]
        assert not any(finding.key == "crowded" for finding in check_geometry(few))
