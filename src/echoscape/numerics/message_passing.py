"""Approximate message passing: coefficients with a prior from samples of a linear mixture.

`gamp` takes any matrix.  It learns prior and noise if asked to, keeps the iterate of lowest
misfit, and says how it ended.  Its messages are damped, by a fixed step or by one that shrinks
when the misfit rises, in this package's convention or in that of GAMPmatlab.

Takes samples, a matrix, a `Denoiser` and the noise.
Gives a `Recovery`: means, variances, the learnt prior and noise, and how it came about.
"""

import enum
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

from echoscape.numerics.denoisers import BernoulliGaussian, Denoiser, Posterior


class PassingStatus(enum.IntEnum):
    """How message passing ended."""

    CONVERGED = 0
    """The coefficients moved by less than the tolerance."""
    ITERATION_LIMIT = 1
    """The allowed iterations were used up."""
    DIVERGED = 2
    """Numbers ceased to be finite; the best iterate before that is kept."""


class MessageSettings(eqx.Module):
    """How messages are passed."""

    iterations: int = eqx.field(default=200, static=True)
    """The most iterations."""
    adaptive: bool = eqx.field(default=True, static=True)
    """Whether a step is halved and taken again where the misfit rises, then grows."""
    learn_prior: bool = eqx.field(default=False, static=True)
    """Whether the prior is learnt by expectation-maximisation."""
    learn_noise: bool = eqx.field(default=False, static=True)
    """Whether the noise is learnt."""
    scalar_variance: bool = eqx.field(default=False, static=True)
    """Whether one variance stands for those of all samples, and one for those of all coefficients:
    for matrices whose columns are alike."""
    damping: str = eqx.field(default="coefficients", static=True)
    """What is damped besides the messages from samples: ``coefficients``, whose means and variances
    predict the samples; or, as ``gampmatlab`` and [parker-big-amp] have it, only the means that
    residuals are added to, while undamped ones predict."""
    step: float = 0.9
    """Part of each new message that is taken, at first if adaptive."""
    tolerance: float = 1e-6
    """Relative movement of the coefficients that ends it."""

    def __check_init__(self):
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least one; got {self.iterations}")
        if not isinstance(self.step, jax.Array) and not 0 < self.step <= 1:
            raise ValueError(f"step must be above zero and at most one; got {self.step:g}")
        if self.damping not in ("coefficients", "gampmatlab"):
            raise ValueError(f"damping must be coefficients or gampmatlab; got {self.damping!r}")


class Recovery(NamedTuple):
    """What message passing found."""

    posterior: Posterior
    """Of the coefficients, at the iterate of lowest misfit."""
    denoiser: Denoiser
    """The prior, as learnt."""
    noise: Float[Array, ""]
    """Mean squared noise of a sample, as learnt."""
    misfit: Float[Array, " iteration"]
    """Mean squared residual at each iteration; infinite after the last."""
    step: Float[Array, " iteration"]
    """Part of the new messages taken at each iteration."""
    iterations: Int[Array, ""]
    """How many were made."""
    status: Int[Array, ""]
    """A `PassingStatus`."""


class OutputMessages(NamedTuple):
    """Messages from the samples of generalised approximate message passing."""

    residual: Array
    """Scaled residual ``s``."""
    precision: Array
    """Its precision ``nu_s``."""
    spread: Array
    """Variance of the prediction ``nu_p``."""


def output_step(
    received: Array,
    mean: Array,
    variance: Array,
    old: OutputMessages,
    noise: Array,
    step: Array | float,
    reaction: Array | None = None,
) -> tuple[OutputMessages, Float[Array, ""]]:
    """Pass the messages from samples in white Gaussian noise, whatever the linear operator.

    Args:
        received: Samples.
        mean: What the coefficients' means predict.
        variance: Variance of the prediction.
        old: Messages of the iteration before.
        noise: Mean squared noise of a sample.
        step: Part of the new messages that is taken.
        reaction: Variance for Onsager's correction where not all of it comes from the
            coefficients; the damped variance by default.

    Returns:
        New messages, and the noise as one step of expectation-maximisation learns it.
    """
    spread = old.spread + step * (variance - old.spread)
    predicted = mean - (spread if reaction is None else reaction) * old.residual
    total = spread + noise
    residual = old.residual + step * ((received - predicted) / total - old.residual)
    precision = old.precision + step * (1 / total - old.precision)
    gain = noise / total
    learnt = jnp.mean(jnp.abs(gain * (received - predicted)) ** 2 + gain * spread)
    return OutputMessages(residual, precision, spread), learnt


class _State(NamedTuple):
    mean: Array
    variance: Array
    averaged: Array
    """Damped means; the same as `mean` where these are damped."""
    residual: Array
    """Scaled residual ``s``."""
    precision: Array
    spread: Array
    posterior: Posterior
    denoiser: Denoiser
    noise: Array
    misfit: Array
    step: Array
    moved: Array


@eqx.filter_jit
def gamp(
    received: Inexact[Array, " sample"],
    matrix: Inexact[Array, "sample coefficient"],
    denoiser: Denoiser,
    noise: Float[Array, ""],
    settings: MessageSettings = MessageSettings(),  # noqa: B008 - frozen
) -> Recovery:
    """Pass messages over any matrix, real or complex as its coefficients are.

    Generalised approximate message passing for white Gaussian noise, [vila-em-bg-gm-amp] with the
    prior learnt by expectation-maximisation.  Variances of the coefficients' inputs are not damped:
    a column that is lost for one iteration would poison its coefficient.
    """
    weight = jnp.abs(matrix) ** 2
    real = weight.dtype
    samples, count = matrix.shape
    level = jnp.mean(weight)
    mean, variance = denoiser.moments()
    mean = jnp.full(count, mean, matrix.dtype)
    variance = jnp.full(count, variance, real)
    nothing = Posterior(mean, variance, jnp.zeros(count, real), mean, variance)
    floor = 1e-12 * jnp.mean(jnp.abs(received) ** 2)
    start = _State(
        mean, variance, mean, jnp.zeros_like(received), jnp.zeros(len(received), real),
        jnp.zeros(len(received), real), nothing, denoiser, jnp.maximum(noise, floor),
        jnp.asarray(jnp.inf, real), jnp.asarray(settings.step, real), jnp.asarray(jnp.inf, real),
    )  # fmt: skip

    def spread_of(variance):
        """Variance of the predictions."""
        if settings.scalar_variance:
            return jnp.full(samples, level * jnp.sum(variance))
        return weight @ variance

    def certainty_of(precision):
        """Precision of what the coefficients are seen in."""
        if settings.scalar_variance:
            return jnp.full(count, level * jnp.sum(precision))
        return precision @ weight

    outside = settings.damping == "gampmatlab"

    def advance(state: _State, first: Array) -> _State:
        step = jnp.where(first, 1.0, state.step)

        def damped(new, old):
            return old + step * (new - old)

        old = OutputMessages(state.residual, state.precision, state.spread)
        (residual, precision, spread), learnt = output_step(
            received, matrix @ state.mean, spread_of(state.variance), old, state.noise, step
        )
        certain = certainty_of(precision)
        blind = certain <= 0
        seen = 1 / jnp.where(blind, 1.0, certain)
        averaged = damped(state.mean, state.averaged) if outside else state.mean
        value = averaged + seen * (jnp.conj(matrix).T @ residual)
        posterior = state.denoiser(value, seen)
        mean, variance = posterior.mean, posterior.variance
        if not outside:
            mean, variance = damped(mean, state.mean), damped(variance, state.variance)
        misfit = jnp.mean(jnp.abs(received - matrix @ mean) ** 2)
        fresh, noise = state.denoiser, state.noise
        if settings.learn_prior:
            fresh = fresh.learn(posterior, ~blind)
        if settings.learn_noise:
            noise = jnp.maximum(learnt, floor)
        return _State(
            mean, variance, averaged if outside else mean, residual, precision, spread,
            posterior, fresh, noise, misfit, state.step,
            jnp.linalg.norm(mean - state.mean) / jnp.maximum(jnp.linalg.norm(mean), 1e-30),
        )  # fmt: skip

    return _iterate(start, advance, settings, received)


def _iterate(start: _State, advance, settings: MessageSettings, received: Array) -> Recovery:
    """Advance until the coefficients stand still; keep the iterate of lowest misfit."""
    blank = jnp.full(settings.iterations, jnp.inf, start.misfit.dtype)
    least = jnp.asarray(0.01, start.step.dtype)

    def going(carry):
        state, _, _, _, number, fine = carry
        return (number < settings.iterations) & (state.moved > settings.tolerance) & fine

    def body(carry):
        state, best, trace, steps, number, _ = carry
        new = advance(state, number == 0)
        fine = jnp.isfinite(new.misfit) & jnp.all(jnp.isfinite(new.mean))
        if settings.adaptive:
            level = jnp.maximum(state.misfit, state.noise)
            rises = ~(new.misfit <= 1.05 * level) & (number > 0)
            back = rises & (state.step > least)
            step = jnp.where(rises, jnp.maximum(0.5 * state.step, least), 1.02 * state.step)
            step = jnp.minimum(step, 1.0)
            new = jax.tree.map(lambda n, o: jnp.where(back, o, n), new, state)
            # A step taken back must not count as standing still.
            new = new._replace(step=step, moved=jnp.where(back, jnp.inf, new.moved))
            fine = jnp.isfinite(new.misfit) | back
        better = new.misfit < best.misfit
        best = jax.tree.map(lambda n, o: jnp.where(better, n, o), new, best)
        trace, steps = trace.at[number].set(new.misfit), steps.at[number].set(new.step)
        return new, best, trace, steps, number + 1, fine

    zero, yes = jnp.zeros((), jnp.int32), jnp.array(True)
    state, best, trace, steps, number, fine = jax.lax.while_loop(
        going, body, (start, start, blank, jnp.zeros_like(blank), zero, yes)
    )
    settled = fine & (state.moved <= settings.tolerance)
    # Where it settled, the last iterate is the answer; lower misfits on the way overfit.
    best = jax.tree.map(lambda last, b: jnp.where(settled, last, b), state, best)
    status = jnp.where(settled, PassingStatus.CONVERGED, PassingStatus.ITERATION_LIMIT)
    status = jnp.where(fine, status, PassingStatus.DIVERGED)
    posterior = best.posterior._replace(mean=best.mean, variance=best.variance)
    return Recovery(posterior, best.denoiser, best.noise, trace, steps, number, status)


def first_prior(
    received: Inexact[Array, " sample"],
    matrix: Inexact[Array, "sample coefficient"],
    noise: Float[Array, ""],
) -> BernoulliGaussian:
    """Guess a sparse prior to start learning from, as [vila-em-bg-gm-amp] does.

    As many coefficients as l1 could recover are taken to be there, with the power of the samples.
    """
    samples, count = matrix.shape
    ratio = samples / count
    level = np.linspace(0.01, 6, 600)
    # SciPy has it, and takes 0.3 s to load.
    erfc = np.array([math.erfc(each / math.sqrt(2)) for each in level])
    density = np.exp(-(level**2) / 2) / math.sqrt(2 * math.pi)
    tail = 0.5 * (1 + level**2) * erfc - level * density
    reach = np.max((1 - 2 * tail / ratio) / (1 + level**2 - 2 * tail))
    real = jnp.real(matrix).dtype
    rate = jnp.asarray(min(max(ratio * reach, 1e-4), 0.95), real)
    power = jnp.sum(jnp.abs(received) ** 2)
    size = jnp.maximum(power - samples * noise, 0.01 * power) / jnp.sum(jnp.abs(matrix) ** 2)
    return BernoulliGaussian(rate, jnp.zeros((), matrix.dtype), (size / rate).astype(real))
