"""From snapshots to the linear problem that every solver works on.

The pilots are undone by least squares, the line of sight is taken off, users are weighed so that
every sample has the same noise, and each station's antennas are rotated to where their samples
are uncorrelated.  The rotation is unitary, costs nothing, and is what keeps message passing from
diverging on compact arrays.

Takes `Snapshots` and a `VoxelGrid`.
Gives a `Problem` in units of one: noise of the samples relative to a unit column.
"""

import math
import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from echoscape.checks import InputError
from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade, Mask, make_factors
from echoscape.imaging.operator.products import split
from echoscape.imaging.snapshots import Snapshots
from echoscape.scene.voxel_grid import TracedGrid, VoxelGrid

LARGEST_SHARE = 0.5
"""Part of the machine's memory that the factors may take; the messages take a third as much."""


class Problem(eqx.Module):
    """Samples, and how coefficients of voxels make them."""

    received: Complex[Array, "subcarrier user station antenna"]
    """Samples: users weighed, antennas rotated."""
    cascade: Cascade
    """Channels, scaled so that the mean column has norm one."""
    view: Float[Array, "view 3"]
    """Where the users are, then the centres of the stations [m]."""
    noise: Float[Array, ""]
    """Mean squared noise of a sample; a first guess where it is not known."""
    active: ActiveVoxels
    """The voxels that are asked."""
    radius: Float[Array, ""]
    """How close to a segment an occupied voxel hides it [m]."""
    unit: Float[np.ndarray, ""] = eqx.field(default_factory=lambda: np.ones(()))
    """What a noise of one is in a received sample [unit of the samples squared]."""
    noise_known: bool = eqx.field(default=True, static=True)
    """Whether `noise` can be relied on."""
    is_complex: bool = eqx.field(default=False, static=True)
    """Whether coefficients are complex."""

    @property
    def grid(self) -> TracedGrid:
        """The grid that they are of."""
        return self.active.grid

    def fully_visible(self, *, alike: bool = False) -> Mask:
        """Make the mask in which nothing hides anything; `alike` has one segment stand for all."""
        chunks, size = (1, 1) if alike else self.cascade.padded
        real = self.cascade.real_type
        _, user, station, _ = (1, 1, 1, 1) if alike else self.cascade.samples
        return Mask(jnp.ones((chunks, user, size), real), jnp.ones((chunks, station, size), real))

    def mask_of(self, user: np.ndarray | Array, station: np.ndarray | Array) -> Mask:
        """Cut masks [view, voxel] into chunks; on the host where they come from there."""
        xp: Any = np if isinstance(user, np.ndarray) else jnp
        real = self.cascade.real_type
        chunks, size = self.cascade.padded

        def cut(mask):
            mask = xp.asarray(mask, real)
            mask = xp.pad(mask, ((0, 0), (0, chunks * size - mask.shape[1])))
            return jnp.asarray(xp.moveaxis(mask.reshape(-1, chunks, size), 0, 1))

        return Mask(cut(user), cut(station))

    def flat(self, vector: np.ndarray | Array) -> Any:
        """Undo the cutting into chunks of a vector [chunk, voxel]."""
        return vector.reshape(-1)[: self.active.voxels]


def make_problem(
    snapshots: Snapshots,
    grid: VoxelGrid,
    *,
    radius: float | None = None,
    is_complex: bool = False,
    decorrelate: bool = True,
    chunk: int | None = None,
    dtype: type = np.complex64,
) -> Problem:
    """Undo the pilots and set up the channels of every voxel.

    Args:
        snapshots: What was received.
        grid: The voxels to image.
        radius: How close to a segment an occupied voxel hides it; half an edge by default [m].
        is_complex: Whether coefficients may be complex.
        decorrelate: Whether to rotate each station's antennas.
        chunk: Voxels worked on at a time; by default what suits the machine.
        dtype: Precision of everything but phases and positions.

    Raises:
        InputError: The occlusion radius is no radius, the grid takes too much memory, or a user
            stands where no wave reaches any voxel.
    """
    radius = 0.5 * grid.edge if radius is None else radius
    if not (radius > 0 and math.isfinite(radius)):
        raise InputError(
            f"the occlusion radius must be finite and above zero, in m; got {radius:g}"
        )
    stations, antennas, _, subcarriers = snapshots.received.shape
    users = len(snapshots.user_position)
    item = np.dtype(dtype).itemsize
    memory = item * grid.voxels * subcarriers * (users + stations * antennas)
    if memory > LARGEST_SHARE * machine_memory():
        raise InputError(
            f"a grid of {grid.voxels} voxels would take {memory / 1e9:.3g} GB, more than half of "
            "this machine's memory; choose a longer edge, a smaller shape or fewer subcarriers"
        )
    channel, energy, outside = estimate_channels(snapshots)
    user, antenna = make_factors(
        grid,
        snapshots.user_position,
        snapshots.antenna_position,
        snapshots.frequency,
        np.sqrt(energy / energy.mean()),
        chunk=chunk,
        dtype=dtype,
    )
    received = channel * np.sqrt(energy / energy.mean())[:, None, None]
    noise = snapshots.noise_variance if snapshots.noise_variance is not None else outside
    known = noise is not None
    if noise is None:
        noise = 0.03 * np.mean(np.abs(received) ** 2) * energy.mean()
    scale = _scale(user, antenna)
    turned = received / scale
    if decorrelate:
        turned = np.einsum("fbac,fkba->fkbc", _decorrelate(antenna).conj(), turned)
    here = jax.devices()[0]  # on a processor nothing is copied
    cascade = Cascade(
        *(jax.device_put(jnp.from_dlpack(segment), here) for segment in (user, antenna))
    )
    return Problem(
        received=jnp.asarray(turned.astype(dtype)),
        cascade=cascade,
        view=jnp.asarray(
            np.concatenate([snapshots.user_position, snapshots.antenna_position.mean(1)])
        ),
        # Committed like the factors: a learnt noise is, and jit compiles again where that differs.
        noise=jax.device_put(
            np.asarray(noise / (energy.mean() * scale**2), cascade.real_type), here
        ),
        active=ActiveVoxels(grid.traced()),
        radius=jnp.asarray(radius, float),
        unit=np.asarray(float(energy.mean()) * scale**2),
        noise_known=known,
        is_complex=is_complex,
    )


def explained(problem: Problem, left: float, noise: float) -> float:
    """Say which share of the power beyond noise is explained where so much power is left.

    Where there is hardly anything beyond noise, all of it counts as explained.

    Args:
        problem: What was received.
        left: Mean squared residual of a sample, in the problem's units.
        noise: Mean squared noise of a sample, likewise.
    """
    power = float(np.mean(np.abs(np.asarray(problem.received)) ** 2))
    beyond = power - noise
    if beyond < 2 * power / math.sqrt(problem.received.size):
        return 1.0
    return float(np.clip((power - left) / beyond, 0.0, 1.0))


def machine_memory() -> float:
    """Ask how much memory this machine has; without bound where it does not say [byte]."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def estimate_channels(snapshots: Snapshots):
    """Estimate each user's channel, the energy behind it, and the noise if pilots have room for it.

    Gives channels [subcarrier, user, station, antenna], energies [user], and the mean squared noise
    of a received sample, or nothing.

    The estimate of user k has the variance of the samples over its energy; between users whose
    pilots are not orthogonal it is correlated, which is neglected.
    """
    pilots = snapshots.pilots.astype(complex)
    inverse = np.linalg.inv(pilots.conj().T @ pilots)
    undo = np.linalg.pinv(pilots).T
    channel = np.einsum("batf,tk->fkba", snapshots.received, undo)
    energy = 1 / np.real(np.diagonal(inverse))
    spare = len(pilots) - pilots.shape[1]
    outside = None
    if spare > 0:
        left = snapshots.received - np.einsum("fkba,tk->batf", channel, pilots)
        outside = float(np.sum(np.abs(left) ** 2) / (spare * left[:, :, 0].size))
        outside = outside if outside > 0 else None
    if snapshots.line_of_sight is not None:
        channel = channel - np.einsum("bakf->fkba", snapshots.line_of_sight)
    return channel, energy, outside


def _scale(user: np.ndarray, antenna: np.ndarray) -> float:
    """Divide the antennas' channels so that the mean column has norm one; raw ones are tiny."""
    scale = float(max(np.max(np.abs(part)) for part in antenna))
    total, counted = 0.0, 0
    for one, other in zip(user, antenna, strict=True):
        other /= scale
        own = np.sum(one**2, (1, 2)) * np.sum(other**2, (1, 2, 3))
        own = np.sum(own, 0, dtype=float)
        total, counted = total + float(own.sum()), counted + int(np.sum(own > 0))
    norm = math.sqrt(total / max(counted, 1))
    for other in antenna:
        other /= norm
    return scale * norm


def _decorrelate(antenna: np.ndarray) -> np.ndarray:
    """Turn each station's antennas to the axes of their channels, in place; gives the axes."""

    def whole(part):
        return part[..., 0, :, :] + 1j * part[..., 1, :, :]

    gram = sum(whole(part) @ whole(part).conj().swapaxes(-1, -2) for part in antenna)
    axes = np.linalg.eigh(gram)[1]  # [subcarrier, station, antenna, new axis]
    turn = axes.conj().swapaxes(-1, -2)
    for part in antenna:
        part[...] = split(turn @ whole(part))
    return axes
