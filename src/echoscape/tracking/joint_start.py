"""First and last bounces at the start, from a station's own echoes and one instant's paths.

A station that hears its own pulse knows how far the surfaces around it are in every direction; a
path to the user leaves in one of these directions, and where that ray meets the surface is its
first bounce (section II-B of [isac-gbsm]); `echo_surface` tells where.  Walls that are heard as
planes reflect paths whose length, arrival and departure `echo_planes` foretells.  Which of these it
is, or one bounce elsewhere, is a matter of what each predicts against the spread over all that
several bounces could make; the ground as the last of them is asked apart.

Takes echoes, one instant's paths, user and station (numpy, on the host).
Gives `BounceStart`: points with covariance, and the class of each path with its error.
"""

import dataclasses
import enum
import math

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.tracking.echo_planes import EchoPlanes, SeenPath, find_planes, reflections
from echoscape.tracking.echo_surface import (
    Candidate,
    StationEchoes,
    Surface,
    ground_level,
    unit_vectors,
)
from echoscape.units import wrap_angle

_EXCESS = 100.0  # mean length beyond the shortest that several bounces add [m]
_ZENITHS = 1.0  # range of zeniths that arrivals and departures have [rad]
_ELSEWHERE = -math.log(2 * math.pi * _ZENITHS)  # of a direction of which nothing is known
_UNKNOWN = 2 * _ELSEWHERE - math.log(_EXCESS)  # of a path of which nothing is known
_PRIOR = np.log([0.05, 0.15, 0.15, 0.65])  # direct, one bounce, the ground after it, others
_SPECULAR = 0.7  # share of single bounces that a plane reflects
_GROUND = 0.2  # how far the ground under the user may be off that around the station [m]
_FEWEST_SEEN = 0.5  # share of paths that must leave towards an echo


class BounceClass(enum.IntEnum):
    """How often a path bounced, as far as it can be distinguished."""

    DIRECT = 0
    """Not at all: there are no bounces."""
    SINGLE = 1
    """Once: first and last bounce are one point."""
    SEVERAL = 2
    """Twice or more; the last bounce is that of two, and wrong for three."""
    UNSEEN = 3
    """No echo lies where the path leaves to; nothing is known."""


@dataclasses.dataclass(frozen=True)
class BounceStart:
    """Where each path bounced first and last; NaN where that is not known."""

    first: Float[np.ndarray, "path 3"]
    """First bounce [m]."""
    first_covariance: Float[np.ndarray, "path 3 3"]
    """Its covariance [m^2]."""
    last: Float[np.ndarray, "path 3"]
    """Last bounce [m]."""
    last_covariance: Float[np.ndarray, "path 3 3"]
    """Its covariance, if there are no more than two bounces [m^2]."""
    kind: Int[np.ndarray, " path"]
    """One of `BounceClass`."""
    class_error: Float[np.ndarray, " path"]
    """Probability that `kind` is wrong."""


def joint_start(
    echoes: StationEchoes,
    measured: Float[np.ndarray, "path 5"],
    std: Float[np.ndarray, "path 5"],
    station: Float[np.ndarray, "3"],
    user: Float[np.ndarray, "path 3"],
    user_std: float = 0.05,
) -> BounceStart:
    """Place first and last bounces of one or several instants' paths.

    Args:
        echoes: What the station heard of its own pulse.
        measured: `anchor.MEASURED` of each path: length, arrival, departure [m, rad].
        std: Standard deviations [m, rad].
        station: Position of the station [m].
        user: Position of the user, for each path [m].
        user_std: Standard deviation of each of its coordinates [m].
    """
    count = len(measured)
    first, last = np.full((2, count, 3), np.nan)
    spread, end_spread = np.full((2, count, 3, 3), np.nan)
    kind = np.full(count, int(BounceClass.UNSEEN))
    error = np.ones(count)
    surface, planes = Surface(echoes), find_planes(echoes)
    ground = ground_level(echoes, station)
    for p in range(count):
        known = SeenPath(measured[p], std[p], station, user[p], np.full(3, user_std))
        found = surface.candidates(measured[p, 3], measured[p, 4], float(std[p, 3:].max()))
        options = _options(found, planes, known, ground)
        densities = [_direct_density(measured[p], std[p], station, user[p], user_std)]
        for option in options:
            both = [way.log_density for way in option]
            densities.append(np.logaddexp.reduce(both) if both else -np.inf)
        if not found:  # it may have bounced where no echo comes from
            densities[3] = np.logaddexp(densities[3], _UNKNOWN)
        posterior = _PRIOR + np.array(densities)
        posterior = np.exp(posterior - np.logaddexp.reduce(posterior))
        probability = np.array([*posterior[:2], posterior[2:].sum()])
        chosen = int(np.argmax(probability))
        hidden = not found and densities[3] - _UNKNOWN < math.log(2)
        if chosen == BounceClass.SEVERAL and hidden and posterior[3] > posterior[2]:
            continue
        kind[p], error[p] = chosen, 1 - probability[chosen]
        if chosen == BounceClass.DIRECT:
            continue
        best = [max(o, key=lambda way: way.log_density) if o else None for o in options]
        # a class that may be wrong shows in the covariance of the first bounce
        first[p], spread[p] = _mixture(posterior[1:], [way and way.first for way in best])
        if chosen == BounceClass.SINGLE:
            last[p], end_spread[p] = first[p], spread[p]
        else:
            way = best[1] if best[1] and posterior[2] > posterior[3] else best[2] or best[1]
            assert way is not None  # one of them makes this class likely
            last[p], end_spread[p] = way.last or _last(way.first, known)
    return BounceStart(first, spread, last, end_spread, kind, error)


@dataclasses.dataclass(frozen=True)
class _Way:
    """One way that a path may have gone."""

    log_density: float
    """Of what was measured, its prior among the ways of its class included."""
    first: tuple[np.ndarray, np.ndarray]
    """First bounce with its covariance [m, m^2]."""
    last: tuple[np.ndarray, np.ndarray] | None
    """Last bounce, if it is another one and this way tells it."""


def _options(
    found: list[Candidate], planes: EchoPlanes, known: SeenPath, ground: float | None
) -> list[list[_Way]]:
    """List ways of one bounce, of one and then the ground, and of other bounces.

    Planes reflect, and then length, arrival and departure are all foretold; or something on a
    surface scatters, and the departure is known only as it was measured.
    """
    ways: list[list[_Way]] = [[], [], []]
    image = None if ground is None else _mirrored(known, ground)
    for kind, seen, level in ((0, known, None), (1, image, ground)):
        if seen is None:  # no ground is heard
            continue
        for each in found:
            density, first, spread = _single(each, seen)
            density += _ELSEWHERE + each.log_share + math.log(1 - _SPECULAR)
            ways[kind].append(_way(density, (first, spread), None, seen, level))
        for each in reflections(planes, seen, 1):
            ways[kind].append(_way(each.log_density, each.first, None, seen, level))
        for each in reflections(planes, seen, 2):
            ways[2].append(_way(each.log_density, each.first, each.last, seen, level))
    for each in found:
        density = _UNKNOWN + each.log_share
        ways[2].append(_Way(density, _on_ray(each, known.measured, known.std, known.station), None))
    return ways


def _way(density, first, last, seen: SeenPath, ground: float | None) -> _Way:
    """Make a way; seen from the user's image, its last bounce lies on the ground."""
    return _Way(density, first, last if ground is None else _on_ground(last or first, seen, ground))


def check_directions(start: BounceStart) -> None:
    """Refuse echoes that lie nowhere near where the paths leave to.

    Raises:
        InputError: Fewer than half of the paths leave towards an echo.
    """
    seen = start.kind != BounceClass.UNSEEN
    if len(seen) and seen.mean() < _FEWEST_SEEN:
        raise InputError(
            f"only {int(seen.sum())} of {len(seen)} paths leave towards an echo of the station; "
            "the echoes are of another station, or cover too few directions"
        )


def _angles(vector: np.ndarray) -> np.ndarray:
    return np.array(
        [np.arctan2(vector[1], vector[0]), np.arctan2(np.hypot(*vector[:2]), vector[2])]
    )


def _slopes(function, value: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Differentiate by central differences; angles are wrapped by `function`'s caller."""
    columns = []
    for k, size in enumerate(step):
        push = np.zeros(len(value))
        push[k] = size
        columns.append((function(value + push) - function(value - push)) / (2 * size))
    return np.stack(columns, axis=1)


def _on_ray(candidate, measured, std, station):
    """Place the first bounce on the ray of departure, with its covariance."""
    azimuth, zenith = measured[3:]

    def place(value):
        inverse = candidate.inverse + candidate.slope @ value[:2] + value[2]
        return station + unit_vectors(azimuth + value[0], zenith + value[1]) / np.maximum(
            inverse, 1e-4
        )

    step = np.array([1e-5, 1e-5, 1e-5 * candidate.inverse])
    slope = _slopes(place, np.zeros(3), step)
    noise = np.array([std[3] ** 2, std[4] ** 2, candidate.variance])
    return place(np.zeros(3)), (slope * noise) @ slope.T


def _predict(first, station, user):
    """Predict length and arrival of a path of one bounce."""
    toward = first - user
    length = np.linalg.norm(first - station) + np.linalg.norm(toward)
    return np.array([length, *_angles(toward)])


def _gaussian(residual: np.ndarray, covariance: np.ndarray) -> float:
    determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return float(-0.5 * (residual @ np.linalg.solve(covariance, residual) + determinant))


def _single(candidate: Candidate, known: SeenPath):
    """Ask how well one bounce there explains length and arrival, and let these correct it."""
    measured, station = known.measured, known.station
    first, spread = _on_ray(candidate, measured, known.std, station)

    def residual_at(value):
        predicted = _predict(value[:3], station, value[3:])
        difference = measured[:3] - predicted
        return np.array([difference[0], *wrap_angle(difference[1:])])

    prior = np.zeros((6, 6))
    prior[:3, :3], prior[3:, 3:] = spread, np.diag(known.user_std**2)
    begin = np.concatenate([first, known.user])

    def update(mean):
        slope = -_slopes(residual_at, mean, np.full(6, 1e-4))
        residual = residual_at(mean) - slope @ (begin - mean)
        inner = slope @ prior @ slope.T + np.diag(known.std[:3] ** 2)
        gain = prior @ slope.T @ np.linalg.inv(inner)
        return (
            begin + gain @ residual,
            (np.eye(6) - gain @ slope) @ prior,
            _gaussian(residual, inner),
        )

    mean, _, density = update(begin)
    mean, _, _ = update(mean)  # iterated, since near the user angles bend
    mean, after, _ = update(mean)
    return density, mean[:3], 0.5 * (after + after.T)[:3, :3]


def _direct_density(measured, std, station, user, user_std):
    """Ask how well the straight way explains length and both directions."""
    out = user - station
    away = float(np.linalg.norm(out))
    predicted = np.array([away, *_angles(-out), *_angles(out)])
    residual = measured - predicted
    residual[1:] = wrap_angle(residual[1:])
    level = max(float(np.hypot(*out[:2])), 1e-3)
    loose = user_std * np.array([1.0, 1 / level, 1 / away, 1 / level, 1 / away])
    return _gaussian(residual, np.diag(std**2 + loose**2))


def _mixture(weight, places):
    """Give mean and covariance of weighted Gaussians, those that are absent left out."""
    there = [(w, *place) for w, place in zip(weight, places) if place is not None]
    total = sum(w for w, _, _ in there)
    mean = sum(w * m for w, m, _ in there) / total
    return mean, sum(w * (c + np.outer(m - mean, m - mean)) for w, m, c in there) / total


def _mirrored(known: SeenPath, ground: float) -> SeenPath:
    """Turn what the user measured into what its image in the ground would."""
    flipped = known.measured.copy()
    flipped[2] = math.pi - flipped[2]
    image = np.array([known.user[0], known.user[1], 2 * ground - known.user[2]])
    loose = np.hypot(known.user_std, np.array([0.0, 0.0, 2 * _GROUND]))
    return dataclasses.replace(known, measured=flipped, user=image, user_std=loose)


def _on_ground(start, image: SeenPath, ground: float):
    """Place the last bounce where the way from the user's image to the first meets the ground."""

    def place(value):
        far, near = value[:3], value[3:]
        share = np.clip((ground - near[2]) / max(far[2] - near[2], 1e-3), 0.0, 1.0)
        return near + share * (far - near)

    first, spread = start
    noise = np.zeros((6, 6))
    noise[:3, :3], noise[3:, 3:] = spread, np.diag(image.user_std**2)
    value = np.concatenate([first, image.user])
    slope = _slopes(place, value, np.full(6, 1e-5))
    return place(value), slope @ noise @ slope.T + 1e-6 * np.eye(3)


def _last(start, known: SeenPath):
    """Place the last of two bounces, with its covariance by differences."""
    (first, spread), measured, std = start, known.measured, known.std
    station, user = known.station, known.user

    def place(value):
        rest = value[0] - np.linalg.norm(value[3:6] - station)
        between, ahead = value[3:6] - value[6:], unit_vectors(value[1], value[2])
        across = rest - between @ ahead
        reach = (rest**2 - between @ between) / (2 * max(across, 1e-6))
        return value[6:] + np.clip(reach, 0.5, max(rest, 1.0)) * ahead

    value = np.concatenate([measured[:3], first, user])
    noise = np.zeros((9, 9))
    noise[:3, :3], noise[3:6, 3:6] = np.diag(std[:3] ** 2), spread
    noise[6:, 6:] = np.diag(known.user_std**2)
    slope = _slopes(place, value, np.full(9, 1e-5))
    return place(value), slope @ noise @ slope.T
