"""The rays of a channel from what was tracked.

An anchor's last estimate is its best, so that is where it stands all along; its power is what the
observations say, smoothed on the decibel scale, with the spreading taken out first.

Takes tables that `echoscape track` wrote.
Gives `RaySet` or, in the paper's form, `BounceRays`; and `Motion`.
"""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from echoscape.channel_model.bounce_ray import BounceRays
from echoscape.channel_model.motion_smoothing import settle
from echoscape.channel_model.ray import Motion, RaySet, spreading
from echoscape.checks import InputError
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table
from echoscape.tracking.track_table import TRACKS, USER
from echoscape.units import length_of

SMOOTHING = 1.0
"""Time over which a gain is averaged [s]."""
RAMP = 0.2
"""Time in which a ray rises at birth and falls at death [s]."""
_FEWEST = 5
_NO_BOUNCES = (
    "write it by echoscape track with --filter paper or with --mesh, or take --form images"
)
_SAME = 0.1  # further apart are two stations [m]


def read_motion(path: str | Path) -> Motion:
    """Read a user's track without the jumps of a filter, see `motion_smoothing.settle`.

    The acceleration is that of ``filter.json`` beside it.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file cannot be used, has a single instant, or jumps beyond all smoothing.
    """
    columns = Columns(read_table(path, USER), USER, str(path))
    time = columns.finite("time")
    if len(time) < 2:
        raise InputError(f"{path} has one instant only; at least two were needed for a motion")
    columns.refuse(np.diff(time, prepend=-np.inf) <= 0, "time", "must rise from row to row", time)
    position = np.stack([columns.finite(name) for name in ("x", "y", "z")], axis=1)
    velocity = np.stack([columns.finite(name) for name in ("vx", "vy", "vz")], axis=1)
    motion = Motion(jnp.asarray(time), jnp.asarray(position), jnp.asarray(velocity))
    return settle(motion, _covariance(columns), str(path), _acceleration(Path(path)))


def _covariance(columns: Columns) -> np.ndarray | None:
    """Take the covariance of position and velocity, where every row states it."""
    found = np.full((len(columns.table), 6, 6), np.nan)
    axes = ("x", "y", "z", "vx", "vy", "vz")
    for i, j in np.ndindex(6, 6):
        first, second = axes[min(i, j)], axes[max(i, j)]
        name = f"cov_{first}{second}" if max(i, j) < 3 else f"cov_{first}_{second}"
        if not columns.has(name):
            return None
        found[:, i, j] = columns.values(name)
    return found if np.isfinite(found).all() else None


def _acceleration(path: Path) -> np.ndarray | None:
    """Take the density of acceleration that the filter beside a table assumed."""
    beside = path.parent / "filter.json"
    if not beside.exists():
        return None
    try:
        stored = json.loads(beside.read_text(encoding="utf-8"))
        stored = stored.get("points", stored)
        level, upright = float(stored["acceleration"]), float(stored["vertical_acceleration"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return np.array([level, level, upright])


@dataclasses.dataclass(frozen=True)
class _Table:
    """Tracks that were ever confirmed and detected often enough, row by row."""

    columns: Columns
    when: np.ndarray
    number: np.ndarray
    kind: np.ndarray
    image: np.ndarray
    power: np.ndarray
    delay: np.ndarray
    kept: list[tuple[np.ndarray, np.ndarray]]
    """Of each track the rows in which it existed, and those in which it was detected."""

    def points(self, *names: str) -> np.ndarray:
        """Take three columns as points [m]."""
        return np.stack([self.columns.finite(name) for name in names], axis=1)


def _read_tracks(path: str | Path, between: tuple[float, float] | None) -> _Table:
    """Read the tracks that existed between two times."""
    table = read_table(path, TRACKS)
    columns = Columns(table, TRACKS, str(path))
    when, number = columns.finite("time"), columns.number
    status = np.array(table["status"].cast(pa.string()).to_pylist())
    confirmed = (status == "tracked") | (status == "coasting")
    there = confirmed | (status == "tentative")  # what is confirmed later existed before
    power = columns.power("power")
    kind = np.array(table["kind"].cast(pa.string()).to_pylist())
    image = np.full(len(when), "")
    if "image" in table.column_names:
        image = np.array([name or "" for name in table["image"].cast(pa.string()).to_pylist()])
    first, last = between or (-np.inf, np.inf)
    kept = []
    for track in np.unique(number[confirmed]):
        rows = np.flatnonzero((number == track) & there)
        seen = rows[~np.isnan(power[rows]) & (power[rows] > 0)]
        inside = (when[rows[-1]] >= first) & (when[rows[0]] <= last)
        if len(seen) >= _FEWEST and inside:
            kept.append((rows, seen))
    if not kept:
        raise InputError(
            f"{path} holds no track that was detected {_FEWEST} times"
            + (f" between {first:g} and {last:g} s" if between else "")
            + "; give more observations"
        )
    return _Table(columns, when, number, kind, image, power, columns.delay("delay"), kept)


def _station_of(path: str | Path, own: np.ndarray, station: np.ndarray | None) -> np.ndarray:
    """Find where the station stands: at track 0, or where it is said to be [m]."""
    if len(own) == 0 and station is None:
        raise InputError(
            f"{path} has no track 0, the station itself, which the user never detected; give its "
            "place as --station X,Y,Z, in m"
        )
    if len(own) and station is not None and np.linalg.norm(own[0] - station) > _SAME:
        raise InputError(
            f"--station lies {np.linalg.norm(own[0] - station):.3g} m from track 0 of {path}, the "
            "station itself; leave it out"
        )
    return own[0] if station is None else station


def rays_from_tracks(
    path: str | Path,
    time: np.ndarray,
    between: tuple[float, float] | None = None,
    station: np.ndarray | None = None,
) -> RaySet:
    """Make rays of the tracks that were ever confirmed, with their gains at the user's instants.

    Args:
        path: Table of tracks.
        time: Instants of the user's track, rising [s].
        between: Keep rays that were detected between these times only [s].
        station: Where the station is, for a walk that never detected it; else that of track 0 [m].

    Raises:
        InputError: The table cannot be used, no track was detected often enough, or it is not known
            where the station is.
    """
    table = _read_tracks(path, between)
    if "moving" in table.image:
        raise InputError(
            f"{path} holds moving bounce points, but images stand still; give --form bounces, or "
            "write it by echoscape track with --filter joint or anchors"
        )
    columns, kind = table.columns, table.kind
    point = table.points("x", "y", "z")
    turn, sense = columns.finite("turn", 0.0), columns.integer("sense", 1)
    flip = columns.integer("flip", 1)
    standing = _station_of(path, point[table.number == 0], station)
    end = np.array([rows[-1] for rows, _ in table.kept])
    gain_db, presence = (np.zeros((len(time), len(table.kept))) for _ in range(2))
    for k, (rows, seen) in enumerate(table.kept):
        length = length_of(table.delay[seen])
        first = np.full(len(seen), np.linalg.norm(point[rows[-1]] - standing))
        spread = spreading(length, first, length - first, kind[seen] == "scatterer")
        gain_db[:, k], presence[:, k] = _strength(table, time, rows, seen, np.asarray(spread))
    return RaySet(
        station=jnp.asarray(standing),
        point=jnp.asarray(point[end]),
        scattered=jnp.asarray(kind[end] == "scatterer"),
        rotation=jnp.asarray(turn[end]),
        reflection=jnp.asarray(sense[end].astype(float)),
        vertical_reflection=jnp.asarray(flip[end].astype(float)),
        time=jnp.asarray(time),
        gain_db=jnp.asarray(gain_db),
        presence=jnp.asarray(presence),
    )


def bounce_rays_from_tracks(
    path: str | Path,
    motion: Motion,
    between: tuple[float, float] | None = None,
    station: np.ndarray | None = None,
) -> BounceRays:
    """Make rays in the paper's form: first and last bounce where each row has them.

    The virtual delay is what the row's delay leaves beyond both legs.

    Args:
        path: Table of tracks with first and last bounces, as --filter paper writes it, or any other
            with --mesh.
        motion: The user's.
        between: Keep rays that were detected between these times only [s].
        station: As for `rays_from_tracks`.

    Raises:
        InputError: The table cannot be used, or has no bounces.
    """
    table = _read_tracks(path, between)
    standing = _station_of(path, table.points("x", "y", "z")[table.number == 0], station)
    time = np.asarray(motion.time)
    if not all(table.columns.has(f"{end}_{axis}") for end in ("first", "last") for axis in "xyz"):
        raise InputError(f"{path} has no columns of bounces; {_NO_BOUNCES}")
    first, last = (
        np.stack([table.columns.values(f"{end}_{axis}") for axis in "xyz"], axis=1)
        for end in ("first", "last")
    )
    direct = (table.number == 0) | (table.image == "station")
    known = direct | np.isfinite(first + last).all(axis=1)
    length = length_of(table.delay)
    user = np.stack([np.interp(table.when, time, p) for p in np.asarray(motion.position).T], axis=1)
    legs = np.linalg.norm(first - standing, axis=1) + np.linalg.norm(last - user, axis=1)
    beyond = np.where(direct, 0.0, length - legs)
    kept = [(rows[known[rows]], seen[known[seen]]) for rows, seen in table.kept]
    kept = [pair for pair in kept if len(pair[1]) >= _FEWEST]
    if not kept or all(direct[rows[0]] for rows, _ in kept):
        raise InputError(f"{path} has no track with first and last bounces; {_NO_BOUNCES}")
    shape = (len(time), len(kept))
    gain_db, presence, between_them = (np.zeros(shape) for _ in range(3))
    ends = np.zeros((2, *shape, 3))
    for k, (rows, seen) in enumerate(kept):
        gain_db[:, k], presence[:, k] = _strength(table, time, rows, seen, length[seen] ** 2)
        if direct[rows[0]]:
            continue
        between_them[:, k] = np.interp(time, table.when[rows], beyond[rows])
        for e, i in np.ndindex(2, 3):
            ends[e, :, k, i] = np.interp(time, table.when[rows], (first, last)[e][rows, i])
    return BounceRays(
        station=jnp.asarray(standing),
        line_of_sight=jnp.asarray(np.array([direct[rows[0]] for rows, _ in kept])),
        time=jnp.asarray(time),
        first=jnp.asarray(ends[0]),
        last=jnp.asarray(ends[1]),
        beyond=jnp.asarray(between_them),
        gain_db=jnp.asarray(gain_db),
        presence=jnp.asarray(presence),
    )


def _strength(
    table: _Table, time: np.ndarray, rows: np.ndarray, seen: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lay a track's gain, spreading taken out, and its presence over the user's instants."""
    raw = 10 * np.log10(table.power[seen] * spread)
    gain_db = np.interp(time, table.when[seen], _smooth(table.when[seen], raw))
    return gain_db, _present(time, float(table.when[rows[0]]), float(table.when[rows[-1]]))


def _smooth(when: np.ndarray, gain_db: np.ndarray) -> np.ndarray:
    """Average within half of `SMOOTHING` on both sides."""
    total = np.concatenate([[0.0], np.cumsum(gain_db)])
    low = np.searchsorted(when, when - 0.5 * SMOOTHING, side="left")
    high = np.searchsorted(when, when + 0.5 * SMOOTHING, side="right")
    return (total[high] - total[low]) / (high - low)


def _present(time: np.ndarray, birth: float, death: float) -> np.ndarray:
    """Rise before birth and fall after death along half a cosine."""
    outside = np.maximum(np.maximum(birth - time, time - death), 0.0)
    return 0.5 * (1 + np.cos(np.pi * np.minimum(outside / RAMP, 1.0)))
