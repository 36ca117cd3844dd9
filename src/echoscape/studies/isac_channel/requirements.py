"""Study `isac-targets`: the requirements of tracking and the channel model, each measured.

One row or more for each requirement, from the same walk: that images stand still, what filters gain
over their observations, how well user and bounces are placed, what is known later, what spreads and
Doppler come out.  A number beyond its limit is a row like any other.

Takes a `RouteTargets` configuration.
Gives rows: a value, its 90 % point where errors have one, its limit, and how many were counted.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from echoscape.channel_model import ks_distance, ks_halves
from echoscape.channel_model.spread import NAMES
from echoscape.checks import InputError
from echoscape.propagation.ray_cast import build_tree
from echoscape.reports import Observations
from echoscape.scene.mesh import read_mesh
from echoscape.studies.isac_channel.between_looks import track_powers
from echoscape.studies.isac_channel.forecast import measure_forecast
from echoscape.studies.isac_channel.particle_limit import WALKS, difference_from_kalman
from echoscape.studies.isac_channel.truth import Truth, kept_assignments, read_truth, sample_truth
from echoscape.studies.isac_channel.world import CARRIER, observe_route, spreads_over_time
from echoscape.studies.sweep import Progress, Row, Setting, Spread, sweep
from echoscape.tracking import KnownUser, Tracks, TrackStatus, forecast, paths_of, track
from echoscape.tracking.bounce import seen_points
from echoscape.tracking.map_forecast import prepare_map
from echoscape.tracking.track import detections_of
from echoscape.units import wavelength_of, wrap_angle

WAVELENGTH = wavelength_of(CARRIER)
MEASURED = ("length", "arrival azimuth", "arrival zenith", "departure azimuth", "departure zenith")


@dataclasses.dataclass(frozen=True)
class RouteTargets:
    """What the study does."""

    route: Path | None = None
    """Ray-traced route (.npz); a walk through the sample city if not given."""
    mesh: Path | None = None
    """Walls of that route (.npz or .obj)."""
    requirements: tuple[str, ...] = ("T1", "T2", "T3", "T4", "T5", "T6", "T7", "T9", "T10")
    """Which requirements are measured."""
    windows: tuple[float, ...] = (60.0, 264.0)
    """When the windows of 20 s begin that T2 and T5 look at [s]."""
    seconds: float | None = None
    """Length of the walk; all of it if not given [s]."""
    seed: int = 0
    """Seed of everything random."""


class World:
    """The walk, and what is made of it once for several requirements."""

    def __init__(self, settings: RouteTargets):
        if (settings.route is None) != (settings.mesh is None):
            raise InputError(
                "a ray-traced route needs the walls that it was traced in: give its mesh"
            )
        truth: Truth
        if settings.route is None or settings.mesh is None:
            truth, mesh = sample_truth(settings.seconds)
        else:
            truth, mesh = read_truth(settings.route, settings.seconds), read_mesh(settings.mesh)
        self.truth, self.mesh, self.settings = truth, mesh, settings
        self.tree = build_tree(mesh)
        self._joint: dict[tuple[float, float], tuple[Observations, Tracks]] = {}

    def observe(self, missed: float = 0.0, false: float = 0.0) -> Observations:
        """Observe the walk at the noise of the requirements."""
        rng = np.random.default_rng([self.settings.seed, int(1000 * missed)])
        return observe_route(self.truth.route, rng, missed=missed, false=false)

    @functools.cached_property
    def clean(self) -> Observations:
        """Observations with noise, but none missing and none false."""
        return self.observe()

    def known(self, begin: int, count: int) -> tuple[slice, Observations, Tracks]:
        """Follow the anchors through a window in which the user is known."""
        part = slice(begin, min(begin + count, len(self.truth.route.time)))
        seen = cut(self.clean, part)
        route = self.truth.route
        seen = eqx.tree_at(
            lambda o: (o.user_position, o.user_known),
            seen,
            (route.position[part], np.ones(len(seen.time), bool)),
        )
        return (
            part,
            seen,
            track(seen, route.station, KnownUser(), start_velocity=route.velocity[begin]),
        )

    @functools.cached_property
    def whole(self) -> tuple[Observations, Tracks]:
        """Follow the anchors of the whole walk around a known user."""
        _, seen, found = self.known(0, len(self.truth.route.time))
        return seen, found

    def joint(self, missed: float = 0.0, false: float = 0.0) -> tuple[Observations, Tracks]:
        """Follow user and anchors, the user unknown after the start."""
        if (missed, false) not in self._joint:
            seen, route = self.observe(missed, false), self.truth.route
            start = {"start": route.position[0], "start_velocity": route.velocity[0]}
            self._joint[missed, false] = seen, track(seen, route.station, **start)
        return self._joint[missed, false]

    def windows(self) -> list[int]:
        """Give the first instant of each window within the walk."""
        time = self.truth.route.time
        begin = [t for t in self.settings.windows if t + 20 <= time[-1] + 1]
        return [int(np.searchsorted(time, t)) for t in begin or [float(time[0])]]


def cut(seen: Observations, part: slice) -> Observations:
    """Keep some instants of observations."""
    return jax.tree.map(lambda leaf: leaf[part], seen)


def run(
    settings: RouteTargets,
    file: Path | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[Row]:
    """Run the study, or go on with the one that `file` keeps."""
    unknown = [name for name in settings.requirements if name not in REQUIREMENTS]
    if unknown:
        raise InputError(
            f"there is no requirement {unknown[0]!r}; there are {', '.join(REQUIREMENTS)}"
        )
    _world(settings)  # refuses what it cannot use before anything is measured
    shared = {"seconds": settings.seconds, "seed": settings.seed, "route": str(settings.route)}
    points = [{"promise": name, **shared} for name in settings.requirements]
    return sweep(points, functools.partial(measure, settings), file, progress, spread)


def measure(settings: RouteTargets, setting: Setting) -> list[Row]:
    """Measure one requirement; its walk is made once a process."""
    rows = REQUIREMENTS[setting["promise"]](_world(settings))
    for row in rows:
        limit, least = row.get("limit"), row.pop("at_least", False)
        kept = row["value"] >= limit if least else row["value"] <= limit
        row["bound"] = f"{'>=' if least else '<='} {limit:g}"
        row["status"] = "met" if kept else "missed"
    return rows


_world = functools.lru_cache(maxsize=1)(World)


def _row(quantity: str, value: Any, limit: float, count: int, **more) -> Row:
    return {"quantity": quantity, "value": float(value), "limit": limit, "count": int(count)} | more


def still(world: World) -> list[Row]:
    """T1: images of one wall sequence stand still."""
    truth = world.truth
    path, there = truth.route.path, truth.route.power > 0
    across = np.sin(path[..., 2])
    ahead = np.stack(
        [across * np.cos(path[..., 1]), across * np.sin(path[..., 1]), np.cos(path[..., 2])], -1
    )
    image = (truth.route.position[:, None] + path[..., :1] * ahead)[there]
    number = truth.identity[there]
    worst = [
        np.linalg.norm(image[number == k] - np.median(image[number == k], axis=0), axis=1).max()
        for k in np.unique(number)
        if np.sum(number == k) >= 20
    ]
    share = np.mean(np.array(worst) <= 5e-3)
    return [
        _row("share of images that move by 5 mm at most", share, 0.98, len(worst), at_least=True)
    ]


def gain(world: World) -> list[Row]:
    """T2: what the filter estimates beside what it was given, and the anchors' share of that."""
    rows = []
    for begin in world.windows():
        part, seen, found = world.known(begin, 200)
        ours, observed = _errors(world, part, seen, found)
        for i, name in enumerate(MEASURED):
            share = np.median(ours[:, i]) / np.median(observed[:, i])
            p90 = np.quantile(ours[:, i], 0.9)
            when = f"from {world.truth.route.time[begin]:g} s"
            limit = 0.25 if i < 2 else 1.0
            rows.append(
                _row(f"{name}, error over that of the observation, {when}", share, limit, len(ours),
                     median=float(np.median(ours[:, i])), p90=float(p90))
            )  # fmt: skip
    return rows


def _errors(world: World, part: slice, seen: Observations, found: Tracks):
    """Compare matched paths, filtered and observed, with the truth [m, rad]."""
    instant, slot = np.nonzero(found.status == TrackStatus.TRACKED)
    which = np.asarray(found.record.detection)[instant, slot]
    exact = world.truth.route.path[part][instant, which]
    observed = np.asarray(detections_of(seen).measured)[instant, which] - exact
    ours = paths_of(found)[instant, slot] - exact
    for each in (observed, ours):
        each[:, [1, 3]] = wrap_angle(each[:, [1, 3]])
    return np.abs(ours), np.abs(observed)


def follow(world: World) -> list[Row]:
    """T3: the user, unknown after the start, and whether tracks keep their paths."""
    rows = []
    for missed, false, limit, share in ((0.0, 0.0, 0.5, 0.92), (0.1, 0.05, 0.7, 0.90)):
        _, found = world.joint(missed, false)
        wrong = np.asarray(found.record.user)[:, :2] - world.truth.route.position[:, :2]
        away = np.linalg.norm(wrong, axis=1)
        kept, total = kept_assignments(found, world.truth)
        case = f"{100 * missed:g} % missed, {100 * false:g} % false"
        rows += [
            _row(f"user RMSE [m], {case}", np.sqrt(np.mean(away**2)), limit, len(away),
                 median=float(np.median(away)), p90=float(np.quantile(away, 0.9))),
            _row(f"continuing assignments kept, {case}", kept / total, share, total, at_least=True),
        ]  # fmt: skip
    return rows


def later(world: World) -> list[Row]:
    """T4: 2 s of data, then nothing for 18 s but where the user goes; paths that live on."""
    truth, route = world.truth, world.truth.route
    wrong = []
    for begin in np.linspace(0, len(route.time) - 201, 36).astype(int):
        part, _, found = world.known(int(begin), 20)
        end = begin + 200
        ahead = forecast(found, route.time[[end]], route.position[[end]])
        slot = np.flatnonzero(found.status[-1] == TrackStatus.TRACKED)
        column = np.asarray(found.record.detection)[-1, slot]
        owner = truth.identity[part][-1, column]
        there = np.where(route.power[end] > 0, truth.identity[end], -1)
        lives = np.isin(owner, there)
        where = np.array([int(np.flatnonzero(there == o)[0]) for o in owner[lives]], int)
        difference = np.asarray(ahead.record.predicted)[0, slot[lives]] - route.path[end, where]
        difference[:, [1, 3]] = wrap_angle(difference[:, [1, 3]])
        wrong.append(np.abs(difference))
    error = np.concatenate(wrong)
    angle = np.degrees(error[:, 1])
    count = len(error)
    return [
        _row("length 18 s ahead, median [m]", np.median(error[:, 0]), 0.1, count,
             p90=float(np.quantile(error[:, 0], 0.9))),
        _row("arrival azimuth 18 s ahead, median [degree]", np.median(angle), 0.25, count),
        _row("arrival azimuth 18 s ahead, 90 % [degree]", np.quantile(angle, 0.9), 0.6, count),
    ]  # fmt: skip


def bounces(world: World) -> list[Row]:
    """T5: first and last bounces from directions and the map, one second after birth."""
    rows = []
    for begin in world.windows():
        part, _, found = world.known(begin, 200)
        when = f"user known, from {world.truth.route.time[begin]:g} s"
        rows += _bounce_rows(world, part, found, when)
    part = slice(0, len(world.truth.route.time))
    return rows + _bounce_rows(world, part, world.joint()[1], "user unknown, whole walk")


def _bounce_rows(world: World, part: slice, found: Tracks, when: str) -> list[Row]:
    truth, record = world.truth, found.record
    old = (np.asarray(record.hits) >= 10) & (found.status == TrackStatus.TRACKED)
    instant, slot = np.nonzero(old)
    column = np.asarray(record.detection)[instant, slot]
    bounced = truth.bounces[part][instant, column] > 0
    instant, slot, column = instant[bounced], slot[bounced], column[bounced]
    path = paths_of(found)[instant, slot]
    user = np.asarray(record.user)[instant, :3]
    station = np.broadcast_to(found.station, user.shape)
    seen = seen_points(world.tree, station, path[:, 3], path[:, 4])
    last = seen_points(world.tree, user, path[:, 1], path[:, 2])
    away = [
        np.nan_to_num(np.linalg.norm(point - true[part][instant, column], axis=1), nan=1e3)
        for point, true in ((seen, truth.first), (last, truth.last))
    ]
    near = np.mean(away[1] < 1)
    return [
        _row(f"first bounce, median [m], {when}", np.median(away[0]), 0.3, len(path),
             p90=float(np.quantile(away[0], 0.9))),
        _row(f"last bounce, median [m], {when}", np.median(away[1]), 0.5, len(path),
             p90=float(np.quantile(away[1], 0.9))),
        _row(f"last bounces within 1 m, {when}", near, 0.8, len(path), at_least=True),
    ]  # fmt: skip


def spread(world: World) -> list[Row]:
    """T6: spreads where powers, births and deaths are given: what geometry alone costs."""
    seen, found = world.whole
    route = world.truth.route

    path = np.array(detections_of(seen).measured)  # what founds an anchor is itself at first
    instant, slot = np.nonzero(np.asarray(found.record.detection) >= 0)
    column = np.asarray(found.record.detection)[instant, slot]
    path[instant, column] = paths_of(found)[instant, slot]
    exact, ours = (spreads_over_time(each, route.power) for each in (route.path, path))
    rows = []
    for name in NAMES:
        one, two = getattr(ours, name), getattr(exact, name)
        wrong = np.abs(one - two) / np.maximum(two, 1e-30)
        steep = name == "departure_zenith"
        words = name.replace("_", " ")
        rows += [
            _row(f"KS of {words} spread, whole walk", ks_distance(one, two),
                 0.08 if steep else 0.05, len(one), halves=ks_halves(two)),
            _row(f"relative error of {words} spread, median", np.median(wrong),
                 0.05 if steep else 0.01, len(one), p90=float(np.quantile(wrong, 0.9))),
        ]  # fmt: skip
    return rows


def foretold(world: World) -> list[Row]:
    """T7: spreads 10 s ahead, births and deaths by the map's walls."""
    seen, found = world.joint(0.1, 0.05)
    walls = prepare_map(world.mesh, world.truth.route.station)
    power = track_powers(found, np.asarray(seen.estimates.power))
    setting = {"horizon": 10.0, "every": 10.0, "user": "given", "noise": 1.0}
    rows = measure_forecast(setting, world.truth.route, walls, found, power)
    limits = {"delay": 0.10, "arrival_azimuth": 0.20}
    return [
        _row(f"relative error of {r['spread'].replace('_', ' ')} spread 10 s ahead, median",
             r["median"], limits[r["spread"]], r["instants"], p90=r["p90"])
        for r in rows
        if r["method"] == "map and anchors" and r["spread"] in limits and r["median"] is not None
    ]  # fmt: skip


def doppler(world: World) -> list[Row]:
    """T9: Doppler from geometry, and from how lengths grow from instant to instant."""
    _, found = world.whole
    truth, route, record = world.truth, world.truth.route, found.record
    identity = np.asarray(record.identity)
    confirmed = found.status == TrackStatus.TRACKED
    instant, slot = np.nonzero(confirmed)
    number = identity[instant, slot]
    # an anchor's last estimate is its best
    best = np.zeros((int(number.max()) + 1, 3))
    best[number] = np.asarray(record.anchor)[instant, slot]
    column = np.asarray(record.detection)[instant, slot]
    exact = truth.doppler[instant, column]
    toward = best[number] - route.position[instant]
    unit = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    geometric = np.sum(unit * route.velocity[instant], axis=1) / WAVELENGTH
    inner = (instant > 0) & (instant < len(route.time) - 1)
    near = np.minimum(instant + 1, len(route.time) - 1), np.maximum(instant - 1, 0)
    length = [np.linalg.norm(best[number] - route.position[i], axis=1) for i in near]
    growth = (length[1] - length[0]) / (route.time[near[0]] - route.time[near[1]]) / WAVELENGTH
    straight = np.all(np.abs(route.velocity[near[0]] - route.velocity[near[1]]) < 1e-3, axis=1)
    difference = [np.abs(geometric - exact), np.abs(growth - exact)[inner & straight]]
    words = "geometry", "lengths from instant to instant"
    return [
        _row(f"Doppler by {name}, median error [Hz]", np.median(wrong), limit, len(wrong),
             p90=float(np.quantile(wrong, 0.9)))
        for name, wrong, limit in zip(words, difference, (0.5, 1.0))
    ]  # fmt: skip


def particles(world: World) -> list[Row]:
    """T10: particles approach the Kalman filter as one over the root of their number."""
    return [
        _row(f"difference of {count} particles from Kalman times their root [m]",
             difference_from_kalman(count, world.settings.seed) * np.sqrt(count), 1.0, WALKS)
        for count in (50, 200, 1000, 5000, 20000)
    ]  # fmt: skip


REQUIREMENTS: dict[str, Callable[[World], list[Row]]] = {
    "T1": still, "T2": gain, "T3": follow, "T4": later, "T5": bounces, "T6": spread,
    "T7": foretold, "T9": doppler, "T10": particles,
}  # fmt: skip
