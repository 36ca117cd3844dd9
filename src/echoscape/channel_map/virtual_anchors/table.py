"""Fitted points, and the paths left beside them, as one set of static points with errors.

A path that follows no anchor was met by too few reports to tell how it turns with the user.  It
is turned as its arrival angle says where that was reported; else like the anchor that stands at
the same point in the plane (a path's twin by way of the ground turns alike); else, if one more
report holds a path as far from it as the users are apart, in both ways that two allow; and stands
still, ever less certain, where nothing is known.

Takes `UnfoldedPaths` and the `FittedPoint`s found among them.
Gives `StaticPoints`, their `PointError`, and every point's rank in every report.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from echoscape.channel_map.storage import storable
from echoscape.channel_map.updating.statistics import PointStatistics, gather_statistics
from echoscape.channel_map.virtual_anchors.search import (
    FittedPoint,
    fit_isometry,
    isometry_matrix,
    misfit,
)
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths
from echoscape.channel_map.visibility import NOT_REPORTED
from echoscape.estimation import AnyArray
from echoscape.scene import PointKind, StaticPoints, translate
from echoscape.units import wrap_angle

_PAIR_REACH = 25.0  # farther apart two paths alike by chance are too many [m]
_TURN_VARIANCE = 4e-4  # of a turn taken over from another path [rad^2]
_GATE = 3.5  # standard deviations
LEAST_RANK = 90
"""Ranks beyond it are kept as this one."""
_SMALLEST = 0.1**2  # variance of an anchor's point, however many follow it [m^2]


@storable("point-error")
class PointError(eqx.Module):
    """How far a predicted image of the user is from the true one; one entry for each point."""

    centre: Float[AnyArray, "point 2"]
    """Middle of the reports that confirm the point, in the site's frame [m]."""
    variance: Float[AnyArray, " point"]
    """Variance of the image of a user at `centre`, in each axis; of an edge's position [m^2]."""
    rotation_variance: Float[AnyArray, " point"]
    """Variance of the rotation angle about `centre` [rad^2]."""
    stretch_variance: Float[AnyArray, " point"]
    """Variance of the image that grows with the squared distance from `centre` [1]."""


def tabulate(
    paths: UnfoldedPaths,
    anchors: list[FittedPoint],
    free: Bool[np.ndarray, " path"],
    station: Float[np.ndarray, "3"],
    time: Float[np.ndarray, " report"],
) -> tuple[StaticPoints, PointError, Int[np.ndarray, "report point"]]:
    """List fitted points, and paths that follow none, as static points; rank them in every report.

    Args:
        paths: All paths, in the station's frame.
        anchors: The fitted points.
        free: Paths that follow none.
        station: Where the station is [m].
        time: When each report was measured [s].

    Returns:
        The points, the errors of their predictions, and the rank of each point in each report.
    """
    around = [paths.report[anchor.member] for anchor in anchors]
    pool, listed = rows_of_pool(paths, np.flatnonzero(free), anchors, around)
    rows = [_row_of_anchor(paths, anchor) for anchor in anchors] + pool
    listed = [anchor.member for anchor in anchors] + listed
    rank = np.full((len(time), len(rows)), NOT_REPORTED, dtype=np.int8)
    for row, member in enumerate(listed):
        rank[paths.report[member], row] = np.minimum(paths.rank[member], LEAST_RANK)
    reported = rank < NOT_REPORTED
    confirmed = np.where(reported, time[:, None], -np.inf).max(axis=0)
    points, error = join_rows(rows, station, reported.mean(axis=0), confirmed)
    return points, error, rank


def rows_of_pool(
    paths: UnfoldedPaths,
    free: Int[np.ndarray, " free"],
    anchors: list[FittedPoint],
    around: list[np.ndarray],
) -> tuple[list[tuple], list[np.ndarray]]:
    """Describe paths that follow no anchor, each as a point of its own or two that it may follow.

    Args:
        paths: Paths, in the station's frame.
        free: Those that follow none.
        anchors: The anchors, whatever paths they are of.
        around: Reports that hold each anchor.

    Returns:
        Rows for `join_rows`, and the paths of each.
    """
    rows: list[tuple] = []
    listed: list[np.ndarray] = []
    turned = paths.has_arrival[free]
    for k in free[turned]:
        rows.append(_row_of_path(paths, k))
        listed.append(np.array([k]))
    unknown = free[~turned]
    explained: set[int] = set()  # by the guess of another path
    for k, guesses in zip(unknown, _guess_turns(paths, anchors, around, unknown)):
        if k in explained:
            continue
        explained.update(*(guess.member for guess in guesses))
        rows += [_row_of_anchor(paths, guess) for guess in guesses] or [_row_of_path(paths, k)]
        listed += [guess.member for guess in guesses] or [np.array([k])]
    return rows, listed


def join_rows(
    rows: list[tuple],
    station: Float[np.ndarray, "3"],
    visibility: Float[np.ndarray, " point"],
    confirmed: Float[np.ndarray, " point"],
) -> tuple[StaticPoints, PointError]:
    """Make static points of rows that count from the station.

    Args:
        rows: Of anchors and of the pool.
        station: Where the station is [m].
        visibility: Share of the reports that hold each.
        confirmed: When each was last reported [s].
    """
    kind, rotation, reflection, offset, vertical, height, centre, *error, gain, gain_std = (
        np.array(column, dtype=float) for column in zip(*rows)
    )
    points = StaticPoints(
        kind=kind.astype(int),
        rotation=rotation,
        reflection=reflection,
        offset=offset,
        vertical_reflection=vertical,
        height_offset=height,
        log_gain=gain,
        log_gain_std=gain_std,
        visibility=visibility,
        confirmed=confirmed,
    )
    station = np.asarray(station, dtype=float)
    return translate(points, -station), PointError(centre + station[:2], *error)


def _guess_turns(
    paths: UnfoldedPaths, anchors: list[FittedPoint], holders: list[np.ndarray], loose
) -> list[list[FittedPoint]]:
    """Guess the isometries that paths met once or twice may follow; none where nothing tells."""
    if not len(loose):
        return []
    around = {int(report): list[FittedPoint]() for report in paths.report[loose]}
    for anchor, holder in zip(anchors, holders):
        for report in holder if anchor.reflection else ():
            if report in around:
                around[report].append(anchor)
    place, point, height = paths.place[loose], paths.point[loose], paths.height_std[loose]
    error = np.hypot(paths.along_std, paths.across_std)[loose]
    near = KDTree(place[:, :2]).query_ball_point(place[:, :2], _PAIR_REACH)
    found = []
    for row, k in enumerate(loose):
        twins = [
            anchor._replace(member=np.array([k]))
            for anchor in around[int(paths.report[k])]
            if misfit(paths, k, anchor.reflection, anchor.rotation, anchor.offset) < _GATE**2
        ]
        if twins:
            found.append(twins[:1])
            continue
        other = np.array([j for j in near[row] if j != row], dtype=int)
        apart = np.linalg.norm(place[other, :2] - place[row, :2], axis=1)
        moved = np.linalg.norm(point[other, :2] - point[row, :2], axis=1)
        rise = np.abs(point[other, 2] - point[row, 2]) - np.abs(place[other, 2] - place[row, 2])
        alike = np.abs(moved - apart) < _GATE * np.hypot(error[other], error[row])
        alike &= np.abs(rise) < _GATE * np.hypot(height[other], height[row])
        alike &= apart > 2.0 * error[row]  # a shorter lever tells no turn
        if not alike.any():
            found.append([])
            continue
        member = np.array([k, loose[other[alike][np.argmin(apart[alike])]]])
        weight = 1.0 / (paths.along_std[member] * paths.across_std[member])
        fits = [
            (reflection, *fit_isometry(paths, member, weight, reflection)) for reflection in (1, -1)
        ]
        found.append([FittedPoint(*fit, member=member) for fit in fits])
    return found


def _row_of_anchor(paths: UnfoldedPaths, anchor: FittedPoint):
    return row_of_statistics(gather_statistics(paths, [anchor]), 0, anchor, paths.model_error)


def row_of_statistics(
    sums: PointStatistics, k: int, anchor: FittedPoint, model_error: float
) -> tuple:
    """Describe an anchor by what its paths say together.

    Args:
        sums: Of several anchors.
        k: Which of them.
        anchor: Where it is; its members are not looked at.
        model_error: Of the search [m].
    """
    total, *placed, squared = sums.plain[k]
    centre = np.array(placed) / total
    excess = max(1.0, float(sums.misfit[k]) / max(2 * sums.count[k] - 3, 1))
    lever = float(squared - total * (centre @ centre))
    turn = min(excess / lever, 0.5) if lever > 1e-9 * squared else _TURN_VARIANCE
    sign, height = _height_rule(sums.height[k], float(sums.lowest[k]), float(sums.highest[k]))
    gain, gain_std = _gain(*sums.gain[k])
    if anchor.reflection:
        own = PointKind.VIRTUAL_ANCHOR, anchor.rotation, anchor.reflection, anchor.offset
        return (*own, sign, height, centre, _SMALLEST + excess / total, turn, 0.0, gain, gain_std)
    variance = _jitter_variance(sums.jitter[k], sums.count[k], model_error) + excess / total
    own = PointKind.EDGE, 0.0, 1.0, anchor.offset
    return (*own, sign, height, centre, variance, 0.0, 0.0, gain, gain_std)


def _jitter_variance(jitter, count, model_error: float) -> float:
    """Estimate the variance of a scatterer's place from report to report, in each axis [m^2].

    It is what reports' own errors leave unexplained; the model error of the search stands in for
    two more followers.
    """
    seen, pulled = jitter
    more = 2.0 * pulled / count
    pulled = pulled * (1.0 - 1.0 / count)
    return max(_SMALLEST, (seen + more * model_error**2) / (pulled + more))


def _row_of_path(paths: UnfoldedPaths, k):
    """Describe a path known at one place: turned as its arrival says, or not moving at all."""
    level, rise = 1.0 / paths.height_std[k] ** 2, paths.point[k, 2]
    below, above = rise - paths.place[k, 2], rise + paths.place[k, 2]
    heights = level * np.array([1.0, below, below**2, above, above**2])
    sign, height = _height_rule(heights, paths.place[k, 2], paths.place[k, 2])
    gain = paths.log_gain[k]
    gain, _ = _gain(1, gain, gain**2) if np.isfinite(gain) else _gain(0, 0.0, 0.0)
    place = paths.place[k, :2]
    variance = paths.along_std[k] * paths.across_std[k]
    if paths.has_arrival[k]:
        rotation = float(wrap_angle(paths.azimuth[k] - paths.arrival_azimuth[k] - np.pi))
        offset = paths.point[k, :2] - isometry_matrix(1, rotation) @ place
        own = PointKind.VIRTUAL_ANCHOR, rotation, 1.0, offset
        return (*own, sign, height, place, variance, 1e-4, 4e-4, gain, 0.5)
    own = PointKind.UNDETERMINED, 0.0, 1.0, paths.point[k, :2]
    return (*own, sign, height, place, variance, 0.0, 0.5, gain, 0.5)


def _height_rule(sums, lowest: float, highest: float):
    """Tell how the unfolded height follows the user's: same sense, or mirrored by the ground."""
    total, difference, difference_squared, mirrored_sum, mirrored_squared = sums
    same, mirrored = difference / total, mirrored_sum / total
    cost_same = difference_squared - same * difference
    cost_mirrored = mirrored_squared - mirrored * mirrored_sum
    if highest - lowest > 0.5 and abs(cost_same - cost_mirrored) > 1.0:
        upright = cost_same < cost_mirrored
    else:  # all users at one height: a path without ground bounce has its users' height
        upright = abs(same) <= 3.0 / np.sqrt(total) + 0.3
    return (1.0, float(same)) if upright else (-1.0, float(mirrored))


def _gain(count, total, squared):
    """Average log gains; wide if there are few, useless (but finite) if there are none."""
    if not count:
        return -40.0, 20.0
    mean = total / count
    spread = np.sqrt((0.5**2 + max(squared - total * mean, 0.0)) / count)
    return float(mean), float(np.clip(spread, 0.12, 3.0))
