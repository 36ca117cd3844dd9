"""The joint filter in a family of worlds: error, honesty and statuses, each against its limit.

Thresholds of the filter were not chosen on these scenes.
"""

import numpy as np
import pytest

from echoscape.studies.isac_channel.truth import kept_assignments, sample_truth
from echoscape.studies.isac_channel.world import observe_route
from echoscape.tracking import JointFilter, UserStatus, track
from tests.worlds.routes import scene_route


def follow(name, filter, seed=0, missed=0.05, false=0.02, noise=1.0, start=0.0):
    """Follow a scene's walk; give errors, squared normalised errors and statuses."""
    route = scene_route(name)
    seen = observe_route(
        route, np.random.default_rng([seed, 7]), missed=missed, false=false,
        length_std=0.3 * noise, departure_std=0.5 * noise, arrival_std=1.0 * noise,
    )  # fmt: skip
    shift = np.array([start, 0.0, 0.0])
    seen.user_known[:] = False
    found = track(
        seen, route.station, filter, start=route.position[0] + shift,
        start_velocity=route.velocity[0],
    )  # fmt: skip
    user = np.asarray(found.record.user)[:, :3]
    wrong = user - route.position
    covariance = np.asarray(found.record.user_covariance)[:, :2, :2]
    squared = np.einsum("ti,tij,tj->t", wrong[:, :2], np.linalg.inv(covariance), wrong[:, :2])
    return found, wrong, squared


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


SCENE_LIMITS = {
    "room": ("pedestrian", 0.06, None),
    "corridor": ("pedestrian", 0.12, None),
    "street": ("pedestrian", 0.25, None),
    "into_shadow": ("pedestrian", 0.35, None),
    "car": ("vehicle", 0.45, None),
    "uav": ("uav", 0.35, 0.35),
}
"""Motion profile, limits of the level error and of the height [m]."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENE_LIMITS)
def test_every_scene_is_followed_honestly(name):
    motion, limit, height_limit = SCENE_LIMITS[name]
    found, wrong, squared = follow(name, JointFilter(suspect_clock=False).with_motion(motion))
    level = np.linalg.norm(wrong[:, :2], axis=1)
    std = np.sqrt(np.trace(np.asarray(found.record.user_covariance)[:, :2, :2], axis1=1, axis2=2))
    bad = (level > 3) & (level > 3 * std) & (found.user_status == UserStatus.TRACKED)
    print(f"{name}: {rms(level):.3f} m level, {rms(wrong[:, 2]):.3f} m height, "
          f"NEES {squared.mean():.2f}, bad {bad.mean():.3f}, {found}")  # fmt: skip
    assert not bad.any()
    # 2 is honest; errors of one walk last for seconds, so its mean scatters by about one
    assert squared.mean() < 4.5
    assert rms(level) < limit
    if height_limit is not None:
        assert rms(wrong[:, 2]) < height_limit


@pytest.mark.slow
def test_the_walk_through_the_sample_city_is_followed_and_keeps_its_paths():
    truth, _ = sample_truth(None)
    route = truth.route
    seen = observe_route(route, np.random.default_rng([0, 100]), missed=0.1, false=0.05)
    found = track(
        seen, route.station, JointFilter(suspect_clock=False), start=route.position[0],
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
