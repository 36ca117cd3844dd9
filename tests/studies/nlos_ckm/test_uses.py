"""The studies of the map's further uses, in their quick setting."""

import numpy as np
import pytest

from echoscape.studies.indoor_campaign import world as room_campaign
from echoscape.studies.nlos_ckm import communication as nlos_communication
from echoscape.studies.nlos_ckm import moving_target as nlos_moving
from echoscape.studies.nlos_ckm import multistatic as nlos_stations


@pytest.mark.slow
def test_communication_gains_from_the_map():
    settings = nlos_communication.points(True, 0)
    rows = [
        {**setting, **row} for setting in settings for row in nlos_communication.measure(setting)
    ]
    exact = next(row for row in rows if row["map"] == "exact")
    assert exact["nmse"] < 0.5 * exact["nmse_without_map"]
    assert exact["nmse_8_pilots"] < exact["nmse_without_map"]
    assert 0 <= exact["loss"] < 0.1
    assert exact["rate"] <= exact["rate_known"]
    assert set(nlos_communication.draw(rows)) == {"communication"}


def test_ways_are_smooth_inside_the_square_and_drawn_from_rows():
    settings = nlos_moving.points(True, 0)
    assert len({setting["scene"] for setting in nlos_moving.points(False, 0)}) == 2
    route = nlos_moving.wander(5, 60)
    assert route[:, :2].min() > 0
    assert route[:, :2].max() < 100
    speed = np.linalg.norm(np.diff(route, axis=0), axis=1) / nlos_moving.EPOCH
    assert np.ptp(speed) < 1e-9
    assert 1.5 <= speed[0] <= 5.0
    row = {"route": 0, "followed": 0.2, "alone": 0.5, "status": 1, "track": 0}
    rows = [{**settings[0], **row, "time": 0.1 * k} for k in range(3)]
    (line, other, _) = nlos_moving.draw(rows)["moving"].axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), 0.5)
    np.testing.assert_allclose(other.get_ydata(), 0.2)


@pytest.mark.slow
def test_a_second_station_helps_and_delays_alone_tell_no_more_than_everything():
    settings = nlos_stations.points(True, 0)
    settings = [settings[0] | {"stations": 1, "cross": False}, *settings]
    one, two = ({**s, **row} for s in settings for row in nlos_stations.measure(s))
    assert two["bound"] < one["bound"]
    assert one["bound"] <= one["bound_delays"]
    assert two["rmse"] < one["rmse"]
    assert set(nlos_stations.draw([one, two])) == {"stations", "stations-area"}


@pytest.mark.slow
def test_a_campaign_has_what_it_says():
    made = room_campaign.make_campaign(2)
    again = room_campaign.make_campaign(2)
    paths = made.reports.estimates
    np.testing.assert_array_equal(paths.delay, again.reports.estimates.delay)
    assert len(made.obstructed) == 45
    assert 10 < made.obstructed.sum() < 35
    assert 4 < paths.valid.sum(axis=1).mean() <= 8
    away = made.reports.position - made.reports.station_position
    shortest = np.where(paths.valid, 299_792_458.0 * paths.delay, np.inf).min(axis=1)
    sight = ~made.obstructed
    # Some direct paths are missed; the others have the sounder's error of 0.15 m.
    gap = np.abs(shortest - np.linalg.norm(away, axis=1))[sight]
    assert np.median(gap) < 0.3
