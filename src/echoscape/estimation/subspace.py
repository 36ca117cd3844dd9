"""Tones from the subspace that smoothed samples span: ESPRIT and MUSIC on all axes jointly.

One snapshot has rank one; sliding a window over every axis makes as many snapshots as there are
positions, and coherent echoes are decorrelated (smoothing in space and frequency).  The matrix of
all windows is never formed: multiplying with it is a convolution, done by Fourier transforms, and a
few such products span the signal's subspace.

Takes a sample tensor and its noise.
Gives a `ToneFit`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.ndimage import maximum_filter

from echoscape.checks import InputError
from echoscape.estimation.tone_fit import ToneFit, fit_gains
from echoscape.numerics.harmonics import tones

_ROUNDS = 3  # of the power iteration
_SPARE = 8  # directions beyond those asked for
_EDGE = 1.1  # of the largest singular value of noise
_FINER = 2  # cells of the spectrum for each resolved one


def window_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Choose the window that slides: half of every axis."""
    return tuple(max(1, (size + 1) // 2) for size in shape)


def signal_subspace(
    samples: np.ndarray, noise: float, *, most: int, sources: int | None
) -> Complex[np.ndarray, "direction *window"]:
    """Span the smoothed samples' strongest directions.

    Args:
        samples: The tensor.
        noise: Mean squared noise of a sample.
        most: Most directions.
        sources: How many; if not given, those whose singular value is above the largest that
            noise alone has, which is measured on simulated noise of the same shape.

    Raises:
        InputError: More sources than a window has samples, or than there are windows.
    """
    shape, window = samples.shape, window_of(samples.shape)
    limit = min(math.prod(window) - math.prod(window) // max(window), math.prod(_positions(shape)))
    wanted = most if sources is None else sources
    if wanted < 1 or wanted > limit:
        raise InputError(
            f"a window of {' x '.join(map(str, window))} samples resolves at most {limit} "
            f"sources; got {wanted}"
        )
    values, basis = _strongest(jnp.asarray(samples), wanted)
    count = wanted
    if sources is None:
        edge = _EDGE * math.sqrt(noise) * _noise_edge(shape)
        count = int(np.sum(np.asarray(values)[:wanted] > edge))
    return np.asarray(basis)[:count]


def _positions(shape):
    return tuple(size - part + 1 for size, part in zip(shape, window_of(shape)))


@functools.lru_cache(maxsize=16)
def _noise_edge(shape: tuple[int, ...]) -> float:
    real, imaginary = np.random.default_rng(0).standard_normal((2, *shape))
    return float(_strongest(jnp.asarray((real + 1j * imaginary) / math.sqrt(2)), 1)[0][0])


@functools.partial(jax.jit, static_argnames="count")
def _strongest(samples, count: int):
    """Find the strongest left singular vectors of the matrix of windows, and their values."""
    shape, window, positions = samples.shape, window_of(samples.shape), _positions(samples.shape)
    axes = tuple(range(1, 1 + len(shape)))
    spectrum = jnp.fft.fftn(samples)[None]

    def slide(vectors, size):  # sum over w of samples[m + w] vectors[w]
        turned = jnp.conj(jnp.fft.fftn(jnp.conj(vectors), shape, axes=axes))
        found = jnp.fft.ifftn(spectrum * turned, axes=axes)
        return found[(slice(None), *(slice(0, part) for part in size))]

    def back(vectors):
        return jnp.conj(slide(jnp.conj(vectors), positions))

    def orthogonal(vectors):
        flat = vectors.reshape(vectors.shape[0], -1)
        return jnp.linalg.qr(flat.T)[0].T.reshape(-1, *vectors.shape[1:])

    size = min(count + _SPARE, math.prod(positions), math.prod(window))
    real, imaginary = jax.random.normal(jax.random.key(0), (2, size, *positions), float)
    basis = orthogonal(slide(real + 1j * imaginary, window))
    for _ in range(_ROUNDS):
        basis = orthogonal(slide(orthogonal(back(basis)), window))
    seen = back(basis).reshape(size, -1)  # row k: (matrix^H basis_k)
    left, values, _ = jnp.linalg.svd(seen.conj(), full_matrices=False)
    flat = left.T @ basis.reshape(size, -1)
    return values[:count], flat.reshape(size, *window)[:count]


def find_by_esprit(
    samples: np.ndarray, noise: float, *, most: int, sources: int | None = None
) -> ToneFit:
    """Find tones by the shift invariance of the signal's subspace, all axes paired at once.

    Args:
        samples: The tensor.
        noise: Mean squared noise of a sample.
        most: Most tones.
        sources: How many, if known.
    """
    basis = signal_subspace(samples, noise, most=most, sources=sources)
    frequency = np.zeros((len(basis), samples.ndim))
    if len(basis):
        shifts = []
        for axis in range(samples.ndim):
            size = basis.shape[axis + 1]
            first = np.take(basis, range(size - 1), axis + 1).reshape(len(basis), -1).T
            second = np.take(basis, range(1, size), axis + 1).reshape(len(basis), -1).T
            shifts.append(np.linalg.lstsq(first, second, rcond=None)[0])
        # One mixture of all shifts, with weights that no symmetry singles out, pairs the axes.
        weights = np.sqrt(np.arange(2.0, 2.0 + len(shifts)))
        mixed = sum(w * shift for w, shift in zip(weights, shifts))
        _, vectors = np.linalg.eig(mixed)
        for axis, shift in enumerate(shifts):
            turned = np.linalg.lstsq(vectors, shift @ vectors, rcond=None)[0]
            frequency[:, axis] = np.angle(np.diagonal(turned))
    return _padded(samples, frequency, most)


def find_by_music(
    samples: np.ndarray, noise: float, *, most: int, sources: int | None = None
) -> ToneFit:
    """Find tones where the signal's subspace holds almost all of a window's tone.

    Args:
        samples: The tensor.
        noise: Mean squared noise of a sample.
        most: Most tones.
        sources: How many, if known.
    """
    basis = signal_subspace(samples, noise, most=most, sources=sources)
    if not len(basis):
        return _padded(samples, np.zeros((0, samples.ndim)), most)
    grid = tuple(_FINER * size for size in samples.shape)
    held = np.zeros(grid)
    for direction in basis:
        held += np.abs(np.fft.fftn(direction, grid, axes=range(direction.ndim))) ** 2
    peak = held == maximum_filter(held, size=3, mode="wrap")
    index = np.argwhere(peak)[np.argsort(-held[peak], kind="stable")[: len(basis)]]
    start = 2 * np.pi * index / np.asarray(grid)
    return _padded(samples, np.asarray(_sharpen(jnp.asarray(basis), jnp.asarray(start))), most)


@jax.jit
def _sharpen(basis, start: Float[Array, "tone axis"]):
    """Climb the share of a window's tone that the subspace holds, by Newton steps."""
    window = basis.shape[1:]
    total, names = math.prod(window), "abcdefgh"[: len(window)]
    limit = jnp.asarray([0.5 * math.pi / size for size in window])

    def missing(frequency):
        left, kept = basis.conj(), names
        for axis, size in enumerate(window):
            rest = kept[1:]
            left = jnp.einsum(
                f"z{kept},{kept[0]}->z{rest}", left, tones(frequency[axis][None], size)[0]
            )
            kept = rest
        return 1.0 - jnp.sum(jnp.abs(left) ** 2) / total

    # The curvature of a lone tone bounds that of any number, and scales the axes.
    alone = jnp.asarray([(size**2 - 1) / 6 if size > 1 else 1.0 for size in window])

    def step(_, frequency):
        slope, bend = jax.grad(missing)(frequency), jax.hessian(missing)(frequency)
        root = jnp.sqrt(alone)
        values, vectors = jnp.linalg.eigh(bend / root[:, None] / root[None])
        values = jnp.maximum(jnp.abs(values), 1e-3)
        move = (vectors @ ((vectors.T @ (slope / root)) / values)) / root
        moved = frequency - jnp.clip(move, -limit, limit)
        return jnp.where(missing(moved) < missing(frequency), moved, frequency)

    return jax.lax.map(lambda w: jax.lax.fori_loop(0, 8, step, w), start)


def _padded(samples: np.ndarray, frequency: np.ndarray, most: int) -> ToneFit:
    found = len(frequency)
    whole = np.zeros((max(most, found), samples.ndim))
    whole[:found] = frequency
    valid = np.arange(len(whole)) < found
    gain = fit_gains(jnp.asarray(samples), jnp.asarray(whole), jnp.asarray(valid))
    return ToneFit(whole, np.asarray(gain), valid)
