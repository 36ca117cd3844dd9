"""Directions of any source as azimuths from +x and angles from +z: units, headings, conventions.

Takes columns that claim azimuths, zeniths, elevations or headings.
Gives angles in radians, or one sentence about what cannot be decided.
"""

import math
from collections.abc import Mapping

import numpy as np

from echoscape.checks import InputError
from echoscape.reports.importing.column_names import UNITS
from echoscape.reports.importing.owners import Owners
from echoscape.units import wrap_angle

_MOST_TURNED = 20.0  # headings may have been unwrapped over a few turns [rad]
_NEAR = 0.06  # a direct path's direction is known to this, computed or measured [rad]
_LEVEL = math.radians(45)
"""Without direct paths a vertical angle is believed only if most paths are within this of level."""


def angles_of(columns, owners, away, distance, length, present) -> dict[str, np.ndarray]:
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


def _in_degrees(columns, names: tuple[str, ...] | None = None) -> bool:
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
    columns, name: str, units: Mapping[str, str], owners: Owners
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
