"""A station that few or none reported of, from the walls that the maps of other stations show.

An isometry of walls is the same for all stations, so the static points of other maps, and what two
of their walls make together, are where a fit begins (`shared_points`).  Without any report, each
sequence of up to two walls, by way of the ground or not, has a path by images; it counts where its
bounces lie on the walls, as far as reflections were seen there, and no known wall stands between.

Takes maps of virtual anchors by station.
Gives `StaticPoints`, or a `VirtualAnchorMap` of a new station.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap, point_covariance
from echoscape.channel_map.virtual_anchors.table import PointError
from echoscape.channel_map.walls import Walls, contradictions, find_walls
from echoscape.checks import InputError
from echoscape.scene import PointKind, StaticPoints, rotation_matrix
from echoscape.scene.static_points import compose, concatenate

_STEP, _MARGIN, _SLOTS = 2.0, 15.0, 40  # of the raster [m, m, 1]
_WALL_ERROR = 0.3  # of one reflection, across the wall [m]
_PLANE_ERROR, _TURN_ERROR = 0.1, 1e-3  # of a wall, however many reflections [m, rad]
_BEYOND = 8.0  # scale at which a wall ends beyond the last reflection seen [m]
_SEEN, _FARTHEST = 0.9, 3.0  # probability where the geometry says so; scales beyond a wall
_LOSS, _GROUND_LOSS = 1.6, 0.7  # of one reflection [nat of power]
_GAIN_STD = 1.0  # of the log gain that follows from it
_REPORTED = 5  # strongest paths that a receiver reports
_USERS = 1.5  # height of users above the ground, where no reflection in it was reported [m]


class _Sequences(NamedTuple):
    """Sequences of up to two walls; -1 stands for none."""

    points: StaticPoints
    error: PointError
    wall: np.ndarray


def shared_points(maps: Mapping[str, ChannelMap]) -> StaticPoints:
    """Collect the points that a fit of another station begins with.

    Args:
        maps: Maps of virtual anchors, by station.

    Raises:
        InputError: A map is of another kind, or none shows a wall.
    """
    _, _, sequences = _of_maps(maps)
    covariance = point_covariance(sequences.points, sequences.error)
    made = _with(sequences.points, covariance)
    sets = []
    for name, each in maps.items():
        points = each.static_points()
        fit = np.asarray(points.kind) != PointKind.UNDETERMINED
        if isinstance(each, VirtualAnchorMap) and each.state is not None:
            fit &= np.arange(len(points)) < len(each.state.statistics)
        sets.append(_with(points[fit], np.asarray(points.covariance)[fit], f"reports of {name}"))
    return concatenate([*sets, made])


def map_of_walls(
    maps: Mapping[str, ChannelMap], station: str, position: Sequence[float] | np.ndarray
) -> VirtualAnchorMap:
    """Make the map of a station without reports from the walls that other maps show.

    Args:
        maps: Maps of virtual anchors, by station.
        station: Name of the new one.
        position: Where it is [m].

    Raises:
        InputError: A map is of another kind, or none shows a wall.
    """
    position = np.asarray(position, float)
    walls, users, sequences = _of_maps(maps)
    low, high = users[:, :2].min(axis=0) - _MARGIN, users[:, :2].max(axis=0) + _MARGIN
    step = max(_STEP, float(np.sqrt(np.prod(high - low) / 40_000)))
    east, north = (np.arange(low[k], high[k] + step, step) for k in (0, 1))
    cells = np.stack(np.meshgrid(east, north, indexing="ij"), -1).reshape(-1, 2)
    place = np.c_[cells, np.full(len(cells), np.median(users[:, 2]))]
    chance = _chance(walls, sequences, position, place)
    slots = min(_SLOTS, chance.shape[1])
    slot = np.argsort(-chance, axis=1, kind="stable")[:, :slots]
    probability = np.take_along_axis(chance, slot, 1)
    shape = (len(east), len(north), slots)
    return VirtualAnchorMap(
        points=sequences.points, error=sequences.error,
        slot=slot.reshape(shape).astype(np.int32),
        probability=probability.reshape(shape).astype(np.float32),
        corner=low - position[:2], report_position=users, station_position=position,
        station=station, step=step,
    )  # fmt: skip


def _of_maps(maps: Mapping[str, ChannelMap]) -> tuple[Walls, np.ndarray, _Sequences]:
    """Join the walls of all maps, list their users, and what up to two walls make."""
    if not maps:
        raise InputError("walls come from maps; got none")
    found = [find_walls(each) for each in maps.values()]
    walls = Walls(*(np.concatenate([getattr(w, n) for w in found]) for n in _FIELDS))
    walls = Walls(*(getattr(walls, n)[_different(walls)] for n in _FIELDS))
    users = np.concatenate([np.asarray(each.report_position, float) for each in maps.values()])
    return walls, users, _sequences(walls, _ground(maps, users))


_FIELDS = ("start", "end", "low", "high", "reports")


def _with(points: StaticPoints, covariance, source: str = "walls") -> StaticPoints:
    """Keep of points what their isometries say."""
    leaves = (points.kind, points.rotation, points.reflection, points.offset,
              points.vertical_reflection, points.height_offset)  # fmt: skip
    return StaticPoints(
        *map(np.asarray, leaves), covariance=covariance,
        origin=np.zeros(len(points), int), provenance=(source,),
    )  # fmt: skip


def _plane(walls: Walls):
    """Give every wall its normal, distance, middle and extent."""
    along = walls.end - walls.start
    extent = np.maximum(np.linalg.norm(along, axis=1), 1e-3)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / extent[:, None]
    middle = 0.5 * (walls.start + walls.end)
    return normal, np.sum(normal * middle, axis=1), middle, extent


def _different(walls: Walls) -> np.ndarray:
    """Choose the best known of walls that several maps show, and of those that contradict."""
    normal, distance, middle, extent = _plane(walls)
    crossed = {(int(i), int(k)) for i, k in contradictions(walls)}
    kept: list[int] = []
    for k in np.argsort(-walls.reports, kind="stable"):
        same = any((i, int(k)) in crossed for i in kept)
        for i in kept:
            near = abs(normal[i] @ middle[k] - distance[i])
            along = abs(np.array([-normal[i][1], normal[i][0]]) @ (middle[k] - middle[i]))
            parallel = abs(normal[i] @ normal[k])
            same |= parallel > 0.999 and near < 1.0 and along < 0.5 * (extent[i] + extent[k])
        if not same:
            kept.append(int(k))
    return np.array(sorted(kept), int)


def _ground(maps: Mapping[str, ChannelMap], users) -> float:
    """Find the height of the ground from reflections in it, else below the users [m]."""
    heights = [np.zeros(0)]
    for each in maps.values():
        points = each.static_points()
        some = np.asarray(points.vertical_reflection) < 0
        some &= np.asarray(points.kind) == PointKind.VIRTUAL_ANCHOR
        heights.append(0.5 * np.asarray(points.height_offset)[some])
    found = np.concatenate(heights)
    return float(np.median(found)) if len(found) else float(users[:, 2].min()) - _USERS


def _sequences(walls: Walls, ground: float) -> _Sequences:
    """List the straight line, every wall and every ordered pair, each by way of the ground too."""
    normal, distance, middle, extent = _plane(walls)
    count = len(distance)
    single = StaticPoints.from_walls(np.c_[normal, np.zeros(count)], distance)
    i, j = np.nonzero(~np.eye(count, dtype=bool))
    level = StaticPoints.from_walls(np.array([[0.0, 0.0, 1.0]]), np.array([ground]))
    line = compose(level, level)  # twice the same plane is none
    sets = [line, single, compose(single[i], single[j])]
    straight = concatenate(sets)
    total = len(straight)
    both = concatenate([straight, compose(straight, level[np.zeros(total, int)])])
    wall = np.full((total, 2), -1)
    wall[1 : 1 + count, 0] = np.arange(count)
    wall[1 + count :] = np.stack([i, j], 1)
    # errors of a wall: across it, and of its azimuth about its middle
    across = _PLANE_ERROR**2 + _WALL_ERROR**2 / walls.reports
    turn = _TURN_ERROR**2 + 12 * _WALL_ERROR**2 / (walls.reports * extent**2)
    variance, rotation = np.full(total, _PLANE_ERROR**2), np.zeros(total)
    centre = np.zeros((total, 2))
    for k in (0, 1):
        has = wall[:, k] >= 0
        variance[has] += 4 * across[wall[has, k]]
        rotation[has] += 4 * turn[wall[has, k]]
        centre[has] = middle[wall[has, k]]
    pair = wall[:, 1] >= 0
    apart = np.sum((middle[wall[pair, 0]] - middle[wall[pair, 1]]) ** 2, axis=1)
    variance[pair] += 4 * turn[wall[pair, 0]] * apart
    bounces = np.sum(wall >= 0, axis=1)
    gain = np.r_[-_LOSS * bounces, -_LOSS * bounces - _GROUND_LOSS]
    points = StaticPoints(
        kind=np.asarray(both.kind), rotation=np.asarray(both.rotation),
        reflection=np.asarray(both.reflection), offset=np.asarray(both.offset),
        vertical_reflection=np.asarray(both.vertical_reflection),
        height_offset=np.asarray(both.height_offset), log_gain=gain,
        log_gain_std=np.full(2 * total, _GAIN_STD), visibility=np.full(2 * total, np.nan),
        confirmed=np.full(2 * total, np.nan),
    )  # fmt: skip
    twice = lambda leaf: np.concatenate([leaf, leaf])  # noqa: E731
    error = PointError(twice(centre), twice(variance), twice(rotation), np.zeros(2 * total))
    return _Sequences(points, error, twice(wall))


def _chance(walls: Walls, sequences: _Sequences, station, place) -> np.ndarray:
    """Give the probability that each sequence's path is reported at places [place, sequence]."""
    half = len(sequences.wall) // 2
    exists = np.zeros((len(place), half))
    for k in range(half):
        exists[:, k] = _exists(walls, sequences.wall[k], station[:2], place[:, :2])
    chance = _SEEN * np.concatenate([exists, exists], axis=1)
    points = sequences.points
    matrix = rotation_matrix(points)
    image = np.einsum("pij,cj->cpi", matrix, place[:, :2]) + points.offset - station[:2]
    height = points.vertical_reflection * place[:, 2:] + points.height_offset - station[2]
    power = np.asarray(points.log_gain) - np.log(np.sum(image**2, axis=2) + height**2 + 1.0)
    order = np.argsort(-power, axis=1, kind="stable")
    sorted_ = np.take_along_axis(chance, order, 1)
    stronger = np.cumsum(sorted_, axis=1) - sorted_
    among = 1.0 / (1.0 + np.exp(stronger - (_REPORTED - 0.5)))
    np.put_along_axis(chance, order, sorted_ * among, 1)
    return chance


def _exists(walls: Walls, wall, station, place) -> np.ndarray:
    """Tell how surely a sequence has a path: its bounces on the walls, nothing between."""
    normal, distance, middle, extent = _plane(walls)
    used = [int(k) for k in wall if k >= 0]
    images = [place]  # of the place, across the last wall first
    for k in reversed(used):
        away = images[-1] @ normal[k] - distance[k]
        images.append(images[-1] - 2 * away[:, None] * normal[k])
    sure, alive = np.zeros(len(place)), np.arange(len(place))
    left, corner = np.ones(len(place)), np.broadcast_to(station, place.shape)
    for turn, k in enumerate([*used, -1]):
        if k < 0:
            end = place[alive]
            good = np.ones(len(alive), bool)
        else:
            ahead = images[len(used) - turn][alive] - corner
            fall = ahead @ normal[k]
            share = (distance[k] - corner @ normal[k]) / np.where(fall == 0, np.inf, fall)
            end = corner + share[:, None] * ahead
            along = (end - middle[k]) @ np.array([normal[k][1], -normal[k][0]])
            beyond = np.maximum(np.abs(along) - 0.5 * extent[k], 0.0)
            good = (share > 0) & (share < 1) & (beyond < _FARTHEST * _BEYOND)
            left = left * np.exp(-beyond / _BEYOND)
        good = np.flatnonzero(good)
        skip = {k} | ({used[turn - 1]} if turn else set())
        good = good[~_blocked(walls, corner[good], end[good], skip)]
        alive, left, corner = alive[good], left[good], end[good]
    sure[alive] = left
    return sure


def _blocked(walls: Walls, start, end, skip: set[int]) -> Bool[np.ndarray, " leg"]:
    """Tell whether a leg crosses a wall where reflections were seen on it."""
    blocked = np.zeros(len(start), bool)
    ray = end - start
    for k in range(len(walls.low)):
        if k in skip:
            continue
        along = walls.end[k] - walls.start[k]
        crossing = ray[:, 0] * along[1] - ray[:, 1] * along[0]
        crossing = np.where(np.abs(crossing) < 1e-12, np.inf, crossing)
        away = walls.start[k] - start
        share = (away[:, 0] * along[1] - away[:, 1] * along[0]) / crossing
        where = (away[:, 0] * ray[:, 1] - away[:, 1] * ray[:, 0]) / crossing
        blocked |= (share > 1e-3) & (share < 1 - 1e-3) & (where > 0) & (where < 1)
    return blocked
