"""Sums of separable harmonics on a box of samples: fits and information, never a long atom.

An atom is a product of complex tones, one for each axis of the box, with samples counted from the
middle of the axis, which leaves the phase of an atom nearly independent of its frequencies.  All
inner products of atoms and of their derivatives are products of sums along single axes, so that
nothing of the size (atoms times samples) is ever made.

Takes samples [n1, n2, ...] and frequencies [atom, axis] in radians per sample.
Gives inner products, best gains, and Fisher information about the frequencies.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

_LEAST = 1e-12  # of a Gram matrix's unit diagonal, so that coinciding atoms share their energy


def centred(size: int) -> Float[Array, " sample"]:
    """Count samples from the middle of an axis."""
    return jnp.arange(size, dtype=float) - 0.5 * (size - 1)


def tones(frequency: Float[Array, " atom"], size: int) -> Complex[Array, "atom sample"]:
    """Make the tones of one axis."""
    return jnp.exp(1j * frequency[:, None] * centred(size)[None])


def correlate(
    samples: Complex[Array, "..."], frequency: Float[Array, "atom axis"]
) -> Complex[Array, " atom"]:
    """Take the inner product of every atom with the samples, the longest axis first."""
    return _contract(samples, [tones(w, n) for w, n in zip(frequency.T, samples.shape)])


def correlate_slopes(
    samples: Complex[Array, "..."], frequency: Float[Array, "atom axis"]
) -> tuple[Complex[Array, " atom"], Complex[Array, "atom axis"]]:
    """Take the inner products with every atom and with its derivative in every frequency."""
    plain = [tones(w, n) for w, n in zip(frequency.T, samples.shape)]
    slopes = [1j * centred(tone.shape[1])[None] * tone for tone in plain]
    columns = [
        _contract(samples, [slopes[a] if a == axis else tone for a, tone in enumerate(plain)])
        for axis in range(len(plain))
    ]
    return _contract(samples, plain), jnp.stack(columns, axis=1)


def _contract(samples, factors):
    """Contract every axis with the conjugate of its factor."""
    order = sorted(range(len(factors)), key=lambda axis: -samples.shape[axis])
    first, names = order[0], "abcdefgh"[: samples.ndim]
    kept = names.replace(names[first], "")
    left = jnp.einsum(f"{names},z{names[first]}->z{kept}", samples, factors[first].conj())
    for axis in order[1:]:
        rest = kept.replace(names[axis], "")
        left = jnp.einsum(f"z{kept},z{names[axis]}->z{rest}", left, factors[axis].conj())
        kept = rest
    return left


def synthesize(
    frequency: Float[Array, "atom axis"], gain: Complex[Array, " atom"], shape: tuple[int, ...]
) -> Complex[Array, "..."]:
    """Add the atoms up to samples of a shape, one matrix product for the longest axis."""
    factors = [tones(w, n) for w, n in zip(frequency.T, shape)]
    longest = int(np.argmax(shape))
    names = "abcdefgh"[: len(shape)]
    left, kept = gain.astype(factors[0].dtype), ""
    for axis, factor in enumerate(factors):
        if axis != longest:
            left = jnp.einsum(f"z{kept},z{names[axis]}->z{kept}{names[axis]}", left, factor)
            kept += names[axis]
    return jnp.einsum(f"z{kept},z{names[longest]}->{names}", left, factors[longest])


def gram(
    frequency: Float[Array, "atom axis"], shape: tuple[int, ...]
) -> Complex[Array, "atom atom"]:
    """Take the inner products among the atoms, divided by their common energy."""
    product = jnp.ones((frequency.shape[0],) * 2, dtype=complex)
    for axis, size in enumerate(shape):
        tone = tones(frequency[:, axis], size)
        product = product * (tone.conj() @ tone.T) / size
    return product


def frequency_information(
    frequency: Float[Array, "atom axis"],
    gain: Complex[Array, " atom"],
    shape: tuple[int, ...],
    noise_variance: float | Float[Array, ""],
    mix: Float[Array, "atom unknown"] | None = None,
) -> Float[Array, "atom axis atom axis"]:
    """Compute the information on all frequencies jointly, the complex gains unknown.

    The inverse bounds the covariance of every unbiased estimate.  For one atom it is the textbook
    ``6 / ((n^2 - 1) snr)`` for each axis, with the integrated ratio ``snr``.  Axes of one sample
    carry no information; nor do atoms of gain zero.

    Args:
        frequency: The atoms [rad/sample].
        gain: Their gains.
        shape: Of the samples.
        noise_variance: Mean squared noise of a sample.
        mix: What the gains are made of, where some are known to be equal: gains are this matrix
            times the unknowns.
    """
    count, axes = frequency.shape
    plain, left, right, both = [], [], [], []
    for axis, size in enumerate(shape):
        tone, n = tones(frequency[:, axis], size), centred(size)
        slope = 1j * n[None] * tone
        plain.append(tone.conj() @ tone.T / size)
        left.append(slope.conj() @ tone.T / size)  # derivative of the row's atom
        right.append(tone.conj() @ slope.T / size)
        both.append(slope.conj() @ slope.T / size)

    def product(replaced: dict):
        matrix = jnp.ones((count, count), dtype=complex)
        for axis in range(axes):
            matrix = matrix * replaced.get(axis, plain[axis])
        return matrix

    mix = jnp.eye(count) if mix is None else mix
    base = mix.T @ product({}) @ mix + _LEAST * jnp.eye(mix.shape[1])
    rows = jnp.stack([product({a: left[a]}) for a in range(axes)])  # [axis, atom, atom]
    cross = jnp.stack([
        jnp.stack([
            product({a: both[a]} if a == b else {a: left[a], b: right[b]}) for b in range(axes)
        ])
        for a in range(axes)
    ])  # fmt: skip
    rows = rows @ mix.astype(rows.dtype)
    flat = rows.reshape(axes * count, -1)
    known = (flat @ jnp.linalg.solve(base, flat.conj().T)).reshape(axes, count, axes, count)
    known = known.transpose(0, 2, 1, 3)
    weight = jnp.outer(gain.conj(), gain)
    scale = 2.0 * math.prod(shape) / noise_variance
    found = scale * jnp.real(weight[None, None] * (cross - known))
    return found.transpose(2, 0, 3, 1)


def frequency_covariances(
    information: Float[Array, "atom axis atom axis"],
) -> Float[Array, "atom axis axis"]:
    """Turn joint information into each atom's own covariance.

    Frequencies that nothing is known of have the variance of an angle uniform on the circle.
    """
    count, axes = information.shape[:2]
    matrix = information.reshape(count * axes, count * axes)
    # The circle's own variance as prior information keeps what is unobserved finite.
    floor = 3.0 / math.pi**2
    scale = 1.0 / jnp.sqrt(jnp.diagonal(matrix) + floor)
    scaled = (matrix + floor * jnp.eye(count * axes)) * scale[:, None] * scale[None]
    inverse = jnp.linalg.inv(scaled) * scale[:, None] * scale[None]
    index = jnp.arange(count)
    return inverse.reshape(count, axes, count, axes)[index, :, index]
