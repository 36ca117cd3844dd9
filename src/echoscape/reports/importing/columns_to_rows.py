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
from echoscape.reports.importing.angles import angles_of
from echoscape.reports.importing.column_names import UNITS, Meaning, meaning
from echoscape.reports.importing.owners import Owners, find_owners
from echoscape.reports.importing.path_rows import PathRows
from echoscape.reports.importing.powers import power_of
from echoscape.units import length_of

_LONGEST = 3e5  # a longer path is an error of units [m]
_SHORTEST = 0.3  # paths that are all shorter have another unit [m]


_LABELS = (
    "pose",
    "path",
    "path_count",
    "station",
    "time",
    "user",
    "number",
)  # any number is right there
_MARKS = (*(2.0**bits - 1 for bits in (15, 16, 31, 32, 63)), 1e10, 1e20, 1e30, 1e38)
_OUTSTANDING = 3.0  # a mark of unknown values is so many times as large as any value


@dataclasses.dataclass(frozen=True)
class Note:
    """What one quantity was taken from."""

    quantity: str
    """Which quantity."""
    taken: str
    """From which column, in which unit, and why where that was decided."""
    doubt: bool = False
    """Whether something is lost or may be wrong, so that it is a warning too."""


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
                f"{quantity.replace('_', ' ')}; say what one of them is by --column "
                f"'{found[1]}=QUANTITY', or leave it out by --column '{found[1]}=ignore'"
            )
        return found[0] if found else None

    def numbers(self, name: str) -> np.ndarray:
        """Take a column of numbers, NaN where empty; refuse marks of unknown values."""
        found = self._numbers(name)
        claim = self.claims.get(name)
        if claim is None or claim.stated or claim.quantity in _LABELS:
            return found
        mark = sentinel(found)
        if mark is not None:
            raise InputError(
                f"{self.source}: column {name!r} has {mark:g} in row "
                f"{int(np.argmax(found == mark)) + 1}, far above every other value, as files mark "
                f"what is unknown; leave such cells empty, or, if it is true, state the column by "
                f"--column '{name}={claim.quantity}{f':{claim.unit}' if claim.unit else ''}'"
            )
        return found

    def _numbers(self, name: str) -> np.ndarray:
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
    angles = angles_of(columns, owners, away, distance, length, present)
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


def sentinel(values: np.ndarray) -> float | None:
    """Find a number that marks unknown values: all nines or a limit of integers, and far off.

    Args:
        values: A column; NaN where empty.
    """
    size = np.abs(values[np.isfinite(values)])
    if not len(size):
        return None
    top = float(size.max())
    digits = f"{top:.10g}".rstrip("0").replace(".", "")
    nines = len(digits) >= 3 and set(digits) == {"9"}
    rest = size[size < top]
    if not (nines or top in _MARKS) or not len(rest) or top < _OUTSTANDING * rest.max():
        return None
    return float(values[np.abs(values) == top][0])


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
                f"out the wrong one by --column '{names[0]}=ignore' or --column '{other}=ignore'"
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
    if (
        len(distance)
        and np.median(distance) < 1
        and _physical(values, 1e3 * distance).keys() - {best}
    ):
        raise InputError(
            f"{columns.source}: users are {np.median(distance):.3g} from the station (median), "
            f"metres if {name!r} is in {best}, kilometres if it is in a longer unit; state both "
            f"units, as in --column '{name}=delay:ns' and --column 'NAME=user_x:km'"
        )
    if best != "s" and len(possible) > 1 and possible[best][0] < 0.02:
        raise InputError(
            f"{columns.source}: the unit of {name!r} cannot be decided from {values[0]:.4g}; state "
            f"it by --column '{name}=delay:ns' or '{name}=delay:s'"
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
