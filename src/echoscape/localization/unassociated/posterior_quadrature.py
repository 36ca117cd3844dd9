"""The posterior about the end of a climb, weighed on a lattice with the map asked at each point.

Echoes leave long valleys of places that explain them nearly alike; which paths reach a place, and
which end at a shadow's edge, tells where in the valley the target stands.  Presence has no useful
gradient, so a climb does not see it: the valley is laid out in steps of its own deviation, and the
most probable place becomes the mean of what is found there.

Takes `Found` ends of climbs, and what evaluates places.
Gives `Found`, the best ends and their like replaced by mean and covariance.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.localization.posterior_modes import PRIOR, TOGETHER
from echoscape.localization.unassociated.ascent import Found

_STEP = 1.2  # deviations between points of the lattice
_WIDEST = 6.0  # a valley is laid out no wider than this in each direction [m]
# Variance added, as a share of the echoes' own: what lies between the points of the lattice is a
# third of it, the rest is for presence, which takes paths for independent though one wall may
# darken several.
_DOUBT = _STEP**2 / 4.0
_ENDS = 2  # different ends that are weighed
_LATTICE = np.array(
    [(a * _STEP, b * _STEP) for a in range(-2, 3) for b in range(-2, 3) if abs(a) + abs(b) < 4]
)


def weigh_ends(found: Found, evaluate, heights: Float[Array, "2"]) -> Found:
    """Replace the best ends by the mean of the posterior around them.

    Args:
        found: Ends of climbs, by target and start.
        evaluate: Places by target and point [m], and targets' levels, to the log-likelihood there.
        heights: Lowest and highest z [m]; equal where the height is given.
    """
    valleys = _lay_out(found, heights)
    targets, points = len(found.value), len(_LATTICE)
    level = jnp.take_along_axis(found.level, valleys.best[..., None], axis=1)
    there = evaluate(valleys.place.reshape(targets, -1, 3), jnp.repeat(level, points, axis=1))
    return _replace(found, valleys, there.reshape(targets, _ENDS, points), heights)


class _Valley(NamedTuple):
    """An end, those that ended with it, and the lattice around it."""

    best: Int[Array, "*batch"]
    mine: Bool[Array, "*batch start"]
    laid: Float[Array, "*batch 3 3"]
    """Covariance in the plane of the lattice, by the echoes [m^2]."""
    across: Float[Array, "*batch 3 3"]
    """The rest of it, in the one direction that the lattice leaves out [m^2]."""
    place: Float[Array, "*batch point 3"]
    """Points of the lattice [m]."""


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def _lay_out(found: Found, heights) -> _Valley:
    """Pick the best ends that differ and lay a lattice around each."""
    free = heights[1] > heights[0]
    level = jnp.diag(jnp.where(free, jnp.zeros(3), jnp.array([0.0, 0.0, 1.0])))

    def valley(best, left):
        # A given height is known so well that it takes no part.
        covariance = jnp.linalg.inv(found.information[best] + PRIOR * jnp.eye(3) + 1e12 * level)
        width = jnp.sqrt(jnp.maximum(covariance[0, 0] + covariance[1, 1], 0.0))
        apart = jnp.linalg.norm(found.place - found.place[best][None], axis=-1)
        value, vector = jnp.linalg.eigh(covariance)
        side = jnp.sqrt(jnp.clip(value[1:], 1e-8, _WIDEST**2))
        axes = vector[:, 1:] * side[None]
        place = found.place[best][None] + jnp.asarray(_LATTICE) @ axes.T
        place = place.at[:, 2].set(jnp.clip(place[:, 2], heights[0], heights[1]))
        across = jnp.maximum(value[0], 0.0) * jnp.outer(vector[:, 0], vector[:, 0])
        near = left & (apart < TOGETHER * jnp.maximum(1.0, width))
        return _Valley(best, near, axes @ axes.T, across, place.astype(found.place.dtype))

    left, valleys = jnp.isfinite(found.value), []
    for _ in range(_ENDS):
        valleys.append(valley(jnp.argmax(jnp.where(left, found.value, -jnp.inf)), left))
        left = left & ~valleys[-1].mine
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *valleys)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0, None))
def _replace(found: Found, valleys: _Valley, value, heights) -> Found:
    """Turn the values on each lattice into mean, covariance and an equivalent peak."""

    def posterior(valley, value):
        weight = jax.nn.softmax(value)
        mean = weight @ valley.place
        mean = mean.at[2].set(jnp.clip(mean[2], heights[0], heights[1]))
        apart = valley.place - mean[None]
        spread = (weight[:, None] * apart).T @ apart + _DOUBT * valley.laid + 1e-8 * jnp.eye(3)
        information = jnp.linalg.inv(spread + valley.across)
        # The peak of a Gaussian of this covariance that holds as much of the posterior.
        room = 0.5 * (_log_area(spread) - _log_area(valley.laid))
        peak = jax.nn.logsumexp(value) + jnp.log(_STEP**2 / (2.0 * jnp.pi)) - room
        return mean, information, peak

    mean, information, peak = jax.vmap(posterior)(valleys, value)
    for end, here in enumerate(valleys.mine):
        found = Found(
            jnp.where(here[:, None], mean[end][None], found.place),
            jnp.where(here, peak[end], found.value),
            jnp.where(here[:, None, None], information[end][None], found.information),
            found.explained, found.heard, found.level,
        )  # fmt: skip
    return found


def _log_area(matrix):
    """Measure an ellipse in the plane."""
    return jnp.linalg.slogdet(matrix[:2, :2] + 1e-8 * jnp.eye(2))[1]
