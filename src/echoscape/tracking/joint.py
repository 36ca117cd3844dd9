"""The joint filter: a user whose track is unknown after the start, and the anchors around.

Takes `Observations`, the station, and where the user starts.
Gives a record of every instant.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.tracking.birth import break_tracks, found_anchors, renew_odds
from echoscape.tracking.evidence import gather_evidence
from echoscape.tracking.joint_state import (
    JointSettings,
    JointState,
    local_coordinates,
    predict_joint,
    start_joint,
)
from echoscape.tracking.joint_update import (
    Detections,
    match_detections,
    place_user,
    update_joint,
)
from echoscape.tracking.record import Record
from echoscape.tracking.scatterer import weigh_scatterers


@eqx.filter_jit
def run_joint(
    seen: Detections,
    time: Float[Array, " time"],
    known_position: Float[Array, "time 3"],
    known: Bool[Array, " time"],
    station: Float[Array, "3"],
    position: Float[Array, "3"],
    velocity: Float[Array, "3"],
    settings: JointSettings,
) -> Record:
    """Follow a user and the anchors through all instants."""
    state = start_joint(station, position, velocity, time[0], settings)

    def step(state: JointState, instant):
        seen, now, place, is_known = instant
        return joint_step(state, seen, now, place, is_known, station, settings)

    _, record = jax.lax.scan(step, state, (seen, time, known_position, known))
    return record


def joint_step(
    state: JointState,
    seen: Detections,
    now: Float[Array, ""],
    place: Float[Array, "3"],
    known: Bool[Array, ""],
    station: Float[Array, "3"],
    settings: JointSettings,
) -> tuple[JointState, Record]:
    """Move on to one instant and take in what is seen then."""
    step = now - state.time
    state = predict_joint(state, now, settings)
    state = place_user(state, place, known, settings)
    match = match_detections(state, seen, station, settings)
    state, match = weigh_scatterers(state, seen, match, station, settings)
    state, match = break_tracks(state, match, settings)
    state = update_joint(state, seen, match, station, settings)
    state = gather_evidence(state, seen, match, station, settings)
    state = renew_odds(state, match, step, settings)
    before = state.slots.identity
    state = found_anchors(state, seen, seen.valid & ~match.taken, station, settings)
    explained = match.taken.sum() / jnp.maximum(seen.valid.sum(), 1)
    gain = jnp.where(seen.valid.any(), 0.05, 0.0)
    state = eqx.tree_at(
        lambda s: s.explained, state, state.explained + gain * (explained - state.explained)
    )
    local, covariance = local_coordinates(state)
    slots = state.slots
    return state, Record(
        user=state.mean[:6],
        user_covariance=state.covariance[:6, :6],
        anchor=local[:, 3:6],
        anchor_covariance=covariance[:, 3:6, 3:6],
        turn=local[:, 6],
        predicted=match.predicted,
        detection=jnp.where(before == slots.identity, match.detection, -1),
        identity=slots.identity,
        kind=slots.kind,
        sign=slots.sign,
        flip=slots.flip,
        odds=slots.odds,
        hits=slots.hits,
        explained=state.explained,
    )
