"""Products of one chunk of voxels with what arrives, over channels kept in parts.

Real and imaginary parts of a channel stand one after the other, so that one real product of all
with all, which takes a third of the time of a complex one, does the work of four.

Takes the two legs of every voxel of a chunk, and samples or weights.
Gives what arrives, or what each voxel or each of its links has to do with it.
"""

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
    leg = _applied(rows, masked(antenna, seen_station))
    user = user * seen_user[None, None]
    real, imaginary = user[:, 0], user[:, 1]
    return jax.lax.complex(
        jnp.sum(leg[:, 0] * real + leg[:, 1] * imaginary, (0, 1)),
        jnp.sum(leg[:, 1] * real - leg[:, 0] * imaginary, (0, 1)),
    )


def weigh_columns(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    seen_user: Float[Array, "user voxel"],
    seen_station: Float[Array, "station voxel"],
    weight: Float[Array, "subcarrier user station antenna"],
) -> Float[Array, " voxel"]:
    """Weigh the power of each voxel's column, the mask of zeros and ones."""
    leg = _applied(weight, power_of(antenna) * seen_station[None, :, None])
    return jnp.sum(leg * power_of(user) * seen_user[None], (0, 1))


def correlate(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    received: Complex[Array, "subcarrier user station antenna"],
) -> Complex[Array, "user station voxel"]:
    """Correlate what arrives with each link of each voxel of one chunk, all in sight."""
    rows = jnp.einsum("pqfkba->fbpkqa", _turns(received))
    subcarriers, stations, _, users, _, antennas = rows.shape
    rows = rows.reshape(subcarriers, stations, 2 * users, 2 * antennas)
    link = _matmul(rows, antenna.reshape(subcarriers, stations, 2 * antennas, -1))
    link = jnp.moveaxis(link.reshape(subcarriers, stations, 2, users, -1), 1, 3)
    real, imaginary = user[:, 0, :, None], user[:, 1, :, None]
    return jax.lax.complex(
        jnp.sum(link[:, 0] * real + link[:, 1] * imaginary, 0),
        jnp.sum(link[:, 1] * real - link[:, 0] * imaginary, 0),
    )


def correlate_power(
    user: Float[Array, "subcarrier part user voxel"],
    antenna: Float[Array, "subcarrier station part antenna voxel"],
    weight: Float[Array, "subcarrier user station antenna"],
) -> Float[Array, "user station voxel"]:
    """Weigh the power of each link of each voxel of one chunk, all in sight."""
    link = _matmul(jnp.swapaxes(weight, 1, 2), power_of(antenna))
    return jnp.sum(power_of(user)[:, :, None] * jnp.swapaxes(link, 1, 2), 0)


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
