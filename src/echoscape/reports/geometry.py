"""Whether reports agree with geometry: what a path that goes straight must look like.

A path that is as long as the straight line must run along it: its departure points from the
station to the user, its arrival from the user back to the station, and its length is their
distance.  Faults of convention (ends swapped, elevations, compass bearings, kilometres, relative
delays) break this for all such paths alike, and each leaves a mark of its own.

Only reports are judged in which a straight path can be recognised, so data without line of sight
is never accused; `direction_hypotheses` holds the conventions that are tried in place of the
stated one, `length_checks` what is asked of lengths and powers.

Takes `Reports`.
Gives findings: a likely cause and its cure, one sentence each.
"""

import dataclasses
import math
import warnings

import numpy as np

from echoscape.reports.direction_cures import AS_STATED, Hypothesis, describe
from echoscape.reports.direction_hypotheses import rank_hypotheses
from echoscape.reports.finding import Cause, Finding, GeometryWarning
from echoscape.reports.first_arrivals import SURE
from echoscape.reports.length_checks import (
    check_doubles,
    check_extent,
    check_first_lengths,
    check_lengths,
    check_powers,
    check_relative,
    geographic_order,
    middle_and_scatter,
    surely,
)
from echoscape.reports.report import Reports
from echoscape.reports.station_calibration import shared_bias
from echoscape.reports.straight_line import StraightLine, straight_lines
from echoscape.units import wrap_angle

_LEAST_TURN = 0.01
"""A turn that all direct paths share is a fault from here on, however exact they are [rad]."""
_STRAYING = 0.35
"""Direct paths whose direction errs by more than this, in the median, have no direction [rad]."""
_STRAYING_COMPUTED = 0.03
"""The same of computed paths, whose lengths leave no room for a bounce [rad]."""


def check_geometry(reports: Reports) -> tuple[Finding, ...]:
    """Compare directions, lengths and powers of direct paths with the positions.

    Args:
        reports: Reports of one or several stations.

    Returns:
        What is probably wrong, none where nothing is; a fault that all stations share comes once.
    """
    found: list[Finding] = []
    stations = [k for k in range(len(reports.station)) if (reports.station_index == k).any()]
    for station in stations:
        line = straight_lines(reports, station)
        if line is not None:
            found += _check_station(line)
    found += check_doubles(reports)
    return _merge(found, len(stations))


def warn_of_findings(reports: Reports) -> Reports:
    """Warn of what `check_geometry` finds, for whoever called our caller; give the reports.

    Reports are judged once: neither they nor parts of them are warned of again.
    """
    if not reports.judged:
        for finding in check_geometry(reports):
            warnings.warn(finding.sentence, GeometryWarning, stacklevel=3)
        reports.mark_judged()
    return reports


def add_line_of_sight(reports: Reports) -> Reports:
    """Make absolute lengths of lengths that count from the straight line, by adding it."""
    away = reports.position - reports.station_position[reports.station_index]
    straight = np.linalg.norm(away, axis=1)[:, None]
    paths = reports.estimates
    length = np.where(np.asarray(paths.valid), np.asarray(paths.length) + straight, 0.0)
    return dataclasses.replace(reports, estimates=dataclasses.replace(paths, length=length))


def _check_station(line: StraightLine) -> list[Finding]:
    geographic = geographic_order(line)
    if geographic is not None:
        return [geographic]
    relative = check_relative(line)
    if relative:
        return relative
    best, direct = rank_hypotheses(line)
    if best is None:
        stray = _straying(line)
        found = [stray] if stray else check_extent(line) or check_first_lengths(line)
        return found or _shared(line)
    found = []
    stray = _straying(line)
    straight, share = line.computed_length, 0.5
    if not straight.any():
        straight, share = line.crowded_length, 0.25
    elif stray is not None and stray.cause is Cause.TURNED:
        share = 1.0  # it explains all of them
    explained = (straight & direct).any(axis=1).sum() >= share * straight.any(axis=1).sum()
    if best != AS_STATED and (explained or stray is None):
        found.append(describe(best, line, int(direct.any(axis=1).sum())))
    else:
        found += [stray] if stray else _turned(line, direct)
    found += check_lengths(line, direct) + check_powers(line, direct)
    return found if found or direct.any(axis=1).mean() > SURE else _shared(line)


def _shared(line: StraightLine) -> list[Finding]:
    """Find a clock and a mounting that make many first arrivals direct which are not as stated."""
    shared = shared_bias(line)
    return [] if shared is None else [Finding(Cause.STATION_BIAS, shared, line.station)]


def _turned(line: StraightLine, direct: np.ndarray) -> list[Finding]:
    """Find a small turn that all direct paths of a station share at one end."""
    found = []
    for end in line.ends:
        use = direct & end.azimuth_known
        if use.sum() < 3:
            continue
        off = wrap_angle(end.azimuth - end.expected_azimuth)[use]
        middle, scatter = middle_and_scatter(off)
        count = len(off)
        if count < 5 and np.ptp(off) > 0.1 * _LEAST_TURN:
            continue
        error = 3 * float(np.median(end.error[use])) / math.sqrt(count)
        if abs(middle) > max(_LEAST_TURN, surely(scatter, count), error):
            turn = Hypothesis(**{f"{end.name}_azimuth": "turned", f"{end.name}_turn": -middle})
            found.append(describe(turn, line, count))
    return found


def _straying(line: StraightLine) -> Finding | None:
    """Find paths exactly as long as the straight line that run anywhere but along it."""
    straight, least, limit = line.crowded_length, 3, _STRAYING
    computed = bool(line.computed_length.any())
    if computed:
        turned = _turned_alike(line)
        if turned is not None:
            return turned
        straight, least, limit = line.computed_length, 1, _STRAYING_COMPUTED
    for end in line.ends:
        use = straight & end.azimuth_known
        # A bounce off the ground is little longer than the line and right in azimuth.
        off = (end.deviation() if computed else end.azimuth_deviation())[use]
        if len(off) < least or np.median(off) < limit + 3 * np.median(end.error[use]):
            continue
        count = int(straight.any(axis=1).sum())
        verb = "leave" if end.name == "departure" else "arrive"
        return Finding(
            Cause.UNRELATED_DIRECTIONS,
            f"{count} path{'s are' if count > 1 else ' is'} as long as the straight line, but "
            f"{verb}{'s' if count == 1 else ''} "
            f"{math.degrees(np.median(off)):.0f} degrees off it (median), and no change of "
            "convention explains that: check the headings, the axes of the angles and of the "
            "positions, and that rows belong together",
            line.station,
        )
    return None


def _turned_alike(line: StraightLine) -> Finding | None:
    """Find a turn that computed paths share to the last digit, of which a few are enough."""
    for end in line.ends:
        off = wrap_angle(end.azimuth - end.expected_azimuth)[
            line.computed_length & end.azimuth_known
        ]
        middle = float(np.median(off)) if len(off) else 0.0
        if (
            len(off) > 1
            and abs(middle) > _LEAST_TURN
            and np.abs(wrap_angle(off - middle)).max() < 1e-3
        ):
            turn = Hypothesis(**{f"{end.name}_azimuth": "turned", f"{end.name}_turn": -middle})
            return describe(turn, line, len(off))
    return None


def _merge(found: list[Finding], stations: int) -> tuple[Finding, ...]:
    """Say once what holds for every station, and name the station otherwise."""
    merged: dict[tuple[Cause, str], list[Finding]] = {}
    for each in found:
        merged.setdefault((each.cause, each.key or each.sentence), []).append(each)
    result = []
    for group in merged.values():
        first = group[0]
        if stations > 1 and len(group) < stations and first.station:
            names = ", ".join(repr(each.station) for each in group)
            result.append(first.at(f"station {names}: "))
        else:
            result.append(first)
    return tuple(result)
