"""Bounce points of every track on our own associations: better than what was seen, and refusals."""

import equinox as eqx
import jax
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.tracking import BouncePoints, KnownUser, TrackStatus, bounce_tracks, track
from echoscape.tracking.bounce_tracks import _raster, track_bounces
from echoscape.tracking.track import detections_of
from echoscape.tracking.track_table import track_columns
from echoscape.units import wrap_angle
from tests.tracking.test_joint_start import heard
from tests.worlds.walls import STATION, image_path, observe, sequences

INSTANTS = 50


@pytest.fixture(scope="module")
def walk():
    observations, user, _, truth = observe(
        np.random.default_rng(3), instants=INSTANTS, missed=0.05, false=0.02
    )
    observations = eqx.tree_at(
        lambda o: (o.user_position, o.user_known), observations, (user, np.ones(INSTANTS, bool))
    )
    return observations, user, truth


@pytest.fixture(scope="module")
def associated(walk):
    """Tracks of images around the known user, on whose associations bounces are followed."""
    return track(walk[0], STATION, KnownUser())


def follow(associated, walk, method, particles=500, **more):
    """Follow bounces of the associated tracks."""
    seen = detections_of(walk[0])
    key = jax.random.key(1)
    return track_bounces(associated, seen, method, particles=particles, key=key, **more)


def errors(found, walk):
    """Give length and arrival azimuth of tracked states, over those of their detections: medians.

    Also how many states that is.
    """
    observations, user, truth = walk
    record, seen = found.record, observations.estimates
    assert found.first is not None
    moving = (found.status == TrackStatus.TRACKED) & np.isfinite(found.first).all(axis=2)
    instant, slot = np.nonzero(moving & (np.asarray(record.hits) > 5))
    number = truth[instant, record.detection[instant, slot]]
    instant, slot, number = (each[number > 0] for each in (instant, slot, number))
    exact = [image_path(user[i], sequences()[n])[0] for i, n in zip(instant, number)]
    wrong = np.asarray(record.predicted)[instant, slot] - np.array(exact)
    which = record.detection[instant, slot]
    raw = np.asarray(seen.length)[instant, which] - np.array(exact)[:, 0]
    turned = np.asarray(seen.arrival_azimuth)[instant, which] - np.array(exact)[:, 1]
    angles = (np.abs(wrap_angle(each)) for each in (wrong[:, 1], turned))
    length = np.median(np.abs(wrong[:, 0])) / np.median(np.abs(raw))
    return length, np.divide(*map(np.median, angles)), len(number)


@pytest.mark.slow
def test_what_the_extended_filter_follows_beats_what_was_observed(walk):
    stages = []
    found = track(
        walk[0], STATION, BouncePoints("extended"), key=jax.random.key(1),
        progress=lambda *what: stages.append(what),
    )  # fmt: skip
    assert stages[0] == (0, INSTANTS, f"associating, filtering {INSTANTS} instants, compiling")
    stages = [each for each in stages if "following" in each[2]]
    total, stage = stages[0][1:]
    assert stage == f"following {total} paths, compiling"
    assert {each[1:] for each in stages[1:]} == {(total, stage.removesuffix(", compiling"))}
    done = [each[0] for each in stages]
    assert done == sorted(set(done))
    assert max(np.diff([*done, total])) < 0.4 * total  # 16 of 50 instants of all paths but one
    length, azimuth, count = errors(found, walk)
    assert count > 400  # of 466 detections of established paths
    assert max(length, azimuth) < 0.75


@pytest.mark.slow
def test_instants_in_parts_are_as_in_one_go(walk, associated, monkeypatch):
    parts = follow(associated, walk, "bootstrap", 20)
    monkeypatch.setattr(bounce_tracks, "_INSTANTS", 64)
    whole = follow(associated, walk, "bootstrap", 20)
    assert parts.first is not None
    assert whole.first is not None
    assert np.allclose(parts.first, whole.first, rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.slow
def test_more_particles_lose_fewer_paths_and_the_lost_are_named(walk, associated):
    # In 18 coordinates a bootstrap filter of this size soon holds copies of one particle; what is
    # then far from its own detection must not count as tracked.
    few, many = (follow(associated, walk, "bootstrap", count) for count in (300, 1000))
    length, azimuth, count = errors(many, walk)
    assert azimuth < 0.95
    assert length < 1.2
    assert errors(few, walk)[2] < count
    assert (many.status == TrackStatus.LOST).sum() < (few.status == TrackStatus.LOST).sum()


@pytest.mark.slow
def test_the_table_says_scatterer_with_first_and_last_bounce(walk, associated):
    found = follow(associated, walk, "extended")
    columns = track_columns(found, walk[0])
    moving = columns["image"] == "moving"
    assert (columns["kind"][moving] == "scatterer").all()
    assert moving.sum() > 300
    assert set(columns["image"][~moving]) == {"station"}
    assert np.isfinite(columns["first_x"][moving]).all()
    assert np.array_equal(columns["last_y"][moving], columns["y"][moving])
    assert np.isnan(columns["cov_xx"][moving]).all()
    assert {"tracked", "coasting"} < set(columns["status"])


def test_an_unknown_user_is_refused(walk):
    observations, _, _ = walk
    known = observations.user_known.copy()
    known[7] = False
    unknown = eqx.tree_at(lambda o: o.user_known, observations, known)
    with pytest.raises(
        InputError, match=r"needs the user's position at every instant, in m, but at 1"
    ):
        track(unknown, STATION, BouncePoints("paper"))


def test_gaps_are_steps_unseen_and_uneven_times_are_refused():
    tick, step = _raster(np.array([1.0, 1.1, 1.4, 1.5]))
    assert tick.tolist() == [0, 1, 4, 5]
    assert step == pytest.approx(0.1)
    long = (0.1 * np.arange(4000)).astype(np.float32).astype(float)  # round-off of 1e-5 s a gap
    assert _raster(long)[0][-1] == 3999
    with pytest.raises(InputError, match=r"multiples of one step, in s, but the shortest, 0\.1 s"):
        _raster(np.array([0.0, 0.1, 0.25, 0.35]))


@pytest.mark.slow
def test_the_stations_own_echoes_start_bounces_where_they_are(walk, associated):
    _, user, truth = walk
    kinds = {}
    for name, echoes in (("echoes", heard(np.random.default_rng(2))), ("none", None)):
        found = follow(associated, walk, "extended", echoes=echoes)
        assert found.first is not None
        away = []
        for slot in range(found.first.shape[1]):
            there = np.flatnonzero(np.isfinite(found.first[:, slot, 0]))
            if not len(there):
                continue
            k = there[0]
            number = truth[k, np.asarray(found.record.detection)[k, slot]]
            if number > 0:
                point = image_path(user[k], sequences()[number])[2][0]
                away.append(np.linalg.norm(found.first[k, slot] - point))
        kinds[name] = np.median(away)
    # 0.5 degrees at 40 to 70 m and as much again of the filter's first step; without echoes a path
    # of two bounces starts on the ellipsoid of one
    assert kinds["echoes"] < 1.5
    assert kinds["none"] > 2 * kinds["echoes"]
