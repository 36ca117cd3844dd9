"""Worlds of voxels for the study of imaging: one setting, one scene with its truth.

Boxes of 16 x 16 x 8 voxels of 1 m at 28 GHz, one station of 8 x 10 antennas or five of 4 x 4, half
a wavelength apart, a few metres outside and above the middle; users at random in and around the
box, scatterers at random in it.

Takes a setting: plain values, its seed among them.
Gives a `World`: the grid, what was received, and what is true.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from echoscape.imaging.simulation import Truth, random_users, simulate
from echoscape.imaging.snapshots import Snapshots
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.scene.voxel_shapes import random_voxels
from echoscape.units import from_db, wavelength_of

CARRIER = 28e9
"""Of every world [Hz]."""

STANDARD: dict[str, Any] = {
    "stations": 5,
    "users": 12,
    "scatterers": 40,
    "snr_db": 20.0,
    "shape": (16, 16, 8),
    "cubes": False,
    "noise_told": True,
    "tones": 1,
    "off_grid": 0.0,
}
"""What a setting leaves out; `off_grid` is the largest offset along each axis [m]."""


class World(NamedTuple):
    """A scene and what was received from it."""

    grid: VoxelGrid
    """The voxels."""
    snapshots: Snapshots
    """What the stations received."""
    truth: Truth
    """What stands where, and who sees what."""


def arrays(
    grid: VoxelGrid, count: int, generator: np.random.Generator
) -> Float[np.ndarray, "station antenna 3"]:
    """Place stations around a grid: one of 8 x 10 antennas, or several of 4 x 4 [m].

    They face the middle from 3 to 6 m outside, at heights above the middle.
    """
    rows, columns = (8, 10) if count == 1 else (4, 4)
    low, high = np.asarray(grid.origin), np.asarray(grid.upper)
    middle, half = (low + high) / 2, (high - low) / 2
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    row, column = row.reshape(-1, 1) - (rows - 1) / 2, column.reshape(-1, 1) - (columns - 1) / 2
    found = []
    for turn in generator.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(count) / count:
        out = np.array([np.cos(turn), np.sin(turn)])
        reach = np.min(half[:2] / np.maximum(np.abs(out), 1e-9)) + generator.uniform(3, 6)
        height = middle[2] + generator.uniform(0.2, 1.0) * half[2]
        place = np.array([*(middle[:2] + reach * out), height])
        ahead = (middle - place) / np.linalg.norm(middle - place)
        left = np.cross([0.0, 0.0, 1.0], ahead)
        left /= np.linalg.norm(left)
        offset = row * np.cross(ahead, left) + column * left
        found.append(place + 0.5 * wavelength_of(CARRIER) * offset)
    return np.stack(found)


def make_world(setting: dict[str, Any]) -> World:
    """Make the world of a setting; the same setting makes the same world."""
    setting = STANDARD | setting
    shape = setting["shape"]
    grid = VoxelGrid((0.0, 0.0, 0.0), (shape[0], shape[1], shape[2]), 1.0)
    generator = np.random.default_rng(setting["seed"])
    index = random_voxels(grid, setting["scatterers"], generator)
    coefficient = np.zeros(grid.voxels)
    coefficient[index] = generator.uniform(0.2, 1.0, len(index))
    users = random_users(grid, index, setting["users"], generator)
    tones, off = setting["tones"], setting["off_grid"]
    spread = 400e6 * ((np.arange(tones) + 0.5) / tones - 0.5) if tones > 1 else np.zeros(1)
    offset = generator.uniform(-off, off, (grid.voxels, 3)) if off else None
    snapshots, truth = simulate(
        grid,
        coefficient,
        users,
        arrays(grid, setting["stations"], generator),
        CARRIER + spread,
        snr=float(from_db(setting["snr_db"])),
        seed=setting["seed"],
        as_cubes=setting["cubes"],
        random_phase=tones > 1,
        offset=offset,
    )
    if not setting["noise_told"]:
        snapshots = Snapshots(
            snapshots.received,
            snapshots.pilots,
            snapshots.user_position,
            snapshots.antenna_position,
            snapshots.frequency,
        )
    return World(grid, snapshots, truth)
