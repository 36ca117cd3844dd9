"""Reported paths as points that the station sees through the walls, with their errors.

For a fixed sequence of vertical walls and level grounds the unfolded point ``X' = b + c tau u`` is
an isometry of the user's place: a rotation or reflection in the plane, and plus or minus in
height.  For a point scatterer it moves along a fixed ray by the user's distance to the scatterer.
Fits of anchors work on these points, relative to the station, in the plane; heights go apart.

Takes `Reports` of one station.
Gives `UnfoldedPaths`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.channel_map.station_reports import unfolded_point
from echoscape.reports import Reports


class UnfoldedPaths(NamedTuple):
    """All paths of all reports, one after the other; lengths in metres from the station."""

    report: Int[np.ndarray, " path"]
    """Which report a path is of, ascending."""
    rank: Int[np.ndarray, " path"]
    """Place in the report's order of power."""
    place: Float[np.ndarray, "path 3"]
    """Where the user was."""
    point: Float[np.ndarray, "path 3"]
    """Unfolded point."""
    outward: Float[np.ndarray, "path 2"]
    """Unit vector in the plane along the departure."""
    along_std: Float[np.ndarray, " path"]
    """Error of `point` along the path."""
    across_std: Float[np.ndarray, " path"]
    """Error of `point` across the path, in the plane."""
    height_std: Float[np.ndarray, " path"]
    """Error of the height of `point`."""
    azimuth: Float[np.ndarray, " path"]
    """Departure azimuth [rad]."""
    arrival_azimuth: Float[np.ndarray, " path"]
    """Arrival azimuth at the user, where `has_arrival` [rad]."""
    has_arrival: Bool[np.ndarray, " path"]
    """Whether the arrival direction was reported well enough to start from."""
    model_error: float
    """Standard deviation in all three errors that no report states [m]."""
    log_gain: Float[np.ndarray, " path"]
    """Natural logarithm of power times squared length; NaN where no power was reported."""


def unfold(reports: Reports, place: Float[np.ndarray, "report 3"], error: float) -> UnfoldedPaths:
    """Unfold every valid path.

    Args:
        reports: Reports of one station.
        place: The users' places relative to the station; may be better than reported.
        error: Standard deviation added to every coordinate for what the model leaves out [m].
    """
    paths = reports.estimates
    report, rank = np.nonzero(paths.valid)
    take = (report, rank)
    length = paths.length[take]
    zenith = np.where(np.isfinite(paths.departure_zenith_std), paths.departure_zenith, np.pi / 2)
    flat = np.isfinite(paths.departure_zenith_std[take])
    paths = paths_with_zenith(paths, zenith)
    point = unfolded_point(paths, np.zeros(3))[take]
    azimuth = paths.departure_azimuth[take]
    position_std = reports.position_std[report]
    along = np.sqrt(paths.length_std[take] ** 2 + position_std**2 + error**2)
    across = np.sqrt((length * paths.departure_azimuth_std[take]) ** 2 + position_std**2 + error**2)
    height = np.where(flat, length * np.where(flat, paths.departure_zenith_std[take], 0), 1e3)
    arrival_std = paths.arrival_azimuth_std[take]
    with np.errstate(divide="ignore"):
        log_gain = np.log(np.where(paths.power[take] > 0, paths.power[take], np.nan) * length**2)
    return UnfoldedPaths(
        report=report,
        rank=rank,
        place=place[report],
        point=np.asarray(point),
        outward=np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1),
        along_std=along,
        across_std=across,
        height_std=np.hypot(height, error),
        azimuth=azimuth,
        arrival_azimuth=paths.arrival_azimuth[take],
        has_arrival=np.isfinite(arrival_std) & (arrival_std < 0.1),
        model_error=error,
        log_gain=log_gain,
    )


def paths_with_zenith(paths, zenith):
    """Replace the departure zeniths of estimates."""
    import equinox as eqx

    return eqx.tree_at(lambda item: item.departure_zenith, paths, zenith)
