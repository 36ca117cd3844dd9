"""Which image it is: one wall, an even or an odd number, tested by the departure azimuth.

Under each hypothesis the departure azimuth less its prediction is a constant: zero for one wall,
anything for the others.  A filter for that constant under each collects the likelihood; the ratio
of the posterior and prior density at zero (Savage and Dickey) is what speaks for one wall.  While
nothing is decided, the departure does not move the user, which costs nothing, since an unknown
constant takes away what little the azimuth could tell before it has changed.

Takes departure azimuths of matched paths.
Gives slots whose kind is decided as soon as the odds allow.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.scene import angles_of
from echoscape.tracking.anchor import AnchorType, array_station, station_leg
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import (
    HEADING,
    PER_SLOT,
    STATION_HEADING,
    USER,
    JointState,
    local_coordinates,
)
from echoscape.tracking.joint_update import Detections, Match
from echoscape.units import wrap_angle

PRIOR = (0.3, 0.35, 0.35)
"""One wall, even, odd: shares of the paths in the ray-traced city of ``docs/papers``."""
_EARLIEST = 4
_WANDER = 0.03  # of the constant from look to look, in standard deviations of one look
_FREE = 3.0  # standard deviation of a turn of which nothing is known [rad]


def compare_parities(
    state: JointState,
    seen: Detections,
    match: Match,
    station: Float[Array, "3"],
    settings: JointFilter,
) -> JointState:
    """Compare the departures of matched paths with each hypothesis, and decide what can be."""
    slots = state.slots
    local, covariance = local_coordinates(state)
    imaged = (slots.kind != AnchorType.STATION) & (slots.kind != AnchorType.SCATTERER)
    matched = (match.detection >= 0) & imaged
    which = jnp.maximum(match.detection, 0)
    departure, noise = seen.measured[which, 3], seen.std[which, 3] ** 2
    bearing, _ = angles_of(local[:, :3] - local[:, 6:9])
    here = array_station(station, state.pivot, state.mean[HEADING])
    turned = state.mean[HEADING] + state.mean[STATION_HEADING]
    sense = jnp.array([1.0, -1.0])
    offset = wrap_angle(departure[:, None] - sense[None] * bearing[:, None])
    first = slots.epochs == 0
    # the bearing's own error has one sign under one hypothesis and the other under the other
    noise = noise + _bearing_variance(local, covariance)
    before = slots.offset_variance + _WANDER**2 * noise
    innovation = wrap_angle(offset - slots.offset)
    total = before + noise
    mean = jnp.where(first[:, None], offset, slots.offset + (before / total)[:, None] * innovation)
    variance = jnp.where(first, noise, before * noise / total)
    evidence = slots.evidence - 0.5 * innovation**2 / total[:, None]
    evidence = jnp.where(first[:, None], 0.0, evidence)
    mean = jnp.where(matched[:, None], wrap_angle(mean), slots.offset)
    variance = jnp.where(matched, variance, slots.offset_variance)
    evidence = jnp.where(matched[:, None], evidence, slots.evidence)
    epochs = slots.epochs + matched

    free = slots.kind == AnchorType.ODD
    held = jnp.where(free[:, None], local, local.at[:, 9].set(mean[:, 1]))
    excess, slope = jax.vmap(_excess_with_slope, (0, 0, None, None))(held, free, here, turned)
    spread = jnp.einsum("sc,scd,sd->s", slope, covariance, slope)
    spread = spread + jnp.where(free, 0.0, variance)
    ratio = -0.5 * excess**2 / spread - 0.5 * jnp.log(spread / (2 * math.pi))
    score = jnp.stack([evidence[:, 1] + ratio, evidence[:, 0], evidence[:, 1]], axis=1)
    score = score + jnp.log(jnp.array(PRIOR))[None]
    chance = jax.nn.softmax(score, axis=1)
    best = jnp.argmax(chance, axis=1)
    sure = (chance.max(axis=1) > settings.sure) & (epochs >= _EARLIEST)
    waiting = (slots.kind == AnchorType.UNDECIDED) & (slots.identity >= 0)
    decided = waiting & sure & matched
    recognised = free & matched & (ratio > settings.recognised)
    refuted = (slots.kind == AnchorType.ONE_WALL) & (ratio < settings.refuted) & matched
    kind = jnp.where(
        decided, jnp.array([AnchorType.ONE_WALL, AnchorType.EVEN, AnchorType.ODD])[best], slots.kind
    )
    kind = jnp.where(recognised, int(AnchorType.ONE_WALL), kind)
    kind = jnp.where(refuted, int(AnchorType.UNDECIDED), kind)
    leading = jnp.argmax(evidence, axis=1)
    sign = jnp.where(waiting | refuted, sense[leading], slots.reflection)
    sign = jnp.where((decided & (best == 0)) | recognised, -1.0, sign)
    # the turn follows the leading hypothesis until it becomes a free coordinate of its own
    turn = mean[jnp.arange(len(leading)), leading]
    turn_variance = jnp.where(decided, _FREE**2, variance + noise)
    state = _set_rotation(state, (waiting & matched) | refuted, turn, turn_variance)
    new = eqx.tree_at(
        lambda s: (s.kind, s.reflection, s.offset, s.offset_variance, s.evidence, s.epochs),
        slots,
        (kind, sign, mean, variance, jnp.where(refuted[:, None], 0.0, evidence),
         jnp.where(refuted, 0, epochs)),
    )  # fmt: skip
    return eqx.tree_at(lambda s: s.slots, state, new)


def _bearing_variance(
    local: Float[Array, "slot 10"], covariance: Float[Array, "slot 10 10"]
) -> Float[Array, " slot"]:
    """Propagate the covariance of user and anchor to the bearing between them [rad^2]."""
    toward = local[:, :2] - local[:, 6:8]
    across = jnp.stack([-toward[:, 1], toward[:, 0]], axis=1)
    across = across / jnp.sum(toward**2, axis=1, keepdims=True)
    slope = jnp.zeros(local.shape).at[:, :2].set(across).at[:, 6:8].set(-across)
    return jnp.einsum("sc,scd,sd->s", slope, covariance, slope)


def _excess_with_slope(
    local: Float[Array, "10"],
    free: Bool[Array, ""],
    station: Float[Array, "3"],
    heading: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, "10"]]:
    """Subtract the rotation that one wall would make from the rotation, with its derivative [rad].

    A rotation that is no coordinate yet follows the bearing from which it was measured.
    """
    leg = station_leg(local[6:9], station)[:2]
    toward = local[:2] - local[6:8]
    wall, _ = angles_of(jnp.r_[leg, 0.0])
    around_wall = 2 * jnp.array([-leg[1], leg[0]]) / jnp.sum(leg**2)
    around_user = jnp.array([-toward[1], toward[0]]) / jnp.sum(toward**2)
    around_user = jnp.where(free, 0.0, around_user)
    zero = jnp.zeros(1)
    # the station moves on a circle about the start as the heading turns; its part is left out,
    # the wall's bearing changing little against the heading itself
    headings = jnp.array([0.0, -1.0, -1.0])
    slope = jnp.r_[
        around_user, zero, headings, -around_user - around_wall, zero,
        jnp.where(free, 1.0, 0.0)[None],
    ]  # fmt: skip
    return wrap_angle(local[9] - heading - 2 * wall - math.pi), slope


def _set_rotation(
    state: JointState,
    chosen: Array,
    rotation: Float[Array, " slot"],
    variance: Float[Array, " slot"],
) -> JointState:
    """Forget what the chosen slots' rotations have in common with everything else."""
    index = USER + PER_SLOT * jnp.arange(chosen.shape[0]) + PER_SLOT - 1
    keep = jnp.ones(state.mean.shape[0]).at[index].set(jnp.where(chosen, 0.0, 1.0))
    covariance = state.covariance * keep[:, None] * keep[None, :]
    covariance = covariance.at[index, index].add(jnp.where(chosen, variance, 0.0))
    mean = state.mean.at[index].set(jnp.where(chosen, rotation, state.mean[index]))
    return eqx.tree_at(lambda s: (s.mean, s.covariance), state, (mean, covariance))
