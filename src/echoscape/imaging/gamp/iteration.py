"""Message passing that learns what hides what: the engine of every coherent solver.

Generalised approximate message passing over the factored cascade, with one layer more for the
mask.  Each iteration estimates the coefficients given the mask, then the mask given the
coefficients, by one of `MaskModel`: not at all, by the geometry alone (GAMP-MVSVR of
[multiview-imaging]), or by visibility variables that weigh the geometry against the samples.

Takes samples, a `Cascade`, the views and `GampSettings`.
Gives an `Outcome`, the best iterate and how it came about.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from echoscape.imaging.gamp.state import (
    HARD_MASKS,
    BestIterate,
    GampSettings,
    GampState,
    Guess,
    MaskModel,
    Outcome,
    init,
    largest_rate,
)
from echoscape.imaging.occlusion.shadows import cast_shadows, occupancy_messages
from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade, Mask, forward_moments
from echoscape.imaging.operator.products import (
    correlate,
    correlate_columns,
    correlate_power,
    weigh_columns,
)
from echoscape.numerics.denoisers import Posterior
from echoscape.numerics.message_passing import OutputMessages, output_step
from echoscape.progress import Progress, in_rounds
from echoscape.scene.voxel_grid import AnyGrid

LISTED = 256
"""Voxels whose shadow can change in one iteration, more on large grids; the rest waits."""


def listed_voxels(grid: AnyGrid) -> int:
    """Say for how many voxels the shadows may change in one iteration."""
    return min(max(LISTED, grid.voxels // 200), 2048)


def step(
    state: GampState,
    received: Complex[Array, "subcarrier user station antenna"],
    cascade: Cascade,
    active: ActiveVoxels,
    view: Float[Array, "view 3"],
    settings: GampSettings,
) -> GampState:
    """Pass every message once; the misfit it returns is that of the coefficients it was given."""
    first = state.iteration == 0

    def damped(new, old, share=settings.step):
        return jax.tree.map(lambda n, o: jnp.where(first, n, o + share * (n - o)), new, old)

    sure = settings.mask_model in HARD_MASKS
    moments = forward_moments(cascade, state.mask, state.mean, state.variance, sure=sure)
    power = jnp.mean(jnp.abs(received) ** 2)
    misfit = jnp.mean(jnp.abs(received - moments.mean) ** 2)
    noise = state.noise
    (residual, precision, spread), learnt_noise = output_step(
        received,
        moments.mean,
        jnp.maximum(moments.variance, 1e-9 * power),
        OutputMessages(state.residual, state.precision, state.spread),
        noise,
        jnp.where(first, 1.0, settings.step).astype(noise.dtype),
        moments.reaction,
    )
    noise = jnp.where(settings.learn_noise & (state.iteration >= 2), learnt_noise, noise)

    posterior, reached, evidence = _estimate(state, cascade, residual, precision, settings)
    reached = jnp.reshape(reached, -1)[: active.voxels]
    prior = state.prior.learn(
        jax.tree.map(lambda leaf: jnp.reshape(leaf, -1)[: active.voxels], posterior), reached
    )
    # More than half of a region is never in sight; towards one the first iterations run away.
    prior = eqx.tree_at(lambda p: p.rate, prior, jnp.minimum(prior.rate, 0.5))
    # While the coefficients explain less than nothing would, learning from them runs away.
    explains = misfit < power
    learnt = (state.iteration >= 2) & explains
    prior = jax.tree.map(lambda n, o: jnp.where(learnt, n, o), prior, state.prior)
    mean = damped(posterior.mean, state.mean)
    # Of many more voxels than samples, thousands that look alike would all take the first step.
    few = largest_rate(received, active, jnp.iscomplexobj(mean)) < settings.rate
    slow = state.mean + settings.step * (posterior.mean - state.mean)
    mean = jnp.where(first & few, slow, mean)
    state = state._replace(
        mean=mean,
        variance=damped(posterior.variance, state.variance),
        present=posterior.present,
        residual=residual,
        precision=precision,
        spread=spread,
        prior=prior,
        noise=noise,
        misfit=misfit,
        iteration=state.iteration + 1,
        moved=jnp.linalg.norm(mean - state.mean) / jnp.linalg.norm(mean),
    )
    if settings.mask_model is MaskModel.KNOWN:
        return state
    return _update_mask(state, evidence, active, view, settings, explains)


class _Evidence(NamedTuple):
    """What the samples say about each segment being open, as log-odds."""

    user: Float[Array, "chunk user voxel"]
    station: Float[Array, "chunk station voxel"]


def _estimate(state, cascade, residual, precision, settings):
    """Denoise every voxel; give which are reached, and the log-odds of segments being open."""
    sure = settings.mask_model in HARD_MASKS

    def chunk(_, parts):
        user, antenna, seen_user, seen_station, x, occupancy_message = parts
        seen_user, seen_station = (s.astype(user.dtype) for s in (seen_user, seen_station))
        if sure:
            column = user, antenna, seen_user, seen_station
            certain = weigh_columns(*column, precision)
            towards = _like(correlate_columns(*column, residual), x)
            largest = jnp.max(certain)
        else:
            power = correlate_power(user, antenna, precision)
            link = _like(correlate(user, antenna, residual), x)
            weight = seen_user[:, None] * seen_station[None]
            certain, towards = jnp.sum(power * weight**2, (0, 1)), jnp.sum(link * weight, (0, 1))
            largest = jnp.max(power)
        reached = certain > 1e-9 * largest
        noise = 1 / jnp.where(reached, certain, 1.0)
        if not jnp.iscomplexobj(x):
            noise = 0.5 * noise  # variance of the real part
        found = state.prior(
            x + noise * towards * (1.0 if jnp.iscomplexobj(x) else 2.0), noise, occupancy_message
        )
        absent = Posterior(
            jnp.zeros_like(x),
            jnp.full_like(found.variance, 0) + state.prior.rate * state.prior.variance,
            jax.nn.sigmoid(jax.scipy.special.logit(state.prior.rate) + occupancy_message),
            jnp.zeros_like(x) + state.prior.mean,
            jnp.zeros_like(noise) + state.prior.variance,
        )
        found = jax.tree.map(lambda a, b: jnp.where(reached, a, b), found, absent)
        if sure:
            return None, (found, reached, None)
        # Gain of an open segment: the samples it explains, its own contribution given back first.
        strength = jnp.abs(x[None, None]) ** 2 * power
        gain = 2 * (jnp.real(jnp.conj(x)[None, None] * link) + strength * weight) - strength
        for_user = jnp.sum(gain * seen_station[None], 1)
        for_station = jnp.sum(gain * seen_user[:, None], 0)
        return None, (found, reached, _Evidence(for_user, for_station))

    chunks, size = state.mean.shape
    occupancy_message = jnp.pad(
        state.occupancy_message, (0, chunks * size - len(state.occupancy_message))
    ).reshape(chunks, size)
    parts = (cascade.user, cascade.antenna, *state.mask, state.mean, occupancy_message)
    return jax.lax.scan(chunk, None, parts)[1]


def _like(value: Array, other: Array) -> Array:
    """Take the real part of a complex value if another is real."""
    return value if jnp.iscomplexobj(other) else jnp.real(value)


def _update_mask(state, evidence, active, view, settings, explains):
    """Move the mask: shadows of what is there, then visibility variables."""
    grid = active.grid
    room = min(listed_voxels(grid), active.voxels)
    mean, present = (jnp.reshape(leaf, -1)[: active.voxels] for leaf in (state.mean, state.present))
    typical = jnp.sqrt(jnp.abs(state.prior.mean) ** 2 + state.prior.variance)
    stands = jnp.abs(mean) > settings.threshold * typical
    due = (state.iteration > settings.first_update) & explains
    if settings.mask_model is MaskModel.GEOMETRIC:
        wanted = (stands & (present > 0.5)).astype(present.dtype)
    else:
        probability = jnp.where(stands & (present > 0.1), jnp.minimum(present, 0.999), 0.0)
        wanted = jnp.log1p(-probability)
    change = jnp.where(due, wanted - state.cast, 0.0)
    changed = jnp.abs(change) > (0.5 if settings.mask_model is MaskModel.GEOMETRIC else 0.02)
    listed, count = _flagged(changed, room)
    amount = change[listed].astype(state.shadow.dtype)
    shadow = cast_shadows(
        state.shadow, grid, view, active.on_grid(listed), amount, count, settings.radius
    )
    cast = state.cast.at[listed].add(jnp.where(jnp.arange(room) < count, amount, 0))
    state = state._replace(shadow=shadow, cast=cast)

    if settings.mask_model is MaskModel.LEARNED:
        seen, count = _flagged(present > settings.presence_threshold, room)
        size = state.mean.shape[1]
        both = (
            segment[seen // size, :, seen % size].T for segment in (evidence.user, evidence.station)
        )
        new = occupancy_messages(
            grid,
            view,
            active.on_grid(seen),
            count,
            jnp.concatenate(list(both)),
            present[seen],
            shadow[:, active.on_grid(seen)],
            active.spread(cast),
            settings.false_occlusion,
            settings.segment_message_limit,
            settings.radius,
        )
        new = jnp.clip(active.pick(new), -12.0, settings.message_cap)
        state = state._replace(
            occupancy_message=jnp.where(
                due,
                state.occupancy_message + settings.message_step * (new - state.occupancy_message),
                0.0,
            ).astype(state.occupancy_message.dtype)
        )

    users = state.mask.user.shape[1]
    chunks, size = state.mean.shape
    open_segments = active.pick(shadow)
    open_segments = (
        open_segments == 0 if settings.mask_model is MaskModel.GEOMETRIC else jnp.exp(open_segments)
    )
    open_segments = jnp.pad(
        open_segments, ((0, 0), (0, chunks * size - active.voxels)), constant_values=1
    )
    open_segments = jnp.moveaxis(jnp.reshape(open_segments, (-1, chunks, size)), 0, 1)
    user, station = open_segments[:, :users], open_segments[:, users:]
    if settings.mask_model is MaskModel.GEOMETRIC:
        return state._replace(mask=Mask(user, station))

    if settings.mask_model is MaskModel.UNSTRUCTURED:
        user, station = jnp.full_like(user, 0.8), jnp.full_like(station, 0.8)

    def bit(probability, evidence, old):
        probability = jnp.clip(probability, 1e-3, 1 - settings.false_occlusion)
        odds = jnp.log(probability) - jnp.log1p(-probability)
        known = jnp.where(state.present[:, None] > settings.presence_threshold, evidence, 0.0)
        new = jax.nn.sigmoid(jnp.clip(odds + known, -30.0, 30.0))
        return jnp.where(due, old + settings.visibility_step * (new - old), old).astype(old.dtype)

    return state._replace(
        mask=Mask(
            bit(user, evidence.user, state.mask.user),
            bit(station, evidence.station, state.mask.station),
        )
    )


def _flagged(flag: Bool[Array, " kept"], room: int) -> tuple[Int[Array, " room"], Int[Array, ""]]:
    """List the first voxels that are flagged, and say how many: `nonzero` in a third of the memory.

    Beyond these the list is filled with zeros.
    """
    until = jnp.cumsum(flag, dtype=jnp.int32)
    listed = jnp.searchsorted(until, jnp.arange(1, room + 1, dtype=jnp.int32))
    count = jnp.minimum(until[-1], room)
    return jnp.where(jnp.arange(room) < count, listed, 0), count


def run(
    received: Complex[Array, "subcarrier user station antenna"],
    cascade: Cascade,
    mask: Mask,
    noise: Float[Array, ""],
    active: ActiveVoxels,
    view: Float[Array, "view 3"],
    settings: GampSettings,
    is_complex: bool = False,
    *,
    guess: Guess,
    progress: Progress | None = None,
) -> Outcome:
    """Pass messages until they settle or the iterations are used up.

    Args:
        received: Samples.
        cascade: Channels of every voxel.
        mask: What is in sight, or is taken to be at first; one segment of a kind can stand for all.
        noise: Mean squared noise of a sample, or a first guess.
        active: The voxels.
        view: Where the users are, then the centres of the stations.
        settings: How.
        is_complex: Whether coefficients are complex.
        guess: Coefficients to start from.
        progress: Called every `progress.ROUND` iterations.
    """
    carry = _begin(received, cascade, mask, noise, settings, active, is_complex, guess)
    fixed = (received, cascade, noise, active, view, settings)

    def advance(carry, until):
        return _go_on(fixed, carry, jnp.asarray(until))

    most = int(settings.iterations)
    carry = in_rounds(advance, carry, lambda c: int(c[0].iteration), most, progress)
    last, best, trace = carry
    return Outcome(best, last.iteration, jnp.isfinite(last.misfit), trace)


@eqx.filter_jit
def _begin(received, cascade, mask, noise, settings, active, is_complex, guess):
    """Make the first state, the best iterate so far and an empty trace."""
    chunks, size = cascade.padded
    segments = ((mask.user, received.shape[1]), (mask.station, received.shape[2]))
    mask = Mask(*(jnp.broadcast_to(segment, (chunks, views, size)) for segment, views in segments))
    if settings.mask_model in HARD_MASKS:
        mask = Mask(*(segment > 0.5 for segment in mask))
    start = init(received, cascade, mask, noise, settings, active, is_complex)
    sure = jnp.abs(guess.mean) > 0
    share = jnp.where(guess.given, 0.1, 1.0)
    start = start._replace(
        mean=guess.mean,
        present=jnp.where(sure, 0.99, start.present).astype(start.present.dtype),
        variance=(share * start.variance).astype(start.variance.dtype),
        prior=jax.tree.map(lambda g, s: jnp.where(guess.given, g, s), guess.prior, start.prior),
    )
    trace = jnp.full(settings.capacity, jnp.inf, start.misfit.dtype)
    return start, _iterate_of(start, start.misfit), trace


@eqx.filter_jit(donate="all-except-first")
def _go_on(fixed, carry, until):
    """Iterate until it settles, diverges or has made so many iterations."""
    received, cascade, noise, active, view, settings = fixed

    def going(carry):
        state, _, _ = carry
        return (
            (state.iteration < until)
            & ~((state.iteration > 20) & (state.moved < 1e-5))
            & jnp.where(state.iteration > 0, jnp.isfinite(state.misfit), True)
        )

    def advance(carry):
        state, best, trace = carry
        new = step(state, received, cascade, active, view, settings)
        trace = trace.at[state.iteration].set(new.misfit / noise)
        # The misfit is that of the coefficients before the step.
        better = new.misfit < best.misfit
        judged = _iterate_of(state, new.misfit)
        best = jax.tree.map(lambda n, o: jnp.where(better, n, o), judged, best)
        return new, best, trace

    return jax.lax.while_loop(going, advance, carry)


def _iterate_of(state: GampState, misfit: Array) -> BestIterate:
    def packed(segment):
        return jnp.packbits(segment if segment.dtype == bool else segment > 0.5, axis=2)

    segments = packed(state.mask.user), packed(state.mask.station)
    parts = state.mean, state.variance, state.present
    return BestIterate(*parts, *segments, state.prior, state.noise, misfit)
