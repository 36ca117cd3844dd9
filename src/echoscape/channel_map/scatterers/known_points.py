"""What was known of scatterers before any report counts beside what reports say.

A known point that states its covariance is one more observation of the scatterer that the reports
found where it stands; one that no report holds stays, unless it should often have been reported.

Takes the scatterers that reports show, and `StaticPoints` known before.
Gives `Strengths` and places of both together.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.scene import StaticPoints, scatterer_position

_GATE = 4.0  # deviations within which a known point and a found one are the same
_WEIGHT = 1.0  # paths that a known gain, its deviation included, counts as
_GAIN_STD = 1.0  # of known gains that state none
_LEAST_VISIBLE = 0.5  # below it, what no report holds is taken not to be there


class Scattering(NamedTuple):
    """Scatterers; places count from the station."""

    place: Float[np.ndarray, "point 3"]
    """Where they stand [m]."""
    covariance: Float[np.ndarray, "point 3 3"]
    """Errors of those, jitter left out [m^2]."""
    jitter: Float[np.ndarray, " point"]
    """Standard deviation from one report to the next, in every axis [m]."""
    gain: Float[np.ndarray, " point"]
    """Logarithmic gain."""
    gain_std: Float[np.ndarray, " point"]
    """Its deviation from one report to the next."""
    visibility: Float[np.ndarray, " point"]
    """Share of the places from which each is visible."""
    count: Int[np.ndarray, " point"]
    """Paths that go by each."""


def known_before(points: StaticPoints, station: Float[np.ndarray, "3"]) -> Scattering | None:
    """Read known scatterers that state how well they are known; none without covariances.

    Args:
        points: In the site's frame.
        station: Where the station is [m].
    """
    if points.covariance is None or not len(points):
        return None
    covariance = np.asarray(points.covariance, float)[:, :3, :3]
    one = np.ones(len(points))
    gain, std = (
        one * (np.nan if value is None else np.asarray(value, float))
        for value in (points.log_gain, points.log_gain_std)
    )
    return Scattering(
        np.asarray(scatterer_position(points), float) - station, covariance, 0.0 * one, gain,
        np.where(np.isfinite(std), std, _GAIN_STD), one, np.zeros(len(points), int),
    )  # fmt: skip


def join_known(
    found: Scattering, known: Scattering, users: Float[np.ndarray, "report 3"], strong: int,
    planar: bool,
) -> Scattering:  # fmt: skip
    """Fuse what reports found with what was known, and keep what they do not contradict.

    Args:
        found: What reports show.
        known: What was known before, as `known_before` has it.
        users: Where reports with any path were made, from the station [m].
        strong: Rank below which a path is surely reported.
        planar: Whether heights are unknown.
    """
    axes = 2 if planar else 3
    place, covariance = found.place.copy(), found.covariance.copy()
    gain, std = found.gain.copy(), found.gain_std.copy()
    alone = np.ones(len(known.place), bool)
    free = np.ones(len(place), bool)
    for k in range(len(known.place)):
        away = (place - known.place[k])[:, :axes]
        both = covariance[:, :axes, :axes] + known.covariance[k, :axes, :axes]
        both = both + (found.jitter**2)[:, None, None] * np.eye(axes)
        square = np.einsum("fi,fi->f", away, np.linalg.solve(both, away[..., None])[..., 0])
        alone[k] = not (square < _GATE**2).any()
        square[~free] = np.inf
        f = int(np.argmin(square))
        if square[f] >= _GATE**2:
            continue
        free[f] = False
        pull = covariance[f, :axes, :axes] @ np.linalg.inv(
            covariance[f, :axes, :axes] + known.covariance[k, :axes, :axes]
        )
        place[f, :axes] -= pull @ away[f]
        covariance[f, :axes, :axes] -= pull @ covariance[f, :axes, :axes]
        if np.isfinite(known.gain[k]):
            n = found.count[f]
            gain[f] = (n * gain[f] + _WEIGHT * known.gain[k]) / (n + _WEIGHT)
            std[f] = np.sqrt((n * std[f] ** 2 + _WEIGHT * known.gain_std[k] ** 2) / (n + _WEIGHT))
    fused = found._replace(place=place, covariance=covariance, gain=gain, gain_std=std)
    rest = Scattering(*(column[alone & np.isfinite(known.gain)] for column in known))
    if not len(rest.place):
        return fused
    rest = rest._replace(jitter=np.full(len(rest.place), np.median(found.jitter)))
    if planar:
        rest = rest._replace(place=rest.place * [1.0, 1.0, 0.0])
    whole = Scattering(*(np.concatenate(pair) for pair in zip(fused, rest)))
    expected = np.sum(_ranks(whole, users)[:, len(place) :] < strong, axis=0)
    visible = 9.5 / (expected + 10.0)
    whole.visibility[len(place) :] = visible
    keep: Bool[np.ndarray, " point"] = np.r_[np.ones(len(place), bool), visible > _LEAST_VISIBLE]
    return Scattering(*(column[keep] for column in whole))


def _ranks(points: Scattering, users) -> Int[np.ndarray, "report point"]:
    """Order the points at every user by the power that is expected."""
    first = np.linalg.norm(points.place, axis=1)
    second = np.maximum(np.linalg.norm(users[:, None] - points.place, axis=2), 1e-3)
    strength = points.gain - 2 * np.log(first * second)
    return np.argsort(np.argsort(-strength, axis=1), axis=1)
