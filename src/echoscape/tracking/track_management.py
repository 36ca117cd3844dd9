"""Tracks are initiated, remembered and terminated.

A detection that belongs to no point initiates a track.  A point that is not detected loses
existence odds; an established one is remembered, see `recall`, any other is forgotten at once, and
the slots of points long undetected are taken when none other is free.

Takes a `JointState` after its update, and the detections that nothing explained.
Gives the state with odds renewed and anchors founded.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.tracking.anchor import AnchorType, array_station
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import (
    ASLEEP,
    CLOCK,
    HEADING,
    STATION_HEADING,
    JointState,
    set_coordinates,
)
from echoscape.tracking.joint_update import Detections, Match, residual_mean
from echoscape.tracking.scatterer import place_point

ESTABLISHED = 5
"""Detections after which an anchor is believed and remembered."""
_HIGHEST = 5.0
_GAIN = 2.0


def terminate_tracks(
    state: JointState, match: Match, settings: JointFilter
) -> tuple[JointState, Match]:
    """Give up points whose mean residual is not zero: another wall has taken over.

    A neighbouring facade at a slightly different angle moves the image by less than a gate is
    wide.  Followed on, the old anchor would pull the user along with it.
    """
    slots = state.slots
    matched = match.detection >= 0
    gain = jnp.where(matched, settings.residual_mean_weight, 0.0)
    mean, squared_mean = residual_mean(state, match, settings, gain)
    broken = (
        matched & (squared_mean > settings.residual_mean_gate) & (slots.kind != AnchorType.STATION)
    )
    freed = jnp.zeros_like(match.taken).at[jnp.maximum(match.detection, 0)].max(broken)
    odds = jnp.where(broken, ASLEEP, slots.odds)
    mean = jnp.where(broken[:, None], 0.0, mean)
    state = eqx.tree_at(lambda s: (s.slots.residual_mean, s.slots.odds), state, (mean, odds))
    match = eqx.tree_at(
        lambda m: (m.detection, m.taken),
        match,
        (jnp.where(broken, -1, match.detection), match.taken & ~freed),
    )
    return state, match


def update_existence(state: JointState, match: Match, settings: JointFilter) -> JointState:
    """Raise the odds of detected anchors, lower those of the others, forget the unestablished."""
    slots = state.slots
    matched = match.detection >= 0
    miss = jnp.log1p(-settings.detection)
    odds = jnp.where(matched, jnp.maximum(slots.odds, -1.0) + _GAIN, slots.odds + miss)
    odds = jnp.clip(odds, ASLEEP, _HIGHEST)
    hits = slots.hits + matched
    # images are kept, to be recalled; points of a map are never given up
    scattered = (slots.kind == AnchorType.SCATTERER) & jnp.isfinite(slots.founded)
    gone = scattered & (state.time - slots.seen > settings.memory) & ~matched
    forgotten = (
        (odds <= ASLEEP) & ((hits < ESTABLISHED) | gone) & (slots.kind != AnchorType.STATION)
    )
    new = eqx.tree_at(
        lambda s: (s.odds, s.hits, s.identity, s.seen),
        slots,
        (
            odds,
            hits,
            jnp.where(forgotten, -1, slots.identity),
            jnp.where(matched, state.time, slots.seen),
        ),
    )
    return eqx.tree_at(lambda s: s.slots, state, new)


def initiate_tracks(
    state: JointState,
    seen: Detections,
    unexplained: Bool[Array, " detection"],
    station: Float[Array, "3"],
    settings: JointFilter,
) -> JointState:
    """Initiate a track for each detection that belongs to no point, as long as there is room."""

    def initiate(state):
        return _initiate(state, seen, unexplained, station, settings)

    return jax.lax.cond(unexplained.any(), initiate, lambda state: state, state)


def _initiate(
    state: JointState,
    seen: Detections,
    unexplained: Bool[Array, " detection"],
    station: Float[Array, "3"],
    settings: JointFilter,
) -> JointState:
    """Initiate at least one track, or as many as there is room for."""
    slots = state.slots
    count = slots.kind.shape[0]
    empty = slots.identity < 0
    asleep = (slots.odds <= ASLEEP) & (jnp.arange(count) > 0) & jnp.isfinite(slots.founded)
    rank = jnp.where(empty, -jnp.inf, jnp.where(asleep, slots.seen, jnp.inf))
    order = jnp.argsort(rank)
    room = (empty | asleep).sum()
    wanting = jnp.argsort(~unexplained, stable=True)
    wanted = jnp.minimum(unexplained.sum(), room)
    turn = jnp.zeros(count, int).at[order].set(jnp.arange(count))
    chosen = turn < wanted
    which = wanting[jnp.minimum(turn, wanting.shape[0] - 1)]
    chosen = chosen & (turn < wanting.shape[0])
    shared = state.shared
    mean, from_shared, variance, vertical_reflection = jax.vmap(_place, (0, 0, None, None, None))(
        seen.measured[which], seen.std[which], shared, station, settings
    )
    # the scatterer that would explain it, at the clock and headings as they are believed
    heading = state.mean[HEADING] + state.mean[STATION_HEADING]
    correction = jnp.zeros(5).at[0].set(state.mean[CLOCK]).at[3].set(heading)
    here = array_station(station, state.pivot, state.mean[HEADING])
    point, point_covariance, scatter_odds = jax.vmap(place_point, (0, 0, None, None, None, None))(
        seen.measured[which] - correction[None], seen.std[which], state.mean[:3],
        state.covariance[:3, :3], here, settings,
    )  # fmt: skip
    state = set_coordinates(state, chosen, mean, from_shared, variance)

    def where(new, old):
        return jnp.where(chosen.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    new = type(slots)(
        kind=where(int(AnchorType.UNDECIDED), slots.kind),
        reflection=where(1.0, slots.reflection),
        vertical_reflection=where(vertical_reflection, slots.vertical_reflection),
        offset=where(0.0, slots.offset),
        offset_variance=where(1.0, slots.offset_variance),
        evidence=where(0.0, slots.evidence),
        epochs=where(0, slots.epochs),
        residual_mean=where(0.0, slots.residual_mean),
        point=where(point, slots.point),
        point_covariance=where(point_covariance, slots.point_covariance),
        scatter_odds=where(scatter_odds, slots.scatter_odds),
        odds=where(0.0, slots.odds),
        hits=where(1, slots.hits),
        identity=where(state.born + turn, slots.identity),
        seen=where(state.time, slots.seen),
        founded=where(state.time, slots.founded),
    )
    return eqx.tree_at(lambda s: (s.slots, s.born), state, (new, state.born + chosen.sum()))


def _place(
    measured: Float[Array, "5"],
    std: Float[Array, "5"],
    shared: Float[Array, "6"],
    station: Float[Array, "3"],
    settings: JointFilter,
):
    """Place an image where one path comes from: ``user + (length - clock) * arrival``.

    Vertical walls keep the height of the image at the station's: where both zenith angles agree
    with that, the height is taken from there and the level distance by Pythagoras.  Elsewhere both
    angles, one of them perhaps mirrored in the ground, give the height.
    """
    user, length = shared[:3], jnp.maximum(measured[0] - shared[3], 0.1)
    _, azimuth, arrival, _, departing = measured
    above = station[2] - user[2]
    slant = jnp.clip(above / length, -0.99, 0.99)
    zenith = jnp.arccos(slant)
    apart = ((arrival - zenith) / std[2]) ** 2 + ((departing - math.pi + zenith) / std[4]) ** 2
    mirrored = (arrival - departing) ** 2 / (std[2] ** 2 + std[4] ** 2)
    level = (apart < 14.0) & (apart < mirrored + 4.0) & (jnp.abs(above) < 0.9 * length)
    vertical_reflection = jnp.where(
        level | (jnp.abs(departing - math.pi + arrival) < jnp.abs(departing - arrival)), 1.0, -1.0
    )
    echoed = jnp.where(vertical_reflection > 0, math.pi - departing, departing)
    weight = jnp.array([std[2] ** -2, std[4] ** -2])
    free = (weight[0] * arrival + weight[1] * echoed) / weight.sum()
    zenith = jnp.where(level, zenith, free)
    across, up = jnp.sin(zenith), jnp.cos(zenith)
    ahead = jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)])
    aside = jnp.stack([-ahead[1], ahead[0]])
    place = user + length * jnp.r_[across * ahead, up]
    zero = jnp.zeros(1)
    along = jnp.where(level, jnp.r_[ahead / across, zero], jnp.r_[across * ahead, up[None]])
    around = length * across * jnp.r_[aside, zero]
    tilt = jnp.where(level, 0.0, length * jnp.r_[up * ahead, -across[None]])
    rise = jnp.where(level, settings.level_std, 0.0) * jnp.array([0.0, 0.0, 1.0])
    root = jnp.stack([std[0] * along, std[1] * around, tilt * weight.sum() ** -0.5, rise], axis=1)
    variance = jnp.zeros((4, 4)).at[:3, :3].set(root @ root.T).at[3, 3].set(10.0)
    # a longer clock brings the image nearer, along the ray
    from_shared = jnp.zeros((4, 6)).at[jnp.arange(2), jnp.arange(2)].set(1.0)
    from_shared = from_shared.at[2, 2].set(jnp.where(level, 0.0, 1.0)).at[:3, 3].set(-along)
    return jnp.r_[place, zero], from_shared, variance, vertical_reflection
