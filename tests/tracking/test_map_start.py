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
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_walls_that_are_known_are_recognised_and_place_a_user_who_starts_off(seed):
    # Around a start that is exact the paths themselves place the walls as well as the map does.  A
    # metre of error at the start stays for good without a map; four walls of 0.5 m leave half of it
    # at most, and less with every instant.
    observations, user, velocity, _ = observe(np.random.default_rng(seed), instants=64)
    normal = np.stack([wall[0] for wall in WALLS])
    walls = StaticPoints.from_walls(normal, np.array([wall[1] for wall in WALLS]))
    start = {"start": user[0] + np.array([0.8, -0.6, 0.0]), "start_velocity": velocity}

    def follow(slots, **given):
        settings = JointFilter(slots=slots, suspect_clock=False, start_std=1.0)
        return track(observations, STATION, settings, **start, **given)

    def error(tracks):
        wrong = np.asarray(tracks.record.user)[:, :2] - user[:, :2]
        return np.sqrt(np.mean(np.sum(wrong**2, axis=1)))

    alone, found = follow(24), follow(16, points=walls)  # the map has eight slots of its own
    tracked = found.status == TrackStatus.TRACKED
    identity = np.asarray(found.record.identity)
    seen = [np.mean((tracked & (identity == k)).any(axis=1)) for k in range(1, 5)]
    assert min(seen) > 0.7  # a tenth is missed at random
    assert error(found) < 0.5 * error(alone)
