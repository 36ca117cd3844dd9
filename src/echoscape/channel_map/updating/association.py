"""Which known point each path of a batch belongs to, and which paths belong to none.

A path can belong to a point whose predicted image, height and gain agree with it, and is taken
for the most probable one; where a path from anywhere is more probable than that, it stays free.
A point explains one path of a report.

Takes `UnfoldedPaths`, and the points of a map relative to the station.
Gives the index of a point for each path, -1 where none.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from echoscape.channel_map.virtual_anchors.search import isometry_matrix, misfit
from echoscape.channel_map.virtual_anchors.table import PointError
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths
from echoscape.scene import PointKind, StaticPoints

_GATE = 1.3 * 3.5**2
"""Squared deviations in the plane within which a path and a point can belong together: that of
the search."""
_HEIGHT_GATE = 3.5**2
_GAIN_MOST = 9.0
"""Most that a gain counts for in squared deviations: fading is no reason to leave a path out."""
_UNLISTED = 0.02
"""Probability that a point is reported where the raster does not offer it."""
_CHUNK = 2_000_000
"""Pairs of path and point looked at at a time: bounds the memory."""


class KnownPoints(NamedTuple):
    """Points relative to the station, as plain arrays."""

    reflection: Int[np.ndarray, " point"]
    """1 or -1; 0 for an edge."""
    rotation: Float[np.ndarray, " point"]
    """Of the isometry; azimuth of an edge [rad]."""
    offset: Float[np.ndarray, "point 2"]
    """Shift, or position of an edge [m]."""
    vertical: Float[np.ndarray, " point"]
    """Sense of heights."""
    height: Float[np.ndarray, " point"]
    """Height offset [m]."""
    log_gain: Float[np.ndarray, " point"]
    """Natural logarithm of power times squared length."""
    log_gain_std: Float[np.ndarray, " point"]
    """Its deviation."""
    error: PointError
    """Errors, centres relative to the station."""

    @classmethod
    def of(cls, points: StaticPoints, error: PointError) -> "KnownPoints":
        """Read static points that count from the station.

        Args:
            points: The points.
            error: Their errors, centres relative to the station.
        """
        edge = np.asarray(points.kind) == PointKind.EDGE
        offset = np.asarray(points.offset, float)
        bearing = np.arctan2(offset[:, 1], offset[:, 0])
        return cls(
            np.where(edge, 0, np.asarray(points.reflection)).astype(int),
            np.where(edge, bearing, np.asarray(points.rotation)),
            offset,
            np.asarray(points.vertical_reflection, float),
            np.asarray(points.height_offset, float),
            np.asarray(points.log_gain, float),
            np.asarray(points.log_gain_std, float),
            error,
        )

    def images(self, place: Float[np.ndarray, "user 3"]) -> Float[np.ndarray, "user point 2"]:
        """Place users where the station sees them by way of each isometry [m]; edges: themselves.

        Args:
            place: Users, from the station [m].
        """
        matrix = isometry_matrix(np.where(self.reflection == 0, 1, self.reflection), self.rotation)
        matrix = matrix * (self.reflection != 0)[:, None, None]
        return np.einsum("pij,uj->upi", matrix, place[:, :2]) + self.offset

    def excess(self, place: Float[np.ndarray, "user 2"]) -> Float[np.ndarray, "user point"]:
        """Give the variance of each point's prediction for each user [m^2]."""
        lever = np.sum((place[:, None] - self.error.centre) ** 2, axis=-1)
        return self.error.variance + lever * (
            np.asarray(self.error.rotation_variance) + np.asarray(self.error.stretch_variance)
        )


def associate(
    paths: UnfoldedPaths,
    known: KnownPoints,
    listed: Float[np.ndarray, "report point"],
    new_rate: float,
    extent: float,
) -> Int[np.ndarray, " path"]:
    """Find the point of each path.

    Args:
        paths: Paths of a batch.
        known: Points that may explain them.
        listed: Probability that each report of the batch holds each point.
        new_rate: Paths of a report that no point explains, on average.
        extent: Area over which those lie anywhere [m^2].
    """
    count = len(paths.report)
    if not len(known.rotation) or not count:
        return np.full(count, -1)
    spread = np.nan_to_num(np.nanstd(paths.log_gain), nan=1.0) + 0.5
    middle = np.nan_to_num(np.nanmean(np.r_[paths.log_gain, 0.0]))
    path, point, score = [], [], []
    step = max(1, _CHUNK // len(known.rotation))
    for first in range(0, count, step):
        some = np.arange(first, min(first + step, count))
        extra = known.excess(paths.place[some, :2])
        square = misfit(
            paths, some[:, None], known.reflection, known.rotation, known.offset, extra=extra
        )
        rise = paths.point[some, 2:] - known.vertical * paths.place[some, 2:] - known.height
        level = rise**2 / (paths.height_std[some, None] ** 2 + extra)
        row, column = np.nonzero((square < _GATE) & (level < _HEIGHT_GATE))
        k = some[row]
        here = extra[row, column]
        along, across = paths.along_std[k] ** 2 + here, paths.across_std[k] ** 2 + here
        gain = _gain_score(paths.log_gain[k], known, column, middle, spread)
        # against a free path: anywhere in the plane, heights as likely as those of points
        score.append(
            np.log(np.maximum(listed[paths.report[k], column], _UNLISTED))
            - 0.5 * (square[row, column] + level[row, column])
            - 0.5 * np.log(along * across) - np.log(2 * np.pi) + gain
            - np.log(new_rate / extent)
        )  # fmt: skip
        path.append(k)
        point.append(column)
    path, point, score = (np.concatenate(each) for each in (path, point, score))
    return _best_pairs(paths.report, path, point, score)


def _gain_score(log_gain, known: KnownPoints, column, middle, spread):
    """Compare gains with those of a point and with those of any path [nat]."""
    own, std = known.log_gain[column], known.log_gain_std[column]
    at_point = np.minimum((log_gain - own) ** 2 / std**2, _GAIN_MOST) + 2 * np.log(std)
    anyhow = np.minimum((log_gain - middle) ** 2 / spread**2, _GAIN_MOST) + 2 * np.log(spread)
    return np.where(np.isfinite(log_gain), np.nan_to_num(0.5 * (anyhow - at_point)), 0.0)


def _best_pairs(report, path, point, score):
    """Take pairs from the best down: a path has one point, a point one path of a report."""
    found = np.full(len(report), -1)
    taken: set[tuple[int, int]] = set()
    for pair in np.argsort(-score, kind="stable"):
        if score[pair] < 0.0:
            break
        holder = (int(report[path[pair]]), int(point[pair]))
        if found[path[pair]] < 0 and holder not in taken:
            found[path[pair]] = point[pair]
            taken.add(holder)
    return found
