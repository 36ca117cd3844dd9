"""A small indoor measurement campaign as a sounder would deliver it, with the truth beside it.

A room with inner walls and cabinets, one station, a user carried through it by half a metre at a
time.  Paths are exact images (`propagation.wall_images`); the sounder adds errors of length and
angle, misses some paths and invents others, and lists the strongest.

Takes the room's seed and the sounder's errors.
Gives a `Campaign`: reports in the site's frame, and which poses no direct path reaches.
"""

import math
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from echoscape.propagation import Paths
from echoscape.propagation.ray_cast import build_tree
from echoscape.propagation.wall_images import trace
from echoscape.reports import Reports
from echoscape.scene.mesh import Mesh, make_mesh
from echoscape.units import wrap_angle

CARRIER = 60e9
"""Carrier of the sounder [Hz]."""
_HEIGHT = 3.0  # of the walls [m]
_LEVEL = 1.5  # of both antennas [m]


class Sounder(eqx.Module):
    """How well the sounder measures."""

    length_std: float = eqx.field(default=0.15, static=True)
    """Error of a path's length [m]."""
    angle_std: float = eqx.field(default=math.radians(3.0), static=True)
    """Error of each angle [rad]."""
    missed: float = eqx.field(default=0.15, static=True)
    """Share of the paths that are not found."""
    false: float = eqx.field(default=0.6, static=True)
    """Mean number of false paths at a pose."""
    listed: int = eqx.field(default=8, static=True)
    """Most paths of a pose."""


class Campaign(NamedTuple):
    """Reports of every pose, and what is true of it."""

    reports: Reports
    """One report a pose."""
    obstructed: Bool[np.ndarray, " report"]
    """Whether no direct path reaches the pose."""
    mesh: Mesh
    """The walls."""


def room_mesh(rng: np.random.Generator) -> Mesh:
    """Build a room of some 12 m by 8 m, no corner quite square, with a wall and cabinets in it."""
    east, north = 12.0 + rng.uniform(-1, 1), 8.0 + rng.uniform(-0.7, 0.7)
    lean = rng.uniform(-0.15, 0.15, 2)
    corner = [(0.0, 0.0), (east, lean[0]), (east, north), (0.0, north + lean[1])]
    walls = [(corner[k], corner[(k + 1) % 4]) for k in range(4)]
    middle = 0.5 * east + rng.uniform(-0.8, 0.8)
    walls.append(((middle, 0.0), (middle + rng.uniform(-0.2, 0.2), 0.5 * north)))
    for _ in range(3):  # cabinets along the walls and free
        x, y = rng.uniform(1.0, east - 2.0), rng.choice([0.6, 0.5 * north, north - 1.1])
        a, b, turn = rng.uniform(0.6, 1.6), 0.5, rng.uniform(-0.3, 0.3)
        c, s = math.cos(turn), math.sin(turn)
        box = [(x + c * u - s * v, y + s * u + c * v) for u, v in ((0, 0), (a, 0), (a, b), (0, b))]
        walls += [(box[k], box[(k + 1) % 4]) for k in range(4)]
    vertex, face = [], []
    for (x0, y0), (x1, y1) in walls:
        first = len(vertex)
        vertex += [(x0, y0, 0), (x1, y1, 0), (x1, y1, _HEIGHT), (x0, y0, _HEIGHT)]
        face += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    return make_mesh(np.array(vertex, float), np.array(face))


def make_campaign(
    seed: int = 0, *, poses: int = 45, step: float = 0.5, sounder: Sounder | None = None
) -> Campaign:
    """Carry a user through a room and measure its paths at every pose.

    Args:
        seed: Decides the room, the poses and every error.
        poses: Most poses.
        step: Distance between neighbouring poses [m].
        sounder: Its errors.
    """
    sounder = sounder or Sounder()
    rng = np.random.default_rng(seed)
    mesh = room_mesh(rng)
    high = mesh.vertex[:, :2].max(axis=0)
    station = np.array([1.2 + rng.uniform(0, 0.5), 1.2 + rng.uniform(0, 0.8), _LEVEL])
    place = _walk(mesh, high, poses, step, rng)
    tree = build_tree(mesh)
    paths = trace(mesh, station, place, CARRIER, tree=tree, rays=20_000, depth=3)
    count = len(place)
    obstructed = np.ones(count, bool)
    obstructed[paths.place[paths.bounces == 0]] = False
    width = sounder.listed
    shape = (count, width)
    columns = {name: np.zeros(shape) for name in ("out", "back", "length", "power")}
    valid = np.zeros(shape, bool)
    for k in range(count):
        mine = np.flatnonzero((paths.place == k) & (rng.random(len(paths.place)) > sounder.missed))
        power = np.abs(paths.gain[mine]) ** 2
        mine = mine[np.argsort(-power)][:width]
        out = _azimuth(paths.first[mine] - station)
        back = _azimuth(paths.last[mine] - place[k])
        length = paths.length[mine]
        power = np.abs(paths.gain[mine]) ** 2
        false = rng.poisson(sounder.false) if len(mine) else 0
        extra = np.sort(rng.uniform(2.0, 30.0, false))
        row = {
            "out": np.r_[out, rng.uniform(-math.pi, math.pi, false)],
            "back": np.r_[back, rng.uniform(-math.pi, math.pi, false)],
            "length": np.r_[length, extra],
            "power": np.r_[power, np.full(false, 1e-10)]
            * 10 ** (0.2 * rng.normal(size=len(power) + false)),
        }
        order = np.argsort(-row["power"])[:width]
        valid[k, : len(order)] = True
        for name, values in row.items():
            columns[name][k, : len(order)] = values[order]

    def angle(name: str) -> Float[np.ndarray, "report path"]:
        noisy = wrap_angle(columns[name] + sounder.angle_std * rng.normal(size=shape))
        return np.where(valid, noisy, 0.0)

    length = np.abs(columns["length"] + sounder.length_std * rng.normal(size=shape))
    level, unmeasured = np.full(shape, 0.5 * math.pi), np.full(shape, np.inf)
    std = np.full(shape, sounder.angle_std)
    estimates = Paths(
        departure_azimuth=angle("out"),
        departure_zenith=level,
        arrival_azimuth=angle("back"),
        arrival_zenith=level,
        length=np.where(valid, length, 0.0),
        power=np.where(valid, columns["power"], 0.0),
        departure_azimuth_std=std,
        departure_zenith_std=unmeasured,
        arrival_azimuth_std=std,
        arrival_zenith_std=unmeasured,
        length_std=np.full(shape, sounder.length_std),
        valid=valid,
    )
    reports = Reports(
        estimates=estimates, position=place, position_std=np.zeros(count),
        time=np.arange(float(count)),
        report=np.arange(count), station_index=np.zeros(count, int),
        station_position=station[None], station=("bs",),
    )  # fmt: skip
    return Campaign(reports, obstructed, mesh)


def _azimuth(away: Float[np.ndarray, "path 3"]) -> Float[np.ndarray, " path"]:
    return np.arctan2(away[:, 1], away[:, 0])


def _walk(mesh: Mesh, high, poses: int, step: float, rng) -> Float[np.ndarray, "pose 3"]:
    """Go to and fro through the far part of the room, leaving out places inside furniture."""
    start = 0.3 * high[0]
    lines = np.arange(0.9 + rng.uniform(0, 0.3), high[1] - 0.6, 2.0 * step)
    along = np.arange(start, high[0] - 0.6, step)
    place = []
    for k, y in enumerate(lines):
        for x in along if k % 2 == 0 else along[::-1]:
            place.append((x, y, _LEVEL))
    place = np.array(place)
    corner = mesh.triangle[:, :, :2]
    gap = np.linalg.norm(corner.mean(axis=1)[None] - place[:, None, :2], axis=-1).min(axis=1)
    place = place[gap > 0.45]
    first = rng.integers(0, max(1, len(place) - poses))
    return place[first : first + poses]
