"""Finding what a store holds: by station, source, time and area.

Takes what to look for.
Gives `Reports`, `Echoes`, `Observations`, columns of fixes, and counts.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from echoscape.checks import InputError, unknown_name
from echoscape.reports.echo import Echoes
from echoscape.reports.observation import Observations
from echoscape.reports.report import Reports
from echoscape.store.append import CELL_EDGE, cell_of
from echoscape.store.database import Store
from echoscape.store.packing import unpack
from echoscape.store.tables import (
    APPENDED,
    ECHOES,
    FILES,
    FIXES,
    MAPS,
    OBSERVATIONS,
    REPORTS,
    SOURCES,
    STATIONS,
)

_MOST_COLUMNS = 400  # of cells: a wider area is looked up by its coordinates alone

Numbers = Sequence[float | int]


def find_reports(
    store: Store,
    *,
    station: str | None = None,
    source: str | None = None,
    time: Numbers | None = None,
    area: Numbers | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Reports:
    """Find reports; each is numbered as the store numbers it.

    Args:
        store: Where.
        station: Name of the station; all if not given.
        source: Where they came from; all if not given.
        time: First and last time, both included [s].
        area: West, south, east and north edge, included [m].
        after: Only reports that were kept after the one of this number.
        limit: At most so many, the first that were kept.

    Raises:
        InputError: No station or source has this name, nothing was found, or a span is reversed.
    """
    with store.reading() as connection:
        chosen = _where(connection, REPORTS, station, source, time)
        chosen += _within(area)
        if after:
            chosen.append(REPORTS.c.id > after)
        # sorted after they are found: a plain order by number makes SQLite read every row
        order = REPORTS.c.id if area is None else REPORTS.c.id + 0
        query = sa.select(REPORTS).where(*chosen).order_by(order).limit(limit)
        rows = connection.execute(query).all()
        names = _names(connection)
    if not rows:
        raise InputError(f"{store} holds no reports of that station, source, time and area")
    code, station_names, place = _stations(names, [row.station for row in rows])
    return Reports(
        estimates=unpack([row.paths for row in rows]),
        position=np.array([(row.x, row.y, row.z) for row in rows], dtype=float),
        position_std=np.array([row.position_std for row in rows], dtype=float),
        time=np.array([row.time for row in rows], dtype=float),
        report=np.array([row.id for row in rows], dtype=np.int64),
        station_index=code,
        station_position=place,
        station=station_names,
    )


def find_echoes(
    store: Store,
    *,
    station: str | None = None,
    source: str | None = None,
    time: Numbers | None = None,
    limit: int | None = None,
) -> Echoes:
    """Find sets of echoes, numbered as their sender numbered the targets; see `find_reports`."""
    with store.reading() as connection:
        chosen = _where(connection, ECHOES, station, source, time)
        rows = connection.execute(
            sa.select(ECHOES).where(*chosen).order_by(ECHOES.c.id).limit(limit)
        ).all()
        names = _names(connection)
    if not rows:
        raise InputError(f"{store} holds no echoes of that station, source and time")
    both = [row.station for row in rows] + [row.sender for row in rows]
    code, station_names, _ = _stations(names, both)
    received, sent = code[: len(rows)], code[len(rows) :]
    return Echoes(
        estimates=unpack([row.paths for row in rows]),
        target=np.array([row.number for row in rows], dtype=np.int64),
        time=np.array([row.time for row in rows], dtype=float),
        station_index=received,
        station=station_names,
        sender_index=None if np.array_equal(received, sent) else sent,
    )


def find_observations(store: Store, source: str, *, time: Numbers | None = None) -> Observations:
    """Find what was measured on one walk, in the order of time."""
    with store.reading() as connection:
        chosen = _where(connection, OBSERVATIONS, None, source, time)
        rows = connection.execute(
            sa.select(OBSERVATIONS).where(*chosen).order_by(OBSERVATIONS.c.time)
        ).all()
    if not rows:
        raise InputError(f"{store} holds no observations of that source and time")
    paths = unpack([row.paths for row in rows])
    known = np.array([row.x is not None for row in rows])
    valid = np.asarray(paths.valid)
    number = np.where(valid, np.cumsum(valid).reshape(valid.shape) - 1, -1)
    return Observations(
        estimates=paths,
        time=np.array([row.time for row in rows], dtype=float),
        user_position=np.array(
            [(row.x, row.y, row.z) if row.x is not None else (0.0, 0.0, 0.0) for row in rows]
        ),
        user_known=known,
        row=number,
    )


def newest_report(store: Store) -> int:
    """Give the number of the report that was kept last; 0 in an empty store."""
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.max(REPORTS.c.id))) or 0


def find_fixes(
    store: Store, *, time: Numbers | None = None, limit: int | None = None
) -> dict[str, np.ndarray]:
    """Find fixes, as the columns of a table of fixes with time and source.

    Args:
        store: Where.
        time: First and last time, both included [s].
        limit: At most so many, those that were kept last.
    """
    from echoscape.reports.schema import COVARIANCE, POSITION

    with store.reading() as connection:
        chosen = _where(connection, FIXES, None, None, time)
        rows = connection.execute(
            sa.select(FIXES, SOURCES.c.name.label("from"))
            .join(SOURCES, SOURCES.c.id == FIXES.c.source)
            .where(*chosen)
            .order_by(FIXES.c.id.desc())
            .limit(limit)
        ).all()[::-1]
    found: dict[str, Any] = {
        "target": np.array([row.number for row in rows], dtype=np.int64),
        "status": np.array([row.status for row in rows]),
        "time": np.array([row.time for row in rows], dtype=float),
        "source": np.array([row._mapping["from"] for row in rows]),
    }
    for name in (*POSITION, *COVARIANCE):
        found[name] = np.array([getattr(row, name) for row in rows], dtype=float)
    return found


def count_rows(store: Store) -> dict[str, int]:
    """Count the rows of every table."""
    with store.reading() as connection:
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in (*APPENDED, STATIONS, SOURCES, MAPS, FILES)
        }


@dataclasses.dataclass(frozen=True)
class StationSpan:
    """How many reports of a station a store holds, and from when."""

    station: str
    """Its name."""
    count: int
    """How many reports."""
    first: float
    """Time of the earliest [s]."""
    last: float
    """Time of the latest [s]."""


def station_spans(store: Store) -> list[StationSpan]:
    """Count the reports of every station, and give their span of time."""
    time = REPORTS.c.time
    with store.reading() as connection:
        rows = connection.execute(
            sa.select(STATIONS.c.name, sa.func.count(), sa.func.min(time), sa.func.max(time))
            .join(STATIONS, STATIONS.c.id == REPORTS.c.station)
            .group_by(STATIONS.c.name)
            .order_by(STATIONS.c.name)
        ).all()
    return [StationSpan(*row) for row in rows]


def _where(
    connection: sa.Connection,
    table: sa.Table,
    station: str | None,
    source: str | None,
    time: Numbers | None,
) -> list[sa.ColumnElement[bool]]:
    chosen: list[sa.ColumnElement[bool]] = []
    for noun, name, names in (("station", station, STATIONS), ("source", source, SOURCES)):
        if name is not None:
            number = connection.scalar(sa.select(names.c.id).where(names.c.name == name))
            if number is None:
                known = connection.scalars(sa.select(names.c.name)).all()
                raise unknown_name(f"{noun} of the store", name, known)
            chosen.append(table.c[noun] == number)
    if time is not None:
        if not time[0] <= time[1]:
            raise InputError(f"a span of time needs its first time [s] first; got {time}")
        chosen += [table.c.time >= float(time[0]), table.c.time <= float(time[1])]
    return chosen


def _within(area: Numbers | None) -> list[sa.ColumnElement[bool]]:
    """Say where reports of an area are: in which runs of cells, and between which edges."""
    if area is None:
        return []
    west, south, east, north = (float(edge) for edge in area)
    if not (west <= east and south <= north):
        raise InputError(f"an area needs west, south, east, north [m] in this order; got {area}")
    x, y = REPORTS.c.x, REPORTS.c.y
    chosen: list[sa.ColumnElement[bool]] = [x >= west, x <= east, y >= south, y <= north]
    low, top = cell_of(np.array([west, west]), np.array([south, north])).tolist()
    step = int(np.diff(cell_of(np.array([0.0, CELL_EDGE]), np.zeros(2)))[0])
    columns = (int(cell_of(np.array([east]), np.array([south]))[0]) - low) // step + 1
    if columns <= _MOST_COLUMNS:
        runs = [REPORTS.c.cell.between(low + i * step, top + i * step) for i in range(columns)]
        chosen.append(sa.or_(*runs))
    return chosen


def _names(connection: sa.Connection) -> dict[int, tuple[str, tuple[float | None, ...]]]:
    rows = connection.execute(sa.select(STATIONS)).all()
    return {row.id: (row.name, (row.x, row.y, row.z)) for row in rows}


def _stations(
    names: dict[int, tuple[str, tuple[float | None, ...]]], numbers: Sequence[int]
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    used, code = np.unique(np.asarray(numbers, dtype=np.int64), return_inverse=True)
    every = [names[number] for number in used.tolist()]
    place = np.array([at for _, at in every], dtype=float).reshape(-1, 3)
    return code.astype(np.int64), tuple(name for name, _ in every), place
