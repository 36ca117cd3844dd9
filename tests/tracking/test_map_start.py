"""A map's points as a start: the station's images again, kept, recognised, and of use."""

import numpy as np
import pytest

from echoscape.scene.static_points import StaticPoints
from echoscape.tracking import JointFilter, TrackStatus, track
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.map_start import known_points
from tests.tracking.test_forecast import exact_tracks
from tests.worlds.walls import STATION, WALLS, image_path, observe, sequences


def test_points_of_tracks_come_back_as_the_anchors_they_were():
    tracks = exact_tracks()
    known = known_points(tracks.static_points(), STATION)
    numbers = [k for k, planes in enumerate(sequences()) if planes]
    for row, number in enumerate(numbers):
        if number == 2:  # tentative at the instant of truth
            continue
        _, image, _ = image_path(np.array([1.0, 2.0, 3.0]), sequences()[number])
        assert np.asarray(known.coordinate)[row, :3] == pytest.approx(image, abs=1e-9)
    assert set(np.asarray(known.kind).tolist()) == {int(AnchorType.EVEN), int(AnchorType.ODD)}
    assert (np.linalg.eigvalsh(np.asarray(known.covariance)) > 0).all()


@pytest.mark.slow
def test_walls_that_are_known_are_recognised_and_lessen_the_error():
    observations, user, velocity, _ = observe(np.random.default_rng(2), instants=60)
    normal = np.stack([wall[0] for wall in WALLS])
    walls = StaticPoints.from_walls(normal, np.array([wall[1] for wall in WALLS]))
    filter = JointFilter(slots=24, suspect_clock=False)
    start = {"start": user[0], "start_velocity": velocity}
    alone = track(observations, STATION, filter, **start)
    found = track(observations, STATION, filter, points=walls, **start)

    def error(tracks):
        wrong = np.asarray(tracks.record.user)[:, :2] - user[:, :2]
        return np.sqrt(np.mean(np.sum(wrong**2, axis=1)))

    tracked = found.status == TrackStatus.TRACKED
    identity = np.asarray(found.record.identity)
    seen = [np.mean((tracked & (identity == k)).any(axis=1)) for k in range(1, 5)]
    assert min(seen) > 0.7  # a tenth is missed at random
    assert error(found) < 0.8 * error(alone)
