"""The joint filter: one update against the textbook, and walks between walls of known images."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.tracking import (
    AnchorType,
    JointFilter,
    TrackStatus,
    UserStatus,
    anchor,
    joint_state,
    joint_update,
    track,
)
from echoscape.tracking.association import likeliest_pairs
from echoscape.tracking.joint import BLOCK, _start
from echoscape.tracking.joint_state import SHARED, USER
from echoscape.tracking.joint_update import Detections, Match
from tests.worlds.walls import STATION, image_path, observe, sequences

SMALL = JointFilter(slots=24, suspect_clock=False)
# one compilation each, not one for every operation
update_joint = eqx.filter_jit(joint_update.update_joint)
predict_joint = eqx.filter_jit(joint_state.predict_joint)
set_coordinates = eqx.filter_jit(joint_state.set_coordinates)
start_joint = eqx.filter_jit(joint_state.start_joint)
local_coordinates = eqx.filter_jit(joint_state.local_coordinates)
predict_with_slope = jax.jit(jax.vmap(anchor.predict_with_slope, (0, 0, 0, 0, None, None)))


@pytest.fixture(scope="module")
def walk():
    observations, user, velocity, truth = observe(np.random.default_rng(2))
    stages = []
    found = track(
        observations, STATION, start=user[0], start_velocity=velocity, filter=SMALL,
        progress=lambda *what: stages.append(what),
    )  # fmt: skip
    count = len(observations.time)
    stage = f"filtering {count} instants"
    assert stages[:2] == [(0, count, f"{stage}, compiling"), (BLOCK, count, stage)]
    return observations, user, truth, found


def error(found, user):
    return np.linalg.norm(np.asarray(found.record.user)[:, :2] - user[:, :2], axis=1)


@pytest.mark.slow
def test_the_user_is_followed_without_line_of_sight(walk):
    _, user, _, found = walk
    # 12 paths of 0.3 m and 1 degree at 60 m weigh about 0.1 m; the rest is what was unknown
    assert np.sqrt(np.mean(error(found, user) ** 2)) < 0.4
    assert (found.user_status == UserStatus.TRACKED).all()


@pytest.mark.slow
def test_where_paths_stand_apart_the_likeliest_assignment_is_the_same(walk, monkeypatch):
    observations, user, _, found = walk
    asked = []

    def likeliest(*odds):
        asked.append(odds)
        return likeliest_pairs(*odds)

    monkeypatch.setattr(joint_update, "likeliest_pairs", likeliest)
    other = JointFilter(slots=24, suspect_clock=False, association="hungarian")
    velocity = (user[1] - user[0]) / (observations.time[1] - observations.time[0])
    again = track(observations, STATION, start=user[0], start_velocity=velocity, filter=other)
    assert asked
    assert np.sqrt(np.mean(error(again, user) ** 2)) < 0.4
    same = np.asarray(again.record.detection) == np.asarray(found.record.detection)
    assert same.mean() > 0.99  # a handful may hang on a tie


@pytest.mark.slow
def test_the_stated_error_is_honest(walk):
    _, user, _, found = walk
    wrong = np.asarray(found.record.user)[:, :2] - user[:, :2]
    covariance = np.asarray(found.record.user_covariance)[:, :2, :2]
    squared = np.einsum("ti,tij,tj->t", wrong, np.linalg.inv(covariance), wrong)
    # 2 on average if exact; errors last for seconds, so one walk has a dozen independent epochs
    assert 0.3 < squared.mean() < 6.0


@pytest.mark.slow
def test_anchors_are_the_images_and_their_kinds_are_recognised(walk):
    _, user, truth, found = walk
    last = len(user) - 1
    kinds = {}
    for slot in np.flatnonzero(found.status[last] == TrackStatus.TRACKED):
        number = truth[last, found.record.detection[last, slot]]
        if number < 0:
            continue
        _, image, _ = image_path(user[last], sequences()[number])
        wrong = found.record.anchor[last, slot] - image
        spread = found.record.anchor_covariance[last, slot] + 0.02 * np.eye(3)
        assert wrong @ np.linalg.solve(spread, wrong) < 25, sequences()[number]
        kinds[number] = found.record.kind[last, slot]
    assert len(kinds) >= 8
    assert sum(kinds.get(number) == AnchorType.ONE_WALL for number in (1, 2, 3, 4, 10, 11)) >= 4
    assert not any(kinds.get(number) == AnchorType.ONE_WALL for number in range(5, 10))


@pytest.mark.slow
def test_tracks_keep_their_paths(walk):
    _, _, truth, found = walk
    kept = total = 0
    before = {}
    for k in range(len(truth)):
        now = {}
        for slot in np.flatnonzero(found.record.detection[k] >= 0):
            now[truth[k, found.record.detection[k, slot]]] = found.record.identity[k, slot]
        both = [number for number in before if number >= 0 and number in now]
        total += len(both)
        kept += sum(before[number] == now[number] for number in both)
        before = now
    assert kept / total > 0.95


@pytest.mark.slow
def test_a_user_teleported_is_lost_and_says_so(walk):
    observations, user, _, _ = walk
    rng = np.random.default_rng(5)
    seen = observations.estimates
    noise = rng.uniform(-np.pi, np.pi, seen.delay.shape)
    late = (np.arange(len(user)) > 60)[:, None]
    scattered = eqx.tree_at(
        lambda o: (o.estimates.arrival_azimuth, o.estimates.departure_azimuth),
        observations,
        (
            np.where(late, noise, seen.arrival_azimuth),
            np.where(late, noise[:, ::-1], seen.departure_azimuth),
        ),
    )
    found = track(scattered, STATION, start=user[0], start_velocity=np.zeros(3), filter=SMALL)
    assert (found.user_status[-10:] == UserStatus.LOST).all()
    assert np.isfinite(np.asarray(found.record.user)).all()


@pytest.mark.slow
def test_instants_without_a_path_coast(walk):
    observations, user, _, _ = walk
    valid = observations.estimates.valid.copy()
    valid[30:34] = False
    dark = eqx.tree_at(lambda o: o.estimates.valid, observations, valid)
    found = track(dark, STATION, start=user[0], start_velocity=user[1] - user[0], filter=SMALL)
    assert (found.user_status[30:34] == UserStatus.COASTING).all()
    assert found.user_status[34] == UserStatus.TRACKED
    assert error(found, user)[34] < 1.0


@pytest.mark.slow
def test_a_position_that_is_known_is_taken_in(walk):
    observations, user, _, _ = walk
    known = np.zeros(len(user), bool)
    known[70] = True
    informed = eqx.tree_at(
        lambda o: (o.user_position, o.user_known),
        observations,
        (np.where(known[:, None], user, 0.0), known),
    )
    again = track(informed, STATION, start=user[0], start_velocity=user[1] - user[0], filter=SMALL)
    assert error(again, user)[70] < 0.1
    assert again.user_status[70] == UserStatus.KNOWN


@pytest.mark.slow
def test_the_first_block_is_of_the_types_of_the_others():
    zero = jnp.zeros(())
    start = eqx.filter_eval_shape(_start, *jnp.zeros((3, 3)), zero, SMALL, None)
    weak = [each for each in jax.tree.leaves(start) if each.weak_type]
    assert not weak  # or the filter compiles twice


@pytest.mark.slow
def test_a_start_is_needed(walk):
    with pytest.raises(InputError, match="needs to know where the user starts, in m; give --start"):
        track(walk[0], STATION)


@pytest.mark.slow
def test_two_starts_that_contradict_are_refused(walk):
    observations, user, _, _ = walk
    first = np.arange(len(user)) == 0
    informed = eqx.tree_at(
        lambda o: (o.user_position, o.user_known),
        observations,
        (np.where(first[:, None], user, 0.0), first),
    )
    with pytest.raises(InputError, match="--start lies 5 m from where user_x"):
        track(informed, STATION, start=user[0] + np.array([3.0, -4.0, 0.0]))


def dense_update(mean, covariance, predict, slope, measured, noise):
    gain = covariance @ slope.T @ np.linalg.inv(slope @ covariance @ slope.T + np.diag(noise))
    return mean + gain @ (measured - predict), covariance - gain @ slope @ covariance


@pytest.mark.slow
def test_an_update_equals_the_textbook(key):
    # one linearisation and Gaussian errors, so that the textbook's update is the same
    settings = JointFilter(slots=8, passes=1, degrees_of_freedom=1e15)
    state = start_joint(
        jnp.asarray(STATION), jnp.array([1.0, 2.0, 1.5]), jnp.ones(3), jnp.array(0.0), settings
    )
    root = 0.1 * jax.random.normal(key, (state.mean.shape[0],) * 2)
    anchors = 50 * jax.random.normal(key, (8, 4)).at[0, :3].set(STATION / 50)
    state = eqx.tree_at(
        lambda s: (s.mean, s.covariance, s.slots.kind),
        state,
        (
            state.mean.at[USER:].set(anchors.reshape(-1)),
            root @ root.T,
            jnp.full(8, int(AnchorType.EVEN)),
        ),
    )
    local, _ = local_coordinates(state)
    predicted, slope = predict_with_slope(
        local,
        state.slots.kind,
        state.slots.reflection,
        state.slots.vertical_reflection,
        jnp.asarray(STATION),
        state.pivot,
    )
    chosen = [2, 5, 7]
    measured = predicted[jnp.array(chosen)] + 0.003
    std = jnp.full((3, 5), 0.1)
    detection = jnp.full(8, -1).at[jnp.array(chosen)].set(jnp.arange(3))
    match = Match(
        detection, jnp.zeros(8), jnp.zeros(8), jnp.zeros((8, 5)), predicted, jnp.ones(3, bool)
    )
    seen = Detections(measured, std, jnp.ones(3, bool), jnp.full(3, jnp.nan))
    after = update_joint(state, seen, match, jnp.asarray(STATION), settings)
    rows = np.zeros((15, state.mean.shape[0]))
    for i, slot in enumerate(chosen):
        rows[5 * i : 5 * i + 5, SHARED] = slope[slot][:, :6]
        at = USER + 4 * slot
        rows[5 * i : 5 * i + 5, at : at + 4] = slope[slot][:, 6:]
    mean, covariance = dense_update(
        np.asarray(state.mean),
        np.asarray(state.covariance),
        np.asarray(predicted)[chosen].ravel(),
        rows,
        np.asarray(measured).ravel(),
        np.full(15, 0.01),
    )
    assert np.allclose(after.mean, mean, atol=1e-9)
    assert np.allclose(after.covariance, covariance, atol=1e-9)


def test_two_short_predictions_equal_a_long_one():
    settings = JointFilter(slots=8)
    start = start_joint(
        jnp.asarray(STATION), jnp.zeros(3), jnp.array([1.0, -2.0, 0.1]), jnp.array(0.0), settings
    )
    once = predict_joint(start, jnp.array(0.7), settings)
    twice = predict_joint(predict_joint(start, jnp.array(0.3), settings), jnp.array(0.7), settings)
    assert np.allclose(once.mean, twice.mean, atol=1e-12)
    assert np.allclose(once.covariance, twice.covariance, atol=1e-12)


def test_new_anchors_share_the_users_error(key):
    settings = JointFilter(slots=8)
    start = start_joint(jnp.asarray(STATION), jnp.zeros(3), jnp.ones(3), jnp.array(0.0), settings)
    root = jax.random.normal(key, (6, 6))
    start = eqx.tree_at(
        lambda s: s.covariance, start, start.covariance.at[:6, :6].set(root @ root.T)
    )
    chosen = jnp.zeros(8, bool).at[jnp.array([3, 6])].set(True)
    gain = jnp.tile(jnp.eye(4, 6).at[3, 3].set(0.0), (8, 1, 1))
    own = jnp.tile(0.2 * jnp.eye(4), (8, 1, 1))
    state = set_coordinates(start, chosen, jnp.ones((8, 4)), gain, own)
    first, second = (slice(USER + 4 * slot, USER + 4 * slot + 3) for slot in (3, 6))
    user = state.covariance[:3, :3]
    assert np.allclose(state.covariance[first, second], user)
    assert np.allclose(state.covariance[first, first], user + 0.2 * np.eye(3))
    assert np.allclose(state.covariance[first, :6], start.covariance[:3, :6])
    assert np.allclose(state.covariance, state.covariance.T)


@pytest.mark.slow
def test_the_whole_walk_corrects_user_motion_and_points(walk):
    observations, user, truth, found = walk
    better = track(
        observations, STATION, start=user[0], start_velocity=user[1] - user[0], smooth=True,
        filter=SMALL,
    )  # fmt: skip
    step = observations.time[1]
    true = (user[2:] - user[:-2]) / (2 * step)
    moving = [
        np.sqrt(np.mean((np.asarray(each.record.user)[1:-1, 3:5] - true[:, :2]) ** 2))
        for each in (found, better)
    ]
    assert moving[1] < 0.6 * moving[0]
    assert np.sqrt(np.mean(error(better, user) ** 2)) < 0.7 * np.sqrt(
        np.mean(error(found, user) ** 2)
    )
    wrong = np.asarray(better.record.user)[:, :2] - user[:, :2]
    covariance = np.asarray(better.record.user_covariance)[:, :2, :2]
    squared = np.einsum("ti,tij,tj->t", wrong, np.linalg.inv(covariance), wrong)
    assert 0.3 < squared.mean() < 6.0  # as of the filter
    off = []
    for each in (found, better):
        for slot in np.flatnonzero(each.status[30] == TrackStatus.TRACKED):
            number = truth[30, each.record.detection[30, slot]]
            if number > 0:
                image = image_path(user[30], sequences()[number])[1]
                off.append(np.linalg.norm(np.asarray(each.record.anchor)[30, slot] - image))
    before, after = np.split(np.array(off), 2)
    assert np.median(after) < 0.8 * np.median(before)


@pytest.mark.slow
def test_a_lag_steadies_the_users_motion(walk):
    observations, user, _, found = walk
    start = {"start": user[0], "start_velocity": user[1] - user[0], "filter": SMALL}
    true = (user[2:] - user[:-2]) / (2 * observations.time[1])

    def wrong(each):
        return np.sqrt(np.mean((np.asarray(each.record.user)[1:-1, 3:5] - true[:, :2]) ** 2))

    late = track(observations, STATION, smooth=True, lag=2.0, **start)
    later = track(observations, STATION, smooth=True, lag=1e3, **start)
    assert wrong(later) < 1.05 * wrong(late) < 0.85 * wrong(found)
    assert (np.diagonal(late.record.user_covariance, axis1=1, axis2=2) > 0).all()
    assert np.array_equal(late.record.anchor, later.record.anchor)


@pytest.mark.slow
def test_old_ways_of_naming_a_filter_work_and_say_so(walk):
    observations, *_ = walk
    with (
        pytest.warns(DeprecationWarning, match=r"filter 'anchors' is now KnownUser\(\)"),
        pytest.raises(InputError, match="needs the user's position at every instant, in m"),
    ):
        track(observations, STATION, "anchors")
    with (
        pytest.warns(DeprecationWarning, match=r"settings=... is now filter=..."),
        pytest.raises(InputError, match="needs to know where the user starts"),
    ):
        track(observations, STATION, settings=SMALL)
    with pytest.raises(InputError, match="filter must be an object such as JointFilter"):
        track(observations, STATION, "particles")
