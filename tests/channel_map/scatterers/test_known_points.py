"""What was known before counts beside what reports say."""

import numpy as np
import pytest

from echoscape.channel_map.scatterers.known_points import Scattering, join_known, known_before
from echoscape.scene import StaticPoints

STATION = np.array([1.0, -2.0, 4.0])


def found(place, variance, count=1, gain=-3.0):
    place = np.asarray(place, float)
    one = np.ones(len(place))
    return Scattering(place, variance * np.tile(np.eye(3), (len(place), 1, 1)), 0.1 * one,
                      gain * one, 0.2 * one, 0.9 * one, np.full(len(place), count))  # fmt: skip


def known(place, variance, gain=-3.0):
    points = StaticPoints.scatterers(
        np.asarray(place, float) + STATION, variance * np.tile(np.eye(3), (len(place), 1, 1)),
        log_gain=np.full(len(place), gain),
    )  # fmt: skip
    made = known_before(points, STATION)
    assert made is not None
    return made


def test_a_point_seen_twice_is_the_mean_weighted_by_information():
    both = join_known(found([[10.0, 0, 1]], 0.09), known([[10.3, 0.1, 1]], 0.01),
                      np.array([[3.0, 4, 0]]), 2, False)  # fmt: skip
    assert len(both.place) == 1
    weight = 0.09 / (0.09 + 0.01)
    assert np.allclose(both.place[0], [10 + 0.3 * weight, 0.1 * weight, 1.0])
    assert np.allclose(both.covariance[0], 0.09 * 0.01 / 0.1 * np.eye(3))
    # one path of deviation 0.2 and a known gain of deviation 1 count alike
    assert both.gain_std[0] == pytest.approx(np.sqrt((0.2**2 + 1.0) / 2))


def test_where_all_is_planar_heights_stay():
    both = join_known(found([[10.0, 0, 0]], 0.09), known([[10.3, 0.1, 7]], 0.01),
                      np.array([[3.0, 4, 0]]), 2, True)  # fmt: skip
    assert both.place[0, 2] == 0.0
    assert both.place[0, 0] > 10.2


def test_what_no_report_holds_stays_until_it_should_often_have_been_reported():
    one, other = [[10.0, 0, 1]], [[-4.0, 6, 1], [-5.0, 6, 1]]
    users = np.random.default_rng(0).normal(size=(20, 3))
    few = join_known(found(one, 0.01), known(other[:1], 0.01), users[:1], 2, False)
    assert len(few.place) == 2
    assert few.visibility[1] == pytest.approx(9.5 / 11)
    many = join_known(found(one, 0.01), known(other[:1], 0.01), users, 2, False)
    assert len(many.place) == 1
    weak = join_known(found(one, 0.01), known(other[:1], 0.01, gain=-30.0), users, 1, False)
    assert len(weak.place) == 2  # too weak to be reported: nothing speaks against it


def test_points_that_do_not_say_how_well_they_are_known_only_start_the_search():
    assert known_before(StaticPoints.scatterers(np.ones((2, 3))), STATION) is None
