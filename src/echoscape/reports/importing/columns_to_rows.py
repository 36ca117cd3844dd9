"""Columns with foreign names to paths in SI units: every claim of a name is tested.

Units are tested by magnitude, alternatives (elevation or polar angle; length, delay or distance;
pose or path number) by the geometry of direct paths and by what is constant within a pose.  What
cannot be decided is asked for in one sentence, and what was decided is listed.

Takes columns, one row a path, and what the user stated of them.
Gives `PathRows` and notes: what each column was taken for.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from echoscape.checks import InputError
from echoscape.reports.importing.column_names import UNITS, Meaning, meaning
from echoscape.reports.importing.owners import Owners, find_owners
from echoscape.reports.importing.path_rows import PathRows
from echoscape.reports.importing.powers import power_of
from echoscape.units import length_of, wrap_angle

_LONGEST = 3e5  # a longer path is an error of units [m]
_SHORTEST = 0.3  # paths that are all shorter have another unit [m]
_MOST_TURNED = 20.0  # headings may have been unwrapped over a few turns [rad]
_NEAR = 0.06  # a direct path's direction is known to this, computed or measured [rad]
_LEVEL = math.radians(45)
"""Without direct paths a vertical angle is believed only if most paths are within this of level."""


@dataclasses.dataclass(frozen=True)
class Note:
    """What one quantity was taken from."""

    quantity: str
    """Which quantity."""
    taken: str
    """From which column, in which unit, and why where that was decided."""
    doubt: bool = False
    """Whether something is lost or may be wrong, so that it is told as a warning too."""


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a user may state beside the file."""

    column: Mapping[str, Meaning] = dataclasses.field(default_factory=dict)
    """Meanings of columns."""
    station: tuple[str, ...] = ()
    """Names of the stations."""
    clockwise: bool = False
    """Angles run clockwise from the headings."""
    transmit_power: float | None = None
    """What was sent, for received powers [dBm]."""


class Columns:
    """The columns of one source while they are understood."""

    def __init__(self, values: Mapping[str, np.ndarray], choices: Choices, source: str):
        """Find what each name claims."""
        self.source, self.choices, self.notes = source, choices, []
        self.values = dict(values)
        for name in choices.column:
            if name not in values:
                near = ", ".join(list(values)[:14])
                raise InputError(f"{source} has no column {name!r} to state; it has {near}")
        claims = {name: choices.column.get(name) or meaning(name) for name in values}
        self.claims = {n: c for n, c in claims.items() if c and c.quantity != "ignore"}
        self.rows = len(next(iter(values.values()))) if values else 0

    def named(self, quantity: str) -> list[str]:
        """List the columns that claim a quantity, stated ones alone where there are any."""
        found = [name for name, claim in self.claims.items() if claim.quantity == quantity]
        stated = [name for name in found if self.claims[name].stated]
        return stated or found

    def one(self, quantity: str) -> str | None:
        """Take the only column of a quantity; two are asked about."""
        found = self.named(quantity)
        if len(found) > 1:
            raise InputError(
                f"{self.source} has {found[0]!r} and {found[1]!r}, which both mean "
                f"{quantity.replace('_', ' ')}; leave one out by --column '{found[1]}=ignore'"
            )
        return found[0] if found else None

    def numbers(self, name: str) -> np.ndarray:
        """Take a column of numbers, NaN where empty."""
        values = self.values[name]
        if values.dtype.kind in "fiub":
            return values.astype(np.float64)
        found = np.full(len(values), np.nan)
        for row, text in enumerate(values):
            text = "" if text is None else str(text).strip()
            if not text or text.lower() in ("nan", "none"):
                continue
            try:
                found[row] = float(text.replace(",", ".") if text.count(",") == 1 else text)
            except ValueError:
                raise InputError(
                    f"{self.source}: column {name!r} must hold numbers, but row {row + 1} has "
                    f"{text[:40]!r}; leave unknown cells empty, or leave the column out by "
                    f"--column '{name}=ignore'"
                ) from None
        return found

    def note(self, quantity: str, taken: str, doubt: bool = False) -> None:
        """Remember what a quantity was taken from."""
        self.notes.append(Note(quantity.replace("_", " "), taken, doubt))


def rows_of_columns(
    values: Mapping[str, np.ndarray], choices: Choices, source: str
) -> tuple[PathRows, list[Note]]:
    """Understand columns of one path a row.

    Args:
        values: Columns by name, numbers or text, all of one length.
        choices: What the user stated.
        source: What refusals call them.

    Raises:
        InputError: Something is missing, contradictory or ambiguous; the message says what to do.
    """
    columns = Columns(values, choices, source)
    owners = find_owners(columns)
    away = owners.position - owners.station_position[owners.station]
    distance = np.linalg.norm(away, axis=1)
    present = _present(columns)
    length = _length(columns, owners, distance, present)
    present &= np.isfinite(length)
    angles = _angles(columns, owners, away, distance, length, present)
    power = power_of(columns, present)
    unused = [name for name in values if name not in columns.claims]
    if unused:
        more = ", ..." if len(unused) > 12 else ""
        columns.note("not used", ", ".join(unused[:12]) + more)
    for name in ("departure_azimuth",):
        if np.isnan(angles[name][present]).any():
            raise InputError(
                f"{source} has a path without departure angle [rad]; fill it or leave its row out"
            )
    blank = np.where(present, 0.0, np.nan)
    return PathRows(
        report=owners.report,
        station=owners.station,
        names=owners.names,
        station_position=owners.station_position,
        position=owners.position,
        time=owners.time,
        **{name: each + blank for name, each in angles.items()},
        length=length + blank,
        power=power,
    ), columns.notes


def _present(columns: Columns) -> np.ndarray:
    """Tell rows of paths from padding and outages, where something says so."""
    present = np.ones(columns.rows, bool)
    count, path = columns.one("path_count"), columns.one("path")
    if count and path == "path" and "path" in columns.values:  # of a wide table
        present &= columns.numbers("path") < np.nan_to_num(columns.numbers(count))
    return present


def _length(
    columns: Columns, owners: Owners, distance: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Take lengths from lengths or delays, whichever stands the test."""
    found: dict[str, np.ndarray] = {}
    for quantity, kind in (("length", "length"), ("delay", "delay"), ("excess_delay", "delay")):
        for name in columns.named(quantity):
            values = columns.numbers(name)
            if kind == "delay":
                values = np.where(values == -1, np.nan, values)  # Sionna's mark of no path
            use = present & np.isfinite(values)
            claim = columns.claims[name]
            unit = claim.unit or _unit(columns, name, kind, values[use], distance[use])
            factor = UNITS[kind][unit] * (length_of(1.0) if kind == "delay" else 1.0)
            metres = values * factor
            if quantity == "excess_delay":
                metres = metres + distance
            if quantity == "length" and claim.doubtful and _is_separation(metres, distance, use):
                columns.note("distance", f"{name} [{unit}], of user and station: not needed")
                continue
            found[name] = metres
            columns.note(quantity, f"{name} [{unit}]")
    if not found:
        if _all_outages(columns):
            return np.full(columns.rows, np.nan)
        raise InputError(
            f"{columns.source} has no column for path length [m] or delay [s]; it has "
            f"{', '.join(list(columns.values)[:14])}; state one by --column NAME=delay:ns"
        )
    names = list(found)
    length = found[names[0]]
    for other in names[1:]:
        both = present & np.isfinite(length) & np.isfinite(found[other])
        gap = np.abs(length - found[other])[both]
        if len(gap) and np.quantile(gap / (0.1 + 0.01 * length[both]), 0.9) > 1:
            raise InputError(
                f"{columns.source} has {names[0]!r} and {other!r}, which both mean length but "
                f"do not agree ({length[both][0]:.4g} m and {found[other][both][0]:.4g} m); leave "
                f"one out by --column '{other}=ignore'"
            )
        length = np.where(np.isfinite(length), length, found[other])
    bad = present & ((length < 0) | (length > _LONGEST))
    if bad.any():
        raise InputError(
            f"{owners.place(int(np.argmax(bad)))} has a path of {length[bad][0]:.4g} m; lengths "
            "must lie between 0 and 300 km; state the unit by --column "
            f"'{names[0]}={columns.claims[names[0]].quantity}:UNIT'"
        )
    return length


def _all_outages(columns: Columns) -> bool:
    """Tell a table of outages alone from one of whole links, which have a strength."""
    names = (columns.named(quantity) for quantity in (
        "departure_azimuth", "arrival_azimuth", "power", "path_loss", "received_power", "amplitude",
        "amplitude_real",
    ))  # fmt: skip
    return not any(np.isfinite(columns.numbers(name)).any() for each in names for name in each)


def _is_separation(length: np.ndarray, distance: np.ndarray, use: np.ndarray) -> bool:
    """Tell the distance of user and station, the same for all paths, from a path's length."""
    near = np.abs(length - distance)[use] < 0.01 * distance[use] + 0.05
    return bool(len(near) > 3 and near.all())


def _unit(columns: Columns, name: str, kind: str, values: np.ndarray, distance: np.ndarray) -> str:
    """Find the unit that a name leaves open: the one that is physical."""
    if kind == "length" or not len(values) or not values.max(initial=0.0) > 0:
        return "m" if kind == "length" else "s"
    # Positions in kilometres must not make milliseconds of seconds, which fits them just as well.
    possible = _physical(values, distance) or _physical(values, 1e3 * distance)
    best = max(possible, key=lambda each: possible[each], default="s")
    if best != "s" and len(possible) > 1 and possible[best][0] < 0.02:
        raise InputError(
            f"{columns.source}: the unit of {name!r} cannot be told from {values[0]:.4g}; state it "
            f"by --column '{name}=delay:ns' or '{name}=delay:s'"
        )
    return best


def _physical(values: np.ndarray, distance: np.ndarray) -> dict[str, tuple[float, float]]:
    """Rate the units in which delays suit distances: share of direct paths, nearness of the rest.

    No path is shorter than `_SHORTEST`, and none is hundreds of times as long as the distance.
    """
    possible = {}
    for unit, factor in UNITS["delay"].items():
        length = length_of(values * factor)
        ratio = length / np.maximum(distance, 1e-3)
        suits = np.quantile(ratio, 0.1) < 300 and np.quantile(ratio, 0.9) > 1e-2
        if suits and np.quantile(length, 0.9) > _SHORTEST:
            direct = np.mean(np.abs(ratio - 1) < 0.02)
            possible[unit] = (float(direct), -abs(math.log(float(np.median(ratio)) + 1e-12)))
    return possible


def _angles(columns, owners, away, distance, length, present) -> dict[str, np.ndarray]:
    """Take directions at both ends, absolute and as zenith angles."""
    found = {}
    sense = -1.0 if columns.choices.clockwise else 1.0
    bearing = np.arctan2(away[:, 1], away[:, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        polar = np.arccos(np.clip(away[:, 2] / distance, -1, 1))
    gap = np.abs(length - distance)
    direct = present & (gap < np.maximum(0.5, 0.02 * distance))
    if not columns.named("departure_azimuth"):
        if not present.any() or not np.isfinite(length).any():
            empty = np.full(columns.rows, np.nan)
            return {f"{end}_{part}": empty for end in ("departure", "arrival")
                    for part in ("azimuth", "zenith")}  # fmt: skip
        raise InputError(
            f"{columns.source} has no column for departure angle [rad]; it has "
            f"{', '.join(list(columns.values)[:14])}; name one as docs/formats.md says, or state "
            "it by --column NAME=departure_azimuth:deg"
        )
    ends = (
        ("departure", "station", bearing, polar),
        ("arrival", "user", wrap_angle(bearing + math.pi), math.pi - polar),
    )
    units = {}
    for end, whose, straight, level in ends:
        units |= _angle_units(columns, end, whose, straight, level, direct, sense)
    for end, whose, straight, level in ends:
        azimuth = np.full(columns.rows, np.nan)
        name = columns.one(f"{end}_azimuth")
        if name:
            values, unit = _in_radians(columns, name, units, owners)
            heading = _heading(columns, whose, units[name], owners, end)
            azimuth = heading + sense * values
            columns.note(f"{end}_azimuth", f"{name} [{unit}]")
        found[f"{end}_azimuth"] = azimuth
        along = direct & (
            np.isnan(azimuth) | (np.abs(wrap_angle(azimuth - straight)) * np.sin(level) < 0.1)
        )
        found[f"{end}_zenith"] = _zenith(columns, end, units, owners, level, along)
    return found


def _angle_units(columns, end: str, whose: str, straight, level, direct, sense) -> dict[str, str]:
    """Find the unit of each column of angles at one end; one left open is in that of the others.

    Where others are certainly degrees and a column may hold either, the direct paths decide.
    """
    found = {}
    for part in ("azimuth", "zenith", "elevation"):
        for name in columns.named(f"{end}_{part}"):
            values = columns.numbers(name)
            stated = columns.claims[name].unit
            if stated or _in_degrees(columns, (name,)):
                found[name] = stated or "deg"
                continue
            found[name] = "rad"
            if not _in_degrees(columns) or not np.nanmax(np.abs(values), initial=0.0):
                continue  # all angles may be radians
            expected = straight if part == "azimuth" else level
            right = {
                unit: _right(columns, whose, part, unit, sense * values, expected, direct)
                for unit in UNITS["angle"]
            }
            if right["rad"] == right["deg"] and part != "zenith":
                raise InputError(
                    f"{columns.source}: {name!r} (up to {np.nanmax(np.abs(values)):.4g}) may be in "
                    "degrees, as other angles are, or in radians, and no direct path tells; state "
                    f"it by --column '{name}={end}_{part}:deg' or '{name}={end}_{part}:rad'"
                )
            found[name] = "deg" if right["deg"] > right["rad"] else "rad"
    return found


def _in_degrees(columns: Columns, names: tuple[str, ...] | None = None) -> bool:
    """Tell whether columns of angles without a stated unit hold what no radian is."""
    if names is None:
        names = tuple(
            name
            for name, claim in columns.claims.items()
            if claim.quantity.endswith(("_azimuth", "_zenith", "_elevation")) and not claim.unit
        )
    most = [np.nanmax(np.abs(columns.numbers(name)), initial=0.0) for name in names]
    return bool(max(most, default=0.0) > 6.4)


def _right(columns, whose, part, unit, values, expected, direct) -> int:
    """Count the direct paths that run along the straight line if a column is in this unit."""
    values = values * UNITS["angle"][unit]
    if part == "azimuth":
        name = columns.one(f"{whose}_heading")
        if name is not None:
            heading = columns.claims[name].unit or unit
            values = values + columns.numbers(name) * UNITS["angle"][heading]
        off = np.abs(wrap_angle(values - expected))
    else:  # what counts from the horizon may be called zenith, and the other way round
        size = np.abs(values)
        off = np.minimum(np.abs(size - expected), np.abs(size - np.abs(0.5 * math.pi - expected)))
    return int((off[direct] < _NEAR).sum())


def _in_radians(
    columns: Columns, name: str, units: Mapping[str, str], owners: Owners
) -> tuple[np.ndarray, str]:
    """Turn a column of angles into radians; what no unit makes an angle is refused."""
    values = columns.numbers(name)
    stated = columns.claims[name].unit
    unit = units[name]
    most = 360.5 if unit == "deg" else 6.4
    if np.nanmax(np.abs(values), initial=0.0) > most:
        row = int(np.nanargmax(np.abs(values)))
        cure = (
            ""
            if unit == "deg"
            else "; if these are degrees, state it by --column "
            + (f"'{name}={columns.claims[name].quantity}:deg'")
        )
        raise InputError(
            f"{owners.place(row)} has {values[row]:.4g} in {name!r}, which is no "
            f"{'radian' if unit == 'rad' else 'degree'}{cure}"
        )
    return values * UNITS["angle"][unit], unit if stated else f"{unit}, by its size"


def _heading(columns, whose: str, path_unit: str, owners: Owners, end: str) -> np.ndarray:
    """Take the heading that angles run from; absolute where there is none."""
    name = columns.one(f"{whose}_heading")
    if name is None:
        columns.note(f"{whose}_heading", f"none found: {end} angles run from +x")
        return np.zeros(columns.rows)
    values = columns.numbers(name)
    unit = columns.claims[name].unit or path_unit
    values = values * UNITS["angle"][unit]
    if np.isnan(values).any():
        row = int(np.argmax(np.isnan(values)))
        raise InputError(
            f"{owners.place(row)} has angles of {end} but no {whose} heading [rad]; add it, zero "
            "where the angles run from +x"
        )
    if np.abs(values).max(initial=0.0) > _MOST_TURNED:
        row = int(np.argmax(np.abs(values)))
        raise InputError(
            f"{owners.place(row)} has a {whose} heading of {values[row]:.4g}, which is no radian; "
            f"if these are degrees, state it by --column '{name}={whose}_heading:deg'"
        )
    columns.note(f"{whose}_heading", f"{name} [{unit}]")
    return values


def _zenith(columns, end: str, units, owners: Owners, level, along) -> np.ndarray:
    """Take vertical angles, elevations or from the zenith as the direct paths say."""
    names = columns.named(f"{end}_zenith") + columns.named(f"{end}_elevation")
    if not names:
        columns.note(f"{end}_zenith", "none found: unknown")
        return np.full(columns.rows, np.nan)
    if len(names) > 1:
        raise InputError(
            f"{columns.source} has {names[0]!r} and {names[1]!r}, which both say how steep a path "
            f"is; leave one out by --column '{names[1]}=ignore'"
        )
    (name,) = names
    values, unit = _in_radians(columns, name, units, owners)
    claim = columns.claims[name]
    part = claim.quantity.rpartition("_")[2]
    readings = {"zenith": values, "elevation": 0.5 * math.pi - values}
    known = np.isfinite(values)
    possible = {
        each: not (known & ((zenith < -1e-3) | (zenith > math.pi + 1e-3))).any()
        for each, zenith in readings.items()
    }
    right = {
        each: int((np.abs(zenith - level)[along & known] < _NEAR).sum()) if possible[each] else 0
        for each, zenith in readings.items()
    }
    other = "elevation" if part == "zenith" else "zenith"
    words = {"zenith": "angle from +z (polar)", "elevation": "elevation from the horizon"}
    ask = (
        f"state it by --column '{name}={end}_zenith:{unit[:3]}' (polar, from +z) or "
        f"'{name}={end}_elevation:{unit[:3]}'"
    )
    reason = ""
    if not claim.stated:
        steep = np.abs(readings[part][known] - 0.5 * math.pi)
        usual = bool(np.median(steep) < _LEVEL) if len(steep) else True
        if right[other] > max(1, 3 * right[part]) or (right[other] and not possible[part]):
            part, reason = other, f", as {right[other]} direct paths show"
        elif right[part] == 0 and (not possible[part] or not usual):
            raise InputError(
                f"{columns.source}: {name!r} ({np.nanmedian(values[known]):.3g} rad in the middle) "
                f"may be the {words['elevation']} or the {words['zenith']}, and no direct path "
                f"tells; {ask}"
            )
    if not possible[part]:
        row = int(np.argmax(known & ((readings[part] < -1e-3) | (readings[part] > 3.1426))))
        raise InputError(
            f"{owners.place(row)} has {values[row]:.4g} rad in {name!r}, which is no "
            f"{words[part]}; {ask}"
        )
    columns.note(f"{end}_zenith", f"{name} [{unit}], {words[part]}{reason}")
    return np.clip(readings[part], 0.0, math.pi)
