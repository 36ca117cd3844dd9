"""Detections move the user and all points at once: the iterated Kalman update of the joint filter.

A path depends on the user and on one point only, so the gain needs few columns of the covariance.
All paths of an instant are one update, linearised at the state that the pass before found; the
covariance is that of the last pass.

Takes a `JointState`, what was measured, and which slot each detection belongs to.
Gives the state after the measurement.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Bool, Float, Int

from echoscape.numerics.small import mahalanobis
from echoscape.tracking.anchor import AnchorType, path_residual, predict_with_slope
from echoscape.tracking.association import best_pairs, likeliest_pairs, pair_probabilities
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import (
    PER_SLOT,
    SHARED,
    USER,
    JointState,
    is_dormant,
    local_coordinates,
)

SURE_STD = 1.0
"""Level deviation of a user below which its position tells line of sight [m]."""
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
    used = (slots.identity >= 0) & ~is_dormant(state, settings)
    possible = (squared < settings.gate) & used[:, None] & seen.valid[None, :]
    direct = jnp.arange(seen.valid.shape[0]) == sight
    own = (slots.kind == AnchorType.STATION)[:, None]
    possible = possible & (~direct[None, :] | own)
    # a user who may be anywhere has the station's gate open to images: only what passes the test of
    # line of sight is the station's then, until it is followed; powers that are not known cannot be
    # tested
    placed = jnp.trace(state.covariance[:2, :2]) < SURE_STD**2
    tested = direct | placed | (slots.odds[0] > 0) | jnp.isnan(seen.log_power)
    possible = possible & (tested[None, :] | ~own)
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
    matched = match.detection >= 0
    order = jnp.argsort(~matched, stable=True)
    most = min(seen.valid.shape[0], matched.shape[0])
    sizes = sorted({min(most, size) for size in (settings.chunk, 2 * settings.chunk, most)})
    branch = jnp.sum(matched.sum() > jnp.array(sizes[:-1], int))

    def take(count):
        def update():
            return _condition_on(state, seen, match, order[:count], station, settings)

        return update

    mean, covariance = jax.lax.switch(branch, [take(count) for count in sizes])
    return eqx.tree_at(lambda s: (s.mean, s.covariance), state, (mean, covariance))


def _condition_on(
    state: JointState,
    seen: Detections,
    match: Match,
    slot: Int[Array, " path"],
    station: Float[Array, "3"],
    settings: JointFilter,
) -> tuple[Float[Array, " coordinate"], Float[Array, "coordinate coordinate"]]:
    """Condition on the detections of some slots; those without one change nothing."""
    kind = state.slots.kind[slot]
    signs = state.slots.reflection[slot], state.slots.vertical_reflection[slot]
    detection, distance = match.detection[slot], match.distance[slot]
    which = jnp.maximum(detection, 0)
    measured, variance = seen.measured[which], seen.std[which] ** 2
    used = jnp.broadcast_to((detection >= 0)[:, None], measured.shape)
    used = used.at[:, 3].min(kind != AnchorType.UNDECIDED)
    own = USER + PER_SLOT * slot[:, None] + jnp.arange(PER_SLOT)[None]
    column = jnp.concatenate([jnp.tile(SHARED, (len(slot), 1)), own], axis=1)
    block = state.covariance[:, column]
    inside, prior = block[column], state.mean[column]
    freedom = settings.degrees_of_freedom
    rows = 5 * len(slot)

    def linearise(at, squared):
        """Residual, its derivative and Cholesky factor, and its covariance with the paths' own."""
        predicted, slope = jax.vmap(predict_with_slope, _PREDICT)(
            at, kind, *signs, station, state.pivot
        )
        residual = jnp.where(used, jax.vmap(path_residual)(measured, predicted), 0.0)
        # before the first pass, a residual may come of the state as well as of the path
        squared = jnp.where(squared < 0, jnp.sum(residual**2 / variance, axis=1), squared)
        noise = variance / jnp.minimum(1.0, (freedom + 5) / (freedom + squared))[:, None]
        slope = jnp.where(used[..., None], slope, 0.0)
        noise = jnp.where(used, noise, 1.0)
        local = jnp.einsum("pkql,qbl->pkqb", inside, slope)
        inner = jnp.einsum("pak,pkqb->paqb", slope, local).reshape(rows, rows)
        lower = jnp.linalg.cholesky(inner + jnp.diag(noise.reshape(-1)))
        rest = residual - jnp.einsum("pak,pk->pa", slope, prior - at)
        return rest.reshape(-1), slope, lower, local.reshape(*prior.shape, rows)

    def again(number, at):
        rest, _, lower, local = linearise(at, jnp.where(number == 0, distance, -1.0))
        return prior + local @ cho_solve((lower, True), rest)

    at = jax.lax.fori_loop(0, settings.passes - 1, again, prior)
    last = jnp.where(jnp.asarray(settings.passes) > 1, -1.0, distance)
    rest, slope, lower, _ = linearise(at, last)
    spread = jnp.einsum("dpk,pak->dpa", block, slope).reshape(-1, rows)
    root = solve_triangular(lower, spread.T, lower=True)
    innovation = solve_triangular(lower, rest, lower=True)
    return state.mean + root.T @ innovation, state.covariance - root.T @ root


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
