"""What is laid out for smoothing: which points, where they begin, and what was known of them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from echoscape.tracking import AnchorType, JointFilter
from echoscape.tracking.joint_smoother import lay_out, smooth_jointly
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.map_start import KnownPoints
from echoscape.tracking.record import Record
from tests.worlds.walls import STATION, image_path, sequences

COUNT = 30
SETTINGS = JointFilter(acceleration=0.3)
PATHS = (0, 1, 2, 3)  # line of sight and three walls


def straight_walk(noise=1.0, seed=3):
    """Observe a straight walk, and a record of a filter that drifted off by a metre."""
    rng = np.random.default_rng(seed)
    time = 0.2 * np.arange(COUNT)
    user = np.array([-14.0, -21.0, 1.3]) + time[:, None] * np.array([1.1, 0.4, 0.0])
    image = [image_path(user[0], sequences()[k]) for k in PATHS]
    measured = np.array([[image_path(u, sequences()[k])[0] for k in PATHS] for u in user])
    std = np.tile([0.3, *np.radians([1.0, 1.0, 0.5, 0.5])], (COUNT, len(PATHS), 1))
    measured = measured + noise * std * rng.normal(size=measured.shape)
    drift = 0.2 * time[:, None] * np.array([0.6, -0.8, 0.0])
    shape = (COUNT, len(PATHS))
    anchor = np.stack([i[1] for i in image])[None] + drift[:, None]
    kind = [AnchorType.STATION, *[AnchorType.ONE_WALL] * 3]
    parts = dict(
        user=np.concatenate([user + drift, np.tile([1.1, 0.4, 0.0], (COUNT, 1))], axis=1),
        user_covariance=np.tile(np.eye(6), (COUNT, 1, 1)), nuisance=np.zeros((COUNT, 4)),
        nuisance_std=np.zeros((COUNT, 4)), anchor=anchor,
        anchor_covariance=np.tile(0.01 * np.eye(3), (*shape, 1, 1)), rotation=np.zeros(shape),
        predicted=np.zeros((*shape, 5)), detection=np.tile(np.arange(4), (COUNT, 1)),
        identity=np.tile([0, 1, 2, 3], (COUNT, 1)), kind=np.tile(kind, (COUNT, 1)),
        reflection=np.full(shape, -1.0), vertical_reflection=np.ones(shape), odds=np.ones(shape),
        hits=np.full(shape, 10), misfit=np.ones(COUNT), share=np.ones(COUNT),
        pending=np.zeros(COUNT, int), relocated=np.zeros(COUNT, bool),
        recalled=np.zeros(COUNT, bool), merged=np.zeros(shape, bool),
    )  # fmt: skip
    record = Record(**{name: jnp.asarray(part) for name, part in parts.items()})
    valid = np.ones(shape, bool)
    seen = detections(measured, std, valid, np.full(shape, np.nan))
    return time, user, seen, record, np.stack([i[1] for i in image])


def detections(*parts):
    return Detections(*(jnp.asarray(part) for part in parts))


def smooth(time, seen, record, user, points=None):
    begin = np.r_[user[0], 1.1, 0.4, 0.0]
    nowhere = np.zeros((COUNT, 3)), np.zeros(COUNT, bool)
    return smooth_jointly(record, seen, time, *nowhere, STATION, begin, SETTINGS, points)


def test_exact_paths_bring_a_walk_and_its_points_back():
    time, user, seen, record, image = straight_walk(noise=0.0)
    found = smooth(time, seen, record, user)
    assert np.allclose(found.user[:, :3], user, atol=1e-3)
    assert np.allclose(found.user[:, 3:5], [1.1, 0.4], atol=1e-3)
    assert np.allclose(found.anchor[:, 1:], image[None, 1:], atol=1e-2)


def test_a_wrong_association_counts_little():
    time, user, seen, record, _ = straight_walk(noise=0.0)
    measured = np.array(seen.measured)
    measured[12, 2] += [9.0, 0.3, 0.0, 0.3, 0.0]  # 30 deviations
    wrong = detections(measured, seen.std, seen.valid, seen.log_power)
    found = smooth(time, wrong, record, user)
    # an accepted one would move the user by a third of 9 m over the deviation of three other paths
    assert np.abs(found.user[:, :2] - user[:, :2]).max() < 0.05


def test_points_that_were_hardly_detected_are_left_as_they_were():
    time, user, seen, record, _ = straight_walk()
    detection = record.detection.at[4:, 3].set(-1)
    record = eqx.tree_at(lambda r: r.detection, record, detection)
    begin = np.r_[user[0], 1.1, 0.4, 0.0]
    problem, walk = lay_out(
        record, seen, time, np.zeros((COUNT, 3)), np.zeros(COUNT, bool), STATION, begin, SETTINGS
    )
    assert list(problem.identity) == [0, 1, 2]
    assert len(problem.instant) == 3 * COUNT
    assert np.allclose(walk.point[0, :3], STATION)
    assert (np.diff(problem.knot) < 0.5).all()
    found = smooth(time, seen, record, user)
    assert np.allclose(found.anchor[:, 3], record.anchor[:, 3])
    assert not np.allclose(found.anchor[:, 2], record.anchor[:, 2], atol=0.01)


def test_what_a_map_says_of_a_point_is_kept():
    time, user, seen, record, image = straight_walk()
    off = np.array([0.3, -0.2, 0.1])
    sure = KnownPoints(
        jnp.asarray(np.concatenate([image[1:] + off, np.zeros((3, 1))], axis=1)),
        jnp.asarray(np.tile(1e-6 * np.eye(4), (3, 1, 1))),
        jnp.full(3, int(AnchorType.ONE_WALL)), -jnp.ones(3), jnp.ones(3), jnp.zeros(3),
    )  # fmt: skip
    found = smooth(time, seen, record, user, sure)
    assert np.allclose(found.anchor[0, 1:], image[1:] + off, atol=0.01)
    free = smooth(time, seen, record, user)
    spread = [np.trace(r.user_covariance[15, :2, :2]) for r in (found, free)]
    assert spread[0] < 0.7 * spread[1]
