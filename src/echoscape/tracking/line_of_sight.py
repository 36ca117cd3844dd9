"""Line of sight identifies itself, and brings a user back who had drifted.

Along line of sight both ends point at one another, the heights agree with the length, and nothing
is received that lost less on its way.  So whether a detection is line of sight is tested before any
association, from itself alone; two parallel walls imitate the directions, but not the power times
the squared length.  A detection that passes and lies outside the gate of the station says that the
user is elsewhere.  It founds no point; several of them within seconds translate the user, with the
points that were placed since the station was last in sight.

Takes a `JointState` and detections.
Gives which detection is line of sight, and the state relocated where that contradicts it.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.numerics.small import mahalanobis
from echoscape.scene import unit_vector
from echoscape.tracking.anchor import (
    AnchorType,
    array_station,
    path_residual,
    predict_with_slope,
)
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import (
    CLOCK,
    HEADING,
    PENDING,
    PER_SLOT,
    SHARED,
    STATION_HEADING,
    USER,
    JointState,
    accelerate,
)
from echoscape.tracking.joint_update import SURE_STD, Detections, Match
from echoscape.units import wrap_angle

WITHIN = 3.0
"""Time within which detections must agree that the user is elsewhere [s]."""
_DECIBEL = math.log(10) / 10  # one of them as a natural logarithm of power [nat]
_STRONG = 6.0  # line of sight is at most this far below the strongest path [dB]
_COMPARED = 15.0  # shorter paths count unless they are weaker than it by this much [dB]
_ABOVE = 1.0  # what it must exceed others by where its level was never seen [dB]


class Sight(NamedTuple):
    """The detection that is line of sight."""

    detection: Int[Array, ""]
    """Its number, -1 for none."""
    level: Float[Array, ""]
    """Its power times squared length [nat]."""
    difference: Float[Array, "3"]
    """User's position that it implies less the estimate; level [m]."""


def find_sight(
    state: JointState, seen: Detections, station: Float[Array, "3"], settings: JointFilter
) -> Sight:
    """Test every detection for line of sight, and take the strongest that passes."""
    length, arrival, rising, departure, falling = jnp.moveaxis(seen.measured, -1, 0)
    variance = jnp.moveaxis(seen.std**2, -1, 0)
    own = jnp.diagonal(state.covariance)
    heading, turned = state.mean[HEADING], state.mean[STATION_HEADING]
    length = length - state.mean[CLOCK]
    back = departure - heading - turned - math.pi
    back_variance = variance[3] + own[HEADING] + own[STATION_HEADING]
    azimuth = wrap_angle(back - arrival)
    zenith = (rising * variance[4] + (math.pi - falling) * variance[2]) / (
        variance[2] + variance[4]
    )
    zenith_variance = variance[2] * variance[4] / (variance[2] + variance[4])
    cos, sin = jnp.cos(zenith), jnp.sin(zenith)
    height = length * cos - (station[2] - state.mean[2])
    height_variance = (
        cos**2 * (variance[0] + own[CLOCK]) + (length * sin) ** 2 * zenith_variance + own[2]
    )
    misfit = azimuth**2 / (variance[1] + back_variance)
    misfit = misfit + (rising + falling - math.pi) ** 2 / (variance[2] + variance[4])
    misfit = misfit + height**2 / height_variance

    known = seen.valid & jnp.isfinite(seen.log_power)
    power = jnp.where(known, seen.log_power, -jnp.inf)
    level = power + 2 * jnp.log(jnp.maximum(length, 1e-3))
    strongest = jnp.max(power)
    rival = known[None, :] & (power[None, :] > power[:, None] - _COMPARED * _DECIBEL)
    slack = 4 * jnp.sqrt(variance[0][None, :] + variance[0][:, None])
    shorter = (rival & (length[None, :] < length[:, None] - slack)).any(axis=1)
    # false detections have any length; those far below the strongest set no level
    rival = rival & (power[None, :] > strongest - _COMPARED * _DECIBEL)
    rival = rival & ~jnp.eye(len(length), dtype=bool)
    others = jnp.max(jnp.where(rival, level[None, :], -jnp.inf), axis=1)
    others = jnp.maximum(others, state.health.level)
    seen_before = jnp.isfinite(state.health.sight_level)
    enough = jnp.where(
        seen_before,
        level > state.health.sight_level - settings.sight_loss * _DECIBEL,
        level > others + _ABOVE * _DECIBEL,
    )
    passes = known & (misfit < settings.sight_gate) & enough & ~shorter
    passes = passes & (power > strongest - _STRONG * _DECIBEL) & (length > 0)
    best = jnp.argmax(jnp.where(passes, level, -jnp.inf))
    weight = variance[1] / (variance[1] + back_variance)
    ahead = unit_vector(arrival[best] + weight[best] * azimuth[best], zenith[best])
    here = array_station(station, state.pivot, heading)
    difference = (here - length[best] * ahead - state.mean[:3]).at[2].set(0.0)
    return Sight(jnp.where(passes.any(), best, -1), level[best], difference)


def expect_manoeuvre(
    state: JointState,
    seen: Detections,
    sight: Sight,
    station: Float[Array, "3"],
    settings: JointFilter,
) -> JointState:
    """Widen the user's motion where only a manoeuvre within the last second explains line of sight.

    Otherwise a sharp turn takes the user out of the station's gate, and what then contradicts it
    has to wait for a relocation.
    """
    health, slots = state.health, state.slots
    own = np.r_[SHARED, USER : USER + PER_SLOT]
    predicted, slope = predict_with_slope(
        state.mean[own], slots.kind[0], slots.reflection[0], slots.vertical_reflection[0], station,
        state.pivot,
    )  # fmt: skip
    which = jnp.maximum(sight.detection, 0)
    residual = path_residual(seen.measured[which], predicted)
    moving = jnp.array([settings.manoeuvre, settings.manoeuvre, settings.vertical_manoeuvre])
    wider = accelerate(state.covariance, moving**2, jnp.array(1.0))

    def inside(covariance):
        spread = slope @ covariance[jnp.ix_(own, own)] @ slope.T
        squared, _ = mahalanobis(residual, spread + jnp.diag(seen.std[which] ** 2))
        return squared < settings.gate

    begins = (sight.detection >= 0) & ~inside(state.covariance) & inside(wider)
    begins = begins & (state.time >= health.manoeuvre_end)
    end = jnp.where(begins, state.time + settings.manoeuvre_time, health.manoeuvre_end)
    covariance = jnp.where(begins, wider, state.covariance)
    return eqx.tree_at(lambda s: (s.covariance, s.health.manoeuvre_end), state, (covariance, end))


def follow_sight(
    state: JointState, sight: Sight, match: Match, settings: JointFilter
) -> JointState:
    """Note whether line of sight agrees with the state; relocate once it has contradicted enough.

    Args:
        state: The state before its update.
        sight: Line of sight at this instant.
        match: Associations of this instant.
        settings: What the filter assumes.
    """
    health, now = state.health, state.time
    found = sight.detection >= 0
    agrees = found & (match.detection[0] == sight.detection)
    outside = found & ~agrees
    pending = jnp.where(outside, jnp.roll(health.pending, 1, 0).at[0].set(sight.difference),
                        health.pending)  # fmt: skip
    when = jnp.where(outside, jnp.roll(health.pending_time, 1).at[0].set(now), health.pending_time)
    when = jnp.where(agrees, -jnp.inf, when)
    recent = when > now - WITHIN
    need = jnp.clip(jnp.round(0.8 * WITHIN / jnp.maximum(state.step, 1e-3)), 3, PENDING)
    due = recent.sum() >= need
    middle = jnp.nanmedian(jnp.where(recent[:, None], pending, jnp.nan), axis=0)
    moved = _translate(state, jnp.where(due, jnp.nan_to_num(middle), 0.0))
    rate = 0.1  # of the running mean of the level of line of sight
    level = jnp.where(
        jnp.isfinite(health.sight_level),
        health.sight_level + rate * (sight.level - health.sight_level),
        sight.level,
    )
    # one that agrees by chance while the user may be anywhere tells no level
    sure = jnp.trace(state.covariance[:2, :2]) < SURE_STD**2
    return eqx.tree_at(
        lambda s: (
            s.health.pending, s.health.pending_time, s.health.sight, s.health.sight_level,
            s.health.relocated,
        ),
        moved,
        (
            pending,
            jnp.where(due, -jnp.inf, when),
            jnp.where(agrees | due, now, health.sight),
            jnp.where(agrees & sure, level, health.sight_level),
            jnp.where(due, now, health.relocated),
        ),
    )  # fmt: skip


def _translate(state: JointState, by: Float[Array, "3"]) -> JointState:
    """Move the user, and the points that share the error, and widen their common translation.

    Images in one wall and scatterers that were placed while the station was in sight do not share
    it.
    """
    slots = state.slots
    tied = (slots.kind == AnchorType.ONE_WALL) | (slots.kind == AnchorType.SCATTERER)
    stays: Bool[Array, " slot"] = tied & (slots.founded < state.health.sight)
    stays = stays | (slots.kind == AnchorType.STATION) | (slots.identity < 0)
    axes = jnp.eye(3)
    own = jnp.where(stays[:, None, None], 0.0, axes[None])
    shift = jnp.zeros((state.mean.shape[0], 3)).at[:3].set(axes)
    index = USER + PER_SLOT * jnp.arange(len(stays))[:, None] + jnp.arange(3)[None]
    shift = shift.at[index].set(own)
    level = jnp.array([1.0, 1.0, 0.0])
    spread = jnp.outer(by, by) + 0.25 * jnp.sum(by**2) * jnp.diag(level)
    point = slots.point + jnp.where(stays[:, None], 0.0, by[None])
    return eqx.tree_at(
        lambda s: (s.mean, s.covariance, s.slots.point),
        state,
        (state.mean + shift @ by, state.covariance + shift @ spread @ shift.T, point),
    )


def watch(
    state: JointState, seen: Detections, match: Match, sight: Sight, established: int
) -> JointState:
    """Keep the running measures of health: innovations of older points, and their share.

    Args:
        state: The state after its update, with the slots of this instant's associations.
        seen: Detections.
        match: Associations.
        sight: Line of sight at this instant.
        established: Detections from which on a point is believed.
    """
    health, slots = state.health, state.slots
    matched = match.detection >= 0
    known = slots.hits >= established
    older = matched & known & (state.time - slots.founded > WITHIN)
    forget = 1 - jnp.exp(-state.step / 1.0)
    misfit = jnp.sum(jnp.where(older, match.distance, 0.0)) / (5 * jnp.maximum(older.sum(), 1))
    misfit = health.misfit + jnp.where(older.any(), forget, 0.0) * (misfit - health.misfit)

    power = jnp.where(jnp.isnan(seen.log_power), 0.0, seen.log_power)
    power = jnp.where(seen.valid, power, -jnp.inf)
    strong = seen.valid & (power > jnp.max(power) - 10 * _DECIBEL)
    which = jnp.maximum(match.detection, 0)
    ours = jnp.zeros_like(seen.valid).at[which].max(matched & known)
    share = (strong & ours).sum() / jnp.maximum(strong.sum(), 1)
    forget = jnp.where(strong.any(), 1 - jnp.exp(-state.step / 2.0), 0.0)
    share = health.share + forget * (share - health.share)

    level = seen.log_power + 2 * jnp.log(jnp.maximum(seen.measured[:, 0] - state.mean[CLOCK], 1e-3))
    counts = ours & jnp.isfinite(level) & (jnp.arange(len(level)) != sight.detection)
    top = jnp.maximum(health.level, jnp.max(jnp.where(counts, level, -jnp.inf)))
    return eqx.tree_at(
        lambda s: (s.health.misfit, s.health.share, s.health.level), state, (misfit, share, top)
    )


def pending_count(state: JointState) -> Int[Array, ""]:
    """Count detections of line of sight that contradicted the state within seconds."""
    return jnp.sum(state.health.pending_time > state.time - WITHIN)
