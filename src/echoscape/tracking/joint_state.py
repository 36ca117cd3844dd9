"""The user and every anchor in one Gaussian: what the joint filter carries from step to step.

The user's error is common to all anchors that were placed from where the user was believed to be;
only one covariance over all of them knows this, and lets the station, seen again after a long
absence, straighten everything at once.  Anchors have slots; a slot whose path has gone keeps its
anchor until the place is needed, so a path that comes back is recognised.

Takes where the user starts.
Gives `JointState`, and its prediction.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from echoscape.tracking.anchor import Kind

USER = 6
"""Coordinates of the user: position and velocity."""
PER_SLOT = 4
"""Coordinates of an anchor: position and turn."""
NEVER = -1e3
"""Log-odds of what is out of the question."""


class JointSettings(eqx.Module):
    """What the joint filter assumes; the defaults serve a walk or a slow drive."""

    slots: int = eqx.field(static=True, default=40)
    """Anchors held at once, seen or remembered; a multiple of `chunk`."""
    chunk: int = eqx.field(static=True, default=8)
    """Paths that one update takes together."""
    association: Literal["messages", "hungarian"] = eqx.field(static=True, default="messages")
    """Which detection is whose: by the probability of each pair under all assignments, or by the
    single likeliest assignment."""
    acceleration: float = 0.4
    """Level acceleration of the user, spectral density [m/s^2/sqrt(Hz)]."""
    climb: float = 0.02
    """Vertical acceleration of the user, spectral density [m/s^2/sqrt(Hz)]."""
    drift: float = 0.003
    """Random walk of an anchor, for walls that are not quite flat [m/sqrt(s)]."""
    start_std: float = 0.1
    """Error of every coordinate of the user's start [m]."""
    start_velocity_std: float = 0.1
    """Error of every coordinate of the user's first velocity [m/s]."""
    start_velocity_unknown: float = 2.0
    """The same where the first velocity is not given, for a user who walks [m/s]."""
    known_std: float = 0.05
    """Error of every coordinate where the file knows the user's position [m]."""
    trusted_std: float = 0.005
    """The same for the filter that trusts these positions [m]."""
    level_std: float = 0.1
    """How well the height of an image in vertical walls is that of the station [m]."""
    gate: float = 30.0
    """Largest squared Mahalanobis distance of a path to its anchor; chance 1e-5 with 5 numbers."""
    trusted: float = 6.0
    """Squared distance from which on a path is weighted down, the 70 % point with 5 numbers."""
    lean: float = 0.2
    """Weight of the newest residual in the running mean that tells a wrong anchor [1]."""
    leaning: float = 25.0
    """Squared running mean, in its standard deviations, from which on an anchor is let go; chance
    1e-4 with 5 numbers."""
    memory: float = 3.0
    """How long an anchor out of sight is remembered [s]."""
    sure: float = 0.98
    """Probability from which on the kind of an image counts as decided."""
    recognised: float = 5.0
    """Log-ratio from which on an image after an odd number of walls becomes that of one wall."""
    refuted: float = -6.0
    """Log-ratio at which one wall is taken back."""
    scatterers: float = 0.02
    """Share of paths taken to come from points that reradiate, before any is looked at [1]."""
    scattered: float = 8.0
    """Log-odds from which on a path is taken to come from such a point."""
    detection: float = 0.85
    """Probability that an anchor in sight is detected."""
    clutter: float = 1.0
    """False and first detections at an instant, expected."""


class Slots(eqx.Module):
    """What is known of each anchor beside its coordinates."""

    kind: Int[Array, " slot"]
    """One of `Kind`."""
    sign: Float[Array, " slot"]
    """Sense of turning, +1 or -1."""
    flip: Float[Array, " slot"]
    """-1 after an odd number of reflections in level planes."""
    offset: Float[Array, "slot 2"]
    """Mean departure azimuth less what turns with the user's bearing, plain and mirrored [rad]."""
    offset_variance: Float[Array, " slot"]
    """Variance of each `offset` [rad^2]."""
    evidence: Float[Array, "slot 2"]
    """Log-likelihood of a constant offset under the two [nat]."""
    looks: Int[Array, " slot"]
    """How often the departure was compared."""
    bias: Float[Array, "slot 5"]
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


class JointState(eqx.Module):
    """Everything the joint filter carries."""

    mean: Float[Array, " coordinate"]
    """User's position and velocity, then position and turn of each slot [m, m/s, rad]."""
    covariance: Float[Array, "coordinate coordinate"]
    """Covariance of `mean`."""
    slots: Slots
    """What is known of the anchors."""
    time: Float[Array, ""]
    """When [s]."""
    born: Int[Array, ""]
    """Number of the next track."""
    explained: Float[Array, ""]
    """Share of recent detections that known anchors explain [1]."""

    @property
    def anchor(self) -> Float[Array, "slot 3"]:
        """Positions of the anchors [m]."""
        return self.mean[USER:].reshape(-1, PER_SLOT)[:, :3]


def start_joint(
    station: Float[Array, "3"],
    position: Float[Array, "3"],
    velocity: Float[Array, "3"],
    time: Float[Array, ""],
    settings: JointSettings,
) -> JointState:
    """Start with the user alone and the station in the first slot."""
    count = settings.slots
    size = USER + PER_SLOT * count
    user_variance = jnp.repeat(
        jnp.array([settings.start_std**2, settings.start_velocity_std**2]), 3
    )
    empty = jnp.full(count, -1)
    return JointState(
        mean=jnp.zeros(size).at[:USER].set(jnp.r_[position, velocity])
        .at[USER : USER + 3].set(station),
        covariance=jnp.zeros((size, size)).at[jnp.arange(USER), jnp.arange(USER)]
        .set(user_variance),
        slots=Slots(
            kind=jnp.full(count, int(Kind.UNDECIDED)).at[0].set(int(Kind.STATION)),
            sign=jnp.ones(count),
            flip=jnp.ones(count),
            offset=jnp.zeros((count, 2)),
            offset_variance=jnp.ones(count),
            evidence=jnp.zeros((count, 2)),
            looks=jnp.zeros(count, int),
            bias=jnp.zeros((count, 5)),
            point=jnp.zeros((count, 3)),
            point_covariance=jnp.zeros((count, 3, 3)),
            scatter_odds=jnp.full(count, NEVER),
            odds=jnp.full(count, -3.0),
            hits=jnp.zeros(count, int).at[0].set(100),
            identity=empty.at[0].set(0),
            seen=jnp.full(count, time),
        ),
        time=time,
        born=jnp.array(1),
        explained=jnp.array(1.0),
    )  # fmt: skip


def predict_joint(state: JointState, time: Float[Array, ""], settings: JointSettings) -> JointState:
    """Move the user on at constant velocity with white acceleration; anchors stay.

    Eqs. (20)-(22) of [isac-gbsm], one shared user instead of one for each scatterer, with the exact
    noise of an acceleration that is white in continuous time, so that any rate of observations
    gives the same prediction.
    """
    step = time - state.time
    mean = state.mean.at[:3].add(step * state.mean[3:6])
    covariance = state.covariance
    covariance = covariance.at[:3].add(step * covariance[3:6])
    covariance = covariance.at[:, :3].add(step * covariance[:, 3:6])
    density = jnp.array([settings.acceleration, settings.acceleration, settings.climb]) ** 2
    axis = jnp.arange(3)
    covariance = covariance.at[axis, axis].add(density * step**3 / 3)
    covariance = covariance.at[axis, axis + 3].add(density * step**2 / 2)
    covariance = covariance.at[axis + 3, axis].add(density * step**2 / 2)
    covariance = covariance.at[axis + 3, axis + 3].add(density * step)
    moving = jnp.zeros((settings.slots, PER_SLOT)).at[1:, :2].set(settings.drift**2 * step)
    every = jnp.arange(USER, state.mean.shape[0])
    covariance = covariance.at[every, every].add(moving.reshape(-1))
    return eqx.tree_at(lambda s: (s.mean, s.covariance, s.time), state, (mean, covariance, time))


def local_coordinates(
    state: JointState,
) -> tuple[Float[Array, "slot 7"], Float[Array, "slot 7 7"]]:
    """Cut out, for each slot, the user's position and the anchor, with their covariance."""
    count = state.slots.kind.shape[0]
    user, user_covariance = state.mean[:3], state.covariance[:3, :3]
    own = state.mean[USER:].reshape(count, PER_SLOT)
    cross = state.covariance[:3, USER:].reshape(3, count, PER_SLOT).transpose(1, 0, 2)
    blocks = state.covariance[USER:, USER:].reshape(count, PER_SLOT, count, PER_SLOT)
    own_covariance = jnp.diagonal(blocks, axis1=0, axis2=2).transpose(2, 0, 1)
    mean = jnp.concatenate([jnp.broadcast_to(user, (count, 3)), own], axis=1)
    top = jnp.concatenate([jnp.broadcast_to(user_covariance, (count, 3, 3)), cross], axis=2)
    bottom = jnp.concatenate([cross.transpose(0, 2, 1), own_covariance], axis=2)
    return mean, jnp.concatenate([top, bottom], axis=1)


def set_coordinates(
    state: JointState,
    chosen: Bool[Array, " slot"],
    mean: Float[Array, "slot 4"],
    from_user: Float[Array, "slot 4 3"],
    variance: Float[Array, "slot 4 4"],
) -> JointState:
    """Write anchors anew as functions of where the user is believed to be.

    Args:
        state: The state.
        chosen: Which slots; what they held is forgotten.
        mean: Their coordinates.
        from_user: Derivative of the coordinates by the user's position.
        variance: Covariance that is their own.
    """
    count = chosen.shape[0]
    wide = jnp.repeat(chosen, PER_SLOT)
    whole = jnp.concatenate([jnp.zeros(USER, bool), wide])
    new = jnp.where(wide, mean.reshape(-1), state.mean[USER:])
    gain = from_user.reshape(count * PER_SLOT, 3)
    old = jnp.where(whole[:, None] | whole[None, :], 0.0, state.covariance)
    cross = gain @ old[:3]
    inner = gain @ old[:3, :3] @ gain.T
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
