"""Which static points explain the reports' paths: a search that needs no labels.

Two paths of two reports can share a wall sequence only if their unfolded points lie as far apart
as the users (the isometry test).  Each path in turn proposes the rotations and reflections that
map it and one partner, or, where the user's arrival angle is known, itself alone; and the point
scatterer that would explain it.  The proposal that most of its neighbours agree with is refined
on all paths that follow it, which are then taken out; until no proposal finds followers.

Takes `UnfoldedPaths`, and `StaticPoints` known before.
Gives `FittedPoint`s with the paths that they explain.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths
from echoscape.progress import Progress, silent
from echoscape.scene import PointKind, StaticPoints

_GATE = 3.5
"""Standard deviations within which a path and a point can belong together."""
_REACH = 80.0
"""Distance beyond which two reports seldom share a wall sequence in a street [m]."""
_PARTNERS = 96
"""Paths of neighbouring reports that vote on the proposals of a seed: bounds the memory."""
_PROPOSALS = 24
"""Partners of a seed that each propose two isometries: some of them share its walls."""
_SEEDS = 1500
"""Paths that propose in one round: bounds its time."""
_ROUNDS = 12
"""Rounds of proposals: the last ones find points of few paths only."""


class FittedPoint(NamedTuple):
    """An isometry of the plane, or a scattering edge, in the station's frame."""

    reflection: int
    """1 or -1 of an isometry; 0 for an edge."""
    rotation: float
    """Rotation angle of an isometry; azimuth of an edge [rad]."""
    offset: Float[np.ndarray, "2"]
    """Shift after the rotation; position of an edge [m]."""
    member: Int[np.ndarray, " member"]
    """Paths that it explains, at most one of each report."""


def isometry_matrix(reflection, rotation) -> Float[np.ndarray, "*batch 2 2"]:
    """Build ``R(rotation) diag(1, reflection)``."""
    c, s = np.cos(rotation), np.sin(rotation)
    return np.stack([np.stack([c, -reflection * s], -1), np.stack([s, reflection * c], -1)], -2)


def misfit(
    paths: UnfoldedPaths, index, reflection, rotation, offset, *, jitters=False, extra: Any = 0.0
):
    """Square the distance of paths from a proposal, in standard deviations; broadcasts.

    The variance `extra` of the proposal adds to those of the paths [m^2].

    Where an edge `jitters` by the model error, that changes the length of both legs and the angle
    by its distance; otherwise the model error is that of the unfolded point.
    """
    x, y = paths.place[index, 0], paths.place[index, 1]
    c, s = np.cos(rotation), np.sin(rotation)
    length, bent, near = _jitter_sensitivity(paths, index, rotation, offset)
    mirror = reflection != 0
    aside_x = paths.point[index, 0] - np.where(
        mirror, c * x - reflection * s * y + offset[..., 0], length * c
    )
    aside_y = paths.point[index, 1] - np.where(
        mirror, s * x + reflection * c * y + offset[..., 1], length * s
    )
    out_x, out_y = paths.outward[index, 0], paths.outward[index, 1]
    along = (aside_x * out_x + aside_y * out_y) ** 2
    across = (aside_y * out_x - aside_x * out_y) ** 2
    error = np.where(mirror | (not jitters), 0.0, paths.model_error**2)
    return along / (paths.along_std[index] ** 2 + error * bent + extra) + across / (
        paths.across_std[index] ** 2 + error * near + extra
    )


def description_length(paths: UnfoldedPaths, anchors: list[FittedPoint], free) -> float:
    """Measure the description length of the paths, given the points that explain them [nat a path].

    An explained path costs its negative log-likelihood at the search's model error and the choice
    of its point; every point, and every path that none explains, costs a uniform position.
    """
    count = len(paths.report)
    anywhere = np.log(np.prod(np.ptp(paths.point[:, :2], axis=0)) + 1.0) + np.log(count)
    total = (np.sum(free) + len(anchors)) * anywhere
    for anchor in anchors:
        m, error = anchor.member, paths.model_error**2
        jitters = _jitter_is_observable(paths, anchor.reflection, m)
        square = misfit(
            paths, m, anchor.reflection, anchor.rotation, anchor.offset, jitters=jitters
        )
        along, across = paths.along_std[m] ** 2, paths.across_std[m] ** 2
        if jitters:
            _, bent, near = _jitter_sensitivity(paths, m, anchor.rotation, anchor.offset)
            along, across = along + error * bent, across + error * near
        nats = 0.5 * (square + np.log(along * across)) + np.log(2 * np.pi)
        total += np.sum(nats) + len(m) * np.log(count / len(m)) + np.log(2 * np.pi)
    return float(total / count)


def _jitter_is_observable(paths: UnfoldedPaths, reflection, index) -> bool:
    """Whether the jitter of an edge is observable beside the reports' own errors."""
    own = np.median(paths.along_std[index])
    return reflection == 0 and bool(own**2 < 2.0 * paths.model_error**2)


def _jitter_sensitivity(paths: UnfoldedPaths, index, rotation, offset):
    """Give the length of a path by way of an edge [m], and how much the edge's jitter adds to the
    variances along and across it beyond what the model error of an unfolded point adds [1].
    """
    c, s = np.cos(rotation), np.sin(rotation)
    reach = np.hypot(offset[..., 0], offset[..., 1])
    leg_x, leg_y = (paths.place[index, k] - offset[..., k] for k in (0, 1))
    rest = np.hypot(leg_x, leg_y)
    bent = 1.0 - 2.0 * (leg_x * c + leg_y * s) / np.maximum(rest, 1e-3)
    length = reach + rest
    return length, bent, (length / np.maximum(reach, 1e-3)) ** 2 - 1.0


def scatterer_of(paths: UnfoldedPaths) -> Float[np.ndarray, "path 2"]:
    """Place the point scatterer that alone would explain each path; NaN where none can."""
    length = np.sum(paths.point[:, :2] * paths.outward, axis=-1)
    ahead = np.sum(paths.place[:, :2] * paths.outward, axis=-1)
    squared = np.sum(paths.place[:, :2] ** 2, axis=-1)
    beyond = length - ahead
    good = beyond > 1e-6 * np.maximum(length, 1.0)
    reach = (length**2 - squared) / (2 * np.where(good, beyond, 1.0))
    good &= (reach > 0) & (reach < length)
    return np.where(good[:, None], reach[:, None] * paths.outward, np.nan)


def find_points(
    paths: UnfoldedPaths,
    rng: np.random.Generator,
    least: int = 3,
    start: StaticPoints | None = None,
    progress: Progress = silent,
    proposing: Bool[np.ndarray, " path"] | None = None,
) -> tuple[list[FittedPoint], np.ndarray]:
    """Find points until no proposal explains `least` paths.

    Args:
        paths: All paths of the reports.
        rng: Draws seeds.
        least: Fewest paths that make a point.
        start: Points known before, in the station's frame: one path confirms each.
        progress: Called with the paths explained and all paths.
        proposing: Paths that may propose a point; all of them unless given.

    Returns:
        The points, and which paths none explains.
    """
    free = np.ones(len(paths.report), dtype=bool)
    anchors: list[FittedPoint] = []
    for known in [] if start is None else [start[k : k + 1] for k in range(len(start))]:
        anchor = _confirm(paths, free, known, least)
        if anchor is not None:
            anchors.append(anchor)
            free[anchor.member] = False
    neighbours = _Neighbours.of(paths)
    scatterer = scatterer_of(paths)
    for _ in range(_ROUNDS):
        left = np.flatnonzero(free if proposing is None else free & proposing)
        if not len(left):
            break
        every = len(left) <= _SEEDS
        seeds = left if every else np.sort(rng.choice(left, _SEEDS, replace=False))
        score, reflection, rotation, offset = _propose(
            paths, scatterer, neighbours, seeds, free, rng
        )
        found = 0
        for k in np.argsort(-score, kind="stable"):
            if score[k] < least - 1:
                break
            if not free[seeds[k]]:
                continue
            anchor = _grow(paths, free, seeds[k], int(reflection[k]), rotation[k], offset[k], least)
            if anchor is not None:
                anchors.append(anchor)
                free[anchor.member] = False
                found += 1
                progress(int((~free).sum()), len(free), f"points at {paths.model_error:g} m")
        if found == 0 and every:
            break
    return anchors, free


class _Neighbours(NamedTuple):
    distance: np.ndarray
    path: np.ndarray

    @classmethod
    def of(cls, paths: UnfoldedPaths) -> "_Neighbours":
        """List the paths of the nearest reports of every report that has a path."""
        report, first, count = np.unique(paths.report, return_index=True, return_counts=True)
        place = paths.place[first, :2]
        found = KDTree(place).query(place, k=min(41, len(place)))
        distance, near = (np.reshape(item, (len(place), -1))[:, 1:] for item in found)
        column = np.arange(count.max())
        table = np.where(column < count[:, None], first[:, None] + column, -1)
        path = table[near]
        path = np.where(distance[..., None] < _REACH, path, -1).reshape(len(place), -1)
        row = np.full(paths.report.max() + 1, -1)
        row[report] = np.arange(len(report))
        return cls(np.repeat(distance, len(column), axis=1)[row], path[row])


def _propose(paths, scatterer, neighbours, seeds, free, rng):
    """Find, for each seed, the proposal that most of its neighbours agree with."""
    best = [_propose_some(paths, scatterer, neighbours, some, free, rng) for some in
            np.array_split(seeds, max(1, len(seeds) // 200))]  # fmt: skip
    return tuple(np.concatenate(column) for column in zip(*best))


def _propose_some(paths, scatterer, neighbours, seeds, free, rng):
    rows = np.arange(len(seeds))
    partner = neighbours.path[paths.report[seeds]]
    usable = partner >= 0
    partner = np.where(usable, partner, 0)
    usable &= free[partner]
    moved = np.linalg.norm(paths.place[partner, :2] - paths.place[seeds][:, None, :2], axis=-1)
    apart = np.linalg.norm(paths.point[partner, :2] - paths.point[seeds][:, None, :2], axis=-1)
    variance = paths.along_std**2 + paths.across_std**2
    allowed = _GATE * np.sqrt(variance[partner] + variance[seeds][:, None])
    isometric = usable & (np.abs(apart - moved) < allowed) & _same_height(paths, partner, seeds)

    order = np.argsort(~isometric, axis=1, kind="stable")[:, :_PARTNERS]
    near = np.take_along_axis(partner, order, 1)
    counts = np.take_along_axis(isometric, order, 1)
    lever = np.take_along_axis(moved, order, 1)
    # Long baselines fix the rotation better; a draw keeps the proposals diverse.
    wish = np.where(counts, -np.minimum(lever, 30.0) + 10.0 * rng.random(lever.shape), np.inf)
    chosen = np.argsort(wish, axis=1)[:, :_PROPOSALS]
    other, possible = np.take_along_axis(near, chosen, 1), np.take_along_axis(counts, chosen, 1)
    step = paths.place[other, :2] - paths.place[seeds][:, None, :2]
    image = paths.point[other, :2] - paths.point[seeds][:, None, :2]
    bearing, seen = np.arctan2(step[..., 1], step[..., 0]), np.arctan2(image[..., 1], image[..., 0])
    arrival = paths.arrival_azimuth[seeds][:, None] + np.pi
    departure = paths.azimuth[seeds][:, None]
    rotation = np.concatenate(
        [seen - bearing, seen + bearing, departure - arrival, departure + arrival], axis=1
    )
    width = other.shape[1]
    reflection = np.repeat([1, -1, 1, -1], [width, width, 1, 1])[None]
    known = paths.has_arrival[seeds][:, None]
    possible = np.concatenate([possible, possible, known, known], axis=1)
    offset = paths.point[seeds][:, None, :2] - np.einsum(
        "spij,sj->spi", isometry_matrix(reflection, rotation), paths.place[seeds, :2]
    )
    square = misfit(
        paths, near[:, None], reflection[..., None], rotation[..., None], offset[:, :, None]
    )
    vote = np.where(counts[:, None], np.maximum(0.0, 1.0 - square / (2 * _GATE**2)), 0.0).sum(-1)
    vote = np.where(possible, vote, -1.0)
    best = vote.argmax(axis=1)

    zero = np.zeros((len(seeds), 1), dtype=int)
    square = misfit(paths, partner, zero, departure, scatterer[seeds][:, None])
    agree = np.where(usable, np.nan_to_num(np.maximum(0.0, 1.0 - square / (2 * _GATE**2))), 0.0)
    scattered = agree.sum(axis=1) > 1.2 * vote[rows, best]
    return (
        np.where(scattered, agree.sum(axis=1), vote[rows, best]),
        np.where(scattered, 0, np.broadcast_to(reflection, vote.shape)[rows, best]),
        np.where(scattered, paths.azimuth[seeds], rotation[rows, best]),
        np.where(scattered[:, None], scatterer[seeds], offset[rows, best]),
    )


def _same_height(paths, one, other):
    """Whether unfolded heights differ by plus or minus the users' height difference."""
    rise = paths.place[one, 2] - paths.place[other, 2][:, None]
    image = paths.point[one, 2] - paths.point[other, 2][:, None]
    allowed = _GATE * np.hypot(paths.height_std[one], paths.height_std[other][:, None])
    return (np.abs(image - rise) < allowed) | (np.abs(image + rise) < allowed)


def _confirm(paths: UnfoldedPaths, free, known: StaticPoints, least) -> FittedPoint | None:
    """Find the paths that a known point explains; refine it on them where they are enough."""
    kind = int(known.kind[0])
    valid = known.valid is None or bool(np.asarray(known.valid)[0])
    if kind == PointKind.UNDETERMINED or not valid:
        return None
    offset = np.asarray(known.offset[0], dtype=float)
    edge = kind != PointKind.VIRTUAL_ANCHOR
    reflection = 0 if edge else int(known.reflection[0])
    rotation = np.arctan2(offset[1], offset[0]) if edge else float(known.rotation[0])
    image = known.vertical_reflection[0] * paths.place[:, 2] + known.height_offset[0]
    height_std, extra = paths.height_std, np.zeros(len(free))
    if known.covariance is not None:
        covariance = np.asarray(known.covariance[0])
        moved = paths.place[:, :2] @ isometry_matrix(reflection or 1, rotation).T
        lever = np.stack([-moved[:, 1], moved[:, 0]], -1) * (not edge)
        extra = 0.5 * np.trace(covariance[:2, :2]) + lever @ covariance[:2, 3]
        extra = np.maximum(extra + 0.5 * np.sum(lever**2, axis=1) * covariance[3, 3], 0.0)
        height_std = np.hypot(height_std, np.sqrt(covariance[2, 2]))
    wide = paths._replace(
        along_std=np.sqrt(paths.along_std**2 + extra),
        across_std=np.sqrt(paths.across_std**2 + extra),
    )
    level = free & (np.abs(paths.point[:, 2] - image) < _GATE * height_std)
    if kind == PointKind.SCATTERER:
        level = free
    member = _explained(wide, level, reflection, rotation, offset)[0]
    for _ in range(2 if len(member) >= least else 0):
        square = misfit(wide, member, reflection, rotation, offset)
        weight = 1.0 / (paths.along_std[member] * paths.across_std[member] * (1.0 + square / 4.0))
        if edge:
            rotation, offset = refine_scatterer(paths, member, weight, offset)
        else:
            rotation, offset = fit_isometry(paths, member, weight, reflection)
        wide, refined = paths, _explained(paths, level, reflection, rotation, offset)[0]
        if len(refined) < least:
            return None
        member = refined
    return FittedPoint(reflection, rotation, offset, member) if len(member) else None


def _explained(paths: UnfoldedPaths, candidates, reflection, rotation, offset, jitters=False):
    """List the candidate paths within the gate, the best of each report; and their misfits."""
    member = np.flatnonzero(candidates)
    square = misfit(paths, member, reflection, rotation, offset, jitters=jitters)
    near = square < 1.3 * _GATE**2
    member, square = member[near], square[near]
    order = np.lexsort((square, paths.report[member]))
    member, square = member[order], square[order]
    first = np.diff(paths.report[member], prepend=-1) != 0
    return member[first], square[first]


def _grow(paths, free, seed, reflection, rotation, offset, least) -> FittedPoint | None:
    """Refine a proposal on all its followers, near ones first."""
    away = np.linalg.norm(paths.place[:, :2] - paths.place[seed, :2], axis=1)
    level = free & _same_height(paths, np.arange(len(free))[None], np.array([seed]))[0]
    jitters = _jitter_is_observable(paths, reflection, seed)
    for turn, radius in enumerate((40.0, 80.0, 160.0, np.inf, np.inf)):
        near = level & (away < radius)
        member, square = _explained(paths, near, reflection, rotation, offset, jitters)
        if len(member) < least:
            return None
        weight = 1.0 / (paths.along_std[member] * paths.across_std[member] * (1.0 + square / 4.0))
        if reflection == 0:
            rotation, offset = refine_scatterer(paths, member, weight, offset)
        else:
            options = (1, -1) if turn == 0 else (reflection,)
            fits = [(p, *fit_isometry(paths, member, weight, p)) for p in options]
            costs = [misfit(paths, member, *fit).sum() for fit in fits]
            reflection, rotation, offset = fits[int(np.argmin(costs))]
    return FittedPoint(reflection, rotation, offset, member)


def fit_isometry(paths: UnfoldedPaths, member, weight, reflection):
    """Fit rotation or reflection and shift by weighted least squares (closed form).

    Returns:
        The rotation [rad] and the shift [m].
    """
    place, point = paths.place[member, :2], paths.point[member, :2]
    centre = weight @ place / weight.sum()
    middle = weight @ point / weight.sum()
    h = (weight[:, None] * (point - middle)).T @ (place - centre)
    rotation = np.arctan2(h[1, 0] - reflection * h[0, 1], h[0, 0] + reflection * h[1, 1])
    return rotation, middle - isometry_matrix(reflection, rotation) @ centre


def refine_scatterer(paths: UnfoldedPaths, member, weight, start):
    """Refine a scatterer's position by Gauss-Newton steps on its followers.

    Returns:
        Its azimuth from the station [rad] and its position [m].
    """
    position = np.asarray(start, dtype=float)
    place, point, outward = paths.place[member, :2], paths.point[member, :2], paths.outward[member]
    trust = np.sqrt(weight)
    for _ in range(4):
        reach = np.linalg.norm(position)
        out = position / reach
        leg = place - position
        distance = np.maximum(np.linalg.norm(leg, axis=1), 1e-9)
        total = reach + distance
        length = np.sum(point * outward, axis=1)
        turn = outward[:, 1] * out[0] - outward[:, 0] * out[1]
        left = np.array([-out[1], out[0]])
        residual = np.concatenate([trust * (length - total), trust * length * turn])
        along = out[None] - leg / distance[:, None]
        across = (length / reach)[:, None] * left[None]
        jacobian = np.concatenate([trust[:, None] * along, trust[:, None] * across])
        normal = jacobian.T @ jacobian + 1e-9 * np.eye(2)
        position = position + np.linalg.solve(normal, jacobian.T @ residual)
    return float(np.arctan2(position[1], position[0])), position
