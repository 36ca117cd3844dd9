"""How well any unbiased estimator can know parameters from measurements with Gaussian errors.

Measurements are first whitened: every row of the Jacobian is divided by its standard deviation
(or solved against the covariance's root), so radians and nanoseconds share one matrix.  The
information is the product of the whitened rows with themselves; its inverse bounds the
covariance of any unbiased estimate (Eqs. (15)-(17) of [wu-ckm]).

Takes the Jacobian of a measurement function (`jax.jacfwd`) and the errors of the measurements.
Gives information, bounds, and which directions are seen at all.
"""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from echoscape.checks import same_shape


class Spectrum(eqx.Module):
    """Information direction by direction, so that what is not observed can be named."""

    information: Float[Array, " n"]
    """Information along each direction, rising [1/unit^2]."""
    direction: Float[Array, "n n"]
    """Unit vectors in the columns, of arbitrary sign."""
    observed: Bool[Array, " n"]
    """False where the information is lost in round-off of the largest."""

    @property
    def covariance(self) -> Float[Array, "n n"]:
        """Bound within the observed directions; zero along the others [unit^2]."""
        safe = jnp.where(self.observed, self.information, 1.0)
        scaled = self.direction * jnp.where(self.observed, 1.0 / safe, 0.0)[None, :]
        return scaled @ self.direction.T


def whiten(
    jacobian: Float[Array, "measurement n"], std: Float[Array, " measurement"]
) -> Float[Array, "measurement n"]:
    """Divide each row by its measurement's standard deviation; an infinite one adds nothing."""
    same_shape(jacobian=jacobian[:, 0], std=std)
    return jacobian / std[:, None]


def whiten_correlated(
    jacobian: Float[Array, "measurement n"],
    covariance: Float[Array, "measurement measurement"],
) -> Float[Array, "measurement n"]:
    """Solve the rows against the Cholesky root of the measurements' covariance.

    Raises:
        RuntimeError: The covariance is not positive definite.
    """
    root = jnp.linalg.cholesky(covariance)
    bad = ~jnp.all(jnp.isfinite(root))
    root = eqx.error_if(root, bad, "a covariance of measurements must be positive definite")
    return solve_triangular(root, jacobian, lower=True)


def information(rows: Float[Array, "measurement n"]) -> Float[Array, "n n"]:
    """Sum the information of whitened measurements [1/unit^2]."""
    return rows.T @ rows


def spectrum(information: Float[Array, "n n"]) -> Spectrum:
    """Decompose information into directions, without refusing any.

    All parameters must have one unit, else "direction" has no meaning.
    """
    value, direction = jnp.linalg.eigh(information)
    threshold = 10 * len(value) * jnp.finfo(value.dtype).eps * value[-1]
    return Spectrum(jnp.maximum(value, 0.0), direction, value > threshold)


def bound(rows: Float[Array, "measurement n"]) -> Float[Array, "n n"]:
    """Bound the covariance of any unbiased estimate from whitened measurements.

    Eq. (17) of [wu-ckm], which inverts ``J^T S^-1 J``; the rows are factorised once instead, so
    the condition number is not squared.

    Args:
        rows: Jacobian after `whiten` or `whiten_correlated`, at least as many rows as columns.

    Returns:
        Smallest reachable covariance [unit^2].

    Raises:
        RuntimeError: The measurements leave some direction unobserved; ask `spectrum` which.
    """
    n = rows.shape[1]
    if rows.shape[0] < n:
        raise ValueError(f"{rows.shape[0]} measurements cannot bound {n} parameters")
    r = jnp.linalg.qr(rows, mode="r")
    pivot = jnp.abs(jnp.diagonal(r))
    unobserved = ~(jnp.min(pivot) > 10 * n * jnp.finfo(r.dtype).eps * jnp.max(jnp.abs(r)))
    r = eqx.error_if(r, unobserved, "these measurements leave a direction unobserved")
    inverse = solve_triangular(r, jnp.eye(n, dtype=r.dtype))
    return inverse @ inverse.T
