"""A scene of voxels, and what stations receive from it: the truth that images are scored on.

Users send pilots at powers that reach the region alike; waves run in free space from a user to a
voxel and on to an antenna, and a segment that passes through an occupied voxel carries nothing.
The line of sight is some 80 dB stronger than a path by way of a voxel; it is left out, as if taken
off perfectly, or added and handed over to be taken off.

Takes a grid, what stands in it, users and stations.
Gives `Snapshots` and the `Truth` behind them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Inexact, Int

from echoscape.checks import InputError
from echoscape.imaging.occlusion.segments import NEARER
from echoscape.imaging.occlusion.shadows import SMALL_GRID, cast_shadows
from echoscape.imaging.operator.cascade import free_space
from echoscape.imaging.snapshots import Snapshots
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.signals import add_noise, dft_pilots


class Truth(NamedTuple):
    """What stands in the grid, and who sees what of it."""

    coefficient: Inexact[np.ndarray, " voxel"]
    """Scattering coefficients, zero where nothing stands."""
    user: Bool[np.ndarray, "user voxel"]
    """Whether each user sees each voxel."""
    station: Bool[np.ndarray, "station voxel"]
    """Whether each station does."""

    @property
    def in_range(self) -> Bool[np.ndarray, " voxel"]:
        """Say which voxels both some user and some station see."""
        return np.logical_and(np.any(self.user, axis=0), np.any(self.station, axis=0))


def open_segments(
    grid: VoxelGrid,
    view: Float[np.ndarray, "view 3"],
    occupied: Int[np.ndarray, " blocker"],
    radius: float,
    *,
    as_cubes: bool = False,
) -> Bool[np.ndarray, "view voxel"]:
    """Say which voxels each view sees, by the rule of Eqs. (3)-(5) or with solid cubes.

    Args:
        grid: The voxels.
        view: Where users or centres of stations are [m].
        occupied: Flat indices of what stands in the way.
        radius: How close to a segment a voxel hides it [m].
        as_cubes: Whether a segment is hidden by crossing a cube instead, whatever the radius.
    """
    if grid.voxels > SMALL_GRID and not as_cubes:
        with jax.enable_x64(True):
            views = jnp.asarray(view, float)
            nothing, each = jnp.zeros((len(views), grid.voxels)), jnp.ones(len(occupied))
            listed = jnp.asarray(occupied)
            cast = cast_shadows(nothing, grid, views, listed, each, len(occupied), radius)
            return np.asarray(cast) == 0
    centre = grid.centres()
    blockers = centre[occupied]
    seen = np.ones((len(view), grid.voxels), bool)
    for i, place in enumerate(np.asarray(view, float)):
        ray = centre - place
        for blocker in blockers:
            if as_cubes:
                seen[i] &= ~_crosses(place, ray, blocker, 0.5 * grid.edge)
            else:
                seen[i] &= ~_near(ray, blocker - place, radius)
    if as_cubes:  # a cube does not hide its own centre
        for i, place in enumerate(np.asarray(view, float)):
            for index in occupied:
                others = occupied[occupied != index]
                ray = (centre[index] - place)[None]
                crossed = [_crosses(place, ray, centre[j], 0.5 * grid.edge)[0] for j in others]
                seen[i, index] = not any(crossed)
    return seen


def _near(ray: np.ndarray, towards: np.ndarray, radius: float) -> np.ndarray:
    across = np.sum(np.cross(towards, ray) ** 2, axis=1)
    length = np.sum(ray**2, axis=1)
    return (
        (across < radius**2 * length) & (ray @ towards > 0) & (towards @ towards < NEARER * length)
    )


def _crosses(place: np.ndarray, ray: np.ndarray, cube: np.ndarray, half: float) -> np.ndarray:
    """Ask whether the segments `place + [0, 1] ray` cross a cube: the slab test."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (cube - half - place) / ray
        second = (cube + half - place) / ray
    enter = np.nanmax(np.minimum(first, second), axis=1)
    leave = np.nanmin(np.maximum(first, second), axis=1)
    return (enter < leave) & (leave > 0) & (enter < 1)


def simulate(
    grid: VoxelGrid,
    coefficient: Inexact[np.ndarray, " voxel"],
    user_position: Float[np.ndarray, "user 3"],
    antenna_position: Float[np.ndarray, "station antenna 3"],
    frequency: Float[np.ndarray, " subcarrier"],
    *,
    snr: float,
    seed: int,
    radius: float | None = None,
    pilots: int | None = None,
    as_cubes: bool = False,
    line_of_sight: bool = False,
    random_phase: bool = False,
    offset: Float[np.ndarray, "voxel 3"] | None = None,
) -> tuple[Snapshots, Truth]:
    """Make what the stations receive.

    Args:
        grid: The voxels.
        coefficient: What stands in them, zero for nothing.
        user_position: Where the users are [m].
        antenna_position: Where the antennas of every station are [m].
        frequency: Of each subcarrier [Hz].
        snr: Mean power of the channels' estimate over the noise in it [1].
        seed: Of the noise and the phases.
        radius: How close to a segment an occupied voxel hides it; half an edge by default [m].
        pilots: Their length; as many as users by default.
        as_cubes: Whether occupied voxels hide as solid cubes instead.
        line_of_sight: Whether to add the line of sight, and hand it over to be taken off.
        random_phase: Whether every user and station has a random phase to every voxel.
        offset: How far scatterers stand from the centres of their voxels [m].

    Raises:
        InputError: A user stands inside an occupied voxel, or nothing is received at all.
    """
    generator = np.random.default_rng(seed)
    radius = 0.5 * grid.edge if radius is None else radius
    occupied = np.flatnonzero(coefficient)
    if len(occupied) == 0:
        raise InputError("no voxel is occupied; nothing would be received")
    centre = grid.centre_of(occupied)
    inside = np.isin(grid.index_of(user_position), occupied)
    if inside.any():
        raise InputError(
            f"user {int(np.argmax(inside))} stands inside an occupied voxel; move it to free space"
        )
    views = np.concatenate([user_position, antenna_position.mean(1)])
    seen = open_segments(grid, views, occupied, radius, as_cubes=as_cubes)
    users = len(user_position)
    truth = Truth(coefficient, seen[:users], seen[users:])
    if offset is not None:
        centre = centre + offset[occupied]
    stations, antennas, _ = antenna_position.shape
    user = free_space(user_position, centre, frequency, dtype=np.complex128)
    antenna = free_space(antenna_position.reshape(-1, 3), centre, frequency, dtype=np.complex128)
    antenna = antenna.reshape(len(frequency), stations, antennas, -1)
    link = truth.user[:, None, occupied] * truth.station[None][..., occupied]
    link = link * coefficient[occupied]
    if random_phase:
        link = link * np.exp(2j * np.pi * generator.uniform(size=link.shape))
    channel = np.einsum("fkn,kbn,fban->bakf", user, link, antenna, optimize=True)
    power = np.mean(np.abs(channel) ** 2, axis=(0, 1, 3))
    if not power.any():
        raise InputError("no user sees any voxel that a station sees; nothing would be received")
    # Power control: a user who is received sends what makes its channel as strong as the others'.
    amplitude = 1 / np.sqrt(np.where(power > 0, power, power[power > 0].min()))
    amplitude *= 1 / np.sqrt(np.mean(amplitude**2 * power))
    sent = dft_pilots(pilots or users, amplitude)
    straight = None
    if line_of_sight:
        straight = free_space(
            antenna_position.reshape(-1, 3), user_position, frequency, dtype=np.complex128
        )
        straight = np.moveaxis(straight, 0, -1).reshape(stations, antennas, users, -1)
    whole = channel if straight is None else channel + straight
    received = np.einsum("bakf,tk->batf", whole, sent)
    variance = np.mean(amplitude**2 * power) / snr
    snapshots = Snapshots(
        received=add_noise(received, variance, generator),
        pilots=sent,
        user_position=np.asarray(user_position, float),
        antenna_position=np.asarray(antenna_position, float),
        frequency=np.asarray(frequency, float),
        noise_variance=float(variance),
        line_of_sight=straight,
    )
    return snapshots, truth


def random_users(
    grid: VoxelGrid,
    occupied: Int[np.ndarray, " occupied"],
    count: int,
    generator: np.random.Generator,
    *,
    margin: float = 4.0,
    clearance: float | None = None,
) -> Float[np.ndarray, "user 3"]:
    """Place users uniformly in and around a grid, clear of what stands there [m].

    Args:
        grid: The voxels.
        occupied: Flat indices of the occupied ones.
        count: How many users.
        generator: Of random numbers.
        margin: How far beyond the grid's sides users can be [m].
        clearance: Least distance to the centre of an occupied voxel; an edge by default [m].
    """
    clearance = grid.edge if clearance is None else clearance
    low, high = np.asarray(grid.origin, float), np.asarray(grid.upper, float)
    widen = np.array([margin, margin, 0.0])
    centre = grid.centre_of(occupied)
    found: list[np.ndarray] = []
    for _ in range(1000 * count):
        if len(found) == count:
            return np.array(found)
        place = generator.uniform(low - widen, high + widen)
        if np.min(np.linalg.norm(centre - place, axis=1), initial=np.inf) > clearance:
            found.append(place)
    raise InputError(f"there is no room for {count} users {clearance:g} m from all occupied voxels")
