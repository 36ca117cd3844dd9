"""What following gives: a user and static points over time, each with a status.

Takes the record of a filter.
Gives `Tracks`.
"""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from echoscape.checks import InputError
from echoscape.display import Displayed, Status, span
from echoscape.scene.static_points import PointKind, StaticPoints
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.record import Record
from echoscape.tracking.track_management import ESTABLISHED

if TYPE_CHECKING:
    import pyarrow as pa


class TrackStatus(Status):
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


class UserStatus(Status):
    """What the user's position was worth at one instant."""

    TRACKED = 0
    """Established points were detected where they were expected."""
    COASTING = 1
    """Nothing was detected: the position is predicted."""
    LOST = 2
    """The position is not to be trusted: hardly a detection belongs to an established point, or the
    stated error is beyond `JointFilter.lost_std`."""
    KNOWN = 3
    """The position was given."""
    UNCERTAIN = 4
    """A test of health failed, or the stated error is beyond `JointFilter.uncertain_std`."""
    RELOCATED = 5
    """Line of sight, or an arrangement of points of before, moved the position."""


class Tracks(Displayed, eqx.Module):
    """A user and the static points over time (numpy)."""

    time: Float[np.ndarray, " time"]
    """When [s]."""
    record: Record
    """User and points at each instant."""
    status: Int[np.ndarray, "time slot"]
    """`TrackStatus` of each slot."""
    user_status: Int[np.ndarray, " time"]
    """`UserStatus`."""
    station: Float[np.ndarray, "3"]
    """Position of the station [m]."""
    reason: tuple[str, ...] = eqx.field(static=True, default=())
    """Why the user is not simply tracked at each instant, in words; empty where it is."""
    first: Float[np.ndarray, "time slot 3"] | None = None
    """First bounces, where bounce points are followed instead of anchors: then `Record.anchor` is
    the last bounce, and `Record.predicted` holds after the instant [m]."""

    def to_arrow(self) -> "pa.Table":
        """Lay the tracks out as an Arrow table, one row a track and instant."""
        from echoscape.tracking.track_table import table_of_tracks

        return table_of_tracks(self)

    def summary_rows(self) -> dict[str, str]:
        """Count instants and tracks, and the user's statuses with what each means."""
        words = [UserStatus(code) for code in np.unique(self.user_status)]
        return {
            "instants": f"{len(self):,}, {span(self.time, 's')}",
            "tracks": f"{self.count:,} established",
            **{
                f"user {word}": f"{int(np.sum(self.user_status == word)):,}. {word.advice}"
                for word in words
            },
        }

    @property
    def shown(self) -> Bool[np.ndarray, "time slot"]:
        """Slots that hold a track at an instant."""
        return self.status != TrackStatus.ABSENT

    @property
    def presence(self) -> Float[np.ndarray, "time slot"]:
        """Probability that a slot holds a path: believed ones do, tentative ones by their odds."""
        tentative = self.status == TrackStatus.TENTATIVE
        probability = np.where(tentative, expit(np.asarray(self.record.odds)), 0.0)
        return np.where(self.status >= TrackStatus.TRACKED, 1.0, probability)

    @property
    def count(self) -> int:
        """How many tracks were believed at some time."""
        believed = self.status >= TrackStatus.TRACKED
        return len(np.unique(np.asarray(self.record.identity)[believed]))

    def __len__(self) -> int:
        """Count the instants."""
        return len(self.time)

    def __repr__(self) -> str:
        """Tell the span, the number of tracks and how the user fared."""
        counts = ", ".join(
            f"{int(np.sum(self.user_status == status))} {status.name.lower()}"
            for status in UserStatus
            if np.any(self.user_status == status)
        )
        span = f"{self.time[0]:g} to {self.time[-1]:g} s" if len(self.time) else "no instant"
        return f"Tracks({span}, {self.count} tracks; user {counts})"

    def static_points(self, fewest: int = 5) -> StaticPoints:
        """Give the points that were believed, each where it was last known, in the site's frame.

        A point that is remembered moves with what is learnt later, and one that was recalled is
        given once.

        Args:
            fewest: Detections that a point needs.

        Raises:
            InputError: These are tracks of moving bounce points.
        """
        return points_of_tracks(self, fewest)


def points_of_tracks(tracks: Tracks, fewest: int = 5) -> StaticPoints:
    """Turn the anchors of tracks into static points: the isometry that makes each image.

    An anchor ``a`` with rotation ``r`` is seen from a station ``s`` along ``M (user - a)``, so the
    user's image is ``M user + s - M a``.
    """
    if tracks.first is not None:
        raise InputError(
            "static points come of points that stand still, and these are tracks of moving bounce "
            "points; take filter=JointFilter() or KnownUser()"
        )
    record, station = tracks.record, tracks.station
    identity = np.where(tracks.status >= TrackStatus.TRACKED, np.asarray(record.identity), -1)
    instant, slot = np.nonzero((identity > 0) & (np.asarray(record.hits) >= fewest))
    believed, last = np.unique(identity[instant, slot][::-1], return_index=True)
    confirmed = tracks.time[instant[::-1][last]]
    held = np.asarray(record.identity)
    again, place = np.nonzero(np.asarray(record.merged))
    once = ~np.isin(believed, held[again - 1, place])
    believed, confirmed = believed[once], confirmed[once]
    instant, slot = np.nonzero(np.isin(held, believed))
    _, last = np.unique(held[instant, slot][::-1], return_index=True)
    instant, slot = instant[::-1][last], slot[::-1][last]
    kind = np.asarray(record.kind)[instant, slot]
    anchor = np.asarray(record.anchor)[instant, slot]
    spread = np.asarray(record.anchor_covariance)[instant, slot]
    flip = np.asarray(record.vertical_reflection)[instant, slot]
    wall = anchor - station
    one_wall = kind == AnchorType.ONE_WALL
    rotation = np.where(
        one_wall,
        2 * np.arctan2(wall[:, 1], wall[:, 0]) + np.pi,
        np.asarray(record.rotation)[instant, slot],
    )
    mirrored = one_wall | (kind == AnchorType.ODD)
    reflection = np.where(
        kind == AnchorType.EVEN, 1.0, np.asarray(record.reflection)[instant, slot]
    )
    reflection = np.where(mirrored, -1.0, reflection)
    scattered = kind == AnchorType.SCATTERER
    cos, sin = np.cos(rotation), np.sin(rotation)
    matrix = np.stack(
        [np.stack([cos, -reflection * sin], -1), np.stack([sin, reflection * cos], -1)], -2
    )
    offset = station[:2] - np.einsum("pij,pj->pi", matrix, anchor[:, :2])
    slope = np.zeros((len(anchor), 4, 3))
    slope[:, :2, :2], slope[:, 2, 2] = -matrix, -flip
    slope[scattered] = np.eye(4, 3)
    covariance = slope @ spread @ np.swapaxes(slope, -1, -2)
    # a rotation that was not decided by one wall is known to about a degree
    covariance[:, 3, 3] = np.where(scattered, 0.0, np.radians(1.0) ** 2)
    undecided = kind == AnchorType.UNDECIDED
    return StaticPoints(
        kind=np.where(
            scattered,
            int(PointKind.SCATTERER),
            np.where(undecided, int(PointKind.UNDETERMINED), int(PointKind.VIRTUAL_ANCHOR)),
        ),
        rotation=np.where(scattered, 0.0, np.arctan2(sin, cos)),
        reflection=np.where(scattered, 1.0, reflection),
        offset=np.where(scattered[:, None], anchor[:, :2], offset),
        vertical_reflection=np.where(scattered, 1.0, flip),
        height_offset=np.where(scattered, anchor[:, 2], station[2] - flip * anchor[:, 2]),
        covariance=covariance,
        confirmed=confirmed,
        origin=np.zeros(len(anchor), int),
        provenance=("tracks",),
    )


def track_status(record: Record) -> Int[np.ndarray, "time slot"]:
    """Tell what each slot held."""
    identity, hits = np.asarray(record.identity), np.asarray(record.hits)
    awake = (identity >= 0) & (np.asarray(record.odds) > 0)
    seen = np.asarray(record.detection) >= 0
    believed = np.where(seen, int(TrackStatus.TRACKED), int(TrackStatus.COASTING))
    status = np.where(hits < ESTABLISHED, int(TrackStatus.TENTATIVE), believed)
    return np.where(awake | (seen & (identity >= 0)), status, int(TrackStatus.ABSENT))
