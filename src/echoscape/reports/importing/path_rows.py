"""Paths of any source, one a row, in SI units and absolute directions, made into reports.

Takes columns that an importer understood.
Gives `Reports`.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.reports.report import Reports
from echoscape.units import wrap_angle

Column = Float[np.ndarray, " row"]


@dataclasses.dataclass(frozen=True)
class PathRows:
    """One path a row, or one outage where `length` is NaN; what was not measured is NaN."""

    report: Int[np.ndarray, " row"]
    """Number of the report; at one station, rows that share it are one report."""
    station: Int[np.ndarray, " row"]
    """Which of `names`."""
    names: tuple[str, ...]
    """Names of the stations."""
    station_position: Float[np.ndarray, "station 3"]
    """Where the stations are [m]."""
    position: Float[np.ndarray, "row 3"]
    """Where the user was [m]."""
    time: Column
    """When [s]."""
    departure_azimuth: Column
    """At the station, from +x [rad]."""
    departure_zenith: Column
    """At the station, from +z [rad]."""
    arrival_azimuth: Column
    """At the user, looking back along the path [rad]."""
    arrival_zenith: Column
    """At the user [rad]."""
    length: Column
    """Length of the path [m]."""
    power: Column
    """Power gain [1]."""


def reports_from_rows(
    rows: PathRows,
    strongest: int | None = None,
    angle_std: float | None = None,
    length_std: float | None = None,
) -> Reports:
    """Gather the rows of each report, strongest first.

    Args:
        rows: Paths and outages, in any order.
        strongest: How many paths of each report to keep; all if not given.
        angle_std: Standard deviation of every angle [rad]; not stated if not given.
        length_std: Standard deviation of every length [m]; not stated if not given.
    """
    if strongest is not None and strongest < 1:
        raise InputError(f"strongest must be at least 1 path; got {strongest}")
    if not len(rows.report):
        raise InputError("there is no path and no user in it; at least one was needed")
    present = np.isfinite(rows.length)
    # Reports come in the order in which the file first names them.
    keys = np.stack([rows.report, rows.station], axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    turn = np.empty(len(first), np.int64)
    turn[np.argsort(first, kind="stable")] = np.arange(len(first))
    group = turn[np.ravel(group)]
    first = np.sort(first, kind="stable")
    order = np.lexsort((np.where(present, -rows.power, np.inf), group))
    order = order[present[order]]
    owner = group[order]
    count = np.bincount(owner, minlength=len(first))
    slot = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    most = max(1, int(count.max(initial=0)))
    most = most if strongest is None else min(most, strongest)
    take = slot < most
    order, owner, slot = order[take], owner[take], slot[take]
    valid = np.zeros((len(first), most), bool)
    valid[owner, slot] = True

    def lay(values: np.ndarray, deviation: float) -> tuple[np.ndarray, np.ndarray]:
        laid, std = np.zeros(valid.shape), np.where(valid, math.inf, 0.0)
        known = np.isfinite(values[order])
        laid[owner[known], slot[known]] = values[order][known]
        std[owner[known], slot[known]] = deviation
        return laid, std

    angle = 0.0 if angle_std is None else angle_std
    found: dict[str, np.ndarray] = {}
    for name in ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith"):
        values = getattr(rows, name)
        values = wrap_angle(values) if name.endswith("azimuth") else values
        found[name], found[f"{name}_std"] = lay(values, angle)
        if name.endswith("zenith"):  # unknown is level
            unknown = valid & np.isinf(found[f"{name}_std"])
            found[name] = np.where(unknown, 0.5 * math.pi, found[name])
    length, length_error = lay(rows.length, 0.0 if length_std is None else length_std)
    power, _ = lay(rows.power, 0.0)
    return Reports(
        estimates=PathEstimates(
            **found,
            length=length,
            length_std=length_error,
            power=power,
            valid=valid,
        ),
        position=rows.position[first],
        position_std=np.zeros(len(first)),
        time=rows.time[first],
        report=rows.report[first],
        station_index=rows.station[first],
        station_position=rows.station_position,
        station=rows.names,
    )
