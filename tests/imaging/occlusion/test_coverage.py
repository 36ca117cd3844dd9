"""Coverage: lengths by sampling, one segment against Monte Carlo, the yardstick in closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.imaging.occlusion.coverage import (
    hidden_from_all,
    least_squares_error,
    length_inside,
    segment_hidden,
    unseen,
)
from echoscape.imaging.simulation import open_segments
from echoscape.scene.voxel_grid import VoxelGrid
from tests.worlds.voxel_scenes import GRID


def test_the_length_inside_is_that_of_a_thousand_small_steps():
    generator = np.random.default_rng(0)
    start, end = generator.uniform(-6, 12, (2, 40, 3))
    found = np.asarray(length_inside(GRID, jnp.asarray(start), jnp.asarray(end)))
    part = (np.arange(4000) + 0.5) / 4000
    steps = start[:, None] + part[None, :, None] * (end - start)[:, None]
    inside = np.all((steps > np.array(GRID.origin)) & (steps < np.array(GRID.upper)), axis=-1)
    length = np.linalg.norm(end - start, axis=-1)
    assert np.allclose(found, inside.mean(1) * length, atol=2 * 20 / 4000)
    assert (found > 0).any()
    assert (found == 0).any()


def test_along_an_axis_outside_the_box_nothing_is_inside():
    start = jnp.array([[0.0, 0.0, 0.0], [0.0, 3.0, 1.0]])
    end = jnp.array([[5.0, 0.0, 0.0], [3.0, 3.0, 1.0]])
    assert jnp.allclose(length_inside(GRID, start, end), jnp.array([0.0, 3.0]))


@pytest.mark.slow
@pytest.mark.parametrize("views", [1, 2])
def test_hidden_shares_match_monte_carlo(views):
    """One segment to 12 %: the voxel at its end fills half an edge of it and does not hide itself.

    Two users to the 30 % that independence is good for.
    """
    grid, rate, radius = VoxelGrid((0.0, 0.0, 0.0), (12, 11, 9), 1.0), 0.03, 0.5
    places = np.array([[-4.3, 5.2, 7.1], [14.7, 1.3, 3.9]])[:views]
    generator = np.random.default_rng(1)
    hidden = []
    for _ in range(60):
        occupied = np.flatnonzero(generator.uniform(size=grid.voxels) < rate)
        hidden.append(~open_segments(grid, places, occupied, radius).any(0))
    centre = jnp.asarray(grid.centres())
    length = length_inside(grid, jnp.asarray(places)[:, None], centre[None])
    expected = float(jnp.mean(hidden_from_all(segment_hidden(length, grid, rate, radius))))
    found = np.mean(hidden)
    assert abs(found - expected) < (0.12 if views == 1 else 0.3) * found


def test_either_leg_hides():
    assert jnp.allclose(unseen(jnp.array(0.2), jnp.array(0.5)), 0.6)


def test_orthogonal_columns_meet_the_yardstick_exactly():
    # Least squares of S real coefficients on orthogonal columns of norm c in complex noise.
    assert np.isclose(least_squares_error(7, 0.3, 2.0), 7 * (0.3 / 2) / 2.0)


def test_voxels_that_nobody_sees_are_as_many_as_expected():
    """The sum over voxels, Eq. (66): to the 30 % that independence of two users is good for."""
    grid, rate, radius = VoxelGrid((0.0, 0.0, 0.0), (12, 11, 9), 1.0), 0.03, 0.5
    users = np.array([[-4.3, 5.2, 7.1], [14.7, 1.3, 3.9]])
    station = np.array([[5.1, -6.3, 6.8]])
    generator = np.random.default_rng(4)
    found = []
    for _ in range(60):
        occupied = np.flatnonzero(generator.uniform(size=grid.voxels) < rate)
        segments = open_segments(grid, np.concatenate([users, station]), occupied, radius)
        found.append(np.sum(~(segments[:2].any(0) & segments[2])))
    centre = jnp.asarray(grid.centres())

    def hidden(places):
        length = length_inside(grid, jnp.asarray(places)[:, None], centre[None])
        return hidden_from_all(segment_hidden(length, grid, rate, radius))

    expected = float(jnp.sum(unseen(hidden(users), hidden(station))))
    assert 0 < expected < grid.voxels
    assert abs(np.mean(found) - expected) < 0.3 * np.mean(found)
    # What either segment hides is less than both would hide if they never hid together.
    assert expected < float(jnp.sum(hidden(users) + hidden(station)))
