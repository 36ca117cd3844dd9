"""Bounces at the start, in a world of walls whose paths and echoes have a closed form."""

import dataclasses

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.tracking.echo_surface import StationEchoes
from echoscape.tracking.joint_start import (
    BounceClass,
    check_directions,
    joint_start,
)
from echoscape.units import wrap_angle
from tests.worlds.walls import GROUND, STATION, WALLS, image_path

USER = np.array([-14.0, -21.0, 1.3])
STD = np.array([0.3, *np.radians([1.0, 1.0, 0.5, 0.5])])
ANGLE_STD, RANGE_STD = np.radians(0.5), 0.15
SIDES = [WALLS[0], WALLS[1], WALLS[2], WALLS[3]]


def outward(count):
    """Spread directions evenly over the sphere."""
    k = np.arange(count) + 0.5
    up, around = 1 - 2 * k / count, np.pi * (3 - np.sqrt(5)) * k
    flat = np.sqrt(1 - up**2)
    return np.stack([flat * np.cos(around), flat * np.sin(around), up], axis=1)


def heard(generator=None, count=20000, station=STATION):
    """Hear the nearest plane in every direction, up to 20 m above the ground."""
    ahead = outward(count)
    reach = np.full(count, np.inf)
    for normal, offset in [*WALLS, GROUND]:
        with np.errstate(divide="ignore"):
            away = (offset - station @ normal) / (ahead @ normal)
        reach = np.minimum(reach, np.where(away > 0, away, np.inf))
    low = station[2] + reach * ahead[:, 2] < 20.0
    ahead, reach = ahead[low], reach[low]
    azimuth, zenith = np.arctan2(ahead[:, 1], ahead[:, 0]), np.arccos(ahead[:, 2])
    noise = (
        np.zeros((3, len(reach))) if generator is None else generator.normal(size=(3, len(reach)))
    )
    return StationEchoes(
        azimuth=wrap_angle(azimuth + ANGLE_STD * noise[0]),
        zenith=np.clip(zenith + ANGLE_STD * noise[1], 0, np.pi),
        range=reach + RANGE_STD * noise[2],
        angle_std=np.full(len(reach), ANGLE_STD),
        range_std=np.full(len(reach), RANGE_STD),
    )


def paths(user=USER):
    """Trace all paths of up to two bounces that the planes' extents allow: how often, and where."""
    found = [(0, *image_path(user, []))]
    for one in WALLS:
        found.append((1, *image_path(user, [one])))
        found.append((2, *image_path(user, [one, GROUND])))
        found += [(2, *image_path(user, [one, other])) for other in WALLS if other is not one]
    kept = []
    for bounces, measured, _, points in found:
        ends = np.array([STATION, *points, user])
        inside = all(p @ n - o < 1e-6 for p in ends for n, o in WALLS)
        forward = np.all(np.linalg.norm(np.diff(ends, axis=0), axis=1) > 0.5)
        length = np.linalg.norm(np.diff(ends, axis=0), axis=1).sum()
        if inside and forward and abs(length - measured[0]) < 1e-6:
            kept.append((bounces, measured, points))
    return kept


def test_without_errors_classes_and_bounces_are_exact():
    truth = paths()
    measured = np.array([m for _, m, _ in truth])
    tight = np.tile(STD / 30, (len(truth), 1))
    echoes = dataclasses.replace(
        heard(), angle_std=np.full(len(heard().range), 1e-4),
        range_std=np.full(len(heard().range), 5e-3),
    )  # fmt: skip
    user = np.tile(USER, (len(truth), 1))
    found = joint_start(echoes, measured, tight, STATION, user, user_std=1e-3)
    bounces = np.array([b for b, _, _ in truth])
    assert {0, 1, 2} <= set(bounces)
    assert np.array_equal(found.kind, bounces)
    assert np.all(found.class_error < 0.05)
    for k, (bounced, _, points) in enumerate(truth):
        if bounced == 0:
            assert np.isnan(found.first[k]).all()
            continue
        # a plane of echoes 1.4 degrees apart, none across an edge of two
        assert np.linalg.norm(found.first[k] - points[0]) < 0.3
        assert np.linalg.norm(found.last[k] - points[-1]) < 0.6


@pytest.mark.slow
def test_with_errors_places_and_classes_are_as_good_as_claimed():
    generator = np.random.default_rng(3)
    right, claimed, squared, least = [], [], [], []
    for shift in range(4):
        user = USER + np.array([4.0 * shift, 3.0 * shift, 0.0])
        truth = paths(user)
        exact = np.array([m for _, m, _ in truth])
        measured = exact + STD * generator.normal(size=exact.shape)
        std = np.tile(STD, (len(truth), 1))
        found = joint_start(heard(generator), measured, std, STATION,
                            np.tile(user, (len(truth), 1)))  # fmt: skip
        for k, (bounced, _, points) in enumerate(truth):
            right.append(found.kind[k] == bounced)
            claimed.append(found.class_error[k])
            if bounced and np.isfinite(found.first[k, 0]):
                apart = found.first[k] - points[0]
                squared.append(apart @ np.linalg.solve(found.first_covariance[k], apart))
                least.append(np.linalg.eigvalsh(found.first_covariance[k])[0])
    assert len(squared) > 25
    assert np.mean(right) >= 0.95
    assert np.mean(claimed) < 0.1
    assert np.mean(np.array(squared) < 7.81) >= 0.9  # 95 % of three degrees of freedom
    assert np.min(least) > 0


def test_echoes_that_lie_elsewhere_are_refused():
    truth = paths()
    measured = np.array([m for _, m, _ in truth if m[0] > 40.0])
    std = np.tile(STD, (len(measured), 1))
    whole = heard()
    up = whole.zenith > 2.6  # straight down, where no path leaves to
    few = StationEchoes(*(getattr(whole, f.name)[up] for f in dataclasses.fields(whole)))
    start = joint_start(few, measured, std, STATION, np.tile(USER, (len(measured), 1)))
    assert set(start.kind) <= {BounceClass.UNSEEN, BounceClass.DIRECT}
    with pytest.raises(InputError, match="paths leave towards an echo of the station; the echoes"):
        check_directions(start)
    with pytest.raises(InputError, match="ranges of a station's echoes must be above zero, in m"):
        dataclasses.replace(whole, range=-whole.range)
