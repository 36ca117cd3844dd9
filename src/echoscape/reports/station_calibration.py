"""Estimate the bias of a station's reports: by direct paths and heights, each checking the other.

Takes `Reports`.
Gives a `StationBias`, or a sentence about one that nobody declared.
"""

import dataclasses

import numpy as np

from echoscape.checks import InputError
from echoscape.reports.first_arrivals import SURE, bias_of_direct_paths
from echoscape.reports.path_heights import bias_of_heights
from echoscape.reports.report import Reports
from echoscape.reports.station_bias import StationBias
from echoscape.reports.straight_line import StraightLine, straight_lines
from echoscape.units import delay_of

STATION_UNKNOWNS = ("station-clock", "station-heading")
"""What may be unknown of a station."""
_HEIGHT_ERROR = 0.6  # of a clock from heights where users' heights are 0.3 m wrong [m]
_AGREE = 16.0  # squared deviations within which heights and direct paths agree in the tilt
_LOOKED_AT = 200  # reports that are asked for a bias nobody declared
_AGREEING = 12  # first arrivals below which nothing is said
_STATED = 6.0  # errors over stated ones beyond which nothing is said
_CERTAIN = 6.0  # deviations
_MATTERS = np.array([0.3, 0.01, 0.01, 0.01])  # m, rad


def estimate_station_bias(reports: Reports, station: str, unknown: tuple[str, ...]) -> StationBias:
    """Estimate what the reports of a station share.

    Args:
        reports: Of one or several stations.
        station: Whose.
        unknown: Which of `STATION_UNKNOWNS`; the others are taken for zero.

    Raises:
        InputError: Nothing in the reports tells what is unknown.
    """
    line = straight_lines(reports, reports.station.index(station))
    if line is None:
        raise InputError(f"station {station!r} has no path away from the station itself")
    free = np.array(["station-clock" in unknown, *["station-heading" in unknown] * 3])
    level = line.ends[0].zenith_known
    if level[line.first].mean() < 0.5:
        free[2:] = False  # azimuths alone do not tell a tilt
    direct = bias_of_direct_paths(line, free)
    heights = bias_of_heights(line, free, 1.0 if direct is None else max(1.0, direct.angle_scale))
    if direct is not None and heights is not None:
        direct = combine(direct, heights)
    found = heights if direct is None else direct
    if found is not None and (direct is not None or free[[0, 2, 3]].any()):
        return found
    asked = " and ".join(name for name in STATION_UNKNOWNS if name in unknown)
    raise InputError(
        f"{asked} of station {line.station!r} cannot be estimated: no first arrival is known to "
        "run straight, and heights tell nothing (they need zeniths of some 100 paths to users well "
        "above or below the station); add reports in its sight"
    )


def shared_bias(line: StraightLine) -> str | None:
    """Say what direct paths share that no option declares; None where nothing matters.

    Args:
        line: Paths beside the straight line.
    """
    some = np.linspace(0, len(line.report) - 1, min(_LOOKED_AT, len(line.report))).astype(int)
    found = bias_of_direct_paths(line.of_reports(some), np.ones(4, bool), SURE)
    if found is None or not found.sure or found.direct_paths < _AGREEING:
        return None
    if max(found.angle_scale, found.length_scale) > _STATED:
        return None
    std = np.sqrt(np.diag(found.covariance))
    matters = np.abs(found.values) > np.maximum(_CERTAIN * std, _MATTERS)
    if not matters[:2].any():  # a tilt alone may be that of paths by way of the ground
        return None
    signs = []
    if matters[0]:
        late = delay_of(found.clock) * 1e9
        signs.append(f"{abs(late):.1f} ns {'late' if late > 0 else 'early'}")
    if matters[1:].any():
        yaw, pitch, roll = np.degrees(found.values[1:])
        signs.append(
            f"reported by an array that is turned by {yaw:+.1f} degrees, pitched by {pitch:+.1f} "
            f"and rolled by {roll:+.1f}"
        )
    options = [name for name, one in zip(STATION_UNKNOWNS, (matters[0], matters[1:].any())) if one]
    return (
        f"{found.direct_paths} first arrivals run straight if all paths are {' and '.join(signs)}: "
        f"check the clock and the mounting, or fit the map with --unknown {','.join(options)}"
    )


def combine(direct: StationBias, heights: StationBias) -> StationBias | None:
    """Let heights sharpen the tilt where both agree; the clock is that of the direct paths.

    Where they differ, a few direct paths agree by chance, and many are right: then users' heights
    are wrong.

    Args:
        direct: By direct paths.
        heights: By heights.

    Returns:
        The bias; None where the direct paths agree by chance.
    """
    both = np.array([0, 2, 3])
    both = both[np.diag(direct.covariance)[both] > 0]
    own, other = (each.covariance[np.ix_(both, both)] for each in (direct, heights))
    slack = np.diag(np.where(both == 0, _HEIGHT_ERROR**2, 0.0))
    gap = (heights.values - direct.values)[both]
    if gap @ np.linalg.solve(own + other + slack, gap) > _AGREE:
        return direct if direct.sure else None
    tilt = both[both > 0]
    own, other = (each.covariance[np.ix_(tilt, tilt)] for each in (direct, heights))
    gap = (heights.values - direct.values)[tilt]
    gain = direct.covariance[:, tilt] @ np.linalg.inv(own + other)
    values = direct.values + gain @ gap
    covariance = direct.covariance - gain @ direct.covariance[tilt]
    return dataclasses.replace(
        direct,
        **dict(zip(("clock", "yaw", "pitch", "roll"), map(float, values))),
        covariance=covariance,
    )
