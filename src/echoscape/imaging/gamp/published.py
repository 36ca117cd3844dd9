"""Message passing as it was published, to compare with: without damping, rotation or safeguards.

`GampMvsvr` is GAMP-MVSVR of [multiview-imaging], reconstructed: the texts of its Eqs. (43),
(51)-(53), (55), (59) and (60) are lost, and the steps here are generalised approximate message
passing with a mask made anew from every estimate, prior and noise learnt as in [vila-em-bg-gm-amp].
`BigAmp` is BiG-AMP of [parker-big-amp], Table III, for a matrix whose entries are known but
for whether they are there.  On compact arrays both are known to diverge; then the result says so.

Takes a `Problem` whose antennas are not rotated.
Gives a `Solution`: the last iterate, or the best before numbers ceased to be finite.
"""

import abc
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from echoscape.checks import InputError
from echoscape.imaging.gamp.solvers import least_log_odds_of
from echoscape.imaging.gamp.state import Counts, largest_rate
from echoscape.imaging.occlusion.shadows import cast_shadows
from echoscape.imaging.operator.cascade import Mask, forward_moments
from echoscape.imaging.operator.products import correlate_columns, join, weigh_columns
from echoscape.imaging.problem import Problem
from echoscape.imaging.solver import GridSolver, Solution, degrees_of_freedom
from echoscape.imaging.voxel_image import ImageStatus
from echoscape.numerics.denoisers import BernoulliGaussian, Posterior
from echoscape.numerics.message_passing import OutputMessages, output_step
from echoscape.progress import Progress

LARGEST_MATRIX = 20_000_000
"""Entries of the matrix that `BigAmp` works on, several numbers each."""


class PublishedState(NamedTuple):
    """What is carried from one iteration to the next."""

    mean: Inexact[Array, " voxel"]
    variance: Float[Array, " voxel"]
    present: Float[Array, " voxel"]
    residual: Inexact[Array, "subcarrier user station antenna"]
    """Scaled residual ``s``."""
    prior: BernoulliGaussian
    noise: Float[Array, ""]
    open: Float[Array, "view voxel"]
    """Which segments are open, or how probably each entry of the matrix is there."""
    iteration: Int[Array, ""]
    moved: Float[Array, ""]
    """Relative movement, by which iterations end."""
    misfit: Float[Array, ""]
    """Mean squared residual of the coefficients before this iteration."""
    finite: Bool[Array, ""]


class _Published(GridSolver):
    """What both have in common; never instantiated itself."""

    iterations: int = 150
    """The most iterations."""
    learn_noise: bool = True
    """Whether the noise is learnt too, from what is stated of it or guessed; the certificate
    compares with what is stated."""
    rate: float = 0.05
    """First guess of the share of occupied voxels."""
    tolerance: float = 1e-5
    """Relative movement of the coefficients that ends it; of what they predict in `BigAmp`."""
    decorrelates: ClassVar[bool] = False

    def __check_init__(self):
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least one; got {self.iterations}")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie between 0 and 1; got {self.rate:g}")

    @abc.abstractmethod
    def run(self, problem: Problem) -> PublishedState:
        """Pass messages until they settle, are no numbers any more, or iterations are used up."""

    @abc.abstractmethod
    def sight(self, problem: Problem, state: PublishedState) -> Bool[np.ndarray, "view voxel"]:
        """Say which users, then which stations, see each voxel."""

    def solve(self, problem: Problem, progress: Progress | None = None) -> Solution:
        """Solve a problem."""
        if progress is not None:
            progress(0, self.iterations, f"{self.iterations} iterations at most")
        state = jax.tree.map(np.asarray, self.run(problem))
        sight = self.sight(problem, state)
        status = ImageStatus.CONVERGED
        if not state.finite:
            status = ImageStatus.DIVERGED
        elif not state.moved <= self.tolerance:
            status = ImageStatus.ITERATION_LIMIT
        noise = float(problem.noise if problem.noise_known else state.noise)
        left = degrees_of_freedom(problem, float(state.present[state.present > 0.5].sum()))
        users = problem.received.shape[1]
        mask = problem.mask_of(jnp.asarray(sight[:users]), jnp.asarray(sight[users:]))
        misfit = float(_misfit(problem, mask, jnp.asarray(state.mean)))
        return Solution(
            mean=state.mean,
            variance=state.variance,
            occupancy=state.present,
            visibility=sight,
            noise=noise,
            misfit=misfit / noise * problem.received.size / left,
            iterations=int(state.iteration),
            status=status,
            least_log_odds=least_log_odds_of(state.present),
        )


class GampMvsvr(_Published):
    """GAMP-MVSVR as published: no damping, no rotation, an absolute threshold of occlusion."""

    threshold: float = 0.1
    """A coefficient whose size exceeds this hides what is behind it [1]; the paper's is lost."""

    def run(self, problem: Problem) -> PublishedState:
        """Make the mask from the coefficients and the coefficients from the mask, by turns."""
        return _run_mvsvr(problem, _start(problem, self), *_numbers(problem, self, self.threshold))

    def sight(self, problem: Problem, state: PublishedState) -> Bool[np.ndarray, "view voxel"]:
        """Cast the shadows of the last coefficients."""
        return np.asarray(_cast(problem, jnp.asarray(state.mean), self.threshold)) > 0.5


class BigAmp(_Published):
    """BiG-AMP as published: every entry of the matrix may be missing, whatever its neighbours."""

    tolerance: float = 1e-8
    """Relative squared movement of what the coefficients predict that ends it."""
    visible: float = 0.8
    """Probability that an entry, a path by way of a voxel to an antenna, is there."""

    def __check_init__(self):
        if not 0 < self.visible < 1:
            raise ValueError(f"visible must lie between 0 and 1; got {self.visible:g}")

    def run(self, problem: Problem) -> PublishedState:
        """Estimate the coefficients and the entries of the matrix together."""
        entries = problem.received.size * problem.active.voxels
        if entries > LARGEST_MATRIX:
            raise InputError(
                f"big-amp forms the matrix of {problem.received.size} samples and "
                f"{problem.active.voxels} voxels, more than {LARGEST_MATRIX:,} entries; choose "
                "fewer voxels, antennas or subcarriers, or another solver"
            )
        return _run_big_amp(problem, _start(problem, self), *_numbers(problem, self, self.visible))

    def sight(self, problem: Problem, state: PublishedState) -> Bool[np.ndarray, "view voxel"]:
        """Call a link open if most of its entries are there, a view if one of its links is."""
        entries = state.open.reshape(*problem.received.shape, -1)
        link = entries.mean((0, 3)) > 0.5  # [user, station, voxel]
        return np.concatenate([link.any(1), link.any(0)])


def _numbers(problem: Problem, solver: _Published, last: float) -> list[Array]:
    """Make settings arrays, so that changing them compiles nothing."""
    real = problem.cascade.real_type
    most = jnp.asarray(solver.iterations, jnp.int32)
    learns = jnp.asarray(solver.learn_noise or not problem.noise_known)
    return [most, learns, *(jnp.asarray(value, real) for value in (solver.tolerance, last))]


def _start(problem: Problem, solver: _Published) -> PublishedState:
    """Start from the prior's mean, which is zero, with the power that was received."""
    received, voxels = problem.received, problem.active.voxels
    real = problem.cascade.real_type
    kind = problem.cascade.complex_type if problem.is_complex else real
    power, noise = float(np.mean(np.abs(np.asarray(received)) ** 2)), float(problem.noise)
    counts = Counts(received.size, problem.active.voxels)
    rate = min(solver.rate, largest_rate(counts, problem.is_complex))
    size = max(power - noise, 0.01 * power) * received.size / (rate * voxels)
    users, stations = received.shape[1:3]
    views = received.size if isinstance(solver, BigAmp) else users + stations
    is_open = np.full((views, voxels), getattr(solver, "visible", 1.0), real)
    return PublishedState(
        mean=jnp.asarray(np.zeros(voxels, kind)),
        variance=jnp.asarray(np.full(voxels, rate * size, real)),
        present=jnp.asarray(np.full(voxels, rate, real)),
        residual=jnp.asarray(np.zeros(received.shape, received.dtype)),
        prior=BernoulliGaussian(
            jnp.asarray(rate, real), jnp.asarray(0.0, kind), jnp.asarray(size, real)
        ),
        noise=jnp.asarray(noise, real),
        open=jnp.asarray(is_open),
        iteration=jnp.asarray(0, jnp.int32),
        moved=jnp.asarray(math.inf, real),
        misfit=jnp.asarray(math.inf, real),
        finite=jnp.asarray(True),
    )


def _pass(
    advance: Callable[[PublishedState], PublishedState],
    start: PublishedState,
    most: Array,
    tolerance: Array,
) -> PublishedState:
    """Advance until it settles or iterations are used up: the last iterate, as published.

    Where numbers cease to be finite it is the iterate of lowest misfit instead.
    """

    def going(carry):
        state, _ = carry
        return (state.iteration < most) & (state.moved > tolerance) & state.finite

    def body(carry):
        state, best = carry
        new = advance(state)
        sizes = jnp.sum(jnp.abs(new.mean)) + jnp.sum(jnp.abs(new.residual))
        new = new._replace(finite=jnp.isfinite(sizes + new.misfit + new.moved))
        better = new.finite & (new.misfit < best.misfit)
        judged = state._replace(misfit=new.misfit)
        return new, jax.tree.map(lambda n, o: jnp.where(better, n, o), judged, best)

    last, best = jax.lax.while_loop(going, body, (start, start))
    best = best._replace(iteration=last.iteration, finite=last.finite)
    return jax.tree.map(lambda a, b: jnp.where(last.finite, a, b), last, best)


def _denoised(
    prior: BernoulliGaussian, value: Array, certain: Array, floor: Array
) -> tuple[Posterior, BernoulliGaussian]:
    """Estimate coefficients, and learn the prior from all of them; what none sees stays as it was.

    Args:
        prior: What is known of coefficients.
        value: Of each, times its precision.
        certain: Precision of the complex value; where coefficients are real, of half of it.
        floor: Precision below which a coefficient is not seen at all.
    """
    seen = certain > floor
    noise = (1.0 if jnp.iscomplexobj(value) else 0.5) / jnp.where(seen, certain, 1.0)
    found = prior(value / jnp.where(seen, certain, 1.0), noise)
    mean, variance = prior.moments()
    unseen = Posterior(mean, variance, prior.rate, prior.mean, prior.variance)
    found = jax.tree.map(lambda new, old: jnp.where(seen, new, old), found, unseen)
    return found, prior.learn(found, jnp.ones(seen.shape, bool))


def _cast(problem: Problem, mean: Array, threshold: Array | float) -> Float[Array, "view voxel"]:
    """Give which segments are open where every coefficient above a threshold hides."""
    voxels, real = problem.active.voxels, problem.cascade.real_type
    stands = jnp.abs(mean) > threshold
    listed = jnp.argsort(~stands, stable=True)
    count = jnp.zeros((len(problem.view), voxels), jnp.int16)
    count = cast_shadows(
        count, problem.grid, problem.view, listed, jnp.ones(voxels, jnp.int16),
        jnp.sum(stands), problem.radius,
    )  # fmt: skip
    return (count == 0).astype(real)


def _cut(problem: Problem, vector: Array) -> Array:
    chunks, size = problem.cascade.padded
    return jnp.pad(vector, (0, chunks * size - len(vector))).reshape(chunks, size)


@eqx.filter_jit
def _misfit(problem: Problem, mask: Mask, mean: Array) -> Array:
    value = _cut(problem, mean)
    made = forward_moments(problem.cascade, mask, value, jnp.zeros_like(jnp.real(value)), sure=True)
    return jnp.mean(jnp.abs(problem.received - made.mean) ** 2)


@eqx.filter_jit
def _run_mvsvr(
    problem: Problem,
    start: PublishedState,
    most: Array,
    learns: Array,
    tolerance: Array,
    threshold: Array,
) -> PublishedState:
    """Iterate on the masked operator ``C = A o V(x)``, as the paper's factor graph does."""
    users = problem.received.shape[1]

    def advance(state: PublishedState) -> PublishedState:
        is_open = _cast(problem, state.mean, threshold)
        mask = problem.mask_of(is_open[:users], is_open[users:])
        x, spread = _cut(problem, state.mean), _cut(problem, state.variance)
        made = forward_moments(problem.cascade, mask, x, spread, sure=True)
        none = jnp.zeros_like(made.variance)
        old = OutputMessages(state.residual, none, none)
        messages, noise = output_step(
            problem.received, made.mean, made.variance, old, state.noise, 1.0
        )
        residual, precision = messages.residual, messages.precision

        def chunk(_, column):
            user, antenna, by_user, by_station = column
            towards = correlate_columns(user, antenna, by_user, by_station, residual)
            return None, (towards, weigh_columns(user, antenna, by_user, by_station, precision))

        parts = (problem.cascade.user, problem.cascade.antenna, *mask)
        towards, certain = (problem.flat(a) for a in jax.lax.scan(chunk, None, parts)[1])
        towards = towards if problem.is_complex else jnp.real(towards)
        found, prior = _denoised(
            state.prior, state.mean * certain + towards, certain, 1e-9 * jnp.max(certain)
        )
        moved = jnp.linalg.norm(found.mean - state.mean)
        return state._replace(
            mean=found.mean,
            variance=found.variance,
            present=found.present,
            residual=residual,
            prior=prior,
            noise=jnp.where(learns, noise, state.noise),
            open=is_open,
            iteration=state.iteration + 1,
            moved=moved / jnp.maximum(jnp.linalg.norm(found.mean), 1e-30),
            misfit=jnp.mean(jnp.abs(problem.received - made.mean) ** 2),
        )

    return _pass(advance, start, most, tolerance)


@eqx.filter_jit
def _run_big_amp(
    problem: Problem,
    start: PublishedState,
    most: Array,
    learns: Array,
    tolerance: Array,
    visible: Array,
) -> PublishedState:
    """Iterate Table III of [parker-big-amp] with one column of coefficients.

    Where a coefficient is zero its column of the matrix is not seen; precisions instead of
    variances of the entries' inputs keep that finite.
    """
    received, shape = problem.received.reshape(-1), problem.received.shape
    user, antenna = join(problem.cascade.user), join(problem.cascade.antenna)
    whole = user[:, :, :, None, None] * antenna[:, :, None]  # [chunk, ..., voxel]
    whole = jnp.moveaxis(whole, 0, -2).reshape(len(received), -1)[:, : problem.active.voxels]
    power = jnp.abs(whole) ** 2
    before = jnp.log(visible) - jnp.log1p(-visible)

    def advance(state: PublishedState) -> PublishedState:
        x, varies, s = state.mean, state.variance, state.residual.reshape(-1)
        entry = state.open * whole
        unsure = state.open * (1 - state.open) * power  # variance of the entries
        mean = entry @ x  # R2
        caused = jnp.abs(entry) ** 2 @ varies + unsure @ jnp.abs(x) ** 2  # R1
        spread = caused + unsure @ varies  # R3
        none = jnp.zeros_like(spread)
        messages, noise = output_step(  # R4 to R8
            received, mean, spread, OutputMessages(s, none, none), state.noise, 1.0, caused
        )
        s, precision = messages.residual, messages.precision
        certain = precision @ jnp.abs(entry) ** 2  # R9
        towards = s @ jnp.conj(entry)
        towards = towards if problem.is_complex else jnp.real(towards)
        value = x * (certain - precision @ unsure) + towards  # R10
        found, prior = _denoised(state.prior, value, certain, 1e-9 * jnp.max(certain))
        weight = precision[:, None] * jnp.abs(x[None]) ** 2  # R11
        input_of = entry * (weight - precision[:, None] * varies[None])  # R12
        input_of += s[:, None] * jnp.conj(x[None])
        odds = 2 * jnp.real(jnp.conj(whole) * input_of) - power * weight
        is_open = jax.nn.sigmoid(jnp.clip(before + odds, -60.0, 60.0))
        after = (is_open * whole) @ found.mean
        moved = jnp.sum(jnp.abs(after - mean) ** 2)
        return state._replace(
            mean=found.mean,
            variance=found.variance,
            present=found.present,
            residual=s.reshape(shape),
            prior=prior,
            noise=jnp.where(learns, noise, state.noise),
            open=is_open,
            iteration=state.iteration + 1,
            moved=moved / jnp.maximum(jnp.sum(jnp.abs(after) ** 2), 1e-30),
            misfit=jnp.mean(jnp.abs(received - mean) ** 2),
        )

    return _pass(advance, start, most, tolerance)
