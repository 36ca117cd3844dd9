"""Fit the geometric map: points searched, users relocated, visibility learnt.

How large an error the reports leave unstated is chosen by minimum description length: every
larger one explains more of anything, and must shorten the description to be taken.

Takes `Reports`.
Gives a `VirtualAnchorMap`.
"""

from typing import ClassVar

import equinox as eqx
import numpy as np
import pydantic

from echoscape.channel_map.model import MapModel, numpy_generator
from echoscape.channel_map.updating.state import MapState, digests, held_points, select_paths
from echoscape.channel_map.updating.statistics import gather_statistics
from echoscape.channel_map.virtual_anchors.error_scale import ErrorScale, learn_error_scale
from echoscape.channel_map.virtual_anchors.height_visibility import learn_heights
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.channel_map.virtual_anchors.relocation import RELOCATED, relocate, wrong_reports
from echoscape.channel_map.virtual_anchors.search import (
    FittedPoint,
    description_length,
    find_points,
)
from echoscape.channel_map.virtual_anchors.table import tabulate
from echoscape.channel_map.virtual_anchors.unfolded import UnfoldedPaths, unfold
from echoscape.channel_map.visibility import learn_visibility, visibility_raster
from echoscape.progress import Progress, silent, within
from echoscape.reports import Reports
from echoscape.scene import StaticPoints, image_of_station, translate

_SHORTER = 0.1
"""Description length that a larger model error must save [nat a path]; tuned on the built-in city
and the square of jittering scatterers."""
_SCATTERED = 0.25
"""Share of the paths by way of edges above which larger model errors are tried too: only where
points jitter does an edge fall apart into many."""
_WORTH = 0.1
"""Share of the paths that each larger model error must explain in addition, where none of them
explains enough: it explains more of anything by chance."""

_SCALINGS = 2
"""Times that errors are widened at most: the first time, many paths are unexplained yet."""


class VirtualAnchors(MapModel):
    """Virtual anchors and edges found from reports: for streets and rooms with walls."""

    name: ClassVar[str] = "virtual-anchors"
    starts_from_points: ClassVar[bool] = True

    min_paths: int = pydantic.Field(default=3, ge=3)
    """Fewest paths that make a point; two fit a rotation and a reflection, the third decides."""
    model_errors: tuple[float, ...] = pydantic.Field(default=(0.1, 0.3, 1.0, 3.0), min_length=1)
    """Standard deviations tried for what reports do not state, smallest first [m]."""
    min_explained: float = pydantic.Field(default=0.6, gt=0, lt=1)
    """Share of the paths that points must explain before a larger error is not tried."""
    reported_paths: int = pydantic.Field(default=5, ge=1)
    """Strongest paths that a receiver reports; visibility is the probability to be among them."""
    neighbours: int = pydantic.Field(default=32, ge=1)
    """Reports that visibility at a place is predicted from."""
    slots: int = pydantic.Field(default=40, ge=1)
    """Most paths predicted at a place."""
    cell: float = pydantic.Field(default=2.0, gt=0)
    """Side of the visibility raster's cells [m]."""
    margin: float = pydantic.Field(default=25.0, ge=0)
    """How far the raster reaches beyond the reports [m]."""
    roof_height: float = pydantic.Field(default=18.0, gt=0)
    """Typical height of roofs above the ground, which decides what is visible above the reports
    [m]; no report from the street shows it."""

    def fit(self, reports, *, key, start=None, progress=None) -> VirtualAnchorMap:
        """Reconstruct static points and their visibility from reports."""
        progress = progress or silent
        origin = np.asarray(reports.station_position[0], dtype=float)
        place = np.asarray(reports.position - origin, dtype=float)
        known = None if start is None else translate(start, origin)
        scale, reports, paths, anchors, free = self._search_and_scale(
            reports, place, key, known, progress
        )
        if np.median(reports.position_std) > 0 and anchors:
            # The points place the users better than they were reported: search again from there.
            place = relocate(reports, place, paths, anchors)
            better = eqx.tree_at(
                lambda r: r.position_std, reports, RELOCATED * reports.position_std
            )
            paths, anchors, free = self._search(
                better, place, key, known, within(progress, "users moved")
            )
        wrong = wrong_reports(paths, free, len(place))
        free = free & ~wrong[paths.report]
        points, error, rank = tabulate(paths, anchors, free, origin, reports.time)
        trusted = ~wrong
        progress(0, 1, "visibility, compiling")
        source = np.asarray(image_of_station(points, origin))[:, :2] - origin[:2]
        surveyed = place[trusted, :2], rank[trusted], source
        visibility = learn_visibility(*surveyed, self.reported_paths, self.neighbours)
        raster = visibility_raster(
            visibility,
            *surveyed,
            step=self.cell,
            margin=self.margin,
            slots=self.slots,
            neighbours=self.neighbours,
        )
        progress(1, 1, "visibility")
        return VirtualAnchorMap(
            points=points,
            error=error,
            slot=raster.slot,
            probability=np.clip(raster.probability, 0.0, 0.98),
            corner=raster.corner,
            report_position=np.asarray(reports.position, dtype=float)[trusted],
            station_position=origin,
            station=reports.station[0],
            step=raster.step,
            state=self._state(
                reports, paths, anchors, free, place, rank, trusted, visibility, scale
            ),
            heights=learn_heights(
                translate(points, origin), place[trusted], rank[trusted],
                roof_height=self.roof_height, reported_paths=self.reported_paths,
            ),
        )  # fmt: skip

    def _state(
        self, reports, paths, anchors, free, place, rank, trusted, visibility, scale
    ) -> MapState:
        """Keep what an update needs; reports that are not trusted only by their digests."""
        report, point, order = held_points(rank[trusted])
        number = np.cumsum(trusted) - 1
        pool = select_paths(paths, free)
        pool = pool._replace(report=number[pool.report])
        none = np.zeros(rank.shape[1])
        return MapState(
            statistics=gather_statistics(paths, anchors),
            report=report, point=point, rank=order, place=place[trusted],
            time=np.asarray(reports.time, float)[trusted], digest=digests(reports),
            silence=none, missed=none, pool=tuple(pool), visibility=tuple(visibility),
            min_paths=self.min_paths, reported_paths=self.reported_paths,
            neighbours=self.neighbours, slots=self.slots, margin=self.margin,
            error_scale=np.array(scale),
        )  # fmt: skip

    def _search_and_scale(
        self, reports: Reports, place, key, known, progress: Progress
    ) -> tuple[ErrorScale, Reports, UnfoldedPaths, list[FittedPoint], np.ndarray]:
        """Search; where errors turn out larger than stated, again with larger ones, which must
        shorten the description as a larger model error must.
        """
        found, scale = self._search(reports, place, key, known, progress), ErrorScale()
        for _ in range(_SCALINGS):
            paths, anchors, _ = found
            std = reports.position_std[paths.report]
            more = learn_error_scale(paths, anchors, std, self.model_errors[0])
            if more == ErrorScale():
                break
            wider = more.widen(reports)
            again = self._search(wider, place, key, known, within(progress, "errors widened"))
            if description_length(*again) > description_length(*found) - _SHORTER:
                break
            found, reports, scale = again, wider, scale.times(more)
        return scale, reports, *found

    def _search(
        self, reports, place, key, known: StaticPoints | None, progress: Progress
    ) -> tuple[UnfoldedPaths, list[FittedPoint], np.ndarray]:
        """Search with the smallest model error that explains enough, or with larger ones that say
        the same much shorter: where edges jitter by more, each falls apart into many.
        """
        found, shortest = [], None
        for error in self.model_errors:
            paths = unfold(reports, place, error)
            anchors, free = find_points(
                paths, numpy_generator(key), self.min_paths, known, progress
            )
            found.append((1.0 - free.mean() - _WORTH * len(found), paths, anchors, free))
            if 1.0 - free.mean() < self.min_explained and shortest is None:
                continue
            length = description_length(paths, anchors, free)
            if shortest is not None and length > shortest[0] - _SHORTER:
                return shortest[1:]
            shortest = length, paths, anchors, free
            scattered = sum(len(anchor.member) for anchor in anchors if anchor.reflection == 0)
            if scattered < _SCATTERED * len(free):
                break
        if shortest is not None:
            return shortest[1:]
        _, paths, anchors, free = max(found, key=lambda item: item[0])
        return paths, anchors, free
