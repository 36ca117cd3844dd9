"""Confirmed points while a batch is added: their sums grow, some go, some are born of the pool.

Takes a `MapState`, and paths with the points that they belong to.
Gives `GrownPoints`, of which the next map is made.
"""

import dataclasses

import numpy as np

from echoscape.channel_map.updating.association import KnownPoints
from echoscape.channel_map.updating.state import MapState, join_paths, select_paths
from echoscape.channel_map.updating.statistics import (
    PointStatistics,
    add_statistics,
    estimate_isometry,
    gather_statistics,
    join_statistics,
)
from echoscape.channel_map.virtual_anchors.search import FittedPoint, find_points
from echoscape.channel_map.virtual_anchors.table import LEAST_RANK
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths


def fitted_points(known: KnownPoints, found) -> list[FittedPoint]:
    """List known points with the paths that each explains, where there are any."""
    order = np.argsort(found, kind="stable")
    which, start = np.unique(found[order], return_index=True)
    return [
        FittedPoint(int(known.reflection[k]), float(known.rotation[k]), known.offset[k], member)
        for k, member in zip(which, np.split(order, start[1:]))
        if k >= 0
    ]


@dataclasses.dataclass
class GrownPoints:
    """Confirmed points while a batch is added."""

    points: list[FittedPoint]
    """Where each is; members are not looked at."""
    statistics: PointStatistics
    origin: np.ndarray
    """Number of each in the old map, -1 of new ones."""
    report: np.ndarray
    point: np.ndarray
    rank: np.ndarray
    """What reports hold, by number in `points`."""
    pool: UnfoldedPaths
    from_pool: np.ndarray
    """Whether each path of the pool is an old one."""

    @classmethod
    def of(cls, known: KnownPoints, state: MapState, paths: UnfoldedPaths, found) -> "GrownPoints":
        """Add the explained paths to their points, and the others to the pool.

        Paths of the old pool that a better known point now explains are added as well.
        """
        confirmed = state.point < len(state.statistics)
        points = [
            FittedPoint(int(r), float(t), o, np.zeros(0, int))
            for r, t, o in zip(known.reflection, known.rotation, known.offset)
        ]
        grown = cls(
            points, state.statistics, np.arange(len(points)), state.report[confirmed],
            state.point[confirmed], state.rank[confirmed],
            join_paths(state.free_paths(), select_paths(paths, found < 0)),
            np.arange(len(state.pool[0]) + int((found < 0).sum())) < len(state.pool[0]),
        )  # fmt: skip
        grown.add(paths, fitted_points(known, found))
        return grown

    def add(self, paths: UnfoldedPaths, more: list[FittedPoint]) -> None:
        """Add paths to points that are named by where they are in the list."""
        if not more:
            return
        where = {(p.reflection, p.rotation, *p.offset): k for k, p in enumerate(self.points)}
        which = np.array([where[p.reflection, p.rotation, *p.offset] for p in more])
        sums = gather_statistics(paths, more)
        self.statistics = add_statistics(self.statistics, which, sums)
        self._hold(paths, more, which)
        rotation, offset = estimate_isometry(
            self.statistics[which], np.array([point.reflection for point in more])
        )
        for k, turn, shift in zip(which, rotation, offset):
            self.points[k] = self.points[k]._replace(rotation=float(turn), offset=shift)

    def _hold(self, paths: UnfoldedPaths, more, which) -> None:
        member = np.concatenate([point.member for point in more])
        number = np.repeat(which, [len(point.member) for point in more])
        self.report = np.concatenate([self.report, paths.report[member]])
        self.point = np.concatenate([self.point, number])
        self.rank = np.concatenate([self.rank, np.minimum(paths.rank[member], LEAST_RANK)])

    def drop(self, gone) -> None:
        """Forget points that vanished; what held them holds nothing."""
        if not gone.any():
            return
        number = np.where(gone, -1, np.cumsum(~gone) - 1)
        kept = ~gone[self.point]
        self.report, self.rank = self.report[kept], self.rank[kept]
        self.point = number[self.point[kept]]
        self.points = [point for point, lost in zip(self.points, gone) if not lost]
        self.statistics, self.origin = self.statistics[~gone], self.origin[~gone]

    def drop_from_pool(self, gone) -> None:
        """Forget old paths of the pool that reports since then contradict."""
        kept = np.concatenate([~gone, np.ones(len(self.from_pool) - len(gone), bool)])
        self.pool, self.from_pool = select_paths(self.pool, kept), self.from_pool[kept]

    def bear(self, least: int, seed: int) -> None:
        """Make points of paths of the pool that agree, if any of them is new."""
        if self.from_pool.all():
            return
        order = np.argsort(self.pool.report, kind="stable")
        self.pool, self.from_pool = select_paths(self.pool, order), self.from_pool[order]
        born, _ = find_points(
            self.pool, np.random.default_rng(seed), least, proposing=~self.from_pool
        )
        born = [point for point in born if not self.from_pool[point.member].all()]
        if not born:
            return
        which = np.arange(len(self.points), len(self.points) + len(born))
        self._hold(self.pool, born, which)
        self.statistics = join_statistics([self.statistics, gather_statistics(self.pool, born)])
        self.points = self.points + born
        self.origin = np.concatenate([self.origin, np.full(len(born), -1)])
        kept = np.ones(len(self.from_pool), bool)
        kept[np.concatenate([point.member for point in born])] = False
        self.pool, self.from_pool = select_paths(self.pool, kept), self.from_pool[kept]
