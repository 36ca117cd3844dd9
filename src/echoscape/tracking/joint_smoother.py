"""What the whole walk says of every instant: user and static points, smoothed together.

A point of a filter remembers the user's error of the time at which it was placed, so smoothing the
user alone leaves slow drifts as they were.  Here the walk and all points that were followed are one
least-squares problem, with the filter's associations; errors of a path follow the filter's Student
law, so that a wrong association counts little.

Takes the record of a filter, and what was detected.
Gives the record with user, points, clock and headings smoothed.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import cho_solve, solve_triangular

from echoscape.numerics.block_tridiagonal import invert_band
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.map_start import KnownPoints
from echoscape.tracking.record import Record
from echoscape.tracking.smoothing_system import (
    HEADING,
    SHARED,
    Factors,
    Problem,
    Walk,
    assemble,
    cubic,
    quarter,
    solve,
    turn_matrix,
    turning_sense,
)
from echoscape.tracking.track_management import ESTABLISHED

_KNOT_ERROR = 0.02  # deviation of a user from the cubic between two knots [m]
_MOST_STEPS = 15
_CLOSE = 3e-3  # step of the user at which iteration ends [m]


def smooth_jointly(
    record: Record,
    seen: Detections,
    time: Float[np.ndarray, " time"],
    known_position: Float[np.ndarray, "time 3"],
    known: Bool[np.ndarray, " time"],
    station: Float[np.ndarray, "3"],
    start: Float[np.ndarray, "6"],
    settings: JointFilter,
    points: KnownPoints | None = None,
) -> Record:
    """Fit user and points to all instants, beginning from what the filter left.

    Args:
        record: What the filter left.
        seen: What was detected.
        time: Instants, two at least [s].
        known_position: The user's position where it is given, in the site's frame [m].
        known: Where it is.
        station: Position of the station [m].
        start: Position and velocity with which the user was said to start [m, m/s].
        settings: What the filter assumed.
        points: The points of a map that it started with.
    """
    about = (np.asarray(known_position), np.asarray(known), np.asarray(station, float))
    problem, walk = lay_out(record, seen, np.asarray(time), *about, start, settings, points)
    for step in range(_MOST_STEPS):
        # at first a residual may come of the filter's error as well as of the path
        temper = max(1.0, 4.0 ** (2 - step))
        factors, by_knots, by_rest = solve(assemble(walk, problem, temper))
        by_knots = by_knots.reshape(-1, 6)
        walk = Walk(
            walk.user + by_knots,
            walk.shared + by_rest[:SHARED],
            walk.point + by_rest[SHARED:].reshape(-1, 4),
        )
        if temper == 1.0 and np.abs(by_knots[:, :3]).max() < _CLOSE:
            break
    return write_back(record, problem, walk, factors)


def lay_out(
    record: Record,
    seen: Detections,
    time: Float[np.ndarray, " time"],
    known_position: Float[np.ndarray, "time 3"],
    known: Bool[np.ndarray, " time"],
    station: Float[np.ndarray, "3"],
    start: Float[np.ndarray, "6"],
    settings: JointFilter,
    points: KnownPoints | None = None,
) -> tuple[Problem, Walk]:
    """Lay out the paths of the points that were detected often enough, and where to begin."""
    identity = np.asarray(record.identity)
    detection = np.where(identity >= 0, np.asarray(record.detection), -1)
    instant, slot = np.nonzero(detection >= 0)
    number = identity[instant, slot]
    of_map = 0 if points is None else len(points.kind)
    found, count = np.unique(number, return_counts=True)
    kept = np.union1d([0], found[(count >= ESTABLISHED) | (found <= of_map)])
    keep = np.isin(number, kept)
    instant, slot, number = instant[keep], slot[keep], number[keep]
    point = np.searchsorted(kept, number)

    last = np.zeros(len(kept), int)
    last[point] = np.arange(len(point))  # the last of each stays
    row, column = (each[last] if len(point) else np.zeros(1, int) for each in (instant, slot))
    kind = np.asarray(record.kind)[row, column].copy()
    kind[0] = AnchorType.STATION
    anchor = np.asarray(record.anchor)[row, column].copy()
    anchor[0] = station
    rotation = np.asarray(record.rotation)[row, column]
    prior = np.concatenate([anchor, rotation[:, None]], axis=1)
    information = np.zeros((len(kept), 4, 4))
    level = _placed_level(record, kept, float(settings.level_std))
    level = level & (kind != AnchorType.SCATTERER) & (kept > of_map)
    prior[level, 2] = station[2]
    information[level, 2, 2] = float(settings.level_std) ** -2
    if points is not None:
        ours = (kept > 0) & (kept <= of_map)
        prior[ours] = np.asarray(points.coordinate)[kept[ours] - 1]
        information[ours] = np.linalg.inv(np.asarray(points.covariance)[kept[ours] - 1])
        turns = (kind == AnchorType.EVEN) | (kind == AnchorType.ODD)
        information[~turns, 3], information[~turns, :, 3] = 0.0, 0.0

    begin = time - time[0]
    spacing = (192 * _KNOT_ERROR**2 / float(settings.manoeuvre) ** 2) ** (1 / 3)
    knots = [0]
    for k in range(1, len(begin) - 1):
        if begin[k + 1] - begin[knots[-1]] > spacing + 1e-9:
            knots.append(k)
    knots.append(len(begin) - 1)
    which = detection[instant, slot]
    problem = Problem(
        time=begin,
        knot=begin[knots],
        instant=instant,
        point=point,
        measured=np.asarray(seen.measured)[instant, which],
        std=np.asarray(seen.std)[instant, which],
        identity=kept,
        kind=kind,
        reflection=np.asarray(record.reflection)[row, column],
        vertical_reflection=np.asarray(record.vertical_reflection)[row, column],
        prior=prior,
        information=information,
        station=station,
        start=np.asarray(start, float),
        known_position=known_position,
        known=known,
        settings=settings,
    )
    shared = np.asarray(record.nuisance)[-1].copy()
    shared[0] -= shared[1] * begin[-1]
    back, pivot = turn_matrix(-shared[HEADING]), problem.pivot
    user = np.asarray(record.user)[knots]
    rotation = rotation + turning_sense(problem) * shared[HEADING]
    anchor = pivot + (anchor - pivot) @ back.T
    anchor[0] = station
    return problem, Walk(
        np.concatenate([pivot + (user[:, :3] - pivot) @ back.T, user[:, 3:] @ back.T], axis=1),
        shared,
        np.concatenate([anchor, rotation[:, None]], axis=1),
    )


def _placed_level(record: Record, kept: np.ndarray, level_std: float) -> Bool[np.ndarray, " point"]:
    """Tell which points were placed at the station's height."""
    instant, slot = np.nonzero(np.isin(np.asarray(record.identity), kept))
    number = np.searchsorted(kept, np.asarray(record.identity)[instant, slot])
    first = np.zeros(len(kept), int)
    first[number[::-1]] = np.arange(len(number))[::-1]
    rise = np.asarray(record.anchor_covariance)[instant[first], slot[first], 2, 2]
    return rise < 1.5 * level_std**2


def write_back(record: Record, problem: Problem, walk: Walk, factors: Factors) -> Record:
    """Put the smoothed walk and points, with their covariances, into the filter's record."""
    covariance = cho_solve(factors.inner, np.eye(len(factors.inner[0])))
    exact = np.flatnonzero(problem.shared_std == 0)
    covariance[exact], covariance[:, exact] = 0.0, 0.0
    user, user_covariance = _smoothed_user(problem, walk, factors, covariance)

    clock = walk.shared[0] + walk.shared[1] * problem.time
    onward = np.stack([np.ones_like(clock), problem.time], axis=1)
    variance = np.einsum("ta,ab,tb->t", onward, covariance[:2, :2], onward)
    constant = onward[:, :1]
    nuisance = np.concatenate([clock[:, None], constant * walk.shared[1:]], axis=1)
    std = np.sqrt(np.diagonal(covariance)[1:SHARED])
    std = np.concatenate([np.sqrt(variance)[:, None], constant * std], axis=1)

    turn, pivot = turn_matrix(walk.shared[HEADING]), problem.pivot
    leg = (walk.point[:, :3] - pivot) @ turn.T
    block = problem.own[:, :3]
    spread = turn @ covariance[block[:, :, None], block[:, None, :]] @ turn.T
    cross = covariance[block, HEADING] @ turn.T
    spread = _with_heading(spread, cross, quarter(leg), covariance[HEADING, HEADING])
    rotation = walk.point[:, 3] - turning_sense(problem) * walk.shared[HEADING]

    identity = np.asarray(record.identity)
    index = np.minimum(np.searchsorted(problem.identity, identity), len(problem.identity) - 1)
    ours = (problem.identity[index] == identity) & (identity > 0)
    return eqx.tree_at(
        lambda r: (
            r.user, r.user_covariance, r.nuisance, r.nuisance_std, r.anchor, r.anchor_covariance,
            r.rotation,
        ),
        record,
        (
            user, user_covariance, nuisance, std,
            np.where(ours[..., None], (pivot + leg)[index], record.anchor),
            np.where(ours[..., None, None], spread[index], record.anchor_covariance),
            np.where(ours, rotation[index], record.rotation),
        ),
    )  # fmt: skip


def _smoothed_user(problem, walk, factors, covariance):
    """Give the user at every instant, in the site's frame, with covariance."""
    root = solve_triangular(factors.inner[0], factors.gain.T, lower=True)
    root = root.reshape(len(root), -1, 6).transpose(1, 2, 0)
    own, right = invert_band(factors.banded)
    own = own + root @ np.swapaxes(root, 1, 2)
    right = right + root[:-1] @ np.swapaxes(root[1:], 1, 2)
    upper = np.concatenate([own[:-1], right], axis=2)
    lower = np.concatenate([np.swapaxes(right, 1, 2), own[1:]], axis=2)
    pair = np.concatenate([upper, lower], axis=1)
    by_heading = -(factors.gain @ covariance[:, HEADING]).reshape(-1, 6)
    by_heading = np.concatenate([by_heading[:-1], by_heading[1:]], axis=1)

    interval, at, rate = cubic(problem)
    weight = np.zeros((len(problem.time), 2, 3, 4, 3))
    axis = np.arange(3)
    weight[:, 0, axis, :, axis], weight[:, 1, axis, :, axis] = at, rate
    weight = weight.reshape(-1, 6, 12)
    local = np.einsum("tab,tb->ta", weight, walk.steps[interval])
    spread = weight @ pair[interval] @ np.swapaxes(weight, 1, 2)
    # the user's deviation from the cubic
    gap = np.diff(problem.knot)[interval]
    part = (problem.time - problem.knot[interval]) / gap
    spread[:, axis, axis] += ((gap * part * (1 - part)) ** 3 / 3)[:, None] * problem.density

    turn, pivot = turn_matrix(walk.shared[HEADING]), problem.pivot
    leg, velocity = (local[:, :3] - pivot) @ turn.T, local[:, 3:] @ turn.T
    twice = np.kron(np.eye(2), turn)
    cross = np.einsum("tab,tb->ta", weight, by_heading[interval]) @ twice.T
    around = np.concatenate([quarter(leg), quarter(velocity)], axis=1)
    spread = twice @ spread @ twice.T
    spread = _with_heading(spread, cross, around, covariance[HEADING, HEADING])
    return np.concatenate([pivot + leg, velocity], axis=1), spread


def _with_heading(spread, cross, around, variance):
    """Add the part of a covariance that comes of the heading."""
    both = cross[..., :, None] * around[..., None, :]
    both = both + np.swapaxes(both, -1, -2)
    return spread + both + variance * around[..., :, None] * around[..., None, :]
