"""Study `isac-forecast`: spreads of a channel some seconds after the last observation.

A copy of ray tracing cannot forecast; what can is the last channel held, static anchors with a user
who moves on, and anchors with a map that says which paths end and which begin.

Takes a `RouteForecast` configuration.
Gives rows: the relative error of each method, spread, noise and horizon.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from echoscape.channel_model import Spreads
from echoscape.channel_model.spread import NAMES
from echoscape.checks import InputError
from echoscape.plotting.style import STYLE
from echoscape.scene.mesh import read_mesh
from echoscape.studies.isac_channel.between_looks import track_powers
from echoscape.studies.isac_channel.figures import TITLES
from echoscape.studies.isac_channel.study import IsacChannel, _cut, seen_again
from echoscape.studies.isac_channel.world import CARRIER, Route, read_route, sample_route
from echoscape.studies.isac_channel.world import spreads_over_time as measure_spreads
from echoscape.studies.sweep import Progress, Row, Setting, Spread, sweep
from echoscape.tracking import Tracks, TrackStatus, forecast, track
from echoscape.tracking.map_forecast import WallMap, forecast_with_map, prepare_map

METHODS = ("map and anchors", "anchors", "frozen")
"""Walls tell births and deaths; today's paths go on with today's powers; nothing changes."""
_RANGE = 10**-2.5  # paths further below the strongest do not count, as in the truth


@dataclasses.dataclass(frozen=True)
class RouteForecast:
    """What the study does."""

    route: Path | None = None
    """Ray-traced route (.npz); a walk through the sample city if not given."""
    mesh: Path | None = None
    """Walls of that route (.npz or .obj)."""
    noise: tuple[float, ...] = (1.0,)
    """Errors, as multiples of 0.3 m, 0.5 degree at departure and 1 degree at arrival."""
    horizon: tuple[float, ...] = (5.0, 10.0, 18.0)
    """How long after the last observation [s]."""
    every: float = 10.0
    """Time between the instants from which it is forecast [s]."""
    seconds: float | None = None
    """Length of the walk; all of it if not given [s]."""
    seed: int = 0
    """Seed of everything random."""


def run(
    settings: RouteForecast,
    file: Path | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[Row]:
    """Run the study, or go on with the one that `file` keeps."""
    _walk(settings)  # refuses what it cannot use before anything is measured
    points = [
        {
            "noise": noise,
            "user": user,
            "horizon": horizon,
            "every": settings.every,
            "seconds": settings.seconds,
            "seed": settings.seed,
            "route": str(settings.route),
        }
        for noise in settings.noise
        for user in ("given", "own")
        for horizon in settings.horizon
    ]
    return sweep(points, functools.partial(measure, settings), file, progress, spread)


def measure(settings: RouteForecast, setting: Setting) -> list[Row]:
    """Measure one point; the walk is made, and followed at each noise, once a process."""
    return measure_forecast(
        setting, *_walk(settings), *_followed(settings, float(setting["noise"]))
    )


@functools.lru_cache(maxsize=1)
def _walk(settings: RouteForecast) -> tuple[Route, WallMap]:
    if settings.route is None:
        route, mesh = sample_route(settings.seconds)
    elif settings.mesh is None:
        raise InputError("a forecast along a route needs the walls of the route: give its mesh")
    else:
        route, mesh = _cut(read_route(settings.route), settings.seconds), read_mesh(settings.mesh)
    return route, prepare_map(mesh, route.station)


@functools.lru_cache(maxsize=1)
def _followed(settings: RouteForecast, noise: float) -> tuple[Tracks, np.ndarray]:
    route, _ = _walk(settings)
    seen = seen_again(IsacChannel(seed=settings.seed), route, noise)
    found = track(seen, route.station, start=route.position[0], start_velocity=route.velocity[0])
    return found, track_powers(found, np.asarray(seen.estimates.power))


def measure_forecast(
    setting: Setting, route: Route, walls: WallMap, found: Tracks, power: np.ndarray
) -> list[Row]:
    """Forecast from many instants over one horizon, and compare with the truth."""
    step = float(np.median(np.diff(route.time)))
    ahead, every = round(setting["horizon"] / step), max(1, round(setting["every"] / step))
    speed = route.velocity / np.linalg.norm(route.velocity, axis=1, keepdims=True)
    error: dict[str, list[list[float]]] = {method: [] for method in METHODS}
    for now in range(min(every, 20), len(route.time) - ahead, every):
        turned = (speed[now : now + ahead + 1] @ speed[now] < 0.9).any()
        if setting["user"] == "own" and turned:
            continue  # straight on cannot know of a corner
        later = [now + ahead]
        place = route.position[later] if setting["user"] == "given" else None
        exact = measure_spreads(route.path[later], route.power[later])
        mapped = forecast_with_map(
            found, power[now], walls, CARRIER, route.time[later], place, instant=now
        )
        strong = mapped.power > _RANGE * mapped.power.max()
        held = np.where(found.status[now] >= TrackStatus.TRACKED, power[now], 0.0)[None]
        moved = forecast(found, route.time[later], place, instant=now).record.predicted
        today = forecast(found, found.time[[now]], route.position[[now]], instant=now)
        each = {
            "map and anchors": (mapped.path, np.where(strong, mapped.power, 0.0)),
            "anchors": (np.asarray(moved), held),
            "frozen": (np.asarray(today.record.predicted), held),
        }
        for method, (path, strength) in each.items():
            error[method].append(_apart(measure_spreads(path, strength), exact))
    return [
        {
            "method": method,
            "spread": name,
            "instants": len(wrong),
            "median": float(np.median([w[i] for w in wrong])) if wrong else None,
            "p90": float(np.quantile([w[i] for w in wrong], 0.9)) if wrong else None,
            "status": "ok" if wrong else "no instant",
        }
        for method, wrong in error.items()
        for i, name in enumerate(NAMES)
    ]


def _apart(found: Spreads, exact: Spreads) -> list[float]:
    """Measure relative errors of one instant."""
    pairs: list[Any] = [(getattr(found, name)[0], getattr(exact, name)[0]) for name in NAMES]
    return [float(abs(one - true) / max(true, 1e-30)) for one, true in pairs]


def draw_forecast(rows: list[Row]) -> Figure:
    """Draw the median error over the horizon, a panel for each spread, at the first noise."""
    noise = rows[0]["noise"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13.0, 3.6), layout="constrained")
        panels = figure.subplots(1, len(NAMES), sharey=True)
        for panel, name in zip(panels, NAMES, strict=True):
            for method, colour in zip(METHODS, ("#0072B2", "#009E73", "#E69F00"), strict=True):
                for user, line in (("given", "-"), ("own", "--")):
                    some = [
                        row for row in rows
                        if (row["method"], row["spread"], row["user"], row["noise"])
                        == (method, name, user, noise) and row["median"] is not None
                    ]  # fmt: skip
                    label = f"{method}, {'user known' if user == 'given' else 'straight on'}"
                    horizon = [row["horizon"] for row in some]
                    value = [100 * row["median"] for row in some]
                    panel.plot(horizon, value, line, marker="o", ms=4, color=colour, label=label)
            panel.set(title=TITLES[name][0], xlabel="after the last observation [s]")
            panel.set_ylim(bottom=0)
        panels[0].set_ylabel("median relative error [%]")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=9)
    return figure
