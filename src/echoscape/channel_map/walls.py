"""Walls with extents, from the static points of a map.

The single reflection in an upright wall is a mirror without a glide, and every report that holds it
was reflected where the line from the station's image to the user meets the wall.  Those points give
the wall's extent, and their heights a lower bound of its height.  Points of one plane (a path and
its twin by way of the ground) are one wall; sequences of several walls say nothing alone.

Takes a `VirtualAnchorMap`.
Gives `Walls`, and files of them.
"""

import json
import pathlib
from collections.abc import Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.checks import InputError
from echoscape.files import atomic_path
from echoscape.scene import PointKind
from echoscape.scene.static_point_views import mirror_walls

_REPORTED = 0.5  # probability above which a report is taken to hold a point
_FEWEST = 4  # reports that make a wall
_GLIDE = 3.0  # deviations of the glide of a single wall
_SAME_ANGLE, _SAME_DISTANCE = 0.03, 1.0  # of points of one plane [rad, m]
_CROSSED = 2.0  # walls that cross so far from all their ends contradict each other [m]


class Walls(eqx.Module):
    """Upright rectangles that reflect, in the site's frame."""

    start: Float[np.ndarray, "wall 2"]
    """First corner in the plane [m]."""
    end: Float[np.ndarray, "wall 2"]
    """Second corner in the plane [m]."""
    low: Float[np.ndarray, " wall"]
    """Lowest reflection seen [m]."""
    high: Float[np.ndarray, " wall"]
    """Highest reflection seen: the wall is at least so high [m]."""
    reports: Int[np.ndarray, " wall"]
    """How many reflections were reported."""


def find_walls(channel_map: ChannelMap) -> Walls:
    """Find the walls that single reflections of a map show.

    Args:
        channel_map: A map of virtual anchors.

    Raises:
        InputError: It is another kind of map, or no single reflection is in it.
    """
    if not isinstance(channel_map, VirtualAnchorMap):
        raise InputError(
            "walls follow from a map of virtual anchors (map fit --model virtual-anchors); the map "
            f"of {channel_map.station!r} is of another kind"
        )
    station = np.asarray(channel_map.station_position, float)
    points, error = channel_map.points, channel_map.error
    plane = mirror_walls(points)
    normal, distance = np.asarray(plane.normal, float), np.asarray(plane.distance, float)
    lever = np.linalg.norm(np.asarray(error.centre), axis=1)
    allowed = _GLIDE * np.sqrt(error.variance + np.asarray(error.rotation_variance) * lever**2)
    single = np.asarray(points.kind) == PointKind.VIRTUAL_ANCHOR
    single &= np.nan_to_num(np.abs(plane.glide), nan=np.inf) < np.minimum(allowed, 2.0)
    bounce: list[list[np.ndarray]] = []
    planes: list[tuple[np.ndarray, float]] = []
    report, point = reported_points(channel_map)
    for k in np.argsort(-np.bincount(point, minlength=len(points)), kind="stable"):
        user = np.asarray(channel_map.report_position, float)[report[point == k]]
        if not single[k] or len(user) < _FEWEST:
            continue
        flat = np.r_[normal[k], 0.0]
        image = station - 2 * (station @ flat - distance[k]) * flat
        share = (distance[k] - image @ flat) / ((user - image) @ flat)
        spot = image + share[:, None] * (user - image)
        sign, height = (
            float(np.asarray(each)[k])
            for each in (points.vertical_reflection, points.height_offset)
        )
        level = station[2] + share * (sign * user[:, 2] + height - station[2])
        # by way of the ground, which lies at half the offset: the line is folded there
        spot[:, 2] = np.maximum(level, height - level) if sign < 0 else level
        spot = spot[(share > 0) & (share < 1)]
        if not len(spot):
            continue
        same = [
            i
            for i, (n, d) in enumerate(planes)
            if abs(n @ normal[k]) > np.cos(_SAME_ANGLE)
            and np.all(np.abs(spot[:, :2] @ n - d) < _SAME_DISTANCE)
        ]
        if same:
            bounce[same[0]].append(spot)
        else:
            planes.append((normal[k], float(distance[k])))
            bounce.append([spot])
    rows = []
    for (n, d), parts in zip(planes, bounce):
        spot = np.concatenate(parts)
        along = np.array([-n[1], n[0]])
        reach = spot[:, :2] @ along
        ends = [d * n + side * along for side in (reach.min(), reach.max())]
        rows.append((*ends, spot[:, 2].min(), spot[:, 2].max(), len(spot)))
    if not rows:
        raise InputError(
            f"the map of {channel_map.station!r} holds no single reflection in an upright wall "
            f"that {_FEWEST} reports share: they show no wall"
        )
    start, end, low, high, count = (np.array(column) for column in zip(*rows))
    return Walls(start, end, low, high, count)


def contradictions(walls: Walls) -> Int[np.ndarray, "pair 2"]:
    """List the walls that cross in their middles, as no two walls do, the better known one first.

    One of the two is no wall: a sequence of several that looks like one, or a wall of a time when
    the other did not stand.
    """
    order = np.argsort(-walls.reports, kind="stable")
    first, second = (order[k] for k in np.nonzero(np.triu(np.ones((len(order),) * 2), 1)))
    along = walls.end - walls.start
    extent = np.maximum(np.linalg.norm(along, axis=1), 1e-9)
    one, other = along[first], along[second]
    crossing = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    parallel = np.abs(crossing) < np.sin(_SAME_ANGLE) * extent[first] * extent[second]
    crossing = np.where(parallel, np.inf, crossing)
    away = walls.start[second] - walls.start[first]
    inside = ~parallel
    for share, k in (
        ((away[:, 0] * other[:, 1] - away[:, 1] * other[:, 0]) / crossing, first),
        ((away[:, 0] * one[:, 1] - away[:, 1] * one[:, 0]) / crossing, second),
    ):
        inside &= np.minimum(share, 1 - share) * extent[k] > _CROSSED
    return np.stack([first[inside], second[inside]], 1)


def reported_points(
    channel_map: VirtualAnchorMap,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """List reports and the points that they hold, or probably hold in maps without a state.

    Args:
        channel_map: A map of virtual anchors.

    Returns:
        Index of the report and of the point, pair by pair.
    """
    if channel_map.state is not None:
        return np.asarray(channel_map.state.report), np.asarray(channel_map.state.point)
    station = np.asarray(channel_map.station_position)[:2]
    place = np.asarray(channel_map.report_position)[:, :2] - station
    cell = np.round((place - np.asarray(channel_map.corner)) / channel_map.step).astype(int)
    east, north = np.clip(cell, 0, np.array(channel_map.slot.shape[:2]) - 1).T
    row, slot = np.nonzero(np.asarray(channel_map.probability)[east, north] > _REPORTED)
    return row, np.asarray(channel_map.slot)[east, north][row, slot]


def write_walls(walls: Mapping[str, Walls], path: pathlib.Path) -> None:
    """Write walls as lines with heights (.geojson) or as rectangles (.ply).

    Args:
        walls: Of every station.
        path: The file.

    Raises:
        InputError: The name ends otherwise.
    """
    if path.suffix == ".geojson":
        features = [feature for name, each in walls.items() for feature in _features(name, each)]
        text = json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"
    elif path.suffix == ".ply":
        text = _ply(list(walls.values()))
    else:
        raise InputError(f"walls are written as .geojson or .ply; got {path.name!r}")
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _features(station: str, walls: Walls) -> list[dict]:
    columns = (walls.start, walls.end, walls.low, walls.high, walls.reports)
    return [
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [start.tolist(), end.tolist()]},
            "properties": {
                "station": station, "low": float(low), "high": float(high), "reports": int(count)
            },
        }
        for start, end, low, high, count in zip(*columns)
    ]  # fmt: skip


def _ply(walls: list[Walls]) -> str:
    corners, faces = [], []
    for each in walls:
        for start, end, low, high in zip(each.start, each.end, each.low, each.high):
            first = len(corners)
            corners += [(*start, low), (*end, low), (*end, high), (*start, high)]
            faces.append((first, first + 1, first + 2, first + 3))
    head = [
        "ply", "format ascii 1.0", f"element vertex {len(corners)}",
        *(f"property double {axis}" for axis in "xyz"), f"element face {len(faces)}",
        "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    rows = [" ".join(f"{value:.6g}" for value in corner) for corner in corners]
    rows += ["4 " + " ".join(map(str, face)) for face in faces]
    return "\n".join([*head, *rows]) + "\n"
