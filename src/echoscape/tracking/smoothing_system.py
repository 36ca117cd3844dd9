"""The least-squares problem of a whole walk: motion, paths and prior of user and points.

The user is held at knots, between which it moves by the mean of its motion model, a cubic; so the
knots form a banded matrix, and points touch only the knots at which they were detected.  The band
is eliminated first, which leaves one dense system of the size of the map.

Takes a `Problem`, and a `Walk` at which it is linearised.
Gives normal equations, their solution, and what covariances are made of.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve, cho_solve_banded, cholesky_banded
from scipy.sparse import csr_array

from echoscape.numerics.block_tridiagonal import band_of, sum_of
from echoscape.tracking.anchor import AnchorType, mirror_sign, path_residual, predict_with_slope
from echoscape.tracking.filters import JointFilter

SHARED = 4
"""Unknowns beside knots and points: clock, its drift, headings of user and station."""
HEADING = 2
"""Which of them is the user's heading."""
_BATCH = 2048  # paths that are linearised at once
_FREE = 1e4  # prior deviation of what nothing is known of [m]
_TURN = 3.0  # and of a rotation [rad]


class Problem(NamedTuple):
    """Everything that does not change while a walk is fitted (numpy)."""

    time: Float[np.ndarray, " time"]
    """Instants, from the first one on [s]."""
    knot: Float[np.ndarray, " knot"]
    """Knots, the first and the last instant among them [s]."""
    instant: Int[np.ndarray, " path"]
    """Instant of each path."""
    point: Int[np.ndarray, " path"]
    """Point that each path belongs to; the first is the station."""
    measured: Float[np.ndarray, "path 5"]
    """`anchor.MEASURED` of each path [m, rad]."""
    std: Float[np.ndarray, "path 5"]
    """Deviations [m, rad]."""
    identity: Int[np.ndarray, " point"]
    """Number of each point's track."""
    kind: Int[np.ndarray, " point"]
    """One of `AnchorType`."""
    reflection: Float[np.ndarray, " point"]
    """Sense of turning."""
    vertical_reflection: Float[np.ndarray, " point"]
    """-1 after an odd number of level reflections."""
    prior: Float[np.ndarray, "point 4"]
    """What was believed of each point before, in the site's frame [m, rad]."""
    information: Float[np.ndarray, "point 4 4"]
    """Inverse covariance of `prior`."""
    station: Float[np.ndarray, "3"]
    """Position of the station [m]."""
    start: Float[np.ndarray, "6"]
    """Position and velocity with which the user was said to start [m, m/s]."""
    known_position: Float[np.ndarray, "time 3"]
    """The user's position where it is given, in the site's frame [m]."""
    known: Bool[np.ndarray, " time"]
    """Where it is."""
    settings: JointFilter
    """Deviations and motion."""

    @property
    def pivot(self) -> Float[np.ndarray, "3"]:
        """About what the array's frame turns."""
        return np.r_[self.start[:2], 0.0]

    @property
    def shared_std(self) -> Float[np.ndarray, "4"]:
        """Prior deviations of clock, drift and headings [m, m/s, rad, rad]."""
        own = self.settings
        names = (own.clock_std, own.clock_drift_std, own.heading_std, own.station_heading_std)
        return np.array(names, float)

    @property
    def density(self) -> Float[np.ndarray, "3"]:
        """Spectral density of the acceleration [m^2/s^3]."""
        own = self.settings
        level = float(own.acceleration)
        return np.array([level, level, float(own.vertical_acceleration)]) ** 2

    @property
    def own(self) -> Int[np.ndarray, "point 4"]:
        """Where each point's coordinates are among the unknowns that are no knots."""
        return SHARED + 4 * np.arange(len(self.kind))[:, None] + np.arange(4)


class Walk(NamedTuple):
    """What is fitted, in the array's frame (numpy)."""

    user: Float[np.ndarray, "knot 6"]
    """Position and velocity at the knots [m, m/s]."""
    shared: Float[np.ndarray, "4"]
    """Clock at the first instant, its drift, headings of user and station [m, m/s, rad, rad]."""
    point: Float[np.ndarray, "point 4"]
    """Position and rotation of each point [m, rad]."""

    @property
    def steps(self) -> Float[np.ndarray, "step 12"]:
        """The two knots of each interval."""
        return np.concatenate([self.user[:-1], self.user[1:]], axis=1)


class System(NamedTuple):
    """Normal equations of one linearisation (numpy)."""

    banded: Float[np.ndarray, "12 coordinate"]
    """Knots against knots, lower diagonals."""
    cross: csr_array
    """Knots against clock, headings and points."""
    dense: Float[np.ndarray, "unknown unknown"]
    """Clock, headings and points against one another."""
    knots: Float[np.ndarray, " coordinate"]
    """Right-hand side of the knots."""
    rest: Float[np.ndarray, " unknown"]
    """Right-hand side of the others."""


class Factors(NamedTuple):
    """A solved system: what covariances are made of (numpy)."""

    banded: Float[np.ndarray, "12 coordinate"]
    """Knots against knots, lower diagonals."""
    gain: Float[np.ndarray, "coordinate unknown"]
    """What the knots do when the others move, negated."""
    inner: tuple[np.ndarray, bool]
    """Cholesky factor of the others' information, knots eliminated."""


def assemble(walk: Walk, problem: Problem, temper: float = 1.0) -> System:
    """Linearise motion, paths and what is known before, and add up their normal equations.

    Args:
        walk: Where.
        problem: What is fitted.
        temper: Squared residuals are divided by it before the Student law weighs them, for a walk
            that is still far off.
    """
    interval, at, _ = cubic(problem)
    position = positions(walk, problem)
    normal, right = linearize(walk, position, problem, temper)
    by_instant, slope = _at_instants(walk, position, problem, normal, right)
    dense, rest = _of_points(walk, problem, normal, right)
    _add_known_heading(walk, position, problem, dense, rest)
    steps, sides = len(problem.knot) - 1, slice(3, 7)
    block, push = _motion_information(walk, problem)
    across = np.zeros((steps, 12, SHARED))
    each = np.einsum("ti,tj,tab->tiajb", at, at, by_instant[..., :3]).reshape(-1, 12, 12)
    np.add.at(block, interval, each)
    each = np.einsum("ti,tab->tiab", at, by_instant[..., sides]).reshape(-1, 12, SHARED)
    np.add.at(across, interval, each)
    np.add.at(push, interval, np.einsum("ti,ta->tia", at, slope).reshape(-1, 12))
    _add_start(walk, problem, block, push, across, dense, rest)

    keep = np.r_[problem.shared_std > 0, np.ones(len(dense) - SHARED, bool)]
    cross = _cross(problem, normal, interval, at, across * keep[:SHARED])
    dense = np.where(keep[:, None] & keep[None], dense, np.eye(len(dense)))
    return System(band_of(block), cross, dense, sum_of(push), np.where(keep, rest, 0.0))


def solve(system: System) -> tuple[Factors, np.ndarray, np.ndarray]:
    """Eliminate the knots and solve; also gives the steps of knots and others."""
    lower = cholesky_banded(system.banded, lower=True)
    gain = cho_solve_banded((lower, True), system.cross.toarray())
    own = cho_solve_banded((lower, True), system.knots)
    inner = cho_factor(system.dense - system.cross.T @ gain, lower=True)
    rest = cho_solve(inner, system.rest - system.cross.T @ own)
    return Factors(system.banded, gain, inner), own - gain @ rest, rest


def turn_matrix(angle: float) -> Float[np.ndarray, "3 3"]:
    """Turn about the vertical, counter-clockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def quarter(vector: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Differentiate a vector by the angle that turns it about the vertical."""
    return np.stack([-vector[..., 1], vector[..., 0], np.zeros(vector.shape[:-1])], axis=-1)


def cubic(problem: Problem):
    """Give each instant's interval, and the weights of its knots in position and velocity."""
    knot, time = problem.knot, problem.time
    interval = np.clip(np.searchsorted(knot, time, side="right") - 1, 0, len(knot) - 2)
    gap = np.diff(knot)[interval]
    s = (time - knot[interval]) / gap
    at = [2 * s**3 - 3 * s**2 + 1, gap * (s**3 - 2 * s**2 + s), 3 * s**2 - 2 * s**3,
          gap * (s**3 - s**2)]  # fmt: skip
    rate = [6 * (s**2 - s) / gap, 3 * s**2 - 4 * s + 1, 6 * (s - s**2) / gap, 3 * s**2 - 2 * s]
    return interval, np.stack(at, axis=1), np.stack(rate, axis=1)


def positions(walk: Walk, problem: Problem) -> Float[np.ndarray, "time 3"]:
    """Place the user at every instant, in the array's frame."""
    interval, at, _ = cubic(problem)
    return np.einsum("ti,tia->ta", at, walk.steps.reshape(-1, 4, 3)[interval])


def linearize(
    walk: Walk, position: Float[np.ndarray, "time 3"], problem: Problem, temper: float
) -> tuple[Float[np.ndarray, "path 11 11"], Float[np.ndarray, "path 11"]]:
    """Give each path's normal equations by user, clock, drift, headings and point."""
    count = len(problem.instant)
    time = problem.time[problem.instant]
    clock = walk.shared[0] + walk.shared[1] * time
    others = np.broadcast_to(walk.shared[2:], (count, 2))
    local = np.concatenate(
        [position[problem.instant], clock[:, None], others, walk.point[problem.point]], axis=1
    )
    parts = (
        local, time, problem.kind[problem.point], problem.reflection[problem.point],
        problem.vertical_reflection[problem.point], problem.measured, problem.std,
    )  # fmt: skip
    normal, right = np.zeros((count, 11, 11)), np.zeros((count, 11))
    freedom = float(problem.settings.degrees_of_freedom)
    for begin in range(0, count, _BATCH):
        some = slice(begin, min(begin + _BATCH, count))
        short = _BATCH - (some.stop - begin)
        padded = [np.concatenate([p[some], np.repeat(p[:1], short, axis=0)]) for p in parts]
        found = _linearize(*padded, problem.station, problem.start[:2], freedom, temper)
        normal[some], right[some] = (np.asarray(f)[: some.stop - begin] for f in found)
    return normal, right


@jax.jit
def _linearize(
    local: Float[Array, "path 10"],
    time: Float[Array, " path"],
    kind: Int[Array, " path"],
    reflection: Float[Array, " path"],
    vertical_reflection: Float[Array, " path"],
    measured: Float[Array, "path 5"],
    std: Float[Array, "path 5"],
    station: Float[Array, "3"],
    pivot: Float[Array, "2"],
    freedom: Float[Array, ""],
    temper: Float[Array, ""],
) -> tuple[Float[Array, "path 11 11"], Float[Array, "path 11"]]:
    predicted, slope = jax.vmap(predict_with_slope, (0, 0, 0, 0, None, None))(
        local, kind, reflection, vertical_reflection, station, pivot
    )
    used = jnp.ones(measured.shape, bool).at[:, 3].set(kind != AnchorType.UNDECIDED)
    scale = jnp.where(used, 1 / std, 0.0)
    residual = scale * jax.vmap(path_residual)(measured, predicted)
    squared = jnp.sum(residual**2, axis=1) / temper
    weight = jnp.minimum(1.0, (freedom + 5) / (freedom + squared))
    slope = jnp.where(used[..., None], slope * scale[..., None], 0.0)
    drift = slope[..., 3:4] * time[:, None, None]
    slope = jnp.concatenate([slope[..., :4], drift, slope[..., 4:]], axis=-1)
    weighted = slope * weight[:, None, None]
    return jnp.einsum("pra,prb->pab", weighted, slope), jnp.einsum("pra,pr->pa", weighted, residual)


def _at_instants(walk, position, problem, normal, right):
    """Add up what paths and known positions say of the user at each instant."""
    count = len(problem.time)
    by_instant, slope = np.zeros((count, 3, 7)), np.zeros((count, 3))
    np.add.at(by_instant, problem.instant, normal[:, :3, :7])
    np.add.at(slope, problem.instant, right[:, :3])
    where, turn, around, wrong, weight = _known(walk, position, problem)
    by_instant[where, :, :3] += weight * np.eye(3)
    by_instant[where, :, 3 + HEADING] += weight * around @ turn
    slope[where] += weight * wrong @ turn
    return by_instant, slope


def _known(walk, position, problem):
    where = np.flatnonzero(problem.known)
    turn = turn_matrix(walk.shared[HEADING])
    leg = (position[where] - problem.pivot) @ turn.T
    wrong = problem.known_position[where] - problem.pivot - leg
    return where, turn, quarter(leg), wrong, 1 / float(problem.settings.known_std) ** 2


def _add_known_heading(walk, position, problem, dense, rest) -> None:
    _, _, around, wrong, weight = _known(walk, position, problem)
    dense[HEADING, HEADING] += weight * np.sum(around**2)
    rest[HEADING] += weight * np.sum(around * wrong)


def _of_points(walk, problem, normal, right):
    """Add up what paths and prior say of points, clock and headings."""
    count = len(problem.kind)
    unknowns = SHARED + 4 * count
    dense, rest = np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    block, slope = np.zeros((count, 8, 8)), np.zeros((count, 8))
    np.add.at(block, problem.point, normal[:, 3:, 3:])
    np.add.at(slope, problem.point, right[:, 3:])
    # what was known of points is known in the site's frame
    turn = turn_matrix(walk.shared[HEADING])
    leg = (walk.point[:, :3] - problem.pivot) @ turn.T
    sense = turning_sense(problem)
    rotation = walk.point[:, 3] - sense * walk.shared[HEADING]
    place = np.concatenate([problem.pivot + leg, rotation[:, None]], axis=1)
    slopes = np.zeros((count, 4, 8))
    slopes[:, :3, 4:7], slopes[:, 3, 7] = turn, 1.0
    slopes[:, :3, HEADING], slopes[:, 3, HEADING] = quarter(leg), -sense
    known = problem.information @ slopes
    block += np.swapaxes(slopes, 1, 2) @ known
    slope += np.einsum("pab,pa->pb", known, problem.prior - place)
    # what no path depends on stays as it is
    free = (problem.kind == AnchorType.EVEN) | (problem.kind == AnchorType.ODD)
    fixed = problem.kind == AnchorType.STATION
    damping = np.tile(np.array([_FREE, _FREE, _FREE, 1.0]) ** -2, (count, 1))
    damping[:, 3] = np.where(free, _TURN**-2, 1.0)
    damping[fixed] = 1.0
    block[:, np.arange(4, 8), np.arange(4, 8)] += damping

    first, own = np.arange(SHARED), problem.own
    dense[:SHARED, :SHARED] = block[:, :4, :4].sum(axis=0)
    dense[own[:, :, None], own[:, None, :]] = block[:, 4:, 4:]
    dense[own[:, :, None], first[None, None]] = block[:, 4:, :4]
    dense[first[None, :, None], own[:, None, :]] = block[:, :4, 4:]
    rest[:SHARED], rest[own] = slope[:, :4].sum(axis=0), slope[:, 4:]
    prior = np.where(problem.shared_std > 0, problem.shared_std, 1.0) ** -2.0
    dense[first, first] += prior
    rest[:SHARED] -= prior * walk.shared
    return dense, rest


def turning_sense(problem: Problem) -> Float[np.ndarray, " point"]:
    """Tell in which sense each point's departures turn with the user's bearing."""
    sense = jax.vmap(mirror_sign)(jnp.asarray(problem.kind), jnp.asarray(problem.reflection))
    return np.asarray(sense, float)


def _motion_information(walk, problem):
    """Give what the motion model says of each pair of knots, and its right-hand side."""
    gap = np.diff(problem.knot)
    push = np.stack(
        [np.stack([12 / gap**3, -6 / gap**2], -1), np.stack([-6 / gap**2, 4 / gap], -1)], -2
    )
    information = np.einsum("kij,ab->kiajb", push, np.diag(1 / problem.density))
    information = information.reshape(-1, 6, 6)
    onward = np.zeros((len(gap), 6, 12))
    axis = np.arange(3)
    onward[:, axis, axis] = onward[:, 3 + axis, 3 + axis] = -1.0
    onward[:, axis, 3 + axis] = -gap[:, None]
    onward[:, np.arange(6), 6 + np.arange(6)] = 1.0
    weighted = information @ onward
    block = np.swapaxes(onward, 1, 2) @ weighted
    return block, -np.einsum("kab,kb->ka", block, walk.steps)


def _add_start(walk, problem, block, push, across, dense, rest) -> None:
    """Add the user's start, whose velocity turns with the heading."""
    own = problem.settings
    velocity = turn_matrix(-walk.shared[HEADING]) @ problem.start[3:]
    std = np.repeat([float(own.start_std), float(own.start_velocity_std)], 3)
    wrong = np.r_[problem.start[:3], velocity] - walk.user[0]
    around = np.r_[0.0, 0.0, 0.0, quarter(velocity)]
    block[0, :6, :6] += np.diag(std**-2)
    push[0, :6] += std**-2 * wrong
    across[0, :6, HEADING] += std**-2 * around
    dense[HEADING, HEADING] += np.sum(std**-2 * around**2)
    rest[HEADING] += np.sum(std**-2 * around * wrong)


def _cross(problem, normal, interval, at, across) -> csr_array:
    """Lay out what knots share with clock, headings and points."""
    first = interval[problem.instant]
    order = np.lexsort((first, problem.point))
    first, owner = first[order], problem.point[order]
    new = np.r_[True, (np.diff(first) != 0) | (np.diff(owner) != 0)] if len(order) else []
    starts = np.flatnonzero(new)
    pair = np.einsum("pi,pab->piab", at[problem.instant[order]], normal[order, :3, 7:])
    pair = pair.reshape(-1, 12, 4)
    pair = np.add.reduceat(pair, starts) if len(starts) else pair
    every = 6 * np.arange(len(across))
    row = 6 * np.r_[first[starts], np.arange(len(across))][:, None, None]
    row = row + np.arange(12)[None, :, None]
    column = np.concatenate(
        [problem.own[owner[starts]], np.tile(np.arange(SHARED), (len(every), 1))]
    )
    values = np.concatenate([pair, across])
    row, column = (np.broadcast_to(each, values.shape).ravel() for each in (row, column[:, None]))
    shape = (6 * len(problem.knot), SHARED + 4 * len(problem.kind))
    return csr_array((values.ravel(), (row, column)), shape)
