"""The main job in a real city, every method side by side: learn, hear, locate, steer.

Maps are learnt from the sample's reports; passive targets stand at other places without line of
sight; their echoes are detected as a link budget allows, and once more with fixed errors, which is
the comparison that bounds apply to; every map and the guess that needs no map locate them; and
the same maps choose beams for users at those places.

Takes `DemoSettings` and the sample (or any `Sample` of one station).
Gives `Demo`: rows of targets, scores, beams, paths and steps, and the maps.

Figure: `demo_figures`.  Running time: about a minute on two cores; `DemoSettings.quick` takes
seconds.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from echoscape.channel_map import ChannelMap, NearestReports, Network, VirtualAnchors, fit_map
from echoscape.channel_map.learned.losses import Loss
from echoscape.communication.beams import (
    measured_powers,
    rank_beams,
    rank_like_nearest,
    score_beams,
    straight_line,
)
from echoscape.estimation import LinkBudget
from echoscape.localization import Fix, FixStatus, localize
from echoscape.localization.bounds.fisher import map_bound
from echoscape.localization.line_of_sight import shortest_echo_direct
from echoscape.localization.scores import claimed_level, score
from echoscape.reports import Reports
from echoscape.reports.echo_making import SimulatedEchoes, make_echoes
from echoscape.sample import Sample
from echoscape.scene.antenna import PlanarArray, dft_codebook

Rows = dict[str, np.ndarray]
"""A table: columns of equal length by name."""
Stage = Callable[[str], AbstractContextManager[Callable[..., None]]]
"""Announces a step and lends a function of `done` and `total` to report its progress."""

DIRECT = "shortest echo taken as direct"
METHODS = ("anchors", "nearest report", "network", "network, squared error", DIRECT)
"""Every method of locating, best known first."""
BOUND = "bound"
MODES = ("fixed errors", "link budget")


SCORES = (
    "median", "p90", "rmse", "within_1", "within_3", "within_10", "beyond_10", "lost",
    "inside_50", "inside_90", "inside_99", "flagged", "flagged_errors",
)  # fmt: skip
"""Fields of `Scores` that are kept, in the order of the table."""


class DemoSettings(pydantic.BaseModel):
    """What the demo does; the defaults are those of ``echoscape demo``."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    reports: int | None = pydantic.Field(default=None, ge=20)
    """Reports to learn from; all of the sample if not given."""
    targets: int | None = pydantic.Field(default=None, ge=2)
    """Targets to locate; all of the sample if not given."""
    epochs: int = pydantic.Field(default=100, ge=1)
    """Passes of the networks over the reports."""
    strongest: int = pydantic.Field(default=5, ge=1)
    """Strongest paths of a target that take part, in all ordered pairs."""
    angle_std: float = pydantic.Field(default=0.05, gt=0)
    """Deviation of every echo's angles where errors are fixed [rad]."""
    delay_std: float = pydantic.Field(default=5e-9, gt=0)
    """Deviation of every echo's delay where errors are fixed [s]."""
    budget: LinkBudget = LinkBudget()
    """Which echoes are detected, and how well, where a link budget decides."""
    position_std: float = pydantic.Field(default=1.0, gt=0)
    """Error of the positions of users who are served with beams, each coordinate [m]."""
    array: tuple[int, int] = (8, 8)
    """Rows and columns of the base station's array; there are as many beams as elements."""
    tried: tuple[int, ...] = (1, 3, 5)
    """How many of the first beams are tried."""
    seed: int = 0
    """Seed of everything random."""

    @classmethod
    def quick(cls, seed: int = 0) -> "DemoSettings":
        """Make the settings that show everything within seconds, with rougher figures."""
        return cls(reports=300, targets=16, epochs=60, seed=seed)


class Demo(NamedTuple):
    """What the demo found."""

    targets: Rows
    """One row for each target, method and mode."""
    scores: Rows
    """One row for each method and mode, and for the bound."""
    beams: Rows
    """One row for each method and number of beams tried."""
    paths: Rows
    """One row for each of the paths of a target that take part."""
    steps: Rows
    """One row for each step, with its seconds."""
    maps: dict[str, ChannelMap]
    """The maps by method."""


def run_demo(settings: DemoSettings, sample: Sample, stage: Stage | None = None) -> Demo:
    """Learn, receive, locate and steer; the same settings give the same rows but for the seconds.

    Args:
        settings: What to do.
        sample: Reports to learn from and places to take as targets, of one station.
        stage: Told of every step and its progress.
    """
    clock = _Clock(stage or _silent)
    fit, shake, *echo = jax.random.split(jax.random.key(settings.seed), 2 + len(MODES))
    reports = _some(sample.reports, settings.reports)
    targets = _some(sample.targets, settings.targets)
    maps = _learn(settings, reports, fit, clock)
    tables, scores = [], []
    for mode, key in zip(MODES, echo):
        with clock.step(f"echoes of {len(targets.report)} targets, {mode}"):
            made = _hear(settings, targets, mode, key)
        bound = np.full(len(targets.report), np.nan)
        if mode == MODES[0]:
            with clock.step("bound of the anchors' map"):
                bound = _bound(settings, maps["anchors"], targets)
            scores.append(_bound_score(bound))
        for method in METHODS:
            with clock.step(f"locate, {mode}: {method}") as tell:
                fix = _locate(method, maps, made, targets, tell)
            tables.append(_target_rows(method, mode, fix, targets, made, bound))
            scores.append(_score_row(method, mode, fix, targets, clock.seconds[-1]))
    with clock.step(f"beams for users known to {settings.position_std:g} m") as tell:
        beams = _steer(settings, reports, targets, maps, shake, tell)
    demo = Demo(
        targets=_stack(tables),
        scores=_stack([{name: np.array([v]) for name, v in row.items()} for row in scores]),
        beams=beams,
        paths=_path_rows(targets, settings.strongest),
        steps={"step": np.array(clock.names), "seconds": np.array(clock.seconds)},
        maps=maps,
    )
    for rows in (demo.targets, demo.scores, demo.beams, demo.paths, demo.steps):
        rows["seed"] = np.full(len(next(iter(rows.values()))), settings.seed)
    return demo


class _Clock:
    """Names and seconds of the steps so far."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.names: list[str] = []
        self.seconds: list[float] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[..., None]]:
        start = time.perf_counter()
        with self.stage(name) as tell:
            tell(0, 1)
            yield tell
            tell(1, 1)
        self.names.append(name)
        self.seconds.append(time.perf_counter() - start)


def _silent(name: str) -> AbstractContextManager[Callable[..., None]]:
    del name
    return nullcontext(lambda *_: None)


def _some(reports: Reports, count: int | None) -> Reports:
    """Take reports evenly from all of them."""
    have = len(reports.report)
    index = np.linspace(0, have - 1, min(count or have, have)).round().astype(int)
    return reports[np.isin(np.arange(have), index)]


def _learn(settings: DemoSettings, reports: Reports, key, clock: _Clock) -> dict[str, ChannelMap]:
    """Fit every kind of map to the same reports."""
    count = len(reports.report)
    network = Network(epochs=settings.epochs, paths=settings.strongest)
    maps: dict[str, ChannelMap] = {}
    with clock.step(f"anchors from {count} reports"):
        maps["anchors"] = fit_map(reports, VirtualAnchors(), key=jax.random.key(settings.seed))
    with clock.step(f"nearest report among {count}"):
        maps["nearest report"] = fit_map(reports, NearestReports())
    losses: tuple[tuple[str, Loss], ...]
    losses = (("network", "likelihood"), ("network, squared error", "squared"))
    for method, loss in losses:
        with clock.step(f"{method}, {settings.epochs} epochs") as tell:

            def shown(done, total, _, tell=tell):
                tell(done, total)

            maps[method] = fit_map(
                reports, network.model_copy(update={"loss": loss}), key=key, progress=shown
            )
    return maps


def _hear(settings: DemoSettings, targets: Reports, mode: str, key) -> SimulatedEchoes:
    if mode == "link budget":
        return make_echoes(targets, key, budget=settings.budget, strongest=settings.strongest)
    return make_echoes(
        targets,
        key,
        angle_std=settings.angle_std,
        delay_std=settings.delay_std,
        strongest=settings.strongest,
    )


def _locate(
    method: str, maps: Mapping[str, ChannelMap], made: SimulatedEchoes, targets, tell
) -> Fix:
    """Locate with one method; every method knows the targets' common height."""
    height = float(np.median(targets.position[:, 2]))
    if method == DIRECT:
        station = {targets.station[0]: targets.station_position[0]}
        return shortest_echo_direct(made.echoes, station, height)
    return localize(made.echoes, {targets.station[0]: maps[method]}, height=height, progress=tell)


def _bound(settings: DemoSettings, anchors: ChannelMap, targets: Reports) -> np.ndarray:
    """Bound the error of every target by what the map claims to know [m]."""
    bound = map_bound(
        anchors,
        targets.position,
        angle_std=settings.angle_std,
        delay_std=settings.delay_std,
        strongest=settings.strongest,
    )
    return bound.root_trace


def _target_rows(method, mode, fix: Fix, targets: Reports, made: SimulatedEchoes, bound) -> Rows:
    """Lay out the first place of every fix beside the truth; without an echo it is empty."""
    found = fix.status != FixStatus.NO_ECHO
    place = np.where(found[:, None], fix.best, np.nan)
    covariance = np.where(found[:, None, None], fix.covariance[:, 0], np.nan)
    difference = (place - targets.position)[:, :2]
    count = len(found)
    names = np.array([status.name.lower() for status in FixStatus])
    return {
        "target": targets.report,
        "method": np.full(count, method),
        "mode": np.full(count, mode),
        "status": names[fix.status],
        "error": np.linalg.norm(difference, axis=1),
        **{f"true_{axis}": targets.position[:, i] for i, axis in enumerate("xyz")},
        **{axis: place[:, i] for i, axis in enumerate("xyz")},
        "cov_xx": covariance[:, 0, 0],
        "cov_xy": covariance[:, 0, 1],
        "cov_yy": covariance[:, 1, 1],
        "level": np.where(found, claimed_level(fix, targets.position), np.nan),
        "spread": np.where(found, fix.spread, np.nan),
        "places": fix.valid.sum(axis=1) * found,
        "bound": bound,
        "possible": made.possible,
        "heard": made.detectable,
    }


def _score_row(method: str, mode: str, fix: Fix, targets: Reports, seconds: float) -> dict:
    """Score one method; what is infinite or does not exist is empty."""
    scores = score(fix, targets.position)
    values = {name: getattr(scores, name) for name in SCORES}
    row = {"method": method, "mode": mode, "count": scores.count, "seconds": seconds}
    return row | {name: _number(value) for name, value in values.items()}


def _bound_score(bound: np.ndarray) -> dict:
    """Score the bound itself: it has a typical size and nothing else."""
    row = {"method": BOUND, "mode": MODES[0], "count": len(bound), "seconds": np.nan}
    known = bound[np.isfinite(bound)]
    sizes = {
        "median": np.quantile(bound, 0.5, method="higher"),
        "p90": np.quantile(bound, 0.9, method="higher"),
        "rmse": np.sqrt(np.mean(known**2)) if len(known) else np.nan,
    }
    return row | {name: _number(sizes.get(name)) for name in SCORES}


def _number(value: float | None) -> float:
    return float(value) if value is not None and np.isfinite(value) else np.nan


def _steer(settings: DemoSettings, reports: Reports, targets: Reports, maps, key, tell) -> Rows:
    """Score the first beams that each way of choosing would try."""
    array = PlanarArray(*settings.array)
    codebook = dft_codebook(*settings.array)
    power = measured_powers(targets.estimates, array, codebook)
    noise = settings.position_std * np.asarray(jax.random.normal(key, targets.position.shape))
    noise[:, 2] = 0.0
    estimated = targets.position + noise
    user = jnp.asarray(estimated), jnp.full(len(estimated), settings.position_std)
    station = targets.station_position[0]

    def by_map(known):
        return rank_beams(known, *user, array, codebook)

    orders = {
        "anchors": lambda: by_map(maps["anchors"]),
        "network": lambda: by_map(maps["network"]),
        "nearest report": lambda: rank_like_nearest(reports, estimated, array, codebook),
        "position only": lambda: by_map(straight_line(station)),
    }
    tables = []
    for done, (method, order) in enumerate(orders.items()):
        tell(done, len(orders), f"beams, compiling: {method}")
        result = score_beams(order(), power, settings.tried)
        tables.append(
            {
                "method": np.full(len(result.tried), method),
                "tried": np.array(result.tried),
                "found": result.found,
                "loss": result.loss,
                "loss_90": result.loss_90,
                "saved": result.saved,
                "beams": np.full(len(result.tried), np.asarray(power).shape[1]),
                "users": np.full(len(result.tried), result.users),
            }
        )
    return _stack(tables)


def _path_rows(targets: Reports, strongest: int) -> Rows:
    """Lay out the strongest paths of the targets: what the figures retrace between the walls."""
    paths = targets.estimates
    row, path = np.nonzero(paths.valid[:, :strongest])
    return {
        "target": targets.report[row],
        "path": path,
        **{f"true_{axis}": targets.position[row, i] for i, axis in enumerate("xyz")},
        **{
            f"station_{axis}": np.full(len(row), targets.station_position[0, i])
            for i, axis in enumerate("xyz")
        },
        **{
            name: np.asarray(getattr(paths, name))[row, path]
            for name in ("departure_azimuth", "departure_zenith", "delay", "power")
        },
    }


def _stack(tables: list[Rows]) -> Rows:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
