"""A map's points as a start: the station's images again, kept, recognised, and of use."""

import dataclasses

import numpy as np
import pytest

from echoscape.scene.static_points import StaticPoints
from echoscape.tracking import JointFilter, TrackStatus, track
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.map_start import MOST, known_points, points_to_hold
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


def test_the_station_is_no_point_of_a_map_and_visibility_is_the_odds_of_a_path():
    normal = np.stack([wall[0] for wall in WALLS])
    walls = StaticPoints.from_walls(normal, np.array([wall[1] for wall in WALLS]))
    direct = StaticPoints(
        kind=np.zeros(1, int), rotation=np.zeros(1), reflection=np.ones(1),
        offset=np.array([[0.2, -0.1]]), vertical_reflection=np.ones(1), height_offset=np.zeros(1),
    )  # fmt: skip
    assert len(points_to_hold(direct, STATION).kind) == 0
    assert len(points_to_hold(walls, STATION).kind) == 4
    assert len(known_points(direct, STATION).kind) == 1
    seen = dataclasses.replace(walls, visibility=np.array([0.7, 0.01, 0.99, 0.4]))
    odds = np.asarray(known_points(seen, STATION).odds)
    # seldom seen ones are not forgotten, and none is certain
    assert odds == pytest.approx([np.log(7 / 3), -2.0, np.log(9), np.log(2 / 3)])
    assert np.asarray(known_points(walls, STATION).odds) == pytest.approx(np.zeros(4))


def test_of_a_large_map_the_most_visible_points_are_taken():
    rng = np.random.default_rng(0)
    angle = rng.uniform(-np.pi, np.pi, MOST + 50)
    normal = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    walls = StaticPoints.from_walls(normal, rng.uniform(80, 200, len(angle)))
    visibility = rng.permutation(len(angle)) / len(angle)
    many = dataclasses.replace(walls, visibility=visibility)
    found = points_to_hold(many, STATION)
    assert len(found.kind) == MOST
    assert float(found.odds.min()) == pytest.approx(-1.386, abs=0.02)  # 50 of 250 are left out


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
