"""From a start to a local maximum of the likelihood nearby.

A round selects which paths exist and ascends the likelihood of the echoes by damped Gauss-Newton
steps with the selection held; then the map is queried again.  (The likelihood of the one-way paths
alone would be cheaper, but loses targets where two paths are too close to be estimated apart.)
Every target and start goes through one compiled program, whatever the kind of map.

Takes `LinearisedPaths` of every station at every start, and what was observed.
Gives `LocalMaxima`.
"""

import dataclasses
import functools
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.estimation import AnyArray
from echoscape.localization.posterior_modes import COINCIDENT
from echoscape.localization.unassociated.linearised_map import LinearisedPaths
from echoscape.localization.unassociated.one_way_paths import EchoModel, EchoSet, OneWayPaths
from echoscape.localization.unassociated.pair_likelihood import (
    evaluate,
    fisher_information,
    select_paths,
)

_LONGEST_STEP = 5.0  # [m]
_TOGETHER = 4  # targets at a time: their pairs of paths stay in the processor's cache


class LocalMaxima(eqx.Module):
    """Ends of ascents, by target and start."""

    position: Float[AnyArray, "*batch 3"]
    """Where an ascent ended [m]."""
    log_likelihood: Float[AnyArray, "*batch"]
    """There, relative to clutter alone."""
    information: Float[AnyArray, "*batch 3 3"]
    """Fisher information there [1/m^2]."""
    explained: Float[AnyArray, "*batch"]
    """Echoes that the map explains."""
    detected: Float[AnyArray, "*batch"]
    """Echoes detected."""
    log_reflectivity: Float[AnyArray, "*batch station"]
    """Logarithm of the target's reflectivity for each station or pair; NaN if not known."""
    starts: Float[AnyArray, "*batch"]
    """Starts that ended there."""
    echo_explained: list[Float[AnyArray, "*batch echo"]] | None = None
    """For each station or pair, the probability that each echo is of the target's paths."""


@functools.partial(jax.jit, static_argnames="steps")
def ascend(
    predicted: list[LinearisedPaths],
    echo: list[EchoSet],
    observed: list[OneWayPaths | EchoSet],
    model: EchoModel,
    log_reflectivity: Float[Array, "target start station"],
    starts: Float[Array, "target start"],
    position_variance: Float[Array, ""],
    tempering_variance: Float[Array, ""],
    heights: Float[Array, "2"],
    *,
    steps: int,
) -> LocalMaxima:
    """Ascend once from every start of every target, the existing paths selected and held.

    Args:
        predicted: For each station or pair its maps' paths, by target and start.
        echo: For each its echoes, by target.
        observed: The same as one-way paths; as echoes where two stations took part.
        model: Detection, clutter, fluctuation.
        log_reflectivity: Of the targets as far as it is known; NaN if not.
        starts: Starts behind every start; zero where there is none.
        position_variance: Of a target about its start while paths are selected [m^2].
        tempering_variance: Of a position while it is refined [m^2].
        heights: Lowest and highest z [m]; equal where the height is given.
        steps: Gauss-Newton steps.
    """

    def one_start(predicted, echo, observed, reflectivity, starts):
        selected = [
            select_paths(
                p, e, o if isinstance(o, OneWayPaths) else None, model, r, position_variance
            )
            for p, e, o, r in zip(predicted, echo, observed, reflectivity)
        ]

        def objective(position):
            parts = [
                evaluate(s, e, model, position, tempering_variance) for s, e in zip(selected, echo)
            ]
            return tuple(sum(column) for column in zip(*parts))

        end, value, _ = gauss_newton_ascent(objective, predicted[0].position, heights, steps)
        parts = [fisher_information(s, e, model, end) for s, e in zip(selected, echo)]
        *columns, each_echo = zip(*parts)
        information, explained, detected = (functools.reduce(operator.add, c) for c in columns)
        value = jnp.where(starts > 0, value, -jnp.inf)
        found = jnp.stack([s.log_reflectivity for s in selected])
        return LocalMaxima(
            end, value, information, explained, 1.0 * detected, found, starts, list(each_echo)
        )

    def one_target(row):
        predicted, echo, observed, reflectivity, starts = row
        one = lambda p, r, s: one_start(p, echo, observed, r, s)  # noqa: E731
        return jax.vmap(one)(predicted, reflectivity, starts)

    rows = (predicted, echo, observed, log_reflectivity, starts)
    return jax.lax.map(one_target, rows, batch_size=_TOGETHER)


@jax.jit
def log_likelihoods(
    predicted: list[LinearisedPaths],
    echo: list[EchoSet],
    observed: list[OneWayPaths | EchoSet],
    model: EchoModel,
    log_reflectivity: Float[Array, "target point station"],
) -> Float[Array, "target point"]:
    """Evaluate the positions about which maps were linearised; arguments as for `ascend`."""

    def one_point(predicted, echo, observed, reflectivity):
        value = jnp.zeros(())
        for p, e, o, r in zip(predicted, echo, observed, reflectivity):
            one_way = o if isinstance(o, OneWayPaths) else None
            selected = select_paths(p, e, one_way, model, r, 0.0)
            value += evaluate(selected, e, model, p.position)[0]
        return value

    def one_target(row):
        predicted, echo, observed, reflectivity = row
        return jax.vmap(lambda p, r: one_point(p, echo, observed, r))(predicted, reflectivity)

    rows = (predicted, echo, observed, log_reflectivity)
    return jax.lax.map(one_target, rows, batch_size=_TOGETHER)


def best_ends(found: LocalMaxima, count: int) -> LocalMaxima:
    """Merge the ends of ascents that coincide, and take the best that differ (numpy).

    Args:
        found: Ends by target and start.
        count: How many to take; where there are fewer, the others stand for no start.
    """
    position = found.position
    left, rows = np.isfinite(found.log_likelihood), np.arange(len(position))
    index, members = [], []
    for _ in range(count):
        best = np.argmax(np.where(left, found.log_likelihood, -np.inf), axis=1)
        separation = np.linalg.norm(position - position[rows, best][:, None], axis=-1)
        mine = left & (separation < COINCIDENT)
        index.append(best)
        members.append((mine * found.starts).sum(axis=1))
        left = left & ~mine
    taken = np.stack(index, axis=1)
    best = jax.tree.map(
        lambda leaf: np.take_along_axis(
            leaf, taken.reshape(taken.shape + (1,) * (leaf.ndim - 2)), 1
        ),
        found,
    )
    return dataclasses.replace(best, starts=np.stack(members, axis=1))


def gauss_newton_ascent(
    objective, start: Float[Array, "3"], heights: Float[Array, "2"], steps: int, *,
    secant: bool = False,
):  # fmt: skip
    """Ascend by damped Gauss-Newton steps, keeping only those that lead upwards.

    Where a likelihood is a mixture, Gauss-Newton takes its ridges for narrower than they are and
    advances slowly along them; there the curvature can be learnt from the gradients met (BFGS).

    Args:
        objective: Position to log-likelihood, gradient and Gauss-Newton curvature.
        start: Where to begin [m].
        heights: Lowest and highest z [m]; equal where the height is given.
        steps: Steps, the first of which evaluates the start.
        secant: Learn the curvature from the gradients, with Gauss-Newton's to begin with.

    Returns:
        The highest position found [m], its log-likelihood and the curvature there [1/m^2].
    """
    free = jnp.where(heights[1] > heights[0], 1.0, 0.0)
    move = jnp.concatenate([jnp.ones(2, start.dtype), free[None].astype(start.dtype)])

    def step(carry, _):
        position, value, gradient, curvature, damping = carry
        matrix = curvature * move[:, None] * move[None] + jnp.diag(1.0 - move + 1e-9)
        matrix = matrix + damping * jnp.diag(jnp.diagonal(matrix))
        delta = _solve(matrix, gradient * move)
        delta = delta * jnp.minimum(1.0, _LONGEST_STEP / jnp.maximum(jnp.linalg.norm(delta), 1e-9))
        trial = position + delta
        trial = trial.at[2].set(jnp.clip(trial[2], heights[0], heights[1]))
        new = objective(trial)
        better = new[0] > value
        if secant:
            learnt = _secant(curvature, trial - position, gradient - new[1])
            first = jnp.isneginf(value)
            new = (new[0], new[1], jnp.where(first, new[2], learnt))
            curvature = jnp.where(first, curvature, learnt)
        keep = lambda a, b: jnp.where(better, a, b)  # noqa: E731
        return (
            keep(trial, position), keep(new[0], value), keep(new[1], gradient),
            keep(new[2], curvature), keep(damping * 0.2, damping * 5.0),
        ), None  # fmt: skip

    carry = (
        start, jnp.full_like(start[0], -jnp.inf), jnp.zeros_like(start),
        jnp.eye(3, dtype=start.dtype), jnp.full_like(start[0], 5e-2),
    )  # fmt: skip
    position, value, _, curvature, _ = jax.lax.scan(step, carry, None, steps)[0]
    return position, value, curvature


def _secant(curvature, moved, fallen):
    """Make the curvature explain by how much the gradient fell over a move, where it did."""
    along = curvature @ moved
    fell, expected = fallen @ moved, along @ moved
    change = jnp.outer(fallen, fallen) / jnp.where(fell > 0, fell, 1.0)
    change = change - jnp.outer(along, along) / jnp.where(expected > 0, expected, 1.0)
    return curvature + jnp.where((fell > 1e-3 * expected) & (expected > 0), change, 0.0)


def _solve(matrix, right):
    """Solve a positive definite system of three by minors, faster than a batched solver."""
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    d, e, f = matrix[1, 1], matrix[1, 2], matrix[2, 2]
    minors = jnp.stack([
        jnp.stack([d * f - e * e, c * e - b * f, b * e - c * d]),
        jnp.stack([c * e - b * f, a * f - c * c, b * c - a * e]),
        jnp.stack([b * e - c * d, b * c - a * e, a * d - b * b]),
    ])  # fmt: skip
    determinant = a * minors[0, 0] + b * minors[0, 1] + c * minors[0, 2]
    return minors @ right / jnp.where(determinant > 0, determinant, jnp.inf)
