"""Anchors are born, remembered and forgotten.

A detection that no anchor explains founds one.  An anchor that is not detected loses odds; one that
was established before goes to sleep and may be recognised later, one that was not is forgotten at
once, and the places of long sleepers go to newcomers when none other is free.

Takes a `JointState` after its update, and the detections that nothing explained.
Gives the state with odds renewed and anchors founded.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.tracking.anchor import Kind
from echoscape.tracking.joint_state import JointSettings, JointState, set_coordinates
from echoscape.tracking.joint_update import Detections, Match
from echoscape.tracking.scatterer import place_point

ESTABLISHED = 5
"""Detections after which an anchor is believed and remembered."""
_ASLEEP = -3.0
_HIGHEST = 5.0
_GAIN = 2.0


def break_tracks(
    state: JointState, match: Match, settings: JointSettings
) -> tuple[JointState, Match]:
    """Let go of anchors whose residuals lean to one side for long: another wall has taken over.

    A neighbouring facade at a slightly different angle moves the image by less than a gate is
    wide.  Followed on, the old anchor would pull the user along with it.
    """
    slots = state.slots
    matched = match.detection >= 0
    gain = jnp.where(matched, settings.lean, 0.0)[:, None]
    bias = slots.bias + gain * (match.residual - slots.bias)
    lean = jnp.sum(bias**2, axis=1) * (2 - settings.lean) / settings.lean
    broken = matched & (lean > settings.leaning) & (slots.kind != Kind.STATION)
    freed = jnp.zeros_like(match.taken).at[jnp.maximum(match.detection, 0)].max(broken)
    odds = jnp.where(broken, _ASLEEP, slots.odds)
    bias = jnp.where(broken[:, None], 0.0, bias)
    state = eqx.tree_at(lambda s: (s.slots.bias, s.slots.odds), state, (bias, odds))
    match = eqx.tree_at(
        lambda m: (m.detection, m.taken),
        match,
        (jnp.where(broken, -1, match.detection), match.taken & ~freed),
    )
    return state, match


def renew_odds(
    state: JointState, match: Match, step: Float[Array, ""], settings: JointSettings
) -> JointState:
    """Raise the odds of detected anchors, lower those of the others, forget the unestablished."""
    slots = state.slots
    matched = match.detection >= 0
    miss = jnp.log1p(-settings.detection)
    odds = jnp.where(matched, jnp.maximum(slots.odds, -1.0) + _GAIN, slots.odds + miss)
    odds = jnp.clip(odds, _ASLEEP, _HIGHEST)
    hits = slots.hits + matched
    gone = (state.time - slots.seen > settings.memory) & ~matched
    forgotten = (odds <= _ASLEEP) & ((hits < ESTABLISHED) | gone) & (slots.kind != Kind.STATION)
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


def found_anchors(
    state: JointState,
    seen: Detections,
    unexplained: Bool[Array, " detection"],
    station: Float[Array, "3"],
    settings: JointSettings,
) -> JointState:
    """Found an anchor for each detection that nothing explains, as long as there is room."""
    slots = state.slots
    count = slots.kind.shape[0]
    empty = slots.identity < 0
    asleep = (slots.odds <= _ASLEEP) & (jnp.arange(count) > 0)
    rank = jnp.where(empty, -jnp.inf, jnp.where(asleep, slots.seen, jnp.inf))
    order = jnp.argsort(rank)
    room = (empty | asleep).sum()
    wanting = jnp.argsort(~unexplained, stable=True)
    wanted = jnp.minimum(unexplained.sum(), room)
    turn = jnp.zeros(count, int).at[order].set(jnp.arange(count))
    chosen = turn < wanted
    which = wanting[jnp.minimum(turn, wanting.shape[0] - 1)]
    chosen = chosen & (turn < wanting.shape[0])
    mean, from_user, variance, flip = jax.vmap(_place, (0, 0, None, None, None))(
        seen.measured[which], seen.std[which], state.mean[:3], station, settings
    )
    point, point_covariance, scatter_odds = jax.vmap(place_point, (0, 0, None, None, None, None))(
        seen.measured[which], seen.std[which], state.mean[:3], state.covariance[:3, :3],
        station, settings,
    )  # fmt: skip
    state = set_coordinates(state, chosen, mean, from_user, variance)

    def where(new, old):
        return jnp.where(chosen.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    new = type(slots)(
        kind=where(int(Kind.UNDECIDED), slots.kind),
        sign=where(1.0, slots.sign),
        flip=where(flip, slots.flip),
        offset=where(0.0, slots.offset),
        offset_variance=where(1.0, slots.offset_variance),
        evidence=where(0.0, slots.evidence),
        looks=where(0, slots.looks),
        bias=where(0.0, slots.bias),
        point=where(point, slots.point),
        point_covariance=where(point_covariance, slots.point_covariance),
        scatter_odds=where(scatter_odds, slots.scatter_odds),
        odds=where(0.0, slots.odds),
        hits=where(1, slots.hits),
        identity=where(state.born + turn, slots.identity),
        seen=where(state.time, slots.seen),
    )
    return eqx.tree_at(lambda s: (s.slots, s.born), state, (new, state.born + chosen.sum()))


def _place(
    measured: Float[Array, "5"],
    std: Float[Array, "5"],
    user: Float[Array, "3"],
    station: Float[Array, "3"],
    settings: JointSettings,
):
    """Place an anchor where one path comes from: ``user + length * arrival``.

    Vertical walls keep the height of the image at the station's: where both zenith angles agree
    with that, the height is taken from there and the level distance by Pythagoras.  Elsewhere both
    angles, one of them perhaps mirrored in the ground, give the height.
    """
    length, azimuth, arrival, _, departing = measured
    above = station[2] - user[2]
    slant = jnp.clip(above / length, -0.99, 0.99)
    zenith = jnp.arccos(slant)
    apart = ((arrival - zenith) / std[2]) ** 2 + ((departing - math.pi + zenith) / std[4]) ** 2
    mirrored = (arrival - departing) ** 2 / (std[2] ** 2 + std[4] ** 2)
    level = (apart < 14.0) & (apart < mirrored + 4.0) & (jnp.abs(above) < 0.9 * length)
    flip = jnp.where(
        level | (jnp.abs(departing - math.pi + arrival) < jnp.abs(departing - arrival)), 1.0, -1.0
    )
    echoed = jnp.where(flip > 0, math.pi - departing, departing)
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
    from_user = (
        jnp.zeros((4, 3))
        .at[jnp.arange(3), jnp.arange(3)]
        .set(jnp.stack([1.0, 1.0, jnp.where(level, 0.0, 1.0)]))
    )
    return jnp.r_[place, zero], from_user, variance, flip
