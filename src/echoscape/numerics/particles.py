"""Particle filtering: weights, when to resample, and how.

Takes log-weights, keys, and functions that move particles and weigh them.
Gives weights, ancestors, and one step of a bootstrap filter.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Cloud(eqx.Module):
    """Particles with weights that sum to one."""

    state: Float[Array, "particle coordinate"]
    """Where the particles are."""
    log_weight: Float[Array, " particle"]
    """Logarithms of their weights, normalised."""

    @property
    def mean(self) -> Float[Array, " coordinate"]:
        """Weighted mean of the particles."""
        return jnp.exp(self.log_weight) @ self.state


def start_cloud(state: Float[Array, "particle coordinate"]) -> Cloud:
    """Give every particle the same weight."""
    count = state.shape[0]
    return Cloud(state, jnp.full(count, -jnp.log(float(count))))


def effective_size(log_weight: Float[Array, " particle"]) -> Float[Array, ""]:
    """Count the equal particles that carry as much: 1 over the sum of the squared weights."""
    return jnp.exp(-jax.nn.logsumexp(2 * jax.nn.log_softmax(log_weight)))


def systematic(
    log_weight: Float[Array, " particle"], *, key: PRNGKeyArray
) -> Int[Array, " particle"]:
    """Draw ancestors on a comb with one random offset: the least scatter for the least work."""
    count = log_weight.shape[0]
    comb = (jnp.arange(count) + jax.random.uniform(key)) / count
    total = jnp.cumsum(jax.nn.softmax(log_weight))
    # 'scan' is the fastest way to search a sorted array here by an order of magnitude
    found = jnp.searchsorted(total / total[-1], comb, method="scan")
    return jnp.minimum(found, count - 1)


def bootstrap_step(
    cloud: Cloud,
    move: Callable[[PRNGKeyArray, Array], Array],
    weigh: Callable[[Array], Array],
    *,
    key: PRNGKeyArray,
    threshold: float = 0.5,
) -> tuple[Cloud, Float[Array, ""]]:
    """Move, weigh, and resample where the effective size has fallen below a share of the count.

    Args:
        cloud: The particles.
        move: From a key and all particles to all particles one step later.
        weigh: Log-likelihood of each particle.
        key: Random key.
        threshold: Share of the particles.

    Returns:
        The particles, and the log-likelihood of the step's measurement given all before.
    """
    key_move, key_draw = jax.random.split(key)
    state = move(key_move, cloud.state)
    raw = cloud.log_weight + weigh(state)
    evidence = jax.nn.logsumexp(raw)
    # weights that all vanish tell nothing: the particles go on as they were
    lost = ~jnp.isfinite(evidence)
    log_weight = jnp.where(lost, cloud.log_weight, raw - jnp.where(lost, 0.0, evidence))
    count = log_weight.shape[0]
    poor = effective_size(log_weight) < threshold * count
    ancestor = jnp.where(poor, systematic(log_weight, key=key_draw), jnp.arange(count))
    log_weight = jnp.where(poor, -jnp.log(float(count)), log_weight)
    return Cloud(state[ancestor], log_weight), evidence
