"""Paths ahead of the last observation: static points, and a user who moves on.

What an anchor's path will measure depends on the anchor, which stands still, and on where the user
will be.  So nothing is extrapolated but the user: straight on at its last velocity, or along a
track that is given.  Which paths will end and which will begin is not foretold.

Takes `Tracks`, one of their instants, and later times.
Gives `Tracks` at those times.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.checks import InputError
from echoscape.tracking.anchor import predict_path
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.record import Record
from echoscape.tracking.tracks import Tracks, TrackStatus, UserStatus


def forecast(
    tracks: Tracks,
    time: Float[np.ndarray, " ahead"],
    position: Float[np.ndarray, "ahead 3"] | None = None,
    *,
    instant: int = -1,
    settings: JointFilter | None = None,
) -> Tracks:
    """Predict the paths of all believed tracks at later times, from nothing observed after.

    Args:
        tracks: Anchors and the user.
        time: When, rising, none before the instant [s].
        position: Where the user will be then; straight on if not given [m].
        instant: Number of the instant from which on nothing is observed.
        settings: How the user's velocity wanders, for its covariance.

    Returns:
        Tracks at the later times, all coasting.  Their user is known where it is given, and lost
        once its stated error exceeds `JointFilter.lost_std`.  Anchors keep their covariance.

    Raises:
        InputError: Times do not rise or lie before the instant, or bounce points move.
    """
    settings = settings or JointFilter()
    time, record = np.asarray(time, float), tracks.record
    if tracks.first is not None:
        raise InputError(
            "a forecast rests on points that stand still, and filters of bounce points follow "
            "moving ones; take --filter joint or anchors"
        )
    now = float(tracks.time[instant])
    if len(time) == 0 or time[0] < now or (np.diff(time) <= 0).any():
        raise InputError(
            f"a forecast needs rising times from {now:g} s on, when observation ends; "
            f"got {time[:3].tolist()}"
        )
    chosen: Record = jax.tree.map(lambda field: np.asarray(field)[instant], record)
    user, covariance = _move_on(chosen, time - now, settings)
    if position is not None:
        user[:, :3] = position
        user[:, 3:] = np.gradient(position, time, axis=0) if len(time) > 1 else chosen.user[3:]
        covariance = np.zeros_like(covariance)
    predicted = _predict(chosen, jnp.asarray(user[:, :3]), jnp.asarray(tracks.station))

    def hold(field):
        return np.broadcast_to(field, (len(time), *np.shape(field)))

    ahead = eqx.tree_at(
        lambda r: (r.user, r.user_covariance, r.predicted, r.detection),
        jax.tree.map(hold, chosen),
        (user, covariance, np.asarray(predicted), np.full((len(time), len(chosen.kind)), -1)),
    )
    believed = tracks.status[instant] >= TrackStatus.TRACKED
    status = np.where(believed, int(TrackStatus.COASTING), int(TrackStatus.ABSENT))
    spread = covariance[:, 0, 0] + covariance[:, 1, 1]
    lost = (spread > settings.lost_std**2) | (tracks.user_status[instant] == UserStatus.LOST)
    user_status = np.where(lost, int(UserStatus.LOST), int(UserStatus.COASTING))
    if position is not None:
        user_status = np.full(len(time), int(UserStatus.KNOWN))
    return Tracks(time, ahead, hold(status), user_status, tracks.station)


def paths_of(tracks: Tracks) -> Float[np.ndarray, "time slot 5"]:
    """Give every slot's path as user and anchor are believed to be after each instant.

    `Record.predicted` is what was expected before the detections; this knows them too.
    """
    user, station = jnp.asarray(tracks.record.user)[:, :3], jnp.asarray(tracks.station)
    return np.asarray(_after(jax.tree.map(jnp.asarray, tracks.record), user, station))


@jax.jit
def _after(record: Record, user, station) -> Float[Array, "time slot 5"]:
    slots = jax.vmap(_one, (None, 0, 0, 0, 0, 0, None))
    points = (
        record.anchor,
        record.rotation,
        record.kind,
        record.reflection,
        record.vertical_reflection,
    )
    return jax.vmap(slots, (0, 0, 0, 0, 0, 0, None))(user, *points, station)


def _one(position, anchor, turn, kind, sign, vertical_reflection, station):
    local = jnp.concatenate([position, anchor, turn[None]])
    return predict_path(local, kind, sign, vertical_reflection, station)


@jax.jit
def _predict(
    record: Record, position: Float[Array, "ahead 3"], station: Float[Array, "3"]
) -> Float[Array, "ahead slot 5"]:
    """Predict every slot's path to every position."""
    slots = jax.vmap(_one, (None, 0, 0, 0, 0, 0, None))
    points = (
        record.anchor,
        record.rotation,
        record.kind,
        record.reflection,
        record.vertical_reflection,
    )
    return jax.vmap(lambda place: slots(place, *points, station))(position)


def _move_on(
    record: Record, step: np.ndarray, settings: JointFilter
) -> tuple[np.ndarray, np.ndarray]:
    """Move user and covariance on as `predict_joint` does, to each of several steps [s]."""
    user = np.repeat(np.asarray(record.user)[None], len(step), axis=0)
    user[:, :3] += step[:, None] * user[:, 3:]
    onward = np.repeat(np.eye(6)[None], len(step), axis=0)
    axis = np.arange(3)
    onward[:, axis, axis + 3] = step[:, None]
    covariance = onward @ np.asarray(record.user_covariance) @ onward.transpose(0, 2, 1)
    level, vertical = settings.acceleration, settings.vertical_acceleration
    wander = np.array([level, level, vertical], float) ** 2
    covariance[:, axis, axis] += wander * step[:, None] ** 3 / 3
    covariance[:, axis, axis + 3] += wander * step[:, None] ** 2 / 2
    covariance[:, axis + 3, axis] += wander * step[:, None] ** 2 / 2
    covariance[:, axis + 3, axis + 3] += wander * step[:, None]
    return user, covariance
