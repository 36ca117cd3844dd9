"""Observations as a table: one row per path and instant, an empty row for an instant without any.

The columns are those of `echoscape.reports.schema`, described in ``docs/formats.md``.

Takes a Parquet or CSV file.
Gives `Observations`, checked; and writes them back.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from echoscape.checks import InputError
from echoscape.display import expect
from echoscape.propagation import Paths
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table, write_table
from echoscape.reports.observation import Observations
from echoscape.reports.schema import ANGLES, DEVIATIONS, OBSERVATIONS, USER_POSITION
from echoscape.reports.table import path_cells, rows_with_path

_MEASURED = (*ANGLES, "delay", "power")
_SAME_PLACE = 1e-6
"""Rows of one instant may differ in the user's position by rounding only [m]."""


def read_observations(
    path: str | Path, angle_std: float | None = None, delay_std: float | None = None
) -> Observations:
    """Read observations from a Parquet or CSV file.

    Args:
        path: The file; see ``docs/formats.md``.
        angle_std: Standard deviation of angles that the file gives none for [rad].
        delay_std: Standard deviation of delays that the file gives none for [s].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file or one of its values cannot be used; the message says how to repair it.
    """
    return observations_from_table(read_table(path, OBSERVATIONS), angle_std, delay_std, str(path))


def observations_from_table(
    table: pa.Table,
    angle_std: float | None = None,
    delay_std: float | None = None,
    source: str = "table",
) -> Observations:
    """Make observations of an Arrow table with the columns of `OBSERVATIONS`."""
    expect(table, pa.Table, "observations_from_table")
    columns = Columns(table, OBSERVATIONS, source)
    time = columns.finite("time")
    backwards = np.diff(time, prepend=time[0]) < 0
    columns.refuse(
        backwards,
        "time",
        "must not run backwards",
        time,
        "sort the rows by time, and give each user a file of its own",
    )
    cells = path_cells(columns)
    present = rows_with_path(columns, cells, _MEASURED)
    for name in DEVIATIONS:
        cells[name] = _deviation(columns, name, present, angle_std, delay_std)
    user, known = _user(columns)
    start = np.flatnonzero(np.diff(time, prepend=-np.inf) > 0)
    instant = np.repeat(np.arange(len(start)), np.diff(start, append=len(time)))
    _refuse_moving(columns, user, known, start, instant)
    keep = present & ~_repeats(instant, np.stack([cells[name] for name in cells], axis=1))
    slot = np.cumsum(keep) - 1
    slot = slot - (slot[start] - keep[start])[instant] - 1
    shape = (len(start), max(1, int(np.bincount(instant[keep], minlength=1).max())))

    def padded(values: np.ndarray, fill: float | int | bool) -> np.ndarray:
        out = np.full(shape, fill, dtype=values.dtype)
        out[instant[keep], slot[keep]] = values[keep]
        return out

    some = np.maximum.reduceat(known, start)
    place = np.zeros((len(start), 3))
    place[instant[known]] = user[known]
    return Observations(
        estimates=Paths.from_delays(
            **{name: padded(values, 0.0) for name, values in cells.items()},
            valid=padded(keep, False),
        ),
        time=time[start],
        user_position=place,
        user_known=some,
        row=padded(np.arange(len(time)), -1),
        repeated=int((present & ~keep).sum()),
    )


def write_observations(observations: Observations, path: str | Path) -> None:
    """Write observations as Parquet or CSV, by the suffix of `path`; rows are numbered anew."""
    expect(observations, Observations, "write_observations")
    write_table(table_from_observations(observations), path, OBSERVATIONS)


def table_from_observations(observations: Observations) -> pa.Table:
    """Make an Arrow table of observations, one row per path and one per empty instant."""
    valid = np.asarray(observations.estimates.valid).copy()
    empty = np.asarray(~valid.any(axis=1))
    valid[empty, 0] = True
    instant, slot = np.nonzero(valid)
    without = empty[instant]
    arrays = {"time": pa.array(observations.time[instant])}
    for name in (*_MEASURED, *DEVIATIONS):
        values = np.asarray(getattr(observations.estimates, name))[instant, slot]
        arrays[name] = pa.array(values, mask=without)
    unknown = ~observations.user_known[instant]
    for axis, name in enumerate(USER_POSITION):
        arrays[name] = pa.array(observations.user_position[instant, axis], mask=unknown)
    return pa.table(arrays)


def _deviation(
    columns: Columns,
    name: str,
    present: np.ndarray,
    angle_std: float | None,
    delay_std: float | None,
) -> np.ndarray:
    """Take deviations above zero, from the file or as stated for all."""
    default, option = (
        (delay_std, "--delay-std") if name == "delay_std" else (angle_std, "--angle-std")
    )
    values = columns.deviation(name)
    if default is not None:
        values = np.where(np.isnan(values), default, values)
    missing = present & ~((values > 0) & np.isfinite(values))
    if missing.any():
        row = int(np.argmax(missing))
        raise InputError(
            f"{columns.source}: every observation needs its error, a column {name!r} "
            f"{OBSERVATIONS[name].unit} finite and above zero, but {columns.place(row)} has "
            f"{'none' if np.isnan(values[row]) else values[row]}; fill it or state one error for "
            f"all by {option}"
        )
    return np.where(present, values, 0.0)


def _user(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Take the user's position, and where it is known."""
    rows = np.stack(
        [
            columns.values(name) if columns.has(name) else np.full(len(columns.table), np.nan)
            for name in USER_POSITION
        ],
        axis=1,
    )
    for axis, name in enumerate(USER_POSITION):
        columns.refuse(np.isinf(rows[:, axis]), name, "must be finite", rows[:, axis])
        half = np.isnan(rows[:, axis]) & ~np.isnan(rows).all(axis=1)
        columns.refuse(half, name, "must be filled where the other coordinates are")
    known = np.asarray(~np.isnan(rows).any(axis=1))
    return np.where(known[:, None], rows, 0.0), known


def _refuse_moving(
    columns: Columns, user: np.ndarray, known: np.ndarray, start: np.ndarray, instant: np.ndarray
) -> None:
    """Refuse an instant whose rows give two positions of the user."""
    high = np.maximum.reduceat(np.where(known[:, None], user, -np.inf), start)[instant]
    low = np.minimum.reduceat(np.where(known[:, None], user, np.inf), start)[instant]
    for axis, name in enumerate(USER_POSITION):
        moving = known & (high[:, axis] - low[:, axis] > _SAME_PLACE)
        columns.refuse(
            moving,
            name,
            "must be the same in all rows of an instant",
            user[:, axis],
            "observations are of one user",
        )


def _repeats(instant: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Tell rows that repeat an earlier row of the same instant in every number."""
    rows = np.ascontiguousarray(np.c_[instant, np.nan_to_num(values)])
    _, first = np.unique(rows, axis=0, return_index=True)
    repeated = np.ones(len(rows), dtype=bool)
    repeated[first] = False
    return repeated
