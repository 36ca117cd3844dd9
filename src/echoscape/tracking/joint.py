"""The joint filter: a user whose track is unknown after the start, and the points around.

Takes `Observations`, the station, and where the user starts.
Gives a record of every instant.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.progress import Progress, silent
from echoscape.tracking.anchor import AnchorType, mirror_sign, rotate
from echoscape.tracking.filters import JointFilter
from echoscape.tracking.joint_state import (
    CLOCK,
    HEADING,
    JointState,
    local_coordinates,
    notice_manoeuvre,
    place_user,
    predict_joint,
    site_user,
    start_joint,
)
from echoscape.tracking.joint_update import Detections, match_detections, update_joint
from echoscape.tracking.line_of_sight import (
    expect_manoeuvre,
    find_sight,
    follow_sight,
    pending_count,
    watch,
)
from echoscape.tracking.map_start import KnownPoints, hold_points
from echoscape.tracking.parity import compare_parities
from echoscape.tracking.recall import recall_points
from echoscape.tracking.record import Record
from echoscape.tracking.scatterer import compare_scatterers
from echoscape.tracking.track_management import (
    ESTABLISHED,
    initiate_tracks,
    terminate_tracks,
    update_existence,
)

BLOCK = 16
"""Instants that one compiled program follows; those beyond the walk are padding.  Points of before
are looked for once in each."""
_WIDTH = 16  # detections at an instant are padded to a multiple of it


def run_joint(
    seen: Detections,
    time: Float[Array, " time"],
    known_position: Float[Array, "time 3"],
    known: Bool[Array, " time"],
    station: Float[Array, "3"],
    position: Float[Array, "3"],
    velocity: Float[Array, "3"],
    settings: JointFilter,
    points: KnownPoints | None = None,
    progress: Progress = silent,
) -> Record:
    """Follow a user and the points through all instants.

    In blocks of equal length and width, so that neither another number of instants, nor a few
    detections more, nor a map at the start compiles the filter anew.
    """
    count, width = seen.valid.shape
    after, beside = -count % BLOCK, -width % _WIDTH
    seen = jax.tree.map(lambda leaf: _padded(leaf, after, beside), seen)
    seen = eqx.tree_at(lambda s: s.std, seen, jnp.where(seen.valid[..., None], seen.std, 1.0))
    time = jnp.concatenate([time, time[-1] + 1.0 + jnp.arange(after)])
    instants = (seen, time, _padded(known_position, after), _padded(known, after))
    state = _start(station, position, velocity, time[0], settings, points)
    records = []
    for low in range(0, count, BLOCK):
        progress(low, count, f"filtering {count} instants" + (", compiling" if not low else ""))
        block = jax.tree.map(lambda leaf: leaf[low : low + BLOCK], instants)  # noqa: B023
        state, record = jax.block_until_ready(_follow(state, block, station, settings))
        records.append(record)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *records)


def _padded(values: Array, after: int, beside: int = 0) -> Array:
    """Append empty instants, and empty detections to each."""
    wide = [(0, after), (0, beside), *[(0, 0)] * (values.ndim - 2)]
    return jnp.pad(values, wide[: values.ndim])


@eqx.filter_jit
def _start(station, position, velocity, time, settings, points) -> JointState:
    state = start_joint(station, position, velocity, time, settings)
    state = state if points is None else hold_points(state, points, settings)
    # of Python's numbers some are weakly typed, which the second block's are not: it would be
    # compiled once more
    return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), state)


# without XLA's fusion emitters it compiles in a third of the time and runs 1.5 times as fast
@functools.partial(jax.jit, compiler_options={"xla_cpu_use_fusion_emitters": False})
def _follow(state: JointState, instants, station, settings) -> tuple[JointState, Record]:
    """Follow one block of instants, in its first with points of before recalled."""

    def step(state: JointState, instant):
        seen, now, place, is_known = instant
        return joint_step(state, seen, now, place, is_known, station, settings)

    before = state.slots.identity
    state, recalled = recall_points(state, settings, ESTABLISHED)
    merged = (before >= 0) & (state.slots.identity < 0)
    state, record = jax.lax.scan(step, state, instants)
    return state, eqx.tree_at(
        lambda r: (r.recalled, r.relocated, r.merged),
        record,
        (
            record.recalled.at[0].set(recalled),
            record.relocated.at[0].max(recalled),
            record.merged.at[0].set(merged),
        ),
    )


def joint_step(
    state: JointState,
    seen: Detections,
    now: Float[Array, ""],
    place: Float[Array, "3"],
    known: Bool[Array, ""],
    station: Float[Array, "3"],
    settings: JointFilter,
) -> tuple[JointState, Record]:
    """Move on to one instant and take in what is seen then."""
    state = predict_joint(state, now, settings)
    state = place_user(state, place, known, settings)
    sight = find_sight(state, seen, station, settings)
    state = expect_manoeuvre(state, seen, sight, station, settings)
    match = match_detections(state, seen, sight.detection, station, settings)
    state = follow_sight(state, sight, match, settings)
    state, match = compare_scatterers(state, seen, match, station, settings)
    state, match = terminate_tracks(state, match, settings)
    before = state
    state = update_joint(state, seen, match, station, settings)
    state = notice_manoeuvre(before, state, settings)
    state = compare_parities(state, seen, match, station, settings)
    state = update_existence(state, match, settings)
    state = watch(state, seen, match, sight, ESTABLISHED)
    direct = jnp.arange(seen.valid.shape[0]) == sight.detection
    before = state.slots.identity
    state = initiate_tracks(state, seen, seen.valid & ~match.taken & ~direct, station, settings)
    return state, _record(state, match, before, station)


def _record(state: JointState, match, before, station) -> Record:
    """Give user and points in the site's frame."""
    local, covariance = local_coordinates(state)
    slots, health = state.slots, state.health
    user, slope = site_user(state)
    heading = state.mean[HEADING]
    pivot = jnp.concatenate([state.pivot, jnp.zeros(1)])

    def turned(anchor):
        offset = anchor - pivot
        return pivot + jnp.concatenate([rotate(offset[:2], heading), offset[2:]])

    def in_site(local, covariance):
        offset = turned(local[6:9]) - pivot
        cos, sin = jnp.cos(heading), jnp.sin(heading)
        derivative = jnp.zeros((3, 10)).at[2, 8].set(1.0).at[0, 6].set(cos).at[0, 7].set(-sin)
        derivative = derivative.at[1, 6].set(sin).at[1, 7].set(cos)
        derivative = derivative.at[0, 4].set(-offset[1]).at[1, 4].set(offset[0])
        return pivot + offset, derivative @ covariance @ derivative.T

    anchor, anchor_covariance = jax.vmap(in_site)(local, covariance)
    anchor = jnp.where((slots.kind == AnchorType.STATION)[:, None], station, anchor)
    sense = jax.vmap(mirror_sign)(slots.kind, slots.reflection)
    nuisance = jnp.arange(CLOCK, CLOCK + 4)
    return Record(
        user=user,
        user_covariance=slope @ state.covariance @ slope.T,
        nuisance=state.mean[nuisance],
        nuisance_std=jnp.sqrt(jnp.maximum(jnp.diagonal(state.covariance)[nuisance], 0.0)),
        anchor=anchor,
        anchor_covariance=anchor_covariance,
        rotation=local[:, 9] - sense * heading,
        predicted=match.predicted,
        detection=jnp.where(before == slots.identity, match.detection, -1),
        identity=slots.identity,
        kind=slots.kind,
        reflection=slots.reflection,
        vertical_reflection=slots.vertical_reflection,
        odds=slots.odds,
        hits=slots.hits,
        misfit=health.misfit,
        share=health.share,
        pending=pending_count(state),
        relocated=health.relocated == state.time,
        recalled=jnp.array(False),
        merged=jnp.zeros(slots.kind.shape, bool),
    )
