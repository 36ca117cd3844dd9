"""The rays of a channel from what was tracked.

An anchor's last estimate is its best, so that is where it stands all along; its power is what the
observations say, smoothed on the decibel scale, with the spreading taken out first.

Takes tables that `echoscape track` wrote.
Gives `RaySet` and `Motion`.
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow as pa

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
    table = read_table(path, TRACKS)
    columns = Columns(table, TRACKS, str(path))
    when, number = columns.finite("time"), columns.number
    status = np.array(table["status"].cast(pa.string()).to_pylist())
    confirmed = (status == "tracked") | (status == "coasting")
    there = confirmed | (status == "tentative")  # what is confirmed later existed before
    point = np.stack([columns.finite(name) for name in ("x", "y", "z")], axis=1)
    power, delay = columns.power("power"), columns.delay("delay")
    turn, sense = columns.finite("turn", 0.0), columns.integer("sense", 1)
    flip = columns.integer("flip", 1)
    kind = np.array(table["kind"].cast(pa.string()).to_pylist())
    if "image" in table.column_names and "moving" in table["image"].cast(pa.string()).to_pylist():
        raise InputError(
            f"{path} holds moving bounce points, but a channel is made of points that stand still; "
            "write it by echoscape track with --filter joint or anchors"
        )
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
    own = point[number == 0]
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
    standing = own[0] if station is None else station
    end = np.array([rows[-1] for rows, _ in kept])
    gain_db, presence = (np.zeros((len(time), len(kept))) for _ in range(2))
    for k, (rows, seen) in enumerate(kept):
        length = length_of(delay[seen])
        first = np.full(len(seen), np.linalg.norm(point[rows[-1]] - standing))
        spread = spreading(length, first, length - first, kind[seen] == "scatterer")
        raw = 10 * np.log10(power[seen] * np.asarray(spread))
        gain_db[:, k] = np.interp(time, when[seen], _smooth(when[seen], raw))
        presence[:, k] = _present(time, float(when[rows[0]]), float(when[rows[-1]]))
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
