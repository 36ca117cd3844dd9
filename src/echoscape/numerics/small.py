"""Small covariance matrices by the thousand: Gaussian exponents without a library call for each.

A Cholesky factorisation written out for sizes below ten is a few dozen products that a compiler
fuses over any batch; a library call for each matrix would cost more than the work.

Takes vectors and positive definite matrices with any batch axes in front.
Gives squared Mahalanobis distances and log-determinants.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def mahalanobis(
    vector: Float[Array, "*batch n"], covariance: Float[Array, "*batch n n"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Measure vectors in their standard deviations.

    Returns:
        ``v^T C^-1 v``, and the log-determinant of ``C``.
    """
    size = vector.shape[-1]
    lower: dict[tuple[int, int], Array] = {}
    whitened: list[Array] = []
    squared = jnp.zeros(())
    determinant = jnp.ones(())
    for i in range(size):
        rest = covariance[..., i, i]
        for k in range(i):
            rest = rest - lower[i, k] ** 2
        # round-off of a matrix that was positive definite must not become a NaN
        rest = jnp.maximum(rest, 1e-14 * covariance[..., i, i])
        lower[i, i] = jnp.sqrt(rest)
        determinant = determinant * rest
        for j in range(i + 1, size):
            product = covariance[..., j, i]
            for k in range(i):
                product = product - lower[j, k] * lower[i, k]
            lower[j, i] = product / lower[i, i]
        part = vector[..., i]
        for k in range(i):
            part = part - lower[i, k] * whitened[k]
        whitened.append(part / lower[i, i])
        # each column once: a compiler that fused them all would repeat them without end
        lower, whitened, rest = jax.lax.optimization_barrier((lower, whitened, rest))
        squared = squared + whitened[i] ** 2
    return squared, jnp.log(determinant)
