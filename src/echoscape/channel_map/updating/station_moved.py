"""Whether the reports of a batch come from a station that stands, turns or counts time otherwise.

A station that moved by ``d`` sees every image shifted by ``-d``; a turned array turns all images
about the station; a clock that was set shifts all lengths.  So if the paths of many reports agree
with the map but for one shift, turn or length that they share, the station was changed.

Takes paths of a batch and the points of a map.
Gives a sentence, or nothing.
"""

import numpy as np
from scipy.spatial import KDTree

from echoscape.channel_map.updating.association import KnownPoints
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths
from echoscape.units import delay_of, wrap_angle

_FARTHEST = 60.0  # shift or length that is looked for [m]
_WIDEST = 0.35  # turn that is looked for [rad]
_LIKELY = 0.2  # probability above which a point is expected of a report
_GATE = 3.5  # deviations within which a path agrees
_FEWEST = 5  # reports that agree better with a changed station than with the map's
_BEYOND_CHANCE = 3  # times as many as agree with the opposite change, which is as wrong by chance


def station_change(
    paths: UnfoldedPaths, known: KnownPoints, listed: np.ndarray
) -> tuple[str, int] | None:
    """Look for a change of the station that many reports of a batch share.

    Args:
        paths: Paths of the batch, from the station.
        known: Points of the map, from the station.
        listed: Probability that each report holds each point.

    Returns:
        What changed, in words, and in how many reports; None where nothing did.
    """
    report, point = np.nonzero((listed > _LIKELY) & (known.reflection != 0))
    first = np.searchsorted(paths.report, report)
    last = np.searchsorted(paths.report, report, side="right")
    path = np.concatenate([np.arange(a, b) for a, b in zip(first, last)] or [np.zeros(0, int)])
    point = np.repeat(point, last - first)
    if not len(path):
        return None
    place = paths.place[path]
    image = known.images(paths.place)[path, point]
    rise = paths.point[path, 2] - known.vertical[point] * place[:, 2] - known.height[point]
    level = np.abs(rise) < _GATE * np.hypot(paths.height_std[path], _FARTHEST * 0.05)
    extra = known.excess(paths.place[:, :2])[path, point]
    along = np.sqrt(paths.along_std[path] ** 2 + extra)
    across = np.sqrt(paths.across_std[path] ** 2 + extra)
    shift = paths.point[path, :2] - image
    reach = np.linalg.norm(image, axis=1)
    longer = np.linalg.norm(paths.point[path, :2], axis=1) - reach
    bearing = np.arctan2(image[:, 1], image[:, 0])
    turn = wrap_angle(paths.azimuth[path] - bearing)
    angle_std = across / np.maximum(reach, 1.0)
    laws = (
        (shift, np.stack([np.hypot(along, across)] * 2, 1), (_FARTHEST, _FARTHEST), _shifted),
        (np.stack([longer, turn], 1), np.stack([along, angle_std], 1), (_FARTHEST, _WIDEST),
         _retuned),
    )  # fmt: skip
    found = []
    for difference, std, most, words in laws:
        near = level & np.all(np.abs(difference) < most, axis=1)
        holder = paths.report[path][near]
        change, count = _shared(difference[near], std[near], holder, path[near])
        if count:
            found.append((count, words(change)))
    if not found:
        return None
    count, words = max(found)
    return words, count


def _shared(difference, std, report, path) -> tuple[np.ndarray, int]:
    """Find the change that most reports share, and how many agree with it rather than with none."""
    if len(difference) < _FEWEST:
        return np.zeros(2), 0
    scale = np.median(std, axis=0)
    scaled = difference / scale
    far = np.linalg.norm(scaled, axis=1) > 2 * _GATE
    tree = KDTree(scaled)
    some = np.flatnonzero(far)[:: max(1, far.sum() // 4000)]
    if not len(some):
        return np.zeros(2), 0
    votes = tree.query_ball_point(scaled[some], 1.0, return_length=True)
    change = scaled[some[np.argmax(votes)]]
    for _ in range(3):
        close = np.linalg.norm(scaled - change, axis=1) < 2.0
        change = scaled[close].mean(axis=0)
    if np.linalg.norm(change) < 2 * _GATE:
        return np.zeros(2), 0

    def agreeing(with_change):
        fits = np.all(np.abs(scaled - with_change) * scale < _GATE * std, axis=1)
        pairs = np.unique(np.stack([report[fits], path[fits]]), axis=1)
        return np.bincount(pairs[0], minlength=report.max() + 1)

    none = agreeing(np.zeros(2))
    moved, opposite = ((found >= none + 2) for found in (agreeing(change), agreeing(-change)))
    enough = moved.sum() >= _FEWEST + _BEYOND_CHANCE * opposite.sum()
    return change * scale, int(moved.sum()) if enough else 0


def _shifted(change) -> str:
    x, y = -change
    return f"the station stands {np.hypot(x, y):.1f} m from its place, at ({x:+.1f}, {y:+.1f}) m"


def _retuned(change) -> str:
    longer, turn = change
    return (
        f"lengths are off by {longer:+.1f} m ({delay_of(longer) * 1e9:+.1f} ns) and azimuths by "
        f"{np.degrees(turn):+.1f} degrees"
    )
