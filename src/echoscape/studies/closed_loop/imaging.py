"""Study part `imaging`: a map that begins with what an image of the surroundings shows.

A handful of users send pilots to four stations, which image the voxels about them; the points of
the image are the scatterers of one station's map, before any user reports a path.  Later reports
confirm and refine them.  Targets stand at other places; their echoes come unordered.

Takes a setting.
Gives rows: one for every start of a map.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from echoscape.channel_map import ChannelMap, Scatterers, fit_map
from echoscape.channel_map.scatterers.map import map_of_points
from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.imaging import image
from echoscape.imaging.simulation import open_segments
from echoscape.localization import FixStatus, localize
from echoscape.reports import Reports
from echoscape.reports.echo_making import make_echoes
from echoscape.scene import StaticPoints
from echoscape.studies.nlos_ckm.square import summary
from echoscape.studies.occlusion_imaging.field_world import FieldWorld, make_field_world
from echoscape.studies.occlusion_imaging.world import CARRIER
from echoscape.studies.sweep import Row, Setting
from echoscape.units import wavelength_of, wrap_angle

ANGLE, LENGTH = 0.01, 0.05
"""Errors of reported angles [rad] and lengths [m]."""
FADING = 0.3
"""Deviation of the logarithm of every path's power, of reports and targets [1]."""
_ECHO_ANGLE, _ECHO_DELAY = 0.02, 0.5e-9
HEIGHT = 1.5
"""Of users who report and of targets [m]."""
_STATION = "bs-1"


class Yard(NamedTuple):
    """Scatterers, and users and targets among them."""

    world: FieldWorld
    """What was sent to be imaged, and what is true."""
    station: Float[np.ndarray, "3"]
    """The station whose map is wanted [m]."""
    reports: Reports
    """Users who report, one after the other."""
    targets: Reports
    """Targets, by the exact paths that a user in their place would have."""


def points(quick: bool, seed: int = 0) -> list[Setting]:
    """List numbers of reports.

    Args:
        quick: One world and few targets.
        seed: Seed of the first world.
    """
    counts = (0, 10) if quick else (0, 1, 3, 10, 30, 100)
    return [
        {"part": "imaging", "reports": count, "targets": 8 if quick else 60, "seed": seed + world}
        for world in range(1 if quick else 3)
        for count in counts
    ]


def measure(setting: Setting) -> list[Row]:
    """Fit one station's map with each start and locate all targets."""
    yard = make_yard(setting["seed"], setting["reports"], setting["targets"])
    seen = image(yard.world.snapshots, yard.world.grid, unknown=yard.world.unknown)
    echoes = make_echoes(
        yard.targets, jax.random.key(setting["seed"]), angle_std=_ECHO_ANGLE,
        delay_std=_ECHO_DELAY,
    ).echoes  # fmt: skip
    rows: list[Row] = []
    for method, found in (("no start", None), ("image", seen.static_points())):
        try:
            channel_map = _map(yard, found)
        except InputError:
            rows.append({"method": method, "status": "no map"})
            continue
        fix = localize(echoes, channel_map, height=HEIGHT)
        error = np.linalg.norm((fix.best - yard.targets.position)[:, :2], axis=1)
        rows.append({"method": method, "scatterers": len(channel_map.static_points())})
        located = fix.status == FixStatus.LOCATED
        rows[-1] |= {"located": float(located.mean())} | summary(error)
    return rows


def _map(yard: Yard, start: StaticPoints | None) -> ChannelMap:
    """Fit a map, or make it of points alone where nobody reported."""
    if len(yard.reports.position):
        return fit_map(yard.reports, Scatterers(position_jitter=0.1), start=start)
    if start is None:
        raise InputError("a map needs reports or points; got neither")
    return map_of_points(start, _STATION, yard.station, yard.world.user)


def make_yard(seed: int, reports: int, targets: int) -> Yard:
    """Make a world; more users are the same users and more.

    Args:
        seed: Of everything random.
        reports: How many users report.
        targets: How many targets.
    """
    world = make_field_world({"tones": 8, "off_grid": 0.5, "link_phase": True, "user_error": 0.01,
                              "seed": seed})  # fmt: skip
    station = world.snapshots.antenna_position[0].mean(axis=0)
    low, high = (
        np.r_[np.asarray(end)[:2], HEIGHT] for end in (world.grid.origin, world.grid.upper)
    )
    draw = lambda k, count: np.random.default_rng([seed, k]).uniform(low, high, (count, 3))  # noqa: E731
    return Yard(
        world, station, _reports(world, station, draw(0, reports), [seed, 2]),
        _reports(world, station, draw(1, targets), [seed, 3], exact=True),
    )  # fmt: skip


def _reports(world: FieldWorld, station, place, seed: list[int], exact: bool = False) -> Reports:
    """Report the paths that bounce once off what both ends see, with errors unless exact."""
    rng = np.random.default_rng(seed)
    occupied = np.flatnonzero(world.truth.coefficient)
    view = np.concatenate([station[None], place])
    seen = open_segments(world.grid, view, occupied, 0.5 * world.grid.edge)[:, occupied]
    out, back = world.place - station, world.place[None] - place[:, None]
    first, second = np.linalg.norm(out, axis=1), np.linalg.norm(back, axis=2)
    reach = world.truth.coefficient[occupied] * (wavelength_of(CARRIER) / (4 * np.pi)) ** 2
    valid = seen[0] & seen[1:]
    fading = np.exp(FADING * rng.normal(size=valid.shape))
    power = np.where(valid, fading * (reach / (first * second)) ** 2, 0.0)
    one = np.ones_like(power)
    path = {
        "departure_azimuth": np.arctan2(out[:, 1], out[:, 0]) * one,
        "departure_zenith": np.arccos(out[:, 2] / first) * one,
        "length": first + second,
    }
    stated = {}
    if not exact:
        for name, std in zip(path, (ANGLE, ANGLE, LENGTH)):
            path[name] = path[name] + std * rng.normal(size=(len(place), len(occupied)))
            stated[f"{name}_std"] = std * one
        path["departure_azimuth"] = wrap_angle(path["departure_azimuth"])
    order = np.argsort(-power, axis=1, kind="stable")
    take = lambda leaf: np.take_along_axis(leaf, order, 1)  # noqa: E731
    estimates = PathEstimates(
        **{name: np.where(take(valid), take(leaf), 0.0) for name, leaf in path.items()},
        **{name: take(leaf) for name, leaf in stated.items()},
        power=take(power), valid=take(valid),
    )  # fmt: skip
    count = len(place)
    reports = Reports(
        estimates, place, np.zeros(count), np.zeros(count), np.arange(count),
        np.zeros(count, int), station[None], (_STATION,),
    )  # fmt: skip
    reports.mark_judged()  # bounces beside the straight line are taken for it
    return reports
