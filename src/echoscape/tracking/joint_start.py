"""First and last bounces at the start, from a station's own echoes and one instant's paths.

A station that hears its own pulse knows how far the surfaces around it are in every direction; a
path to the user leaves in one of these directions, and where that ray meets the surface is its
first bounce (section II-B of [isac-gbsm]); `echo_surface` tells where.  Whether the path bounced
once is then a matter of three numbers that one bounce predicts, length and arrival, against their
spread over all that several bounces could make; the ground as the last of them is asked apart.

Takes echoes, one instant's paths, user and station (numpy, on the host).
Gives `BounceStart`: points with covariance, and the class of each path with its error.
"""

import dataclasses
import enum
import math

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
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
_PRIOR = np.log([0.05, 0.15, 0.15, 0.65])  # direct, one bounce, the ground after it, others
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
    surface = Surface(echoes)
    ground = ground_level(echoes, station)
    for p in range(count):
        found = surface.candidates(measured[p, 3], measured[p, 4], float(std[p, 3:].max()))
        densities = [_direct_density(measured[p], std[p], station, user[p], user_std)]
        elsewhere = -math.log(2 * math.pi * _ZENITHS)  # a direction of which nothing is known
        known = _Seen(measured[p], std[p], station, user[p], np.full(3, user_std))
        options = [[(*_single(each, known), each.log_share) for each in found], []]
        below = None
        if ground is not None:  # seen from the user's image in the ground, it is one bounce again
            below = _mirrored(known, ground)
            options[1] = [(*_single(each, below), each.log_share) for each in found]
        for option in options:
            both = [density + share for density, _, _, share in option]
            densities.append(elsewhere + (np.logaddexp.reduce(both) if both else -np.inf))
        densities.append(2 * elsewhere - math.log(_EXCESS))
        posterior = _PRIOR + np.array(densities)
        posterior = np.exp(posterior - np.logaddexp.reduce(posterior))
        probability = np.array([*posterior[:2], posterior[2:].sum()])
        chosen = int(np.argmax(probability))
        if not found and chosen != BounceClass.DIRECT:
            continue
        kind[p], error[p] = chosen, 1 - probability[chosen]
        if chosen == BounceClass.DIRECT:
            continue
        likely = max(found, key=lambda each: each.log_share)
        places = [max(o, key=lambda each: each[0] + each[3])[1:3] if o else None for o in options]
        places.append(_on_ray(likely, measured[p], std[p], station))
        # a class that may be wrong shows in the covariance of the first bounce
        first[p], spread[p] = _mixture(posterior[1:], places)
        if chosen == BounceClass.SINGLE:
            last[p], end_spread[p] = first[p], spread[p]
        elif ground is not None and below is not None and posterior[2] > posterior[3]:
            last[p], end_spread[p] = _on_ground(places[1], below, ground)
        else:
            last[p], end_spread[p] = _last(places[2], known)
    return BounceStart(first, spread, last, end_spread, kind, error)


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


@dataclasses.dataclass(frozen=True)
class _Seen:
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


def _single(candidate: Candidate, known: _Seen):
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


def _mirrored(known: _Seen, ground: float) -> _Seen:
    """Turn what the user measured into what its image in the ground would."""
    flipped = known.measured.copy()
    flipped[2] = math.pi - flipped[2]
    image = np.array([known.user[0], known.user[1], 2 * ground - known.user[2]])
    loose = np.hypot(known.user_std, np.array([0.0, 0.0, 2 * _GROUND]))
    return dataclasses.replace(known, measured=flipped, user=image, user_std=loose)


def _on_ground(start, image: _Seen, ground: float):
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


def _last(start, known: _Seen):
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
