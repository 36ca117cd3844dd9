"""Which reflectors vanished, appeared, or were found, at a stated rate of false alarms.

While a point exists, a report near others that held it misses it with the probability ``1 - p``
that visibility states, predicted from the reports up to the last that held it.  Since the last that
held a point, its `silence` is ``-sum(log(1 - p))``.  Were the point there, a run of misses that
reaches a silence ``h`` would have a probability of at most ``exp(-h)``, and every hearing starts
one run; so ``h = log((1 + N v) / a)`` bounds the probability of a false alarm within `N` reports
by `a` for a point that a share `v` of the reports holds (a union bound; no constant is tuned).

A point born of new paths had appeared rather than been overlooked when the earlier reports at
those places were silent about it to the same degree.

Takes what batches held.
Gives silences, thresholds and `MapChanges`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from echoscape.channel_map.visibility import NOT_REPORTED, VisibilityModel, predict_pairs
from echoscape.checks import InputError
from echoscape.display import Displayed, counted

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 256  # reports whose neighbours are searched for at a time
KINDS = ("vanished", "appeared", "found")
"""Points that went; that came where earlier reports were silent; that no report met before."""


@dataclasses.dataclass(frozen=True, repr=False)
class MapChanges(Displayed):
    """What a batch of reports changed in a map; one row for each changed point."""

    station: str
    """Name of the base station."""
    kind: tuple[str, ...]
    """One of `KINDS` for each change."""
    position: Float[np.ndarray, "change 2"]
    """Virtual anchor or edge, in the site's frame [m]; NaN for a path met once."""
    reports: Int[np.ndarray, " change"]
    """How many reports held the point."""
    missed: Float[np.ndarray, " change"]
    """Reports expected to hold it that did not [1]."""
    silence: Float[np.ndarray, " change"]
    """Improbability of these misses [nat]."""
    threshold: Float[np.ndarray, " change"]
    """Silence at which a change is stated [nat]."""
    time: float
    """Of the last report [s]."""
    added: int
    """Reports added."""
    left_out: int
    """Reports that contradict the map, looked at and left out."""
    explained: float
    """Share of the paths that the points explain."""
    confirmed: int
    """Confirmed points of the new map."""
    unexplained: int
    """Paths in its pool."""

    def to_arrow(self) -> "pa.Table":
        """Lay the changes out, one row each."""
        import pyarrow as pa

        return pa.table({
            "station": [self.station] * len(self.kind), "change": list(self.kind),
            "x": self.position[:, 0], "y": self.position[:, 1], "reports": self.reports,
            "missed": self.missed, "silence": self.silence, "threshold": self.threshold,
            "time": np.full(len(self.kind), self.time),
        })  # fmt: skip

    def count(self, kind: str) -> int:
        """Count the changes of one kind."""
        return self.kind.count(kind)

    def summary_rows(self) -> dict[str, str]:
        """Count reports, points and changes."""
        left = f", {self.left_out} left out: they contradict the map" if self.left_out else ""
        return {
            "reports": f"{counted(self.added, 'report')} added to {self.station}{left}",
            "explained": f"{self.explained:.1%} of their paths",
            **{kind: counted(self.count(kind), "point") for kind in KINDS},
            "points": f"{self.confirmed:,} confirmed, {counted(self.unexplained, 'path')} of none",
        }


def alarm_threshold(visibility: Any, false_alarm: float, per_reports: int) -> Any:
    """Give the silence at which a point is said to have vanished [nat].

    Args:
        visibility: Share of the reports that hold each point.
        false_alarm: Probability that a point which is there is said to have vanished ...
        per_reports: ... within so many reports.

    Raises:
        InputError: The probability is none, or the number of reports is below one.
    """
    if not 0.0 < false_alarm < 1.0:
        raise InputError(
            f"false_alarm must be a probability above 0 and below 1, such as 0.01; got "
            f"{false_alarm:g}"
        )
    if per_reports < 1:
        raise InputError(f"per_reports must be at least 1 report; got {per_reports}")
    return np.log((1.0 + per_reports * np.asarray(visibility, float)) / false_alarm)


def expected_hearings(
    model: VisibilityModel,
    place: Float[np.ndarray, "report 2"],
    rank: Int[np.ndarray, "report point"],
    source: Float[np.ndarray, "point 2"],
    asked: Int[np.ndarray, " asked"],
    earlier: int,
    neighbours: int,
    since: Int[np.ndarray, " point"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict which points later reports hold, each from the reports up to the last that held it.

    Those after it are the silence that is asked about: were they neighbours too, a point that went
    would soon be expected nowhere.

    Args:
        model: Of visibility.
        place: All reports in their order, from the station [m].
        rank: Rank of every point in every report.
        source: Of the ray of each point [m].
        asked: Reports to predict, ascending.
        earlier: Reports before the first of them: enough neighbours there are.
        neighbours: Reports to predict from.
        since: First report that counts for each point.

    Returns:
        Report, point and probability of every prediction.
    """
    near = earlier_neighbours(place, asked, earlier, neighbours)
    held = rank < NOT_REPORTED
    row, point = np.nonzero(held[near].any(axis=1))
    probability = predict_pairs(
        model, place[asked], near, row, point, place, rank, source, since,
        _last_hearing(held, asked[row], point),
    )  # fmt: skip
    return asked[row], point, np.clip(probability, 0.0, 0.98)


def _last_hearing(held, report, point):
    """Find the last report before each one that held each point; -1 where there is none."""
    count = len(held)
    by_point, of = np.nonzero(held.T)
    key = by_point * count + of
    last = np.searchsorted(key, point * count + report) - 1
    mine = (last >= 0) & (by_point[last] == point)
    return np.where(mine, of[last], -1)


def silence_before(
    model: VisibilityModel,
    place: Float[np.ndarray, "report 2"],
    rank: Int[np.ndarray, "report point"],
    source: Float[np.ndarray, "point 2"],
    neighbours: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell how silent the reports were before the first that held a point, by those from it on.

    Args:
        model: Of visibility.
        place: All reports in their order, from the station [m].
        rank: Rank of every point in every report; each is held by one at least.
        source: Of the ray of each point [m].
        neighbours: Reports to predict from.

    Returns:
        Silence [nat], expected hearings, and first report of each point.
    """
    since = np.argmax(rank < NOT_REPORTED, axis=0)
    silence, missed = np.zeros(len(since)), np.zeros(len(since))
    early, late = int(since.max(initial=0)), int(since.min(initial=len(place)))
    if not early or late == len(place):
        return silence, missed, since
    target, place, rank = place[:early], place[late:], rank[late:]
    count = min(neighbours, len(place))
    near = np.reshape(KDTree(place).query(target, k=count)[1], (early, count))
    row, point = np.nonzero((rank < NOT_REPORTED)[near].any(axis=1))
    before = row < since[point]
    row, point = row[before], point[before]
    probability = predict_pairs(model, target, near, row, point, place, rank, source, since - late)
    probability = np.clip(probability, 0.0, 0.98)
    np.add.at(silence, point, -np.log1p(-probability))
    np.add.at(missed, point, probability)
    return silence, missed, since


def earlier_neighbours(
    place: Float[np.ndarray, "report 2"], asked: Int[np.ndarray, " asked"], earlier: int,
    neighbours: int,
) -> Int[np.ndarray, "asked neighbour"]:  # fmt: skip
    """List the nearest of the reports before each; all have equally many.

    Args:
        place: All reports in their order [m].
        asked: Reports to list them for, ascending.
        earlier: Reports before the first of them.
        neighbours: How many, at most.
    """
    count = min(neighbours, earlier)
    near = np.zeros((len(asked), count), int)
    for rows in np.array_split(np.arange(len(asked)), max(1, len(asked) // _BLOCK)):
        if not len(rows):
            continue
        block = asked[rows]
        _, before = KDTree(place[: block[0]]).query(place[block], k=count)
        within = np.broadcast_to(np.arange(block[0], block[-1]), (len(block), block[-1] - block[0]))
        both = np.concatenate([np.reshape(before, (len(block), count)), within], axis=1)
        away = np.linalg.norm(place[both] - place[block][:, None], axis=-1)
        away[both >= block[:, None]] = np.inf
        order = np.argsort(away, axis=1, kind="stable")[:, :count]
        near[rows] = np.take_along_axis(both, order, axis=1)
    return near


def silences(
    before: Float[np.ndarray, " point"],
    missed: Float[np.ndarray, " point"],
    hearing: tuple[np.ndarray, np.ndarray],
    expected: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Continue silences over a batch.

    Args:
        before: Silence of each point before the batch [nat].
        missed: Expected hearings of it since the last.
        hearing: Report and point of every path of the batch.
        expected: As of `expected_hearings`.

    Returns:
        Silences and expected hearings after the batch.
    """
    last = np.full(len(before), -1)
    np.maximum.at(last, hearing[1], hearing[0])
    report, point, probability = expected
    since = report > last[point]
    kept = last < 0
    silence, expectation = np.where(kept, before, 0.0), np.where(kept, missed, 0.0)
    np.add.at(silence, point[since], -np.log1p(-probability[since]))
    np.add.at(expectation, point[since], probability[since])
    return silence, expectation
