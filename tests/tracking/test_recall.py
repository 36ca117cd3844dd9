"""Points of before recalled as a set: the move, and each term that forbids it by itself."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import AnchorType, JointFilter
from echoscape.tracking.joint_state import PER_SLOT, USER, is_dormant, start_joint
from echoscape.tracking.recall import recall_points

pytestmark = pytest.mark.slow  # compiling takes seconds

SETTINGS = JointFilter(slots=16, chunk=8)
OLD, YOUNG = np.arange(1, 6), np.arange(8, 12)
PLACE = np.array([[60.0, 11], [-35, 48], [22, -71], [90, 64], [-58, -40]])
SHIFT = np.array([9.0, -5.0])
TURN = np.array([0.4, -1.1, 2.0, 2.9, -2.4])
compiled = eqx.filter_jit(recall_points)


def after_a_blackout(shift=SHIFT, place=PLACE, turned=0.0, user_std=8.0, flip=1.0, own=0.1):
    """Five points of before, and four of them founded anew around a user who is off by `shift`."""
    rng = np.random.default_rng(3)
    start = jnp.array([2.0, 3.0, 1.5])
    state = start_joint(jnp.array([5.0, 40.0, 10.0]), start, jnp.zeros(3), jnp.array(0.0), SETTINGS)
    mean = np.array(state.mean)
    covariance = np.zeros((len(mean), len(mean)))
    user = np.diag([user_std**2, user_std**2, 0.01])
    covariance[:3, :3], mean[:2] = user, mean[:2] + shift

    def at(slot):
        return USER + PER_SLOT * slot + np.arange(3)

    for slot, where in zip(OLD, place):
        mean[at(slot)] = *where, 10.0
        covariance[np.ix_(at(slot), at(slot))] = np.diag([0.2, 0.2, 0.01])
    for slot, where in zip(YOUNG, place):
        mean[at(slot)] = *(where + shift + rng.normal(size=2) * 0.3), 10.0
        # placed from the user, they share the user's error
        covariance[np.ix_(at(slot), np.arange(3))] = user
        covariance[np.ix_(np.arange(3), at(slot))] = user
        for other in YOUNG:
            covariance[np.ix_(at(slot), at(other))] = user
        covariance[np.ix_(at(slot), at(slot))] = user + np.diag([own, own, 0.01])
    slots = state.slots
    both = np.r_[OLD, YOUNG]
    offset = np.zeros((16, 2))
    offset[OLD, 1] = TURN
    offset[YOUNG, 1] = TURN[:4] + turned
    identity = np.array(slots.identity)
    identity[both] = both
    new = {
        "kind": slots.kind.at[OLD].set(int(AnchorType.ODD)),
        "offset": jnp.asarray(offset),
        "offset_variance": jnp.full(16, 1e-4),
        "epochs": slots.epochs.at[both].set(20),
        "odds": slots.odds.at[YOUNG].set(3.0),
        "hits": slots.hits.at[both].set(9),
        "identity": jnp.asarray(identity),
        "seen": slots.seen.at[OLD].set(80.0).at[YOUNG].set(100.0),
        "founded": slots.founded.at[YOUNG].set(98.0),
        "vertical_reflection": slots.vertical_reflection.at[YOUNG].set(flip),
    }
    slots = eqx.tree_at(lambda s: [getattr(s, name) for name in new], slots, list(new.values()))
    return eqx.tree_at(
        lambda s: (s.mean, s.covariance, s.slots, s.time),
        state,
        (jnp.asarray(mean), jnp.asarray(covariance), slots, jnp.array(100.0)),
    )


def recalled(state):
    after, moved = compiled(state, SETTINGS, 5)
    return after, bool(moved)


def test_an_arrangement_found_again_moves_the_user_and_all_points_with_it():
    before = after_a_blackout()
    assert list(np.flatnonzero(is_dormant(before, SETTINGS))) == list(OLD)
    after, moved = recalled(before)
    assert moved
    # four points, each off by 0.2 + 0.1 m^2 and 0.3 m, place the user to 0.3 m
    error = np.asarray(after.mean[:2]) - np.array([2.0, 3.0])
    std = np.sqrt(np.diagonal(after.covariance)[:2])
    assert (std < 0.35).all()
    assert (np.abs(error) < 3 * std).all()
    assert list(np.asarray(after.slots.identity)[YOUNG]) == [-1] * 4
    awake = np.asarray(after.slots.odds)[OLD] > 0
    assert list(awake) == [True] * 4 + [False]  # the fifth was not seen again
    assert (np.asarray(after.slots.hits)[OLD[:4]] == 18).all()
    squeezed = np.linalg.eigvalsh(np.asarray(after.covariance))
    assert squeezed.min() > -1e-9


FORBIDDEN = {
    "departures differ": {"turned": np.array([0.5, -0.6, 0.7, -0.5])},
    "mirrored in the ground": {"flip": -1.0},
    "farther than the user's error": {"user_std": 1.0},
    "twins of each would lie as near": {"own": 5.0},
    "two places fit alike": {
        "place": np.array([[60.0, 10.0 * k] for k in range(5)]),
        "shift": np.array([0.0, 5.0]),
        "turned": TURN[0] - TURN[:4],
    },
}


@pytest.mark.parametrize("why", FORBIDDEN)
def test_points_stay_new_where_one_thing_forbids_them(why):
    before = after_a_blackout(**FORBIDDEN[why])
    if why.startswith("two"):  # equal departures: only the places tell the points apart
        before = eqx.tree_at(
            lambda s: s.slots.offset, before, before.slots.offset.at[OLD, 1].set(TURN[0])
        )
    after, moved = recalled(before)
    assert not moved
    assert (np.asarray(after.slots.identity)[YOUNG] == YOUNG).all()
    assert np.array_equal(after.mean, before.mean)


def test_two_points_may_be_twins_by_one_shift():
    before = after_a_blackout()
    believed = before.slots.hits.at[YOUNG[2:]].set(4)
    assert not recalled(eqx.tree_at(lambda s: s.slots.hits, before, believed))[1]
    believed = before.slots.hits.at[YOUNG[3:]].set(4)
    assert recalled(eqx.tree_at(lambda s: s.slots.hits, before, believed))[1]


def test_points_that_were_seen_beside_one_another_are_two():
    before = after_a_blackout()
    before = eqx.tree_at(lambda s: s.slots.founded, before, before.slots.founded.at[YOUNG].set(70))
    assert not recalled(before)[1]
