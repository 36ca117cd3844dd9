"""What is known between one observation and the next: paths of the latest one, moved straight on.

Takes observations, and what was followed from those that are kept.
Gives fewer observations, and paths and powers at every instant.
"""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.reports import Observations
from echoscape.tracking import Tracks, paths_of
from echoscape.tracking.bounce_tracks import BounceStates
from echoscape.units import wrap_angle


def thin(
    seen: Observations, rate: float, hidden: Bool[np.ndarray, " time"] | None = None
) -> tuple[Observations, np.ndarray]:
    """Keep observations at a rate, and tell for every instant which one is the latest.

    Args:
        seen: Observations.
        rate: How many a second are kept [Hz].
        hidden: Instants that are left out; not the first.
    """
    usual = 1 / float(np.median(np.diff(seen.time)))
    kept = np.arange(len(seen.time)) % max(1, round(usual / rate)) == 0
    if hidden is not None:
        kept &= ~hidden
    return jax.tree.map(lambda leaf: leaf[kept], seen), np.cumsum(kept) - 1


def between(found: Tracks, time: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Predict the followed paths at every instant from the latest one that was observed."""
    record = jax.tree.map(lambda leaf: np.asarray(leaf)[at], found.record)
    if len(at) == len(found.time):
        return record.predicted
    user = record.user.copy()
    user[:, :3] += (time - found.time[at])[:, None] * user[:, 3:]
    moved = eqx.tree_at(lambda t: (t.time, t.record), found, (time, record))
    moved = eqx.tree_at(lambda t: t.record.user, moved, user)
    return paths_of(moved)


def bounces_later(
    states: BounceStates,
    at: Int[np.ndarray, " time"],
    since: Float[np.ndarray, " time"],
    station: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "time slot 5"]:
    """Move user and bounces straight on from the latest observation, and measure them.

    Args:
        states: Bounces at the observations.
        at: Which observation is each instant's latest.
        since: How long ago it was [s].
        station: Where the station is [m].
    """
    state, measured = states.state[at], states.measured[at]
    later = since > 1e-6
    if not later.any():
        return measured
    before = state[later].reshape(*state[later].shape[:2], 3, 2, 3)  # places, velocities
    after = before[..., 0, :] + since[later, None, None, None] * before[..., 1, :]
    measured = measured.copy()
    change = _outer_legs(after, station) - _outer_legs(before[..., 0, :], station)
    moved = measured[later] + change
    moved[..., [1, 3]] = wrap_angle(moved[..., [1, 3]])
    measured[later] = moved
    return measured


def _outer_legs(places: np.ndarray, station: np.ndarray) -> np.ndarray:
    """Measure length, arrival and departure of user, first and last bounce, Eqs. (14)-(19)."""
    user, first, last = np.moveaxis(places, -2, 0)
    legs = []
    for leg in (last - user, first - station):
        level, away = np.hypot(leg[..., 0], leg[..., 1]), np.linalg.norm(leg, axis=-1)
        legs.append((away, np.arctan2(leg[..., 1], leg[..., 0]), np.arctan2(level, leg[..., 2])))
    (back, *arrival), (out, *departure) = legs
    return np.stack([back + out, *arrival, *departure], axis=-1)


def track_powers(found: Tracks, power: np.ndarray) -> np.ndarray:
    """Give each track the mean power of its latest ten detections; coasting ones keep it."""
    record = found.record
    detection, identity = np.asarray(record.detection), np.asarray(record.identity)
    held = np.zeros(identity.shape)
    mean, owner = np.zeros(identity.shape[1]), np.full(identity.shape[1], -1)
    row = np.arange(len(mean))
    for k in range(len(identity)):
        seen = detection[k] >= 0
        new = seen & (owner != identity[k])
        value = power[k, np.maximum(detection[k], 0)]
        mean = np.where(new, value, np.where(seen, mean + 0.1 * (value - mean), mean))
        owner = np.where(seen, identity[k], owner)
        held[k] = np.where(owner == identity[k], mean, 0.0)[row]
    return held
