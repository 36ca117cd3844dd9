"""Moving bounce points of every track: five filters on the associations of another one.

Bounce points need identities, which observations do not have, and a user's position to start from,
which they do not estimate well; so a path is followed from where the filter over anchors first
detects its track again, from that filter's user, and its first bounce is what the station sees in
the direction of departure.

Takes `Tracks` and what was detected.
Gives the states of every path in the slots of the tracks, or `Tracks` of bounce points.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from echoscape.checks import InputError
from echoscape.progress import Progress, silent
from echoscape.propagation.ray_cast import BoxTree
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.bounce import seen_points
from echoscape.tracking.bounce_filters import Method, PathHistory, bounce_filter, instants_of
from echoscape.tracking.bounce_state import SIZE, angle_residual, last_bounce, measure_bounces
from echoscape.tracking.echo_surface import StationEchoes
from echoscape.tracking.joint_start import joint_start
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.tracks import Tracks, TrackStatus

LOST_APART = 5.0
"""Standard deviations between a state and its own detection beyond which it is lost [1]."""
_AT_ONCE, _INSTANTS = 32, 16  # paths and instants that one compiled program follows
_SINGLE = 3.0  # largest miss that still counts as one bounce, 3 standard deviations at 60 m [m]
_UNEVEN = 0.02  # share of a step that an instant may be off the raster
_START_STD = np.repeat([0.05, 0.05, 0.3, 0.3, 1.0, 0.5], 3)  # user, first, last; with velocities


class BounceStates(eqx.Module):
    """Every path as a bounce-point filter follows it (numpy)."""

    state: Float[np.ndarray, "time slot 18"]
    """User, first and last bounce with velocities; NaN where a slot is not followed [m, m/s]."""
    measured: Float[np.ndarray, "time slot 5"]
    """What the state measures after the instant, `anchor.MEASURED`; NaN likewise [m, rad]."""


def track_bounces(
    found: Tracks,
    seen: Detections,
    method: Method = "bootstrap",
    *,
    tree: BoxTree | None = None,
    echoes: StationEchoes | None = None,
    particles: int = 500,
    key: PRNGKeyArray,
    progress: Progress = silent,
) -> Tracks:
    """Follow the bounce points of every path around a user whose position is known.

    Args:
        found: Tracks of static points around that user.
        seen: Every detection.
        method: Which filter.
        tree: Walls; without them each path is first taken for one bounce on its ellipsoid.
        echoes: What the station heard of its own pulse: first and last bounces at the start come
            from these and the paths, `joint_start`, before anything that walls say.
        particles: How many, for the filters that use particles.
        key: Random key.
        progress: As of `track`.

    Returns:
        Tracks whose points are last bounces, with first bounces beside them; the line of sight, and
        which detection is whose, as `found` has it.  Every path carries a copy of the user, as in
        [isac-gbsm], which drifts by a metre or so in 20 s and its points with it.

    Raises:
        InputError: Instants are uneven.
    """
    states = follow_tracks(
        found, seen, tree, echoes=echoes, method=method, particles=particles, key=key,
        progress=progress,
    )  # fmt: skip
    record = found.record
    there = np.isfinite(np.concatenate([states.measured, states.state], axis=2)).all(axis=2)
    kind = np.asarray(record.kind)
    direct = kind == int(AnchorType.STATION)
    detection = np.asarray(record.detection)
    which = np.maximum(detection, 0)[:, :, None]
    value, deviation = (
        np.take_along_axis(np.asarray(each), which, axis=1) for each in (seen.measured, seen.std)
    )
    apart = np.abs(np.asarray(_residuals(value, states.measured))) / deviation
    lost = there & (detection >= 0) & (apart.max(axis=2) > LOST_APART)
    status = np.where(np.logical_or(there, direct), found.status, int(TrackStatus.ABSENT))
    status = np.where(lost & (status != TrackStatus.ABSENT), int(TrackStatus.LOST), status)
    moved = np.expand_dims(there, 2)
    record = eqx.tree_at(
        lambda r: (r.anchor, r.anchor_covariance, r.predicted, r.kind),
        record,
        (
            np.where(moved, states.state[..., 12:15], record.anchor),
            np.where(moved[..., None], np.nan, record.anchor_covariance),
            np.where(moved, states.measured, record.predicted),
            np.where(there, int(AnchorType.SCATTERER), kind),
        ),
    )
    return Tracks(
        time=found.time,
        record=record,
        status=status,
        user_status=found.user_status,
        station=found.station,
        first=states.state[..., 6:9],
    )


def follow_tracks(
    found: Tracks,
    seen: Detections,
    tree: BoxTree | None,
    window: Int[np.ndarray, " time"] | None = None,
    *,
    echoes: StationEchoes | None = None,
    method: Method = "paper",
    particles: int = 500,
    key: PRNGKeyArray,
    progress: Progress = silent,
) -> BounceStates:
    """Follow bounce points of every track, through each window anew.

    Args:
        found: Tracks of a filter over anchors, for association and for the user at the start.
        seen: Every detection.
        tree: Walls; without them each path is first taken for one bounce on its ellipsoid.
        window: Number of the window of each instant; one for all if not given.
        echoes: As for `track_bounces`.
        method: Which filter.
        particles: How many, for the filters that use particles.
        key: Random key.
        progress: As of `track`.

    Raises:
        InputError: Instants do not lie on a raster.
    """
    time = np.asarray(found.time)
    window = np.zeros(len(time), int) if window is None else window
    tick, step = _raster(time)
    detection = np.asarray(found.record.detection)
    jobs = _jobs(found, window)
    jobs.sort(key=lambda job: tick[job[1][-1]] - tick[job[1][0]])
    states = np.full((*detection.shape, SIZE), np.nan)
    measured = np.full((*detection.shape, 5), np.nan)
    value, deviation = np.asarray(seen.measured), np.asarray(seen.std)
    station = jnp.asarray(found.station)
    for low in range(0, len(jobs), _AT_ONCE):
        block = [jobs[min(k, len(jobs) - 1)] for k in range(low, low + _AT_ONCE)]
        span = 1 + int(max(tick[rows[-1]] - tick[rows[0]] for _, rows in block))
        room = max(16, 1 << (span - 1).bit_length())  # few sizes, each compiled once
        history = np.zeros((_AT_ONCE, room, 5))
        std = np.ones((_AT_ONCE, room, 5))
        there = np.zeros((_AT_ONCE, room), bool)
        for k, (slot, rows) in enumerate(block):
            which = detection[rows, slot]
            hit = which >= 0
            at = (tick[rows] - tick[rows[0]])[hit]
            history[k, at], std[k, at] = value[rows, which][hit], deviation[rows, which][hit]
            there[k, at] = True
        begin = np.array([rows[0] for _, rows in block])
        start, beyond = _start(found, (history[:, 0], std[:, 0]), begin, tree, echoes)

        def tell(part: float, low: int = low) -> None:
            done = low + part * min(_AT_ONCE, len(jobs) - low)
            stage = f"following {len(jobs)} paths" + (", compiling" if not done else "")
            progress(done, len(jobs), stage)

        states_block, measured_block = _together(
            PathHistory(jnp.asarray(history), jnp.asarray(std), jnp.asarray(there)),
            (jnp.asarray(start), jnp.asarray(beyond)),
            (station, jnp.asarray(step), method, particles),
            jax.random.split(jax.random.fold_in(key, low), _AT_ONCE), span, tell,
        )  # fmt: skip
        for k, (slot, rows) in enumerate(block[: len(jobs) - low]):
            at = tick[rows] - tick[rows[0]]
            states[rows, slot] = states_block[k, at]
            measured[rows, slot] = measured_block[k, at]
    return BounceStates(states, measured)


@jax.jit
def _residuals(measured: Array, predicted: Array) -> Array:
    return jax.vmap(jax.vmap(angle_residual))(measured, predicted)


def _together(history: PathHistory, own, shared, keys, span: int, tell: Callable[[float], None]):
    """Follow one block of paths through so many instants, some at a time."""
    carry, instants = _begin(history, own, shared, keys)
    parts = []
    for low in range(0, span, _INSTANTS):
        tell(low / span)
        few = jax.tree.map(lambda leaf: leaf[:, low : low + _INSTANTS], instants)  # noqa: B023
        carry, part = _go_on(carry, few, own, shared, keys)
        parts.append(jax.tree.map(np.asarray, part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)


@eqx.filter_jit
def _begin(history: PathHistory, own, shared, keys):
    """Make what is believed of each path at first, and its instants."""

    def one(history, own, key):
        return _filter(own, shared, key)[0], instants_of(history, key)

    return jax.vmap(one)(history, own, keys)


@eqx.filter_jit
def _go_on(carry, instants, own, shared, keys):
    """Follow each path through some instants; give its states and what they measure."""

    def one(carry, instants, own, key):
        carry, states = jax.lax.scan(_filter(own, shared, key)[1], carry, instants)
        measured = jax.vmap(measure_bounces, (0, None, None))(states, shared[0], own[1])
        return carry, (states, measured)

    return jax.vmap(one)(carry, instants, own, keys)


def _filter(own, shared, key):
    start, beyond = own
    station, step, method, particles = shared
    std = jnp.asarray(_START_STD)
    return bounce_filter(start, std, station, beyond, step, method, particles, key=key)


def _raster(time: np.ndarray) -> tuple[np.ndarray, float]:
    """Count instants in the shortest step; those between were not observed."""
    if len(time) < 2:
        return np.zeros(len(time), int), 1.0
    shortest = float(np.diff(time).min())
    # gap by gap, so that round-off of times does not add up over a long walk
    tick = np.concatenate([[0], np.cumsum(np.round(np.diff(time) / shortest))]).astype(int)
    step = float((time[-1] - time[0]) / tick[-1])
    if np.abs((time - time[0]) / step - tick).max() > _UNEVEN or np.diff(tick).min() < 1:
        raise InputError(
            "filters of bounce points need instants at multiples of one step, in s, but the "
            f"shortest, {shortest:.4g} s, does not divide the others; take filter anchors"
        )
    return tick, step


def _jobs(found: Tracks, window: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """List slots and instants of each track in each window, from its first detection on."""
    record = found.record
    detection, identity = np.asarray(record.detection), np.asarray(record.identity)
    kind = np.asarray(record.kind)
    jobs = []
    for number in np.unique(window):
        instants = np.flatnonzero(window == number)
        for slot in range(identity.shape[1]):
            own = identity[instants, slot]
            hit = detection[instants, slot] >= 0
            for each in np.unique(own[hit]):
                rows = instants[own == each]
                begin = rows[np.argmax(detection[rows, slot] >= 0)]
                if each > 0 and kind[begin, slot] != AnchorType.STATION:
                    jobs.append((slot, rows[rows >= begin]))
    return jobs


def _start(
    found: Tracks,
    detected: tuple[np.ndarray, np.ndarray],
    instant: np.ndarray,
    tree: BoxTree | None,
    echoes: StationEchoes | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Place user and bounce points where a track begins; also the length that is left over."""
    measured, std = detected
    user = np.asarray(found.record.user)[instant]
    station = np.broadcast_to(found.station, (len(instant), 3))
    length, arrival, rising, departure, falling = measured.T
    across = np.sin(falling)
    out = np.stack([across * np.cos(departure), across * np.sin(departure), np.cos(falling)], 1)
    between = user[:, :3] - station
    # where a ray of departure meets the ellipsoid of one bounce
    reach = (length**2 - np.sum(between**2, 1)) / (2 * (length - np.sum(out * between, 1)))
    first = station + np.clip(reach, 1.0, np.maximum(length, 2.0))[:, None] * out
    if tree is not None:
        met = seen_points(tree, station, departure, falling)
        first = np.where(np.isnan(met), first, met)

    def back(length, azimuth, zenith, first, user):
        return last_bounce(
            length, azimuth, zenith, first, jnp.asarray(found.station), user, jnp.asarray(_SINGLE)
        )[0]

    given = (length, arrival, rising, first, user[:, :3])
    last = jax.vmap(back)(*(jnp.asarray(each) for each in given))
    last = np.asarray(last)
    if echoes is not None:
        joint = joint_start(echoes, measured, std, np.asarray(found.station), user[:, :3])
        known = np.isfinite(joint.last).all(axis=1, keepdims=True)
        first, last = np.where(known, joint.first, first), np.where(known, joint.last, last)
    legs = np.linalg.norm(first - station, axis=1) + np.linalg.norm(last - user[:, :3], axis=1)
    state = np.zeros((len(instant), 18))
    state[:, :6], state[:, 6:9], state[:, 12:15] = user, first, last
    return state, length - legs
