"""What a set of reports holds, and what in it looks wrong without being impossible.

Takes `Reports`.
Gives a `Summary` to print.
"""

import dataclasses

import numpy as np

from echoscape.display import expect
from echoscape.reports.geometry import check_geometry
from echoscape.reports.report import Reports


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts and ranges of a set of reports."""

    reports: int
    """Number of reports."""
    paths: int
    """Number of paths."""
    outages: int
    """Number of reports without a path."""
    stations: dict[str, int]
    """Number of reports of each base station."""
    paths_per_report: dict[str, float]
    """Fewest, median and most paths of reports that have any."""
    extent: dict[str, tuple[float, float]]
    """Lowest and highest coordinate of the users along each axis [m]."""
    delay: tuple[float, float] | None
    """Shortest and longest delay [s]."""
    power: tuple[float, float] | None
    """Weakest and strongest power [linear]."""
    position_error: float
    """Median of the stated position errors [m]."""
    arrival_angles: float
    """Share of the paths whose arrival azimuth is known."""
    stated_errors: float
    """Share of the paths that state an error of angle or delay."""
    warnings: tuple[str, ...]
    """One sentence each."""


def summarize_reports(reports: Reports) -> Summary:
    """Count what the reports hold and look for signs of a wrong unit or frame."""
    expect(reports, Reports, "summarize_reports")
    estimates = reports.estimates
    valid = np.asarray(estimates.valid)
    count = valid.sum(axis=1)
    used = count[count > 0]
    known = np.isfinite(estimates.arrival_azimuth_std)
    stated = np.asarray(estimates.length_std) > 0
    for name in ("departure_azimuth_std", "departure_zenith_std"):
        std = np.asarray(getattr(estimates, name))
        stated = stated | ((std > 0) & np.isfinite(std))
    low, high = reports.position.min(axis=0), reports.position.max(axis=0)
    per_station = np.bincount(reports.station_index, minlength=len(reports.station))
    return Summary(
        reports=len(count),
        paths=int(valid.sum()),
        outages=int((count == 0).sum()),
        stations={name: int(n) for name, n in zip(reports.station, per_station)},
        paths_per_report={
            "fewest": float(used.min(initial=0) if len(used) == 0 else used.min()),
            "median": float(np.median(used)) if len(used) else 0.0,
            "most": float(used.max(initial=0)),
        },
        extent={axis: (float(a), float(b)) for axis, a, b in zip("xyz", low, high)},
        delay=_range(np.asarray(estimates.delay)[valid]),
        power=_range(np.asarray(estimates.power)[valid]),
        position_error=float(np.median(reports.position_std)),
        arrival_angles=float(np.mean(np.asarray(known)[valid])) if valid.any() else 0.0,
        stated_errors=float(np.mean(stated[valid])) if valid.any() else 0.0,
        warnings=tuple(_warnings(reports, valid, count)),
    )


def _range(values: np.ndarray) -> tuple[float, float] | None:
    return (float(values.min()), float(values.max())) if len(values) else None


def _warnings(reports: Reports, valid: np.ndarray, count: np.ndarray) -> list[str]:
    found = []
    if not valid.any():
        return ["no report has any path, so there is nothing to learn"]
    found += [finding.sentence for finding in check_geometry(reports)]
    if (count == 0).mean() > 0.5:
        found.append(f"{(count == 0).mean():.0%} of the reports are outages")
    azimuth = np.asarray(reports.estimates.departure_azimuth)[valid]
    if np.ptp(azimuth) == 0:
        found.append("all departure azimuths are equal")
    if len(reports.position) > 1 and not np.ptp(reports.position[:, :2], axis=0).any():
        found.append("all users stand at one place")
    place_count = len(np.unique(reports.position, axis=0))
    if place_count * max(1, len(reports.station)) < 0.5 * len(reports.position):
        found.append(f"the reports come from only {place_count} different positions")
    return found
