"""Forecasts without observations: exact in an exact world, and honest about the user."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.tracking import AnchorType, Record, Tracks, TrackStatus, UserStatus, forecast
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import predict_joint, start_joint
from echoscape.units import wrap_angle
from tests.worlds.walls import STATION, image_path, sequences

USER, VELOCITY = np.array([-9.0, -17.0, 1.3]), np.array([0.8, -0.5, 0.0])


def exact_tracks():
    """Tracks at 3 and 4 s of which the second is the truth and the first is not."""
    anchor, turn, kind, sign, vertical_reflection = [], [], [], [], []
    for planes in sequences():
        exact, image, _ = image_path(USER, planes)
        vertical = sum(plane[0][2] == 0 for plane in planes)
        sign.append((-1.0) ** vertical)
        vertical_reflection.append((-1.0) ** (len(planes) - vertical))
        anchor.append(image)
        turn.append(wrap_angle(exact[3] - sign[-1] * np.arctan2(*(USER - image)[1::-1])))
        plain = AnchorType.EVEN if vertical % 2 == 0 else AnchorType.ODD
        kind.append({0: AnchorType.STATION, 1: AnchorType.ONE_WALL}.get(len(planes), plain))
    count = len(anchor)

    def twice(wrong, right):
        return jnp.stack([jnp.asarray(wrong, float), jnp.asarray(right, float)])

    spread = np.diag([0.2, 0.3, 0.1, 0.4, 0.5, 0.1])
    whole = {name: jnp.tile(jnp.asarray(value, int), (2, 1)) for name, value in (
        ("detection", np.arange(count)), ("identity", np.arange(count)), ("kind", kind),
        ("hits", np.full(count, 9)),
    )}  # fmt: skip
    record = Record(
        user=twice(np.zeros(6), [*USER, *VELOCITY]),
        user_covariance=twice(np.eye(6), spread),
        anchor=twice(np.ones((count, 3)), anchor),
        anchor_covariance=jnp.tile(jnp.eye(3), (2, count, 1, 1)),
        rotation=twice(np.ones(count), turn),
        predicted=jnp.zeros((2, count, 5)),
        reflection=twice(sign, sign),
        vertical_reflection=twice(vertical_reflection, vertical_reflection),
        odds=jnp.ones((2, count)),
        misfit=jnp.ones(2),
        share=jnp.ones(2),
        pending=jnp.zeros(2, int),
        relocated=jnp.zeros(2, bool),
        recalled=jnp.zeros(2, bool),
        merged=jnp.zeros((2, count), bool),
        nuisance=jnp.zeros((2, 4)),
        nuisance_std=jnp.zeros((2, 4)),
        **whole,
    )
    status = np.full((2, count), int(TrackStatus.TRACKED))
    status[1, 2] = TrackStatus.TENTATIVE
    user_status = np.full(2, int(UserStatus.TRACKED))
    return Tracks(np.array([3.0, 4.0]), record, status, user_status, STATION)


def check(ahead, place):
    for i, user in enumerate(place):
        for k, planes in enumerate(sequences()):
            exact = image_path(user, planes)[0]
            assert np.allclose(wrap_angle(ahead.record.predicted[i, k] - exact), 0, atol=1e-9)


def test_an_exact_world_is_forecast_exactly():
    later = np.array([4.0, 5.5, 9.25])
    ahead = forecast(exact_tracks(), later)
    check(ahead, USER + (later - 4.0)[:, None] * VELOCITY)
    assert (ahead.record.detection == -1).all()
    assert (ahead.status == TrackStatus.COASTING).sum() == 3 * (len(sequences()) - 1)
    assert (ahead.status[:, 2] == TrackStatus.ABSENT).all()
    # round the corner, where straight on would be wrong
    place = USER + np.array([[1.0, 2.0, 0.0], [1.5, 6.0, 0.1], [0.2, 9.0, 0.3]])
    ahead = forecast(exact_tracks(), later, place)
    check(ahead, place)
    assert (ahead.user_status == UserStatus.KNOWN).all()


def test_an_earlier_instant_forecasts_what_came_after():
    tracks = exact_tracks()
    turned = jax.tree.map(lambda field: field[::-1], tracks.record)
    swapped = Tracks(tracks.time, turned, tracks.status[::-1], tracks.user_status, STATION)
    ahead = forecast(swapped, np.array([5.0]), instant=0)
    check(ahead, USER + 2.0 * VELOCITY[None])


@pytest.mark.slow
def test_the_users_error_grows_as_the_filters_own_prediction():
    settings = JointFilter()
    station, place, velocity, now = map(jnp.asarray, (STATION, USER, VELOCITY, 4.0))
    state = start_joint(station, place, velocity, now, settings)
    tracks = exact_tracks()
    covariance = np.stack([np.eye(6), np.asarray(state.covariance)[:6, :6]])
    tracks = eqx.tree_at(lambda t: t.record.user_covariance, tracks, covariance)
    for time in (4.3, 11.0):
        moved = predict_joint(state, jnp.asarray(time), settings)
        ahead = forecast(tracks, np.array([time]))
        assert np.allclose(
            ahead.record.user_covariance[0], np.asarray(moved.covariance)[:6, :6], rtol=1e-9
        )
    assert forecast(tracks, np.array([300.0])).user_status[0] == UserStatus.LOST


def test_what_cannot_be_forecast_is_refused():
    tracks = exact_tracks()
    for times in ([3.9], [5.0, 5.0], []):
        with pytest.raises(InputError, match="needs rising times from 4 s on"):
            forecast(tracks, np.array(times))
    first = np.zeros((2, len(sequences()), 3))
    moving = Tracks(
        tracks.time, tracks.record, tracks.status, tracks.user_status, tracks.station, first=first
    )
    with pytest.raises(InputError, match="points that stand still"):
        forecast(moving, np.array([5.0]))
