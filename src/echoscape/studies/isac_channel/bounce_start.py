"""First bounces where a walk's paths leave the station, from its own echoes: figure 3 of the paper.

The joint start of [isac-gbsm], section II-B, meets every path's departure with what the station
hears of its own pulse; beside it stands a ray through the exact mesh along the same departure, and
beside both what one echo at the true point would be off.

Takes a walk's truth and the walls, or the points that the station hears.
Gives rows: shares within the error of an echo and within the claimed one, and distances.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.checks import InputError
from echoscape.propagation.ray_cast import BoxTree
from echoscape.studies.isac_channel.truth import Truth
from echoscape.tracking.bounce import seen_points
from echoscape.tracking.echo_surface import StationEchoes, unit_vectors
from echoscape.tracking.joint_start import BounceClass, joint_start
from echoscape.tracking.joint_start_file import read_station_echoes
from echoscape.units import delay_of, wrap_angle

ANGLE_STD, RANGE_STD = np.radians(0.5), 0.15
"""Errors of the station's echoes [rad, m]."""
PATH_STD = np.array([0.3, *np.radians([1.0, 1.0, 0.5, 0.5])])
"""Errors of a path's length, arrival and departure [m, rad]."""
INSIDE_95 = 7.815
"""Of three squared normal numbers 95 % lie below."""
_RAYS = 20_000


@dataclasses.dataclass(frozen=True)
class Starts:
    """Bounces at the start of paths that bounced, several instants together."""

    station: Float[np.ndarray, "3"]
    """Where the station is [m]."""
    user: Float[np.ndarray, "path 3"]
    """Where the user was [m]."""
    heard: Float[np.ndarray, "echo 3"]
    """Where the station's echoes say that there are surfaces [m]."""
    bounces: Int[np.ndarray, " path"]
    """How often each path bounced, in truth."""
    exact: Float[np.ndarray, "path 3"]
    """First bounce, in truth [m]."""
    first: dict[str, Float[np.ndarray, "path 3"]]
    """First bounce by each way to start; NaN where there is none [m]."""
    claimed: Bool[np.ndarray, " path"]
    """Whether the first way's error lies in the ellipsoid that it claims for 95 %."""
    class_right: float
    """Share of all paths, direct ones too, whose class is right."""
    class_claimed: float
    """What the classes claim of that."""


def hear(
    points: Float[np.ndarray, "echo 3"], station: Float[np.ndarray, "3"], rng: np.random.Generator
) -> StationEchoes:
    """Measure surfaces as a station hears them back, with its errors.

    Args:
        points: Where they are [m].
        station: Where the station is [m].
        rng: Random numbers.
    """
    out = points - station
    away = np.linalg.norm(out, axis=1)
    azimuth, zenith, reach = rng.normal(size=(3, len(away)))
    one = np.ones(len(away))
    return StationEchoes(
        azimuth=wrap_angle(np.arctan2(out[:, 1], out[:, 0]) + ANGLE_STD * azimuth),
        zenith=np.clip(np.arccos(np.clip(out[:, 2] / away, -1, 1)) + ANGLE_STD * zenith, 0, np.pi),
        range=np.maximum(away + RANGE_STD * reach, RANGE_STD),
        angle_std=ANGLE_STD * one,
        range_std=RANGE_STD * one,
    )


def read_heard(path: str | Path, station: Float[np.ndarray, "3"]) -> Float[np.ndarray, "echo 3"]:
    """Read the points that a ray tracer says the station hears back [m].

    Args:
        path: An ``.npz`` file of `point` and `range_m`.
        station: Where the station is [m].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be used, or its points are of another station.
    """
    if Path(path).suffix != ".npz":
        raise InputError(
            f"the study puts errors on echoes itself and needs exact points, an .npz of point and "
            f"range_m; got {path}"
        )
    both_ways = float(delay_of(2 * RANGE_STD))
    exact = read_station_echoes(path, np.asarray(station, float), ANGLE_STD, both_ways)
    return _points(exact, np.asarray(station, float))


def _points(echoes: StationEchoes, station: np.ndarray) -> np.ndarray:
    return station + echoes.range[:, None] * unit_vectors(echoes.azimuth, echoes.zenith)


def surfaces_around(tree: BoxTree, station: Float[np.ndarray, "3"]) -> Float[np.ndarray, "echo 3"]:
    """Find what rays from a station meet first, spread evenly over all directions [m].

    Args:
        tree: Walls.
        station: Where the station is [m].
    """
    k = np.arange(_RAYS) + 0.5
    azimuth, zenith = wrap_angle(np.pi * (3 - np.sqrt(5)) * k), np.arccos(1 - 2 * k / _RAYS)
    points = seen_points(tree, np.broadcast_to(station, (_RAYS, 3)), azimuth, zenith)
    return points[np.isfinite(points).all(axis=1)]


def place_starts(
    truth: Truth,
    points: Float[np.ndarray, "echo 3"],
    tree: BoxTree | None = None,
    instants: int = 24,
    seed: int = 0,
) -> Starts:
    """Start at several instants of a walk as if each were the first.

    Args:
        truth: The walk.
        points: What the station hears, without error [m].
        tree: Walls, for the start along a ray.
        instants: How many, evenly over the walk.
        seed: Of the errors.

    Raises:
        InputError: No path of these instants bounces.
    """
    rng = np.random.default_rng(seed)
    route, station = truth.route, np.asarray(truth.route.station, float)
    echoes = hear(points, station, rng)
    chosen = np.unique(np.linspace(0, len(route.time) - 1, instants).astype(int))
    instant, slot = np.nonzero(route.power[chosen] > 0)
    instant = chosen[instant]
    bounces, exact = truth.bounces[instant, slot], truth.first[instant, slot]
    measured = route.path[instant, slot]
    measured = measured + PATH_STD * rng.normal(size=measured.shape)
    std, user = np.tile(PATH_STD, (len(measured), 1)), route.position[instant]
    found = joint_start(echoes, measured, std, station, user)
    bounced = bounces > 0
    if not bounced.any():
        raise InputError("no path bounces at the instants looked at; a start needs some that do")
    first = {"echoes": found.first[bounced]}
    if tree is not None:
        rays = np.broadcast_to(station, (bounced.sum(), 3))
        first["mesh"] = seen_points(tree, rays, *measured[bounced, 3:].T)
    apart = np.nan_to_num(found.first - exact, nan=1e3)
    covariance = np.where(np.isfinite(found.first_covariance), found.first_covariance, np.eye(3))
    squared = np.sum(apart * np.linalg.solve(covariance, apart[..., None])[..., 0], axis=1)
    return Starts(
        station=station,
        user=user[bounced],
        heard=_points(echoes, station),
        bounces=bounces[bounced],
        exact=exact[bounced],
        first=first,
        claimed=squared[bounced] < INSIDE_95,
        class_right=float(np.mean(np.minimum(bounces, BounceClass.SEVERAL) == found.kind)),
        class_claimed=float(1 - found.class_error.mean()),
    )


def echo_distance(starts: Starts, name: str) -> Float[np.ndarray, " path"]:
    """Measure how far a start is off in the errors of one echo of the same point, squared [1].

    Args:
        starts: Some starts.
        name: Which way to start.
    """
    out = starts.exact - starts.station
    away = np.linalg.norm(out, axis=1)
    wrong = np.nan_to_num(starts.first[name] - starts.exact, nan=1e3)
    along = np.sum(wrong * out, axis=1) / away
    across = np.linalg.norm(wrong - along[:, None] * out / away[:, None], axis=1)
    return (along / RANGE_STD) ** 2 + (across / (away * ANGLE_STD)) ** 2


def start_rows(starts: Starts, seed: int = 0) -> list[dict[str, Any]]:
    """Give a row for each way to start and number of bounces, and of all together (0).

    Args:
        starts: Some starts.
        seed: Of their errors, for the rows.
    """
    rows = []
    for name, first in starts.first.items():
        inside = echo_distance(starts, name) < INSIDE_95
        away = np.linalg.norm(np.nan_to_num(first - starts.exact, nan=1e3), axis=1)
        for bounces in (0, *np.unique(starts.bounces)):
            part = starts.bounces == bounces if bounces else np.ones(len(inside), bool)
            row = {
                "start": name,
                "bounces": int(bounces),
                "paths": int(part.sum()),
                "within_echo": float(inside[part].mean()),
                "median": float(np.median(away[part])),
                "p90": float(np.quantile(away[part], 0.9)),
                "seed": seed,
                "status": "ok",
            }
            if name == "echoes":
                row["within_claimed"] = float(starts.claimed[part].mean())
                if not bounces:
                    row |= {"class_right": starts.class_right}
                    row |= {"class_claimed": starts.class_claimed}
            rows.append(row)
    return rows
