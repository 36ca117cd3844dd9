"""Planes that a station hears around itself, and the reflections that they predict.

A plane that misses the station is ``w x = 1``, linear in what echoes measure, so those of one wall
are fitted together, what errors add to the products taken away: its position and turn are then
known many times better than one echo, and a path that it reflects follows from images, without the
error of the departure.

Takes `StationEchoes`; a path and a user.
Gives `EchoPlanes`, and `Reflection`s: bounces with covariance, and how well the path fits.
"""

import dataclasses
import itertools
import math

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from echoscape.tracking.echo_surface import StationEchoes, unit_vectors
from echoscape.units import wrap_angle

_FLAT = 0.05  # what a surface may stand off its plane [m]
_LEAST = 1e-6  # weight of that a plane is met at right angles, of all echoes
_LOCAL, _FEWEST = 8, 6  # echoes that begin a plane, and that make one
_GATE = 3.0  # deviations
_REACH = 4.0  # spacings of echoes over which a plane goes on without one
_NEAR = 1.0  # and at least so far [m]
_SAME = 0.85  # share of a plane's echoes that a larger one explains, if both are one
_APART = 30.0  # squared distance beyond which a path is not that reflection, of five numbers
_FACET, _TILT = 0.1, 0.015  # what parts of a wall differ from the whole of it [m, rad]
_ROUNDS = 8


@dataclasses.dataclass(frozen=True)
class SeenPath:
    """One path, as the user and the station know it."""

    measured: np.ndarray
    """`anchor.MEASURED` [m, rad]."""
    std: np.ndarray
    """Standard deviations [m, rad]."""
    station: np.ndarray
    """Where the station is [m]."""
    user: np.ndarray
    """Where the user is, or its image in the ground [m]."""
    user_std: np.ndarray
    """Standard deviation of its coordinates [m]."""


@dataclasses.dataclass(frozen=True)
class EchoPlanes:
    """Planes through echoes, with the station as the origin."""

    inverse: Float[np.ndarray, "plane 3"]
    """Unit normal over distance, pointing away from the station [1/m]."""
    covariance: Float[np.ndarray, "plane 3 3"]
    """Its covariance [1/m^2]."""
    members: tuple[KDTree, ...]
    """Places of the echoes of each [m]."""
    spacing: float
    """Between neighbouring echoes [rad]."""

    def beyond(self, plane: int, place: np.ndarray) -> float:
        """Measure how far a point lies from where the station hears the plane, in its spacings [1].

        Args:
            plane: Which plane.
            place: A point of it, from the station [m].
        """
        away = self.members[plane].query(place)[0]
        return max(float(away / _room(self.inverse[plane], place, self.spacing)) - 1.0, 0.0)


def _room(plane: np.ndarray, place: np.ndarray, spacing: float):
    """Give the distance of echoes on a plane that counts as none missing [m]."""
    away = np.linalg.norm(place, axis=-1)
    facing = np.maximum(1 / (np.linalg.norm(plane) * away), 0.1)
    return np.maximum(_REACH * spacing * away / facing, _NEAR)


@dataclasses.dataclass(frozen=True)
class Reflection:
    """A path by one or two planes."""

    log_density: float
    """Of what was measured, and one of all these reflections."""
    first: tuple[np.ndarray, np.ndarray]
    """First bounce and its covariance [m, m^2]."""
    last: tuple[np.ndarray, np.ndarray]
    """Last bounce, likewise."""


def find_planes(echoes: StationEchoes) -> EchoPlanes:
    """Gather echoes to planes, the nearest surfaces first."""
    ahead = unit_vectors(echoes.azimuth, echoes.zenith)
    place = ahead * echoes.range[:, None]
    tree = KDTree(place)
    spacing = float(np.median(KDTree(ahead).query(ahead, min(2, len(ahead)))[0][:, -1]))
    free = np.ones(len(ahead), bool)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    if len(ahead) < _LOCAL:
        return EchoPlanes(np.zeros((0, 3)), np.zeros((0, 3, 3)), (), spacing)
    along = np.hypot(echoes.range_std, _FLAT)
    across = echoes.range * echoes.angle_std

    def deviation(plane, at):
        slant = (ahead[at] @ plane) ** 2
        return np.sqrt(along[at] ** 2 * slant + across[at] ** 2 * (plane @ plane - slant))

    def fit(at, plane):
        for _ in range(3):
            weight = 1 / deviation(plane, at) ** 2
            information = place[at].T @ (weight[:, None] * place[at])
            start = ahead[at[0]] / echoes.range[at[0]]
            # too few to tell its turn: as far as the nearest, met at right angles
            prior = _LEAST * np.trace(information) * np.eye(3)
            covariance = np.linalg.inv(information + prior)
            if len(at) > 2 * _FEWEST:  # what errors of the places add to their own products
                rays = ahead[at].T @ ((weight * (along[at] ** 2 - across[at] ** 2))[:, None]
                                      * ahead[at])  # fmt: skip
                information = information - rays - np.sum(weight * across[at] ** 2) * np.eye(3)
            plane = np.linalg.solve(information + prior, weight @ place[at] + prior @ start)
        return plane, covariance

    for seed in np.argsort(echoes.range, kind="stable"):
        if not free[seed]:
            continue
        around = np.atleast_1d(tree.query(place[seed], _LOCAL)[1])
        at = around[free[around]]
        if len(at) < _FEWEST:
            free[seed] = False
            continue
        at = np.concatenate([[seed], at[at != seed]])
        plane, spread = fit(at, ahead[seed] / echoes.range[seed])
        if np.mean(np.abs(place[at] @ plane - 1) < _GATE * deviation(plane, at)) < 0.8:
            free[seed] = False
            continue
        for _ in range(_ROUNDS):
            rest = np.flatnonzero(free)
            close = np.abs(place[rest] @ plane - 1) < _GATE * deviation(plane, rest)
            rest = rest[close]
            if len(rest) < _FEWEST:
                break
            room = _room(plane, place[rest], spacing)
            joined = rest[KDTree(place[at]).query(place[rest])[0] < room]
            if len(joined) < _FEWEST or np.array_equal(joined, at):
                break
            at = joined
            plane, spread = fit(at, plane)
        if len(at) >= _FEWEST:
            found.append((at, plane))
        free[at] = False
        free[seed] = False
    found.sort(key=lambda each: -len(each[0]))

    def fits(small: int, large: int) -> bool:
        at, plane = found[small][0], found[large][1]
        inside = np.abs(place[at] @ plane - 1) < _GATE * deviation(plane, at)
        return bool(np.mean(inside) > _SAME)

    made = []
    for group in _parts(len(found), fits):
        at = np.concatenate([found[k][0] for k in group])
        plane, spread = fit(at, found[group[0]][1])
        size = float(plane @ plane)
        normal = np.outer(plane, plane)
        spread = spread + _FACET**2 * size * normal + _TILT**2 * (size * np.eye(3) - normal)
        made.append((plane, spread, KDTree(place[at])))
    return EchoPlanes(
        np.array([each[0] for each in made]).reshape(-1, 3),
        np.array([each[1] for each in made]).reshape(-1, 3, 3),
        tuple(each[2] for each in made),
        spacing,
    )


def _parts(count: int, fits) -> list[list[int]]:
    """Gather planes, the largest first, whose echoes are explained by a larger one."""
    whole: list[list[int]] = []
    for k in range(count):
        for group in whole:
            if fits(k, group[0]):
                group.append(k)
                break
        else:
            whole.append([k])
    return whole


def reflections(planes: EchoPlanes, seen: SeenPath, bounces: int) -> list[Reflection]:
    """Find reflections by one plane or by two, one after the other, that a path may be.

    Args:
        planes: What the station hears.
        seen: The path.
        bounces: One or two.
    """
    measured, std, user = seen.measured, seen.std, seen.user - seen.station
    count = len(planes.inverse)
    chosen = np.array(list(itertools.permutations(range(count), bounces)), int)
    if not len(chosen):
        return []
    given = np.concatenate(
        [planes.inverse[chosen].reshape(len(chosen), -1), np.tile(user, (len(chosen), 1))], axis=1
    )
    wrong, places = _predict(given, measured)
    loose = 5 * std + np.array([3.0, 0.15, 0.15, 0.15, 0.15])
    near = np.all(np.abs(wrong) < loose, axis=1) & np.isfinite(places).all(axis=(1, 2))
    found = []
    for row in np.flatnonzero(near):
        which = tuple(int(k) for k in chosen[row])
        prior = np.zeros((given.shape[1],) * 2)
        for k, plane in enumerate(which):
            prior[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = planes.covariance[plane]
        prior[-3:, -3:] = np.diag(seen.user_std**2)
        each = _fitted(given[row], prior, measured, std)
        if each is None:
            continue
        beyond = sum(planes.beyond(k, end[0]) for k, end in zip(which, (each.first, each.last)))
        found.append(
            Reflection(
                each.log_density - math.log(len(chosen)) - beyond,
                (seen.station + each.first[0], each.first[1]),
                (seen.station + each.last[0], each.last[1]),
            )
        )
    return found


def _predict(given: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trace by images: residuals, and first and last bounce; NaN where it cannot reflect."""
    rows, user = len(given), given[:, -3:]
    inverse = given[:, :-3].reshape(rows, -1, 3)
    distance = 1 / np.linalg.norm(inverse, axis=2)
    normal = inverse * distance[..., None]
    images = [np.zeros((rows, 3))]
    for k in range(inverse.shape[1]):
        off = distance[:, k] - np.sum(images[-1] * normal[:, k], axis=1)
        images.append(images[-1] + 2 * off[:, None] * normal[:, k])
    end, places = user, []
    for k in range(inverse.shape[1] - 1, -1, -1):
        ahead = images[k + 1] - end
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (distance[:, k] - np.sum(end * normal[:, k], axis=1)) / np.sum(
                ahead * normal[:, k], axis=1
            )
        share = np.where((share > 1e-3) & (share < 1 - 1e-3), share, np.nan)
        end = end + share[:, None] * ahead
        places.append(end)
    back, out = images[-1] - user, places[-1]
    length = np.linalg.norm(back, axis=1)
    with np.errstate(invalid="ignore"):
        predicted = [length]
        for leg in (back, out):
            level = np.hypot(leg[:, 0], leg[:, 1])
            predicted += [np.arctan2(leg[:, 1], leg[:, 0]), np.arctan2(level, leg[:, 2])]
    wrong = measured - np.stack(predicted, axis=1)
    wrong[:, 1:] = wrap_angle(wrong[:, 1:])
    return wrong, np.stack([places[-1], places[0]], axis=1)


def _fitted(given, prior, measured, std) -> Reflection | None:
    """Let the path correct the planes and the user, and place its bounces."""
    size = np.maximum(1e-3 * np.sqrt(np.diag(prior)), 1e-9)
    steps = np.concatenate([np.diag(size), -np.diag(size)])

    def slopes(at):
        wrong, places = _predict(np.concatenate([at[None], at + steps]), measured)
        change = [(each[1 : 1 + len(size)] - each[1 + len(size) :]).reshape(len(size), -1)
                  for each in (wrong, places)]  # fmt: skip
        return wrong[0], (change[0] / (2 * size[:, None])).T, (change[1] / (2 * size[:, None])).T

    def update(at):
        wrong, slope, turn = slopes(at)
        if not (np.isfinite(slope).all() and np.isfinite(turn).all()):
            return None  # no reflection any more
        inner = slope @ prior @ slope.T + np.diag(std**2)
        gain = prior @ slope.T @ np.linalg.inv(inner)
        apart = wrong + slope @ (given - at)
        squared = apart @ np.linalg.solve(inner, apart)
        if squared > _APART:
            return None
        density = -0.5 * (squared + np.linalg.slogdet(2 * np.pi * inner)[1])
        spread = turn @ (prior - gain @ slope @ prior) @ turn.T
        return given - gain @ apart, float(density), spread

    step = update(given)
    density = 0.0 if step is None else step[1]
    for _ in range(2):
        step = None if step is None else update(step[0])
    if step is None:
        return None
    places = _predict(step[0][None], measured)[1][0]
    if not np.isfinite(places).all():
        return None
    covariance = step[2] + 1e-4 * np.eye(6)
    return Reflection(density, (places[0], covariance[:3, :3]), (places[1], covariance[3:, 3:]))
