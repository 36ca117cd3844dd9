"""What a map keeps of its reports so that later ones can be added: sums, who held what, the pool.

Takes what the fit of a map found.
Gives a `MapState`, stored with the map.
"""

import hashlib
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.channel_map.storage import storable
from echoscape.channel_map.updating.statistics import PointStatistics
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths
from echoscape.channel_map.visibility import NOT_REPORTED, VisibilityModel
from echoscape.reports import Reports


@storable("map-state")
class MapState(eqx.Module):
    """What a map knows beside its predictions; the first points are the confirmed ones.

    The other points are paths of the pool, which no confirmed point explains.
    """

    statistics: PointStatistics
    """Of each confirmed point."""
    report: Int[np.ndarray, " held"]
    """Report that holds a point, an index into `place`; one entry for each path of a point."""
    point: Int[np.ndarray, " held"]
    """The point."""
    rank: Int[np.ndarray, " held"]
    """Place of the path in the report's order of power."""
    place: Float[np.ndarray, "report 3"]
    """Users relative to the station, where the points place them [m]."""
    time: Float[np.ndarray, " report"]
    """When each was reported [s]."""
    digest: Int[np.ndarray, " seen"]
    """Of every report that was looked at: the same one is never added twice."""
    silence: Float[np.ndarray, " point"]
    """Improbability of the misses since a point was last reported, were it there [nat]."""
    missed: Float[np.ndarray, " point"]
    """Reports expected to hold it, since the last that did [1]."""
    pool: tuple[Any, ...]
    """Fields of `UnfoldedPaths`: paths that no confirmed point explains."""
    visibility: tuple[np.ndarray, ...]
    """Fields of the `VisibilityModel`."""
    min_paths: int = eqx.field(static=True)
    """As of the `VirtualAnchors` that the map was fitted with; so the next four."""
    reported_paths: int = eqx.field(static=True)
    """Strongest paths that a receiver reports."""
    neighbours: int = eqx.field(static=True)
    """Reports that visibility is predicted from."""
    slots: int = eqx.field(static=True)
    """Most paths predicted at a place."""
    margin: float = eqx.field(static=True)
    """How far the raster reaches beyond the reports [m]."""
    since: Int[np.ndarray, " point"] | None = None
    """First report that counts for the visibility of each point: a point that appeared was not
    there before.  None where every report counts."""
    error_scale: Float[np.ndarray, "2"] | None = None
    """Errors of angles and of lengths over those stated; None in maps of earlier versions: 1."""

    def __check_init__(self):
        if not all(isinstance(leaf, np.ndarray) for leaf in (self.report, self.point, self.rank)):
            return  # while JAX transforms
        ends = (len(self.place), len(self.silence))
        for index, end in zip((self.report, self.point), ends):
            if len(index) and not (index.min() >= 0 and index.max() < end):
                raise ValueError(f"its state counts to {end}; got {index.min()} to {index.max()}")

    def counted_from(self) -> Int[np.ndarray, " point"]:
        """Give the first report that counts for each point."""
        return np.zeros(len(self.silence), int) if self.since is None else self.since

    @property
    def confirmed(self) -> int:
        """Points that several paths agree on; the others are a path of the pool each."""
        return len(self.statistics.count)

    @property
    def explained(self) -> float:
        """Share of the paths learnt from that confirmed points explain."""
        count, free = float(self.statistics.count.sum()), len(self.pool[0])
        return count / (count + free) if count else 0.0

    def free_paths(self) -> UnfoldedPaths:
        """Give the paths of the pool."""
        return UnfoldedPaths(*self.pool)

    def visibility_model(self) -> VisibilityModel:
        """Give the model of visibility."""
        return VisibilityModel(*self.visibility)


def select_paths(paths: UnfoldedPaths, index) -> UnfoldedPaths:
    """Select paths by a mask or indices."""
    leaves: Any = [leaf[index] if isinstance(leaf, np.ndarray) else leaf for leaf in paths]
    return UnfoldedPaths(*leaves)


def join_paths(one: UnfoldedPaths, other: UnfoldedPaths) -> UnfoldedPaths:
    """List the paths of one set and of another."""
    leaves: Any = [
        np.concatenate([a, b]) if isinstance(a, np.ndarray) else a  # the model error is one number
        for a, b in zip(one, other)
    ]
    return UnfoldedPaths(*leaves)


def held_points(rank: Int[np.ndarray, "report point"]):
    """List report, point and rank of every entry of a table of ranks."""
    report, point = np.nonzero(rank < NOT_REPORTED)
    return report.astype(np.int32), point.astype(np.int32), rank[report, point].astype(np.int8)


def digests(reports: Reports) -> Int[np.ndarray, " report"]:
    """Hash what each report holds, whatever its number: equal content, equal digest."""
    paths = reports.estimates
    valid = np.asarray(paths.valid)
    names = ("departure_azimuth", "departure_zenith", "length", "power")
    leaves = [np.where(valid, np.asarray(getattr(paths, name)), 0.0) for name in names]
    rows = np.concatenate(
        [np.asarray(reports.position), np.asarray(reports.time)[:, None], *leaves], axis=1
    )
    rows = np.ascontiguousarray(rows, "<f8") + 0.0
    if not len(rows):
        return np.zeros(0, np.int64)
    # Padding is no content: the length of rows depends on the batch.
    full = [row.tobytes().rstrip(b"\0") for row in _by_path(rows, len(names))]
    each = [hashlib.blake2b(text, digest_size=8).digest() for text in full]
    return np.frombuffer(b"".join(each), "<i8").astype(np.int64)


def _by_path(rows, count):
    """Put the numbers of one path side by side, so that padding comes last."""
    head, tail = rows[:, :4], rows[:, 4:]
    paths = tail.reshape(len(rows), count, -1).transpose(0, 2, 1).reshape(len(rows), -1)
    return np.concatenate([head, paths], axis=1)
