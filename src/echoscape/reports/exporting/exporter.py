"""Write reports for another tool, by the name of its layout.

Takes `Reports`.
Gives a file or a folder, and what of the reports it cannot hold.
"""

import math
from collections.abc import Callable
from pathlib import Path

from echoscape.checks import InputError, unknown_name
from echoscape.reports.exporting.deepmimo import write_deepmimo
from echoscape.reports.exporting.grid import of_station
from echoscape.reports.exporting.sionna import write_sionna
from echoscape.reports.report import Reports

LAYOUTS: dict[str, Callable[[Reports, Path, float], tuple[str, ...]]] = {
    "deepmimo": write_deepmimo,
    "sionna": write_sionna,
}
"""Name of each layout, and what writes it."""


def export_reports(
    reports: Reports,
    layout: str,
    out: str | Path,
    carrier: float,
    station: str | None = None,
) -> tuple[str, ...]:
    """Write reports in the layout of another tool.

    Args:
        reports: One report of each user at each station.
        layout: One of `LAYOUTS`.
        out: The file, or for ``deepmimo`` the folder, to write.
        carrier: Carrier frequency [Hz].
        station: Export this station alone.

    Returns:
        What the layout cannot hold, and is lost.

    Raises:
        InputError: There is no such layout or station, or the reports do not fit the layout.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, list(LAYOUTS))
    if not (math.isfinite(carrier) and 1e6 < carrier < 1e15):
        raise InputError(f"carrier must be a frequency in Hz, such as 28e9; got {carrier:g}")
    if station is not None:
        reports = of_station(reports, station)
    return LAYOUTS[layout](reports, Path(out), carrier)
