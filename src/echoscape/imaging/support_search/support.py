"""A list of occupied voxels and the visibility of their segments, made as probable as can be.

Given which voxels are occupied, coefficients follow exactly from least squares with a wide prior,
and each user's visibility variables are a small problem of its own.  `settle` alternates between
the two, `log_odds` says what each voxel is good for, `prune` deletes those that are good for
nothing.

Takes samples, a `Cascade`, the views, and a first list.
Gives a `Support`: the list, its visibility variables, and how well it explains the samples.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

from echoscape.imaging.occlusion.segments import hides
from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade
from echoscape.imaging.operator.products import (
    correlate,
    correlate_power,
    join,
    masked,
    outer,
    weigh,
)
from echoscape.numerics.denoisers import BernoulliGaussian

BLOCKED = 7.0
"""Log-odds against a segment that passes through an occupied voxel."""


class Support(NamedTuple):
    """Occupied voxels, their coefficients and the visibility of their segments; padded."""

    index: Int[Array, " slot"]
    valid: Bool[Array, " slot"]
    value: Inexact[Array, " slot"]
    user: Bool[Array, "user slot"]
    station: Bool[Array, "station slot"]
    variance: Float[Array, " slot"]
    residual: Complex[Array, "subcarrier user station antenna"]
    score: Float[Array, ""]
    """Log-posterior, up to a constant."""


class Scene(NamedTuple):
    """What does not change during the search."""

    received: Complex[Array, "subcarrier user station antenna"]
    cascade: Cascade
    active: ActiveVoxels
    view: Float[Array, "view 3"]
    noise: Float[Array, ""]
    prior: BernoulliGaussian
    radius: Float[Array, ""] | float
    false_occlusion: float
    """Probability that a segment is hidden by what no estimate shows."""


def factors_of(scene: Scene, index: Array) -> tuple[Array, Array]:
    """Fetch the factors of listed voxels, in parts, the voxels last."""
    size = scene.cascade.user.shape[-1]
    chunk, place = index // size, index % size
    segments = scene.cascade.user, scene.cascade.antenna
    user, antenna = (jnp.moveaxis(segment[chunk, ..., place], 0, -1) for segment in segments)
    return user, antenna


def _odds(scene: Scene, support: Support) -> Float[Array, "view slot"]:
    """Ask the geometry for the log-odds of every segment of the support."""
    centre = scene.active.centres_of(support.index)

    def one(view):
        between = hides(view, centre[:, None], centre[None], scene.radius) & support.valid[None]
        return jnp.any(between, axis=1)

    clear = jnp.log((1 - scene.false_occlusion) / scene.false_occlusion)
    return jnp.where(jax.vmap(one)(scene.view), -BLOCKED, clear).astype(support.variance.dtype)


def _predict(scene: Scene, support: Support) -> Support:
    user, antenna = factors_of(scene, support.index)
    user = weigh(user, support.user * (support.valid * support.value)[None])
    model = outer(user, masked(antenna, support.station * jnp.ones((), antenna.dtype)))
    return support._replace(residual=scene.received - model)


def gram_of(
    user: Complex[Array, "subcarrier user slot"],
    antenna: Complex[Array, "subcarrier station antenna slot"],
) -> Complex[Array, "slot slot"]:
    """Multiply the columns of listed voxels with one another."""
    gram = jnp.einsum("fkn,fkm->fnm", jnp.conj(user), user)
    return jnp.sum(gram * jnp.einsum("fban,fbam->fnm", jnp.conj(antenna), antenna), 0)


def refit(scene: Scene, support: Support) -> Support:
    """Refit the coefficients exactly: Gaussian posterior on the support, given the visibility."""
    user, antenna = (join(segment) for segment in factors_of(scene, support.index))
    user = user * (support.user & support.valid[None])[None]
    antenna = antenna * support.station[None, :, None]
    gram = gram_of(user, antenna)
    towards = jnp.einsum("fkba,fkn,fban->n", scene.received, jnp.conj(user), jnp.conj(antenna))
    factor = 1.0
    if not jnp.iscomplexobj(support.value):
        gram, towards, factor = jnp.real(gram), jnp.real(towards), 2.0
    # A wide prior keeps the system regular and hardly pulls.
    own = 1 / (4 * scene.prior.variance + jnp.abs(scene.prior.mean) ** 2)
    left = factor * gram / scene.noise + own * jnp.eye(len(support.index))
    right = factor * towards / scene.noise + own * scene.prior.mean
    root = jax.scipy.linalg.cho_factor(left)
    value = jax.scipy.linalg.cho_solve(root, right)
    inverse = jax.scipy.linalg.cho_solve(root, jnp.eye(len(support.index), dtype=left.dtype))
    return _predict(
        scene,
        support._replace(
            value=jnp.where(support.valid, value, 0).astype(support.value.dtype),
            variance=jnp.real(jnp.diagonal(inverse)).astype(support.variance.dtype),
        ),
    )


def _flip_visibility(scene: Scene, support: Support, odds: Array) -> tuple[Support, Array]:
    """Flip the best visibility variable of every user and of every station, if it pays."""
    users = support.user.shape[0]
    user_factor, antenna = factors_of(scene, support.index)
    ones = jnp.ones(scene.received.shape, support.variance.dtype)
    power = correlate_power(user_factor, antenna, ones) / scene.noise
    strength = (jnp.abs(support.value) ** 2)[None, None] * power

    def gains(support):
        link = correlate(user_factor, antenna, support.residual) / scene.noise
        own = strength * support.user[:, None] * support.station[None]
        return 2 * (jnp.real(jnp.conj(support.value)[None, None] * link) + own) - strength

    def best(gain, segments):
        gain = jnp.where(support.valid[None], jnp.where(segments, -gain, gain), -jnp.inf)
        which = jnp.argmax(gain, axis=1)
        pays = jnp.take_along_axis(gain, which[:, None], 1)[:, 0] > 0
        return segments ^ (
            jax.nn.one_hot(which, segments.shape[1], dtype=bool) & pays[:, None]
        ), pays

    gain = jnp.einsum("kbn,bn->kn", gains(support), support.station * 1.0) + odds[:users]
    user, moved = best(gain, support.user)
    support = _predict(scene, support._replace(user=user))
    gain = jnp.einsum("kbn,kn->bn", gains(support), support.user * 1.0) + odds[users:]
    station, moved_too = best(gain, support.station)
    support = _predict(scene, support._replace(station=station))
    return support, jnp.any(moved) | jnp.any(moved_too)


def settle(scene: Scene, support: Support, sweeps: int = 12) -> Support:
    """Flip visibility variables and refit coefficients until neither helps, then score.

    Once from the visibility variables as they are and once from those that the geometry predicts:
    where the voxels are right but the visibility variables are not, single flips need not find the
    way.
    """
    odds = _odds(scene, support)

    def more(carry):
        _, moved, sweep = carry
        return moved & (sweep < sweeps)

    def sweep(carry):
        support, _, count = carry

        def flip(_, carry):
            support, moved = carry
            support, again = _flip_visibility(scene, support, odds)
            return support, moved | again

        # Twice by a loop: written out, the flip would be compiled twice.
        support, moved = jax.lax.fori_loop(0, 2, flip, (support, jnp.array(False)))
        return refit(scene, support), moved, count + 1

    def from_segments(segments):
        user, station = segments[: support.user.shape[0]], segments[support.user.shape[0] :]
        start = refit(scene, support._replace(user=user, station=station))
        found = jax.lax.while_loop(more, sweep, (start, jnp.array(True), 0))[0]
        return found._replace(score=_score(scene, found, odds))

    segments = jnp.stack([jnp.concatenate([support.user, support.station]), odds > 0])
    both = jax.vmap(from_segments)(segments)
    better = jnp.argmax(both.score)
    return jax.tree.map(lambda leaf: leaf[better], both)


def _visibility_log_prior(support: Support, odds: Array) -> Float[Array, " slot"]:
    segments = jnp.concatenate([support.user, support.station])
    return jnp.where(
        support.valid, -jnp.sum(jnp.logaddexp(0, jnp.where(segments, -odds, odds)), 0), 0
    )


def voxel_log_prior(scene: Scene) -> Float[Array, ""]:
    """Log-odds of a voxel before anything is seen."""
    return jax.scipy.special.logit(jnp.clip(scene.prior.rate, 1e-4, 0.2))


def coefficient_log_prior(
    scene: Scene, value: Inexact[Array, "*batch"], variance: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Weigh a coefficient against the prior, and its freedom against what the samples leave of it.

    The second part is Occam's: a fitted number that could have been anything explains less.
    """
    spread = scene.prior.variance + variance
    half = 1.0 if jnp.iscomplexobj(value) else 0.5
    far = jnp.abs(value - scene.prior.mean) ** 2 / spread
    return -half * (jnp.minimum(far, 30.0) + jnp.log(spread / jnp.maximum(variance, 1e-12)))


def _score(scene: Scene, support: Support, odds: Array) -> Float[Array, ""]:
    misfit = jnp.sum(jnp.abs(support.residual) ** 2) / scene.noise
    own = voxel_log_prior(scene) + coefficient_log_prior(scene, support.value, support.variance)
    own = jnp.where(support.valid, own + _visibility_log_prior(support, odds), 0)
    return (jnp.sum(own) - misfit).astype(support.variance.dtype)


def log_odds(scene: Scene, support: Support) -> Float[Array, " slot"]:
    """Say how much the posterior would fall without each voxel, everything else as it is."""
    odds = _odds(scene, support)
    user, antenna = factors_of(scene, support.index)
    ones = jnp.ones(scene.received.shape, support.variance.dtype)
    power = correlate_power(user, antenna, ones) / scene.noise
    link = correlate(user, antenna, support.residual) / scene.noise
    seen = support.user[:, None] * support.station[None] * 1.0
    gain = (
        2 * jnp.real(jnp.conj(support.value)[None, None] * link)
        + (jnp.abs(support.value) ** 2)[None, None] * power
    )
    gain = (
        jnp.einsum("kbn,kbn->n", seen, gain)
        + _visibility_log_prior(support, odds)
        + voxel_log_prior(scene)
    )
    gain += coefficient_log_prior(scene, support.value, support.variance)
    return jnp.where(support.valid, gain, jnp.inf)


def tidy(scene: Scene, support: Support) -> Support:
    """Settle, and delete voxels that cost more than they explain until none does."""

    def more(carry):
        _, gone, first = carry
        return first | jnp.any(gone)

    def delete(carry):
        support, gone, _ = carry
        support = settle(scene, support._replace(valid=support.valid & ~gone))
        gain = log_odds(scene, support)
        # All that are worse than half the worst go at once.
        return support, gain < 0.5 * jnp.minimum(jnp.min(gain), -1e-9), jnp.array(False)

    start = (support, jnp.zeros_like(support.valid), jnp.array(True))
    return jax.lax.while_loop(more, delete, start)[0]


def unexplained(scene: Scene, support: Support) -> Int[Array, ""]:
    """Count closed segments through which no listed voxel stands."""
    segments = jnp.concatenate([support.user, support.station])
    return jnp.sum(~segments & (_odds(scene, support) > 0) & support.valid[None])


def misfit_of(scene: Scene, support: Support) -> Float[Array, ""]:
    """Mean squared residual over the noise: one for the truth."""
    return jnp.mean(jnp.abs(support.residual) ** 2) / scene.noise


def support_from(
    scene: Scene, present: Array, value: Array, user: Array, station: Array, slots: int
) -> Support:
    """List the voxels that are more likely occupied than not; vectors are flat over voxels."""
    real = jnp.real(scene.cascade.user).dtype
    order, index = jax.lax.top_k(present, slots)
    valid = order > 0.5
    return Support(
        index=index,
        valid=valid,
        value=jnp.where(valid, value[index], 0),
        user=user[:, index],
        station=station[:, index],
        variance=jnp.zeros(slots, real),
        residual=scene.received,
        score=jnp.asarray(-jnp.inf, real),
    )
