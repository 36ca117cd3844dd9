"""One verb: follow what is observed, with a filter that is passed in.

Takes `Observations`, the station, and where the user starts.
Gives `Tracks`: user and static points over time, each with a status.
"""

import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.checks import InputError
from echoscape.progress import Progress, silent, within
from echoscape.propagation.ray_cast import BoxTree
from echoscape.reports import Observations
from echoscape.scene import StaticPoints
from echoscape.tracking.bounce_tracks import track_bounces
from echoscape.tracking.echo_surface import StationEchoes
from echoscape.tracking.filters import BouncePoints, JointFilter, KnownUser, TrackingFilter
from echoscape.tracking.health import FEWEST_IN_SIGHT, sight_of, user_status
from echoscape.tracking.joint import run_joint
from echoscape.tracking.joint_smoother import smooth_jointly
from echoscape.tracking.joint_update import Detections
from echoscape.tracking.map_start import points_to_hold
from echoscape.tracking.record import Record
from echoscape.tracking.smoother import smooth_user
from echoscape.tracking.tracks import Tracks, track_status

SUSPECT_STD = 10.0
"""Prior deviation of position and clock of the filter that suspects the clock [m]."""
START_DIFFERENCE = 1.0
"""Two starts that differ by more contradict one another [m]."""


def track(
    observations: Observations,
    station: Float[np.ndarray, "3"],
    filter: TrackingFilter | str | None = None,
    *,
    start: Float[np.ndarray, "3"] | None = None,
    start_velocity: Float[np.ndarray, "3"] | None = None,
    smooth: bool = False,
    lag: float | None = None,
    points: StaticPoints | None = None,
    tree: BoxTree | None = None,
    echoes: StationEchoes | None = None,
    key: PRNGKeyArray | None = None,
    settings: JointFilter | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Follow the static points around a user, and the user with them.

    Args:
        observations: What was seen.
        station: Position of the station [m].
        filter: `JointFilter`, the default, estimates the user too, and takes in its position where
            the observations know it; `KnownUser` needs it at every instant; so does `BouncePoints`,
            which follows moving bounces.
        start: Where the user is at first [m]; the first known position if not given.
        start_velocity: The user's first velocity [m/s]; standing with an error of
            `JointFilter.start_velocity_unknown` if not given.
        smooth: Fit user and points to the whole walk, so that later observations correct earlier
            positions; which detection belongs to which point stays as the filter had it.
        lag: Let only observations within this long after an instant correct it, and only the user's
            motion, not the points [s].
        points: Static points that are known before, in the site's frame, for the filters over
            points; they are confirmed and moved by what is observed, and others are added.
        tree: Walls, for the first bounces of `BouncePoints`.
        echoes: What the station heard of its own pulse, likewise; before walls.
        key: Random key of filters with particles.
        settings: What `filter` is now.
        progress: Called with the instants or steps done, all of them, and the name of the stage.

    Raises:
        InputError: It is not known where the user starts, or is.
    """
    filter = JointFilter() if filter is None else _named(filter)
    if settings is not None:
        warnings.warn("settings=... is now filter=...", DeprecationWarning, stacklevel=2)
        filter = KnownUser(points=settings) if isinstance(filter, KnownUser) else settings
    if isinstance(filter, BouncePoints):
        found = track(observations, station, KnownUser(), progress=within(progress, "associating"))
        return track_bounces(
            found, detections_of(observations), filter.method, tree=tree, echoes=echoes,
            particles=filter.particles, key=jax.random.key(0) if key is None else key,
            progress=progress or silent,
        )  # fmt: skip
    if isinstance(filter, KnownUser):
        unknown = np.flatnonzero(~observations.user_known)
        if len(unknown):
            raise InputError(
                "this filter needs the user's position at every instant, in m, but at "
                f"{observations.time[unknown[0]]:g} s it is empty; fill user_x, user_y, user_z or "
                "take filter joint"
            )
        std = filter.position_std
        settings = dataclasses.replace(filter.points, known_std=std, start_std=std)
    elif isinstance(filter, JointFilter):
        settings = filter
    else:
        raise InputError(
            "filter must be a JointFilter, a KnownUser or BouncePoints; got "
            f"{type(filter).__name__}"
        )
    if start is None:
        if not observations.user_known[0]:
            raise InputError(
                "the joint filter needs to know where the user starts, in m; give --start X,Y,Z or "
                "fill user_x, user_y, user_z of the first instant"
            )
        start = observations.user_position[0]
    difference = float(np.linalg.norm(start - observations.user_position[0]))
    if observations.user_known[0] and difference > START_DIFFERENCE:
        raise InputError(
            f"--start lies {difference:.3g} m from where user_x, user_y, user_z of the first "
            "instant say that the user is; leave out what is wrong"
        )
    if start_velocity is None:
        start_velocity = np.zeros(3)
        unknown = settings.start_velocity_unknown
        settings = dataclasses.replace(settings, start_velocity_std=unknown)
    known = None if points is None else points_to_hold(points, np.asarray(station, float))
    if known is not None and not len(known.kind):
        known = None
    if known is not None:
        # the map's own slots, beside those for what it lacks
        chunk = settings.chunk
        slots = settings.slots + -(-known.kind.shape[0] // chunk) * chunk
        settings = dataclasses.replace(settings, slots=slots)
    seen = detections_of(observations)
    time = jnp.asarray(observations.time)

    tell = progress or silent
    record = run_joint(
        seen, time, jnp.asarray(observations.user_position), jnp.asarray(observations.user_known),
        jnp.asarray(station, float), jnp.asarray(start, float),
        jnp.asarray(start_velocity, float), _as_arrays(settings), known, tell,
    )  # fmt: skip
    suspect = None
    in_doubt = settings.suspect_clock and settings.clock_std == 0
    if in_doubt and not observations.user_known[1:].any():
        again = within(progress, "in case the clock is off")
        suspect = suspect_clock(record, seen, time, station, settings, again)
    record = jax.tree.map(np.asarray, record)
    if smooth and len(observations.time) > 1:
        tell(0, 1, "smoothing")
        if lag is None:
            begin = np.r_[start, start_velocity]
            about = (observations.user_position, observations.user_known, station, begin)
            record = smooth_jointly(record, seen, observations.time, *about, settings, known)
        else:
            step = float(np.median(np.diff(observations.time)))
            count = int(min(np.floor(lag / step + 1e-9), len(observations.time)))
            better = smooth_user(record.user, record.user_covariance, time, settings, count)
            better = jax.tree.map(np.asarray, better)
            record = eqx.tree_at(lambda r: (r.user, r.user_covariance), record, better)
    status, reason = user_status(record, observations.user_known, settings, suspect, seen)
    return Tracks(
        time=observations.time,
        record=record,
        status=track_status(record),
        user_status=status,
        station=np.asarray(station, float),
        reason=reason,
    )


def suspect_clock(
    record: Record,
    seen: Detections,
    time: Float[Array, " time"],
    station: Float[np.ndarray, "3"],
    settings: JointFilter,
    progress: Progress = silent,
) -> Record | None:
    """Follow from the first line of sight on with the clock unknown, the position hardly known.

    Out of sight a clock that is off is a longer way to every image; in sight, images in one wall
    tell it.

    Returns:
        What that filter believed, at the instants of `record`; None without line of sight.
    """
    sight = np.flatnonzero(sight_of(record) | (np.asarray(record.pending) > 0))
    if len(sight) < FEWEST_IN_SIGHT:
        return None
    begin, count = int(sight[0]), len(time)
    # the instants before go to the end, empty, so that nothing is compiled anew
    turned = jax.tree.map(lambda leaf: jnp.roll(leaf, -begin, axis=0), seen)
    late = jnp.arange(count) < count - begin
    turned = eqx.tree_at(lambda s: s.valid, turned, turned.valid & late[:, None])
    step = jnp.diff(time, append=2 * time[-1:] - time[-2:-1])
    later = time[begin] + jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.roll(step, -begin))[:-1]])
    loose = dataclasses.replace(
        settings, clock_std=SUSPECT_STD, clock_drift_std=0.01, start_std=SUSPECT_STD,
        start_velocity_std=1.0,
    )  # fmt: skip
    user = jnp.asarray(record.user)[begin]
    found = run_joint(
        turned, later, jnp.zeros((count, 3)), jnp.zeros(count, bool), jnp.asarray(station, float),
        user[:3], user[3:], _as_arrays(loose), progress=progress,
    )  # fmt: skip
    found = jax.tree.map(lambda leaf: np.roll(np.asarray(leaf), begin, axis=0), found)
    found.detection[:begin] = -1
    return found


def _named(filter: TrackingFilter | str) -> TrackingFilter:
    """Accept the names of version 0.1 for a while."""
    if not isinstance(filter, str):
        return filter
    known = {"joint": JointFilter(), "anchors": KnownUser()}
    if filter not in known:
        raise InputError(f"filter must be an object such as JointFilter(); got {filter!r}")
    now = type(known[filter]).__name__
    warnings.warn(f"filter {filter!r} is now {now}()", DeprecationWarning, stacklevel=3)
    return known[filter]


def _as_arrays(settings: JointFilter) -> JointFilter:
    """Let every number be data, so that changing one compiles nothing anew.

    Whether a second filter is to suspect the clock is no matter of the first.
    """
    settings = dataclasses.replace(settings, suspect_clock=False)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf), settings)


def detections_of(observations: Observations) -> Detections:
    """Lay observations out as the filters measure them, length in metres."""
    seen = observations.estimates
    measured = [
        np.asarray(seen.length),
        seen.arrival_azimuth,
        seen.arrival_zenith,
        seen.departure_azimuth,
        seen.departure_zenith,
    ]
    std = [
        np.asarray(seen.length_std),
        seen.arrival_azimuth_std,
        seen.arrival_zenith_std,
        seen.departure_azimuth_std,
        seen.departure_zenith_std,
    ]
    valid = np.asarray(seen.valid)
    power = np.asarray(seen.power, float)
    known = valid & np.isfinite(power) & (power > 0)
    return Detections(
        measured=jnp.asarray(np.stack(measured, axis=-1)),
        std=jnp.asarray(np.where(valid[..., None], np.stack(std, axis=-1), 1.0)),
        valid=jnp.asarray(valid),
        log_power=jnp.asarray(np.where(known, np.log(np.where(known, power, 1.0)), np.nan)),
    )
