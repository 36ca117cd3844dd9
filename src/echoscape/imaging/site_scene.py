"""A site seen as voxels: its bounds a grid, its scatterers and its mesh occupied voxels.

Takes a `Site` and a `ScenePlan`.
Gives a grid, `Snapshots` of random users, and the `Truth`.
"""

import math
import os

import numpy as np
import pydantic

from echoscape.checks import InputError
from echoscape.files.archive import write_arrays
from echoscape.imaging.simulation import Truth, random_users, simulate
from echoscape.imaging.snapshots import Snapshots
from echoscape.scene import Site
from echoscape.scene.mesh import read_mesh
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.scene.voxel_shapes import mesh_voxels, random_voxels
from echoscape.units import from_db


class ScenePlan(pydantic.BaseModel):
    """What to simulate on a site."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    users: int = pydantic.Field(default=12, ge=1)
    """Users at random free places."""
    scatterers: int = pydantic.Field(default=40, ge=1)
    """Voxels occupied at random where the site holds nothing."""
    edge: float = pydantic.Field(default=1.0, gt=0)
    """Edge of a voxel [m]."""
    subcarriers: int = pydantic.Field(default=1, ge=1, le=100_000)
    """Spread over the site's bandwidth."""
    snr_db: float = pydantic.Field(default=20.0, ge=-30, le=100)
    """Mean power of the estimated channels over their noise [dB]."""
    line_of_sight: bool = False
    """Whether to add the line of sight, and hand it over to be taken off."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Of everything random."""


def site_grid(site: Site, edge: float) -> VoxelGrid:
    """Cut the bounds of a site into voxels."""
    lower, upper = np.asarray(site.bounds)
    if np.any(upper <= lower):
        raise InputError(
            "voxels need bounds whose upper corner lies above the lower one along x, y and z, "
            f"in m; got {lower} and {upper}"
        )
    x, y, z = (max(math.ceil(round(side / edge, 9)), 1) for side in upper - lower)
    try:
        return VoxelGrid((float(lower[0]), float(lower[1]), float(lower[2])), (x, y, z), edge)
    except ValueError as error:
        raise InputError(f"the site's bounds make no grid: {error}") from None


def site_voxels(site: Site, grid: VoxelGrid) -> np.ndarray:
    """Say which voxels the site's mesh and scatterers occupy."""
    occupied = np.zeros(grid.voxels, bool)
    if site.mesh is not None:
        mesh = read_mesh(site.mesh)
        occupied[mesh_voxels(grid, mesh.vertex, mesh.face)] = True
    occupied[_scatterer_voxels(site, grid)] = True
    return occupied


def _scatterer_voxels(site: Site, grid: VoxelGrid) -> np.ndarray:
    index = grid.index_of(np.asarray(site.scatterer_position).reshape(-1, 3))
    if np.any(index < 0):
        raise InputError(
            f"scatterer {int(np.argmax(index < 0))} lies outside the site's bounds; widen the "
            "bounds or move it"
        )
    return index


def site_coefficients(
    site: Site, grid: VoxelGrid, scatterers: int, generator: np.random.Generator
) -> np.ndarray:
    """Fill the grid: a scatterer's coefficient is the root of its cross-section, on some scale.

    Walls of the mesh and voxels filled at random have coefficients uniform in [0.2, 1]; point
    scatterers are scaled so that the largest is one.
    """
    coefficient = np.zeros(grid.voxels)
    if site.mesh is not None:
        mesh = read_mesh(site.mesh)
        walls = mesh_voxels(grid, mesh.vertex, mesh.face)
        coefficient[walls] = generator.uniform(0.2, 1, len(walls))
    index = _scatterer_voxels(site, grid)
    if len(index):
        size = np.sqrt(np.asarray(site.scatterer_cross_section))
        coefficient[index] = size / size.max()
    if not coefficient.any():
        count = min(scatterers, grid.voxels)
        chosen = random_voxels(grid, count, generator)
        coefficient[chosen] = generator.uniform(0.2, 1, count)
    return coefficient


def simulate_site(site: Site, plan: ScenePlan) -> tuple[VoxelGrid, Snapshots, Truth]:
    """Make what a site's stations receive from random users.

    Raises:
        InputError: There is no room for the users, or nothing is received.
    """
    counts = {array.elements for array in site.array}
    if len(counts) > 1:
        raise InputError(
            "all stations need as many antennas each for one file of snapshots; got "
            f"{', '.join(str(count) for count in sorted(counts))}"
        )
    generator = np.random.default_rng(plan.seed)
    grid = site_grid(site, plan.edge)
    coefficient = site_coefficients(site, grid, plan.scatterers, generator)
    users = random_users(grid, np.flatnonzero(coefficient), plan.users, generator, margin=0.0)
    antennas = np.stack(
        [
            np.asarray(place) + site.wavelength * np.asarray(array.positions())
            for place, array in zip(site.station_position, site.array, strict=True)
        ]
    )
    spread = np.zeros(1)
    if plan.subcarriers > 1:
        spread = site.bandwidth * ((np.arange(plan.subcarriers) + 0.5) / plan.subcarriers - 0.5)
    snapshots, truth = simulate(
        grid,
        coefficient,
        users,
        antennas,
        site.carrier_frequency + spread,
        snr=from_db(plan.snr_db),
        seed=plan.seed,
        line_of_sight=plan.line_of_sight,
    )
    return grid, snapshots, truth


def write_truth(grid: VoxelGrid, truth: Truth, path: str | os.PathLike[str]) -> None:
    """Write the truth as ``.npz``, whole or not at all."""
    write_arrays(
        path,
        "voxel truth",
        {
            "origin": grid.origin,
            "edge": grid.edge,
            "shape": grid.shape,
            "coefficient": truth.coefficient.reshape(grid.shape),
            "in_range": truth.in_range.reshape(grid.shape),
            "visibility": np.packbits(np.concatenate([truth.user, truth.station]), axis=1),
        },
    )
