"""What each result looks like on the page: marks of maps, reports, fixes, tracks, images, bounds.

Takes results, and columns of the tables of ``docs/formats.md``.
Gives the parts of a `ViewerScene`.
"""

from collections.abc import Mapping

import numpy as np

from echoscape.channel_map import ChannelMap
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.channel_map.walls import find_walls, reported_points
from echoscape.checks import InputError
from echoscape.imaging.voxel_image import VoxelImage
from echoscape.reports import Reports
from echoscape.scene import PointKind, Site
from echoscape.scene.mesh import Mesh
from echoscape.scene.static_point_views import image_of_station
from echoscape.viewer.scene import (
    Column,
    FixMark,
    HeatMap,
    PointMark,
    ReportMarks,
    StationMark,
    TrackLine,
    Triangles,
    VoxelMarks,
    WallMark,
    flat,
)

NINETY = 2.5003
"""Radius of the ellipsoid that holds 90 % of a Gaussian in space [standard deviation]."""
MOST_VOXELS = 60_000
"""Most voxels that a page shows, the most probable ones."""
_OCCUPIED = 0.05  # a voxel of smaller probability is not shown [1]


def triangles(mesh: Mesh) -> Triangles:
    """Draw a mesh.

    Args:
        mesh: Buildings and ground.
    """
    return Triangles(flat(mesh.vertex, 2), mesh.face.ravel().tolist())


def station_marks(
    maps: Mapping[str, ChannelMap], reports: Reports | None, site: Site | None
) -> tuple[StationMark, ...]:
    """Collect the stations that anything names; a site tells their arrays.

    Args:
        maps: Maps by station.
        reports: Users' reports.
        site: The site.
    """
    place = {name: np.asarray(each.station_position) for name, each in maps.items()}
    if reports is not None:
        place |= dict(zip(reports.station, np.asarray(reports.station_position)))
    arrays = {}
    if site is not None:
        place |= dict(zip(site.station, np.asarray(site.station_position)))
        arrays = dict(zip(site.station, site.array))
    marks = []
    for name, where in place.items():
        mark = StationMark(name, flat(where), None, None, None, None)
        if name in arrays:
            array = arrays[name]
            known = (array.rows, array.columns, array.azimuth, array.tilt)
            mark = StationMark(name, mark.position, *known)
        marks.append(mark)
    return tuple(marks)


def report_marks(reports: Reports) -> ReportMarks:
    """Draw users' reports, with what they can be coloured by.

    Args:
        reports: Users' reports.
    """
    paths = reports.estimates
    valid = np.asarray(paths.valid)
    some = valid.any(axis=1)
    first = np.argmax(valid, axis=1), np.arange(len(valid))
    power, length, azimuth, zenith = (
        np.where(some, np.asarray(each)[first[1], first[0]], np.nan)
        for each in (paths.power, paths.length, paths.departure_azimuth, paths.departure_zenith)
    )
    shortest = np.where(valid, np.asarray(paths.length), np.inf).min(axis=1)
    longest = np.where(valid, np.asarray(paths.length), -np.inf).max(axis=1)
    total = np.where(valid, np.asarray(paths.power), 0.0).sum(axis=1)
    distance = np.linalg.norm(
        np.asarray(reports.position)
        - np.asarray(reports.station_position)[np.asarray(reports.station_index)], axis=1,
    )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = [
            ("power of all paths", "dB", 10 * np.log10(np.where(total > 0, total, np.nan))),
            ("strongest path: power", "dB", 10 * np.log10(power)),
            ("strongest path: length", "m", length),
            ("strongest path: departure azimuth", "deg", np.degrees(azimuth)),
            ("strongest path: departure zenith", "deg", np.degrees(zenith)),
            ("paths", "", valid.sum(axis=1).astype(float)),
            ("shortest path beyond the line", "m", np.where(some, shortest - distance, np.nan)),
            ("spread of lengths", "m", np.where(some, longest - shortest, np.nan)),
            ("time", "s", np.asarray(reports.time, float)),
            ("position std", "m", np.asarray(reports.position_std, float)),
        ]  # fmt: skip
    return ReportMarks(
        position=flat(reports.position),
        number=np.asarray(reports.report).tolist(),
        station=[reports.station[i] for i in np.asarray(reports.station_index)],
        column=[Column(name, unit, _numbers(value)) for name, unit, value in columns],
    )


def point_marks(channel_map: ChannelMap) -> tuple[PointMark, ...]:
    """Draw the static points of a map; none where it holds none.

    Args:
        channel_map: Map of a station.
    """
    try:
        points = channel_map.static_points()
    except InputError:
        return ()
    station = np.asarray(channel_map.station_position, float)
    place = np.array(image_of_station(points, station))
    kind = np.asarray(points.kind)
    loose = ~np.isfinite(place).all(axis=1)
    place[loose] = np.c_[np.asarray(points.offset)[loose], np.full(loose.sum(), station[2])]
    std = np.full(len(place), np.nan)
    if points.covariance is not None:
        size = np.trace(np.asarray(points.covariance)[:, :3, :3], axis1=1, axis2=2)
        std = np.sqrt(np.maximum(size, 0.0) / 3.0)
    gain = np.full(len(place), np.nan)
    if points.log_gain is not None:
        gain = 10 / np.log(10) * np.asarray(points.log_gain)
    users = np.asarray(channel_map.report_position)
    report, point = np.zeros(0, int), np.zeros(0, int)
    if isinstance(channel_map, VirtualAnchorMap):
        report, point = reported_points(channel_map)
    return tuple(
        PointMark(
            channel_map.station, PointKind(int(kind[k])).name.lower().replace("_", " "),
            flat(place[k], 2), _number(std[k]) or 0.0, _number(gain[k]),
            flat(users[report[point == k]], 1),
        )
        for k in range(len(place))
        if points.valid is None or points.valid[k]
    )  # fmt: skip


def wall_marks(channel_map: ChannelMap) -> tuple[WallMark, ...]:
    """Draw the walls that a map knows from single reflections; none where it knows none.

    Args:
        channel_map: Map of a station.
    """
    try:
        walls = find_walls(channel_map)
    except InputError:
        return ()
    return tuple(
        WallMark(flat([*start, *end], 2), float(low), float(high))
        for start, end, low, high in zip(walls.start, walls.end, walls.low, walls.high)
    )


def fix_marks(columns: Mapping[str, np.ndarray]) -> tuple[FixMark, ...]:
    """Draw fixes; those without a place, or whose place has no meaning, are left out.

    Args:
        columns: Columns of fixes.
    """
    place = np.stack([columns[axis] for axis in "xyz"], axis=1)
    rank = columns.get("rank", np.zeros(len(place), int))
    probability = columns.get("probability", np.full(len(place), np.nan))
    axes = _ellipsoids(columns, len(place))
    return tuple(
        FixMark(
            int(columns["target"][k]), int(rank[k]), str(columns["status"][k]), flat(place[k]),
            flat(axes[k]), _number(probability[k]),
        )
        for k in np.flatnonzero(np.isfinite(place).all(axis=1) & (columns["status"] != "no_echo"))
    )  # fmt: skip


def track_lines(columns: Mapping[str, np.ndarray]) -> tuple[TrackLine, ...]:
    """Draw tracks of static points, of a target or of the user.

    Args:
        columns: Columns of tracks, of followed targets or of the user.
    """
    place = np.stack([columns[axis] for axis in "xyz"], axis=1)
    count = len(place)
    moving = "vx" in columns
    number = columns.get("track", np.full(count, -1))
    variance = np.zeros(count)
    axes = [axis for axis in ("xx", "yy", "zz") if f"cov_{axis}" in columns]
    if axes:
        variance = np.mean([np.nan_to_num(columns[f"cov_{axis}"]) for axis in axes], axis=0)
    lines = []
    known = np.isfinite(place).all(axis=1)
    for each in dict.fromkeys(number.tolist()):
        use = np.flatnonzero((number == each) & known)
        if len(use) == 0:
            continue
        kind = "user" if "track" not in columns else "target" if moving else columns["kind"][use[0]]
        name = "user" if kind == "user" else f"{int(each)}"
        lines.append(
            TrackLine(
                name, str(kind), flat(columns["time"][use], 4), flat(place[use]),
                flat(np.sqrt(np.maximum(variance[use], 0.0))),
                [str(word) for word in columns["status"][use]],
            )
        )  # fmt: skip
    return tuple(lines)


def voxel_marks(image: VoxelImage) -> VoxelMarks:
    """Draw the voxels that may be occupied, the most probable ones of very many.

    Args:
        image: The image.
    """
    occupancy = np.asarray(image.occupancy).ravel()
    use = np.flatnonzero((occupancy >= _OCCUPIED) & ~np.asarray(image.unseen).ravel())
    if len(use) > MOST_VOXELS:
        use = np.sort(use[np.argsort(-occupancy[use], kind="stable")[:MOST_VOXELS]])
    return VoxelMarks(
        float(image.grid.edge), flat(image.grid.centres()[use], 2), flat(occupancy[use]),
        flat(np.sqrt(np.asarray(image.variance).ravel()[use]), 6),
        flat(np.abs(np.asarray(image.mean).ravel()[use]), 6),
    )  # fmt: skip


def heat_map(columns: Mapping[str, np.ndarray]) -> HeatMap:
    """Draw a bound over the ground.

    Args:
        columns: Columns of bounds.
    """
    place = np.stack([columns[axis] for axis in "xyz"], axis=1)
    steps = [np.diff(np.unique(np.round(place[:, axis], 3))) for axis in (0, 1)]
    step = min((float(each.min()) for each in steps if len(each)), default=1.0)
    return HeatMap(step, flat(place), _numbers(columns["bound"]))


def _ellipsoids(columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Find half axes of 90 %; zero where the covariance is not known."""
    pairs = {"xx": (0, 0), "xy": (0, 1), "xz": (0, 2), "yy": (1, 1), "yz": (1, 2), "zz": (2, 2)}
    covariance = np.zeros((count, 3, 3))
    for name, (i, j) in pairs.items():
        value = columns.get(f"cov_{name}", np.zeros(count))
        covariance[:, i, j] = covariance[:, j, i] = np.nan_to_num(np.asarray(value, float))
    value, vector = np.linalg.eigh(covariance)
    return NINETY * np.swapaxes(vector * np.sqrt(np.maximum(value, 0.0))[:, None], 1, 2)


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in np.asarray(values, float).tolist()]
