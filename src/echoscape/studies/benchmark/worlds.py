"""The worlds of the benchmark's tasks: the packaged city, and others made from fixed seeds.

Takes sizes.
Gives a problem and its reference answer; the same sizes always give the same.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import numpy as np

from echoscape.estimation import PathEstimates
from echoscape.propagation import square_world
from echoscape.propagation.ray_cast import build_tree
from echoscape.propagation.wall_images import trace
from echoscape.reports import Reports
from echoscape.reports.echo_making import make_echoes
from echoscape.sample import load_sample
from echoscape.signals import Waveform
from echoscape.studies.benchmark.answers import Places, Tones, Voxels, Walk
from echoscape.studies.benchmark.problems import Estimate, Image, Locate, Spread, Track
from echoscape.studies.indoor_campaign.world import Sounder, make_campaign
from echoscape.studies.isac_channel.walks import TURN, box, buildings, scene_route, turned
from echoscape.studies.isac_channel.world import (
    CARRIER,
    Route,
    lay_out,
    measured_paths,
    observe_route,
    sample_route,
    spreads_over_time,
)
from echoscape.studies.nlos_ckm.point_world import equal_echoes
from echoscape.studies.nlos_ckm.square_scene import reports_of_paths
from echoscape.studies.nlos_ckm.world import echoes_of, exact_map, make_layout, reports_of
from echoscape.studies.occlusion_imaging.field_world import make_field_world
from echoscape.studies.occlusion_imaging.world import make_world
from echoscape.units import length_of, wrap_angle

Sizes = dict[str, Any]
"""How large a world is: names and plain numbers."""
ANGLE, DELAY = 0.05, 5e-9
"""Errors of the echoes in cities [rad], [s]."""
PAPER_ANGLE, PAPER_DELAY = 0.1, 20e-9
"""Those in the paper's square."""
_SEED = 25


def evenly(reports: Reports, count: int) -> Reports:
    """Take reports evenly from all of them.

    Args:
        reports: All.
        count: How many to take, or all if there are fewer.
    """
    have = len(reports.report)
    return reports[np.linspace(0, have - 1, min(count, have)).round().astype(int)]


def _heard(
    reports: Reports, targets: Reports, height: Any, *, missed: float = 0.0, false: float = 0.0,
    clock: float = 0.0, heading: float = 0.0,
) -> tuple[Locate, Places]:  # fmt: skip
    """Let targets echo along all pairs of their five strongest paths, in no order.

    Args:
        reports: What others reported.
        targets: Exact paths of the targets.
        height: What is known of the targets' height [m].
        missed: Share of the echoes that are not detected.
        false: False echoes for each true one.
        clock: What every delay is too long by [s].
        heading: What every azimuth of an echo is too large by [rad].
    """
    echoes = make_echoes(
        targets, jax.random.key(_SEED), angle_std=ANGLE, delay_std=DELAY, missed=missed, false=false
    ).echoes
    paths = echoes.estimates
    valid = np.asarray(paths.valid)

    def off(name: str, by: float) -> np.ndarray:
        value = np.asarray(getattr(paths, name)) + by
        return np.where(valid, wrap_angle(value) if "azimuth" in name else value, 0.0)

    shifted = (
        off("length", float(length_of(clock))),
        off("departure_azimuth", heading),
        off("arrival_azimuth", heading),
    )
    echoes = eqx.tree_at(
        lambda e: (
            e.estimates.length, e.estimates.departure_azimuth, e.estimates.arrival_azimuth
        ),
        echoes, shifted,
    )  # fmt: skip
    unknown = tuple(n for n, v in (("clock", clock), ("heading", heading)) if v)
    places = Places(np.asarray(targets.position), targets, None, ANGLE, DELAY)
    return Locate(reports, echoes, height, unknown), places


def city(sizes: Sizes, **what: float) -> tuple[Locate, Places]:
    """Take the packaged city: ray-traced users, and targets without line of sight.

    Args:
        sizes: ``reports`` and ``targets``.
        what: What is wrong with the echoes, as in `_heard`.
    """
    sample = load_sample()
    targets = evenly(sample.targets, sizes["targets"])
    height = float(targets.position[0, 2])
    return _heard(evenly(sample.reports, sizes["reports"]), targets, height, **what)


@functools.lru_cache(maxsize=1)
def _town() -> tuple[Any, np.ndarray, list[list[tuple[float, float]]]]:
    """Build 24 houses around a square, no street quite straight; the station is on a mast there."""
    rng = np.random.default_rng(_SEED)
    houses = []
    for i, j in np.ndindex(5, 5):
        if (i, j) != (2, 2):
            (wide, deep), (x, y) = rng.uniform(24, 40, 2), rng.uniform(0, 8, 2)
            houses.append(box(-130 + 56 * i + x, -130 + 56 * j + y, wide, deep))
    return buildings(houses, 18.0, ground=400.0), turned(0.0, 2.0, 9.0), houses


def _outdoors(count: int, seed: int, houses: list) -> np.ndarray:
    """Draw places that are in no house [m], in the plane."""
    rng = np.random.default_rng([_SEED, seed])
    place = rng.uniform(-90.0, 90.0, (3 * count, 2))
    inside = np.zeros(len(place), bool)
    for corner in houses:
        low, high = np.min(corner, axis=0) - 0.3, np.max(corner, axis=0) + 0.3
        inside |= np.all((place > low) & (place < high), axis=1)
    return (place[~inside] @ TURN.T)[:count]


def _traced_reports(place: np.ndarray, listed: int = 12) -> Reports:
    """Report the exact strongest paths at places in the town, by images in its walls."""
    mesh, station, _ = _town()
    found = trace(mesh, station, place, CARRIER, tree=build_tree(mesh), rays=40_000, depth=3)
    path, power = lay_out(found.place, *measured_paths(found, station, place), len(place), 40.0)
    path, power = path[:, :listed], power[:, :listed]
    valid, count = power > 0, len(place)
    estimates = PathEstimates(
        departure_azimuth=path[..., 3], departure_zenith=path[..., 4],
        arrival_azimuth=path[..., 1], arrival_zenith=path[..., 2],
        length=path[..., 0], power=power, valid=valid,
    )  # fmt: skip
    return Reports(
        estimates=estimates, position=place, position_std=np.zeros(count), time=np.zeros(count),
        report=np.arange(count), station_index=np.zeros(count, int), station_position=station[None],
        station=("mast",),
    )  # fmt: skip


def town(sizes: Sizes, heights: tuple[float, float] | None = None) -> tuple[Locate, Places]:
    """Make a town whose paths are images in its walls, of up to three reflections.

    Args:
        sizes: ``reports`` and ``targets``.
        heights: Where targets are; as high as the users, who are at 1.5 m, if not given [m].
    """
    houses = _town()[2]
    users = np.insert(_outdoors(sizes["reports"], 1, houses), 2, 1.5, axis=1)
    places = _outdoors(8 * sizes["targets"], 2, houses)
    height = np.full(len(places), 1.5)
    if heights is not None:
        height = np.random.default_rng([_SEED, 3]).uniform(*heights, len(places))
    targets = _traced_reports(np.column_stack([places, height]))
    away = np.linalg.norm(targets.position - targets.station_position[0], axis=1)
    paths = targets.estimates
    direct = np.any(paths.valid & (np.abs(paths.length - away[:, None]) < 1e-6), axis=1)
    hidden = np.flatnonzero(~direct & (paths.valid.sum(axis=1) >= 3))[: sizes["targets"]]
    known = 1.5 if heights is None else (0.5, heights[1] + 2.0)
    return _heard(_traced_reports(users), targets[hidden], known)


def square(sizes: Sizes) -> tuple[Locate, Places]:
    """Make the paper's square of eight scatterers; echoes are known by their pair of paths.

    Args:
        sizes: ``reports`` and ``targets``.
    """
    layout = make_layout(0, users=sizes["reports"], targets=sizes["targets"], seed=_SEED)
    echoes = echoes_of(
        layout.targets, angle_std=PAPER_ANGLE, delay_std=PAPER_DELAY, seed=_SEED
    )  # fmt: skip
    targets = layout.targets
    paths = PathEstimates(
        departure_azimuth=targets.azimuth, length=targets.length, power=targets.power,
        departure_zenith=np.full_like(targets.azimuth, np.pi / 2),
        departure_zenith_std=np.full_like(targets.azimuth, np.inf),
    )  # fmt: skip
    places = Places(
        targets.position, reports_of_paths(layout.site, targets.position, paths),
        exact_map(layout, min(1000, sizes["reports"])), PAPER_ANGLE, PAPER_DELAY,
    )  # fmt: skip
    return Locate(reports_of(layout, sizes["reports"]), echoes, 0.0), places


def room(sizes: Sizes) -> tuple[Locate, Places]:
    """Make a furnished room and a sounder carried through it; every fourth pose is to be found.

    Args:
        sizes: ``poses``.
    """
    reports = make_campaign(_SEED, poses=sizes["poses"], step=0.4, sounder=Sounder()).reports
    reports.mark_judged()  # the sounder's errors are meant
    wanted = np.arange(len(reports.report)) % 4 == 3
    own = reports[wanted]
    height = float(reports.position[0, 2])
    return Locate(reports[~wanted], own.estimates, height), Places(own.position, own)


def voxels(sizes: Sizes, **what: Any) -> tuple[Image, Voxels]:
    """Make a box of voxels that hide each other, with everything stated as it is.

    Args:
        sizes: What differs from the study's standard world.
        what: Likewise.
    """
    world = make_world({**sizes, **what, "seed": 9000 + _SEED})
    place = world.grid.centre_of(np.flatnonzero(world.truth.coefficient))
    seen = world.truth.in_range[world.truth.coefficient != 0]
    return Image(world.snapshots, world.grid), Voxels(world.truth, place, seen, False)


def field(sizes: Sizes, **what: Any) -> tuple[Image, Voxels]:
    """Make a box of voxels as a laboratory has it: phases unknown, users where they are not.

    Args:
        sizes: What differs from the study's world of the field.
        what: Likewise.
    """
    world = make_field_world({**sizes, **what, "seed": 9000 + _SEED})
    bodies = what.get("body", "points") != "points"
    problem = Image(world.snapshots, world.grid, world.unknown, bodies)
    return problem, Voxels(world.truth, world.place, world.in_range, not bodies)


def _observed(route: Route, sizes: Sizes, missed: float, false: float):
    part = slice(sizes.get("begin", 0), sizes.get("begin", 0) + sizes["instants"])
    names = ("time", "position", "velocity", "path", "power")
    cut = {name: getattr(route, name)[part] for name in names}
    route = Route(station=route.station, **cut)
    rng = np.random.default_rng(_SEED)
    return route, observe_route(route, rng, missed=missed, false=false)


def walk(sizes: Sizes, scene: str, motion: str = "pedestrian") -> tuple[Track, Walk]:
    """Make a walk, a drive or a flight whose paths are images in walls.

    Args:
        sizes: ``instants``, at 10 a second, and the one to ``begin`` with, 0 if not given.
        scene: "city", the packaged one, or one of `isac_channel.walks.SCENES`.
        motion: How the user moves.
    """
    if scene == "city":
        whole = sample_route((sizes.get("begin", 0) + sizes["instants"]) / 10)[0]
        route, seen = _observed(whole, sizes, 0.1, 0.05)
    else:
        route, seen = _observed(scene_route(scene), sizes, 0.05, 0.02)
    problem = Track(seen, route.station, route.position[0], route.velocity[0], motion)
    return problem, Walk(route.time, route.position, route.path, route.power)


def statistics(sizes: Sizes) -> tuple[Spread, Any]:
    """Walk through the packaged city and ask how widely the true channel spreads.

    Args:
        sizes: ``instants``, at 10 a second.
    """
    route, seen = _observed(sample_route(sizes["instants"] / 10)[0], sizes, 0.1, 0.05)
    direct = np.linalg.norm(route.position - route.station, axis=1)
    sight = np.abs(route.path[:, :, 0] - direct[:, None]).min(axis=1) < 0.01
    problem = Spread(seen, route.station, route.position, route.velocity[0], sight, CARRIER)
    return problem, spreads_over_time(route.path, route.power)


def samples(sizes: Sizes, snr_db: float) -> tuple[Estimate, Tones]:
    """Sample the echoes of targets in the square, along all pairs of a few paths.

    Args:
        sizes: ``elements`` of each array, ``subcarriers``, ``targets`` and ``listed`` paths.
        snr_db: Integrated ratio of each echo [dB].
    """
    site = square_world(jax.random.key(_SEED), elements=sizes["elements"])
    rng = np.random.default_rng(_SEED)
    place = np.c_[rng.uniform(0.0, 100.0, (sizes["targets"], 2)), np.zeros(sizes["targets"])]
    band, listed = 100e6, sizes["listed"]
    snapshots, truth = equal_echoes(
        site, Waveform(sizes["subcarriers"], band / sizes["subcarriers"]), place, listed=listed,
        snr_db=snr_db, key=jax.random.key(_SEED),
    )  # fmt: skip
    out, back = np.divmod(np.arange(listed**2), listed)
    value = []
    for _, paths in truth:
        azimuth, delay = np.asarray(paths.departure_azimuth), np.asarray(paths.delay)
        value.append(np.stack([azimuth[out], azimuth[back], delay[out] + delay[back]], axis=-1))
    cell = np.array([2.0 / sizes["elements"], 2.0 / sizes["elements"], 1.0 / band])
    return Estimate(snapshots), Tones(np.array(value), cell)
