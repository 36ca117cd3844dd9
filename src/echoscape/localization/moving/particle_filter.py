"""A moving target tracked through the map: particles of position and velocity.

Every epoch is located by itself; the mixture of its posterior modes, with a small probability that
none of them is the target's, weighs the particles.  (Targets in sight, out of sight and in between
are treated alike, and so are several stations.)  Between two epochs a target keeps its velocity but
for a random acceleration, whose size is a state of every particle, so that it is learnt from the
epochs unless it is given.  A track starts from an epoch's mixture and ends when no epoch has been
explained for a while; another may start then.  A track that began on a false mode is given up as
soon as one that begins anew explains a second of epochs far better.

Takes `Echoes` of one target over time and a `ChannelMap` for each station.
Gives `TargetTrack`.
"""

import enum
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError, former_names
from echoscape.display import Plotted
from echoscape.localization.fix import Fix, FixStatus
from echoscape.localization.localize import localize
from echoscape.localization.unassociated.method import Unassociated
from echoscape.numerics.particles import Cloud, bootstrap_step, start_cloud
from echoscape.progress import Progress
from echoscape.reports import Echoes

# Log-evidence of a new start over a track, for it to be given up: an outlier costs some ten.
_FAR_BETTER = 50.0
_SMALLEST = 1e-6  # [m^2] variance added to what an epoch claims
_ACCELERATIONS = (0.1, 10.0)  # [m/s^2] of targets that nothing is known of
_CHANGE = 0.1  # of the logarithm of a target's acceleration, over a second

_OLD_FIELDS = {
    "odd_looks": "outlier_rate",
    "patience": "max_coasting_time",
    "rival": "restart_window",
}


class TargetStatus(enum.IntEnum):
    """What to think of an instant."""

    NO_TRACK = 0
    """Nothing is followed; the position means nothing."""
    FOLLOWED = 1
    """The map explains the echoes near where the target was expected."""
    COASTING = 2
    """No echo, or none that the map explains there: the track goes on by its velocity."""


class FollowSettings(pydantic.BaseModel):
    """How a target moves and when a track starts and ends."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    particles: int = pydantic.Field(default=2000, ge=50)
    """Particles of a track."""
    acceleration_std: float | None = pydantic.Field(default=None, gt=0)
    """Random acceleration in each coordinate over a second [m/s^2]; learnt from the epochs, between
    0.1 and 10, if None."""
    speed_std: float = pydantic.Field(default=3.0, gt=0)
    """Speed expected of a new target, in each coordinate [m/s]."""
    outlier_rate: float = pydantic.Field(default=0.01, gt=0, lt=1)
    """Share of epochs none of whose modes is the target's."""
    max_coasting_time: float = pydantic.Field(default=1.0, gt=0)
    """How long a track goes on without echoes that the map explains [s]."""
    restart_window: float = pydantic.Field(default=1.0, gt=0)
    """How long a new start must explain the echoes far better to end the track [s]."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _old_names(cls, values: dict) -> dict:
        """Take the names of the previous version, with a warning."""
        for old, new in _OLD_FIELDS.items():
            if old in values:
                warnings.warn(f"{old} is deprecated; use {new}", DeprecationWarning, stacklevel=2)
        return {_OLD_FIELDS.get(name, name): value for name, value in values.items()}


class TargetTrack(Plotted, eqx.Module):
    """One target over time."""

    time: Float[np.ndarray, " time"]
    """When [s]."""
    position: Float[np.ndarray, "time 3"]
    """Where it was, from all echoes up to then [m]."""
    covariance: Float[np.ndarray, "time 2 2"]
    """Horizontal covariance [m^2]."""
    velocity: Float[np.ndarray, "time 2"]
    """Horizontal velocity [m/s]."""
    track: Int[np.ndarray, " time"]
    """Number of the track, from 0; -1 where there is none."""
    status: Int[np.ndarray, " time"]
    """A `TargetStatus`."""


def follow(
    echoes: Echoes,
    maps: ChannelMap | Mapping[str, ChannelMap],
    *,
    key: PRNGKeyArray,
    height: float | None = None,
    settings: FollowSettings | None = None,
    search: Unassociated | None = None,
    progress: Progress | None = None,
) -> TargetTrack:
    """Track one target through the maps of the stations that receive its echoes.

    Args:
        echoes: Echoes of one target: one number of target and one time for each instant.
        maps: The map, or one for each station by name.
        key: Random key of the particles.
        height: Height of the target [m]; the reports' own by default.
        settings: How it moves.
        search: How each epoch is located.
        progress: Called with epochs located and all epochs.

    Raises:
        InputError: There is no echo, a station has no map, or times do not rise.
    """
    settings, search = settings or FollowSettings(), search or Unassociated()
    if isinstance(maps, ChannelMap):
        maps = {maps.station: maps}
    if not np.asarray(echoes.estimates.valid).any():
        raise InputError("there are no echoes to follow a target by; the set is empty")
    target = np.unique(echoes.target)
    time = np.zeros(len(target))
    time[np.searchsorted(target, echoes.target)] = echoes.time
    order = np.argsort(time, kind="stable")
    if np.any(np.diff(time[order]) <= 0):
        raise InputError(
            "a target that moves needs one number of target and one time [s] for each instant; two "
            "instants have the same time"
        )
    fix = localize(echoes, maps, height=height, method=search, progress=progress)
    reports = np.concatenate([np.asarray(m.report_position)[:, :2] for m in maps.values()])
    area = np.prod(np.ptp(reports, axis=0) + 2 * search.reach)
    if progress is not None:
        progress(0, 1, f"following through {len(order)} instants, compiling")
    return _tracks(time[order], _read_epochs(fix, order), fix, float(area), settings, key)


class _Epochs(NamedTuple):
    """Where each epoch says that the target is: a mixture of Gaussians in the plane."""

    place: Float[Array, "*time part 2"]
    """Means [m]."""
    precision: Float[Array, "*time part 2 2"]
    """Inverse covariances [1/m^2]."""
    log_weight: Float[Array, "*time part"]
    """Logarithm of each part's share times its density at its mean [1/m^2]."""
    detected: Bool[Array, "*time"]
    """Whether there were echoes that the map explains anywhere."""


def _read_epochs(fix: Fix, order) -> _Epochs:
    valid = fix.valid[order]
    covariance = fix.covariance[order][..., :2, :2] + _SMALLEST * np.eye(2)
    covariance = np.where(valid[..., None, None], covariance, np.eye(2))
    probability = np.where(valid, fix.probability[order], 0.0)
    probability = probability / np.maximum(probability.sum(axis=1, keepdims=True), 1e-300)
    with np.errstate(divide="ignore"):
        weight = np.log(probability) - 0.5 * np.log(np.linalg.det(covariance)) - np.log(2 * np.pi)
    detected = ~np.isin(fix.status[order], (FixStatus.NO_ECHO, FixStatus.UNEXPLAINED))
    place = np.where(valid[..., None], fix.position[order][..., :2], 0.0)
    precision = np.linalg.inv(covariance)
    return _Epochs(*map(jnp.asarray, (place, precision, weight, detected)))


def _log_density(epoch: _Epochs, place: Float[Array, "particle 2"]) -> Float[Array, " particle"]:
    difference = place[:, None] - epoch.place[None]
    square = jnp.einsum("npi,pij,npj->np", difference, epoch.precision, difference)
    return jax.nn.logsumexp(epoch.log_weight[None] - 0.5 * square, axis=1)


def _tracks(time, epochs: _Epochs, fix: Fix, area, settings, key) -> TargetTrack:
    """Start, run and end tracks, one after the other."""
    count, detected = len(time), np.asarray(epochs.detected)
    mean, covariance = np.zeros((count, 5)), np.zeros((count, 2, 2))
    track, status = np.full(count, -1), np.full(count, int(TargetStatus.NO_TRACK))
    mean[:, :2] = np.median(fix.best[:, :2], axis=0)
    outlier = np.log(settings.outlier_rate / area)

    def begin(first, key):
        return _new_cloud(jax.tree.map(lambda leaf: leaf[first], epochs), settings, key)

    def run(rows, first, cloud, key):
        part = jax.tree.map(lambda leaf: leaf[rows], epochs)
        found = _run(
            part, jnp.asarray(time[rows]), jnp.asarray(first), cloud, jnp.asarray(outlier),
            _accelerations(settings), key,
        )  # fmt: skip
        return tuple(np.asarray(item) for item in found)

    first, number = 0, 0
    while first < count:
        if not detected[first]:
            first += 1
            continue
        key, draw, go, anew = jax.random.split(key, 4)
        here, spread, explained, evidence = run(slice(0, count), first, begin(first, draw), go)
        last = _last_instant(time, explained, first, settings.max_coasting_time)
        wide = int(np.searchsorted(time, time[0] + settings.restart_window))
        for again in range(first + wide, last + 2 - wide, max(wide, 1)):
            if detected[again]:
                window = slice(again, again + wide)
                draw, go = jax.random.split(jax.random.fold_in(anew, again))
                more = run(window, 0, begin(again, draw), go)[3]
                # Before its first epoch a new start may be anywhere.
                if more[1:].sum() - np.log(area) > evidence[window].sum() + _FAR_BETTER:
                    last = again - 1
                    break
        rows = slice(first, last + 1)
        mean[rows], covariance[rows] = here[rows], spread[rows]
        track[rows] = number
        seen = explained[rows]
        status[rows] = np.where(seen, int(TargetStatus.FOLLOWED), int(TargetStatus.COASTING))
        first, number = last + 1, number + 1
    level = np.full((count, 1), np.median(fix.best[:, 2]))
    position = np.concatenate([mean[:, :2], level], axis=1)
    return TargetTrack(time, position, covariance, mean[:, 2:4], track, status)


def _last_instant(time, explained, first, max_coasting_time) -> int:
    """End a track at the last instant explained before it coasts for too long."""
    last = first
    for k in range(first, len(time)):
        if explained[k]:
            last = k
        elif time[k] - time[last] > max_coasting_time:
            return last
    return len(time) - 1


def _accelerations(settings) -> Float[Array, "2"]:
    """Give the range of the logarithm of a target's acceleration."""
    known = settings.acceleration_std
    return jnp.log(jnp.array(_ACCELERATIONS if known is None else (known, known), float))


def _new_cloud(epoch: _Epochs, settings, key) -> Cloud:
    """Draw particles from an epoch, with any speed and acceleration."""
    choose, shift, speed, push = jax.random.split(key, 4)
    size = (settings.particles,)
    _, spread = jnp.linalg.slogdet(epoch.precision)
    part = jax.random.categorical(choose, epoch.log_weight - 0.5 * spread, shape=size)
    root = jnp.linalg.cholesky(jnp.linalg.inv(epoch.precision))[part]
    inside = jnp.einsum("nij,nj->ni", root, jax.random.normal(shift, (*size, 2), root.dtype))
    moving = settings.speed_std * jax.random.normal(speed, (*size, 2), root.dtype)
    low, high = _accelerations(settings)
    sizes = jax.random.uniform(push, (*size, 1), root.dtype, low, high)
    return start_cloud(jnp.concatenate([epoch.place[part] + inside, moving, sizes], axis=1))


@jax.jit
def _run(
    epochs: _Epochs,
    time: Float[Array, " time"],
    first: Int[Array, ""],
    cloud: Cloud,
    outlier: Float[Array, ""],
    accelerations: Float[Array, "2"],
    key: PRNGKeyArray,
):
    """Run particles over all instants from the first on; before it they stand still."""

    def step(cloud, row):
        index, lag, epoch, key = row

        def move(key, state):
            draw = jax.random.normal(key, (state.shape[0], 3), state.dtype) * jnp.sqrt(lag)
            size = jnp.clip(state[:, 4:] + _CHANGE * draw[:, 2:], *accelerations)
            push = jnp.exp(size) * draw[:, :2]  # white: over a second it is the acceleration
            place = state[:, :2] + lag * state[:, 2:4] + 0.5 * lag * push
            return jnp.concatenate([place, state[:, 2:4] + push, size], axis=1)

        def weigh(state):
            held = jnp.logaddexp(_log_density(epoch, state[:, :2]), outlier)
            return jnp.where(epoch.detected, held, 0.0)

        moved, evidence = bootstrap_step(cloud, move, weigh, key=key)
        # The first instant made the cloud: it must not count twice.
        kept = jax.tree.map(lambda a, b: jnp.where(index > first, a, b), moved, cloud)
        weight = jnp.exp(kept.log_weight)
        mean = weight @ kept.state
        difference = kept.state[:, :2] - mean[None, :2]
        spread = (weight[:, None] * difference).T @ difference
        # More likely of the target than an outlier.
        explained = epoch.detected & ((evidence > outlier + jnp.log(2.0)) | (index == first))
        return kept, (mean, spread, explained, evidence)

    count = time.shape[0]
    lag = jnp.diff(time, prepend=time[:1])
    rows = (jnp.arange(count), lag, epochs, jax.random.split(key, count))
    return jax.lax.scan(step, cloud, rows)[1]


__getattr__ = former_names(__name__, {"Followed": TargetTrack, "FollowStatus": TargetStatus})
