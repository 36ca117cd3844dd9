"""Multipath lists of a measurement campaign as reports.

Takes a table of any names, or MATLAB structs; see `table_layout`.
Gives `Reports` in the site's frame, and how direct paths compare with the straight line.
"""

from pathlib import Path

import numpy as np

from echoscape.reports.geometry import warn_of_findings
from echoscape.reports.importing.importer import import_reports
from echoscape.reports.importing.layout import ImportOptions
from echoscape.reports.report import Reports
from echoscape.units import wrap_angle


def read_measured(
    path: str | Path,
    *,
    angle_std: float | None = None,
    length_std: float | None = None,
    clockwise: bool = False,
    station: str | None = None,
) -> Reports:
    """Read the multipath lists of a measurement campaign; see `import_reports`, which says more.

    Args:
        path: A table or a ``.mat`` file; see ``docs/formats.md``.
        angle_std: Standard deviation of every angle [rad]; not stated if not given.
        length_std: Standard deviation of every length [m]; not stated if not given.
        clockwise: Whether the angles of the paths run clockwise from the headings.
        station: Name of the base station.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: Something is missing or cannot be right; the message says how to repair it.

    Warns:
        GeometryWarning: Direct paths do not agree with the positions; see `check_geometry`.
    """
    options = ImportOptions(
        station=(station,) if station else (),
        angle_std=angle_std,
        length_std=length_std,
        clockwise=clockwise,
    )
    return warn_of_findings(import_reports(path, "measured", options).reports)


def direct_path_offsets(reports: Reports) -> dict[str, float]:
    """Compare direct paths with the straight line: how the campaign's frame and clock fit.

    A pose has a direct path if its shortest path is about as long as the straight line.

    Returns:
        How many poses have one, the median of length minus distance [m], of departure azimuth minus
        bearing [rad], and of their sizes with the angles as they are and mirrored at the heading
        that the direct paths suggest [rad].
    """
    paths = reports.estimates
    away = reports.position - reports.station_position[reports.station_index]
    distance = np.linalg.norm(away, axis=1)
    length = np.where(paths.valid, paths.length, np.inf)
    first = length.argmin(axis=1)
    rows = np.arange(len(first))
    gap = length[rows, first] - distance
    direct = np.abs(gap) < np.maximum(0.7, 0.05 * distance)
    if not direct.any():
        return {"poses": 0.0}
    bearing = np.arctan2(away[:, 1], away[:, 0])[direct]
    azimuth = np.asarray(paths.departure_azimuth)[rows, first][direct]

    def spread(angle: np.ndarray) -> tuple[float, float]:
        mean = np.angle(np.exp(1j * angle).mean())
        middle = mean + np.median(wrap_angle(angle - mean))
        return float(wrap_angle(middle)), float(np.median(np.abs(wrap_angle(angle - middle))))

    turned, straight = spread(wrap_angle(azimuth - bearing))
    _, mirrored = spread(wrap_angle(-azimuth - bearing))
    return {
        "poses": float(direct.sum()),
        "length": float(np.median(gap[direct])),
        "azimuth": turned,
        "scatter": straight,
        "scatter_mirrored": mirrored,
    }
