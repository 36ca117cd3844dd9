"""Coverage of a site before anything is built or sent: which places how many views will see.

What the site's mesh and scatterers hide is known; what else may stand there is known by its share
of the voxels only, so segments are open with probabilities, Eqs. (61)-(66) of [multiview-imaging].
Users come and go: their probabilities are averaged over places in the bounds.

Takes a `Site`, an edge, a number of users and a share of occupied voxels.
Gives a `Coverage`: expected views of every voxel, and how many voxels nobody will see.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float
from scipy.stats import qmc

from echoscape.checks import InputError
from echoscape.imaging.occlusion.coverage import length_inside, segment_hidden
from echoscape.imaging.simulation import open_segments
from echoscape.imaging.site_scene import site_grid, site_voxels
from echoscape.scene import Site
from echoscape.scene.voxel_grid import VoxelGrid

LARGEST_MAP = 100_000_000
"""Voxels times places of users and stations that are kept in memory."""


class Coverage(eqx.Module):
    """Who sees what; vectors over the voxels of the grid (numpy)."""

    grid: VoxelGrid
    """The voxels."""
    occupied: Bool[np.ndarray, " voxel"]
    """What the site itself occupies."""
    station_hidden: Float[np.ndarray, "station voxel"]
    """Probability that each station does not see the voxel [1]."""
    user_hidden: Float[np.ndarray, " voxel"]
    """Probability that a user anywhere in the bounds does not see it, Eqs. (61) and (62) [1]."""
    users: int
    """How many users there will be."""

    @property
    def user_views(self) -> Float[np.ndarray, " voxel"]:
        """Give the expected number of users that see each voxel."""
        return self.users * (1 - self.user_hidden)

    @property
    def station_views(self) -> Float[np.ndarray, " voxel"]:
        """Give the expected number of stations that see each voxel."""
        return np.sum(1 - self.station_hidden, 0)

    @property
    def unseen(self) -> Float[np.ndarray, " voxel"]:
        """Give the probability that no user or no station sees each voxel, Eq. (76)."""
        return _either(self.user_hidden**self.users, np.prod(self.station_hidden, 0))

    @property
    def unseen_by_station(self) -> Float[np.ndarray, " station"]:
        """Expect how many voxels stay unseen with each station alone, Eq. (65)."""
        return _either(self.user_hidden**self.users, self.station_hidden).sum(1)

    @property
    def unseen_count(self) -> float:
        """Expect how many voxels stay unseen with all stations, Eq. (66)."""
        return float(self.unseen.sum())

    def to_arrow(self) -> pa.Table:
        """Lay the voxels out as an Arrow table, one row each, x slowest."""
        centre = self.grid.centres()
        names = ("occupied", "user_views", "station_views", "unseen")
        return pa.table(
            {axis: centre[:, i] for i, axis in enumerate("xyz")}
            | {name: getattr(self, name) for name in names}
        )


def _either(user: np.ndarray, station: np.ndarray) -> np.ndarray:
    return 1 - (1 - user) * (1 - station)


def plan_coverage(
    site: Site,
    *,
    edge: float,
    users: int = 12,
    share: float = 0.02,
    radius: float | None = None,
    places: int = 64,
) -> Coverage:
    """Say how many users and stations will see each voxel of a site.

    Args:
        site: Bounds, stations, mesh and scatterers.
        edge: Edge of a voxel [m].
        users: How many users, anywhere in the bounds.
        share: Share of voxels that things unknown to the site occupy [1].
        radius: How close to a segment an occupied voxel hides it; half an edge by default [m].
        places: Places of users that are averaged over: an evenly spread (Sobol) sequence.

    Raises:
        InputError: A number is none of those, there are too many voxels, or users have no room.
    """
    radius = 0.5 * edge if radius is None else radius
    if users < 1 or places < 1:
        raise InputError(f"users and places must be at least one; got {users} and {places}")
    if not 0 <= share < 1:
        raise InputError(f"the share of occupied voxels must lie between 0 and 1; got {share:g}")
    if not (radius > 0 and math.isfinite(radius)):
        raise InputError(f"the occlusion radius must be finite and above zero, in m; got {radius}")
    grid = site_grid(site, edge)
    station = np.asarray(site.station_position)
    if grid.voxels * (places + len(station)) > LARGEST_MAP:
        raise InputError(
            f"{grid.voxels} voxels seen from {places + len(station)} places are too many; choose a "
            "longer edge or fewer places"
        )
    blocker = np.flatnonzero(site_voxels(site, grid))
    count = 1 << max(places - 1, 1).bit_length()
    unit = qmc.Sobol(3, scramble=False).random(count) + 0.5 / count
    low, high = np.asarray(grid.origin), np.asarray(grid.upper)
    user = low + unit * (high - low)
    user = user[~np.isin(grid.index_of(user), blocker)][:places]
    if len(user) == 0:
        raise InputError("the site leaves no room for users: all of its bounds are occupied")
    view = np.concatenate([user, station])
    is_open = open_segments(grid, view, blocker, radius)
    hidden = np.empty((len(view), grid.voxels))
    centre = jnp.asarray(grid.centres())
    for i, place in enumerate(view):
        chance = _hidden(jnp.asarray(place[None]), centre, grid, share, radius)
        hidden[i] = np.where(is_open[i], np.asarray(chance), 1.0)
    occupied = np.zeros(grid.voxels, bool)
    occupied[blocker] = True
    return Coverage(grid, occupied, hidden[len(user) :], hidden[: len(user)].mean(0), users)


@jax.jit(static_argnames=("grid",))
def _hidden(place, centre, grid: VoxelGrid, share, radius):
    return segment_hidden(length_inside(grid, place, centre), grid, share, radius)
