"""Messages against an enumeration of all assignments; decisions against the Hungarian method."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from echoscape.tracking.association import best_pairs, likeliest_pairs, pair_probabilities


def enumerate_pairs(log_odds, log_missed):
    """Add up the weights of all assignments, one by one."""
    tracks, detections = log_odds.shape
    total, pairs = 0.0, np.zeros(log_odds.shape)
    for choice in itertools.product(range(-1, detections), repeat=tracks):
        used = [c for c in choice if c >= 0]
        if len(set(used)) < len(used):
            continue
        weight = np.exp(
            sum(log_missed[t] if c < 0 else log_odds[t, c] for t, c in enumerate(choice))
        )
        total += weight
        for t, c in enumerate(choice):
            if c >= 0:
                pairs[t, c] += weight
    return pairs / total


def test_messages_are_exact_on_a_tree():
    missed = np.log([0.2, 0.4, 0.1])
    odds = np.full((3, 4), -np.inf)
    odds[0, 0], odds[0, 1], odds[1, 1], odds[2, 1], odds[2, 3] = 1.0, 2.5, 2.0, 0.3, -1.0
    found = pair_probabilities(jnp.asarray(odds), jnp.asarray(missed))
    assert np.allclose(found, enumerate_pairs(odds, missed), atol=1e-9)


def test_messages_are_close_on_a_loop():
    odds = np.random.default_rng(3).normal(1.0, 2.0, (3, 3))
    missed = np.log([0.3, 0.2, 0.5])
    found = pair_probabilities(jnp.asarray(odds), jnp.asarray(missed))
    # 0.05: the error of loopy messages on dense graphs of this size in the literature
    assert np.abs(found - enumerate_pairs(odds, missed)).max() < 0.05


def test_impossible_pairs_have_no_probability_and_nothing_overflows():
    odds = jnp.array([[500.0, -jnp.inf], [-jnp.inf, -jnp.inf]])
    found = pair_probabilities(odds, jnp.array([-300.0, -0.1]))
    assert np.allclose(found, [[1.0, 0.0], [0.0, 0.0]])
    assert np.all(np.asarray(found)[~np.isfinite(odds)] == 0.0)  # none at all, not just little


def test_decisions_equal_the_hungarian_method_where_pairs_stand_out():
    rng = np.random.default_rng(1)
    order = rng.permutation(9)[:6]
    score = 0.3 * rng.random((6, 9))
    score[np.arange(6), order] += 0.6
    rows, columns = linear_sum_assignment(score, maximize=True)
    found = best_pairs(jnp.asarray(score), jnp.ones((6, 9), bool))
    assert (np.asarray(found)[rows] == columns).all()


def test_no_detection_is_given_twice():
    score = jnp.array([[0.9, 0.1], [0.8, 0.7], [0.85, 0.0]])
    possible = jnp.array([[True, False], [True, True], [True, False]])
    assert best_pairs(score, possible).tolist() == [0, 1, -1]


def likeliest(log_odds, log_missed):
    """Try all assignments, one by one."""
    tracks, detections = log_odds.shape
    best, found = -np.inf, None
    for choice in itertools.product(range(-1, detections), repeat=tracks):
        used = [c for c in choice if c >= 0]
        if len(set(used)) < len(used):
            continue
        weight = sum(log_missed[t] if c < 0 else log_odds[t, c] for t, c in enumerate(choice))
        if weight > best:
            best, found = weight, choice
    return list(found)


@pytest.mark.slow
def test_the_likeliest_assignment_is_that_of_an_enumeration():
    rng = np.random.default_rng(7)
    differ = 0
    for _ in range(20):
        missed = np.log(rng.uniform(0.05, 0.95, 4))
        odds = np.where(rng.random((4, 5)) < 0.5, rng.normal(0.0, 3.0, (4, 5)), -np.inf)
        found = likeliest_pairs(jnp.asarray(odds), jnp.asarray(missed)).tolist()
        assert found == likeliest(odds, missed)
        mutual = best_pairs(jnp.asarray(np.exp(odds)), jnp.asarray(np.isfinite(odds)))
        differ += mutual.tolist() != found
    assert differ > 0  # greed is not enough


def test_a_likely_rival_pushes_a_track_to_its_second_choice():
    odds = jnp.array([[5.0, 4.0], [5.5, -jnp.inf]])
    assert likeliest_pairs(odds, jnp.log(jnp.array([0.5, 0.5]))).tolist() == [1, 0]
    assert likeliest_pairs(odds - 20.0, jnp.log(jnp.array([0.5, 0.5]))).tolist() == [-1, -1]


def test_messages_travel_along_a_chain_of_rivals():
    # track 0 has one detection, which every other would take too: it needs several sweeps to learn
    # at the end of the chain what happens at its beginning
    odds = np.full((4, 4), -np.inf)
    odds[0, 0] = 3.0
    for k in range(1, 4):
        odds[k, k - 1], odds[k, k] = 2.5, 0.5
    missed = np.log([0.1, 0.1, 0.1, 0.1])
    found = pair_probabilities(jnp.asarray(odds), jnp.asarray(missed))
    assert np.allclose(found, enumerate_pairs(odds, missed), atol=1e-9)
