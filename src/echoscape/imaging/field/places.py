"""Where points may stand, and how promising each place is.

All places are scored at once with what the points explain taken off but not projected out, which
is cheap: the phases over an array at the middle of the band and those over the band are separate
factors.  The few best are then scored exactly.

Takes a `Scene`, a grid, and what the points explain.
Gives log-odds of one more point at every place.
"""

import numpy as np
from jaxtyping import Bool, Float

from echoscape.imaging.field.links import (
    Factors,
    Nuisance,
    Scene,
    Segments,
    learn_power,
    link_evidence,
    point_evidence,
)
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.units import wavelength_of, wavenumber_of

OPEN_FREE = 0.96
"""Probability that a segment is open where no point stands in it."""
OPEN_HIDDEN = 0.05
"""Probability that a segment is open where a point stands in it by Eqs. (3)-(5)."""


class Places:
    """The voxels of a grid, cut into parts along each axis."""

    def __init__(self, scene: Scene, grid: VoxelGrid, fine: int = 2):
        """Make the stations' factors once; those of the users follow the users."""
        low, self.step = np.asarray(grid.origin), grid.edge / fine
        axes = [low[i] + self.step * (np.arange(n * fine) + 0.5) for i, n in enumerate(grid.shape)]
        self.grid = grid
        self.place = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        middle = scene.frequency.mean()
        length = np.linalg.norm(self.place[None, None] - scene.antenna[:, :, None], axis=-1)
        self.length = np.linalg.norm(self.place[None] - scene.station[:, None], axis=-1)
        wavelength = wavelength_of(middle)
        turns = (length - self.length[:, None]) / wavelength
        self.size = wavelength / (4 * np.pi * np.maximum(self.length, wavelength))
        self.array = np.exp(2j * np.pi * turns).astype(np.complex64)
        """Conjugate phases over each array [station, antenna, place]."""

    def inside(self, point: np.ndarray) -> np.ndarray:
        """Move points that have left the grid back to its surface."""
        small = 1e-6 * self.grid.edge
        return np.clip(point, np.add(self.grid.origin, small), np.subtract(self.grid.upper, small))

    def centre_of(self, point: np.ndarray) -> np.ndarray:
        """Find the centres of the voxels that hold points."""
        return self.grid.centre_of(self.grid.index_of(point))


def hidden_from(
    view: Float[np.ndarray, "view 3"],
    blocker: Float[np.ndarray, "blocker 3"],
    at: Float[np.ndarray, "candidate 3"],
    radius: float,
) -> Bool[np.ndarray, "view candidate"]:
    """Say which places the blockers hide from each view, by Eqs. (3)-(5)."""
    found = np.zeros((len(view), len(at)), bool)
    ray = (at[None] - view[:, None]).astype(np.float32)
    length = np.sum(ray**2, -1)
    nearer = np.maximum(np.sqrt(length) - 0.5 * radius, 0) ** 2
    for point in blocker:
        towards = (point - view).astype(np.float32)
        along = np.einsum("vcd,vd->vc", ray, towards)
        own = np.sum(towards**2, -1)[:, None]
        near = own * length - along**2 < radius**2 * length
        found |= near & (along > 0) & (own < nearer)
    return found


def prior_open(
    scene: Scene,
    nuisance: Nuisance,
    blocker: Float[np.ndarray, "blocker 3"],
    at: Float[np.ndarray, "candidate 3"],
    radius: float,
) -> Segments:
    """Give each segment's probability of being open, by (3)-(5) with the points as blockers."""
    views = scene.user + nuisance.offset, scene.station
    hidden = (hidden_from(view, blocker, at, radius) for view in views)
    return Segments(*(np.where(each, OPEN_HIDDEN, OPEN_FREE) for each in hidden))


def screen(
    scene: Scene, cloud, factors: Factors, places: Places, radius: float
) -> Float[np.ndarray, " place"]:
    """Score every place as that of another point.

    Args:
        scene: What was received.
        cloud: Points so far, a `Cloud`.
        factors: Their factors.
        places: Where another may stand.
        radius: How close to a segment a point hides it [m].
    """
    residual = scene.channel
    if len(cloud.point):
        arrives = np.einsum(
            "fks,kbs,fbas->fkba", factors.user, cloud.links.mean, factors.antenna, optimize=True
        )
        residual = residual - arrives
    residual = residual.astype(np.complex64)
    subcarriers, users, stations, _ = residual.shape
    band = wavenumber_of(scene.frequency - scene.frequency.mean())
    wavelength = wavelength_of(scene.frequency.mean())
    distance = np.linalg.norm(
        places.place[None] - (scene.user + cloud.nuisance.offset)[:, None], axis=-1
    )
    size = scene.amplitude[:, None] * wavelength / (4 * np.pi * np.maximum(distance, wavelength))
    delay = distance + cloud.nuisance.clock[:, None]

    def turned(length):  # conjugate phases over the band, from one factor and its powers if even
        return np.exp(2j * np.pi * band[:, None, None] * length[None]).astype(np.complex64)

    by_user, by_station = turned(delay), turned(places.length)
    score = np.zeros((users, stations, len(places.place)), np.complex64)
    for b in range(stations):
        rows = residual[:, :, b].reshape(subcarriers * users, -1) @ places.array[b]
        rows = rows.reshape(subcarriers, users, -1) * by_station[:, b][:, None]
        score[:, b] = np.sum(rows * by_user, 0)
    gain = (size[:, None] * places.size[None]).astype(np.float32)
    noise = cloud.noise[..., None]
    score = score * gain / noise
    samples = subcarriers * scene.antenna.shape[1]
    precision = samples * gain**2 / noise
    prior = prior_open(scene, cloud.nuisance, cloud.point, places.place, radius)
    power = learn_power(score, precision, prior.link(), None, 1)
    return point_evidence(link_evidence(score, precision, power), prior)[0]
