"""Baselines: our own methods, the papers', geometry alone, and what knows part of the truth.

They are entries like anybody's: a function from the problem to an answer for each kind of problem.
Those in `INFORMED` get the reference answer too, and say what could be reached at best.

Takes a problem.
Gives an answer.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from echoscape.channel_map import (
    ChannelMap,
    Extrapolated,
    MapModel,
    NearestReports,
    Network,
    Scatterers,
    VirtualAnchorNetwork,
    VirtualAnchors,
    fit_map,
)
from echoscape.channel_model.spread import NAMES
from echoscape.estimation import EchoMethod, Esprit, Fft, Greedy, Music, estimate
from echoscape.imaging import (
    GampMvsvr,
    IgnoreOcclusion,
    OcclusionAwareGamp,
    UnstructuredMask,
    VisibilityGamp,
)
from echoscape.imaging import image as make_image
from echoscape.imaging.choice import choose_solver, with_unknowns
from echoscape.imaging.known import genie
from echoscape.imaging.solver import Solver
from echoscape.localization import AssociatedByRank, Localizer, PairedEchoes, Unassociated, localize
from echoscape.localization.bounds.fisher import map_bound
from echoscape.localization.line_of_sight import shortest_echo_direct
from echoscape.reports import Echoes
from echoscape.studies.benchmark.answers import Bound, Places, Voxels, Walk
from echoscape.studies.benchmark.problems import Estimate, Image, Locate, Spread, Track
from echoscape.studies.isac_channel.between_looks import track_powers
from echoscape.studies.isac_channel.stochastic import draw_spreads
from echoscape.studies.isac_channel.world import spreads_over_time
from echoscape.studies.nlos_ckm.square import shortest_as_direct
from echoscape.tracking import JointFilter, Tracks, paths_of, track
from echoscape.tracking.bounce_tracks import follow_tracks
from echoscape.tracking.track import detections_of
from echoscape.units import wrap_angle


class NotApplicable(Exception):
    """The method cannot solve this problem, and says why."""


def _own(problem: Locate, paths: MapModel | None = None) -> MapModel:
    """Choose the model of the map as `choosing.md` advises, from what the reports hold."""
    if paths is not None:
        return paths
    estimates = problem.reports.estimates
    if not np.isfinite(np.asarray(estimates.arrival_azimuth_std)[estimates.valid]).any():
        return Scatterers()
    if not isinstance(problem.heard, Echoes | PairedEchoes):
        return Extrapolated()
    return VirtualAnchors()


def _by_map(problem: Locate, model: MapModel | None = None, paper: bool = False) -> Any:
    """Learn a map and locate through it."""
    found = fit_map(problem.reports, _own(problem, model), key=jax.random.key(0))
    return _through(problem, found, paper)


def _through(problem: Locate, channel_map: ChannelMap, paper: bool = False) -> Any:
    method: Localizer | None = None
    if isinstance(problem.heard, Echoes):
        method = Unassociated.model_validate({"unknown": problem.unknown})
    if paper and isinstance(problem.heard, PairedEchoes):
        method = AssociatedByRank()
    return localize(problem.heard, channel_map, method=method, height=problem.height)


def _network(problem: Locate, loss: str) -> Any:
    """Learn the network of [wu-ckm], which the paper trains by squared error.

    Args:
        problem: The problem.
        loss: "squared", "likelihood", or "set" for paths without an order.
    """
    square = isinstance(problem.heard, PairedEchoes) and loss != "set"
    model = Network.model_validate({"loss": loss, "planar": square})
    return _by_map(problem, model, paper=loss == "squared")


def _shortest(problem: Locate) -> Any:
    """Take the shortest echo for the direct one."""
    station = np.asarray(problem.reports.station_position[0])
    if isinstance(problem.heard, Echoes):
        height = None if isinstance(problem.height, tuple) else problem.height
        return shortest_echo_direct(problem.heard, {problem.reports.station[0]: station}, height)
    if isinstance(problem.heard, PairedEchoes):
        return shortest_as_direct(station, problem.heard)
    paths = problem.heard
    row, first = np.arange(problem.count), np.where(paths.valid, paths.length, np.inf).argmin(1)
    length = np.asarray(paths.length)[row, first]
    azimuth = np.asarray(paths.departure_azimuth)[row, first]
    away = np.stack([np.cos(azimuth), np.sin(azimuth), 0.0 * azimuth], axis=1)
    return station + length[:, None] * away


def _informed_map(truth: Places) -> ChannelMap:
    if truth.exact is not None:
        return truth.exact
    if truth.own is None:
        raise NotApplicable("the targets' own paths are not known")
    return fit_map(truth.own, NearestReports())


def _oracle(problem: Locate, truth: Places) -> Any:
    """Locate through the world itself, or through a map of the targets' own exact paths."""
    return _through(problem, _informed_map(truth))


def _bound(problem: Locate, truth: Places) -> Bound:
    """Bound the error by what a map of the reports claims to know, or the world where it is one."""
    if truth.angle_std is None or truth.delay_std is None:
        raise NotApplicable("there is no bound for users located by their own paths")
    if isinstance(problem.height, tuple):
        raise NotApplicable("the bound needs the targets' height")
    exact = truth.exact or fit_map(problem.reports, VirtualAnchors(), key=jax.random.key(0))
    found = map_bound(
        exact, truth.position, angle_std=truth.angle_std, delay_std=truth.delay_std
    )  # fmt: skip
    return Bound(found.root_trace)


def _image(problem: Image, solver: Solver | None = None) -> Any:
    if solver is not None and problem.unknown:
        raise NotApplicable("this solver needs phases, which are not known here")
    if solver is None and problem.bodies:
        known = with_unknowns(problem.snapshots, problem.unknown)
        solver, _ = choose_solver(known, problem.unknown, bodies=True)
    return make_image(problem.snapshots, problem.grid, solver=solver, unknown=problem.unknown)


def _points(problem: Image) -> Any:
    """Image by what stated deviations choose, whether bodies are expected or not."""
    return make_image(problem.snapshots, problem.grid, unknown=problem.unknown)


def _genie(problem: Image, truth: Voxels) -> Any:
    """Fit coefficients to the true support with the true mask."""
    return _image(problem, genie(truth.truth))


def _follow(problem: Track, smooth: bool = False) -> Tracks:
    return track(
        problem.observations, problem.station, JointFilter().with_motion(problem.motion),
        start=problem.start, start_velocity=problem.velocity, smooth=smooth,
    )  # fmt: skip


def _straight_on(problem: Track) -> np.ndarray:
    """Go straight on from the start."""
    time = problem.observations.time
    return problem.start + (time - time[0])[:, None] * problem.velocity


def _direct_path(problem: Track) -> np.ndarray:
    """Take the shortest path of every instant for the direct one."""
    paths = problem.observations.estimates
    length = np.where(paths.valid, paths.length, np.inf)
    row, first = np.arange(problem.count), length.argmin(axis=1)
    azimuth, zenith, length = (
        np.asarray(getattr(paths, name))[row, first]
        for name in ("departure_azimuth", "departure_zenith", "length")
    )
    ahead = [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)]
    return problem.station + length[:, None] * np.stack(ahead, axis=1)


def _known_images(problem: Track, truth: Walk) -> np.ndarray:
    """Solve each instant by itself, every image and which detection is of which path known.

    Mirrors keep angles to the vertical, so a departure tells of the user what an arrival does.
    """
    paths = problem.observations.estimates
    names = (
        "length", "arrival_azimuth", "arrival_zenith", "departure_azimuth", "departure_zenith"
    )  # fmt: skip
    width = truth.path.shape[1]
    seen, std = (
        np.stack([np.asarray(getattr(paths, f"{n}{end}"))[:, :width] for n in names], axis=-1)
        for end in ("", "_std")
    )
    off = seen - truth.path
    off[..., [1, 3]] = wrap_angle(off[..., [1, 3]])
    scaled = np.abs(off) / np.where(std > 0, std, np.inf)
    mine = (truth.power > 0) & np.asarray(paths.valid)[:, :width] & (scaled.max(axis=-1) < 5.0)
    across, up = np.maximum(np.sin(truth.path[..., 2]), 1e-9), np.cos(truth.path[..., 2])
    east, north = np.cos(truth.path[..., 1]), np.sin(truth.path[..., 1])
    length = np.maximum(truth.path[..., 0], 1.0)
    # how length, azimuth and zenith of the arrival change with the user's place
    zero = 0.0 * up
    slope = np.stack(
        [
            -np.stack([across * east, across * north, up], axis=-1),
            np.stack([north, -east, zero], axis=-1) / (length * across)[..., None],
            np.stack([-up * east, -up * north, across], axis=-1) / length[..., None],
        ],
        axis=-2,
    )
    place = truth.position.copy()
    for k in range(problem.count):
        rows = slope[k, mine[k]] / std[k, mine[k], :3, None]
        wrong = off[k, mine[k], :3] / std[k, mine[k], :3]
        if len(rows):
            place[k] += np.linalg.lstsq(rows.reshape(-1, 3), wrong.ravel(), rcond=None)[0]
    return place


def _estimate(problem: Estimate, method: Callable[..., EchoMethod]) -> Any:
    return estimate(problem.samples, method=method())


def _tracked(problem: Spread) -> Tracks:
    return track(
        problem.observations, problem.station, start=problem.position[0],
        start_velocity=problem.velocity,
    )  # fmt: skip


def _spread_of_tracks(problem: Spread, bounces: bool = False) -> Any:
    """Take the spreads of the paths that a filter follows, ours or the paper's over bounces."""
    found = _tracked(problem)
    path = paths_of(found)
    if bounces:
        detections = detections_of(problem.observations)
        window = np.floor((found.time - found.time[0]) / 20.0).astype(int)
        states = follow_tracks(
            found, detections, None, window, particles=200, key=jax.random.key(0)
        )
        path = np.where(np.isfinite(states.measured), states.measured, path)
    power = found.presence * track_powers(found, np.asarray(problem.observations.estimates.power))
    return spreads_over_time(path, power)


def _copied(problem: Spread) -> Any:
    """Take the spreads of what was observed."""
    seen = np.asarray(detections_of(problem.observations).measured)
    return spreads_over_time(seen, np.asarray(problem.observations.estimates.power))


def _drawn(problem: Spread) -> Mapping[str, np.ndarray]:
    """Draw spreads from the tables of TR 38.901, urban micro."""
    rng, sight = np.random.default_rng(0), problem.line_of_sight
    carrier = problem.carrier / 1e9
    return {
        name: draw_spreads(name, problem.position, problem.station, sight, carrier, rng)
        for name in NAMES
    }


def _part(function: Callable, **settings: Any) -> Callable:
    return functools.partial(function, **settings)


BASELINES: dict[str, dict[str, Callable]] = {
    "echoscape": {
        "locate": _by_map, "image": _image, "track": _follow,
        "estimate": _part(_estimate, method=Greedy), "spread": _spread_of_tracks,
    },
    "paper": {
        "locate": _part(_network, loss="squared"),
        "image": _part(_image, solver=OcclusionAwareGamp()),
        "spread": _part(_spread_of_tracks, bounces=True),
    },
    "network": {"locate": _part(_network, loss="likelihood")},
    "network-set": {"locate": _part(_network, loss="set")},
    "nearest": {"locate": _part(_by_map, model=NearestReports()), "spread": _copied},
    "geometry": {
        "locate": _shortest, "image": _part(_image, solver=IgnoreOcclusion()),
        "track": _direct_path, "estimate": _part(_estimate, method=Fft), "spread": _drawn,
    },
    "oracle": {"locate": _oracle, "image": _genie, "track": _known_images},
    "bound": {"locate": _bound},
    "virtual-anchor-network": {"locate": _part(_by_map, model=VirtualAnchorNetwork())},
    "published": {"image": _part(_image, solver=GampMvsvr())},
    "visibility": {"image": _part(_image, solver=VisibilityGamp())},
    "unstructured": {"image": _part(_image, solver=UnstructuredMask())},
    "points": {"image": _points},
    "smoother": {"track": _part(_follow, smooth=True)},
    "straight-on": {"track": _straight_on},
    "music": {"estimate": _part(_estimate, method=Music)},
    "esprit": {"estimate": _part(_estimate, method=Esprit)},
}  # fmt: skip
"""Functions by method and kind of problem.  ``echoscape`` is what our commands do by themselves,
``paper`` what the papers describe, with damping where they need it (``published`` has none), and
``geometry`` what needs no map, mask or site."""
MAIN = ("echoscape", "paper", "network", "nearest", "geometry", "oracle", "bound")
"""Methods that a leaderboard shows first."""
INFORMED = ("oracle", "bound")
"""Methods that are given the reference answer; they are no competitors."""
