"""Planes through a station's echoes, and what they reflect: a made crossing with a closed form."""

import dataclasses

import numpy as np
import pytest

from echoscape.tracking.echo_planes import SeenPath, find_planes, reflections
from echoscape.tracking.echo_surface import StationEchoes, unit_vectors
from tests.tracking.test_joint_start import STD, USER, heard, paths
from tests.worlds.walls import GROUND, STATION, WALLS, image_path


@pytest.fixture(scope="module")
def planes():
    return find_planes(heard(np.random.default_rng(0)))


def seen(measured):
    """A path as it was measured by the usual user."""
    return SeenPath(measured, STD, STATION, USER, np.full(3, 0.05))


def test_every_surface_is_one_plane_where_it_is(planes):
    found = planes.inverse / np.sum(planes.inverse**2, axis=1, keepdims=True)  # nearest points
    assert len(found) == 5
    for normal, offset in [*WALLS, GROUND]:
        foot = (offset - STATION @ normal) * normal
        away = found - foot
        k = np.argmin(np.linalg.norm(away, axis=1))
        # an echo at 60 m is 0.5 m off; hundreds of them, 0.05 m for what facets may differ
        assert np.linalg.norm(away[k] @ normal) < 0.1
        wrong = planes.inverse[k] - foot / (foot @ foot)
        assert wrong @ np.linalg.solve(planes.covariance[k], wrong) < 16.3  # 99.9 % of three


def test_errors_of_echoes_do_not_move_a_plane_that_is_met_at_a_small_angle():
    # least squares of 1 on noisy places would put it s^2/d farther away: 8 cm
    rng = np.random.default_rng(1)
    across, up = rng.uniform(-60, 60, 4000), rng.uniform(-8, 8, 4000)
    point = np.stack([np.full(4000, 4.0), across, up], 1)
    away = np.linalg.norm(point, axis=1)
    std = np.radians(0.5)
    noise = rng.normal(size=(3, 4000))
    echoes = StationEchoes(
        np.arctan2(point[:, 1], point[:, 0]) + std * noise[0],
        np.arccos(point[:, 2] / away) + std * noise[1],
        away + 0.15 * noise[2], np.full(4000, std), np.full(4000, 0.15),
    )  # fmt: skip
    found = find_planes(echoes)
    assert 1 / np.linalg.norm(found.inverse[0]) == pytest.approx(4.0, abs=0.02)


def test_reflections_are_placed_better_than_their_departure_tells(planes):
    rng = np.random.default_rng(2)
    off, rays, chance = [], [], []
    for bounces, exact, points in paths():
        if not bounces or min(point[2] for point in points) < 0.5:  # none by way of the ground
            continue
        normal, offset = next(w for w in WALLS if abs(points[0] @ w[0] - w[1]) < 1e-6)
        for _ in range(6):
            measured = exact + STD * rng.normal(size=5)
            found = reflections(planes, seen(measured), bounces)
            best = max(found, key=lambda each: each.log_density)
            off.append(best.first[0] - points[0])
            chance.append(off[-1] @ np.linalg.solve(best.first[1], off[-1]))
            assert np.linalg.eigvalsh(best.last[1])[0] > 0
            ray = unit_vectors(measured[3], measured[4])  # and the exact wall
            rays.append(STATION + (offset - STATION @ normal) / (ray @ normal) * ray - points[0])
    assert len(off) >= 24
    assert np.linalg.norm(off) < 0.9 * np.linalg.norm(rays)
    assert np.mean(chance) < 3.5  # three where honest, less for what is allowed for facets


def test_a_path_that_nothing_reflects_is_left_alone(planes):
    exact, _, _ = image_path(USER, [WALLS[0]])
    exact[0] += 25.0
    assert reflections(planes, seen(exact), 1) == []


def test_few_echoes_make_no_plane():
    whole = heard()
    few = StationEchoes(*(getattr(whole, f.name)[:5] for f in dataclasses.fields(whole)))
    nothing = find_planes(few)
    assert len(nothing.inverse) == 0
    assert reflections(nothing, seen(image_path(USER, [WALLS[0]])[0]), 1) == []
