"""Small scenes without symmetry that the tests of imaging share."""

import numpy as np

from echoscape.imaging.simulation import random_users, simulate
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.scene.voxel_shapes import random_voxels
from echoscape.units import SPEED_OF_LIGHT

FREQUENCY = np.array([28e9])
GRID = VoxelGrid((-1.5, 2.0, 0.5), (8, 7, 5), 0.9)


def stations(grid, count, rows=3, columns=4):
    """Half-wavelength arrays around a grid, none parallel to its sides."""
    wavelength = SPEED_OF_LIGHT / FREQUENCY[0]
    low, high = np.asarray(grid.origin), np.asarray(grid.upper)
    middle, size = (low + high) / 2, np.linalg.norm(high - low)
    places = []
    for i in range(count):
        turn = 0.4 + 2.2 * i
        out = np.array([np.cos(turn), np.sin(turn), 0.25 + 0.1 * i])
        left = np.array([-np.sin(turn), np.cos(turn), 0.0])
        up = np.cross(out, left) / np.linalg.norm(np.cross(out, left))
        row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        offset = row.reshape(-1, 1) * up + column.reshape(-1, 1) * left
        places.append(middle + 0.8 * size * out + 0.5 * wavelength * offset)
    return np.stack(places)


def scene(
    seed=3, *, grid=GRID, users=6, occupied=9, station_count=3, snr=100.0, lower=None, **options
):
    """Simulate a scene: snapshots and the truth behind them."""
    generator = np.random.default_rng(seed)
    index = random_voxels(grid, occupied, generator)
    coefficient = np.zeros(grid.voxels)
    coefficient[index] = generator.uniform(0.2, 1, occupied)
    where = random_users(grid, index, users, generator, margin=2.0)
    if lower is not None:  # as seen in level ground so far below the grid
        where[:, 2] = 2 * (grid.origin[2] - lower) - where[:, 2]
    antennas = options.pop("antennas", None)
    antennas = stations(grid, station_count) if antennas is None else antennas
    frequency = options.pop("frequency", FREQUENCY)
    return simulate(grid, coefficient, where, antennas, frequency, snr=snr, seed=seed, **options)


def error_db(image, truth):
    """Normalised mean squared error over what is in range [dB]."""
    mean, there = image.mean.ravel(), truth.in_range
    wrong = np.sum(np.abs(mean - truth.coefficient)[there] ** 2)
    return 10 * np.log10(wrong / np.sum(np.abs(truth.coefficient[there]) ** 2))
