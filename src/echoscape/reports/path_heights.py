"""The clock and tilt of a station by the heights of all its paths, direct or not.

Reflection at upright walls keeps heights, so every path obeys ``cos(zenith) = h / length``, ``h``
the user's height above the station or that of its image in the ground: no line of sight and no
association is needed.  The yaw is not observable that way.

Takes `StraightLine`.
Gives a `StationBias`, or none where heights tell too little.
"""

import numpy as np
from jaxtyping import Bool
from scipy.optimize import minimize

from echoscape.reports.station_bias import StationBias, turn_matrix, unit_vector
from echoscape.reports.straight_line import StraightLine

_LENGTH_FLOOR, _ANGLE_FLOOR = 0.02, 1e-3  # errors of computed paths, by rounding [m, rad]
_WIDE = 6.0  # deviations of outliers in height, in those of the others
_GROUND = (1.5, 0.5)  # height of users above the ground, and its deviation [m]
_CLOCK_STARTS = (-18.0, -9.0, 0.0, 9.0, 18.0)  # of the heights [m]
_OUTLIER = 0.02  # share of paths


def bias_of_heights(
    line: StraightLine, free: Bool[np.ndarray, "4"], scale: float = 1.0
) -> StationBias | None:
    """Estimate clock and tilt from the heights of all paths; None where they tell too little.

    Args:
        line: Paths beside the straight line.
        free: Which of clock, yaw, pitch and roll are unknown.
        scale: Angle errors over stated ones [1].
    """
    end = line.ends[0]
    take = np.nonzero(line.valid & end.zenith_known & end.azimuth_known)
    free = free & np.array([True, False, True, True])
    if len(take[0]) < 60 or not free.any():
        return None
    seen = unit_vector(end.azimuth[take], end.zenith[take])
    height = (line.position - line.station_position)[take[0], 2]
    length, stated = line.length[take], np.maximum(end.error[take], _ANGLE_FLOOR)
    length_error = np.maximum(line.length_error[take], _LENGTH_FLOOR)
    error = np.sqrt((scale * stated * np.sin(end.zenith[take])) ** 2
                    + (height / length**2 * length_error) ** 2)  # fmt: skip

    scaled = np.array([3.0, 0.02, 0.02, 0.3, 0.5])  # steps of one kind for all parameters
    origin = np.array([0.0, 0.0, 0.0, _GROUND[0], 0.0])
    index = np.flatnonzero(np.array([free[0], free[2], free[3], True, True]))

    def cost(step, start):
        """Sum the negative log-likelihood: either height, or an outlier."""
        p = start.copy()
        p[index] += scaled[index] * step
        true_z = seen @ turn_matrix(0.0, p[1], p[2])[2]
        rest = np.maximum(length - p[0], 0.3 * length)
        square = ((true_z - np.stack([height, height - 2 * p[3]]) / rest) / error) ** 2
        share = np.array([[-np.logaddexp(0, p[4])], [-np.logaddexp(0, -p[4])]])
        log = np.logaddexp(*(share - 0.5 * square))
        wide = np.logaddexp(*(share - 0.5 * square / _WIDE**2)) - np.log(_WIDE)
        log = np.logaddexp(np.log(1 - _OUTLIER) + log, np.log(_OUTLIER) + wide)
        return 0.5 * ((p[3] - _GROUND[0]) / _GROUND[1]) ** 2 + 0.1 * p[4] ** 2 - log.sum()

    found, best, at = np.zeros(len(index)), np.inf, origin
    for clock in _CLOCK_STARTS if free[0] else (0.0,):
        start = origin + np.array([clock, 0, 0, 0, 0])
        result = minimize(cost, np.zeros(len(index)), (start,), method="BFGS")
        if result.fun < best:
            best, found, at = result.fun, result.x, start
    p = at.copy()
    p[index] += scaled[index] * found
    information = _hessian(lambda step: cost(step, at), found)
    if np.linalg.eigvalsh(information)[0] <= 0:
        return None
    inside = np.linalg.inv(information) * np.outer(scaled[index], scaled[index])
    covariance = np.zeros((4, 4))
    kept = index < 3
    place = np.array([0, 2, 3])[index[kept]]
    covariance[np.ix_(place, place)] = inside[np.ix_(kept, kept)]
    covariance[1, 1] = np.inf
    if covariance[0, 0] > 9.0 or covariance[2, 2] > 0.02**2 or covariance[3, 3] > 0.02**2:
        return None
    return StationBias(float(p[0]), 0.0, float(p[1]), float(p[2]), covariance, 0, scale, 1.0)


def _hessian(function, at: np.ndarray, step: float = 0.02) -> np.ndarray:
    """Differentiate twice by central differences."""
    moves = step * np.eye(len(at))
    four = lambda a, b: sum(  # noqa: E731
        i * j * function(at + i * a + j * b) for i in (1, -1) for j in (1, -1)
    )
    return np.array([[four(a, b) for b in moves] for a in moves]) / (4 * step**2)
