"""Who hides what: by hand, the fast kernel against the rule pair by pair, and in plain numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.imaging.occlusion import cast_shadows, hidden_by_pairs, hides, lay_blame
from echoscape.imaging.simulation import open_legs
from echoscape.scene.voxel_grid import VoxelGrid

GRID = VoxelGrid((-1.5, 2.0, 0.5), (9, 7, 5), 0.9)
VIEWS = jnp.array([[0.31, 3.77, 1.93], [-7.1, 1.3, 6.2], [3.9, 12.4, 1.1], [1.2, 4.9, 9.7]])


def listed(seed, count):
    return np.sort(np.random.default_rng(seed).choice(GRID.voxels, count, replace=False))


def test_a_blocker_must_be_near_ahead_and_nearer():
    view, behind = jnp.array([1.0, -2.0, 0.5]), jnp.array([4.0, 2.0, 0.5])  # 5 m apart

    def asked(along, aside):
        ahead, left = jnp.array([0.6, 0.8, 0.0]), jnp.array([-0.8, 0.6, 0.0])
        return bool(hides(view, behind, view + along * ahead + aside * left, 0.5))

    assert asked(2.0, 0.49)
    assert not asked(2.0, 0.51)
    assert not asked(-1.0, 0.0)
    assert not asked(5.5, 0.0)
    assert not asked(5.0, 0.0)  # nothing hides itself


@pytest.mark.parametrize("radius", [0.45, 0.78])
@pytest.mark.parametrize("seed", range(3))
def test_shadows_add_up_to_the_pair_rule(seed, radius):
    occupied = listed(seed, 12)
    nothing = jnp.zeros((len(VIEWS), GRID.voxels))
    cast = cast_shadows(
        nothing, GRID, VIEWS, jnp.asarray(occupied), jnp.ones(12), jnp.array(12), radius
    )
    pairs = hidden_by_pairs(GRID, VIEWS, jnp.asarray(occupied), radius)
    assert np.array_equal(cast, pairs)  # bit by bit: one arithmetic serves both
    assert 0 < int((pairs > 0).sum()) < pairs.size


def test_shadows_can_be_taken_back():
    occupied, radius = jnp.asarray(listed(4, 10)), 0.45
    nothing = jnp.zeros((len(VIEWS), GRID.voxels))
    all_ten = cast_shadows(nothing, GRID, VIEWS, occupied, jnp.ones(10), jnp.array(10), radius)
    six = cast_shadows(all_ten, GRID, VIEWS, occupied[6:], -jnp.ones(4), jnp.array(4), radius)
    assert np.array_equal(six, hidden_by_pairs(GRID, VIEWS, occupied[:6], radius))


def test_the_rule_in_numpy_agrees():
    occupied = listed(7, 15)
    seen = open_legs(GRID, np.asarray(VIEWS), occupied, 0.45)
    pairs = np.asarray(hidden_by_pairs(GRID, VIEWS, jnp.asarray(occupied), 0.45))
    assert np.array_equal(seen, pairs == 0)


def test_cubes_hide_more_than_their_cores():
    occupied = listed(7, 15)
    cores = open_legs(GRID, np.asarray(VIEWS), occupied, 0.2 * GRID.edge)
    cubes = open_legs(GRID, np.asarray(VIEWS), occupied, 0.45, as_cubes=True)
    balls = open_legs(GRID, np.asarray(VIEWS), occupied, 0.87 * GRID.edge)
    assert cores.mean() > cubes.mean() > balls.mean()


def test_an_open_leg_clears_the_voxels_on_it_and_a_closed_one_accuses_them():
    seen = jnp.array([200])
    nothing = jnp.zeros((len(VIEWS), GRID.voxels))

    def blame(odds):
        evidence = jnp.full((len(VIEWS), 1), odds)
        return lay_blame(
            GRID, VIEWS, seen, 1, evidence, jnp.ones(1), nothing[:, seen],
            jnp.zeros(GRID.voxels), 0.05, 5.0, 0.45,
        )  # fmt: skip

    centre = jnp.asarray(GRID.centres())
    on_a_leg = np.asarray(hides(VIEWS[:, None], centre[200], centre[None], 0.45)).any(0)
    assert on_a_leg.sum() > 5
    assert np.all(np.asarray(blame(20.0))[on_a_leg] <= -5.0)
    assert np.all(np.asarray(blame(-20.0))[on_a_leg] > 2.0)
    assert np.all(np.asarray(blame(20.0))[~on_a_leg] == 0)
