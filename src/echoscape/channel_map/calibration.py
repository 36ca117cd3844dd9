"""Stations whose clock or mounting is unknown: estimated from their reports and taken off them.

A map that is fitted to what is left is in the true frame.  Errors that turn out larger than stated
are widened with it.

Takes `Reports`.
Gives `Reports` without the bias, and each station's `StationBias`.
"""

from collections.abc import Sequence

from echoscape.channel_map.fitting import stations_reported
from echoscape.checks import unknown_name
from echoscape.reports import Reports
from echoscape.reports.station_bias import StationBias, remove_station_bias
from echoscape.reports.station_calibration import STATION_UNKNOWNS, estimate_station_bias


def calibrate_stations(
    reports: Reports, unknown: Sequence[str]
) -> tuple[Reports, dict[str, StationBias]]:
    """Estimate what the reports of each station share, and take it off.

    Args:
        reports: Reports of one or several stations.
        unknown: Which of `STATION_UNKNOWNS`.

    Raises:
        InputError: A name is unknown, or a station's reports do not tell.
    """
    for name in unknown:
        if name not in STATION_UNKNOWNS:
            raise unknown_name("unknown", name, STATION_UNKNOWNS)
    if not unknown:
        return reports, {}
    bias = {
        name: estimate_station_bias(reports, name, tuple(unknown))
        for name in stations_reported(reports)
    }
    return remove_station_bias(reports, bias), bias
