"""A target that moves, followed through the map: particles of place and velocity.

Between two instants a target keeps its velocity but for a random acceleration; at each, the
echoes of every station weigh the particles by how well the map's paths there match (the
likelihood that the grid of `localize` uses, so targets in sight, out of sight and in between go
the same way).  A track starts from that grid, ends when the map has explained nothing for a
while, and another may start then.  A track that began on a false mode is given up as soon as one
that begins anew explains a second of echoes far better.

Takes `Echoes` of one target over time and a `ChannelMap` for each station.
Gives `Followed`.
"""

import enum
import math
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int, PRNGKeyArray

from echoscape.channel_map import ChannelMap
from echoscape.checks import Refusal
from echoscape.localization.cell_features import UNKNOWN, cell_features, features_at
from echoscape.localization.echo_sets import group_sets, sets_of_targets
from echoscape.localization.grid import lay_cells, score_way
from echoscape.localization.grouping import EchoModel, EchoSet, OneWayPaths
from echoscape.localization.search import SearchSettings, height_range
from echoscape.numerics.particles import Cloud, bootstrap_step, start_cloud
from echoscape.reports import Echoes

# Log-evidence of a new start over a track, for the track to be given up: of false modes it was a
# hundred and more within a second of ten looks, of single odd looks up to thirty.
_FAR_BETTER = 50.0


class FollowStatus(enum.IntEnum):
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
    acceleration_std: float = pydantic.Field(default=1.0, gt=0)
    """Random acceleration in each coordinate, over a second [m/s^2]."""
    speed_std: float = pydantic.Field(default=3.0, gt=0)
    """Speed expected of a new target, in each coordinate [m/s]."""
    patience: float = pydantic.Field(default=1.0, gt=0)
    """How long a track goes on without echoes that the map explains [s]."""
    rival: float = pydantic.Field(default=1.0, gt=0)
    """How long a new start must explain the echoes far better to end the track [s]."""


class Followed(eqx.Module):
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
    """A `FollowStatus`."""


def follow(
    echoes: Echoes,
    maps: ChannelMap | Mapping[str, ChannelMap],
    *,
    key: PRNGKeyArray,
    height: float | None = None,
    settings: FollowSettings | None = None,
    search: SearchSettings | None = None,
) -> Followed:
    """Follow one target through the maps of the stations that hear it.

    Args:
        echoes: Echoes of one target: one number of target and one time for each instant.
        maps: The map, or one for each station by name.
        key: Random key of the particles.
        height: Height of the target [m]; the reports' own by default.
        settings: How it moves.
        search: The grid that tracks start from.

    Raises:
        Refusal: There is no echo, a station has no map, or times do not rise.
    """
    settings, search = settings or FollowSettings(), search or SearchSettings()
    if isinstance(maps, ChannelMap):
        maps = {maps.station: maps}
    ways = echoes.ways()
    used = list(dict.fromkeys(name for way in ways for name in way))
    if not used or not np.asarray(echoes.estimates.valid).any():
        raise Refusal("there are no echoes to follow a target by; the set is empty")
    for name in used:
        if name not in maps:
            raise Refusal(f"the echoes are of station {name!r}, of which there is no map; fit one")
    target, sets = sets_of_targets(echoes, ways)
    time = np.zeros(len(target))
    time[np.searchsorted(target, echoes.target)] = echoes.time
    order = np.argsort(time, kind="stable")
    if np.any(np.diff(time[order]) <= 0):
        raise Refusal(
            "a target that moves needs one number of target and one time [s] for each instant; two "
            "instants have the same time"
        )
    station_maps = [maps[name] for name in used]
    low, _ = height_range(station_maps, height)
    guess = EchoModel(*(jnp.asarray(x, float) for x in (search.detection, 0.1, 0.25, 0.0)))
    own = [out == back for out, back in ways]
    grouped = [
        group_sets(each, guess, search.chunk) if one else each for each, one in zip(sets, own)
    ]
    heard = [jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[order]), g) for g in grouped]
    cells = lay_cells(station_maps, low, low, search)
    looks = [maps[out] if out == back else (maps[out], maps[back]) for out, back in ways]
    return _tracks(time[order], looks, heard, guess, cells.place, low, settings, search.cell, key)


def _tracks(time, looks, heard, model, place, level, settings, cell, key) -> Followed:
    """Start, run and end tracks, one after the other."""
    features = [_ask(look, lambda one: cell_features(one, np.asarray(place))) for look in looks]
    count = len(time)
    mean, covariance = np.zeros((count, 4)), np.zeros((count, 2, 2))
    track, status = np.full(count, -1), np.full(count, int(FollowStatus.NO_TRACK))
    some = np.any([np.asarray(h.valid).any(axis=1) for h in heard], axis=0)
    mean[:, :2] = np.asarray(place)[:, :2].mean(axis=0)
    place = np.asarray(place)
    half = jnp.float32(cell**2 / 8)

    def start(first, key):
        """Begin a track anew; give its cloud and the evidence of its first instant, if any."""
        now = [jax.tree.map(lambda leaf: leaf[first], h) for h in heard]
        score = sum(score_way(f, h, model, half) for f, h in zip(features, now))
        score = np.asarray(score, float)
        if not some[first] or score.max() <= float(_null(now)):
            return None, -np.inf
        evidence = np.logaddexp.reduce(score) - np.log(len(score))
        return _new_cloud(place, score, cell, settings, key), evidence

    def run(rows, first, cloud, key):
        part = [jax.tree.map(lambda leaf: leaf[rows], h) for h in heard]
        found = _run(
            looks, part, model, jnp.asarray(time[rows]), jnp.asarray(first), cloud,
            jnp.asarray(level, float), jnp.asarray(settings.acceleration_std, float), key,
        )  # fmt: skip
        return tuple(np.asarray(item) for item in found)

    first, number = 0, 0
    while first < count:
        key, draw, go, *rest = jax.random.split(key, 5)
        cloud, _ = start(first, draw)
        if cloud is None:
            first += 1
            continue
        here, spread, explained, evidence = run(slice(0, count), first, cloud, go)
        last = _last_instant(time, explained, first, settings.patience)
        wide = int(np.searchsorted(time, time[0] + settings.rival))
        for again in range(first + wide, last + 2 - wide, max(wide, 1)):
            window = slice(again, again + wide)
            rival, told = start(again, jax.random.fold_in(rest[0], again))
            if rival is not None:
                more = run(window, 0, rival, jax.random.fold_in(rest[1], again))[3]
                if told + more[1:].sum() > evidence[window].sum() + _FAR_BETTER:
                    last = again - 1
                    break
        rows = slice(first, last + 1)
        mean[rows], covariance[rows] = here[rows], spread[rows]
        track[rows] = number
        seen = explained[rows]
        status[rows] = np.where(seen, int(FollowStatus.FOLLOWED), int(FollowStatus.COASTING))
        first, number = last + 1, number + 1
    position = np.concatenate([mean[:, :2], np.full((count, 1), level)], axis=1)
    return Followed(time, position, covariance, mean[:, 2:], track, status)


def _ask(look, question):
    """Ask the map of a way, or both."""
    return tuple(map(question, look)) if isinstance(look, tuple) else question(look)


def _null(now: list[OneWayPaths | EchoSet]) -> Float[Array, ""]:
    """Score of a place where the map knows none of the paths and expected none."""
    count = [jnp.sum(h.valid) for h in now if isinstance(h, OneWayPaths)]
    return math.log(UNKNOWN) * sum(count, jnp.zeros(()))


def _last_instant(time, explained, first, patience) -> int:
    """End a track at the last instant that was explained before a silence longer than patience."""
    last = first
    for k in range(first, len(time)):
        if explained[k]:
            last = k
        elif time[k] - time[last] > patience:
            return last
    return len(time) - 1


def _new_cloud(place, score, cell, settings, key) -> Cloud:
    choose, shift, speed = jax.random.split(key, 3)
    size = (settings.particles,)
    index = np.asarray(jax.random.categorical(choose, jnp.asarray(score), shape=size))
    inside = cell * (jax.random.uniform(shift, (*size, 2)) - 0.5)
    moving = settings.speed_std * jax.random.normal(speed, (*size, 2))
    return start_cloud(jnp.concatenate([jnp.asarray(place[index, :2]) + inside, moving], axis=1))


@eqx.filter_jit
def _run(
    looks: list[ChannelMap | tuple[ChannelMap, ChannelMap]],
    heard: list[OneWayPaths | EchoSet],
    model: EchoModel,
    time: Float[Array, " time"],
    first: Int[Array, ""],
    cloud: Cloud,
    level: Float[Array, ""],
    acceleration: Float[Array, ""],
    key: PRNGKeyArray,
):
    """Run particles over all instants from the first on; before it they stand still."""

    def weigh(state, now):
        place = jnp.concatenate([state[:, :2], jnp.full_like(state[:, :1], level)], axis=1)
        scores = [
            score_way(_ask(look, lambda m: features_at(m, place)), h, model, jnp.float32(0.0))
            for look, h in zip(looks, now)
        ]
        return sum(scores[1:], scores[0]).astype(state.dtype)

    def step(cloud, row):
        index, lag, now, key = row
        heard_any = jnp.any(jnp.stack([jnp.any(h.valid) for h in now]))
        null = _null(now)

        def move(key, state):
            push = acceleration * jax.random.normal(key, (state.shape[0], 2), state.dtype)
            push = push * jnp.sqrt(lag)  # white acceleration: over a second it is `acceleration`
            place = state[:, :2] + lag * state[:, 2:] + 0.5 * lag * push
            return jnp.concatenate([place, state[:, 2:] + push], axis=1)

        def told(state):
            return jnp.where(heard_any, weigh(state, now), 0.0)

        moved, evidence = bootstrap_step(cloud, move, told, key=key)
        # The first instant made the cloud: it must not count twice.
        kept = jax.tree.map(lambda a, b: jnp.where(index > first, a, b), moved, cloud)
        weight = jnp.exp(kept.log_weight)
        mean = weight @ kept.state
        apart = kept.state[:, :2] - mean[None, :2]
        spread = (weight[:, None] * apart).T @ apart
        explained = heard_any & ((evidence > null) | (index == first))
        return kept, (mean, spread, explained, evidence)

    count = time.shape[0]
    lag = jnp.diff(time, prepend=time[:1])
    rows = (jnp.arange(count), lag, heard, jax.random.split(key, count))
    return jax.lax.scan(step, cloud, rows)[1]
