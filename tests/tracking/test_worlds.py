"""The joint filter in a family of worlds: error, honesty and statuses, each against its limit.

Thresholds of the filter were not chosen on these scenes.
"""

import dataclasses

import equinox as eqx
import numpy as np
import pytest

from echoscape.studies.isac_channel.truth import kept_assignments, sample_truth
from echoscape.studies.isac_channel.walks import scene_route
from echoscape.studies.isac_channel.world import observe_route
from echoscape.tracking import JointFilter, UserStatus, track
from echoscape.units import SPEED_OF_LIGHT, wrap_angle

FILTER = JointFilter(slots=24, suspect_clock=False)
INSTANTS, PATHS = 950, 20
"""All scenes are laid out alike, so that one compilation serves them."""


def laid_out(route):
    """Pad a route with instants without a path, and keep the strongest paths."""
    more = INSTANTS - len(route.time)
    assert more >= 0
    step = route.time[1] - route.time[0]
    width = max(PATHS, route.power.shape[1])
    paths = ((0, more), (0, width - route.power.shape[1]))
    return dataclasses.replace(
        route,
        time=route.time[0] + step * np.arange(INSTANTS),
        position=np.pad(route.position, ((0, more), (0, 0)), "edge"),
        velocity=np.pad(route.velocity, ((0, more), (0, 0)), "edge"),
        path=np.pad(route.path, (*paths, (0, 0)))[:, :PATHS],
        power=np.pad(route.power, paths)[:, :PATHS],
    )


def tracks_of(name, filter, seed=0, missed=0.05, false=0.02, clock=0.0, heading=0.0):
    """Follow a scene's walk, the user's clock [m] and heading [rad] off; give tracks and walk."""
    whole = scene_route(name)
    route = laid_out(whole)
    seen = observe_route(route, np.random.default_rng([seed, 7]), missed=missed, false=false)
    seen.user_known[:] = False
    paths = seen.estimates
    azimuth = wrap_angle(paths.arrival_azimuth + heading * paths.valid)
    length = paths.length + clock * paths.valid
    seen = eqx.tree_at(
        lambda s: (s.estimates.length, s.estimates.arrival_azimuth), seen, (length, azimuth)
    )
    found = track(
        seen, route.station, filter, start=route.position[0], start_velocity=route.velocity[0]
    )
    return found, whole


def follow(name, filter):
    """Follow a scene's walk; give statuses, errors and claimed covariance of its instants."""
    found, whole = tracks_of(name, filter)
    held = slice(len(whole.time))
    wrong = np.asarray(found.record.user)[held, :3] - whole.position
    return found.user_status[held], wrong, np.asarray(found.record.user_covariance)[held, :2, :2]


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


@dataclasses.dataclass(frozen=True)
class Limit:
    """What must hold of a scene; comments say where that is not yet what is wanted."""

    motion: str
    level: float
    nees: float
    height: float | None = None


SCENE_LIMITS = {
    "room": Limit("pedestrian", 0.05, 3.0),
    "corridor": Limit("pedestrian", 0.10, 3.0),
    "street": Limit("pedestrian", 0.2, 3.0),
    "into_shadow": Limit("pedestrian", 0.3, 3.0),
    "car": Limit("vehicle", 0.35, 4.0),
    # wanted: 0.30 m in both; half of the flight has line of sight alone, at 160 m, where 0.5 and 1
    # degree claim 0.5 m
    "uav": Limit("uav", 0.55, 4.0, 0.4),
}
"""Motion profile, and limits of level error [m], NEES and height error [m]."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENE_LIMITS)
def test_every_scene_is_followed_honestly(name):
    limit = SCENE_LIMITS[name]
    status, wrong, covariance = follow(name, FILTER.with_motion(limit.motion))
    level = np.linalg.norm(wrong[:, :2], axis=1)
    std = np.sqrt(np.trace(covariance, axis1=1, axis2=2))
    tracked = status == UserStatus.TRACKED
    bad = (level > 3) & (level > 3 * std) & tracked
    squared = np.einsum("ti,tij,tj->t", wrong[:, :2], np.linalg.inv(covariance), wrong[:, :2])
    print(f"{name}: {rms(level):.3f} m level, {rms(wrong[:, 2]):.3f} m height, "
          f"NEES {squared.mean():.2f}, bad {bad.mean():.3f}, tracked {tracked.mean():.2f}, "
          f"unflagged {rms(level[tracked]):.3f} m")  # fmt: skip
    assert bad.mean() <= 0.01
    # 2 is honest; errors of one walk last for seconds, so its mean scatters by about one
    assert squared.mean() < limit.nees
    assert rms(level) < limit.level
    if limit.height is not None:
        assert rms(wrong[:, 2]) < limit.height


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "off"), [("clock", 10e-9 * SPEED_OF_LIGHT), ("heading", np.radians(3.0))]
)
def test_what_is_off_and_not_declared_is_said_within_seconds_of_sight(what, off):
    filter = dataclasses.replace(FILTER, suspect_clock=True)
    found, whole = tracks_of("street", filter, **{what: off})
    flagged = np.flatnonzero(found.user_status != UserStatus.TRACKED)
    assert whole.time[flagged[0]] - whole.time[0] < 5.0  # in sight from the start
    held = slice(50, len(whole.time))
    assert (found.user_status[held] != UserStatus.TRACKED).mean() > 0.9
    named = [f"try unknown {what}" in each for each in np.array(found.reason)[held]]
    assert np.mean(named) > 0.5, set(found.reason)


@pytest.mark.slow
def test_the_walk_through_the_sample_city_is_followed_and_keeps_its_paths():
    truth, _ = sample_truth(None)
    route = truth.route
    seen = observe_route(route, np.random.default_rng([0, 100]), missed=0.1, false=0.05)
    found = track(
        seen, route.station, FILTER, start=route.position[0],
        start_velocity=route.velocity[0],
    )  # fmt: skip
    wrong = np.asarray(found.record.user)[:, :2] - route.position[:, :2]
    covariance = np.asarray(found.record.user_covariance)[:, :2, :2]
    squared = np.einsum("ti,tij,tj->t", wrong, np.linalg.pinv(covariance), wrong)
    level = np.linalg.norm(wrong, axis=1)
    kept, total = kept_assignments(found, truth)
    print(f"city: {rms(level):.3f} m, worst {level.max():.2f} m, NEES {squared.mean():.2f}, "
          f"kept {kept / total:.3f}, {found}")  # fmt: skip
    assert rms(level) < 0.7  # the requirement T3 of the study
    assert kept / total > 0.9
    assert squared.mean() < 4.5
