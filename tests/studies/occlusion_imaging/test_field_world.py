"""Worlds that are not as stated: what differs is what the setting says; scores count right."""

import numpy as np
import pytest

from echoscape.imaging import ImageStatus, VoxelImage
from echoscape.imaging.problem import estimate_channels
from echoscape.studies.occlusion_imaging.field_world import (
    POINTS,
    make_field_world,
    score_points,
)
from echoscape.studies.occlusion_imaging.study import measure, point_name, summary
from tests.imaging.test_voxel_image import GOOD

SMALL = {"shape": [6, 6, 4], "users": 6, "stations": 3, "scatterers": 6, "seed": 4, "snr_db": 60.0}


def channels(setting):
    world = make_field_world(SMALL | setting)
    return world, estimate_channels(world.snapshots)[0]


def test_users_phases_gains_and_clocks_multiply_channels():
    _, clean = channels({"tones": 4})
    for setting, is_one in (
        ({"user_phase": True}, False),
        ({"user_gain_db": 3.0}, False),
        ({"clock_error": 1e-9}, False),
        ({"station_phase": True}, True),
    ):
        world, other = channels({"tones": 4, **setting})
        ratio = other / clean
        across = ratio[0] if is_one else np.moveaxis(ratio[0], 0, 1)
        # The same for all antennas that share it; noise is 60 dB below.
        assert np.allclose(across, across.mean(0), rtol=0.3), setting
        turn = np.angle(ratio.mean((2, 3)))
        if "clock_error" in setting:
            step = np.angle(np.exp(1j * np.diff(turn, axis=0)))
            spacing = np.diff(world.snapshots.frequency)[0]
            clock = -step.mean(0) / (2 * np.pi * spacing)
            assert np.ptp(clock) > 0.5e-9
            assert np.allclose(step, step.mean(0), atol=0.05)
            assert np.all(world.snapshots.user_clock_std == 1e-9)
        if "user_gain_db" in setting:
            assert np.std(20 * np.log10(np.abs(ratio.mean((0, 2, 3))))) > 1.0
            assert world.unknown == ("gain",)


def test_positions_and_noise_are_stated_wrong():
    world, _ = channels({"user_error": 0.1, "noise_factor": 10.0})
    away = world.snapshots.user_position - world.user
    assert 0.03 < np.std(away) < 0.3
    exact, _ = channels({})
    wrong, right = (one.snapshots.noise_variance or 0.0 for one in (world, exact))
    assert np.isclose(wrong, 10 * right, rtol=1e-9, atol=0)
    assert channels({"noise_factor": None})[0].snapshots.noise_variance is None


def test_a_mirror_adds_its_share_of_power():
    _, clean = channels({})
    _, other = channels({"mirror_db": -10.0})
    share = np.sum(np.abs(other - clean) ** 2) / np.sum(np.abs(clean) ** 2)
    # One part in ten for every user; pilots weigh users by what they receive.
    assert 0.03 < share < 0.3


@pytest.mark.parametrize(
    ("body", "count"), [("box", 18), ("wall", 20), ("hollow", 44), ("corner", 21)]
)
def test_bodies_are_two_of_a_kind(body, count):
    world = make_field_world({"shape": [12, 12, 6], "seed": 9, "body": body, "users": 4})
    occupied = int(np.sum(world.truth.coefficient != 0))
    assert count <= occupied <= 2 * count


def test_scores_count_points_once_and_within_half_an_edge():
    world, _ = channels({"off_grid": 0.3})
    seen = world.place[world.in_range]
    blank = np.zeros(world.grid.shape)

    def scored(point):
        count = len(point)
        image = VoxelImage(
            grid=world.grid, mean=blank, variance=blank, occupancy=blank, unseen=blank > 0,
            visibility=np.ones((9, *world.grid.shape), bool), noise_variance=1.0, iterations=1,
            status=ImageStatus.CONVERGED, certificate=GOOD, point_position=point,
            point_covariance=np.zeros((count, 3, 3)), point_coefficient=np.ones(count),
        )  # fmt: skip
        return score_points(world, image)

    assert scored(seen)["f1"] == 1.0
    twice = scored(np.concatenate([seen, seen[:1] + 0.1]))
    assert np.isclose(twice["f1"], 2 * len(seen) / (2 * len(seen) + 1))
    assert scored(seen + np.array([0.0, 0.0, 10.0]))["f1"] == 0.0
    assert np.isclose(scored(seen + np.array([0.0, 0.02, 0.0]))["position_error"], 0.02)


@pytest.mark.slow
def test_a_world_of_the_field_is_measured_with_what_is_chosen():
    name = "8 tones, users 10 cm"
    setting = {**POINTS[name], **SMALL, "snr_db": 20.0, "users": 10, "stations": 4, "field": name}
    (row,) = measure(setting)
    assert row["method"] == "chosen"
    assert row["f1"] > 0.9
    assert row["user_error_found"] < 0.05
    (line,) = summary([setting | row])
    assert line["point"] == point_name(setting) == name
    assert line["above_genie_db"] is None


@pytest.mark.slow
def test_bodies_are_imaged_by_the_surface_prior_as_well():
    name = "8 tones, walls"
    setting = {**POINTS[name], "seed": 400, "field": name}
    chosen, prior = measure(setting)
    assert (chosen["method"], prior["method"]) == ("chosen", "surface prior")
    assert prior["f1"] > max(0.95, chosen["f1"])
    assert {line["method"] for line in summary([setting | chosen, setting | prior])} == {
        "chosen", "surface prior",
    }  # fmt: skip
