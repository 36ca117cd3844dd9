"""Appending to a store: a batch is kept as a whole, and sending it twice keeps it once.

Takes `Reports`, `Echoes`, `Observations` and columns of fixes, all checked when they were made.
Gives how many rows were new.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from echoscape.checks import InputError
from echoscape.display import expect
from echoscape.reports.echo import Echoes
from echoscape.reports.observation import Observations
from echoscape.reports.report import Reports
from echoscape.store.checksum import checksum_of
from echoscape.store.database import Store, insert_new
from echoscape.store.packing import content_keys, pack
from echoscape.store.privacy import forget
from echoscape.store.tables import ECHOES, FIXES, OBSERVATIONS, REPORTS, SOURCES, STATIONS

CELL_EDGE = 32.0
"""Edge of the squares of the ground by which reports are found [m]."""
_CHUNK = 20_000  # rows handed to the database at once
_MOVED = 1e-3  # [m]: a station further away than this is another station
_HALF = 2**30  # cells west or south of the origin


class Added(NamedTuple):
    """What became of a batch."""

    new: int
    """Rows that were not there before."""
    repeated: int
    """Rows that were, and stand only once."""


def cell_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the number of the squares of the ground that places [m] are in; column by column."""
    column, row = np.floor(np.asarray(x) / CELL_EDGE), np.floor(np.asarray(y) / CELL_EDGE)
    if (np.abs(column) >= _HALF).any() or (np.abs(row) >= _HALF).any():
        raise InputError(f"places of users reach to {_HALF * CELL_EDGE:.3g} m from the origin")
    return (column.astype(np.int64) + _HALF) * 2 * _HALF + row.astype(np.int64) + _HALF


def add_reports(
    store: Store, reports: Reports, source: str, keys: Sequence[bytes] | None = None
) -> Added:
    """Append reports.

    Args:
        store: Where.
        reports: What.
        source: Where they come from.
        keys: 16 bytes for each report, where a sender names its reports itself; a digest of their
            content if not given.

    Raises:
        InputError: A station stands elsewhere in the store; nothing was kept.
    """
    expect(reports, Reports, "add_reports")
    station = np.asarray(reports.station, dtype=object)[reports.station_index]
    cells, contents = pack(reports.estimates)
    if keys is None:
        own = {
            "time": reports.time, "number": reports.report, "std": reports.position_std,
            **{axis: reports.position[:, i] for i, axis in enumerate("xyz")},
        }  # fmt: skip
        keys = content_keys(store.secret, own, list(station), contents)
    kept = forget(reports, store.privacy)
    number = np.zeros(len(kept), int) if store.privacy.anonymous else np.asarray(kept.report)
    with store.writing() as connection:
        at = dict(zip(reports.station, np.asarray(reports.station_position, float)))
        codes = _station_codes(connection, at)
        columns = {
            "number": number.tolist(),
            "station": [codes[name] for name in station],
            "source": [source_code(connection, source)] * len(kept),
            "time": _listed(kept.time),
            **{axis: _listed(kept.position[:, i]) for i, axis in enumerate("xyz")},
            "position_std": _listed(kept.position_std),
            "cell": cell_of(kept.position[:, 0], kept.position[:, 1]).tolist(),
            "paths": cells,
        }
        return _append(connection, REPORTS, keys, columns)


def add_echoes(store: Store, echoes: Echoes, source: str) -> Added:
    """Append sets of echoes; see `add_reports`."""
    expect(echoes, Echoes, "add_echoes")
    names = np.asarray(echoes.station, dtype=object)
    station, sender = names[echoes.station_index], names[echoes.sender]
    cells, contents = pack(echoes.estimates)
    own = {"time": echoes.time, "number": echoes.target}
    way = [f"{out}\0{back}" for out, back in zip(sender, station)]
    keys = content_keys(store.secret, own, way, contents)
    with store.writing() as connection:
        codes = _station_codes(connection, dict.fromkeys(echoes.station))
        columns = {
            "number": np.asarray(echoes.target).tolist(),
            "station": [codes[name] for name in station],
            "sender": [codes[name] for name in sender],
            "source": [source_code(connection, source)] * len(echoes),
            "time": _listed(echoes.time),
            "paths": cells,
        }
        return _append(connection, ECHOES, keys, columns)


def add_observations(
    store: Store, observations: Observations, source: str, station: str = "station"
) -> Added:
    """Append what one user's receiver measured; each walk is a source of its own.

    Args:
        store: Where.
        observations: What.
        source: Name of the walk.
        station: Name of the station that was received.
    """
    expect(observations, Observations, "add_observations")
    cells, contents = pack(observations.estimates)
    known = np.asarray(observations.user_known)
    place = np.where(known[:, None], np.asarray(observations.user_position, float), np.nan)
    own = {"time": observations.time, **{axis: place[:, i] for i, axis in enumerate("xyz")}}
    names = [f"{source}\0{station}"] * len(known)
    keys = content_keys(store.secret, own, names, contents)
    with store.writing() as connection:
        codes = _station_codes(connection, {station: None})
        columns = {
            "station": [codes[station]] * len(known),
            "source": [source_code(connection, source)] * len(known),
            "time": _listed(observations.time),
            **{axis: _optional(place[:, i]) for i, axis in enumerate("xyz")},
            "paths": cells,
        }
        return _append(connection, OBSERVATIONS, keys, columns)


def add_fixes(
    store: Store, columns: Mapping[str, Any], source: str, time: float, map_id: int | None = None
) -> Added:
    """Append fixes, the first place of each target of which anything was heard.

    Args:
        store: Where.
        columns: As `read_fixes` gives them.
        source: Where the measurements come from.
        time: When they were made [s].
        map_id: Number of the map's version that located them.
    """
    from echoscape.reports.schema import COVARIANCE

    count = len(columns["target"])
    rank = np.asarray(columns.get("rank", np.zeros(count, int)))
    status = np.asarray(columns["status"]).astype(str)
    first = (rank == 0) & (status != "no_echo")
    where = {name: np.asarray(columns[name], float)[first] for name in ("x", "y", "z")}
    lacking = np.full(count, np.nan)
    covariance = {name: np.asarray(columns.get(name, lacking), float)[first] for name in COVARIANCE}
    number = np.asarray(columns["target"])[first]
    count = len(number)
    own = {"number": number, "time": np.full(count, time), **where, **covariance}
    keys = content_keys(store.secret, own, [f"{source}\0{map_id}"] * count, [b""] * count)
    with store.writing() as connection:
        rows = {
            "number": number.tolist(),
            "source": [source_code(connection, source)] * count,
            "map": [map_id] * count,
            "time": _listed(np.full(count, time)),
            "status": status[first].tolist(),
            **{name: _listed(values) for name, values in where.items()},
            **{name: _optional(values) for name, values in covariance.items()},
        }
        return _append(connection, FIXES, keys, rows)


def _listed(values: np.ndarray) -> list[float]:
    return (np.asarray(values, float) + 0.0).tolist()  # SQLite keeps no sign of a zero


def _optional(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in _listed(values)]


def _append(
    connection: sa.Connection, table: sa.Table, keys: Sequence[bytes], columns: dict[str, list]
) -> Added:
    if len(set(map(len, keys)) - {16}):
        raise InputError("keys of rows have 16 bytes each; got another length")
    if len(keys) != len(next(iter(columns.values()))):
        raise InputError(
            f"every row needs one key: got {len(keys)} for {len(next(iter(columns.values())))}"
        )
    checksum = checksum_of(table)
    names = ("key", *columns, "checksum")
    rows = [(*cells, checksum(cells)) for cells in zip(keys, *columns.values())]
    new = sum(
        insert_new(connection, table, names, rows[start : start + _CHUNK])
        for start in range(0, len(rows), _CHUNK)
    )
    return Added(new, len(rows) - new)


def source_code(connection: sa.Connection, name: str) -> int:
    """Find the number of a source, and give it one if it is new."""
    query = sa.select(SOURCES.c.id).where(SOURCES.c.name == name)
    found = connection.scalar(query)
    if found is None:
        insert_new(connection, SOURCES, ("name",), [(name,)])
        found = connection.scalar(query)
    assert found is not None
    return found


def _station_codes(
    connection: sa.Connection, places: Mapping[str, np.ndarray | None]
) -> dict[str, int]:
    """Find the numbers of stations, enter new ones, and refuse those that moved."""
    for name, place in places.items():
        at = (None,) * 3 if place is None else place.tolist()
        insert_new(connection, STATIONS, ("name", "x", "y", "z"), [(name, *at)])
    found = connection.execute(sa.select(STATIONS).where(STATIONS.c.name.in_(list(places)))).all()
    for row in found:
        place = places[row.name]
        if place is None:
            continue
        if row.x is None:
            at = dict(zip("xyz", place.tolist()))
            connection.execute(sa.update(STATIONS).where(STATIONS.c.id == row.id).values(**at))
        elif np.abs(np.array([row.x, row.y, row.z]) - place).max() > _MOVED:
            raise InputError(
                f"station {row.name!r} stands at ({row.x:.6g}, {row.y:.6g}, {row.z:.6g}) m in the "
                f"store, but at ({place[0]:.6g}, {place[1]:.6g}, {place[2]:.6g}) m in what came; "
                "give each place its own station name"
            )
    return {row.name: row.id for row in found}
