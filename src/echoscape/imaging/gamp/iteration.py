"""Message passing that learns what hides what: the engine of every coherent solver.

Generalised approximate message passing over the factored cascade, with one layer more for the
mask.  Each iteration estimates the coefficients given the mask, then the mask given the
coefficients, by one of `Sight`: not at all, by the geometry alone (GAMP-MVSVR of
[multiview-imaging]), or by bits of visibility that weigh the geometry against the samples.

Takes samples, a `Cascade`, the views and `PassingSettings`.
Gives an `Outcome`, the best iterate and how it came about.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from echoscape.imaging.gamp.state import (
    SURE,
    Best,
    Guess,
    Outcome,
    Passing,
    PassingSettings,
    Sight,
    init,
    largest_rate,
)
from echoscape.imaging.occlusion.shadows import cast_shadows, lay_blame
from echoscape.imaging.operator.active_voxels import Kept
from echoscape.imaging.operator.cascade import Cascade, Mask, forward_moments
from echoscape.imaging.operator.products import (
    correlate,
    correlate_columns,
    correlate_power,
    weigh_columns,
)
from echoscape.numerics.denoisers import Posterior
from echoscape.scene.voxel_grid import VoxelGrid

LISTED = 256
"""Voxels whose shadow can change in one iteration, more on large grids; the rest waits."""


def listed_voxels(grid: VoxelGrid) -> int:
    """Say for how many voxels the shadows may change in one iteration."""
    return min(max(LISTED, grid.voxels // 200), 2048)


def step(
    state: Passing,
    received: Complex[Array, "subcarrier user station antenna"],
    cascade: Cascade,
    kept: Kept,
    view: Float[Array, "view 3"],
    settings: PassingSettings,
) -> Passing:
    """Pass every message once; the misfit it returns is that of the coefficients it was given."""
    first = state.iteration == 0

    def damped(new, old, share=settings.step):
        return jax.tree.map(lambda n, o: jnp.where(first, n, o + share * (n - o)), new, old)

    sure = settings.sight in SURE
    moments = forward_moments(cascade, state.mask, state.mean, state.variance, sure=sure)
    power = jnp.mean(jnp.abs(received) ** 2)
    spread = damped(jnp.maximum(moments.variance, 1e-9 * power), state.spread)
    misfit = jnp.mean(jnp.abs(received - moments.mean) ** 2)
    noise = state.noise
    predicted = moments.mean - state.residual * moments.reaction
    residual = damped((received - predicted) / (spread + noise), state.residual)
    precision = damped(1 / (spread + noise), state.precision)
    if settings.learn_noise:
        gain = noise / (spread + noise)
        left = jnp.mean((gain * jnp.abs(received - predicted)) ** 2 + gain * spread)
        noise = jnp.where(state.iteration < 2, noise, left)

    posterior, reached, evidence = _estimate(state, cascade, residual, precision, settings)
    reached = jnp.reshape(reached, -1)[: kept.voxels]
    prior = state.prior.learn(
        jax.tree.map(lambda leaf: jnp.reshape(leaf, -1)[: kept.voxels], posterior), reached
    )
    # While the coefficients explain less than nothing would, learning from them runs away.
    explains = misfit < power
    learnt = (state.iteration >= 2) & explains
    prior = jax.tree.map(lambda n, o: jnp.where(learnt, n, o), prior, state.prior)
    mean = damped(posterior.mean, state.mean)
    # Of many more voxels than samples, thousands that look alike would all take the first step.
    few = largest_rate(received, kept, jnp.iscomplexobj(mean)) < settings.rate
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
    if settings.sight is Sight.GIVEN:
        return state
    return _look(state, evidence, kept, view, settings, explains)


class _Evidence(NamedTuple):
    """What the samples say about each leg being open, as log-odds."""

    user: Float[Array, "chunk user voxel"]
    station: Float[Array, "chunk station voxel"]


def _estimate(state, cascade, residual, precision, settings):
    """Denoise every voxel; say what is reached at all, and where legs have bits, weigh these."""
    sure = settings.sight in SURE

    def chunk(_, parts):
        user, antenna, seen_user, seen_station, x, blame = parts
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
            x + noise * towards * (1.0 if jnp.iscomplexobj(x) else 2.0), noise, blame
        )
        absent = Posterior(
            jnp.zeros_like(x),
            jnp.full_like(found.variance, 0) + state.prior.rate * state.prior.variance,
            jax.nn.sigmoid(jax.scipy.special.logit(state.prior.rate) + blame),
            jnp.zeros_like(x) + state.prior.mean,
            jnp.zeros_like(noise) + state.prior.variance,
        )
        found = jax.tree.map(lambda a, b: jnp.where(reached, a, b), found, absent)
        if sure:
            return None, (found, reached, None)
        # Gain of an open leg: the samples it explains, its own contribution given back first.
        strength = jnp.abs(x[None, None]) ** 2 * power
        gain = 2 * (jnp.real(jnp.conj(x)[None, None] * link) + strength * weight) - strength
        for_user = jnp.sum(gain * seen_station[None], 1)
        for_station = jnp.sum(gain * seen_user[:, None], 0)
        return None, (found, reached, _Evidence(for_user, for_station))

    chunks, size = state.mean.shape
    blame = jnp.pad(state.blame, (0, chunks * size - len(state.blame))).reshape(chunks, size)
    parts = (cascade.user, cascade.antenna, *state.mask, state.mean, blame)
    return jax.lax.scan(chunk, None, parts)[1]


def _like(value: Array, other: Array) -> Array:
    """Take the real part of a complex value if another is real."""
    return value if jnp.iscomplexobj(other) else jnp.real(value)


def _look(state, evidence, kept, view, settings, explains):
    """Move the mask: shadows of what is there, then bits."""
    grid = kept.grid
    room = min(listed_voxels(grid), kept.voxels)
    mean, present = (jnp.reshape(leaf, -1)[: kept.voxels] for leaf in (state.mean, state.present))
    typical = jnp.sqrt(jnp.abs(state.prior.mean) ** 2 + state.prior.variance)
    stands = jnp.abs(mean) > settings.threshold * typical
    due = (state.iteration > settings.first_update) & explains
    if settings.sight is Sight.GEOMETRY:
        wanted = (stands & (present > 0.5)).astype(present.dtype)
    else:
        chance = jnp.where(stands & (present > 0.1), jnp.minimum(present, 0.999), 0.0)
        wanted = jnp.log1p(-chance)
    change = jnp.where(due, wanted - state.cast, 0.0)
    changed = jnp.abs(change) > (0.5 if settings.sight is Sight.GEOMETRY else 0.02)
    listed, count = _flagged(changed, room)
    amount = change[listed].astype(state.shadow.dtype)
    shadow = cast_shadows(
        state.shadow, grid, view, kept.on_grid(listed), amount, count, settings.radius
    )
    cast = state.cast.at[listed].add(jnp.where(jnp.arange(room) < count, amount, 0))
    state = state._replace(shadow=shadow, cast=cast)

    if settings.sight is Sight.BITS:
        seen, count = _flagged(present > settings.believed, room)
        size = state.mean.shape[1]
        both = (leg[seen // size, :, seen % size].T for leg in (evidence.user, evidence.station))
        new = lay_blame(
            grid,
            view,
            kept.on_grid(seen),
            count,
            jnp.concatenate(list(both)),
            present[seen],
            shadow[:, kept.on_grid(seen)],
            kept.spread(cast),
            settings.surprise,
            settings.blame_most,
            settings.radius,
        )
        new = jnp.clip(kept.pick(new), -12.0, settings.blame_cap)
        state = state._replace(
            blame=jnp.where(
                due, state.blame + settings.blame_step * (new - state.blame), 0.0
            ).astype(state.blame.dtype)
        )

    users = state.mask.user.shape[1]
    chunks, size = state.mean.shape
    open_legs = kept.pick(shadow)
    open_legs = open_legs == 0 if settings.sight is Sight.GEOMETRY else jnp.exp(open_legs)
    open_legs = jnp.pad(open_legs, ((0, 0), (0, chunks * size - kept.voxels)), constant_values=1)
    open_legs = jnp.moveaxis(jnp.reshape(open_legs, (-1, chunks, size)), 0, 1)
    user, station = open_legs[:, :users], open_legs[:, users:]
    if settings.sight is Sight.GEOMETRY:
        return state._replace(mask=Mask(user, station))

    if settings.sight is Sight.FREE:
        user, station = jnp.full_like(user, 0.8), jnp.full_like(station, 0.8)

    def bit(chance, evidence, old):
        chance = jnp.clip(chance, 1e-3, 1 - settings.surprise)
        odds = jnp.log(chance) - jnp.log1p(-chance)
        known = jnp.where(state.present[:, None] > settings.believed, evidence, 0.0)
        new = jax.nn.sigmoid(jnp.clip(odds + known, -30.0, 30.0))
        return jnp.where(due, old + settings.bit_step * (new - old), old).astype(old.dtype)

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


@eqx.filter_jit
def run(
    received: Complex[Array, "subcarrier user station antenna"],
    cascade: Cascade,
    mask: Mask,
    noise: Float[Array, ""],
    kept: Kept,
    view: Float[Array, "view 3"],
    settings: PassingSettings,
    is_complex: bool = False,
    *,
    guess: Guess,
) -> Outcome:
    """Pass messages until they settle or the iterations are used up.

    Args:
        received: Samples.
        cascade: Channels of every voxel.
        mask: What is in sight, or is taken to be at first; one leg of a kind can stand for all.
        noise: Mean squared noise of a sample, or a first guess.
        kept: The voxels.
        view: Where the users are, then the centres of the stations.
        settings: How.
        is_complex: Whether coefficients are complex.
        guess: Coefficients to start from.
    """
    chunks, size = cascade.padded
    legs = ((mask.user, received.shape[1]), (mask.station, received.shape[2]))
    mask = Mask(*(jnp.broadcast_to(leg, (chunks, views, size)) for leg, views in legs))
    if settings.sight in SURE:
        mask = Mask(*(leg > 0.5 for leg in mask))
    start = init(received, cascade, mask, noise, settings, kept, is_complex)
    sure = jnp.abs(guess.mean) > 0
    share = jnp.where(guess.given, 0.1, 1.0)
    start = start._replace(
        mean=guess.mean,
        present=jnp.where(sure, 0.99, start.present).astype(start.present.dtype),
        variance=(share * start.variance).astype(start.variance.dtype),
        prior=jax.tree.map(lambda g, s: jnp.where(guess.given, g, s), guess.prior, start.prior),
    )
    trace = jnp.full(settings.iterations, jnp.inf, start.misfit.dtype)

    def going(carry):
        state, _, _ = carry
        return (
            (state.iteration < settings.iterations)
            & ~((state.iteration > 20) & (state.moved < 1e-5))
            & jnp.where(state.iteration > 0, jnp.isfinite(state.misfit), True)
        )

    def advance(carry):
        state, best, trace = carry
        new = step(state, received, cascade, kept, view, settings)
        trace = trace.at[state.iteration].set(new.misfit / noise)
        # The misfit is that of the coefficients before the step.
        better = new.misfit < best.misfit
        judged = _kept(state, new.misfit)
        best = jax.tree.map(lambda n, o: jnp.where(better, n, o), judged, best)
        return new, best, trace

    first = _kept(start, start.misfit)
    last, best, trace = jax.lax.while_loop(going, advance, (start, first, trace))
    return Outcome(best, last.iteration, jnp.isfinite(last.misfit), trace)


def _kept(state: Passing, misfit: Array) -> Best:
    def packed(leg):
        return jnp.packbits(leg if leg.dtype == bool else leg > 0.5, axis=2)

    legs = packed(state.mask.user), packed(state.mask.station)
    parts = state.mean, state.variance, state.present
    return Best(*parts, *legs, state.prior, state.noise, misfit)
