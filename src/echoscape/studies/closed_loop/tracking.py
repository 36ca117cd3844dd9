"""Study part `tracking`: a map that begins with what a walk through the streets has shown.

One user, whose place is known at the start alone, walks along a street and into another.  A filter
follows the static points around it, and it with them; so its observations are reports, from where
it is believed to have been, and the points are where the map begins.  Reports of users elsewhere
along the streets come later.  Targets stand near the walk; their echoes come unordered.

Takes a setting.
Gives rows: one for every start of a map.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from echoscape.channel_map import fit_map
from echoscape.localization import FixStatus, localize
from echoscape.reports import Observations, Reports
from echoscape.reports.echo_making import make_echoes
from echoscape.scene import StaticPoints
from echoscape.studies.isac_channel.walks import SCENES, TURN, trace_walk
from echoscape.studies.isac_channel.world import observe_route
from echoscape.studies.nlos_ckm.square import summary
from echoscape.studies.sweep import Row, Setting
from echoscape.tracking import track

_ECHO_ANGLE, _ECHO_DELAY = 0.05, 5e-9
_STATION = "bs-1"
_STREET = np.array([(-60.0, -3.0), (2.0, -1.0), (4.0, 35.0)])  # where users and targets are
_ASIDE, _HEIGHT = 4.0, 1.3
_USERS = 100  # who report beside the walk, at most
_FEWEST = 3  # paths of a target


class Walk(NamedTuple):
    """What the walk has shown, and what came of it."""

    observations: Observations
    """Of the walk."""
    position: Float[np.ndarray, "time 3"]
    """Where the user is during it [m]."""
    velocity: Float[np.ndarray, "time 3"]
    """How fast [m/s]."""
    user_error: Float[np.ndarray, " time"]
    """Error of where the user is believed to be [m]."""
    points: StaticPoints
    """Static points that were followed."""
    reports: Reports
    """Observations of the walk from where the user is believed to be, then other users'."""
    targets: Reports
    """Targets, by the exact paths that a user in their place would have."""


def points(quick: bool, seed: int = 0) -> list[Setting]:
    """List numbers of other users' reports.

    Args:
        quick: No other users, and few targets.
        seed: Seed of the first walk.
    """
    counts = (0,) if quick else (0, 3, 10, 30)
    return [
        {"part": "tracking", "reports": count, "rate": 2.0, "targets": 8 if quick else 60,
         "seed": seed + walk}
        for walk in range(1 if quick else 2)
        for count in counts
    ]  # fmt: skip


def measure(setting: Setting) -> list[Row]:
    """Fit the station's map with each start and locate all targets."""
    walk = make_walk(setting["seed"], setting["rate"])
    targets = walk.targets[: setting["targets"]]
    key = jax.random.key(setting["seed"])
    echoes = make_echoes(targets, key, angle_std=_ECHO_ANGLE, delay_std=_ECHO_DELAY).echoes
    steps, count = len(walk.observations), setting["reports"]
    users = walk.reports[steps : steps + count]
    rows: list[Row] = []
    for method, reports, start in (
        ("no start", users, None),
        ("tracked points", users, walk.points),
        ("tracked walk", walk.reports[: steps + count], walk.points),
    ):
        row: Row = {"method": method}
        rows.append(row)
        if not len(reports):
            row["status"] = "no map"
            continue
        fix = localize(echoes, fit_map(reports, start=start, key=key))
        error = np.linalg.norm((fix.best - targets.position)[:, :2], axis=1)
        row["located"] = float(np.mean(fix.status == FixStatus.LOCATED))
        row |= summary(error)
    return rows


@functools.lru_cache(maxsize=1)
def make_walk(seed: int, rate: float) -> Walk:
    """Walk, follow the walk, and let others report.

    Args:
        seed: Of everything random.
        rate: Instants a second [Hz].
    """
    rng = np.random.default_rng([seed, 23])
    mesh, station, (time, place, velocity) = SCENES["street"](rate)
    other = _along_the_street(rng, 4 * _USERS)
    steps = len(time)
    whole = trace_walk(
        mesh, station, np.r_[time, time[-1] + 1.0 + np.arange(len(other))],
        np.concatenate([place, other]), np.concatenate([velocity, 0 * other]),
    )  # fmt: skip
    seen = observe_route(whole, rng)
    observations = seen[:steps]
    tracks = track(observations, station, start=place[0], start_velocity=velocity[0])
    believed = np.asarray(tracks.record.user)[:, :3]
    covariance = np.asarray(tracks.record.user_covariance)
    std = np.sqrt(0.5 * (covariance[:, 0, 0] + covariance[:, 1, 1]))
    exact = observe_route(
        whole, rng, length_std=0.0, departure_std=0.0, arrival_std=0.0, missed=0.0, false=0.0
    )
    some = np.flatnonzero(np.sum(whole.power > 0, axis=1) >= _FEWEST)
    some = some[some >= steps + _USERS]
    at = np.concatenate([believed, other])
    spread = np.concatenate([std, np.zeros(len(other))])
    return Walk(
        observations, place, velocity, np.linalg.norm(believed - place, axis=1),
        tracks.static_points(), _reports(seen, at, spread, station),
        _reports(exact, at, spread, station)[some],
    )  # fmt: skip


def _along_the_street(rng: np.random.Generator, count: int) -> Float[np.ndarray, "place 3"]:
    """Draw places beside the walk's two streets."""
    leg = np.diff(_STREET, axis=0)
    length = np.linalg.norm(leg, axis=1)
    which = rng.choice(len(leg), count, p=length / length.sum())
    ahead = leg[which] / length[which, None]
    level = _STREET[which] + rng.uniform(size=(count, 1)) * leg[which]
    left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    level = level + rng.uniform(-_ASIDE, _ASIDE, (count, 1)) * left
    return np.c_[level @ TURN.T, np.full(count, _HEIGHT)]


def _reports(seen: Observations, place, std, station) -> Reports:
    count = len(place)
    reports = Reports(
        seen.estimates, place, std, np.asarray(seen.time), np.arange(count),
        np.zeros(count, int), station[None], (_STATION,),
    )  # fmt: skip
    reports.mark_judged()
    return reports
