"""Worlds of voxels as a laboratory has them: what is stated of them is not what is true.

Boxes of 10 x 10 x 6 voxels of 1 m at 28 GHz with four stations of 4 x 4 antennas and ten users, all
as in `world`; then users' positions, phases, gains and clocks, the stations' phases and the noise
are stated wrong, scatterers stand off the grid or form bodies, and waves also come by a mirror.

Takes a setting: plain values, its seed among them.
Gives a `FieldWorld`, and scores of an image of it.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from echoscape.imaging.simulation import Truth, random_users, simulate
from echoscape.imaging.snapshots import Snapshots
from echoscape.imaging.voxel_image import VoxelImage
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.scene.voxel_shapes import box_voxels, random_voxels
from echoscape.studies.occlusion_imaging.world import CARRIER, arrays
from echoscape.units import from_db, length_of, wavenumber_of

FIELD: dict[str, Any] = {
    "stations": 4,
    "users": 10,
    "scatterers": 16,
    "snr_db": 20.0,
    "shape": (10, 10, 6),
    "body": "points",
    "tones": 1,
    "bandwidth": 400e6,
    "off_grid": 0.0,
    "user_error": 0.0,
    "user_phase": False,
    "user_gain_db": 0.0,
    "clock_error": 0.0,
    "station_phase": False,
    "link_phase": False,
    "mirror_db": None,
    "noise_factor": 1.0,
}
"""What a setting leaves out: lengths in m (`off_grid` the largest along each axis, `user_error` a
standard deviation along each axis, stated as such), clocks in s; a `noise_factor` of nothing leaves
the noise out."""


_WIDE: dict[str, Any] = {"tones": 8, "off_grid": 0.5, "link_phase": True}
_BODY: dict[str, Any] = {"tones": 8, "link_phase": True}
POINTS: dict[str, dict[str, Any]] = {
    "one tone, users exact": {},
    "one tone, users 1 mm": {"user_error": 1e-3},
    "one tone, users' phases": {"user_phase": True},
    "one tone, users' phases, 1 cm": {"user_phase": True, "user_error": 0.01},
    "one tone, users' phases, 3 cm": {"user_phase": True, "user_error": 0.03},
    "one tone, users' gains 6 dB, phases, 1 cm": {
        "user_gain_db": 6.0, "user_phase": True, "user_error": 0.01,
    },
    "8 tones, users 1 cm": {**_WIDE, "user_error": 0.01},
    "8 tones, users 10 cm": {**_WIDE, "user_error": 0.1},
    "8 tones, users 30 cm": {**_WIDE, "user_error": 0.3},
    "8 tones, users 1 m": {**_WIDE, "user_error": 1.0},
    "8 tones, users' clocks 1 ns": {**_WIDE, "clock_error": 1e-9},
    "8 tones, stations' phases, users 1 cm": {
        **_WIDE, "station_phase": True, "user_error": 0.01,
    },
    "8 tones, mirror -20 dB, users 10 cm": {**_WIDE, "mirror_db": -20.0, "user_error": 0.1},
    "8 tones, noise stated -10 dB, users 10 cm": {
        **_WIDE, "noise_factor": 0.1, "user_error": 0.1,
    },
    "8 tones, noise stated +10 dB, users 10 cm": {
        **_WIDE, "noise_factor": 10.0, "user_error": 0.1,
    },
    "8 tones, noise not stated, users 10 cm": {**_WIDE, "noise_factor": None, "user_error": 0.1},
    "8 tones, boxes": {**_BODY, "body": "box"},
    "8 tones, boxes, users 10 cm": {**_BODY, "body": "box", "user_error": 0.1},
    "8 tones, walls": {**_BODY, "body": "wall"},
    "8 tones, hollow boxes": {**_BODY, "body": "hollow"},
    "8 tones, 16 x 16 x 8, 40 points, users 10 cm": {
        **_WIDE, "shape": [16, 16, 8], "users": 12, "stations": 5, "scatterers": 40,
        "user_error": 0.1,
    },
}  # fmt: skip
"""Points of the study, each by how it differs from `FIELD`."""


class FieldWorld(NamedTuple):
    """A scene, what was received and stated of it, and what is true."""

    grid: VoxelGrid
    """The voxels."""
    snapshots: Snapshots
    """What was received, and what is stated."""
    truth: Truth
    """What stands where, and who sees what."""
    place: Float[np.ndarray, "scatterer 3"]
    """Where every scatterer is [m]."""
    in_range: Bool[np.ndarray, " scatterer"]
    """Whether a user and a station see it."""
    user: Float[np.ndarray, "user 3"]
    """Where the users are [m]."""
    unknown: tuple[str, ...]
    """What is not known and cannot be stated as a deviation."""


def occupied_voxels(grid: VoxelGrid, setting: dict[str, Any], generator: np.random.Generator):
    """Choose what stands in the grid: points, or two bodies of a kind at random places."""
    body = setting["body"]
    if body == "points":
        return random_voxels(grid, setting["scatterers"], generator)
    found = []
    for turned in (False, True):
        size = {"box": (3, 2, 3), "wall": (5, 1, 4), "hollow": (4, 4, 3), "corner": (4, 4, 3)}[body]
        size = np.array((size[1], size[0], size[2]) if turned else size)
        low = generator.integers(0, np.array(grid.shape) - size + 1)
        lower = np.asarray(grid.origin) + grid.edge * low
        whole = box_voxels(grid, lower, lower + grid.edge * size)
        if body == "hollow":
            inside = box_voxels(grid, lower + grid.edge, lower + grid.edge * (size - 1))
            whole = np.setdiff1d(whole, inside)
        if body == "corner":
            open_part = box_voxels(
                grid, lower + np.array([grid.edge, grid.edge, 0]), lower + grid.edge * size
            )
            whole = np.setdiff1d(whole, open_part)
        found.append(whole)
    return np.unique(np.concatenate(found))


def make_field_world(setting: dict[str, Any]) -> FieldWorld:
    """Make the world of a setting; the same setting makes the same world."""
    setting = FIELD | setting
    grid = VoxelGrid((0.0, 0.0, 0.0), tuple(setting["shape"]), 1.0)
    generator = np.random.default_rng([setting["seed"], 22])
    index = occupied_voxels(grid, setting, generator)
    coefficient = np.zeros(grid.voxels)
    coefficient[index] = generator.uniform(0.2, 1.0, len(index))
    users = random_users(grid, index, setting["users"], generator)
    antennas = arrays(grid, setting["stations"], generator)
    tones, off = setting["tones"], setting["off_grid"]
    frequency = CARRIER + setting["bandwidth"] * ((np.arange(tones) + 0.5) / tones - 0.5)
    offset = generator.uniform(-off, off, (grid.voxels, 3))

    def made(where, snr, seed):
        return simulate(
            grid, coefficient, where, antennas, frequency, snr=snr, seed=seed,
            random_phase=setting["link_phase"], offset=offset if off else None,
        )  # fmt: skip

    snapshots, truth = made(users, float(from_db(setting["snr_db"])), setting["seed"])
    pilots, received = snapshots.pilots, snapshots.received
    count = len(users)
    if setting["mirror_db"] is not None:  # by way of level ground a metre below the grid
        image_of = users * [1, 1, -1] - [0, 0, 2.0]
        other = made(image_of, 1e12, setting["seed"] + 1)[0]
        size = np.sqrt(from_db(setting["mirror_db"])) * np.linalg.norm(other.pilots, axis=0)
        sent = pilots / np.linalg.norm(pilots, axis=0) * size
        channel = np.einsum("batf,kt->bakf", other.received, np.linalg.pinv(other.pilots))
        received = received + np.einsum("bakf,tk->batf", channel, sent)
    clock = setting["clock_error"] * generator.standard_normal(count)
    tone = wavenumber_of(frequency - frequency.mean())
    turn = np.exp(-2j * np.pi * length_of(clock)[:, None] * tone)
    channel = np.einsum("batf,kt->bakf", received, np.linalg.pinv(pilots)) * turn
    received = np.einsum("bakf,tk->batf", channel, pilots)
    if setting["station_phase"]:
        turn = np.exp(2j * np.pi * generator.uniform(size=len(antennas)))
        received = received * turn[:, None, None, None]
    gain = from_db(setting["user_gain_db"] * generator.standard_normal(count)) ** 0.5 * np.exp(
        2j * np.pi * generator.uniform(size=count) * setting["user_phase"]
    )
    error, noise = setting["user_error"], setting["noise_factor"]
    changed = dataclasses.replace(
        snapshots,
        received=received,
        pilots=pilots / gain,
        user_position=users + error * generator.standard_normal((count, 3)),
        noise_variance=None if noise is None else noise * snapshots.noise_variance,
        user_position_std=np.full(count, error) if error else None,
        user_clock_std=np.full(count, setting["clock_error"]) if setting["clock_error"] else None,
    )
    unknown = [
        name
        for name, given in (("gain", "user_gain_db"), ("phase", "user_phase"))
        if setting[given]
    ]
    if setting["station_phase"] or setting["link_phase"]:
        unknown.append("phase")
    place = grid.centre_of(index) + offset[index]
    return FieldWorld(
        grid, changed, truth, place, truth.in_range[index], users, tuple(dict.fromkeys(unknown))
    )


def score_points(world: FieldWorld, image: VoxelImage) -> dict[str, Any]:
    """Score an image by positions: a point counts as found within half an edge of the truth.

    Scatterers that nobody sees need not be found, but what is found there is not false.
    Coefficients are compared after a common scale is fitted, on the voxels in range.
    """
    if image.point_position is not None:
        point = image.point_position
    else:
        point = world.grid.centre_of(np.flatnonzero(image.occupied()))
    apart = np.linalg.norm(point[:, None] - world.place[None], axis=-1)
    near = np.where(apart <= 0.5 * world.grid.edge, apart, 1e3)
    rows, columns = linear_sum_assignment(near)
    hit = near[rows, columns] < 1e3
    rows, columns = rows[hit], columns[hit]
    seen = world.in_range[columns]
    hits, false = int(seen.sum()), len(point) - len(rows)
    wanted = int(world.in_range.sum())
    true, mean = world.truth.coefficient, np.abs(image.mean.reshape(-1))
    there = world.truth.in_range
    scale = (mean[there] @ true[there]) / max(mean[there] @ mean[there], 1e-30)
    wrong = np.sum((scale * mean - true)[there] ** 2) / np.sum(true[there] ** 2)
    row = {
        "f1": 2 * hits / max(hits + false + wanted, 1),
        "position_error": float(np.median(apart[rows, columns])) if hits else None,
        "error_db": float(10 * np.log10(max(wrong, 1e-12))),
        "certified": image.certificate.holds,
        "status": image.status.name.lower(),
        "points": len(point),
    }
    if image.user_position is not None:
        away = np.linalg.norm(image.user_position - world.user, axis=-1)
        row["user_error_found"] = float(np.median(away))
    return row
