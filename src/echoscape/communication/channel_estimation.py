"""The channel from few pilots, with what the map expects of it as prior.

The map expects a covariance before any pilot was sent (`beams.expected_covariance`).  Pilots sent
along its strongest directions then suffice, and the linear estimate of least mean squared error,
``h = R P^H (P R P^H + s I)^-1 y``, needs no more than the expected channel has directions.

On a CPU, compile informed pilots, estimates and delay alignment each by itself: of independent
factorisations of many users in one program, jaxlib 0.10 lets each wait for the other's threads.

Takes a covariance, pilots, and what was received.
Gives the channel, its expected error, and the pilots to send.
"""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float


def prior_estimate(
    covariance: Complex[Array, "element element"],
    pilots: Complex[Array, "pilot element"],
    received: Complex[Array, " pilot"],
    noise: Float[Array, ""],
) -> Complex[Array, " element"]:
    """Estimate a channel from pilots, with its expected covariance as prior.

    Args:
        covariance: Expected covariance of the channel.
        pilots: Weights of each pilot; it receives ``pilots @ channel`` and noise.
        received: What was received.
        noise: Variance of the noise of one pilot.
    """
    return _gain(covariance, pilots, noise) @ received


def expected_error(
    covariance: Complex[Array, "element element"],
    pilots: Complex[Array, "pilot element"],
    noise: Float[Array, ""],
) -> Float[Array, ""]:
    """Expect the squared error of `prior_estimate`, summed over elements, if the prior holds."""
    gain = _gain(covariance, pilots, noise)
    return jnp.real(jnp.trace(covariance - gain @ pilots @ covariance))


def least_squares(
    pilots: Complex[Array, "pilot element"], received: Complex[Array, " pilot"]
) -> Complex[Array, " element"]:
    """Estimate a channel from pilots alone: the shortest channel that explains them."""
    return jnp.linalg.pinv(pilots) @ received


def informed_pilots(
    covariance: Complex[Array, "element element"], count: int
) -> Complex[Array, "pilot element"]:
    """Send pilots along the directions that the channel is expected in, the strongest first."""
    _, vectors = jnp.linalg.eigh(covariance)
    return jnp.conj(vectors[:, ::-1][:, :count].T)


def _gain(covariance, pilots, noise) -> Complex[Array, "element pilot"]:
    across = covariance @ jnp.conj(pilots.T)
    inner = pilots @ across + noise * jnp.eye(pilots.shape[0], dtype=across.dtype)
    return jnp.conj(jnp.linalg.solve(inner, jnp.conj(across.T)).T)
