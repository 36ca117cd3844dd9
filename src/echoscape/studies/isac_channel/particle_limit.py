"""How fast particles approach the Kalman filter, where that is exact.

A walk in the plane at nearly constant velocity, linear and Gaussian throughout.

Takes a number of particles and a seed.
Gives the root mean square difference of the two filters' means.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from echoscape.numerics.kalman import Gaussian, extended_update, predict
from echoscape.numerics.particles import bootstrap_step, start_cloud

WALKS = 8
"""Walks over which it is averaged, each of 100 steps."""


def difference_from_kalman(count: int, seed: int) -> float:
    """Measure how far the mean of `count` particles is from the exact one [m]."""
    keys = jax.random.split(jax.random.key(seed), WALKS)
    difference = jax.lax.map(functools.partial(_against_kalman, count=count), keys)
    return float(np.sqrt(np.mean(np.asarray(difference) ** 2)))


@functools.partial(jax.jit, static_argnames="count")
def _against_kalman(key, count: int):
    """Follow one walk in the plane both ways, and measure how far the means are apart [m]."""
    step, push, error = 0.5, 0.1, 0.2
    forward = jnp.kron(jnp.array([[1.0, step], [0.0, 1.0]]), jnp.eye(2))
    shove = jnp.kron(jnp.array([[step**2 / 2], [step]]), push * jnp.eye(2))
    first, noise = jnp.array([0.0, 1.0, 0.6, -0.2]), error**2 * jnp.eye(2)
    key_push, key_look, key_start, key_run = jax.random.split(key, 4)

    def walk(state, push):
        state = forward @ state + shove @ push
        return state, state[:2]

    place = jax.lax.scan(walk, first, jax.random.normal(key_push, (100, 2)))[1]
    seen = place + error * jax.random.normal(key_look, place.shape)

    def both(carry, instant):
        cloud, belief = carry
        value, key = instant
        belief = predict(belief, forward, shove @ shove.T)
        belief = extended_update(belief, value, noise, lambda x: x[:2])

        def move(key, state):
            return state @ forward.T + jax.random.normal(key, (count, 2)) @ shove.T

        def weigh(state):
            return -0.5 * jnp.sum((state[:, :2] - value[None]) ** 2, axis=1) / error**2

        cloud, _ = bootstrap_step(cloud, move, weigh, key=key)
        return (cloud, belief), cloud.mean[:2] - belief.mean[:2]

    start = first[None] + 0.1 * jax.random.normal(key_start, (count, 4))
    begin = start_cloud(start), Gaussian(first, 0.01 * jnp.eye(4))
    difference = jax.lax.scan(both, begin, (seen, jax.random.split(key_run, 100)))[1]
    return jnp.sqrt(jnp.mean(difference**2))
