"""The user and every static point in one Gaussian: what the joint filter carries from step to step.

The user's error is common to all points that were placed from where the user was believed to be;
only one covariance over all of them knows this, and lets the station, seen again after a long
absence, correct everything at once.  A slot whose path has gone keeps its point until the place is
needed, so a path that comes back is recognised.

Positions are held in the frame of the user's array, turned about the user's start by the heading,
see `anchor.predict_measured`; where the heading is known both frames are the same.

Takes where the user starts.
Gives `JointState`, and its prediction.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.numerics.kalman import Gaussian, condition
from echoscape.tracking.anchor import AnchorType, rotate
from echoscape.tracking.filters import JointFilter

USER = 10
"""Coordinates of the user: position, velocity, clock, drift, heading, and the station's heading."""
CLOCK, DRIFT, HEADING, STATION_HEADING = 6, 7, 8, 9
"""Where the last four of them are [m, m/s, rad, rad]."""
SHARED = np.array([0, 1, 2, CLOCK, HEADING, STATION_HEADING])
"""Those that a path depends on."""
PER_SLOT = 4
"""Coordinates of a point: position and rotation."""
NEVER = -1e3
"""Log-odds of what is impossible."""
ASLEEP = -3.0
"""Log-odds of existence of a point that is only remembered."""
PENDING = 8
"""Line-of-sight detections outside the gate that are kept for a relocation."""


class Slots(eqx.Module):
    """What is known of each anchor beside its coordinates."""

    kind: Int[Array, " slot"]
    """One of `AnchorType`."""
    reflection: Float[Array, " slot"]
    """Sense of turning, +1 or -1."""
    vertical_reflection: Float[Array, " slot"]
    """-1 after an odd number of reflections in level planes."""
    offset: Float[Array, "slot 2"]
    """Mean departure azimuth less what turns with the user's bearing, plain and mirrored [rad]."""
    offset_variance: Float[Array, " slot"]
    """Variance of each `offset` [rad^2]."""
    evidence: Float[Array, "slot 2"]
    """Log-likelihood of a constant offset under the two [nat]."""
    epochs: Int[Array, " slot"]
    """How often the departure was compared."""
    residual_mean: Float[Array, "slot 5"]
    """Mean of recent residuals, each in its standard deviation [1]."""
    point: Float[Array, "slot 3"]
    """Where the path would be scattered, if it were [m]."""
    point_covariance: Float[Array, "slot 3 3"]
    """Covariance of `point` [m^2]."""
    scatter_odds: Float[Array, " slot"]
    """Log-odds of one scatterer against an image [nat]."""
    odds: Float[Array, " slot"]
    """Log-odds that the path exists [nat]."""
    hits: Int[Array, " slot"]
    """How often it was detected."""
    identity: Int[Array, " slot"]
    """Number of the track; 0 is the station's own, -1 an empty slot."""
    seen: Float[Array, " slot"]
    """When it was last detected [s]."""
    founded: Float[Array, " slot"]
    """When its track was initiated [s]."""


class Health(eqx.Module):
    """What tells whether the user is to be trusted, and what a relocation needs."""

    misfit: Float[Array, ""]
    """Running mean of the normalised innovations of older points; 1 is expected."""
    share: Float[Array, ""]
    """Running share of strong detections that belong to established points [1]."""
    velocity_change: Float[Array, "3"]
    """What updates of the last second added to the velocity [m/s]."""
    velocity_spread: Float[Array, "3 3"]
    """Its covariance where the motion model holds."""
    manoeuvre_end: Float[Array, ""]
    """Until when the user counts as manoeuvring [s]."""
    sight: Float[Array, ""]
    """When line of sight was last detected [s]."""
    sight_level: Float[Array, ""]
    """Power of line of sight times squared length, -inf until it was seen [nat]."""
    level: Float[Array, ""]
    """Largest power times squared length of any established point [nat]."""
    pending: Float[Array, "pending 3"]
    """User's position by line of sight less the estimate, of detections outside the gate [m]."""
    pending_time: Float[Array, " pending"]
    """When each was [s]."""
    relocated: Float[Array, ""]
    """When line of sight last relocated the user [s]."""


class JointState(eqx.Module):
    """Everything the joint filter carries."""

    mean: Float[Array, " coordinate"]
    """User's coordinates, then position and rotation of each slot [m, m/s, rad]."""
    covariance: Float[Array, "coordinate coordinate"]
    """Covariance of `mean`."""
    slots: Slots
    """What is known of the points."""
    health: Health
    """What tells whether the user is to be trusted."""
    pivot: Float[Array, "2"]
    """Where the user started [m]."""
    time: Float[Array, ""]
    """When [s]."""
    step: Float[Array, ""]
    """Time since the instant before [s]."""
    born: Int[Array, ""]
    """Number of the next track."""

    @property
    def anchor(self) -> Float[Array, "slot 3"]:
        """Positions of the points, in the array's frame [m]."""
        return self.mean[USER:].reshape(-1, PER_SLOT)[:, :3]

    @property
    def shared(self) -> Float[Array, "6"]:
        """Coordinates that every path depends on."""
        return self.mean[SHARED]


def start_joint(
    station: Float[Array, "3"],
    position: Float[Array, "3"],
    velocity: Float[Array, "3"],
    time: Float[Array, ""],
    settings: JointFilter,
) -> JointState:
    """Start with the user alone and the station in the first slot."""
    count = settings.slots
    size = USER + PER_SLOT * count
    std = jnp.array([
        *[settings.start_std] * 3, *[settings.start_velocity_std] * 3, settings.clock_std,
        settings.clock_drift_std, settings.heading_std, settings.station_heading_std,
    ])  # fmt: skip
    variance = jnp.diag(std**2)
    # a velocity in the site's frame turns against the heading in the array's
    quarter = jnp.array([velocity[1], -velocity[0], 0.0])
    carry = jnp.eye(USER).at[3:6, HEADING].set(quarter)
    empty = jnp.full(count, -1)
    return JointState(
        mean=jnp.zeros(size).at[:6].set(jnp.r_[position, velocity])
        .at[USER : USER + 3].set(station),
        covariance=jnp.zeros((size, size)).at[:USER, :USER].set(carry @ variance @ carry.T),
        slots=Slots(
            kind=jnp.full(count, int(AnchorType.UNDECIDED)).at[0].set(int(AnchorType.STATION)),
            reflection=jnp.ones(count),
            vertical_reflection=jnp.ones(count),
            offset=jnp.zeros((count, 2)),
            offset_variance=jnp.ones(count),
            evidence=jnp.zeros((count, 2)),
            epochs=jnp.zeros(count, int),
            residual_mean=jnp.zeros((count, 5)),
            point=jnp.zeros((count, 3)),
            point_covariance=jnp.zeros((count, 3, 3)),
            scatter_odds=jnp.full(count, NEVER),
            odds=jnp.full(count, -3.0),
            hits=jnp.zeros(count, int).at[0].set(100),
            identity=empty.at[0].set(0),
            seen=jnp.full(count, time),
            founded=jnp.full(count, time),
        ),
        health=Health(
            misfit=jnp.array(1.0),
            share=jnp.array(1.0),
            velocity_change=jnp.zeros(3),
            velocity_spread=jnp.zeros((3, 3)),
            manoeuvre_end=jnp.array(-jnp.inf),
            sight=time,
            sight_level=jnp.array(-jnp.inf),
            level=jnp.array(-jnp.inf),
            pending=jnp.zeros((PENDING, 3)),
            pending_time=jnp.full(PENDING, -jnp.inf),
            relocated=jnp.array(-jnp.inf),
        ),
        pivot=position[:2],
        time=time,
        step=jnp.array(0.0),
        born=jnp.array(1),
    )  # fmt: skip


def predict_joint(state: JointState, time: Float[Array, ""], settings: JointFilter) -> JointState:
    """Move the user on at constant velocity with white acceleration; points stay.

    Eqs. (20)-(22) of [isac-gbsm], one shared user instead of one for each scatterer, with the exact
    noise of an acceleration that is white in continuous time, so that any rate of observations
    gives the same prediction.  In a manoeuvre the acceleration is larger.
    """
    step = time - state.time
    steady = jnp.array(
        [settings.acceleration, settings.acceleration, settings.vertical_acceleration]
    )
    moving = jnp.array([settings.manoeuvre, settings.manoeuvre, settings.vertical_manoeuvre])
    density = jnp.where(state.time < state.health.manoeuvre_end, moving, steady) ** 2
    mean = state.mean.at[:3].add(step * state.mean[3:6]).at[CLOCK].add(step * state.mean[DRIFT])
    covariance = state.covariance
    covariance = covariance.at[:3].add(step * covariance[3:6])
    covariance = covariance.at[:, :3].add(step * covariance[:, 3:6])
    covariance = covariance.at[CLOCK].add(step * covariance[DRIFT])
    covariance = covariance.at[:, CLOCK].add(step * covariance[:, DRIFT])
    covariance = accelerate(covariance, density, step)
    wander = jnp.zeros((settings.slots, PER_SLOT)).at[1:, :2].set(settings.drift**2 * step)
    every = jnp.arange(USER, state.mean.shape[0])
    covariance = covariance.at[every, every].add(wander.reshape(-1))
    return eqx.tree_at(
        lambda s: (s.mean, s.covariance, s.time, s.step), state, (mean, covariance, time, step)
    )


def accelerate(
    covariance: Float[Array, "coordinate coordinate"],
    density: Float[Array, "3"],
    step: Float[Array, ""],
) -> Float[Array, "coordinate coordinate"]:
    """Add what a white acceleration does to position and velocity in a while."""
    axis = jnp.arange(3)
    covariance = covariance.at[axis, axis].add(density * step**3 / 3)
    covariance = covariance.at[axis, axis + 3].add(density * step**2 / 2)
    covariance = covariance.at[axis + 3, axis].add(density * step**2 / 2)
    return covariance.at[axis + 3, axis + 3].add(density * step)


def notice_manoeuvre(before: JointState, after: JointState, settings: JointFilter) -> JointState:
    """Widen the motion model for a while once updates change the velocity more than it allows.

    The corrections of an honest filter are independent with the covariance that they take away;
    their sum over the last second, forgotten exponentially, is compared with its own.  A manoeuvre
    began before it is noticed, so what it may have done within that second is added at once.

    Args:
        before: The state before an update.
        after: The state after it.
        settings: The gate.
    """
    health = after.health
    keep = jnp.exp(-after.step)
    change = keep * health.velocity_change + after.mean[3:6] - before.mean[3:6]
    taken = before.covariance[3:6, 3:6] - after.covariance[3:6, 3:6]
    spread = keep**2 * health.velocity_spread + 0.5 * (taken + taken.T)
    squared = change @ jnp.linalg.solve(spread + 1e-6 * jnp.eye(3), change)
    found = squared > settings.manoeuvre_gate
    end = jnp.where(found, after.time + settings.manoeuvre_time, health.manoeuvre_end)
    change = jnp.where(found, 0.0, change)
    moving = jnp.array([settings.manoeuvre, settings.manoeuvre, settings.vertical_manoeuvre])
    begins = found & (after.time >= health.manoeuvre_end)
    wider = accelerate(after.covariance, jnp.where(begins, moving, 0.0) ** 2, jnp.array(1.0))
    return eqx.tree_at(
        lambda s: (
            s.health.velocity_change,
            s.health.velocity_spread,
            s.health.manoeuvre_end,
            s.covariance,
        ),
        after,
        (change, spread, end, wider),
    )


def is_dormant(state: JointState, settings: JointFilter) -> Bool[Array, " slot"]:
    """Tell which points are remembered only to be recalled; points of a map never are."""
    slots = state.slots
    absent = (state.time - slots.seen > settings.memory) & (slots.odds <= ASLEEP)
    absent = absent & (slots.identity >= 0)
    return absent & jnp.isfinite(slots.founded) & (slots.kind != AnchorType.STATION)


def local_coordinates(
    state: JointState,
) -> tuple[Float[Array, "slot 10"], Float[Array, "slot 10 10"]]:
    """Cut out, for each slot, what its path depends on, with the covariance."""
    count = state.slots.kind.shape[0]
    own = state.mean[USER:].reshape(count, PER_SLOT)
    top = state.covariance[SHARED]
    cross = top[:, USER:].reshape(len(SHARED), count, PER_SLOT).transpose(1, 0, 2)
    blocks = state.covariance[USER:, USER:].reshape(count, PER_SLOT, count, PER_SLOT)
    own_covariance = jnp.diagonal(blocks, axis1=0, axis2=2).transpose(2, 0, 1)
    shared = jnp.broadcast_to(state.shared, (count, len(SHARED)))
    mean = jnp.concatenate([shared, own], axis=1)
    inner = jnp.broadcast_to(top[:, SHARED], (count, len(SHARED), len(SHARED)))
    upper = jnp.concatenate([inner, cross], axis=2)
    lower = jnp.concatenate([cross.transpose(0, 2, 1), own_covariance], axis=2)
    return mean, jnp.concatenate([upper, lower], axis=1)


def set_coordinates(
    state: JointState,
    chosen: Bool[Array, " slot"],
    mean: Float[Array, "slot 4"],
    from_shared: Float[Array, "slot 4 6"],
    variance: Float[Array, "slot 4 4"],
) -> JointState:
    """Write points anew as functions of the user's coordinates.

    Args:
        state: The state.
        chosen: Which slots; what they held is forgotten.
        mean: Their coordinates.
        from_shared: Derivative of the coordinates by those of `SHARED`.
        variance: Covariance that is their own.
    """
    count = chosen.shape[0]
    wide = jnp.repeat(chosen, PER_SLOT)
    whole = jnp.concatenate([jnp.zeros(USER, bool), wide])
    new = jnp.where(wide, mean.reshape(-1), state.mean[USER:])
    gain = from_shared.reshape(count * PER_SLOT, len(SHARED))
    old = jnp.where(whole[:, None] | whole[None, :], 0.0, state.covariance)
    cross = gain @ old[SHARED]
    inner = cross[:, SHARED] @ gain.T
    slot = jnp.arange(count)
    inner = inner.reshape(count, PER_SLOT, count, PER_SLOT).at[slot, :, slot, :].add(variance)
    inner = inner.reshape(count * PER_SLOT, -1)
    # rows and columns of the chosen: against what was there, then against one another
    covariance = old.at[USER:].set(jnp.where(wide[:, None], cross, old[USER:]))
    covariance = covariance.at[:, USER:].set(
        jnp.where(wide[None, :], covariance[USER:].T, covariance[:, USER:])
    )
    both = wide[:, None] & wide[None, :]
    block = jnp.where(both, inner, covariance[USER:, USER:])
    covariance = covariance.at[USER:, USER:].set(block)
    return eqx.tree_at(
        lambda s: (s.mean, s.covariance),
        state,
        (state.mean.at[USER:].set(new), covariance),
    )


def site_user(state: JointState) -> tuple[Float[Array, "6"], Float[Array, "6 coordinate"]]:
    """Give the user's position and velocity in the site's frame, with their derivative."""
    mean, heading = state.mean, state.mean[HEADING]
    size = mean.shape[0]
    slope = jnp.zeros((6, size))
    parts = []
    for at, pivot in ((0, state.pivot), (3, jnp.zeros(2))):
        turned = rotate(mean[at : at + 2] - pivot, heading)
        slope = slope.at[at, at : at + 2].set(rotate(jnp.array([1.0, 0.0]), -heading))
        slope = slope.at[at + 1, at : at + 2].set(rotate(jnp.array([0.0, 1.0]), -heading))
        slope = slope.at[at + 2, at + 2].set(1.0)
        slope = slope.at[at : at + 2, HEADING].set(jnp.stack([-turned[1], turned[0]]))
        parts.append(jnp.concatenate([pivot + turned, mean[at + 2 : at + 3]]))
    return jnp.concatenate(parts), slope


def place_user(
    state: JointState,
    position: Float[Array, "3"],
    known: Bool[Array, ""],
    settings: JointFilter,
) -> JointState:
    """Condition the state on the user's position in the site's frame, where that is known."""
    user, slope = site_user(state)
    cross = slope[:3] @ state.covariance
    inner = cross @ slope[:3].T + settings.known_std**2 * jnp.eye(3)
    after = condition(Gaussian(state.mean, state.covariance), position - user[:3], inner, cross)
    return eqx.tree_at(
        lambda s: (s.mean, s.covariance),
        state,
        (
            jnp.where(known, after.mean, state.mean),
            jnp.where(known, after.covariance, state.covariance),
        ),
    )
