"""Products of one chunk of voxels with what arrives, over channels kept in parts.

Real and imaginary parts of a channel stand one after the other, so that one real product of all
with all, which takes a third of the time of a complex one, does the work of four.

Takes the two segments of every voxel of a chunk, and samples or weights.
Gives what arrives, or what each voxel or each of its links has to do with it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

_EXACT = jax.lax.Precision.HIGHEST  # a GPU would round the factors of a product to ten bits


def split(whole: np.ndarray) -> np.ndarray:
    """Set real and imaginary parts one after the other, on a new axis before the last two."""
    return np.stack([np.real(whole), np.imag(whole)], -3)


def join(parts: Inexact[Array, "*batch part row column"]) -> Inexact[Array, "*batch row column"]:
    """Make complex numbers of their parts again."""
    return jax.lax.complex(parts[..., 0, :, :], parts[..., 1, :, :])


def correlate_columns(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    seen_user: Float[Array, "user voxel"],
    seen_station: Float[Array, "station voxel"],
    received: Complex[Array, "subcarrier user station antenna"],
) -> Complex[Array, " voxel"]:
    """Correlate what arrives with each voxel's column, as far as it is in sight."""
    rows = jnp.einsum("pqfkba->fpkbqa", _turns(received))
    segment = _applied(rows, masked(antenna, seen_station))
    user = user * seen_user[None, None]
    real, imaginary = user[:, 0], user[:, 1]
    return jax.lax.complex(
        jnp.sum(segment[:, 0] * real + segment[:, 1] * imaginary, (0, 1)),
        jnp.sum(segment[:, 1] * real - segment[:, 0] * imaginary, (0, 1)),
    )


def weigh_columns(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    seen_user: Float[Array, "user voxel"],
    seen_station: Float[Array, "station voxel"],
    weight: Float[Array, "subcarrier user station antenna"],
) -> Float[Array, " voxel"]:
    """Weigh the power of each voxel's column, the mask of zeros and ones."""
    segment = _applied(weight, power_of(antenna) * seen_station[None, :, None])
    return jnp.sum(segment * power_of(user) * seen_user[None], (0, 1))


def correlate(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    received: Complex[Array, "subcarrier user station antenna"],
) -> Complex[Array, "user station voxel"]:
    """Correlate what arrives with each link of each voxel of one chunk, all in sight."""
    rows = jnp.einsum("pqfkba->fbpkqa", _turns(received))
    subcarriers, stations, _, users, _, antennas = rows.shape
    rows = rows.reshape(subcarriers, stations, 2 * users, 2 * antennas)
    antenna = antenna.reshape(subcarriers, stations, 2 * antennas, -1)

    def one(rows, antenna, user):
        link = _matmul(rows, antenna).reshape(stations, 2, users, -1)
        first, second = (jnp.swapaxes(link[:, part], 0, 1) for part in (0, 1))
        real, imaginary = user[0][:, None], user[1][:, None]
        return first * real + second * imaginary, second * real - first * imaginary

    return jax.lax.complex(*_over_subcarriers(one, rows, antenna, user))


def correlate_power(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    weight: Float[Array, "subcarrier user station antenna"],
) -> Float[Array, "user station voxel"]:
    """Weigh the power of each link of each voxel of one chunk, all in sight."""

    def one(weight, antenna, user):
        link = _matmul(jnp.swapaxes(weight, 0, 1), antenna)
        return user[:, None] * jnp.swapaxes(link, 0, 1)

    return _over_subcarriers(one, weight, power_of(antenna), power_of(user))


def masked(
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    seen_station: Float[Array, "station voxel"],
) -> Float[Array, "subcarrier station part antenna voxel"]:
    """Hide voxels from whole stations."""
    return antenna * seen_station[None, :, None, None]


def weigh(
    user: Float[Array, "subcarrier part user voxel"], weight: Inexact[Array, "user voxel"]
) -> Float[Array, "subcarrier part user voxel"]:
    """Multiply by weights that may be complex."""
    if not jnp.iscomplexobj(weight):
        return user * weight[None, None]
    real, imaginary = jnp.real(weight)[None], jnp.imag(weight)[None]
    parts = user[:, 0] * real - user[:, 1] * imaginary, user[:, 0] * imaginary + user[:, 1] * real
    return jnp.stack(parts, 1)


def outer(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
) -> Complex[Array, "subcarrier user station antenna"]:
    """Sum the outer products of users' and antennas' channels over the voxels of one chunk."""
    four = jnp.einsum("fbqapk->qpfkba", _summed(antenna, user))
    return jax.lax.complex(four[0, 0] - four[1, 1], four[0, 1] + four[1, 0])


def outer_power(
    user: Float[Array, "subcarrier user voxel"],
    antenna: Float[Array, "subcarrier station antenna voxel"],
) -> Float[Array, "subcarrier user station antenna"]:
    """Sum the outer products of powers."""
    return jnp.einsum("fbak->fkba", _summed(antenna, user))


def power_of(parts: Float[Array, "*batch part row column"]) -> Float[Array, "*batch row column"]:
    """Square the size of what is kept as parts."""
    return parts[..., 0, :, :] ** 2 + parts[..., 1, :, :] ** 2


def _over_subcarriers(one: Callable[..., Any], *each: Array) -> Any:
    """Sum up what is made of every subcarrier, one after the other.

    Products batched over subcarriers and stations at once, followed by a sum over subcarriers, come
    out wrong by a third when compiled for a processor by jaxlib 0.10.2; eager they are right.
    """
    parts = [one(*arrays) for arrays in zip(*each, strict=True)]
    return jax.tree.map(lambda *terms: sum(terms[1:], terms[0]), *parts)


def _summed(tall: Array, short: Array) -> Array:
    """Multiply all rows of one with all of the other, subcarrier by subcarrier.

    Without a batch axis and with the taller one first: else the factors are copied transposed.
    """

    def one(tall, short):
        rows = [part.reshape(-1, part.shape[-1]) for part in (tall, short)]
        product = jnp.einsum("mn,kn->mk", *rows, precision=_EXACT)
        return product.reshape(tall.shape[:-1] + short.shape[:-1])

    return jnp.stack([one(*both) for both in zip(tall, short, strict=True)])


def _applied(rows: Array, tall: Array) -> Array:
    """Multiply rows with columns, subcarrier by subcarrier: what `tall` has ahead of its voxels."""

    def one(rows, tall):
        ahead = rows.shape[: rows.ndim - tall.ndim + 1]
        tall = tall.reshape(-1, tall.shape[-1])
        return _matmul(rows.reshape(-1, len(tall)), tall).reshape(*ahead, -1)

    return jnp.stack([one(*both) for both in zip(rows, tall, strict=True)])


def _turns(received: Array) -> Array:
    """Make the real matrix [part, part of a channel] that multiplies with a channel's conjugate."""
    real, imaginary = jnp.real(received), jnp.imag(received)
    return jnp.stack([jnp.stack([real, imaginary]), jnp.stack([imaginary, -real])])


def _matmul(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=_EXACT)
