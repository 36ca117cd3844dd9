"""Detections move the user and all points at once: the iterated Kalman update of the joint filter.

A path depends on the user and on one point only, so the gain needs few columns of the covariance;
paths are taken a handful at a time.  All of an instant are linearised at one state, that which the
pass before found, so the handfuls together are one update, and their order does not matter.

Takes a `JointState`, what was measured, and which slot each detection belongs to.
Gives the state after the measurement.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from echoscape.numerics.kalman import Gaussian, condition
from echoscape.numerics.small import mahalanobis
from echoscape.tracking.anchor import AnchorType, path_residual, predict_with_slope
from echoscape.tracking.association import best_pairs, likeliest_pairs, pair_probabilities
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import (
    PER_SLOT,
    SHARED,
    USER,
    JointState,
    local_coordinates,
)

_PREDICT = (0, 0, 0, 0, None, None)


class Detections(eqx.Module):
    """What is seen at one instant."""

    measured: Float[Array, "*time detection 5"]
    """`anchor.MEASURED` of each [m, rad]."""
    std: Float[Array, "*time detection 5"]
    """Their standard deviations [m, rad]."""
    valid: Bool[Array, "*time detection"]
    """False for padding."""
    log_power: Float[Array, "*time detection"]
    """Natural logarithm of their power; NaN where it is not known [nat]."""


class Match(eqx.Module):
    """What belongs together at one instant."""

    detection: Int[Array, " slot"]
    """Detection of each slot, -1 for none."""
    distance: Float[Array, " slot"]
    """Squared Mahalanobis distance of it [1]."""
    log_likelihood: Float[Array, " slot"]
    """Its logarithmic density under the prediction [nat]."""
    residual: Float[Array, "slot 5"]
    """Detection less prediction, each in its standard deviation [1]."""
    predicted: Float[Array, "slot 5"]
    """What was expected, `anchor.MEASURED` [m, rad]."""
    taken: Bool[Array, " detection"]
    """Detections that belong to a slot."""


def match_detections(
    state: JointState,
    seen: Detections,
    sight: Int[Array, ""],
    station: Float[Array, "3"],
    settings: JointFilter,
) -> Match:
    """Decide which detection belongs to which point.

    Args:
        state: The state as predicted.
        seen: Detections.
        sight: Number of the detection that is line of sight, -1 for none; it belongs to the station
            or to nothing.
        station: Position of the station [m].
        settings: What the filter assumes.
    """
    slots = state.slots
    local, covariance = local_coordinates(state)
    predicted, slope = jax.vmap(predict_with_slope, _PREDICT)(
        local, slots.kind, slots.reflection, slots.vertical_reflection, station, state.pivot
    )
    spread = jnp.einsum("sac,scd,sbd->sab", slope, covariance, slope)
    residual = jax.vmap(jax.vmap(path_residual, (0, None)), (None, 0))(seen.measured, predicted)
    noise = seen.std**2
    pair = spread[:, None] + noise[None, :, :, None] * jnp.eye(5)[None, None]
    squared, log_determinant = mahalanobis(residual, pair)
    log_likelihood = -0.5 * (squared + log_determinant + 5 * math.log(2 * math.pi))
    lengths = jnp.where(seen.valid, seen.measured[:, 0], jnp.nan)
    extent = jnp.maximum(jnp.nan_to_num(jnp.nanmax(lengths) - jnp.nanmin(lengths)), 100.0)
    volume = (2 * math.pi * 0.5) ** 2 * extent  # azimuths all round, zeniths near level [rad^4 m]
    exists = jax.nn.sigmoid(slots.odds)
    used = slots.identity >= 0
    possible = (squared < settings.gate) & used[:, None] & seen.valid[None, :]
    direct = jnp.arange(seen.valid.shape[0]) == sight
    possible = possible & (~direct[None, :] | (slots.kind == AnchorType.STATION)[:, None])
    log_odds = (
        jnp.log(exists * settings.detection)[:, None]
        + log_likelihood
        - jnp.log(settings.clutter / volume)
    )
    log_odds = jnp.where(possible, log_odds, -jnp.inf)
    log_missed = jnp.log1p(-exists * settings.detection)
    if settings.association == "hungarian":
        choice = likeliest_pairs(log_odds, log_missed)
    else:
        choice = best_pairs(pair_probabilities(log_odds, log_missed), possible)
    matched = choice >= 0
    slot = jnp.arange(choice.shape[0])
    taken = jnp.zeros(seen.valid.shape, bool).at[jnp.maximum(choice, 0)].max(matched)
    distance = jnp.where(matched, squared[slot, jnp.maximum(choice, 0)], 0.0)
    which = jnp.maximum(choice, 0)
    variance = jnp.diagonal(spread, axis1=1, axis2=2) + noise[which]
    scaled = jnp.where(matched[:, None], residual[slot, which] / jnp.sqrt(variance), 0.0)
    density = jnp.where(matched, log_likelihood[slot, which], 0.0)
    return Match(choice, distance, density, scaled, predicted, taken)


def update_joint(
    state: JointState,
    seen: Detections,
    match: Match,
    station: Float[Array, "3"],
    settings: JointFilter,
) -> JointState:
    """Condition the state on the detections of its points.

    Errors follow a Student law: a path whose residual stays large counts less, so that a false
    detection inside a gate does little harm.
    """
    slots = state.slots
    chunk = settings.chunk
    matched = match.detection >= 0
    order = jnp.argsort(~matched, stable=True)
    total = matched.sum()
    chunks = (total + chunk - 1) // chunk
    which = jnp.maximum(match.detection, 0)
    measured, variance = seen.measured[which], seen.std[which] ** 2
    used = jnp.broadcast_to(matched[:, None], measured.shape)
    used = used.at[:, 3].min(slots.kind != AnchorType.UNDECIDED)
    freedom = settings.degrees_of_freedom

    def relinearised(number, carry):
        at, _ = carry
        local = jnp.concatenate(
            [
                jnp.broadcast_to(at[SHARED], (len(matched), len(SHARED))),
                at[USER:].reshape(-1, PER_SLOT),
            ],
            axis=1,
        )
        predicted, slope = jax.vmap(predict_with_slope, _PREDICT)(
            local, slots.kind, slots.reflection, slots.vertical_reflection, station, state.pivot
        )
        residual = jnp.where(used, jax.vmap(path_residual)(measured, predicted), 0.0)
        # before the first pass, a residual may come of the state as well as of the path
        squared = jnp.sum(residual**2 / variance, axis=1)
        squared = jnp.where(number == 0, match.distance, squared)
        noise = variance / jnp.minimum(1.0, (freedom + 5) / (freedom + squared))[:, None]
        slope = jnp.where(used[..., None], slope, 0.0)
        noise = jnp.where(used, noise, 1.0)

        def take(i, belief):
            slot = jax.lax.dynamic_slice(order, (i * chunk,), (chunk,))
            present = (i * chunk + jnp.arange(chunk) < total)[:, None]
            column = USER + PER_SLOT * slot[:, None] + jnp.arange(PER_SLOT)[None]
            tall = jnp.where(present[..., None], slope[slot], 0.0)
            mean, covariance = belief.mean, belief.covariance
            moved = jnp.concatenate(
                [
                    jnp.broadcast_to((mean - at)[SHARED], (chunk, len(SHARED))),
                    (mean - at)[column],
                ],
                axis=1,
            )
            rest = jnp.where(present, residual[slot], 0.0) - jnp.einsum("sac,sc->sa", tall, moved)
            near, far = tall[..., : len(SHARED)], tall[..., len(SHARED) :]
            spread = jnp.einsum("dk,sak->dsa", covariance[:, SHARED], near)
            spread = spread + jnp.einsum("dsk,sak->dsa", covariance[:, column], far)
            inner = jnp.einsum("sak,ktb->satb", near, spread[SHARED])
            inner = inner + jnp.einsum("sak,sktb->satb", far, spread[column])
            inner = inner.reshape(5 * chunk, 5 * chunk)
            inner = inner + jnp.diag(jnp.where(present, noise[slot], 1.0).reshape(-1))
            return condition(belief, rest.reshape(-1), inner, spread.reshape(-1, 5 * chunk).T)

        belief = jax.lax.fori_loop(0, chunks, take, prior)
        return belief.mean, belief.covariance

    prior = Gaussian(state.mean, state.covariance)
    carry = (state.mean, state.covariance)
    mean, covariance = jax.lax.fori_loop(0, settings.passes, relinearised, carry)
    return eqx.tree_at(lambda s: (s.mean, s.covariance), state, (mean, covariance))


def residual_mean(
    state: JointState, match: Match, settings: JointFilter, gain: Array
) -> tuple[Float[Array, "slot 5"], Float[Array, " slot"]]:
    """Update each point's running mean residual; also its squared norm, normalised."""
    before = state.slots.residual_mean
    mean = before + jnp.expand_dims(jnp.broadcast_to(gain, before.shape[:1]), 1) * (
        match.residual - before
    )
    weight = settings.residual_mean_weight
    return mean, jnp.sum(mean**2, axis=1) * (2 - weight) / weight
