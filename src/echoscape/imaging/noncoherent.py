"""Images without phase: one unknown complex coefficient for each user, station and voxel.

A scatterer that stands a millimetre off the centre of its voxel, or a user whose clock is off,
turns the phase of a path at will, and a coherent image is lost.  Over a wide band the delays of a
path still tell where it went.  So every link, a user and a station, is imaged by itself from its
delays and its array; all links share which voxels are occupied, and a hidden link says nothing.

Takes a `Problem` of several subcarriers.
Gives a `Solution` whose coefficients are magnitudes.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from echoscape.checks import InputError
from echoscape.imaging.operator.cascade import Cascade
from echoscape.imaging.operator.products import (
    correlate,
    correlate_power,
    outer,
    outer_power,
    power_of,
    weigh,
)
from echoscape.imaging.problem import Problem
from echoscape.imaging.solver import GridSolver, Solution
from echoscape.imaging.voxel_image import ImageStatus
from echoscape.numerics.message_passing import OutputMessages, output_step
from echoscape.progress import Progress, in_rounds

_OPEN = 0.8
"""Probability that a link to an occupied voxel is not hidden."""


class GroupPrior(NamedTuple):
    """A voxel is occupied with some probability, and then a link to it open with another."""

    rate: Float[Array, ""]
    """Probability that a voxel is occupied."""
    size: Float[Array, " voxel"]
    """Mean squared coefficient of its open links."""


class GroupPosterior(NamedTuple):
    """What is known of a voxel's links after they were seen together."""

    mean: Complex[Array, "user station voxel"]
    """Coefficients."""
    variance: Float[Array, "user station voxel"]
    """Their variances."""
    present: Float[Array, " voxel"]
    """Probability that the voxel is occupied."""
    open: Float[Array, "user station voxel"]
    """Probability that a link is open, if the voxel is occupied."""
    power: Float[Array, " voxel"]
    """Mean squared coefficient of the links that are open."""


def denoise_group(
    value: Complex[Array, "user station voxel"],
    noise: Float[Array, "user station voxel"],
    prior: GroupPrior,
) -> GroupPosterior:
    """Combine links seen in noise: which voxels are occupied, which links open, how strong."""
    size = prior.size[None, None]
    total = noise + size
    slab = jnp.log(noise / total) + jnp.abs(value) ** 2 * (1 / noise - 1 / total)
    closed, free = jnp.log(1 - _OPEN), jnp.log(_OPEN)
    each = jnp.logaddexp(closed, free + slab)
    logit = jnp.log(prior.rate) - jnp.log1p(-prior.rate) + jnp.sum(each, (0, 1))
    present = jax.nn.sigmoid(jnp.clip(logit, -60.0, 60.0))
    is_open = jnp.exp(free + slab - each)
    share = size / total
    mean, variance = share * value, share * noise
    weight = present[None, None] * is_open
    spread = weight * (1 - weight) * jnp.abs(mean) ** 2
    power = jnp.sum(is_open * (jnp.abs(mean) ** 2 + variance), (0, 1))
    power = power / jnp.maximum(jnp.sum(is_open, (0, 1)), 0.5)
    return GroupPosterior(weight * mean, weight * variance + spread, present, is_open, power)


class _State(NamedTuple):
    mean: Complex[Array, "chunk user station voxel"]
    variance: Float[Array, "chunk user station voxel"]
    present: Float[Array, "chunk voxel"]
    open: Float[Array, "chunk user station voxel"]
    power: Float[Array, "chunk voxel"]
    size: Float[Array, "chunk voxel"]
    residual: Complex[Array, "subcarrier user station antenna"]
    precision: Float[Array, "subcarrier user station antenna"]
    spread: Float[Array, "subcarrier user station antenna"]
    rate: Float[Array, ""]
    noise: Float[Array, ""]
    misfit: Float[Array, ""]
    iteration: Int[Array, ""]
    moved: Float[Array, ""]


def _moments(cascade: Cascade, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Mean and variance of what arrives, every link with coefficients of its own."""

    def chunk(total, parts):
        user, antenna, x, spread = parts
        stations = range(antenna.shape[1])
        arrives = [outer(weigh(user, x[:, b]), antenna[:, b : b + 1]) for b in stations]
        user, antenna = power_of(user), power_of(antenna)
        varies = [outer_power(user * spread[None, :, b], antenna[:, b : b + 1]) for b in stations]
        step = jnp.concatenate(arrives, 2), jnp.concatenate(varies, 2)
        return jax.tree.map(jnp.add, total, step), None

    zero = jnp.zeros(cascade.samples, cascade.complex_type)
    parts = (cascade.user, cascade.antenna, mean, variance)
    return jax.lax.scan(chunk, (zero, jnp.real(zero)), parts)[0]


def _step(state: _State, problem: Problem, step: Array, learn_noise: bool) -> _State:
    received, cascade = problem.received, problem.cascade
    first = state.iteration == 0

    def damped(new, old):
        return jnp.where(first, new, old + step * (new - old))

    arrives, varies = _moments(cascade, state.mean, state.variance)
    misfit = jnp.mean(jnp.abs(received - arrives) ** 2)
    noise = state.noise
    (residual, precision, spread), left = output_step(
        received,
        arrives,
        varies,
        OutputMessages(state.residual, state.precision, state.spread),
        noise,
        jnp.where(first, 1.0, step).astype(noise.dtype),
    )
    # Off the grid nothing fits to the noise: what it leaves over counts as noise.
    least = 0.0 if learn_noise else problem.noise
    noise = jnp.where(state.iteration < 2, noise, jnp.maximum(left, least))

    def chunk(_, parts):
        user, antenna, x, size = parts
        certain = correlate_power(user, antenna, precision)
        seen = 1 / jnp.maximum(certain, 1e-9 * jnp.max(certain))
        value = x + seen * correlate(user, antenna, residual)
        return None, denoise_group(value, seen, GroupPrior(state.rate, size))

    parts = (cascade.user, cascade.antenna, state.mean, state.size)
    found = jax.lax.scan(chunk, None, parts)[1]
    voxels = problem.grid.voxels
    count = jnp.sum(jnp.reshape(found.present, -1)[:voxels])
    common = jnp.sum(found.present * found.power) / jnp.maximum(jnp.sum(found.present), 1e-6)
    # While the coefficients explain less than nothing would, learning from them runs away.
    learnt = (state.iteration >= 2) & (misfit < jnp.mean(jnp.abs(received) ** 2))
    # Each voxel's own size, drawn towards what all have in common as far as it is unsure.
    own = found.present * found.power + (1 - found.present) * common
    size = jnp.where(learnt, jnp.maximum(own, 0.02 * common), state.size)
    rate = jnp.where(learnt, jnp.clip(count / voxels, 0.5 / voxels, 0.3), state.rate)
    mean = damped(found.mean, state.mean)
    moved = jnp.linalg.norm(mean - state.mean) / jnp.maximum(jnp.linalg.norm(mean), 1e-30)
    return _State(
        mean, damped(found.variance, state.variance), found.present, found.open, found.power,
        size, residual, precision, spread, rate, noise, misfit, state.iteration + 1, moved,
    )  # fmt: skip


def run_groups(
    problem: Problem, iterations: int, step: Array, learn_noise: bool, progress: Progress | None
) -> tuple[_State, Bool[Array, ""], Float[Array, " iteration"]]:
    """Pass messages until the coefficients settle.

    Gives the iterate of lowest misfit, whether the last was finite, and all misfits.
    """
    carry = _begin(problem, -(-iterations // 256) * 256)

    def advance(carry, until):
        return _go_on(problem, carry, jnp.asarray(until, jnp.int32), step, learn_noise)

    carry = in_rounds(advance, carry, lambda c: int(c[0].iteration), iterations, progress)
    last, best, trace = carry
    return best._replace(iteration=last.iteration), jnp.isfinite(last.misfit), trace


@eqx.filter_jit
def _begin(problem: Problem, capacity: int):
    """Make the first state, the best iterate so far and an empty trace."""
    chunks, size = problem.cascade.padded
    _, users, stations, _ = problem.cascade.samples
    real = problem.cascade.real_type
    power = jnp.mean(jnp.abs(problem.received) ** 2)
    rate = jnp.asarray(0.03, real)
    total = problem.received.size * jnp.maximum(power - problem.noise, 0.1 * power)
    level = total / (rate * _OPEN * problem.grid.voxels * problem.cascade.mean_column_norm())
    links, zero = (chunks, users, stations, size), jnp.zeros((), real)
    blank = jnp.zeros(problem.received.shape, real)
    start = _State(
        jnp.zeros(links, problem.cascade.complex_type), jnp.full(links, rate * _OPEN * level),
        jnp.full((chunks, size), rate), jnp.full(links, jnp.asarray(_OPEN, real)),
        jnp.full((chunks, size), level), jnp.full((chunks, size), level),
        jnp.zeros_like(problem.received), blank, blank, rate,
        jnp.maximum(problem.noise, 0.1 * power).astype(real),
        zero + jnp.inf, jnp.zeros((), jnp.int32), zero + jnp.inf,
    )  # fmt: skip
    return start, start, jnp.full(capacity, jnp.inf, real)


@eqx.filter_jit
def _go_on(problem: Problem, carry, until: Array, step: Array, learn_noise: bool):
    """Go on until the coefficients settle or so many iterations are made."""

    def going(carry):
        state, _, _ = carry
        fine = jnp.isfinite(state.misfit) | (state.iteration == 0)
        return (state.iteration < until) & (state.moved > 1e-3) & fine

    def advance(carry):
        state, best, trace = carry
        new = _step(state, problem, step, learn_noise)
        # The misfit is that of the coefficients before the step.
        better = new.misfit < best.misfit
        judged = state._replace(misfit=new.misfit)
        best = jax.tree.map(lambda n, o: jnp.where(better, n, o), judged, best)
        return new, best, trace.at[state.iteration].set(new.misfit / problem.noise)

    return jax.lax.while_loop(going, advance, carry)


class NoncoherentGamp(GridSolver):
    """Without phase, for scatterers off the grid: links on their own, occupied voxels shared.

    The certificate judges the misfit as of any solver; off the grid it rarely holds, for delays
    between voxels leave more than noise, while the occupied voxels are right.
    """

    iterations: int = 60
    """The most iterations."""
    step: float = 0.3
    """Part of each new message that is taken."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem.

        Raises:
            InputError: There are fewer than two subcarriers.
        """
        if problem.received.shape[0] < 2:
            raise InputError(
                "the wideband solver needs at least two subcarriers, better eight over several "
                f"hundred MHz, to tell places by delay; got {problem.received.shape[0]}: choose "
                "another solver"
            )
        real = problem.cascade.real_type
        last, is_finite, trace = run_groups(
            problem,
            self.iterations,
            jnp.asarray(self.step, real),
            not problem.noise_known,
            progress,
        )
        voxels, views = problem.grid.voxels, len(problem.view)
        users = problem.received.shape[1]

        def flat(leaf):
            leaf = np.moveaxis(np.asarray(leaf), 0, -2)
            return leaf.reshape(*leaf.shape[:-2], -1)[..., :voxels]

        present, power, is_open = flat(last.present), flat(last.power), flat(last.open)
        # A segment is open if any of the links over it is; where nothing stands, nothing is known.
        seen = np.ones((views, voxels), bool)
        there = present > 0.5
        best = np.concatenate([is_open.max(1), is_open.max(0)])
        seen[:, there] = best[:, there] > 0.5
        none = there & ~(seen[:users].any(0) & seen[users:].any(0))
        seen[:, none] = True
        finite = bool(is_finite)
        count = int(last.iteration)
        done = ImageStatus.CONVERGED if count < self.iterations else ImageStatus.ITERATION_LIMIT
        links = float(np.sum(is_open[..., there] > 0.5))
        size = problem.received.size
        links_open = np.maximum(is_open.sum((0, 1)), 0.5)
        return Solution(
            mean=np.where(there, np.sqrt(np.maximum(power, 0)), 0.0),
            variance=present * power / links_open,
            occupancy=present,
            visibility=seen,
            noise=float(last.noise) if not problem.noise_known else float(problem.noise),
            misfit=float(last.misfit / problem.noise) * size / max(size - links, 1.0),
            iterations=count,
            status=done if finite else ImageStatus.DIVERGED,
            trace=np.asarray(trace, float)[:count],
        )
