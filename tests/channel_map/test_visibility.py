"""VisibilityModel knows that light goes along rays: an oblique shadow's edge, a closed form."""

import numpy as np
import pytest

from echoscape.channel_map.visibility import (
    NOT_REPORTED,
    VisibilityModel,
    learn_visibility,
    visibility_raster,
)

SOURCE = np.array([[-31.0, -17.0], [90.0, 140.0], [np.nan, np.nan]])
EDGE = np.array([0.7, -2.2, 0.0])  # direction of each shadow's edge from its source [rad]


def lit(place):
    """Tell whether a place is on the lit side of each edge."""
    away = place[:, None] - np.nan_to_num(SOURCE)
    turn = np.arctan2(away[..., 1], away[..., 0]) - EDGE
    return (turn + np.pi) % (2 * np.pi) - np.pi > 0


@pytest.fixture(scope="module")
def world():
    """Lay reports along bent streets; three paths, the third known at one place only."""
    rng = np.random.default_rng(3)
    place = rng.uniform(0, 60, size=(500, 2))
    rank = np.where(lit(place), rng.integers(0, 4, (500, 3)), NOT_REPORTED)
    rank[:, 2] = NOT_REPORTED
    rank[7, 2] = 1
    return place, rank


def predicted(world, source):
    model = learn_visibility(*world, source, reported_paths=5, neighbours=24)
    raster = visibility_raster(model, *world, source, step=2.0, margin=0.0, slots=3, neighbours=24)
    east, north = (np.arange(size) * raster.step for size in raster.slot.shape[:2])
    cells = np.stack(np.meshgrid(east, north, indexing="ij"), -1) + raster.corner
    chance = np.zeros((*cells.shape[:2], 3))
    for path in range(3):  # unused slots name path 0 with no chance
        chance[..., path] = np.where(raster.slot == path, raster.probability, 0.0).max(axis=-1)
    return model, cells.reshape(-1, 2), chance.reshape(-1, 3)


def loss(chance, truth):
    chance = np.clip(chance, 1e-4, 1 - 1e-4)
    return -np.mean(np.where(truth, np.log(chance), np.log1p(-chance)))


@pytest.mark.slow
def test_an_oblique_edge_is_followed_better_than_by_distance(world):
    model, cells, chance = predicted(world, SOURCE)
    _, _, plain = predicted(world, np.full_like(SOURCE, np.nan))
    truth = lit(cells)
    assert model.across > model.along + 0.7  # in logarithms
    assert loss(chance[:, :2], truth[:, :2]) < 0.75 * loss(plain[:, :2], truth[:, :2])


def test_an_end_of_the_light_along_the_rays_is_seen_by_range(world):
    place = world[0]
    source = SOURCE[:1]
    bright = lambda where: np.linalg.norm(where - source, axis=1) < 83.0  # noqa: E731
    rank = np.where(bright(place), 1, NOT_REPORTED)[:, None]
    level, slope = np.where(np.arange(13) < 5, 4.0, -4.0), np.zeros(13)

    def told(across, along):
        model = VisibilityModel(level, slope, *map(np.asarray, (across, along, 2.5)))
        raster = visibility_raster(
            model, place, rank, source, step=2.0, margin=0.0, slots=1, neighbours=12
        )
        east, north = (np.arange(size) * raster.step for size in raster.slot.shape[:2])
        cells = np.stack(np.meshgrid(east, north, indexing="ij"), -1) + raster.corner
        return loss(raster.probability[..., 0].ravel(), bright(cells.reshape(-1, 2)))

    assert told(across=-6.0, along=1.0) < 0.6 * told(across=1.0, along=-6.0)


def test_a_path_met_once_is_present_only_nearby(world):
    _, cells, chance = predicted(world, SOURCE)
    away = np.linalg.norm(cells - world[0][7], axis=1)
    assert chance[away < 1.5, 2].max() > 0.02
    assert chance[away > 25.0, 2].max() < 0.02


def test_chances_are_probabilities_and_sorted(world):
    model = learn_visibility(*world, SOURCE, reported_paths=5, neighbours=24)
    raster = visibility_raster(model, *world, SOURCE, step=3.0, margin=5.0, slots=2, neighbours=24)
    assert raster.slot.shape[-1] == 2
    assert np.all((raster.probability >= 0) & (raster.probability <= 1))
    assert np.all(np.diff(raster.probability, axis=-1) <= 0)


def test_one_report_or_none_heard_is_no_failure():
    place, rank = np.zeros((1, 2)), np.array([[0, NOT_REPORTED]])
    one = learn_visibility(place, rank, np.zeros((2, 2)), reported_paths=5, neighbours=8)
    raster = visibility_raster(
        one, place, rank, np.zeros((2, 2)), step=2.0, margin=4.0, slots=5, neighbours=8
    )
    assert raster.probability[..., 0].min() > 0.5
    silent = np.full((4, 2), NOT_REPORTED)
    many = learn_visibility(
        np.eye(4)[:, :2], silent, np.zeros((2, 2)), reported_paths=5, neighbours=8
    )
    empty = visibility_raster(
        many, np.eye(4)[:, :2], silent, np.zeros((2, 2)), step=2.0, margin=4.0, slots=5,
        neighbours=8,
    )  # fmt: skip
    assert not empty.probability.any()
