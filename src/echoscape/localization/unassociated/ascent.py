"""From a start to the place nearby that explains the echoes best.

A round chooses which paths exist and climbs the log-likelihood by damped Gauss-Newton steps with
the choice held; then the map is asked again (`nearby`).  Every target and start goes through one
compiled program, whatever the kind of map.

Takes `NearbyPaths` of every station at every start, and the echoes.
Gives `Found`: where the climbs ended, how well that explains the echoes, and how sharply.
"""

import functools
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.estimation import AnyArray
from echoscape.localization.unassociated.likelihood import (
    choose,
    position_information,
    value_gradient_curvature,
)
from echoscape.localization.unassociated.linearised_map import NearbyPaths
from echoscape.localization.unassociated.one_way_paths import EchoModel, EchoSet, OneWayPaths

_LONGEST_STEP = 5.0  # [m]
_TOGETHER = 4  # targets at a time: their pairs of paths stay in the processor's cache


class Found(eqx.Module):
    """Where climbs ended, by target and start."""

    place: Float[AnyArray, "*batch 3"]
    """End point [m]."""
    value: Float[AnyArray, "*batch"]
    """Log-likelihood there, relative to clutter alone."""
    information: Float[AnyArray, "*batch 3 3"]
    """Fisher information there [1/m^2]."""
    explained: Float[AnyArray, "*batch"]
    """Echoes that the map explains."""
    heard: Float[AnyArray, "*batch"]
    """Echoes heard."""
    level: Float[AnyArray, "*batch way"]
    """Logarithm of the target's reflectivity for each way; NaN where it is not known."""


@functools.partial(jax.jit, static_argnames="steps")
def climb_all(
    near: list[NearbyPaths],
    echo: list[EchoSet],
    heard: list[OneWayPaths | None],
    model: EchoModel,
    level: Float[Array, "target start way"],
    slack: Float[Array, ""],
    blur: Float[Array, ""],
    heights: Float[Array, "2"],
    *,
    steps: int,
) -> Found:
    """Choose and climb once from every start of every target.

    Args:
        near: For each way its maps' paths, by target and start.
        echo: For each way its echoes, by target.
        heard: The same as one-way paths; None where two stations took part.
        model: Detection, clutter, fluctuation.
        level: What is known of the targets' levels so far; NaN if nothing.
        slack: Variance allowed about the start while choosing [m^2].
        blur: Variance allowed about every place while climbing [m^2].
        heights: Lowest and highest z [m]; equal where the height is given.
        steps: Gauss-Newton steps.
    """

    def one_target(row):
        near, echo, heard, level = row
        allowed = slack, blur
        one = lambda near, level: _climb(near, echo, heard, model, level, allowed, heights, steps)  # noqa: E731
        return jax.vmap(one)(near, level)

    return jax.lax.map(one_target, (near, echo, heard, level), batch_size=_TOGETHER)


def _climb(near, echo, heard, model, level, allowed, heights, steps) -> Found:
    slack, blur = allowed
    start = near[0].place
    chosen = [
        choose(n, e, h, model, level[k], slack)
        for k, (n, e, h) in enumerate(zip(near, echo, heard))
    ]

    def evaluate(place):
        parts = [value_gradient_curvature(c, e, model, place, blur) for c, e in zip(chosen, echo)]
        return tuple(sum(column) for column in zip(*parts))

    place, value, _ = climb_steps(evaluate, start, heights, steps)
    parts = [position_information(c, e, model, place) for c, e in zip(chosen, echo)]
    information, explained, count = (
        functools.reduce(operator.add, column) for column in zip(*parts)
    )
    levels = jnp.stack([c.level for c in chosen])
    return Found(place, value, information, explained, 1.0 * count, levels)


def climb_steps(
    evaluate, start: Float[Array, "3"], heights: Float[Array, "2"], steps: int, *,
    secant: bool = False,
):  # fmt: skip
    """Climb by damped Gauss-Newton steps, keeping only those that lead upwards.

    Where a likelihood is a mixture, Gauss-Newton takes its ridges for narrower than they are and
    creeps along them; there the curvature can be learnt from the gradients met (BFGS).

    Args:
        evaluate: Place to log-likelihood, gradient and Gauss-Newton curvature.
        start: Where to begin [m].
        heights: Lowest and highest z [m]; equal where the height is given.
        steps: Steps, the first of which evaluates the start.
        secant: Learn the curvature from the gradients, with Gauss-Newton's to begin with.

    Returns:
        The highest place found [m], its log-likelihood and the curvature there [1/m^2].
    """
    free = jnp.where(heights[1] > heights[0], 1.0, 0.0)
    move = jnp.concatenate([jnp.ones(2, start.dtype), free[None].astype(start.dtype)])

    def step(carry, _):
        place, value, gradient, curvature, damping = carry
        matrix = curvature * move[:, None] * move[None] + jnp.diag(1.0 - move + 1e-9)
        matrix = matrix + damping * jnp.diag(jnp.diagonal(matrix))
        delta = _solve(matrix, gradient * move)
        delta = delta * jnp.minimum(1.0, _LONGEST_STEP / jnp.maximum(jnp.linalg.norm(delta), 1e-9))
        trial = place + delta
        trial = trial.at[2].set(jnp.clip(trial[2], heights[0], heights[1]))
        new = evaluate(trial)
        better = new[0] > value
        if secant:
            learnt = _secant(curvature, trial - place, gradient - new[1])
            first = jnp.isneginf(value)
            new = (new[0], new[1], jnp.where(first, new[2], learnt))
            curvature = jnp.where(first, curvature, learnt)
        keep = lambda a, b: jnp.where(better, a, b)  # noqa: E731
        return (
            keep(trial, place), keep(new[0], value), keep(new[1], gradient),
            keep(new[2], curvature), keep(damping * 0.2, damping * 5.0),
        ), None  # fmt: skip

    carry = (
        start, jnp.full_like(start[0], -jnp.inf), jnp.zeros_like(start),
        jnp.eye(3, dtype=start.dtype), jnp.full_like(start[0], 5e-2),
    )  # fmt: skip
    place, value, _, curvature, _ = jax.lax.scan(step, carry, None, steps)[0]
    return place, value, curvature


def _secant(curvature, moved, lost):
    """Make the curvature explain by how much the gradient fell over a move, where it did."""
    along = curvature @ moved
    fell, expected = lost @ moved, along @ moved
    change = jnp.outer(lost, lost) / jnp.where(fell > 0, fell, 1.0)
    change = change - jnp.outer(along, along) / jnp.where(expected > 0, expected, 1.0)
    return curvature + jnp.where((fell > 1e-3 * expected) & (expected > 0), change, 0.0)


def _solve(matrix, right):
    """Solve a positive definite system of three: minors are far faster than a batched solver."""
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    d, e, f = matrix[1, 1], matrix[1, 2], matrix[2, 2]
    minors = jnp.stack([
        jnp.stack([d * f - e * e, c * e - b * f, b * e - c * d]),
        jnp.stack([c * e - b * f, a * f - c * c, b * c - a * e]),
        jnp.stack([b * e - c * d, b * c - a * e, a * d - b * b]),
    ])  # fmt: skip
    determinant = a * minors[0, 0] + b * minors[0, 1] + c * minors[0, 2]
    return minors @ right / jnp.where(determinant > 0, determinant, jnp.inf)
