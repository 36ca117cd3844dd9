"""The paper's filter on the tracks that another filter associated.

Its bounce points need identities, which observations do not have; so it starts where a track of the
joint filter is first seen in a window, with that filter's user, and its first bounce is what the
station sees in the direction of departure.

Takes `Tracks` and what was observed.
Gives the paths that the paper's filter predicts, in the slots of the tracks.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from echoscape.propagation.ray_cast import BoxTree
from echoscape.tracking.anchor import Kind
from echoscape.tracking.bounce import seen_points
from echoscape.tracking.bounce_filters import Method, PathHistory, follow_bounces
from echoscape.tracking.bounce_state import last_bounce, measure_bounces
from echoscape.tracking.track import Tracks

_AT_ONCE = 64
_SINGLE = 3.0  # largest miss that still counts as one bounce, 3 standard deviations at 60 m [m]


def paper_paths(
    found: Tracks,
    observed: Float[np.ndarray, "time detection 5"],
    tree: BoxTree | None,
    window: Int[np.ndarray, " time"],
    *,
    method: Method = "paper",
    particles: int = 500,
    key: PRNGKeyArray,
) -> Float[np.ndarray, "time slot 5"]:
    """Follow bounce points of every track through each window.

    Args:
        found: Tracks of the joint filter, for association and for the user at the start.
        observed: `anchor.MEASURED` of every detection [m, rad].
        tree: Walls; without them each path is taken for one bounce on its ellipse.
        window: Number of the window of each instant; the filter starts anew in each.
        method: Which filter, `paper` or another.
        particles: How many.
        key: Random key.

    Returns:
        What the filter predicts after each instant; the line of sight as the joint filter has it.
    """
    record = found.record
    detection, identity = np.asarray(record.detection), np.asarray(record.identity)
    paths = np.array(record.predicted)
    step = float(np.median(np.diff(found.time)))
    longest = int(np.bincount(window).max())
    jobs = []
    for number in np.unique(window):
        instants = np.flatnonzero(window == number)
        for slot in range(identity.shape[1]):
            own = identity[instants, slot]
            seen = detection[instants, slot] >= 0
            for track in np.unique(own[seen]):
                rows = instants[(own == track)]
                begin = rows[np.argmax(detection[rows, slot] >= 0)]
                if track > 0 and np.asarray(record.kind)[begin, slot] != Kind.STATION:
                    jobs.append((slot, rows[rows >= begin]))
    history = np.zeros((len(jobs), longest, 5))
    seen = np.zeros((len(jobs), longest), bool)
    for k, (slot, rows) in enumerate(jobs):
        which = detection[rows, slot]
        history[k, : len(rows)] = observed[rows, np.maximum(which, 0)]
        seen[k, : len(rows)] = which >= 0
    start, beyond = _start(found, history[:, 0], np.array([rows[0] for _, rows in jobs]), tree)
    std = np.concatenate([[0.05] * 3, [0.05] * 3, [0.3] * 6, [1.0] * 3, [0.5] * 3])

    @eqx.filter_jit
    def together(history, start, beyond, keys):
        def one(history, start, beyond, key):
            states = follow_bounces(
                history, start, jnp.asarray(std), station, beyond, jnp.asarray(step),
                method, particles, key=key,
            )  # fmt: skip
            return jax.vmap(measure_bounces, (0, None, None))(states, station, beyond)

        return jax.vmap(one)(history, start, beyond, keys)

    station = jnp.asarray(found.station)
    error = np.array([0.3, 0.0175, 0.0175, 0.0087, 0.0087])
    for low in range(0, len(jobs), _AT_ONCE):
        block = np.minimum(np.arange(low, low + _AT_ONCE), len(jobs) - 1)
        observed_block = PathHistory(
            jnp.asarray(history[block]),
            jnp.asarray(np.broadcast_to(error, history[block].shape)),
            jnp.asarray(seen[block]),
        )
        keys = jax.random.split(jax.random.fold_in(key, low), _AT_ONCE)
        predicted = np.asarray(
            together(observed_block, jnp.asarray(start[block]), jnp.asarray(beyond[block]), keys)
        )
        for k in range(min(_AT_ONCE, len(jobs) - low)):
            slot, rows = jobs[low + k]
            paths[rows, slot] = predicted[k, : len(rows)]
    return paths


def _start(
    found: Tracks, measured: np.ndarray, instant: np.ndarray, tree: BoxTree | None
) -> tuple[np.ndarray, np.ndarray]:
    """Place user and bounce points where a track begins; also the length that is left over."""
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
    legs = np.linalg.norm(first - station, axis=1) + np.linalg.norm(last - user[:, :3], axis=1)
    state = np.zeros((len(instant), 18))
    state[:, :6], state[:, 6:9], state[:, 12:15] = user, first, last
    return state, length - legs
