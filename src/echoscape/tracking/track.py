"""One verb: follow what is observed, with a filter that is passed in.

Takes `Observations`, the station, and where the user starts.
Gives `Tracks`: user and anchors over time, each with a status.
"""

import enum
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from echoscape.checks import InputError
from echoscape.reports import Observations
from echoscape.tracking.birth import ESTABLISHED
from echoscape.tracking.joint import run_joint
from echoscape.tracking.joint_state import JointSettings
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.record import Record
from echoscape.tracking.smoother import smooth_user


class TrackStatus(enum.IntEnum):
    """What a track was at one instant."""

    ABSENT = 0
    """The slot was empty, or its anchor only remembered."""
    TENTATIVE = 1
    """Not yet detected often enough to be believed."""
    TRACKED = 2
    """Believed, and detected at this instant."""
    COASTING = 3
    """Believed, but not detected at this instant."""
    LOST = 4
    """Detected, but far from what its bounce points say: they are not to be trusted."""


class UserStatus(enum.IntEnum):
    """What the user's position was worth at one instant."""

    TRACKED = 0
    """At least one believed anchor was detected."""
    COASTING = 1
    """Nothing was: the position is predicted."""
    LOST = 2
    """The position is not to be trusted: hardly any detection fits the anchors, or the stated
    error has grown beyond `LOST_BEYOND`."""
    KNOWN = 3
    """The position was given."""


DEFAULTS = JointSettings()
START_APART = 1.0
"""Two starts further apart than this contradict one another [m]."""
LOST_BEYOND = 10.0
"""Stated level error from which on a user counts as lost [m]."""
LOST_BELOW = 0.25
"""Share of recent detections explained by anchors below which a user counts as lost [1]."""


class Tracks(eqx.Module):
    """A user and the anchors over time (numpy)."""

    time: Float[np.ndarray, " time"]
    """When [s]."""
    record: Record
    """User and anchors at each instant."""
    status: Int[np.ndarray, "time slot"]
    """`TrackStatus` of each slot."""
    user_status: Int[np.ndarray, " time"]
    """`UserStatus`."""
    station: Float[np.ndarray, "3"]
    """Position of the station [m]."""
    first: Float[np.ndarray, "time slot 3"] | None = None
    """First bounces, where bounce points are followed instead of anchors: then `Record.anchor` is
    the last bounce, and `Record.predicted` holds after the instant [m]."""

    @property
    def shown(self) -> Bool[np.ndarray, "time slot"]:
        """Slots that hold a track at an instant."""
        return self.status != TrackStatus.ABSENT

    @property
    def presence(self) -> Float[np.ndarray, "time slot"]:
        """Probability that a slot holds a path: believed ones do, tentative ones by their odds."""
        tentative = self.status == TrackStatus.TENTATIVE
        chance = np.where(tentative, expit(np.asarray(self.record.odds)), 0.0)
        return np.where(self.status >= TrackStatus.TRACKED, 1.0, chance)

    @property
    def count(self) -> int:
        """How many tracks were believed at some time."""
        believed = self.status >= TrackStatus.TRACKED
        return len(np.unique(np.asarray(self.record.identity)[believed]))


def track(
    observations: Observations,
    station: Float[np.ndarray, "3"],
    filter: Literal["joint", "anchors"] = "joint",
    *,
    start: Float[np.ndarray, "3"] | None = None,
    start_velocity: Float[np.ndarray, "3"] | None = None,
    smooth: bool = False,
    lag: float | None = None,
    settings: JointSettings = DEFAULTS,
) -> Tracks:
    """Follow the anchors around a user, and the user with them.

    Args:
        observations: What was seen.
        station: Position of the station [m].
        filter: ``joint`` estimates the user too, and takes in its position where the observations
            know it; ``anchors`` needs it at every instant and trusts it to
            `JointSettings.trusted_std`.
        start: Where the user is at first [m]; the first known position if not given.
        start_velocity: The user's first velocity [m/s]; standing with an error of
            `JointSettings.start_velocity_unknown` if not given.
        smooth: Let later observations correct the user's motion; anchors and statuses stay those of
            the filter.
        lag: How much later an observation may be to do so; all of the walk if not given [s].
        settings: What the filter assumes.

    Raises:
        InputError: It is not known where the user starts, or is.
    """
    if filter == "anchors":
        unknown = np.flatnonzero(~observations.user_known)
        if len(unknown):
            raise InputError(
                "the filter 'anchors' needs the user's position at every instant, in m, but at "
                f"{observations.time[unknown[0]]:g} s it is empty; fill user_x, user_y, user_z or "
                "take --filter joint"
            )
        trusted = settings.trusted_std
        settings = eqx.tree_at(lambda s: (s.known_std, s.start_std), settings, (trusted, trusted))
    if start is None:
        if not observations.user_known[0]:
            raise InputError(
                "the joint filter needs to know where the user starts, in m; give --start X,Y,Z or "
                "fill user_x, user_y, user_z of the first instant"
            )
        start = observations.user_position[0]
    apart = float(np.linalg.norm(start - observations.user_position[0]))
    if observations.user_known[0] and apart > START_APART:
        raise InputError(
            f"--start lies {apart:.3g} m from where user_x, user_y, user_z of the first instant "
            "say that the user is; leave out what is wrong"
        )
    if start_velocity is None:
        start_velocity = np.zeros(3)
        unknown = settings.start_velocity_unknown
        settings = eqx.tree_at(lambda s: s.start_velocity_std, settings, unknown)
    record = run_joint(
        detections_of(observations),
        jnp.asarray(observations.time),
        jnp.asarray(observations.user_position),
        jnp.asarray(observations.user_known),
        jnp.asarray(station, float),
        jnp.asarray(start, float),
        jnp.asarray(start_velocity, float),
        settings,
    )
    if smooth and len(observations.time) > 1:
        step = float(np.median(np.diff(observations.time)))
        better = smooth_user(
            record.user, record.user_covariance, jnp.asarray(observations.time), settings,
            None if lag is None else int(min(np.floor(lag / step + 1e-9), len(observations.time))),
        )  # fmt: skip
        record = eqx.tree_at(lambda r: (r.user, r.user_covariance), record, better)
    record = jax.tree.map(np.asarray, record)
    return Tracks(
        time=observations.time,
        record=record,
        status=_status(record),
        user_status=_user_status(record, observations),
        station=np.asarray(station, float),
    )


def detections_of(observations: Observations) -> Detections:
    """Lay observations out as the filters measure them, length in metres."""
    seen = observations.estimates
    measured = [
        np.asarray(seen.length),
        seen.arrival_azimuth,
        seen.arrival_zenith,
        seen.departure_azimuth,
        seen.departure_zenith,
    ]
    std = [
        np.asarray(seen.length_std),
        seen.arrival_azimuth_std,
        seen.arrival_zenith_std,
        seen.departure_azimuth_std,
        seen.departure_zenith_std,
    ]
    valid = np.asarray(seen.valid)
    return Detections(
        measured=jnp.asarray(np.stack(measured, axis=-1)),
        std=jnp.asarray(np.where(valid[..., None], np.stack(std, axis=-1), 1.0)),
        valid=jnp.asarray(valid),
    )


def _status(record: Record) -> np.ndarray:
    """Tell what each slot held."""
    identity, hits = np.asarray(record.identity), np.asarray(record.hits)
    awake = (identity >= 0) & (np.asarray(record.odds) > 0)
    seen = np.asarray(record.detection) >= 0
    believed = np.where(seen, int(TrackStatus.TRACKED), int(TrackStatus.COASTING))
    status = np.where(hits < ESTABLISHED, int(TrackStatus.TENTATIVE), believed)
    return np.where(awake | (seen & (identity >= 0)), status, int(TrackStatus.ABSENT))


def _user_status(record: Record, observations: Observations) -> np.ndarray:
    """Tell what the user's position was worth."""
    used = (np.asarray(record.detection) >= 0).any(axis=1)
    status = np.where(used, int(UserStatus.TRACKED), int(UserStatus.COASTING))
    spread = np.asarray(record.user_covariance)[:, [0, 1], [0, 1]].sum(axis=1)
    lost = (spread > LOST_BEYOND**2) | (np.asarray(record.explained) < LOST_BELOW)
    status = np.where(lost, int(UserStatus.LOST), status)
    return np.where(observations.user_known, int(UserStatus.KNOWN), status)
