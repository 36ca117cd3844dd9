"""Study `isac-channel`: delay and angular spreads along a route, of models against the truth.

The paper feeds ray tracing to its filter and compares the outcome with the same ray tracing; to
copy the observation would agree perfectly.  Here observations are noisy, some are missing and some
false, and copying them is one of the methods.

Takes an `IsacChannel` configuration.
Gives rows: a Kolmogorov-Smirnov distance and a relative error for each method, spread and window.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoscape.channel_model import Spreads, ks_distance, ks_halves
from echoscape.channel_model.spread import NAMES
from echoscape.propagation.ray_cast import build_tree
from echoscape.reports import Observations
from echoscape.scene.mesh import Mesh, read_mesh
from echoscape.studies.isac_channel.stochastic import draw_spreads, scatter_at_random
from echoscape.studies.isac_channel.world import (
    CARRIER,
    Route,
    observe_route,
    read_route,
    sample_route,
    spreads_over_time,
)
from echoscape.tracking import Tracks, paths_of, track
from echoscape.tracking.bounce_tracks import follow_tracks
from echoscape.tracking.track import detections_of

METHODS = ("anchors and user", "copy", "frozen", "paper", "TR 38.901", "random scatterers")
"""Our filter; the observation itself; the window's first one held; the paper's filter; tables; and
scatterers at random whose spreads are on average the truth's in every window."""
POOLED = -1
"""Number of the window that pools all of them."""


@dataclasses.dataclass(frozen=True)
class IsacChannel:
    """What the study does."""

    route: Path | None = None
    """Ray-traced route (.npz); a walk through the sample city if not given."""
    mesh: Path | None = None
    """Walls of that route (.npz or .obj), which place first bounces for the paper's filter."""
    window: float = 20.0
    """Length of a window [s]."""
    noise: tuple[float, ...] = (1.0,)
    """Errors, as multiples of 0.3 m, 0.5 degree at departure and 1 degree at arrival."""
    missed: tuple[float, ...] = (0.1,)
    """Shares of paths that are withheld at an instant."""
    rate: tuple[float, ...] = (10.0,)
    """Observations per second; spreads are compared at every instant all the same [Hz]."""
    false: float = 0.05
    """False detections for each true one."""
    named: tuple[float, ...] = (60.0, 264.0)
    """When the paper's two windows begin, of which a figure is drawn [s]."""
    particles: int = 500
    """Particles of the paper's filter."""
    seconds: float | None = None
    """Length of the walk; all of it if not given [s]."""
    seed: int = 0
    """Seed of everything random."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What the observations of one case are like."""

    noise: float
    """Errors, as multiples of the usual ones."""
    missed: float
    """Share withheld."""
    rate: float
    """Observations per second [Hz]."""


def cases_of(settings: IsacChannel) -> list[Case]:
    """List the cases: the first of everything, then one thing changed at a time."""
    first = Case(settings.noise[0], settings.missed[0], settings.rate[0])
    return [
        first,
        *(dataclasses.replace(first, noise=value) for value in settings.noise[1:]),
        *(dataclasses.replace(first, missed=value) for value in settings.missed[1:]),
        *(dataclasses.replace(first, rate=value) for value in settings.rate[1:]),
    ]


@dataclasses.dataclass(frozen=True)
class Found:
    """What the study found."""

    rows: list[dict[str, Any]]
    """One for each case, method, spread and window; window -1 pools all of them, and windows from
    -2 down are the named ones."""
    route: Route
    """The truth."""
    tracks: Tracks
    """What was followed in the first case."""
    series: dict[str, Spreads]
    """Spreads of every method, and of the truth, over time, in the first case."""
    user_error: list[float]
    """Root mean square error of the user in each case [m]."""
    cases: list[Case]
    """The cases."""


def run(
    settings: IsacChannel, progress: Callable[[float, float, str], None] | None = None
) -> Found:
    """Run the study."""
    if settings.route is None:
        route, mesh = sample_route(settings.seconds)
    else:
        route = _cut(read_route(settings.route), settings.seconds)
        mesh = None if settings.mesh is None else read_mesh(settings.mesh)
    truth = spreads_over_time(route.path, route.power)
    rows: list[dict[str, Any]] = []
    errors: list[float] = []
    first: tuple[dict[str, Spreads], Tracks] | None = None
    cases = cases_of(settings)
    for number, case in enumerate(cases):
        if progress is not None:
            progress(number, len(cases), f"noise {case.noise:g}, {case.missed:g} withheld")
        series, found = _methods(settings, route, mesh, truth, case)
        at = np.searchsorted(route.time, found.time - 1e-6)
        wrong = np.asarray(found.record.user)[:, :2] - route.position[at, :2]
        errors.append(float(np.sqrt(np.mean(np.sum(wrong**2, axis=1)))))
        rows += _rows(settings, route, truth, series, case)
        first = first or (series, found)
    assert first is not None
    return Found(rows, route, first[1], {"truth": truth, **first[0]}, errors, cases)


def _cut(route: Route, seconds: float | None) -> Route:
    if seconds is None:
        return route
    keep = route.time - route.time[0] < seconds
    kept = {f: getattr(route, f)[keep] for f in ("time", "position", "velocity", "path", "power")}
    return Route(station=route.station, **kept)


def _methods(
    settings: IsacChannel, route: Route, mesh: Mesh | None, truth: Spreads, case: Case
) -> tuple[dict[str, Spreads], Tracks]:
    """Run every method on one set of observations."""
    seen, at = thin(seen_again(settings, route, case.noise, case.missed), case.rate)
    rng = np.random.default_rng(settings.seed)
    found = track(seen, route.station, start=route.position[0], start_velocity=route.velocity[0])
    detections = detections_of(seen)
    observed = np.asarray(detections.measured)[at]
    power = np.asarray(seen.estimates.power)
    # at two observations a second five of them, for a track to be believed, are 2.5 s
    strength = (found.presence * track_powers(found, power))[at]
    power = power[at]
    window = _windows(route, settings.window)
    first = np.array([np.flatnonzero(window == w)[0] for w in window])
    predicted = between(found, route.time, at)
    series = {
        "anchors and user": spreads_over_time(predicted, strength),
        "copy": spreads_over_time(observed, power),
        "frozen": spreads_over_time(observed[first], power[first]),
    }
    tree = None if mesh is None else build_tree(mesh)
    paths = follow_tracks(
        found, detections, tree, window[np.searchsorted(at, np.arange(len(seen.time)))],
        particles=settings.particles, key=jax.random.key(settings.seed),
    ).measured[at]  # fmt: skip
    paths = np.where(np.isfinite(paths), paths, predicted)
    series["paper"] = spreads_over_time(paths, strength)
    direct = np.linalg.norm(route.position - route.station, axis=1)
    sight = np.abs(route.path[:, :, 0] - direct[:, None]).min(axis=1) < 0.01
    drawn = {
        name: jnp.asarray(
            draw_spreads(name, route.position, route.station, sight, CARRIER / 1e9, rng)
        )
        for name in NAMES
    }
    nothing = jnp.zeros(len(route.time))
    series["TR 38.901"] = jax.tree.map(np.asarray, Spreads(dominance=nothing, **drawn))
    wanted = {name: getattr(truth, name) for name in NAMES}
    scattered = scatter_at_random(route.position, window, wanted, rng)
    series["random scatterers"] = spreads_over_time(*scattered)
    return series, found


def thin(seen: Observations, rate: float) -> tuple[Observations, np.ndarray]:
    """Keep observations at a rate, and tell for every instant which one is the latest."""
    usual = 1 / float(np.median(np.diff(seen.time)))
    step = max(1, round(usual / rate))
    kept = jax.tree.map(lambda leaf: leaf[::step], seen)
    return kept, np.arange(len(seen.time)) // step


def between(found: Tracks, time: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Predict the followed paths at every instant from the latest one that was observed."""
    record = jax.tree.map(lambda leaf: np.asarray(leaf)[at], found.record)
    if len(at) == len(found.time):
        return record.predicted
    user = record.user.copy()
    user[:, :3] += (time - found.time[at])[:, None] * user[:, 3:]
    moved = dataclasses.replace(found, time=time, record=dataclasses.replace(record, user=user))
    return paths_of(moved)


def seen_again(
    settings: IsacChannel, route: Route, noise: float | None = None, missed: float | None = None
) -> Observations:
    """Make the observations of one case, by default of the first."""
    noise = settings.noise[0] if noise is None else noise
    missed = settings.missed[0] if missed is None else missed
    rng = np.random.default_rng([settings.seed, int(1000 * noise)])
    return observe_route(
        route, rng, length_std=0.3 * noise, departure_std=0.5 * noise, arrival_std=noise,
        missed=missed, false=settings.false,
    )  # fmt: skip


def track_powers(found: Tracks, power: np.ndarray) -> np.ndarray:
    """Give each track the mean power of its latest ten detections; coasting ones keep it."""
    record = found.record
    detection, identity = np.asarray(record.detection), np.asarray(record.identity)
    held = np.zeros(identity.shape)
    mean, owner = np.zeros(identity.shape[1]), np.full(identity.shape[1], -1)
    row = np.arange(len(mean))
    for k in range(len(identity)):
        seen = detection[k] >= 0
        new = seen & (owner != identity[k])
        value = power[k, np.maximum(detection[k], 0)]
        mean = np.where(new, value, np.where(seen, mean + 0.1 * (value - mean), mean))
        owner = np.where(seen, identity[k], owner)
        held[k] = np.where(owner == identity[k], mean, 0.0)[row]
    return held


def _windows(route: Route, length: float) -> np.ndarray:
    return np.floor((route.time - route.time[0]) / length).astype(int)


def _rows(
    settings: IsacChannel, route: Route, truth: Spreads, series: dict[str, Spreads], case: Case
) -> list[dict[str, Any]]:
    """Compare each method with the truth, window by window, in the named ones, and pooled."""
    window = _windows(route, settings.window)
    time = route.time - 1e-9
    parts = {POOLED: np.ones(len(window), bool)}
    parts |= {n: window == n for n in range(int(window.max()) + 1)}
    parts |= {
        -2 - n: (time >= begin - 1e-6) & (time < begin + settings.window)
        for n, begin in enumerate(settings.named)
    }
    rows = []
    for number, inside in parts.items():
        if inside.sum() < 20:
            continue
        for name in NAMES:
            exact = getattr(truth, name)[inside]
            shared = dataclasses.asdict(case) | {
                "window": number,
                "begin": float(route.time[inside][0]),
                "spread": name,
                "halves": ks_halves(exact),
                "mean": float(exact.mean()),
                "seed": settings.seed,
            }
            for method, each in series.items():
                value = getattr(each, name)[inside]
                wrong = np.sqrt(np.mean((value - exact) ** 2)) / max(float(exact.mean()), 1e-30)
                rows.append(
                    shared
                    | {
                        "method": method,
                        "ks": ks_distance(value, exact),
                        "relative_rmse": float(wrong),
                        "status": "ok",
                    }
                )
    return rows
