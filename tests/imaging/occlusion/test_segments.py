"""Who hides what: by hand, the fast kernel against the rule pair by pair, and in plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.imaging.occlusion.segments import (
    hidden_by_pairs,
    hides,
    occupancy_message,
)
from echoscape.imaging.occlusion.shadow_lists import ShadowLists, shadow_lists
from echoscape.imaging.occlusion.shadows import (
    cast_by_cones,
    cast_shadows,
    occupancy_messages,
)
from echoscape.imaging.simulation import open_segments
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


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0.45, 0.78])
@pytest.mark.parametrize("seed", range(3))
def test_shadows_add_up_to_the_pair_rule(seed, radius):
    occupied = listed(seed, 12)
    nothing = jnp.zeros((len(VIEWS), GRID.voxels))
    cast = cast_shadows(
        nothing, GRID, VIEWS, jnp.asarray(occupied), jnp.ones(12), jnp.array(12), radius
    )
    pairs = hidden_by_pairs(GRID, VIEWS, jnp.asarray(occupied), radius)
    lists = ShadowLists(GRID, np.asarray(VIEWS), radius)
    assert np.array_equal(cast, pairs)  # bit by bit: one arithmetic serves all three
    assert np.array_equal(lists.cast(occupied, np.ones(12)), pairs)
    assert 0 < int((pairs > 0).sum()) < pairs.size


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_cones_hold_all_that_the_pair_rule_hides(seed):
    # Views inside the grid, beside a blocker and far off; radii from thin to more than a voxel.
    rng, precision = np.random.default_rng(seed), [np.float32, np.float64][seed // 2 % 2]
    x, y, z = (int(count) for count in rng.integers(4, 15, 3))
    left, front, floor, edge = (float(number) for number in rng.uniform(0.3, 2, 4))
    grid = VoxelGrid((-9 * left, 5 * front, floor), (x, y, z), edge)
    low, high = np.array(grid.origin), np.array(grid.upper)
    occupied = rng.choice(grid.voxels, 20, replace=False)
    near = grid.centre_of(occupied[:3]) + rng.normal(size=(3, 3)) * edge * 0.8
    inside = rng.uniform(low, high, (4, 3))
    around = rng.uniform(2 * low - high, 2 * high - low, (4, 3))
    far = low + 40 * edge * rng.normal(size=(3, 3))
    view = jnp.asarray(np.concatenate([near, inside, around, far]), precision)
    radius = edge * float(rng.choice([0.2, 0.5, 0.87, 1.6]))
    nothing = jnp.zeros((len(view), grid.voxels), precision)
    occupied, count = jnp.asarray(occupied), 17 if seed % 2 else 20
    cast = jax.jit(cast_by_cones, static_argnums=(1, 6))(
        nothing, grid, view, occupied, jnp.ones(20, precision), jnp.array(count), radius
    )
    pairs = jax.jit(hidden_by_pairs, static_argnums=(0, 3))(grid, view, occupied[:count], radius)
    assert np.array_equal(cast, pairs)
    assert int(pairs.sum()) > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_tubes_hold_all_that_can_hide_a_voxel(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    seen = jnp.asarray(listed(seed, 20))
    segments = (len(VIEWS), 20)
    cast = -0.2 * rng.uniform(size=GRID.voxels) * (rng.uniform(size=GRID.voxels) < 0.3)
    known = (
        jnp.asarray(rng.normal(size=segments) * 9), jnp.asarray(rng.uniform(size=20)),
        jnp.asarray(-rng.uniform(size=segments)), jnp.asarray(cast), 0.05, 5.0,
    )  # fmt: skip
    radius, count = [0.45, 0.78, 1.3][seed % 3], 16 if seed % 2 else 20
    monkeypatch.setattr(
        "echoscape.imaging.occlusion.segments.CASTING", 37
    )  # several blocks, a part of one
    # Every segment against every voxel, as the rule is written.
    evidence, present, shadow = (part[..., None] for part in known[:3])
    centre = jnp.asarray(GRID.centres())
    between = hides(VIEWS[:, None, None], centre[seen][None, :, None], centre[None, None], radius)
    message = occupancy_message(evidence, present[None], shadow, known[3][None, None], 0.05, 5.0)
    plain = jnp.sum(jnp.where(between, message, 0.0)[:, :count], (0, 1))
    by_tubes = occupancy_messages(GRID, VIEWS, seen, jnp.array(count), *known, radius)
    few = [np.asarray(part)[..., :count] for part in known[:3]]
    lists = ShadowLists(GRID, np.asarray(VIEWS), radius)
    asked = lists.messages(np.asarray(seen)[:count], *few, cast, 0.05, 5.0)
    assert np.array_equal(by_tubes != 0, asked != 0)
    assert np.allclose(by_tubes, asked, rtol=0, atol=1e-12)  # sums in another order
    assert np.allclose(by_tubes, plain, rtol=0, atol=1e-12)


def test_shadows_can_be_taken_back():
    occupied, radius = jnp.asarray(listed(4, 10)), 0.45
    nothing = jnp.zeros((len(VIEWS), GRID.voxels))
    all_ten = cast_shadows(nothing, GRID, VIEWS, occupied, jnp.ones(10), jnp.array(10), radius)
    six = cast_shadows(all_ten, GRID, VIEWS, occupied[6:], -jnp.ones(4), jnp.array(4), radius)
    assert np.array_equal(six, hidden_by_pairs(GRID, VIEWS, occupied[:6], radius))


def test_lists_of_a_scene_are_kept_and_of_another_are_not():
    view, listed = np.asarray(VIEWS), np.array([17, 200])
    first = shadow_lists(GRID, view, 0.45)
    assert shadow_lists(GRID.traced(), view.copy(), 0.45) is first
    before = first.cast(listed, np.ones(2))
    assert np.array_equal(first.cast(listed[::-1], np.ones(2)), before)
    other = VoxelGrid((-1.4, 2.0, 0.5), GRID.shape, GRID.edge)
    for lists in (shadow_lists(GRID, view + 0.3, 0.45), shadow_lists(other, view, 0.45)):
        assert lists is not first
        assert not np.array_equal(lists.cast(listed, np.ones(2)), before)
    wider = shadow_lists(GRID, view, 0.9).cast(listed, np.ones(2))
    assert np.all(wider >= before)
    assert wider.sum() > before.sum()


def test_the_rule_in_numpy_agrees():
    occupied = listed(7, 15)
    seen = open_segments(GRID, np.asarray(VIEWS), occupied, 0.45)
    pairs = np.asarray(hidden_by_pairs(GRID, VIEWS, jnp.asarray(occupied), 0.45))
    assert np.array_equal(seen, pairs == 0)


@pytest.mark.slow
def test_large_grids_are_simulated_by_the_same_rule():
    grid = VoxelGrid((-1.5, 2.0, 0.5), (21, 19, 17), 0.9)
    occupied = np.array([77, 1234, 4001, 6543])
    seen = open_segments(grid, np.asarray(VIEWS), occupied, 0.45)
    assert np.array_equal(seen, hidden_by_pairs(grid, VIEWS, jnp.asarray(occupied), 0.45) == 0)


def test_cubes_hide_more_than_their_cores():
    occupied = listed(7, 15)
    cores = open_segments(GRID, np.asarray(VIEWS), occupied, 0.2 * GRID.edge)
    cubes = open_segments(GRID, np.asarray(VIEWS), occupied, 0.45, as_cubes=True)
    balls = open_segments(GRID, np.asarray(VIEWS), occupied, 0.87 * GRID.edge)
    assert cores.mean() > cubes.mean() > balls.mean()


@pytest.mark.slow
def test_an_open_leg_clears_the_voxels_on_it_and_a_closed_one_accuses_them():
    seen = jnp.array([200])
    nothing = jnp.zeros((len(VIEWS), GRID.voxels))

    def occupancy_message(odds):
        evidence = jnp.full((len(VIEWS), 1), odds)
        return occupancy_messages(
            GRID, VIEWS, seen, 1, evidence, jnp.ones(1), nothing[:, seen],
            jnp.zeros(GRID.voxels), 0.05, 5.0, 0.45,
        )  # fmt: skip

    centre = jnp.asarray(GRID.centres())
    on_a_leg = np.asarray(hides(VIEWS[:, None], centre[200], centre[None], 0.45)).any(0)
    assert on_a_leg.sum() > 5
    assert np.all(np.asarray(occupancy_message(20.0))[on_a_leg] <= -5.0)
    assert np.all(np.asarray(occupancy_message(-20.0))[on_a_leg] > 2.0)
    assert np.all(np.asarray(occupancy_message(20.0))[~on_a_leg] == 0)
