"""The posterior about an end of an ascent, by quadrature with the map queried at each point.

Echoes leave long valleys of positions that explain them nearly alike; which paths reach a position,
and which end at a shadow's edge, decides where in the valley the target stands.  Presence has no
useful gradient, so an ascent does not see it: points are laid along the valley in steps of its own
standard deviation, and the mode becomes the posterior mean over them.

Takes `LocalMaxima`, and what evaluates positions.
Gives `LocalMaxima`, the best ends and their like replaced by mean and covariance.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp, softmax

from echoscape.localization.posterior_modes import COINCIDENT, PRIOR_INFORMATION
from echoscape.localization.unassociated.ascent import LocalMaxima

_STEP = 1.2  # standard deviations between points
_WIDEST = 6.0  # standard deviation of the points in each direction, at most [m]
# Variance added, as a share of the echoes' own: what lies between the points is a third of it, the
# rest is for presence, which takes paths for independent though one wall may shadow several.
_ADDED = _STEP**2 / 4.0
_ENDS = 2  # different ends that are integrated
_WITHIN = 20.0  # log-likelihood below the best up to which they are: e^-20 is nobody's posterior
_TOGETHER = 8  # ends at a time: one program, however many ends there are
_POINTS = np.array(
    [(a * _STEP, b * _STEP) for a in range(-2, 3) for b in range(-2, 3) if abs(a) + abs(b) < 4]
)


def integrate_modes(found: LocalMaxima, evaluate, heights: Float[np.ndarray, "2"]) -> LocalMaxima:
    """Replace the best ends by the mean of the posterior around them.

    Args:
        found: Ends of ascents, by target and start (numpy).
        evaluate: Numbers of some targets, positions by these and point [m], and log reflectivities,
            to log-likelihoods.
        heights: Lowest and highest z [m]; equal where the height is given.
    """
    left, valleys = np.isfinite(found.log_likelihood), []
    for _ in range(_ENDS):
        valleys.append(_lay_out(found, left, heights))
        left = left & ~valleys[-1].mine
    # A second end far below the best holds none of the posterior.
    height = np.stack([valley.height for valley in valleys])
    asked = (height > height[0] - _WITHIN) | (np.arange(_ENDS) == 0)[:, None]
    end, row = np.nonzero(asked)
    point = np.stack([valley.point for valley in valleys])
    level = np.stack([found.log_reflectivity[np.arange(len(left)), v.best] for v in valleys])
    there = np.zeros(point.shape[:3])
    size = min(_TOGETHER, len(left))
    for index in np.minimum(np.arange(-(-len(row) // size) * size), len(row) - 1).reshape(-1, size):
        e, r = end[index], row[index]
        some = np.repeat(level[e, r][:, None], len(_POINTS), axis=1)
        there[e, r] = np.asarray(evaluate(r, point[e, r], some))
    for valley, value, known in zip(valleys, there, asked):
        mine = valley.mine & known[:, None]
        found = _replace(found, valley._replace(mine=mine), value, heights)
    return found


class _Valley(NamedTuple):
    """An end, those that coincide with it, and the points around it, by target."""

    best: Int[np.ndarray, " target"]
    height: Float[np.ndarray, " target"]
    """Log-likelihood of the end; minus infinity where none is left."""
    mine: Bool[np.ndarray, "target end"]
    plane: Float[np.ndarray, "target 3 3"]
    """Covariance in the plane of the points, by the echoes [m^2]."""
    across: Float[np.ndarray, "target 3 3"]
    """The rest of it, in the one direction that the points leave out [m^2]."""
    point: Float[np.ndarray, "target point 3"]
    """Points [m]."""


def _lay_out(found: LocalMaxima, left, heights) -> _Valley:
    """Lay points around the best of the ends left."""
    rows = np.arange(len(left))
    best = np.argmax(np.where(left, found.log_likelihood, -np.inf), axis=1)
    end = found.position[rows, best]
    # A given height is known so well that it takes no part.
    given = np.diag([0.0, 0.0, 0.0 if heights[1] > heights[0] else 1e12])
    information = found.information[rows, best] + PRIOR_INFORMATION * np.eye(3) + given
    covariance = np.linalg.inv(information)
    std = np.sqrt(np.maximum(covariance[:, 0, 0] + covariance[:, 1, 1], 0.0))
    separation = np.linalg.norm(found.position - end[:, None], axis=-1)
    variance, vector = np.linalg.eigh(covariance)
    side = np.sqrt(np.clip(variance[:, 1:], 1e-8, _WIDEST**2))
    axes = vector[:, :, 1:] * side[:, None]
    point = end[:, None] + np.einsum("pa,tia->tpi", _POINTS, axes)
    point[..., 2] = np.clip(point[..., 2], heights[0], heights[1])
    normal = vector[:, :, 0]
    across = np.einsum("t,ti,tj->tij", np.maximum(variance[:, 0], 0.0), normal, normal)
    mine = left & (separation < COINCIDENT * np.maximum(1.0, std)[:, None])
    height = np.where(left.any(axis=1), found.log_likelihood[rows, best], -np.inf)
    return _Valley(best, height, mine, axes @ np.swapaxes(axes, 1, 2), across, point)


def _replace(found: LocalMaxima, valley: _Valley, value, heights) -> LocalMaxima:
    """Turn the values at the points into mean, covariance and the peak of an equal Gaussian."""
    weight = softmax(value, axis=1)
    mean = np.einsum("tp,tpi->ti", weight, valley.point)
    mean[:, 2] = np.clip(mean[:, 2], heights[0], heights[1])
    difference = valley.point - mean[:, None]
    inside = np.einsum("tp,tpi,tpj->tij", weight, difference, difference)
    inside += _ADDED * valley.plane + 1e-8 * np.eye(3)
    information = np.linalg.inv(inside + valley.across)
    # The peak of a Gaussian of this covariance that holds as much of the posterior.
    volume = 0.5 * (_log_area(inside) - _log_area(valley.plane))
    peak = logsumexp(value, axis=1) + np.log(_STEP**2 / (2.0 * np.pi)) - volume
    mine = valley.mine
    return dataclasses.replace(
        found,
        position=np.where(mine[..., None], mean[:, None], found.position),
        log_likelihood=np.where(mine, peak[:, None], found.log_likelihood),
        information=np.where(mine[..., None, None], information[:, None], found.information),
    )


def _log_area(matrix):
    """Measure the logarithm of the squared area of ellipses in the plane."""
    return np.linalg.slogdet(matrix[:, :2, :2] + 1e-8 * np.eye(2))[1]
