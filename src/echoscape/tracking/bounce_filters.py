"""Five filters on the state of moving bounce points, the paper's own among them.

Takes one path's measurements over time, associated, and where it starts.
Gives its state at every instant.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from echoscape.numerics.kalman import Gaussian, extended_update, predict, unscented_update
from echoscape.numerics.particles import bootstrap_step, effective_size, start_cloud, systematic
from echoscape.tracking.bounce_state import (
    PLACES,
    SIZE,
    SPEEDS,
    angle_residual,
    measure_bounces,
    motion_noise,
    transition,
)
from echoscape.units import delay_of

Method = Literal["paper", "bootstrap", "rao-blackwellised", "extended", "unscented"]


class PathHistory(eqx.Module):
    """One path as a receiver measured it, associated over time."""

    measured: Float[Array, "*path time 5"]
    """`anchor.MEASURED` [m, rad]."""
    std: Float[Array, "*path time 5"]
    """Standard deviations [m, rad]."""
    seen: Bool[Array, "*path time"]
    """Where there was a measurement."""


def follow_bounces(
    history: PathHistory,
    start: Float[Array, "18"],
    start_std: Float[Array, "18"],
    station: Float[Array, "3"],
    beyond: Float[Array, ""],
    step: Float[Array, ""],
    method: Method = "bootstrap",
    particles: int = 500,
    *,
    key: PRNGKeyArray,
) -> Float[Array, "time 18"]:
    """Follow one path's user, first and last bounce, in one go; see `bounce_filter`.

    Returns:
        State at each instant [m, m/s].
    """
    carry, advance = bounce_filter(
        start, start_std, station, beyond, step, method, particles, key=key
    )
    return jax.lax.scan(advance, carry, instants_of(history, key))[1]


def instants_of(history: PathHistory, key: PRNGKeyArray) -> tuple[Array, Array, Array, Array]:
    """Give what the step of a `bounce_filter` takes in at each instant."""
    keys = jax.random.split(key, len(history.seen))
    return history.measured, history.std, history.seen, keys


def bounce_filter(
    start: Float[Array, "18"],
    start_std: Float[Array, "18"],
    station: Float[Array, "3"],
    beyond: Float[Array, ""],
    step: Float[Array, ""],
    method: Method = "bootstrap",
    particles: int = 500,
    *,
    key: PRNGKeyArray,
) -> tuple[Any, Callable[[Any, Any], tuple[Any, Float[Array, "18"]]]]:
    """Make the filter of one path's user, first and last bounce.

    ``paper`` is Eq. (23) of [isac-gbsm]: a particle weighs the reciprocal of the Euclidean distance
    between what it predicts and what was measured, in seconds and radians, and the heaviest one is
    the estimate from which all start again.  The delay in seconds weighs nothing beside angles, and
    more particles do not help; it is kept as a baseline.

    Args:
        start: State at the instant before the first [m, m/s].
        start_std: Standard deviation of each coordinate [m, m/s].
        station: Position of the station [m].
        beyond: Length that neither outer leg explains [m].
        step: Time between instants [s].
        method: Which filter.
        particles: How many, for those that use particles.
        key: Random key.

    Returns:
        What is believed before the first instant, and the step from one to the next, which gives
        the state then [m, m/s].
    """
    scale = motion_noise(step)
    spread = jnp.zeros((SIZE, 9)).at[PLACES, jnp.arange(9)].set(0.5 * step**2 * scale)
    spread = spread.at[SPEEDS, jnp.arange(9)].set(step * scale)
    forward = transition(step)

    def predicted(state):
        return measure_bounces(state, station, beyond)

    def move(key, state):
        return state @ forward.T + jax.random.normal(key, (len(state), 9)) @ spread.T

    def log_likelihood(state, measured, std):
        apart = jax.vmap(lambda x: angle_residual(measured, predicted(x)))(state)
        return -0.5 * jnp.sum((apart / std[None]) ** 2, axis=1)

    draws = start[None] + start_std[None] * jax.random.normal(key, (particles, SIZE))

    if method == "paper":
        units = jnp.array([delay_of(1.0), 1.0, 1.0, 1.0, 1.0])

        def paper(state, instant):
            measured, _, seen, key = instant
            cloud = move(key, jnp.broadcast_to(state, (particles, SIZE)))
            apart = jax.vmap(lambda x: angle_residual(measured, predicted(x)) * units)(cloud)
            best = jnp.argmin(jnp.sum(apart**2, axis=1))
            state = jnp.where(seen, cloud[best], forward @ state)
            return state, state

        return start, paper

    if method == "bootstrap":

        def bootstrap(cloud, instant):
            measured, std, seen, key = instant
            cloud, _ = bootstrap_step(
                cloud,
                move,
                lambda x: jnp.where(seen, log_likelihood(x, measured, std), 0.0),
                key=key,
            )
            return cloud, cloud.mean

        return start_cloud(draws), bootstrap

    if method == "rao-blackwellised":
        return _rao_blackwellised(draws, start_std, step, scale, log_likelihood)

    update = extended_update if method == "extended" else unscented_update

    def gaussian(belief, instant):
        measured, std, seen, _ = instant
        ahead = predict(belief, forward, spread @ spread.T + 1e-12 * jnp.eye(SIZE))
        after = update(ahead, measured, jnp.diag(std**2), predicted, angle_residual)
        belief = jax.tree.map(lambda new, old: jnp.where(seen, new, old), after, ahead)
        return belief, belief.mean

    return Gaussian(start, jnp.diag(start_std**2)), gaussian


def _rao_blackwellised(draws, start_std, step, scale, log_likelihood):
    """Sample positions only; each particle's velocity is a Gaussian that its own moves teach.

    All velocities have one variance, since how it shrinks does not depend on what was drawn.
    """
    place, speed = draws[:, PLACES], draws[:, SPEEDS]
    variance = start_std[SPEEDS] ** 2
    log_weight = start_cloud(draws).log_weight

    def whole(place, speed):
        out = jnp.zeros((len(place), SIZE))
        return out.at[:, PLACES].set(place).at[:, SPEEDS].set(speed)

    def advance(carry, instant):
        place, speed, variance, log_weight = carry
        measured, std, seen, key = instant
        key_move, key_draw = jax.random.split(key)
        moved = step**2 * variance + (0.5 * step**2 * scale) ** 2
        shared = step * variance + 0.5 * step**3 * scale**2
        push = jnp.sqrt(moved)[None] * jax.random.normal(key_move, place.shape)
        ahead = place + step * speed + push
        speed = speed + (shared / moved)[None] * push
        variance = variance + step**2 * scale**2 - shared**2 / moved
        weight = jnp.where(seen, log_likelihood(whole(ahead, speed), measured, std), 0.0)
        log_weight = jax.nn.log_softmax(log_weight + weight)
        count = len(log_weight)
        poor = effective_size(log_weight) < 0.5 * count
        ancestor = jnp.where(poor, systematic(log_weight, key=key_draw), jnp.arange(count))
        log_weight = jnp.where(poor, -jnp.log(float(count)), log_weight)
        ahead, speed = ahead[ancestor], speed[ancestor]
        mean = jnp.exp(log_weight) @ whole(ahead, speed)
        return (ahead, speed, variance, log_weight), mean

    return (place, speed, variance, log_weight), advance
