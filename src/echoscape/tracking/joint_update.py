"""Detections move the user and all anchors at once: the extended Kalman update of the joint filter.

A path depends on the user's position and on one anchor only, so the gain needs few columns of the
covariance; paths are taken a handful at a time, each handful linearised where the last one led.

Takes a `JointState`, what was measured, and which slot each detection belongs to.
Gives the state after the measurement.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int

from echoscape.numerics.small import mahalanobis
from echoscape.tracking.anchor import Kind, path_residual, predict_with_slope
from echoscape.tracking.association import best_pairs, likeliest_pairs, pair_probabilities
from echoscape.tracking.joint_state import (
    PER_SLOT,
    USER,
    JointSettings,
    JointState,
    local_coordinates,
)


class Detections(eqx.Module):
    """What is seen at one instant."""

    measured: Float[Array, "*time detection 5"]
    """`anchor.MEASURED` of each [m, rad]."""
    std: Float[Array, "*time detection 5"]
    """Their standard deviations [m, rad]."""
    valid: Bool[Array, "*time detection"]
    """False for padding."""


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
    station: Float[Array, "3"],
    settings: JointSettings,
) -> Match:
    """Decide which detection belongs to which anchor."""
    slots = state.slots
    local, covariance = local_coordinates(state)
    predicted, slope = jax.vmap(predict_with_slope, (0, 0, 0, 0, None))(
        local, slots.kind, slots.sign, slots.flip, station
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
    settings: JointSettings,
) -> JointState:
    """Condition the state on the detections of its anchors.

    A path further from its prediction than `JointSettings.trusted` counts less, as if its errors
    were larger by the excess, so that a false detection inside a gate does little harm.
    """
    slots = state.slots
    chunk = settings.chunk
    matched = match.detection >= 0
    order = jnp.argsort(~matched, stable=True)
    total = matched.sum()
    doubt = jnp.maximum(1.0, match.distance / settings.trusted)

    def take(i, carry):
        mean, covariance = carry
        slot = jax.lax.dynamic_slice(order, (i * chunk,), (chunk,))
        present = i * chunk + jnp.arange(chunk) < total
        column = USER + PER_SLOT * slot[:, None] + jnp.arange(PER_SLOT)[None]
        local = jnp.concatenate([jnp.broadcast_to(mean[:3], (chunk, 3)), mean[column]], axis=1)
        kind = slots.kind[slot]
        predicted, slope = jax.vmap(predict_with_slope, (0, 0, 0, 0, None))(
            local, kind, slots.sign[slot], slots.flip[slot], station
        )
        which = jnp.maximum(match.detection[slot], 0)
        residual = jax.vmap(path_residual)(seen.measured[which], predicted)
        noise = seen.std[which] ** 2 * doubt[slot][:, None]
        used = jnp.broadcast_to(present[:, None], (chunk, 5))
        used = used.at[:, 3].min(kind != Kind.UNDECIDED)
        slope = jnp.where(used[..., None], slope, 0.0)
        residual = jnp.where(used, residual, 0.0).reshape(-1)
        noise = jnp.where(used, noise, 1.0).reshape(-1)
        spread = jnp.einsum("dk,sak->dsa", covariance[:, :3], slope[..., :3])
        spread = spread + jnp.einsum("dsk,sak->dsa", covariance[:, column], slope[..., 3:])
        inner = jnp.einsum("sak,ktb->satb", slope[..., :3], spread[:3])
        inner = inner + jnp.einsum("sak,sktb->satb", slope[..., 3:], spread[column])
        inner = inner.reshape(5 * chunk, 5 * chunk) + jnp.diag(noise)
        lower = jnp.linalg.cholesky(inner)
        root = solve_triangular(lower, spread.reshape(-1, 5 * chunk).T, lower=True)
        innovation = solve_triangular(lower, residual, lower=True)
        return mean + root.T @ innovation, covariance - root.T @ root

    chunks = (total + chunk - 1) // chunk
    mean, covariance = jax.lax.fori_loop(0, chunks, take, (state.mean, state.covariance))
    return eqx.tree_at(lambda s: (s.mean, s.covariance), state, (mean, covariance))


def place_user(
    state: JointState,
    position: Float[Array, "3"],
    known: Bool[Array, ""],
    settings: JointSettings,
) -> JointState:
    """Condition the state on the user's position, where that is known."""
    inner = state.covariance[:3, :3] + settings.known_std**2 * jnp.eye(3)
    lower = jnp.linalg.cholesky(inner)
    root = solve_triangular(lower, state.covariance[:3], lower=True)
    innovation = solve_triangular(lower, position - state.mean[:3], lower=True)
    mean = jnp.where(known, state.mean + root.T @ innovation, state.mean)
    covariance = jnp.where(known, state.covariance - root.T @ root, state.covariance)
    return eqx.tree_at(lambda s: (s.mean, s.covariance), state, (mean, covariance))
