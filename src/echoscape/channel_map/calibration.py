"""What is unknown of stations and of users: estimated from reports and taken off them.

A map that is fitted to what is left is in the true frame.  Errors that turn out larger than stated
are widened with it.

Takes `Reports`.
Gives `Reports` without the bias, and what the manifest keeps of it, by station.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from echoscape.channel_map.fitting import stations_reported
from echoscape.channel_map.station_reports import reports_of_station
from echoscape.checks import InputError, unknown_name
from echoscape.reports import Reports
from echoscape.reports.station_bias import remove_station_bias
from echoscape.reports.station_calibration import STATION_UNKNOWNS, estimate_station_bias
from echoscape.reports.user_calibration import (
    USER_UNKNOWNS,
    UserBias,
    estimate_user_bias,
    remove_user_bias,
)

UNKNOWNS = (*STATION_UNKNOWNS, *USER_UNKNOWNS)
"""What `calibrate` can estimate."""


def calibrate(
    reports: Reports, unknown: Sequence[str]
) -> tuple[Reports, dict[str, dict[str, Any]]]:
    """Estimate what the reports of each station, or of each user, share, and take it off.

    Args:
        reports: Reports of one or several stations.
        unknown: Which of `UNKNOWNS`.

    Returns:
        Reports without it, those of users whose clock remains unknown left out; and what was
        estimated, by station, in seconds and radians.

    Raises:
        InputError: A name is unknown, the reports do not tell, or two unknowns cannot be separated.
    """
    for name in unknown:
        if name not in UNKNOWNS:
            raise unknown_name("unknown", name, UNKNOWNS)
    of_station = tuple(name for name in STATION_UNKNOWNS if name in unknown)
    of_users = tuple(name for name in USER_UNKNOWNS if name in unknown)
    if of_station and "user-clock" in of_users:
        raise InputError(
            f"{' and '.join(of_station)} cannot be estimated beside user-clock: where every user "
            "has its own clock only the sum with the station's shows, and a turned array hides "
            "which users are in sight; leave either out"
        )
    stated: dict[str, dict[str, Any]] = {}
    if of_station:
        bias = {
            name: estimate_station_bias(reports, name, of_station)
            for name in stations_reported(reports)
        }
        reports = remove_station_bias(reports, bias)
        stated = {name: dict(each.stated()) for name, each in bias.items()}
    if of_users:
        found = UserBias(*(np.full(len(reports), np.nan) for _ in range(4)), direct=0)
        for name in stations_reported(reports):
            mine = np.flatnonzero(reports.station_index == reports.station.index(name))
            users = estimate_user_bias(reports_of_station(reports, name), of_users)
            for field in ("clock", "clock_std", "heading", "heading_std"):
                getattr(found, field)[mine] = getattr(users, field)
            stated.setdefault(name, {})["users"] = users.stated(reports.report[mine])
        reports = remove_user_bias(reports, found)
    return reports, stated
