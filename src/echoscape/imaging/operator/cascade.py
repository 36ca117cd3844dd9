"""The cascade user -> voxel -> antenna as two factors; the long matrix is never formed.

A voxel's column is the outer product of its channels to the users and to the antennas, each
masked by what that user or that station sees.  So products with the matrix are products with two
small factors, ``(H o VU) diag(x) (G o VB)^T``, and memory is (K + M) N instead of K M N.  Voxels
are cut into chunks, so that temporary arrays stay small whatever the grid.

Takes positions, frequencies and a grid.
Gives a `Cascade` and its forward, adjoint and squared products.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact

from echoscape.imaging.occlusion.shadows import SMALL_GRID
from echoscape.imaging.operator.chunk_size import block
from echoscape.imaging.operator.products import (
    correlate_columns,
    masked,
    outer,
    outer_power,
    power_of,
    split,
    weigh,
)
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.units import wavelength_of


class Cascade(eqx.Module):
    """Channels of every voxel; padding beyond the last voxel holds zeros."""

    user: Float[Array, "chunk subcarrier part user voxel"]
    """User to voxel, times the root of the energy the user sent: real parts, imaginary parts."""
    antenna: Float[Array, "chunk subcarrier station part antenna voxel"]
    """Voxel to antenna."""

    @property
    def padded(self) -> tuple[int, int]:
        """Shape of a vector over the voxels: chunks, and voxels in a chunk."""
        return self.user.shape[0], self.user.shape[-1]

    @property
    def samples(self) -> tuple[int, int, int, int]:
        """Shape of what is received: subcarrier, user, station, antenna."""
        _, subcarrier, station, _, antenna, _ = self.antenna.shape
        return subcarrier, self.user.shape[-2], station, antenna

    @property
    def real_type(self) -> jnp.dtype:
        """Type of what is real."""
        return self.user.dtype

    @property
    def complex_type(self) -> jnp.dtype:
        """Type of what is complex."""
        return jnp.result_type(self.user.dtype, jnp.complex64)

    def mean_column_norm(self) -> Float[Array, ""]:
        """Average the squared norm of the columns, nothing hidden."""

        def chunk(total, factors):
            user, antenna = factors
            own = jnp.sum(user**2, (1, 2)) * jnp.sum(antenna**2, (1, 2, 3))
            return total + jnp.sum(own), jnp.sum(own > 0)

        zero = jnp.zeros((), self.real_type)
        total, counted = jax.lax.scan(chunk, zero, (self.user, self.antenna))
        return total / jnp.maximum(jnp.sum(counted), 1)


class Mask(NamedTuple):
    """Which segments are open: yes or no, in a quarter of the memory, or a probability."""

    user: Float[Array, "chunk user voxel"] | Bool[Array, "chunk user voxel"]
    """User to voxel."""
    station: Float[Array, "chunk station voxel"] | Bool[Array, "chunk station voxel"]
    """Voxel to station."""


class Moments(NamedTuple):
    """First and second moments of what the voxels make arrive, without noise."""

    mean: Complex[Array, "subcarrier user station antenna"]
    """Mean."""
    variance: Float[Array, "subcarrier user station antenna"]
    """Variance, of coefficients and of the mask."""
    reaction: Float[Array, "subcarrier user station antenna"]
    """The part of the variance that the coefficients alone cause, for Onsager's correction."""


def free_space(
    start: Float[np.ndarray, "start 3"],
    end: Float[np.ndarray, "end 3"],
    frequency: Float[np.ndarray, " subcarrier"],
    dtype: type = np.complex64,
) -> Complex[np.ndarray, "subcarrier start end"]:
    """Make the channels of free space, ``lambda / (4 pi d) exp(-j 2 pi d / lambda)``.

    Whole wavelengths are taken off in double precision, whatever JAX is set to: a distance is
    10^4 wavelengths, of which single precision keeps a thousandth at best.
    """
    length = np.linalg.norm(start[:, None] - end[None], axis=-1)
    wavelength = wavelength_of(frequency[:, None, None])
    cycles = length / wavelength
    real = np.finfo(dtype).dtype
    cycles = (cycles - np.floor(cycles)).astype(real)
    amplitude = (wavelength / (4 * np.pi * np.maximum(length, wavelength))).astype(real)
    return amplitude * np.exp(np.asarray(-2j * np.pi, dtype) * cycles)


def bucket(count: int, voxels: int) -> int:
    """Round a size up to 1, 2, 3, 4, 6, 8, 12 and so on, unless the grid is large."""
    if voxels > SMALL_GRID:
        return count
    size = 1
    while size < count:
        size = size * 4 // 3 if size % 3 == 0 else max(size * 3 // 2, size + 1)
    return size


def chunks_of(voxels: int, chunk: int | None = None) -> tuple[int, int]:
    """Cut voxels into equal chunks: how many, and of how many voxels."""
    count = -(-voxels // (chunk or block(2048, 131_072)))
    return count, bucket(-(-voxels // count), voxels)


def make_factors(
    grid: VoxelGrid,
    user_position: Float[np.ndarray, "user 3"],
    antenna_position: Float[np.ndarray, "station antenna 3"],
    frequency: Float[np.ndarray, " subcarrier"],
    user_amplitude: Float[np.ndarray, " user"],
    *,
    chunk: int | None = None,
    dtype: type = np.complex64,
) -> tuple[
    Float[np.ndarray, "chunk subcarrier part user voxel"],
    Float[np.ndarray, "chunk subcarrier station part antenna voxel"],
]:
    """Make the factors of a `Cascade` as arrays of numpy, which can be changed in place.

    Their memory is aligned as `from_dlpack` needs it to hand them to JAX without a copy.
    """
    stations, antennas, _ = antenna_position.shape
    count, size = chunks_of(grid.voxels, chunk)
    real = np.finfo(dtype).dtype
    user = _aligned((count, len(frequency), 2, len(user_position), size), real)
    antenna = _aligned((count, len(frequency), stations, 2, antennas, size), real)
    flat = antenna_position.reshape(-1, 3)
    for i in range(count):
        index = np.arange(i * size, min((i + 1) * size, grid.voxels))
        centre = grid.centre_of(index)
        segment = free_space(user_position, centre, frequency, dtype) * user_amplitude[:, None]
        user[i, ..., : len(index)] = split(segment)
        segment = free_space(flat, centre, frequency, dtype)
        segment = segment.reshape(len(frequency), stations, antennas, -1)
        antenna[i, ..., : len(index)] = split(segment)
    return user, antenna


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Make zeros that begin at a multiple of 64 bytes."""
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = np.zeros(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size].view(dtype).reshape(shape)


def forward(
    cascade: Cascade, mask: Mask, value: Inexact[Array, "chunk voxel"]
) -> Complex[Array, "subcarrier user station antenna"]:
    """Make what arrives from coefficients: ``(H o VU) diag(x) (G o VB)^T``, Eq. (2)."""

    def chunk(total, parts):
        user, antenna, seen_user, seen_station, x = parts
        return total + outer(weigh(user, seen_user * x[None]), masked(antenna, seen_station)), None

    zero = jnp.zeros(cascade.samples, cascade.complex_type)
    return jax.lax.scan(chunk, zero, (cascade.user, cascade.antenna, *mask, value))[0]


def adjoint(
    cascade: Cascade, mask: Mask, received: Complex[Array, "subcarrier user station antenna"]
) -> Complex[Array, "chunk voxel"]:
    """Correlate what arrives with every voxel's column."""

    def chunk(_, parts):
        user, antenna, seen_user, seen_station = parts
        return None, correlate_columns(user, antenna, seen_user, seen_station, received)

    return jax.lax.scan(chunk, None, (cascade.user, cascade.antenna, *mask))[1]


def forward_moments(
    cascade: Cascade,
    mask: Mask,
    mean: Inexact[Array, "chunk voxel"],
    variance: Float[Array, "chunk voxel"],
    *,
    sure: bool = False,
) -> Moments:
    """Make mean and variance of what arrives, from those of the coefficients.

    A mask of probabilities adds the variance of its zeros and ones; one that is `sure`, of zeros
    and ones only, adds none and costs less.
    """

    def chunk(total, parts):
        user, antenna, seen_user, seen_station, x, spread = parts
        seen_user, seen_station = (s.astype(user.dtype) for s in (seen_user, seen_station))
        arrives = outer(weigh(user, seen_user * x[None]), masked(antenna, seen_station))
        user, antenna = power_of(user), power_of(antenna) * seen_station[None, :, None]
        if sure:
            caused = outer_power(user * (seen_user * spread[None])[None], antenna)
            return jax.tree.map(jnp.add, total, Moments(arrives, caused, caused)), None
        power = jnp.abs(x) ** 2
        whole = outer_power(user * (seen_user * (spread + power)[None])[None], antenna)
        both = [user * (seen_user**2 * part[None])[None] for part in (power, spread)]
        both = outer_power(jnp.concatenate(both, 1), antenna * seen_station[None, :, None])
        explained, reaction = jnp.split(both, 2, axis=1)
        step = Moments(arrives, whole - explained, reaction)
        return jax.tree.map(jnp.add, total, step), None

    real = jnp.zeros(cascade.samples, cascade.real_type)
    zero = Moments(real.astype(cascade.complex_type), real, real)
    parts = (cascade.user, cascade.antenna, *mask, mean, variance)
    return jax.lax.scan(chunk, zero, parts)[0]
