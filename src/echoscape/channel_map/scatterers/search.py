"""Where point scatterers are, from reports alone: consensus and adjustment.

A report's path inverts in closed form to the one point that explains it, ``r = (D^2 - |q|^2) / 2
(D - u.q)`` along its angle; points that many reports agree on are scatterers.  They are adjusted
together with the users' positions (`bundle_adjustment`), and points that are reported too seldom
where they should be are dropped: wrong reports agree on something now and then.

Takes `Reports` of one station.
Gives a `ScattererMap`.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
import pydantic
from jaxtyping import Int

from echoscape.channel_map.model import MapModel, numpy_generator
from echoscape.channel_map.scatterers.bundle_adjustment import (
    Adjusted,
    Bounces,
    adjust,
    linearise,
    square_misses,
)
from echoscape.channel_map.scatterers.known_points import Scattering, join_known, known_before
from echoscape.channel_map.scatterers.map import ScattererMap
from echoscape.channel_map.station_reports import reports_of_station
from echoscape.checks import InputError
from echoscape.progress import Progress, silent
from echoscape.reports import Reports
from echoscape.scene import PointKind, StaticPoints, scatterer_position

_SEEDS = 600
"""Paths whose points are tried in one round: bounds its time."""
_VOTERS = 6000
"""Paths that vote on them: bounds the memory."""
_MIN_SHARE = 0.5
"""Share of the places where a scatterer should be reported at which it must be: wrong reports
agree on a point now and then."""


class Scatterers(MapModel):
    """Point scatterers found from reports: for worlds of single bounces."""

    name: ClassVar[str] = "scatterers"
    starts_from_points: ClassVar[bool] = True

    position_jitter: float = pydantic.Field(default=0.5, gt=0)
    """Standard deviation of a scatterer's position from one report to the next, before it is learnt
    from the reports [m]."""
    min_paths: int = pydantic.Field(default=4, ge=3)
    """Fewest paths that make a scatterer."""
    reported_paths: int = pydantic.Field(default=5, ge=1)
    """Strongest paths that a receiver reports; a slot's probability is that of being among them."""
    rounds: int = pydantic.Field(default=12, ge=1)
    """Rounds of the bundle adjustment."""
    gate: float = pydantic.Field(default=3.5, gt=0)
    """Standard deviations within which a path belongs to a scatterer."""

    def fit(self, reports, *, key, start=None, progress=None) -> ScattererMap:
        """Reconstruct the scatterers; paths that bounce otherwise are left aside.

        Raises:
            InputError: No point explains enough paths.
        """
        progress = progress or silent
        origin = np.asarray(reports.station_position[0], dtype=float)
        paths, planar = read_bounces(reports, origin)
        known, before = np.zeros((0, 3)), None
        if start is not None:
            standing = start[np.isin(start.kind, (PointKind.SCATTERER, PointKind.EDGE))]
            before = known_before(standing, origin)
            known = (scatterer_position(standing) - origin) * [1.0, 1.0, 0.0 if planar else 1.0]
        points = _consensus(paths, self, planar, numpy_generator(key), known, progress)
        if not len(points):
            raise InputError(
                f"no point explains {self.min_paths} of the {len(paths.report)} paths as single "
                "bounces; fit the model 'virtual-anchors', which knows walls"
            )
        place = np.asarray(reports.position - origin, dtype=float)
        how: dict[str, Any] = {"rounds": self.rounds, "gate": self.gate, "planar": planar}
        how["progress"] = progress
        fitted = adjust(paths, points, place, self.position_jitter, **how)
        while True:
            gain, fluctuation, visibility, share = _strengths(paths, fitted, self)
            real = _real(fitted, share, self.position_jitter)
            if real.all():
                break
            fitted = adjust(paths, fitted.point[real], place, self.position_jitter, **how)
        axes = np.eye(3) * [1.0, 1.0, 0.0 if planar else 1.0]
        owned = fitted.owner >= 0
        count = np.bincount(fitted.owner[owned], minlength=len(fitted.point))
        found = Scattering(
            fitted.point, fitted.covariance, fitted.jitter, gain, fluctuation, visibility, count
        )
        if before is not None:
            some = np.unique(paths.report[owned])
            strong = max(1, self.reported_paths // 2)
            found = join_known(found, before, fitted.place[some], strong, planar)
        confirmed = np.full(len(found.place), -np.inf)
        np.maximum.at(confirmed, fitted.owner[owned], reports.time[paths.report[owned]])
        return ScattererMap(
            points=StaticPoints.scatterers(
                found.place + origin,
                found.jitter[:, None, None] ** 2 * axes + found.covariance,
                log_gain=found.gain,
                log_gain_std=found.gain_std,
                visibility=found.visibility,
                confirmed=confirmed,
            ),
            report_position=np.asarray(reports.position, dtype=float),
            station_position=origin,
            station=reports.station[0],
            reported_paths=self.reported_paths,
            planar=planar,
        )


def name_paths(reports: Reports, scatterers: ScattererMap) -> Int[np.ndarray, "report path"]:
    """Say which scatterer every path of every report goes by; -1 for none of them.

    Args:
        reports: Reports of the map's station.
        scatterers: The map.
    """
    reports = reports_of_station(reports, scatterers.station)
    origin = np.asarray(scatterers.station_position, dtype=float)
    paths, _ = read_bounces(reports, origin)
    covariance = np.asarray(scatterers.points.covariance)[:, :2, :2]
    jitter = np.sqrt(np.maximum(np.trace(covariance, axis1=1, axis2=2) / 2.0, 1e-4))
    points = np.asarray(scatterer_position(scatterers.points)) - origin
    square = np.stack(
        [square_misses(paths, at, paths.place, size) for at, size in zip(points, jitter)], axis=1
    )
    owner = square.argmin(axis=1)
    near = square[np.arange(len(owner)), owner] < 5.0**2
    named = np.full(np.shape(reports.estimates.valid), -1)
    named[paths.report, paths.rank] = np.where(near, owner, -1)
    return named


def arrange_paths(reports: Reports, name: Int[np.ndarray, "report path"]) -> Reports:
    """Give every path the column of its name, so that a network learns one slot for each.

    Args:
        reports: Reports of one station.
        name: Column of every path; negative ones are left out, and of two alike the stronger stays.
    """
    paths, count = reports.estimates, int(name.max()) + 1
    report, rank = np.nonzero(np.asarray(paths.valid) & (name >= 0))
    weakest_first = np.argsort(-rank, kind="stable")
    report, rank = report[weakest_first], rank[weakest_first]
    column = name[report, rank]

    def move(leaf):
        moved = np.zeros((len(name), count), dtype=np.asarray(leaf).dtype)
        moved[report, column] = np.asarray(leaf)[report, rank]
        return moved

    arranged = jax.tree.map(move, paths)
    return eqx.tree_at(lambda item: item.estimates, reports, arranged)


def _real(fitted: "Adjusted", share, jitter) -> np.ndarray:
    """Tell scatterers from their doubles and from coincidences, the worst half at a time."""
    count = len(share)
    followers = np.bincount(fitted.owner[fitted.owner >= 0], minlength=count)
    distance = np.linalg.norm(fitted.point[:, None] - fitted.point[None], axis=2)
    place = np.argsort(np.argsort(-followers, kind="stable"))
    stronger = place[None] < place[:, None]
    double = np.any((distance < 2.0 * jitter) & stronger, axis=1)
    if double.any():
        return ~double
    doubtful = np.flatnonzero(share < _MIN_SHARE)
    real = np.ones(count, dtype=bool)
    real[doubtful[np.argsort(share[doubtful])][: -(-len(doubtful) // 2)]] = False
    return real if real.any() else ~real


def read_bounces(reports: Reports, origin) -> tuple[Bounces, bool]:
    """List every path of every report, as the station sees users; and whether all is planar."""
    paths = reports.estimates
    report, rank = np.nonzero(np.asarray(paths.valid))
    take = (report, rank)
    zenith_std = np.asarray(paths.departure_zenith_std)[take]
    planar = not np.isfinite(zenith_std).any()
    place = np.asarray(reports.position - origin, dtype=float)[report]
    if planar:
        place = place * [1.0, 1.0, 0.0]
    zenith = np.where(np.isfinite(zenith_std), np.asarray(paths.departure_zenith)[take], np.pi / 2)
    power = np.asarray(paths.power)[take]
    return Bounces(
        report=report,
        place=place,
        azimuth=np.asarray(paths.departure_azimuth)[take],
        zenith=zenith,
        length=np.asarray(paths.length)[take],
        azimuth_std=np.asarray(paths.departure_azimuth_std)[take],
        zenith_std=np.where(np.isfinite(zenith_std), zenith_std, 1e3),
        length_std=np.asarray(paths.length_std)[take],
        place_std=np.asarray(reports.position_std)[report],
        log_power=np.log(np.where(power > 0, power, np.nan)),
        rank=rank,
    ), planar  # fmt: skip


def points_of(paths: Bounces) -> np.ndarray:
    """Invert each path to the point that alone would explain it; NaN where none can."""
    level = np.sin(paths.zenith)
    out = np.stack(
        [level * np.cos(paths.azimuth), level * np.sin(paths.azimuth), np.cos(paths.zenith)], -1
    )
    beyond = paths.length - np.sum(out * paths.place, axis=1)
    good = beyond > 1e-6 * np.maximum(paths.length, 1.0)
    reach = (paths.length**2 - np.sum(paths.place**2, axis=1)) / (2 * np.where(good, beyond, 1.0))
    good &= (reach > 0.1) & (reach < paths.length)
    return np.where(good[:, None], reach[:, None] * out, np.nan)


def _consensus(
    paths: Bounces, model: Scatterers, planar, rng, known, progress: Progress
) -> np.ndarray:
    """Take the point that most paths agree on, again and again; known points first."""
    start, gate = points_of(paths), model.gate**2
    free = np.ones(len(paths.report), dtype=bool)
    found: list[np.ndarray] = []
    for point in known:
        square = square_misses(paths, point, paths.place, model.position_jitter)
        member = free & (square < gate)
        if member.any():  # one path confirms a known point
            found.append(point)
            free &= ~member
    for _ in range(200):
        left = np.flatnonzero(free & np.isfinite(start[:, 0]))
        if len(left) < model.min_paths:
            break
        seeds = left if len(left) <= _SEEDS else rng.choice(left, _SEEDS, replace=False)
        voters = np.flatnonzero(free)
        if len(voters) > _VOTERS:
            voters = rng.choice(voters, _VOTERS, replace=False)
        some = Bounces(*(column[voters] for column in paths))
        square = square_misses(some, start[seeds][:, None], some.place, model.position_jitter)
        vote = np.maximum(0.0, 1.0 - square / gate)
        new = 0
        for k in np.argsort(-vote.sum(axis=1), kind="stable")[:40]:
            if not free[seeds[k]]:
                continue
            point, member = _grow(paths, free, start[seeds[k]], model, planar)
            if len(np.unique(paths.report[member])) >= model.min_paths:
                found.append(point)
                free[member] = False
                new += 1
                progress(int((~free).sum()), len(free), "scatterers")
        if not new:
            break
    return np.array(found).reshape(-1, 3)


def _grow(paths: Bounces, free, point, model: Scatterers, planar):
    """Refine a point on the paths that follow it."""
    member = np.zeros(0, dtype=int)
    for _ in range(6):
        square = square_misses(paths, point, paths.place, model.position_jitter)
        member = np.flatnonzero(free & (square < model.gate**2))
        if len(member) < model.min_paths:
            break
        mine = Bounces(*(column[member] for column in paths))
        row, rest = linearise(mine, point, mine.place, model.position_jitter, planar)
        scale = np.ones_like(rest)
        own = np.hypot(mine.length_std, 1.4 * model.position_jitter)
        scale[:, 2] = own / np.hypot(own, mine.place_std)
        trust = np.sqrt(1.0 / (1.0 + square[member] / 4.0))[:, None] * scale
        a = (trust[..., None] * row).reshape(-1, 3)
        normal = a.T @ a + 1e-9 * np.eye(3)
        normal[2, 2] += 1e12 if planar else 0.0
        point = point + np.linalg.solve(normal, a.T @ (trust * rest).ravel())
    return point, member


def _strengths(paths: Bounces, fitted: Adjusted, model: Scatterers):
    """Learn each scatterer's gain, its fluctuation, and the share of places it is visible from."""
    count = len(fitted.point)
    place = fitted.place
    first = np.linalg.norm(fitted.point, axis=1)
    second = np.maximum(np.linalg.norm(place[:, None] - fitted.point, axis=2), 1e-3)
    gain, spread = np.zeros(count), np.zeros(count)
    for k in range(count):
        m = (fitted.owner == k) & np.isfinite(paths.log_power)
        value = paths.log_power[m] + 2 * np.log(first[k] * second[paths.report[m], k])
        gain[k] = np.median(value) if len(value) else -40.0
        if not len(value):
            spread[k] = 3.0
            continue
        jittered = 2.0 * fitted.jitter[k] * np.hypot(1 / first[k], 1 / second[paths.report[m], k])
        spread[k] = np.median(np.abs(value - gain[k]) / np.maximum(jittered, 1e-3)) / 0.6745
        spread[k] = np.median(jittered) * np.sqrt(max(spread[k] ** 2 - 1.0, 0.0))
    spread = np.clip(spread, 0.005, 3.0)
    strength = gain[None] - 2 * np.log(first[None] * second)
    reported = np.zeros((len(place), count), dtype=bool)
    known = fitted.owner >= 0
    reported[paths.report[known], fitted.owner[known]] = True
    # Well inside the report it must be found: half of it, so that exchanges of rank do not matter.
    rank = np.argsort(np.argsort(-strength, axis=1), axis=1)
    sure = (rank < max(1, model.reported_paths // 2)) & np.any(reported, axis=1, keepdims=True)
    visibility = (np.sum(sure & reported, axis=0) + 9.5) / (np.sum(sure, axis=0) + 10.0)
    expected = (rank < model.reported_paths) & np.any(reported, axis=1, keepdims=True)
    share = np.sum(reported, axis=0) / np.maximum(np.sum(expected, axis=0), 1.0)
    return gain, spread, np.clip(visibility, 0.05, 0.99), share
