"""The posterior about the end of a climb, weighed on a lattice with the map asked at each point.

Echoes leave long valleys of places that explain them nearly alike; which paths reach a place, and
which end at a shadow's edge, tells where in the valley the target stands.  Presence has no useful
gradient, so a climb does not see it: the valley is laid out in steps of its own deviation, and the
most probable place becomes the mean of what is found there.

Takes `Found` ends of climbs, and what evaluates places.
Gives `Found`, the best ends and their like replaced by mean and covariance.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from echoscape.localization.climb import Found

_STEP = 1.2  # deviations between points of the lattice
_WIDEST = 6.0  # a valley is laid out no wider than this in each direction [m]
_ENDS = 2  # different ends that are weighed
_LATTICE = np.array(
    [(a * _STEP, b * _STEP) for a in range(-2, 3) for b in range(-2, 3) if abs(a) + abs(b) < 4]
)


def weigh_ends(found: Found, evaluate, heights: Float[Array, "2"]) -> Found:
    """Replace the best ends by the mean of the posterior around them.

    Args:
        found: Ends of climbs, by target and start.
        evaluate: Places by target and point [m], and targets' levels, to `Found` there, without
            a climb.
        heights: Lowest and highest z [m]; equal where the height is given.
    """
    best, mine, axes, covariance = _best_ends(found, heights)
    targets, points = len(found.value), len(_LATTICE)
    centre = jnp.take_along_axis(found.place, best[..., None], axis=1)
    level = jnp.take_along_axis(found.level, best[..., None], axis=1)
    place = centre[:, :, None] + jnp.einsum("teij,pj->tepi", axes, jnp.asarray(_LATTICE))
    place = place.at[..., 2].set(jnp.clip(place[..., 2], heights[0], heights[1]))
    place = place.astype(found.place.dtype)
    there = evaluate(place.reshape(targets, -1, 3), jnp.repeat(level, points, axis=1))
    value = there.value.reshape(targets, _ENDS, points)
    return _replace(found, mine, axes, covariance, place, value)


@jax.jit
def _best_ends(found: Found, heights):
    """Pick the best ends that differ, with all that ended together with each."""
    free = jnp.where(heights[1] > heights[0], 1.0, 0.0)
    move = jnp.array([1.0, 1.0, 0.0]) + free * jnp.array([0.0, 0.0, 1.0])
    known = found.information * move[:, None] * move[None] + jnp.diag(1.0 - move)
    prior = jnp.diag(move) / 300.0**2
    covariance = jnp.linalg.inv(known + prior) * move[:, None] * move[None]
    std = jnp.sqrt(covariance[..., 0, 0] + covariance[..., 1, 1])
    left, picked = jnp.isfinite(found.value), []
    for _ in range(_ENDS):
        best = jnp.argmax(jnp.where(left, found.value, -jnp.inf), axis=1)
        take = lambda leaf, best=best: jax.vmap(lambda row, k: row[k])(leaf, best)  # noqa: E731
        centre, matrix, width = take(found.place), take(covariance), take(std)
        apart = jnp.linalg.norm(found.place - centre[:, None], axis=-1)
        near = left & (apart < jnp.maximum(0.5, 0.5 * width)[:, None])
        left = left & ~near
        value, vector = jnp.linalg.eigh(matrix)
        side = jnp.sqrt(jnp.clip(value[:, 1:], 1e-4, _WIDEST**2))
        picked.append((best, near, vector[:, :, 1:] * side[:, None], matrix))
    return tuple(jnp.stack(column, axis=1) for column in zip(*picked))


@jax.jit
def _replace(found: Found, mine, axes, covariance, place, value) -> Found:
    """Turn the values on each lattice into mean, covariance and an equivalent peak."""
    weight = jax.nn.softmax(value, axis=-1)
    mean = jnp.einsum("tep,tepi->tei", weight, place)
    apart = place - mean[:, :, None]
    laid = jnp.einsum("teij,tekj->teik", axes, axes)
    # within a cell of the lattice, and across it where three coordinates are free
    spread = jnp.einsum("tep,tepi,tepj->teij", weight, apart, apart) + _STEP**2 / 12.0 * laid
    level = covariance[..., 2, 2] <= 0
    across = jnp.where(level[..., None, None], 0.0, covariance - laid)
    total = spread + 0.5 * (across + jnp.swapaxes(across, -1, -2))
    frozen = jnp.where(level[..., None, None], jnp.diag(jnp.array([0.0, 0.0, 1.0])), 0.0)
    information = jnp.linalg.inv(total + frozen + 1e-8 * jnp.eye(3)) - frozen
    # The peak of a Gaussian of this covariance that holds as much of the posterior.
    log_cell = 2.0 * jnp.log(_STEP) + 0.5 * jnp.linalg.slogdet(_in_plane(laid))[1]
    room = 0.5 * jnp.linalg.slogdet(_in_plane(spread))[1] + jnp.log(2.0 * jnp.pi)
    peak = jax.nn.logsumexp(value, axis=-1) + log_cell - room
    for end in range(mine.shape[1]):
        here = mine[:, end]
        found = Found(
            jnp.where(here[..., None], mean[:, end, None], found.place),
            jnp.where(here, peak[:, end, None], found.value),
            jnp.where(here[..., None, None], information[:, end, None], found.information),
            found.explained, found.heard, found.level,
        )  # fmt: skip
    return found


def _in_plane(matrix):
    return matrix[..., :2, :2] + 1e-8 * jnp.eye(2)
