"""Reports and echoes as tables: one row per path or echo.

The columns are those of `echoscape.reports.schema`, described in ``docs/formats.md``.

Takes Parquet or CSV files.
Gives `Reports` and `Echoes`, checked; and writes them back.
"""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa

from echoscape.checks import InputError, unknown_name
from echoscape.display import expect
from echoscape.propagation.path import Paths
from echoscape.reports.columns import LONGEST_DELAY, Columns
from echoscape.reports.echo import Echoes
from echoscape.reports.files import read_table, write_table
from echoscape.reports.report import Reports
from echoscape.reports.rows import Sets, flatten
from echoscape.reports.schema import (
    ANGLES,
    DEVIATIONS,
    ECHOES,
    POSITION,
    REPORTS,
    STATION_POSITION,
)
from echoscape.scene import Site
from echoscape.units import delay_of

_SHORTEST_LIMIT = delay_of(10e3)
"""However near the users are, a path of 10 km is never called unphysical [s]."""


def read_reports(path: str | Path, site: Site | None = None) -> Reports:
    """Read users' reports from a Parquet or CSV file.

    Args:
        path: The file; see ``docs/formats.md``.
        site: Places the stations where the file does not.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file or one of its values cannot be used; the message says how to repair it.

    Warns:
        GeometryWarning: Direct paths do not agree with the positions; see `check_geometry`.
    """
    from echoscape.reports.geometry import warn_of_findings

    return warn_of_findings(load_reports(path, site))


def load_reports(path: str | Path, site: Site | None = None) -> Reports:
    """Read reports like `read_reports`, and leave it to the caller to check their geometry."""
    return reports_from_table(read_table(path, REPORTS), site, str(path))


def reports_from_table(table: pa.Table, site: Site | None = None, source: str = "table") -> Reports:
    """Make reports of an Arrow table with the columns of `REPORTS`.

    Args:
        table: One row per path.
        site: Places the stations where the table does not.
        source: What refusals call the table.
    """
    expect(table, pa.Table, "reports_from_table")
    columns = Columns(table, REPORTS, source)
    code, station = columns.text("station")
    station_position = _station_position(columns, code, station, site)
    position = np.stack([columns.finite(name) for name in POSITION], axis=-1)
    position_std = columns.finite("position_std", fill=0.0)
    columns.refuse(position_std < 0, "position_std", "must not be negative", position_std)
    bounds = np.zeros((0, 3)) if site is None else np.asarray(site.bounds)
    places = np.concatenate([position, station_position, bounds])
    extent = math.hypot(*np.ptp(places, axis=0).tolist())
    longest = min(max(delay_of(50 * extent), _SHORTEST_LIMIT), LONGEST_DELAY)
    cells = path_cells(columns, longest)
    needed = ("departure_azimuth", "departure_zenith", "delay", "power")
    present = rows_with_path(columns, cells, needed)
    rank = _rank(columns, present, cells["power"])
    time = columns.finite("time", fill=0.0)
    sets = Sets(columns, code, present, rank)
    sets.constant(position, "position", across_stations=True)
    sets.constant(time[:, None], "time")
    sets.constant(position_std[:, None], "position_std")
    for name in DEVIATIONS:
        measured = ~np.isnan(cells[name.removesuffix("_std")])
        cells[name] = np.where(measured, np.nan_to_num(columns.deviation(name), posinf=np.inf), 0)
    first = sets.first
    return Reports(
        estimates=_estimates(cells, sets),
        position=position[first],
        position_std=position_std[first],
        time=time[first],
        report=columns.number[first],
        station_index=code[first],
        station_position=station_position,
        station=station,
    )


def write_reports(reports: Reports, path: str | Path) -> None:
    """Write reports as Parquet or CSV, by the suffix of `path`."""
    expect(reports, Reports, "write_reports")
    write_table(table_from_reports(reports), path, REPORTS)


def table_from_reports(reports: Reports) -> pa.Table:
    """Make an Arrow table of reports, one row per path and one per outage."""
    owner, slot = flatten(reports.estimates.valid)
    station = reports.station_index[owner]
    columns = {
        "report": reports.report[owner],
        "station": _names(reports.station, station),
        **dict(zip(STATION_POSITION, reports.station_position[station].T)),
        "time": reports.time[owner],
        **dict(zip(POSITION, reports.position[owner].T)),
        "position_std": reports.position_std[owner],
        "path": pa.array(_rank_in_set(owner), mask=slot < 0),
        **_columns(reports.estimates, owner, slot),
    }
    return pa.table(columns)


def read_echoes(
    path: str | Path, angle_std: float | None = None, delay_std: float | None = None
) -> Echoes:
    """Read echoes from a Parquet or CSV file.

    A target of which nothing was heard is one row with empty echo columns.

    Args:
        path: The file; see ``docs/formats.md``.
        angle_std: Standard deviation of angles that the file gives none for [rad].
        delay_std: Standard deviation of delays that the file gives none for [s].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file or one of its values cannot be used; the message says how to repair it.
    """
    return echoes_from_table(read_table(path, ECHOES), angle_std, delay_std, str(path))


def echoes_from_table(
    table: pa.Table,
    angle_std: float | None = None,
    delay_std: float | None = None,
    source: str = "table",
) -> Echoes:
    """Make echoes of an Arrow table with the columns of `ECHOES`; see `read_echoes`."""
    expect(table, pa.Table, "echoes_from_table")
    columns = Columns(table, ECHOES, source)
    code, sender, station = _ways(columns)
    cells = path_cells(columns)
    present = rows_with_path(columns, cells, (*ANGLES, "delay", "power"))
    time = columns.finite("time", fill=0.0)
    sets = Sets(columns, code if sender is None else code + len(station) * sender, present, None)
    sets.constant(time[:, None], "time")
    for name in DEVIATIONS:
        default, option = (delay_std, "delay_std") if "delay" in name else (angle_std, "angle_std")
        values = columns.deviation(name)
        if default is not None:
            values = np.where(np.isnan(values), default, values)
        missing = present & ~(values > 0)
        if missing.any():
            row = int(np.argmax(missing))
            raise InputError(
                f"{source}: every echo needs its error, a column {name!r} {ECHOES[name].unit} "
                f"above zero, but {columns.place(row)} has "
                f"{'none' if np.isnan(values[row]) else values[row]}; fill it or state one error "
                f"for all by {option}"
            )
        cells[name] = values
    return Echoes(
        estimates=_estimates(cells, sets),
        target=columns.number[sets.first],
        time=time[sets.first],
        station_index=code[sets.first],
        station=station,
        sender_index=None if sender is None else sender[sets.first],
    )


def _ways(columns: Columns) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Read who heard each row and, where another station sent it, who did."""
    code, station = columns.text("station")
    if not columns.has("sender"):
        return code, None, station
    given, names = columns.text("sender", optional=True)
    every = tuple(dict.fromkeys(station + names))
    place = np.array([every.index(name) for name in names], dtype=np.int64)
    sender = np.where(given < 0, code, place[given] if len(names) else code)
    return code, None if np.array_equal(sender, code) else sender, every


def write_echoes(echoes: Echoes, path: str | Path) -> None:
    """Write echoes as Parquet or CSV, by the suffix of `path`."""
    expect(echoes, Echoes, "write_echoes")
    write_table(table_from_echoes(echoes), path, ECHOES)


def table_from_echoes(echoes: Echoes) -> pa.Table:
    """Make an Arrow table of echoes, one row per echo and one per target that gave none."""
    owner, slot = flatten(echoes.estimates.valid)
    columns = {
        "target": echoes.target[owner],
        "station": _names(echoes.station, echoes.station_index[owner]),
        **(
            {}
            if echoes.sender_index is None
            else {"sender": _names(echoes.station, echoes.sender_index[owner])}
        ),
        "time": echoes.time[owner],
        **_columns(echoes.estimates, owner, slot),
    }
    return pa.table(columns)


def path_cells(columns: Columns, longest: float = LONGEST_DELAY) -> dict[str, np.ndarray]:
    """Take angles, delay up to the longest [s], and power of every row; NaN where empty."""
    cells = {
        name: columns.azimuth(name) if name.endswith("azimuth") else columns.zenith(name)
        for name in ANGLES
    }
    cells["delay"] = columns.delay("delay", longest)
    cells["power"] = columns.power("power")
    return cells


def rows_with_path(
    columns: Columns, cells: dict[str, np.ndarray], needed: tuple[str, ...]
) -> np.ndarray:
    """Tell rows with a path from those that say there is none; refuse what is neither."""
    filled = np.stack([~np.isnan(cells[name]) for name in needed])
    stated = np.zeros(len(columns.table), dtype=bool)
    for values in cells.values():
        stated |= ~np.isnan(values)
    if columns.schema is REPORTS and columns.has("path"):
        stated |= ~columns.table["path"].is_null().to_numpy()
    for name, has in zip(needed, filled):
        columns.refuse(
            stated & ~has, name, "must be filled unless every column of the path is left empty"
        )
    return stated


def _rank(columns: Columns, present: np.ndarray, power: np.ndarray) -> np.ndarray | None:
    """Order the paths by number where the file has numbers, by falling power otherwise."""
    if not columns.has("path"):
        return -np.nan_to_num(power)
    number = columns.integer("path", fill=-1)
    empty = columns.table["path"].is_null().to_numpy()
    columns.refuse(present & empty, "path", "must be numbered in every row or in none")
    columns.refuse(~empty & (number < 0), "path", "must not be negative", number)
    return number


def _station_position(
    columns: Columns, code: np.ndarray, station: tuple[str, ...], site: Site | None
) -> np.ndarray:
    known = [name in columns.table.column_names for name in STATION_POSITION]
    placed = {}
    if site is not None:
        placed = dict(zip(site.station, np.asarray(site.station_position, dtype=np.float64)))
    if not any(known):
        if site is None:
            raise InputError(
                f"{columns.source} has no columns {', '.join(STATION_POSITION)} [m]; add them or "
                "place the stations by a site file (--site SITE.toml)"
            )
        for name in station:
            if name not in placed:
                raise InputError(
                    f"{columns.source}: {unknown_name('station of the site', name, placed)}"
                )
        return np.stack([placed[name] for name in station])
    if not all(known):
        lacking = STATION_POSITION[known.index(False)]
        raise InputError(f"{columns.source} has no column {lacking!r} [m]; all three are needed")
    rows = np.stack([columns.finite(name) for name in STATION_POSITION], axis=-1)
    first = np.unique(code, return_index=True)[1]
    moved = np.abs(rows - rows[first][code]).max(axis=-1) > 1e-3
    if moved.any():
        row = int(np.argmax(moved))
        raise InputError(
            f"{columns.source}: station {station[code[row]]!r} must stand still, but "
            f"{columns.place(row)} has it {np.linalg.norm(rows[row] - rows[first[code[row]]]):.4g} "
            "m from its first position; give each place its own station name"
        )
    for name, position in zip(station, rows[first]):
        if name in placed and np.abs(placed[name] - position).max() > 1e-2:
            raise InputError(
                f"station {name!r} is at {_point(position)} m in {columns.source} and at "
                f"{_point(placed[name])} m in the site; leave one out or make them agree"
            )
    return rows[first]


def _estimates(cells: dict[str, np.ndarray], sets: Sets) -> Paths:
    """Pad the cells; a value that was not measured becomes zero with infinite deviation."""
    for name in DEVIATIONS:
        value = name.removesuffix("_std")
        cells[name] = np.where(np.isnan(cells[value]), math.inf, cells[name])
    for name in (*ANGLES, "delay", "power"):
        cells[name] = np.nan_to_num(cells[name])
    return Paths.from_delays(
        **{name: sets.padded(values) for name, values in cells.items()}, valid=sets.valid
    )


def _columns(estimates: Paths, owner: np.ndarray, slot: np.ndarray) -> dict[str, pa.Array]:
    """Flatten estimates to columns; empty where there is no path or nothing was measured."""
    absent = slot < 0
    columns = {}
    for name in (*ANGLES, "delay", "power", *DEVIATIONS):
        values = np.asarray(getattr(estimates, name), dtype=np.float64)[owner, slot]
        empty = absent
        if name.startswith("arrival"):
            deviation = name if name.endswith("_std") else f"{name}_std"
            empty = absent | np.isinf(np.asarray(getattr(estimates, deviation))[owner, slot])
        columns[name] = pa.array(values, mask=empty)
    return columns


def _names(names: tuple[str, ...], code: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array(code.astype(np.int32)), pa.array(names, pa.string())
    ).cast(pa.string())


def _rank_in_set(owner: np.ndarray) -> np.ndarray:
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return np.arange(len(owner)) - np.repeat(starts, np.diff(starts, append=len(owner)))


def _point(position: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in position) + ")"
