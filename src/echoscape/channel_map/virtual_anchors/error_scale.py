"""How large the errors of reported paths are beside those stated.

What points leave of the paths that they explain tells it, along the paths for their lengths and
across them for their departures.

Takes `UnfoldedPaths` and the `FittedPoint`s found among them.
Gives scales, and `Reports` with their errors so much wider.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from echoscape.channel_map.virtual_anchors.search import FittedPoint, isometry_matrix
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths
from echoscape.reports import Reports

_FEWEST_MEMBERS = 6  # paths of a point that has three parameters of its own
_FEWEST = 100  # paths below which nothing is said
_SMALLEST, _LARGEST = 1.5, 20.0  # scales below are left: errors are seldom known better
_STATED = 0.3  # stated error below which the model's is all that shows [model errors]
_MEDIAN_SQUARE = 0.455  # of a standard Gaussian


class ErrorScale(NamedTuple):
    """Errors over stated ones, never below one."""

    angle: float = 1.0
    """Of departures."""
    length: float = 1.0
    """Of delays."""

    def widen(self, reports: Reports) -> Reports:
        """State the errors of departures and lengths so much larger."""
        if self == ErrorScale():
            return reports
        paths = reports.estimates
        wider = {
            "departure_azimuth_std": self.angle * paths.departure_azimuth_std,
            "departure_zenith_std": self.angle * paths.departure_zenith_std,
            "length_std": self.length * paths.length_std,
        }
        return dataclasses.replace(reports, estimates=dataclasses.replace(paths, **wider))

    def times(self, more: "ErrorScale") -> "ErrorScale":
        """Multiply with the scale of what this one has widened."""
        return ErrorScale(self.angle * more.angle, self.length * more.length)


def learn_error_scale(
    paths: UnfoldedPaths, points: list[FittedPoint], position_std, least: float
) -> ErrorScale:
    """Learn how large errors are beside those stated from what points leave.

    Args:
        paths: All paths, with their errors as stated.
        points: Points and the paths that they explain.
        position_std: Error of the user of each path [m].
        least: Smallest model error [m]; that of `paths` may stand for errors stated too small.
    """
    along, across, member = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, int)]
    for point in points:
        m = point.member
        if point.reflection == 0 or len(m) < _FEWEST_MEMBERS:
            continue
        matrix = isometry_matrix(point.reflection, point.rotation)
        gap = paths.point[m, :2] - paths.place[m, :2] @ matrix.T - point.offset
        out = paths.outward[m]
        along.append(np.sum(gap * out, axis=1))
        across.append(gap[:, 1] * out[:, 0] - gap[:, 0] * out[:, 1])
        member.append(m)
    m = np.concatenate(member)
    other = position_std[m] ** 2 + least**2
    allowed = position_std[m] ** 2 + paths.model_error**2
    return ErrorScale(*(
        _scale(np.concatenate(gap) ** 2, np.maximum(std[m] ** 2 - allowed, 0.0), other, least)
        for gap, std in ((across, paths.across_std), (along, paths.along_std))
    ))  # fmt: skip


def _scale(square, stated, other, least: float) -> float:
    """Find the scale of stated variances at which half of the squares are as small as they are."""
    some = stated > (_STATED * least) ** 2
    if some.sum() < _FEWEST:
        return 1.0
    square, stated, other = square[some], stated[some], other[some]
    low, high = 0.0, np.log(_LARGEST)
    for _ in range(30):
        middle = 0.5 * (low + high)
        found = np.median(square / (np.exp(2 * middle) * stated + other))
        low, high = (middle, high) if found > _MEDIAN_SQUARE else (low, middle)
    scale = float(np.exp(low))
    return scale if scale > _SMALLEST else 1.0
