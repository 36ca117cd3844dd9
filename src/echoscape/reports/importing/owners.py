"""Whose rows are whose: poses, stations, positions and times of a table of paths.

Takes columns that claim numbers, names and positions.
Gives `Owners`: report, station, position and time of every row.
"""

import dataclasses
import datetime

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.reports.importing.column_names import UNITS
from echoscape.reports.importing.geodesy import local_metres

_STILL = 1e-6  # positions that differ by less are one [m]


@dataclasses.dataclass(frozen=True)
class Owners:
    """What every row belongs to."""

    report: Int[np.ndarray, " row"]
    """Number of the report."""
    station: Int[np.ndarray, " row"]
    """Which of `names`."""
    names: tuple[str, ...]
    """Names of the stations."""
    station_position: Float[np.ndarray, "station 3"]
    """Where the stations are [m]."""
    position: Float[np.ndarray, "row 3"]
    """Where the user was [m]."""
    time: Float[np.ndarray, " row"]
    """When [s]."""
    source: str = ""
    """What refusals call the table."""

    def place(self, row: int) -> str:
        """Say where a row is."""
        return f"{self.source}: pose {self.report[row]} has row {row + 1}, which"


def find_owners(columns) -> Owners:
    """Gather rows by pose and station; numbers that contradict the positions are no poses."""
    position, station_position = _positions(columns)
    time = _time(columns)
    station, names, places = _stations(columns, station_position)
    report = _reports(columns, position, time, station)
    return Owners(report, station, names, places, position, time, columns.source)


def _positions(columns) -> tuple[np.ndarray, np.ndarray]:
    geographic = [columns.one(f"{end}_latitude") for end in ("user", "station")]
    if any(geographic):
        return _geographic(columns)
    found = []
    for end in ("user", "station"):
        axes = [columns.one(f"{end}_{axis}") for axis in "xyz"]
        for axis, name in zip("xy", axes):
            if name is None:
                raise InputError(
                    f"{columns.source} has no column for {end} position {axis} [m]; it has "
                    f"{', '.join(list(columns.values)[:14])}; state one by --column "
                    f"NAME={end}_{axis}"
                )
        place = np.zeros((columns.rows, 3))
        units = []
        for k, name in enumerate(axes):
            if name is None:
                continue
            unit = columns.claims[name].unit or "m"
            place[:, k] = columns.numbers(name) * UNITS["length"][unit]
            units.append(unit)
        bad = ~np.isfinite(place).all(axis=1)
        if bad.any():
            raise InputError(
                f"{columns.source}: row {int(np.argmax(bad)) + 1} lacks {end} position [m]; add it"
            )
        columns.note(
            f"{end}_position",
            f"{', '.join(name for name in axes if name)} [{units[0]}]"
            + ("" if axes[2] else "; height zero"),
        )
        found.append(place)
    return found[0], found[1]


def _geographic(columns) -> tuple[np.ndarray, np.ndarray]:
    """Project latitude, longitude and height to metres east and north of the first station."""
    places = []
    for end in ("user", "station"):
        names = [columns.one(f"{end}_{part}") for part in ("latitude", "longitude", "z")]
        if names[0] is None or names[1] is None:
            raise InputError(
                f"{columns.source} has latitude and longitude of one end only; both ends need "
                "them, or both need x and y in metres"
            )
        parts = [np.zeros(columns.rows) if n is None else columns.numbers(n) for n in names]
        places.append(np.stack(parts, axis=1))
    origin = places[1][0]
    columns.note(
        "positions",
        f"latitude and longitude, as metres east and north of ({origin[0]:.6f}, {origin[1]:.6f})",
    )
    return local_metres(places[0], origin), local_metres(places[1], origin)


def _time(columns) -> np.ndarray:
    name = columns.one("time")
    if name is None:
        return np.zeros(columns.rows)
    values = columns.values[name]
    if values.dtype.kind == "M":
        columns.note("time", f"{name}, dates: seconds since 1970 UTC")
        return values.astype("datetime64[us]").astype(np.int64) / 1e6
    if values.dtype.kind not in "fiub":
        stamps = []
        for row, each in enumerate(values):
            try:
                stamps.append(_seconds(str(each)))
            except ValueError:
                raise InputError(
                    f"{columns.source}: column {name!r} must hold times, in seconds or as "
                    f"2026-03-01T12:00:00Z (ISO 8601), but row {row + 1} has {str(each)[:40]!r}; "
                    f"write them so, or leave the column out by --column '{name}=ignore'"
                ) from None
        columns.note("time", f"{name}, dates: seconds since 1970 UTC")
        return np.array(stamps)
    numbers = np.nan_to_num(columns.numbers(name))
    unit, factor = columns.claims[name].unit, 1.0
    if unit:
        factor = UNITS["delay"][unit]
    else:  # seconds since 1970 stay below 1e11 until the year 5138
        for limit, each in ((1e17, "ns"), (1e14, "us"), (1e11, "ms")):
            if np.abs(numbers).max(initial=0.0) > limit:
                unit, factor = each, UNITS["delay"][each]
                break
    columns.note("time", f"{name} [{unit or 's'}]")
    return numbers * factor


def _seconds(text: str) -> float:
    stamp = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=datetime.UTC)
    return stamp.timestamp()


def _codes(values: np.ndarray) -> tuple[np.ndarray, list]:
    """Give distinct values numbers by first appearance."""
    keys = values if values.dtype.kind in "fiubM" else values.astype(str)
    distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place[np.ravel(inverse)], [distinct[k] for k in order]


def _stations(columns, position) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    name = columns.one("station")
    if name is not None:
        code, distinct = _codes(columns.values[name])
        given = [_name(each) for each in distinct]
    else:
        _, first, code = np.unique(
            np.round(position / 1e-4), axis=0, return_index=True, return_inverse=True
        )
        order = np.argsort(first, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        code = place[np.ravel(code)]
        given = ["bs"] if len(order) == 1 else [f"bs-{k}" for k in range(len(order))]
    count = len(given)
    first = np.array([int(np.argmax(code == k)) for k in range(count)])
    places = position[first]
    moved = np.abs(position - places[code]).max(axis=1) > 1e-4
    if moved.any():
        row = int(np.argmax(moved))
        raise InputError(
            f"{columns.source}: station {given[code[row]]!r} stands at another place in row "
            f"{row + 1} than in its first; give each place its own name, or leave the column out "
            f"by --column '{name}=ignore'"
        )
    chosen = columns.choices.station
    if chosen and len(chosen) != count:
        raise InputError(
            f"{len(chosen)} names of stations came for {count} stations of {columns.source}: "
            f"{', '.join(given[:6])}"
        )
    columns.note("station", f"{name or 'by position'}: {', '.join((chosen or given)[:6])}")
    return code, tuple(chosen or given), places


def _name(value) -> str:
    text = str(value)
    number = text[:-2] if text.endswith(".0") else text
    return f"bs-{number}" if number.lstrip("-").isdigit() else text


def _constant(code: np.ndarray, values: np.ndarray) -> bool:
    """Tell whether rows of one code agree on their values."""
    order = np.argsort(code, kind="stable")
    same = np.diff(code[order]) == 0
    step = np.abs(np.diff(values[order], axis=0)).max(axis=1)
    return not (step[same] > _STILL).any()


def _reports(columns, position, time, station) -> np.ndarray:
    """Give each row its report: by what is called so if positions agree, else by position."""
    place = np.c_[position, time]
    for quantity in ("pose", "user", "number"):
        name = columns.one(quantity)
        if name is None:
            continue
        values = columns.values[name]
        code, distinct = _codes(values)
        if quantity == "pose" and not columns.claims[name].stated and len(distinct) == 1:
            continue
        if not _constant(code, place):
            if quantity == "pose" and _constant(code, np.c_[time]):
                order = np.argsort(code, kind="stable")
                moved = np.abs(np.diff(position[order], axis=0)).max(axis=1) > _STILL
                row = int(order[1:][moved & (np.diff(code[order]) == 0)][0])
                raise InputError(
                    f"{columns.source}: row {row + 1} has another user position than the rows of "
                    f"its pose before; give each pose its own number, or leave the column out by "
                    f"--column '{name}=ignore'"
                )
            columns.note(name, "changes within a place: not the number of a pose")
            continue
        whole = values.dtype.kind in "iu" or (
            values.dtype.kind == "f" and np.all(values == np.floor(values))
        )
        columns.note("pose", name if whole else f"{name}, numbered from 0")
        return values.astype(np.int64) if whole else code
    _, first, code = np.unique(
        np.round(place / _STILL), axis=0, return_index=True, return_inverse=True
    )
    turn = np.empty(len(first), np.int64)
    turn[np.argsort(first, kind="stable")] = np.arange(len(first))
    columns.note("pose", "by position and time")
    return turn[np.ravel(code)]
