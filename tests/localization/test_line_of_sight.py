"""Geometry alone: exact on a direct echo, wrong behind a corner, its covariance by differences."""

import jax
import numpy as np
import pytest

from echoscape.estimation import PathEstimates
from echoscape.localization import FixStatus
from echoscape.localization.line_of_sight import shortest_echo_direct
from echoscape.reports import Echoes

C = 299_792_458.0  # [m/s]
STATION = {"roof": np.array([12.0, -7.0, 9.0]), "tower": np.array([80.0, 20.0, 15.0])}
ANGLE_STD, DELAY_STD = 0.01, 3e-9


def view(place, station):
    """Azimuth, zenith and two-way delay of a place in line of sight."""
    x, y, z = place - STATION[station]
    length = np.sqrt(x**2 + y**2 + z**2)
    return np.arctan2(y, x), np.arccos(z / length), 2 * length / C


def echoes(sets, names=("roof", "tower")):
    """Sets of (target, station, [(azimuth, zenith, delay, power), ...])."""
    width = max(1, max(len(each[2]) for each in sets))
    values, valid = np.zeros((4, len(sets), width)), np.zeros((len(sets), width), dtype=bool)
    for k, (_, _, heard) in enumerate(sets):
        for j, echo in enumerate(heard):
            values[:, k, j], valid[k, j] = echo, True
    azimuth, zenith, delay, power = values
    ones = np.ones_like(delay)
    return Echoes(
        estimates=PathEstimates.from_delays(
            departure_azimuth=azimuth,
            departure_zenith=zenith,
            arrival_azimuth=azimuth,
            arrival_zenith=zenith,
            delay=delay,
            power=power,
            departure_azimuth_std=ANGLE_STD * ones,
            departure_zenith_std=ANGLE_STD * ones,
            arrival_azimuth_std=ANGLE_STD * ones,
            arrival_zenith_std=ANGLE_STD * ones,
            delay_std=DELAY_STD * ones,
            valid=valid,
        ),
        target=np.array([each[0] for each in sets]),
        time=np.zeros(len(sets)),
        station_index=np.array([names.index(each[1]) for each in sets]),
        station=names,
    )


HERE, THERE = np.array([-21.0, 30.0, 1.5]), np.array([60.0, 55.0, 4.0])


@pytest.mark.parametrize("height", [None, 1.5])
def test_a_direct_echo_is_the_place_itself(height):
    late = np.add(view(HERE, "roof"), [0.7, 0.1, 4e-8])
    sets = [(5, "roof", [(*late, 1.0), (*view(HERE, "roof"), 0.1)])]
    fix = shortest_echo_direct(echoes(sets), STATION, height)
    np.testing.assert_allclose(fix.best[0], HERE, atol=1e-9)
    assert fix.status.tolist() == [FixStatus.LOCATED]


@pytest.mark.parametrize("height", [None, 1.5])
def test_the_covariance_is_that_of_the_stated_errors(height):
    measured = np.array(view(HERE, "roof"))

    def place(shift):
        sets = [(1, "roof", [(*(measured + shift), 1.0)])]
        return shortest_echo_direct(echoes(sets), STATION, height).best[0]

    step = np.array([1e-6, 1e-6, 1e-14])
    slope = np.stack([(place(d) - place(-d)) / 2 for d in np.diag(step)], axis=1) / step
    # Both ends of an echo look at the target: their mean has half the variance.
    variance = np.array([ANGLE_STD**2 / 2, ANGLE_STD**2 / 2, DELAY_STD**2])
    fix = shortest_echo_direct(echoes([(1, "roof", [(*measured, 1.0)])]), STATION, height)
    expected = slope * variance @ slope.T
    np.testing.assert_allclose(fix.covariance[0, 0], expected, rtol=1e-4, atol=1e-9)


def test_of_several_stations_the_shortest_echo_decides_and_targets_come_in_order():
    sets = [
        (9, "tower", [(*view(THERE, "tower"), 1.0)]),
        (2, "roof", [(*view(HERE, "roof"), 1.0)]),
        (9, "roof", [(*view(THERE, "roof") + np.array([0.4, 0.0, 5e-8]), 1.0)]),
        (4, "roof", []),
    ]
    fix = shortest_echo_direct(echoes(sets), STATION)
    assert fix.target.tolist() == [2, 4, 9]
    assert fix.status.tolist() == [FixStatus.LOCATED, FixStatus.NO_ECHO, FixStatus.LOCATED]
    np.testing.assert_allclose(fix.best[[0, 2]], [HERE, THERE], atol=1e-9)
    assert fix.spread[1] > 1e5
    assert np.isfinite(fix.covariance).all()


def test_an_angle_nobody_measured_is_left_out():
    heard = echoes([(1, "roof", [(*view(HERE, "roof"), 1.0), (0.0, 1.0, 1e-9, 1.0)])])
    blind = np.array([[False, True]])
    for name in ("departure_azimuth_std", "arrival_azimuth_std"):
        std = np.where(blind, np.inf, getattr(heard.estimates, name))
        heard = jax.tree.map(lambda leaf: leaf, heard)
        object.__setattr__(heard.estimates, name, std)
    fix = shortest_echo_direct(heard, STATION, 1.5)
    np.testing.assert_allclose(fix.best[0], HERE, atol=1e-9)


def test_an_echo_shorter_than_the_way_down_is_not_explained():
    fix = shortest_echo_direct(echoes([(1, "roof", [(0.3, 3.0, 2e-9, 1.0)])]), STATION, 1.5)
    assert fix.status.tolist() == [FixStatus.UNEXPLAINED]
    np.testing.assert_allclose(fix.best[0], [12.0, -7.0, 1.5])


def test_a_station_without_a_position_is_named():
    with pytest.raises(ValueError, match="no station with a position 'tower'"):
        shortest_echo_direct(echoes([(1, "roof", [])]), {"roof": STATION["roof"]})
