"""Gaussian filtering: prediction, and updates by linearisation or by sigma points.

Takes means, covariances and measurement functions.
Gives means and covariances after a step, or with what came later.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

Measure = Callable[[Array], Array]
Difference = Callable[[Array, Array], Array]


class Gaussian(eqx.Module):
    """A mean and a covariance."""

    mean: Float[Array, "*batch coordinate"]
    """Where it is centred."""
    covariance: Float[Array, "*batch coordinate coordinate"]
    """How it spreads."""


def predict(
    belief: Gaussian,
    transition: Float[Array, "coordinate coordinate"],
    noise: Float[Array, "coordinate coordinate"],
) -> Gaussian:
    """Move a belief on: ``F m`` and ``F C F^T + Q``."""
    return Gaussian(transition @ belief.mean, transition @ belief.covariance @ transition.T + noise)


def extended_update(
    belief: Gaussian,
    measured: Float[Array, " value"],
    noise: Float[Array, "value value"],
    measure: Measure,
    difference: Difference = jnp.subtract,
) -> Gaussian:
    """Condition a belief on a measurement, linearised at its mean.

    Args:
        belief: Before.
        measured: What was measured.
        noise: Covariance of its error.
        measure: What a state would measure.
        difference: Measured less predicted, for values such as angles that wrap.
    """
    slope = jax.jacfwd(measure)(belief.mean)
    spread = slope @ belief.covariance
    residual = difference(measured, measure(belief.mean))
    return condition(belief, residual, spread @ slope.T + noise, spread)


def unscented_update(
    belief: Gaussian,
    measured: Float[Array, " value"],
    noise: Float[Array, "value value"],
    measure: Measure,
    difference: Difference = jnp.subtract,
) -> Gaussian:
    """Condition a belief on a measurement by the 2n points at ``sqrt(n)`` standard deviations."""
    size = belief.mean.shape[0]
    root = jnp.linalg.cholesky(belief.covariance) * jnp.sqrt(float(size))
    offset = jnp.concatenate([root.T, -root.T])
    centre = measure(belief.mean)
    value = jax.vmap(lambda x: difference(measure(x), centre))(belief.mean[None] + offset)
    mean = value.mean(axis=0)
    deviation = value - mean[None]
    spread = deviation.T @ offset / (2 * size)
    inner = deviation.T @ deviation / (2 * size) + noise
    return condition(belief, difference(measured, centre) - mean, inner, spread)


def condition(
    belief: Gaussian,
    residual: Float[Array, " value"],
    inner: Float[Array, "value value"],
    spread: Float[Array, "value coordinate"],
) -> Gaussian:
    """Condition a belief on a residual, by the Cholesky factor of its covariance.

    Args:
        belief: Before.
        residual: Measured less predicted.
        inner: Covariance of the residual.
        spread: Covariance of the residual with the coordinates.
    """
    lower = jnp.linalg.cholesky(inner)
    root = solve_triangular(lower, spread, lower=True)
    innovation = solve_triangular(lower, residual, lower=True)
    return Gaussian(belief.mean + root.T @ innovation, belief.covariance - root.T @ root)


def smooth(
    filtered: Gaussian,
    predicted: Gaussian,
    later: Gaussian,
    transition: Float[Array, "coordinate coordinate"],
) -> Gaussian:
    """Take back to one instant what later instants taught (Rauch, Tung and Striebel).

    Args:
        filtered: Belief at the instant.
        predicted: What it became at the next before the measurement there.
        later: The next instant's belief with everything known.
        transition: From the instant to the next.
    """
    return _correct(filtered, predicted, later, smoothing_gain(filtered, predicted, transition))


def smoothing_gain(
    filtered: Gaussian, predicted: Gaussian, transition: Float[Array, "coordinate coordinate"]
) -> Float[Array, "coordinate coordinate"]:
    """Find how much of a later correction an instant takes over."""
    return jnp.linalg.solve(predicted.covariance, transition @ filtered.covariance).T


def _correct(filtered: Gaussian, predicted: Gaussian, later: Gaussian, gain: Array) -> Gaussian:
    return Gaussian(
        filtered.mean + gain @ (later.mean - predicted.mean),
        filtered.covariance + gain @ (later.covariance - predicted.covariance) @ gain.T,
    )


def fixed_lag(
    filtered: Gaussian,
    predicted: Gaussian,
    transition: Float[Array, "step coordinate coordinate"],
    lag: int,
) -> Gaussian:
    """Take back to each instant what the next `lag` instants taught, and no more.

    What a system can know that answers `lag` instants late.  With a lag of all instants this is the
    smoother of Rauch, Tung and Striebel.

    Args:
        filtered: Beliefs at every instant, one more than steps.
        predicted: What each but the last became at the next, before the measurement there.
        transition: From each to the next.
        lag: How many instants.
    """
    steps = transition.shape[0]
    gain = jax.vmap(smoothing_gain)(
        jax.tree.map(lambda leaf: leaf[:-1], filtered), predicted, transition
    )

    def at(number):
        def back(j, later):
            step = number + lag - 1 - j  # from instant `step` to the next
            i = jnp.minimum(step, steps - 1)
            own, ahead = (jax.tree.map(lambda leaf: leaf[i], x) for x in (filtered, predicted))
            better = _correct(own, ahead, later, gain[i])
            return jax.tree.map(lambda new, old: jnp.where(step < steps, new, old), better, later)

        end = jnp.minimum(number + lag, steps)
        return jax.lax.fori_loop(0, lag, back, jax.tree.map(lambda leaf: leaf[end], filtered))

    return jax.vmap(at)(jnp.arange(steps + 1))
