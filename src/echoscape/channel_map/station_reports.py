"""One station's share of the reports, and the point where the station sees a user through walls.

The unfolded point ``X' = b + c tau u(departure)`` lies on the straight continuation of the ray's
first leg.  While a path keeps its walls, X' moves as rigidly as the user does; if the path leaves
from a point scatterer, X' moves less.  So between two reports of one path, X' never moves farther
than the user: the test by which maps recognise a path again.

Takes `Reports`.
Gives the `Reports` of one station, and points in metres.
"""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from echoscape.display import expect
from echoscape.estimation import AnyArray, PathEstimates
from echoscape.reports import Reports


def reports_of_station(reports: Reports, station: str | None = None) -> Reports:
    """Keep the reports of one station.

    Args:
        reports: Reports of one or several stations.
        station: Which one; may be left out if there is only one.

    Raises:
        ValueError: The station is unknown, left out among several, or has no path.
    """
    expect(reports, Reports, "a channel map")
    known = ", ".join(reports.station)
    if station is None:
        if len(reports.station) != 1:
            raise ValueError(f"name one station; these reports have {known}")
        station = reports.station[0]
    if station not in reports.station:
        raise ValueError(f"station {station!r} has no reports; these have {known}")
    index = reports.station.index(station)
    mine = reports[reports.station_index == index]
    if not mine.estimates.valid.any():
        raise ValueError(f"the reports of station {station!r} hold no path to learn from")
    return dataclasses.replace(
        mine, station_index=np.zeros(len(mine), dtype=int),
        station_position=reports.station_position[index : index + 1], station=(station,),
    )  # fmt: skip


def canonical_order(reports: Reports) -> Reports:
    """Sort reports, and the paths of each by falling power, by what they hold alone.

    What is fitted to the result does not depend on the order that reports came in.  Paths of equal
    power, or of none, keep their order.
    """
    power = np.where(reports.estimates.valid, reports.estimates.power, -np.inf)
    order = np.argsort(-power, axis=1, kind="stable")
    estimates = jax.tree.map(
        lambda leaf: np.take_along_axis(np.asarray(leaf), order, axis=1), reports.estimates
    )
    first = [leaf[:, 0] for leaf in (estimates.length, estimates.departure_azimuth)]
    rows = np.lexsort((*first, reports.time, *np.asarray(reports.position).T[::-1]))
    return dataclasses.replace(reports, estimates=estimates)[rows]


def unfolded_point(
    paths: PathEstimates, station_position: Float[np.ndarray, "3"]
) -> Float[AnyArray, "*batch path 3"]:
    """Place each path's length along its departure direction [m]; padding lands on the station.

    A zenith angle that was not measured is taken as level.
    """
    measured = np.isfinite(paths.departure_zenith_std)
    zenith = np.where(measured, paths.departure_zenith, 0.5 * np.pi)
    azimuth = np.asarray(paths.departure_azimuth)
    direction = np.stack(
        [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], -1
    )
    length = np.asarray(paths.length)
    return station_position + length[..., None] * direction


def distance_to_nearest(
    position: Float[AnyArray, "place 3"], report_position: Float[AnyArray, "report 3"]
) -> Float[np.ndarray, " place"]:
    """Measure the horizontal distance from each position to the nearest report [m]."""
    tree = KDTree(np.asarray(report_position, dtype=float)[:, :2])
    return tree.query(np.asarray(position, dtype=float)[:, :2])[0]
