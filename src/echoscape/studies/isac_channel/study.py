"""Study `isac-channel`: delay and angular spreads along a route, of models against the truth.

The paper feeds ray tracing to its filter and compares the outcome with the same ray tracing; to
copy the observation would agree perfectly.  Here observations are noisy, some are missing and some
false, and copying them is one of the methods.

Takes an `IsacChannel` configuration.
Gives rows: a Kolmogorov-Smirnov distance and a relative error for each method, spread and window.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from echoscape.channel_model import Spreads, ks_distance, ks_halves
from echoscape.channel_model.spread import NAMES
from echoscape.checks import InputError
from echoscape.propagation.ray_cast import BoxTree, build_tree
from echoscape.reports import Observations
from echoscape.scene.mesh import read_mesh
from echoscape.studies.isac_channel.between_looks import (
    between,
    bounces_later,
    thin,
    track_powers,
)
from echoscape.studies.isac_channel.bounce_start import (
    Starts,
    hear,
    place_starts,
    read_heard,
    surfaces_around,
)
from echoscape.studies.isac_channel.stochastic import draw_spreads, scatter_at_random
from echoscape.studies.isac_channel.truth import Truth, read_truth, sample_truth
from echoscape.studies.isac_channel.world import (
    CARRIER,
    Route,
    observe_route,
    read_route,
    spreads_over_time,
)
from echoscape.tracking import Tracks, track
from echoscape.tracking.bounce_tracks import follow_tracks
from echoscape.tracking.track import detections_of

METHODS = (
    "anchors and user",
    "copy",
    "frozen",
    "paper",
    "paper, mesh start",
    "TR 38.901",
    "random scatterers",
)
"""Our filter; the observation itself; the window's first one held; the paper's filter, which starts
from the station's echoes, and once more from the mesh; tables; and scatterers at random whose
spreads are on average the truth's in every window."""
POOLED = -1
"""Number of the window that pools all of them."""


@dataclasses.dataclass(frozen=True)
class IsacChannel:
    """What the study does."""

    route: Path | None = None
    """Ray-traced route (.npz); a walk through the sample city if not given."""
    mesh: Path | None = None
    """Walls of that route (.npz or .obj), where the station's echoes come from."""
    echoes: Path | None = None
    """What that route's station hears of its own pulse, without error (.npz: point); from the
    walls if not given."""
    window: float = 20.0
    """Length of a window [s]."""
    noise: tuple[float, ...] = (1.0,)
    """Errors, as multiples of 0.3 m, 0.5 degree at departure and 1 degree at arrival."""
    missed: tuple[float, ...] = (0.1,)
    """Shares of paths that are withheld at an instant."""
    rate: tuple[float, ...] = (10.0,)
    """Observations per second; spreads are compared at every instant all the same [Hz]."""
    withheld: tuple[float, ...] = (0.0,)
    """How long nothing is observed at the end of every window; if so, spreads are compared there
    alone [s]."""
    false: float = 0.05
    """False detections for each true one."""
    named: tuple[float, ...] | None = None
    """When windows begin of which a figure is drawn [s]; if not given, the paper's two, or on the
    sample city's walk one before the corner and one in sight of the station."""
    particles: int = 500
    """Particles of the paper's filter."""
    seconds: float | None = None
    """Length of the walk; all of it if not given [s]."""
    seed: int = 0
    """Seed of everything random."""

    @property
    def windows(self) -> tuple[float, ...]:
        """When the windows begin of which a figure is drawn [s]."""
        return self.named or ((60.0, 180.0) if self.route is None else (60.0, 264.0))


@dataclasses.dataclass(frozen=True)
class Case:
    """What the observations of one case are like."""

    noise: float
    """Errors, as multiples of the usual ones."""
    missed: float
    """Share withheld."""
    rate: float
    """Observations per second [Hz]."""
    withheld: float
    """How long nothing is observed at the end of every window [s]."""


def cases_of(settings: IsacChannel) -> list[Case]:
    """List the cases: the first of everything, then one thing changed at a time."""
    varied = [field.name for field in dataclasses.fields(Case)]
    first = Case(*(getattr(settings, name)[0] for name in varied))
    return [first] + [
        dataclasses.replace(first, **{name: value})
        for name in varied
        for value in getattr(settings, name)[1:]
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
    """Run the study.

    Raises:
        InputError: A named window lies beyond the walk, or observations are withheld as long as a
            window is.
    """
    if max(settings.withheld) >= settings.window:
        raise InputError(
            f"observations must be withheld for less than a window of {settings.window:g} s; got "
            f"{max(settings.withheld):g} s"
        )
    world = read_world(settings)
    route = world.route
    for begin in settings.named or ():
        if not 0 <= begin - route.time[0] <= route.time[-1] - route.time[0] - settings.window / 2:
            raise InputError(
                f"the walk, {route.time[0]:g} to {route.time[-1]:g} s, holds less than half of the "
                f"window of {settings.window:g} s at {begin:g} s; name one within it"
            )
    truth = spreads_over_time(route.path, route.power)
    rows: list[dict[str, Any]] = []
    errors: list[float] = []
    first: tuple[dict[str, Spreads], Tracks] | None = None
    cases = cases_of(settings)
    for number, case in enumerate(cases):
        if progress is not None:
            progress(number, len(cases), f"following, {words_of(dataclasses.asdict(case))}")
        series, found = _methods(settings, world, truth, case)
        at = np.searchsorted(route.time, found.time - 1e-6)
        wrong = np.asarray(found.record.user)[:, :2] - route.position[at, :2]
        errors.append(float(np.sqrt(np.mean(np.sum(wrong**2, axis=1)))))
        rows += _rows(settings, route, truth, series, case)
        first = first or (series, found)
    assert first is not None
    return Found(rows, route, first[1], {"truth": truth, **first[0]}, errors, cases)


class World(NamedTuple):
    """A walk, and what a station could hear around it."""

    route: Route
    """The walk."""
    tree: BoxTree | None
    """Walls, if they are known."""
    heard: Float[np.ndarray, "echo 3"] | None
    """What the station hears back, without error, if that is known [m]."""
    truth: Truth | None
    """Bounces of the walk's paths, in the sample city."""


@functools.lru_cache(maxsize=1)
def read_world(settings: IsacChannel) -> World:
    """Read the walk and its surroundings, or walk through the sample city."""
    truth = None
    if settings.route is None:
        truth, mesh = sample_truth(settings.seconds)
        route = truth.route
    else:
        route = _cut(read_route(settings.route), settings.seconds)
        mesh = None if settings.mesh is None else read_mesh(settings.mesh)
    tree = None if mesh is None else build_tree(mesh)
    heard = None
    if settings.echoes is not None:
        heard = read_heard(settings.echoes, route.station)
    elif tree is not None:
        heard = surfaces_around(tree, route.station)
    return World(route, tree, heard, truth)


def starts_along(settings: IsacChannel, instants: int = 24) -> Starts:
    """Place first bounces from the station's echoes at instants of the walk.

    Args:
        settings: Which walk.
        instants: How many, evenly over it.

    Raises:
        InputError: Nothing tells what the station hears, or the route does not hold bounces.
    """
    world = read_world(settings)
    if world.heard is None:
        raise InputError(
            "first bounces need what the station hears of its own pulse: give --echoes, or --mesh"
        )
    truth = world.truth
    if truth is None:
        assert settings.route is not None  # else it is the sample city, whose bounces are known
        truth = read_truth(settings.route, settings.seconds)
    return place_starts(truth, world.heard, world.tree, instants, settings.seed)


def words_of(case: Mapping[str, Any]) -> str:
    """Say in words what the observations of a case, or of a row, are like."""
    words = f"noise {case['noise']:g}, {case['missed']:g} missed, {case['rate']:g} Hz"
    return words + (f", {case['withheld']:g} s withheld" if case["withheld"] else "")


def _cut(route: Route, seconds: float | None) -> Route:
    if seconds is None:
        return route
    keep = route.time - route.time[0] < seconds
    kept = {f: getattr(route, f)[keep] for f in ("time", "position", "velocity", "path", "power")}
    return Route(station=route.station, **kept)


def _methods(
    settings: IsacChannel, world: World, truth: Spreads, case: Case
) -> tuple[dict[str, Spreads], Tracks]:
    """Run every method on one set of observations."""
    route = world.route
    hidden = _withheld(settings, route, case)
    seen, at = thin(seen_again(settings, route, case.noise, case.missed), case.rate, hidden)
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
    echoes = None
    if world.heard is not None:
        echoes = hear(world.heard, np.asarray(route.station, float), rng)
    starts = {"paper": echoes, "paper, mesh start": None}
    if echoes is None or world.tree is None:
        del starts["paper, mesh start"]
    since = route.time - np.asarray(seen.time)[at]
    for method, source in starts.items():
        states = follow_tracks(
            found, detections, world.tree, window[np.searchsorted(at, np.arange(len(seen.time)))],
            echoes=source, particles=settings.particles, key=jax.random.key(settings.seed),
        )  # fmt: skip
        paths = bounces_later(states, at, since, np.asarray(route.station, float))
        paths = np.where(np.isfinite(paths), paths, predicted)
        series[method] = spreads_over_time(paths, strength)
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


def _withheld(settings: IsacChannel, route: Route, case: Case) -> Bool[np.ndarray, " time"]:
    """Tell which instants are not observed: the last of every window."""
    into = (route.time - route.time[0]) % settings.window
    return into >= settings.window - case.withheld + 1e-6


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


def _windows(route: Route, length: float) -> np.ndarray:
    return np.floor((route.time - route.time[0]) / length).astype(int)


def _rows(
    settings: IsacChannel, route: Route, truth: Spreads, series: dict[str, Spreads], case: Case
) -> list[dict[str, Any]]:
    """Compare each method with the truth, window by window, in the named ones, and pooled."""
    window = _windows(route, settings.window)
    time = route.time - 1e-9
    compared = _withheld(settings, route, case) if case.withheld else np.ones(len(window), bool)
    parts = {POOLED: compared}
    parts |= {n: window == n for n in range(int(window.max()) + 1)}
    parts |= {
        -2 - n: (time >= begin - 1e-6) & (time < begin + settings.window)
        for n, begin in enumerate(settings.windows)
    }
    rows = []
    for number, part in parts.items():
        inside = part & compared
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
