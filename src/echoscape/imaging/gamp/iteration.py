"""Message passing that learns what hides what: the engine of every coherent solver.

Generalised approximate message passing over the factored cascade, with one layer more for the
mask.  Each iteration estimates the coefficients given the mask, then the mask given the
coefficients, by one of `MaskModel`: not at all, by the geometry alone (GAMP-MVSVR of
[multiview-imaging]), or by visibility variables that weigh the geometry against the samples.

Both halves are compiled, for sizes that are rounded up; the geometry between them, which comes
from `hiding`, is not.

Takes samples, a `Cascade`, the views and `GampSettings`.
Gives an `Outcome`, the best iterate and how it came about.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int, Shaped

from echoscape.imaging.gamp.hiding import Changes, Hiding, hiding_for
from echoscape.imaging.gamp.state import (
    HARD_MASKS,
    BestIterate,
    Counts,
    GampSettings,
    GampState,
    Guess,
    MaskModel,
    Outcome,
    init,
    largest_rate,
)
from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade, Mask, forward_moments
from echoscape.imaging.operator.padding import pad_cascade, pad_samples, padded_samples
from echoscape.imaging.operator.products import (
    correlate,
    correlate_columns,
    correlate_power,
    weigh_columns,
)
from echoscape.numerics.denoisers import BernoulliGaussian, Posterior
from echoscape.numerics.message_passing import OutputMessages, output_step
from echoscape.progress import ROUND, Progress

LISTED = 256
"""Voxels whose shadow can change in one iteration, more on large grids; the rest waits."""


def listed_voxels(voxels: int) -> int:
    """Say for how many voxels the shadows may change in one iteration."""
    return min(max(LISTED, voxels // 200), 2048, voxels)


class Evidence(NamedTuple):
    """What the samples say about each segment being open, as log-odds."""

    user: Float[Array, "chunk user voxel"]
    station: Float[Array, "chunk station voxel"]


def step(
    state: GampState,
    received: Complex[Array, "subcarrier user station antenna"],
    cascade: Cascade,
    counts: Counts,
    settings: GampSettings,
) -> tuple[GampState, Evidence | None, Changes]:
    """Estimate the coefficients once, and say what that changes in who hides what.

    The misfit it returns is that of the coefficients it was given.
    """
    first = state.iteration == 0

    def damped(new, old, share=settings.step):
        return jax.tree.map(lambda n, o: jnp.where(first, n, o + share * (n - o)), new, old)

    sure = settings.mask_model in HARD_MASKS
    moments = forward_moments(cascade, state.mask, state.mean, state.variance, sure=sure)
    power = jnp.sum(jnp.abs(received) ** 2) / counts.samples
    misfit = jnp.sum(jnp.abs(received - moments.mean) ** 2) / counts.samples
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
    learnt_noise = learnt_noise * received.size / counts.samples
    learns = settings.learn_noise & (state.iteration >= 2)
    noise = jnp.where(learns, learnt_noise, noise).astype(noise.dtype)

    posterior, reached, evidence = _estimate(state, cascade, residual, precision, settings)
    prior = state.prior.learn(
        jax.tree.map(lambda leaf: jnp.reshape(leaf, -1), posterior), jnp.reshape(reached, -1)
    )
    # More than half of a region is never in sight; towards one the first iterations run away.
    prior = BernoulliGaussian(jnp.minimum(prior.rate, 0.5), prior.mean, prior.variance)
    # While the coefficients explain less than nothing would, learning from them runs away.
    explains = misfit < power
    learnt = (state.iteration >= 2) & explains
    prior = jax.tree.map(lambda n, o: jnp.where(learnt, n, o), prior, state.prior)
    mean = damped(posterior.mean, state.mean)
    # Of many more voxels than samples, thousands that look alike would all take the first step.
    few = largest_rate(counts, jnp.iscomplexobj(mean)) < settings.rate
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
        misfit=misfit.astype(state.misfit.dtype),
        iteration=state.iteration + 1,
        moved=(jnp.linalg.norm(mean - state.mean) / jnp.linalg.norm(mean)).astype(
            state.moved.dtype
        ),
    )
    state, changes = _changes(state, evidence, counts, settings, explains)
    return state, evidence, changes


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
        return None, (found, reached, Evidence(for_user, for_station))

    occupancy_message = state.occupancy_message.reshape(state.mean.shape)
    parts = (cascade.user, cascade.antenna, *state.mask, state.mean, occupancy_message)
    return jax.lax.scan(chunk, None, parts)[1]


def _like(value: Array, other: Array) -> Array:
    """Take the real part of a complex value if another is real."""
    return value if jnp.iscomplexobj(other) else jnp.real(value)


def _changes(state, evidence, counts, settings, explains):
    """List the voxels whose shadows change, and those whose segments are known."""
    mean, present = jnp.reshape(state.mean, -1), jnp.reshape(state.present, -1)
    due = (state.iteration > settings.first_update) & explains
    if settings.mask_model is MaskModel.KNOWN:
        return state, Changes(due)
    room, real = listed_voxels(len(mean)), jnp.arange(len(mean)) < counts.voxels
    typical = jnp.sqrt(jnp.abs(state.prior.mean) ** 2 + state.prior.variance)
    stands = (jnp.abs(mean) > settings.threshold * typical) & real
    if settings.mask_model is MaskModel.GEOMETRIC:
        wanted = (stands & (present > 0.5)).astype(present.dtype)
    else:
        probability = jnp.where(stands & (present > 0.1), jnp.minimum(present, 0.999), 0.0)
        wanted = jnp.log1p(-probability)
    change = jnp.where(due, wanted - state.cast, 0.0)
    changed = jnp.abs(change) > (0.5 if settings.mask_model is MaskModel.GEOMETRIC else 0.02)
    listed, count = _flagged(changed, room)
    amount = jnp.where(jnp.arange(room) < count, change[listed], 0)
    state = state._replace(cast=state.cast.at[listed].add(amount))
    changes = Changes(due, listed, amount, count)
    if settings.mask_model is MaskModel.LEARNED:
        seen, count = _flagged((present > settings.presence_threshold) & real, room)
        size = state.mean.shape[1]
        user, station = (
            segment[seen // size, :, seen % size].T for segment in (evidence.user, evidence.station)
        )
        changes = changes._replace(
            seen=seen, seen_count=count, user=user, station=station, present=present[seen]
        )
    return state, changes


def update_mask(
    state: GampState,
    evidence: Evidence | None,
    due: Bool[Array, ""],
    shadow: Shaped[Array, "view _"],
    message: Float[Array, " _"] | None,
    settings: GampSettings,
) -> GampState:
    """Move the mask: shadows of what is there, then visibility variables.

    Args:
        state: The coefficients as they were just estimated.
        evidence: What the samples say about each segment.
        due: Whether the mask is to move.
        shadow: How many stand in each segment, or the log-probability that none does.
        message: Log-odds of each voxel being occupied, by the segments that pass through it.
        settings: How.
    """
    chunks, size = state.mean.shape
    users = state.mask.user.shape[1]
    shadow = jnp.pad(shadow, ((0, 0), (0, chunks * size - shadow.shape[1])))
    shadow = jnp.moveaxis(jnp.reshape(shadow, (-1, chunks, size)), 0, 1)
    if settings.mask_model is MaskModel.GEOMETRIC:
        return state._replace(mask=Mask(shadow[:, :users] == 0, shadow[:, users:] == 0))
    if evidence is None:
        raise ValueError("visibility variables move by what the samples say: no evidence is given")
    if message is not None:
        new = jnp.clip(message, -12.0, settings.message_cap)
        new = jnp.pad(new, (0, chunks * size - len(message)))
        old = state.occupancy_message
        new = jnp.where(due, old + settings.message_step * (new - old), 0.0)
        state = state._replace(occupancy_message=new.astype(old.dtype))
    open_segments = jnp.exp(shadow)
    user, station = open_segments[:, :users], open_segments[:, users:]
    if settings.mask_model is MaskModel.UNSTRUCTURED:
        user, station = jnp.full_like(user, 0.8), jnp.full_like(station, 0.8)
    known = state.present[:, None] > settings.presence_threshold

    def bit(probability, evidence, old):
        probability = jnp.clip(probability, 1e-3, 1 - settings.false_occlusion)
        odds = jnp.log(probability) - jnp.log1p(-probability)
        new = jax.nn.sigmoid(jnp.clip(odds + jnp.where(known, evidence, 0.0), -30.0, 30.0))
        return jnp.where(due, old + settings.visibility_step * (new - old), old).astype(old.dtype)

    mask = Mask(
        bit(user, evidence.user, state.mask.user),
        bit(station, evidence.station, state.mask.station),
    )
    return state._replace(mask=mask)


def _flagged(flag: Bool[Array, " padded"], room: int) -> tuple[Int[Array, " room"], Int[Array, ""]]:
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
        guess: Coefficients to start from.
        progress: Called every `progress.ROUND` iterations.
    """
    _, users, stations, _ = received.shape
    real = cascade.real_type
    counts = Counts(np.asarray(received.size, real), np.asarray(active.voxels, real))
    samples = padded_samples(cascade, active.grid.voxels)
    cascade = pad_cascade(cascade, samples)
    if samples != received.shape:
        received = jnp.asarray(pad_samples(np.asarray(received), samples))
        mask = Mask(*(_pad_mask(*each) for each in zip(mask, samples[1:3], strict=True)))
    hiding = hiding_for(active, view, samples[1:3], (users, stations), settings)
    state, best = _begin(received, cascade, mask, noise, settings, counts, guess)
    most, trace = int(settings.iterations), []
    fixed = received, cascade, noise, counts, settings
    while len(trace) < most:
        made = len(trace)
        if progress is not None and made % ROUND == 0:
            first = ", compiling" if not made else ""
            progress(made, most, f"{most} iterations at most{first}")
        state, best, evidence, changes = _advance(state, best, fixed)
        if hiding is not None:
            state = _hide(state, evidence, changes, hiding, settings)
        trace.append(float(state.misfit))
        if not math.isfinite(trace[-1]) or (made >= 20 and float(state.moved) < 1e-5):
            break
    best = jax.tree.map(np.asarray, best)  # eager slices would be compiled one by one
    best = best._replace(user=best.user[:, :users], station=best.station[:, :stations])
    misfit = np.array(trace) / float(noise)
    return Outcome(best, len(trace), not trace or math.isfinite(trace[-1]), misfit)


def _hide(state, evidence, changes, hiding: Hiding, settings) -> GampState:
    shadow, message = hiding(changes, state.cast)
    return _update_mask(state, evidence, changes.due, shadow, message, settings)


def _pad_mask(segment: Array, views: int) -> Array:
    if segment.shape[1] in (1, views):
        return segment
    whole = np.asarray(segment)
    return jnp.asarray(np.pad(whole, ((0, 0), (0, views - whole.shape[1]), (0, 0))))


@jax.jit
def _begin(received, cascade, mask, noise, settings, counts, guess):
    """Make the first state and the best iterate so far."""
    chunks, size = cascade.padded
    segments = ((mask.user, received.shape[1]), (mask.station, received.shape[2]))
    mask = Mask(*(jnp.broadcast_to(segment, (chunks, views, size)) for segment, views in segments))
    if settings.mask_model in HARD_MASKS:
        mask = Mask(*(segment > 0.5 for segment in mask))
    is_complex = jnp.iscomplexobj(guess.mean)
    start = init(received, cascade, mask, noise, settings, counts, is_complex)
    sure = jnp.abs(guess.mean) > 0
    share = jnp.where(guess.given, 0.1, 1.0)
    start = start._replace(
        mean=guess.mean,
        present=jnp.where(sure, 0.99, start.present).astype(start.present.dtype),
        variance=(share * start.variance).astype(start.variance.dtype),
        prior=jax.tree.map(lambda g, s: jnp.where(guess.given, g, s), guess.prior, start.prior),
    )
    return start, _iterate_of(start, start.misfit)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def _advance(state, best, fixed):
    """Take a step, and keep the state before it if it is the best so far."""
    received, cascade, _, counts, settings = fixed
    new, evidence, changes = step(state, received, cascade, counts, settings)
    # The misfit is that of the coefficients before the step.
    better, judged = new.misfit < best.misfit, _iterate_of(state, new.misfit)
    best = jax.tree.map(lambda n, o: jnp.where(better, n, o), judged, best)
    return new, best, evidence, changes


_update_mask = jax.jit(update_mask, donate_argnums=0)


def _iterate_of(state: GampState, misfit: Array) -> BestIterate:
    def packed(segment):
        return jnp.packbits(segment if segment.dtype == bool else segment > 0.5, axis=2)

    segments = packed(state.mask.user), packed(state.mask.station)
    parts = state.mean, state.variance, state.present
    return BestIterate(*parts, *segments, state.prior, state.noise, misfit)
