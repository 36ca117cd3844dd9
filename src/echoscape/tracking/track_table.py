"""Tracks and the user as tables: what `echoscape track` writes.

Takes `Tracks`.
Gives Parquet or CSV files with the columns of ``docs/formats.md``.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from echoscape.propagation.ray_cast import BoxTree
from echoscape.reports import Observations
from echoscape.reports.files import write_table
from echoscape.reports.schema import ANGLES, COVARIANCE, POSITION, Column, Schema
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.bounce import one_wall_bounce, seen_points
from echoscape.tracking.forecast import paths_of
from echoscape.tracking.tracks import Tracks, TrackStatus, UserStatus
from echoscape.units import delay_of

_BOUNCES = tuple(f"{end}_{axis}" for end in ("first", "last") for axis in POSITION)
_VELOCITY = ("vx", "vy", "vz")
_USER_COVARIANCE = tuple(
    f"cov_{first}_{second}"
    for i, first in enumerate((*POSITION, *_VELOCITY))
    for second in (*POSITION, *_VELOCITY)[i:]
    if second in _VELOCITY
)


def _numbers(names: tuple[str, ...], unit: str, required: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, "number", unit, required) for name in names)


TRACKS = Schema(
    "tracks",
    "track",
    (
        Column("time", "number", "[s]", True),
        Column("track", "integer", "", True),
        Column("kind", "text", "", True),
        Column("image", "text", ""),
        *_numbers(POSITION, "[m]", True),
        *_numbers(COVARIANCE, "[m^2]"),
        Column("turn", "number", "[rad]"),
        Column("sense", "integer", ""),
        Column("flip", "integer", ""),
        Column("delay", "number", "[s]"),
        *_numbers(ANGLES, "[rad]"),
        Column("power", "number", "[linear]"),
        *_numbers(_BOUNCES, "[m]"),
        Column("observation", "integer", ""),
        Column("status", "text", "", True),
    ),
)
"""Columns of a table of tracks."""

USER = Schema(
    "user",
    "",
    (
        Column("time", "number", "[s]", True),
        *_numbers(POSITION, "[m]", True),
        *_numbers(_VELOCITY, "[m/s]", True),
        *_numbers(COVARIANCE, "[m^2]"),
        *(
            Column(name, "number", "[m^2/s^2]" if name.count("v") == 3 else "[m^2/s]")
            for name in _USER_COVARIANCE
        ),
        Column("clock", "number", "[s]"),
        Column("clock_std", "number", "[s]"),
        Column("heading", "number", "[rad]"),
        Column("heading_std", "number", "[rad]"),
        Column("status", "text", "", True),
        Column("reason", "text", ""),
    ),
)
"""Columns of a table of the user's positions."""


def write_tracks(
    tracks: Tracks, observations: Observations | None, path: str | Path, tree: BoxTree | None = None
) -> None:
    """Write tracks, one row per track and instant, by the suffix of `path`."""
    write_table(_table(track_columns(tracks, observations, tree)), path, TRACKS)


def write_user(tracks: Tracks, path: str | Path) -> None:
    """Write where the user was, one row per instant, by the suffix of `path`."""
    write_table(_table(user_columns(tracks)), path, USER)


def table_of_tracks(tracks: Tracks) -> pa.Table:
    """Lay tracks out as an Arrow table, one row a track and instant."""
    return _table(track_columns(tracks, None))


def track_columns(
    tracks: Tracks, observations: Observations | None, tree: BoxTree | None = None
) -> dict[str, np.ndarray]:
    """Lay tracks out as columns; NaN where something is not known.

    Args:
        tracks: The tracks.
        observations: What they were followed from, for power and rows; None for a forecast.
        tree: A mesh, which gives the bounce points of every path; without it only those of one wall
            are known.
    """
    record = tracks.record
    instant, slot = np.nonzero(tracks.shown)
    order = np.lexsort((np.asarray(record.identity)[instant, slot], instant))
    instant, slot = instant[order], slot[order]

    def pick(values) -> np.ndarray:
        return np.asarray(values)[instant, slot]

    kind = pick(record.kind)
    anchor, covariance = pick(record.anchor), pick(record.anchor_covariance)
    predicted, detection = pick(record.predicted), pick(record.detection)
    user = np.asarray(record.user)[instant, :3]
    seen = detection >= 0
    which = np.maximum(detection, 0)
    bounce = one_wall_bounce(user, anchor, tracks.station)
    bounce[~((kind == AnchorType.ONE_WALL) & (pick(record.vertical_reflection) > 0))] = np.nan
    scattered = kind == AnchorType.SCATTERER
    bounce[scattered] = anchor[scattered]
    first = last = bounce
    names = np.array([member.name.lower() for member in AnchorType])
    image = names[kind]
    if tracks.first is not None:
        first = np.where(scattered[:, None], tracks.first[instant, slot], bounce)
        image = np.where(scattered, "moving", image)
    elif tree is not None:
        bounced = kind != AnchorType.STATION
        first, last = (np.full(bounce.shape, np.nan) for _ in range(2))
        after = pick(paths_of(tracks))[bounced]  # bounces lie where all detections say
        out, back = after[:, 3:5].T, after[:, 1:3].T
        station = np.broadcast_to(tracks.station, (int(bounced.sum()), 3))
        first[bounced] = seen_points(tree, station, *out)
        last[bounced] = seen_points(tree, user[bounced], *back)
    row, power = np.full(len(seen), -1), np.full(len(seen), np.nan)
    if observations is not None:
        row = np.where(seen, observations.row[instant, which], -1)
        power = np.where(seen, np.asarray(observations.estimates.power)[instant, which], np.nan)
    upper = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    sense = np.where((kind == AnchorType.ONE_WALL) | (kind == AnchorType.ODD), -1, 1)
    sense = np.where(kind == AnchorType.UNDECIDED, pick(record.reflection).astype(int), sense)
    wall = anchor - tracks.station
    wall_turn = 2 * np.arctan2(wall[:, 1], wall[:, 0]) + np.pi
    turn = np.where(kind == AnchorType.ONE_WALL, wall_turn, pick(record.rotation))
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    return {
        "time": tracks.time[instant],
        "track": pick(record.identity),
        "kind": np.where(scattered, "scatterer", "anchor"),
        "image": image,
        **dict(zip(POSITION, anchor.T)),
        **{name: covariance[:, i, j] for name, (i, j) in zip(COVARIANCE, upper)},
        "turn": np.where(scattered, np.nan, turn),
        "sense": sense,
        "flip": pick(record.vertical_reflection).astype(int),
        "delay": delay_of(predicted[:, 0]),
        "departure_azimuth": predicted[:, 3],
        "departure_zenith": predicted[:, 4],
        "arrival_azimuth": predicted[:, 1],
        "arrival_zenith": predicted[:, 2],
        "power": power,
        **dict(zip(_BOUNCES, np.concatenate([first, last], axis=1).T)),
        "observation": np.ma.masked_less(row, 0),
        "status": _words(TrackStatus)[pick(tracks.status)],
    }


def user_columns(tracks: Tracks) -> dict[str, np.ndarray]:
    """Lay the user's positions out as columns."""
    user = np.asarray(tracks.record.user)
    covariance = np.asarray(tracks.record.user_covariance)
    nuisance = np.asarray(tracks.record.nuisance)
    deviation = np.asarray(tracks.record.nuisance_std)
    estimated = deviation > 0
    names = (*POSITION, *_VELOCITY)
    upper = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    moving = [name.split("_")[1:] for name in _USER_COVARIANCE]
    return {
        "time": tracks.time,
        **dict(zip(names, user.T)),
        **{name: covariance[:, i, j] for name, (i, j) in zip(COVARIANCE, upper)},
        **{
            name: covariance[:, names.index(first), names.index(second)]
            for name, (first, second) in zip(_USER_COVARIANCE, moving)
        },
        "clock": np.where(estimated[:, 0], delay_of(nuisance[:, 0]), np.nan),
        "clock_std": np.where(estimated[:, 0], delay_of(deviation[:, 0]), np.nan),
        "heading": np.where(estimated[:, 2], nuisance[:, 2], np.nan),
        "heading_std": np.where(estimated[:, 2], deviation[:, 2], np.nan),
        "status": _words(UserStatus)[tracks.user_status],
        "reason": np.array(tracks.reason or [""] * len(tracks.time), object),
    }


def _words(status) -> np.ndarray:
    return np.array([member.name.lower() for member in status])


def _table(columns: Mapping[str, np.ndarray]) -> pa.Table:
    arrays = {}
    for name, values in columns.items():
        if isinstance(values, np.ma.MaskedArray):
            mask = np.ma.getmaskarray(values)
            arrays[name] = pa.array(values.data, mask=mask)
        else:
            arrays[name] = pa.array(values, from_pandas=True)
    return pa.table(arrays)
