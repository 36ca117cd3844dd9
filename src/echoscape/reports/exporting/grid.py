"""Reports as arrays over users, stations and paths, as simulators lay links out.

Simulators know every link: a pair of user and station is either connected or in outage.  A report
that a user never made is neither, so it is asked for instead of being written as an outage.

Takes `Reports`.
Gives `Links`.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.checks import InputError, unknown_name
from echoscape.reports.report import Reports

_ANGLES = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith")


@dataclasses.dataclass(frozen=True)
class Links:
    """Every user at every station."""

    report: Int[np.ndarray, " user"]
    """Numbers of the reports."""
    position: Float[np.ndarray, "user 3"]
    """Where the users are [m]."""
    station_position: Float[np.ndarray, "station 3"]
    """Where the stations are [m]."""
    station: tuple[str, ...]
    """Their names."""
    departure_azimuth: Float[np.ndarray, "user station path"]
    """[rad]."""
    departure_zenith: Float[np.ndarray, "user station path"]
    """[rad]."""
    arrival_azimuth: Float[np.ndarray, "user station path"]
    """[rad]."""
    arrival_zenith: Float[np.ndarray, "user station path"]
    """[rad]."""
    delay: Float[np.ndarray, "user station path"]
    """One way, absolute [s]."""
    power: Float[np.ndarray, "user station path"]
    """Power gain [1]."""
    valid: Bool[np.ndarray, "user station path"]
    """Which paths there are; padding holds zeros."""


def link_grid(reports: Reports, layout: str) -> Links:
    """Lay reports out by user and station, paths by falling power.

    Args:
        reports: One report of each user at each station.
        layout: What refusals call the format.

    Raises:
        InputError: A user has no report at a station, or a direction was not measured.
    """
    users, row = np.unique(reports.report, return_inverse=True)
    stations = len(reports.station)
    index = np.full((len(users), stations), -1)
    index[row, reports.station_index] = np.arange(len(row))
    if (index < 0).any():
        user, station = np.argwhere(index < 0)[0]
        raise InputError(
            f"{layout} lists every user at every station, but report {users[user]} has no row of "
            f"station {reports.station[station]!r}; add it (an outage has no path), or export one "
            "station at a time by --station NAME"
        )
    paths = reports.estimates
    for name in _ANGLES:
        unknown = paths.valid & np.isinf(getattr(paths, f"{name}_std"))
        if unknown.any():
            where = int(np.argwhere(unknown)[0][0])
            raise InputError(
                f"{layout} needs the {name.replace('_', ' ')} of every path, which report "
                f"{reports.report[where]} did not measure; leave such reports out"
            )
    order = np.argsort(np.where(paths.valid, -paths.power, np.inf), axis=1, kind="stable")
    valid = np.take_along_axis(np.asarray(paths.valid), order, axis=1)

    def laid(values) -> np.ndarray:
        taken = np.take_along_axis(np.asarray(values, np.float64), order, axis=1)
        return np.where(valid, taken, 0.0)[index]

    return Links(
        report=users,
        position=reports.position[index[:, 0]],
        station_position=reports.station_position,
        station=reports.station,
        **{name: laid(getattr(paths, name)) for name in _ANGLES},
        delay=laid(paths.delay),
        power=laid(paths.power),
        valid=valid[index],
    )


def of_station(reports: Reports, station: str) -> Reports:
    """Take the reports of one station.

    Raises:
        InputError: There is no such station; the message lists those there are.
    """
    if station not in reports.station:
        raise unknown_name("station", station, list(reports.station))
    code = reports.station.index(station)
    picked = reports[reports.station_index == code]
    return dataclasses.replace(
        picked,
        station_index=np.zeros(len(picked.report), np.int64),
        station_position=reports.station_position[code : code + 1],
        station=(station,),
    )
