"""Beams from a map: closed forms for one path, the average over doubt, and scores by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import fit_map
from echoscape.channel_map.nearest_neighbours import NearestReports
from echoscape.channel_map.prior import PathPrior
from echoscape.communication.beams import (
    expected_covariance,
    expected_powers,
    measured_powers,
    prior_near,
    rank_beams,
    rank_like_nearest,
    score_beams,
    straight_line,
)
from echoscape.scene.antenna import PlanarArray, dft_codebook, steering_vector
from tests.worlds.mirrors import STATION, street_reports, users

ARRAY = PlanarArray(rows=4, columns=6, azimuth=2.9, tilt=0.1)
CODEBOOK = dft_codebook(4, 6)


def prior_of(azimuth, zenith, probability=(1.0,), power=(1.0,), covariance=None):
    azimuth = jnp.asarray(azimuth)
    none = jnp.zeros((*azimuth.shape, 3, 3))
    return PathPrior(
        probability=jnp.asarray(probability),
        departure_azimuth=azimuth,
        departure_zenith=jnp.asarray(zenith),
        length=jnp.full(azimuth.shape, 30.0),
        covariance=none if covariance is None else jnp.asarray(covariance),
        power=jnp.asarray(power),
    )


@pytest.mark.slow
def test_known_paths_add_in_power():
    prior = prior_of([2.6, -2.8], [1.7, 1.9], [0.9, 0.4], [3e-9, 1e-9])
    a = jax.vmap(steering_vector, in_axes=(None, 0, 0))(
        ARRAY, prior.departure_azimuth, prior.departure_zenith
    )
    weight = jnp.array([0.9 * 3e-9, 0.4 * 1e-9])
    brute = sum(weight[k] * jnp.outer(a[k], a[k].conj()) for k in range(2))
    covariance = expected_covariance(prior, ARRAY)
    assert jnp.allclose(covariance, brute, rtol=1e-10, atol=1e-22)
    assert jnp.trace(covariance).real == pytest.approx(24 * float(weight.sum()))
    powers = jnp.einsum("be,ef,bf->b", CODEBOOK.conj(), covariance, CODEBOOK)
    assert jnp.allclose(expected_powers(prior, ARRAY, CODEBOOK), powers.real, rtol=1e-9, atol=1e-22)
    assert jnp.abs(powers.imag).max() < 1e-20


@pytest.mark.slow
def test_doubt_about_the_direction_is_averaged(key):
    # Oblique on purpose: azimuth and zenith errors correlated.
    joint = np.zeros((1, 3, 3))
    joint[0, :2, :2] = [[0.06**2, 0.6 * 0.06 * 0.04], [0.6 * 0.06 * 0.04, 0.04**2]]
    prior = prior_of([2.6], [1.7], covariance=joint)
    mean = jnp.array([2.6, 1.7])
    drawn = jax.random.multivariate_normal(key, mean, jnp.asarray(joint[0, :2, :2]), (20_000,))
    a = jax.vmap(steering_vector, in_axes=(None, 0, 0))(ARRAY, drawn[:, 0], drawn[:, 1])
    sampled = a.T @ a.conj() / len(drawn)
    # Entries are means of 20,000 unit phasors: their standard error is below 0.007.
    assert jnp.abs(expected_covariance(prior, ARRAY) - sampled).max() < 0.03
    exact = expected_covariance(prior_of([2.6], [1.7]), ARRAY)
    assert jnp.abs(exact - sampled).max() > 0.2


def test_doubt_wider_than_a_beam_leaves_no_gaps(key):
    # 64 elements in a row: a beam is 0.03 rad wide, the doubt 0.05 rad.
    array = PlanarArray(columns=64, azimuth=0.4)
    doubt = np.zeros((1, 3, 3))
    doubt[0, 0, 0] = 0.05**2
    prior = prior_of([0.6], [1.5], covariance=doubt)
    drawn = 0.6 + 0.05 * jax.random.normal(key, (20_000,))
    a = jax.vmap(steering_vector, in_axes=(None, 0, None))(array, drawn, jnp.asarray(1.5))
    sampled = a.T @ a.conj() / len(drawn)
    assert jnp.abs(expected_covariance(prior, array) - sampled).max() < 0.05
    beams = dft_codebook(1, 64)
    powers = jnp.einsum("be,ef,bf->b", beams.conj(), sampled, beams).real
    found = expected_powers(prior, array, beams)
    assert jnp.abs(found - powers).max() < 0.1 * powers.max()


def test_doubt_about_the_place_has_its_mean_and_spread():
    def linear(position):
        azimuth = 0.01 * position[0] - 0.02 * position[1]
        return prior_of(azimuth[None], jnp.array([1.6]))

    prior = prior_near(linear, jnp.array([3.0, -4.0, 1.5]), jnp.asarray(2.0))
    mean = jnp.sum(prior.probability * prior.departure_azimuth)
    assert prior.probability.sum() == pytest.approx(1.0)
    assert mean == pytest.approx(0.11)
    spread = jnp.sum(prior.probability * (prior.departure_azimuth - mean) ** 2)
    assert spread == pytest.approx(4 * (0.01**2 + 0.02**2))
    fourth = jnp.sum(prior.probability * (prior.departure_azimuth - mean) ** 4)
    assert fourth == pytest.approx(3 * 16 * (0.01**4 + 0.02**4) + 6 * 16 * 0.01**2 * 0.02**2)


@pytest.mark.slow
def test_beams_of_an_exact_map_are_those_of_an_exhaustive_search():
    channel_map = fit_map(street_reports(200), NearestReports())
    truth = street_reports(60, seed=8)
    measured = measured_powers(truth.estimates, ARRAY, CODEBOOK)
    a = steering_vector(
        ARRAY,
        jnp.asarray(truth.estimates.departure_azimuth[3, 1]),
        jnp.asarray(truth.estimates.departure_zenith[3, 1]),
    )
    alone = jax.tree.map(lambda leaf: leaf[3:4, 1:2], truth.estimates)
    brute = jnp.abs(CODEBOOK.conj() @ a) ** 2 * truth.estimates.power[3, 1]
    assert jnp.allclose(measured_powers(alone, ARRAY, CODEBOOK)[0], brute, rtol=1e-9)

    place, std = jnp.asarray(truth.position), jnp.full(60, 0.1)
    ours = score_beams(rank_beams(channel_map, place, std, ARRAY, CODEBOOK), measured)
    line = rank_beams(straight_line(STATION), place, std, ARRAY, CODEBOOK)
    nearest = rank_like_nearest(street_reports(200), truth.position, ARRAY, CODEBOOK)
    assert ours.found[0] > 0.9
    assert ours.found[1] >= max(
        score_beams(line, measured).found[1], score_beams(nearest, measured).found[1]
    )
    assert ours.loss[2] <= ours.loss[0]
    assert sorted(np.asarray(line[0]).tolist()) == list(range(24))


def test_scores_of_a_case_by_hand():
    power = np.array([[4.0, 2.0, 1.0], [1.0, 10.0, 5.0], [0.0, 0.0, 0.0]])
    order = np.array([[0, 1, 2], [2, 0, 1], [0, 1, 2]])
    score = score_beams(order, power, tried=(1, 3))
    assert score.users == 2  # the third has no path
    assert score.found.tolist() == [0.5, 1.0]
    assert score.loss == pytest.approx([10 * np.log10(2.0) / 2, 0.0])
    assert score.saved == pytest.approx([2 / 3, 0.0])


def test_users_in_outage_leave_padding_without_power():
    truth = street_reports(3)
    valid = truth.estimates.valid.copy()
    valid[1] = False
    silent = jax.tree.map(lambda leaf: leaf, truth.estimates)
    silent = type(silent)(**{**vars(silent), "valid": valid})
    power = measured_powers(silent, ARRAY, CODEBOOK)
    assert power[1].max() == 0.0
    assert power[0].min() > 0.0


def test_impossible_scores_are_refused():
    with pytest.raises(ValueError, match=r"can try 1 to 3 beams; got \(1, 5\)"):
        score_beams(np.array([[0, 1, 2]]), np.ones((1, 3)), tried=(1, 5))
    with pytest.raises(ValueError, match="no user has a path"):
        score_beams(np.array([[0, 1, 2]]), np.zeros((1, 3)), tried=(1,))


def test_straight_line_points_at_the_user():
    place = users(1, seed=2)[0]
    prior = straight_line(STATION)(jnp.asarray(place))
    away = place - STATION
    assert float(prior.departure_azimuth[0]) == pytest.approx(np.arctan2(away[1], away[0]))
    assert float(prior.departure_zenith[0]) == pytest.approx(
        np.arccos(away[2] / np.linalg.norm(away))
    )
