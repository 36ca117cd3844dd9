"""Scores: counted by hand on a few targets, calibrated on drawn ones."""

import numpy as np
import pytest

from echoscape.localization import Fix, FixStatus
from echoscape.localization.scores import claimed_level, score, summarize_fix


def fix_of(position, covariance, probability, status):
    """Fixes from arrays [target, place, ...]."""
    position = np.asarray(position, float)
    count, places = position.shape[:2]
    return Fix(
        target=np.arange(count),
        position=position,
        covariance=np.asarray(covariance, float),
        log_likelihood=np.zeros((count, places)),
        probability=np.asarray(probability, float),
        agreeing_starts=np.ones((count, places), dtype=int),
        starts=np.ones(count, dtype=int),
        status=np.asarray(status, dtype=int),
        valid=np.asarray(probability) > 0,
    )


def singles(error, std, status):
    """One place a target, off by an oblique error of a given length; height off by a lot."""
    error = np.asarray(error, float)
    truth = np.tile([3.0, -2.0, 1.0], (len(error), 1))
    position = truth + np.outer(error, [0.6, 0.8, 0.0]) + [0, 0, 50.0]
    covariance = np.einsum("t,ij->tij", np.asarray(std, float) ** 2, np.diag([1.0, 1.0, 0.0]))
    fix = fix_of(position[:, None], covariance[:, None], np.ones((len(error), 1)), status)
    return fix, truth


def test_errors_and_shares_are_those_counted_by_hand():
    ok, warn, none = FixStatus.LOCATED, FixStatus.AMBIGUOUS, FixStatus.NO_ECHO
    fix, truth = singles(
        [0.5, 2.0, 4.0, 20.0, 30.0, 0.0], [1, 1, 1, 9, 1, 1], [ok, ok, ok, warn, ok, none]
    )
    scores = score(fix, truth, keep=0.5)
    assert scores.count == 6
    assert scores.lost == pytest.approx(1 / 6)
    assert scores.rmse == pytest.approx(np.sqrt((0.25 + 4 + 16 + 400 + 900) / 5))
    assert scores.located_rmse == pytest.approx(np.sqrt((0.25 + 4 + 16 + 900) / 4))
    assert (scores.median, scores.p90) == (pytest.approx(20.0), np.inf)
    shares = (scores.within_1, scores.within_3, scores.within_10, scores.beyond_10)
    assert shares == pytest.approx((1 / 6, 2 / 6, 3 / 6, 3 / 6))
    assert scores.flagged == pytest.approx(1 / 6)
    assert scores.flagged_errors == pytest.approx(1 / 2)
    # 0.5 m at 1 m: level 1 - exp(-1/8); 2 m: 1 - exp(-2) = 0.86; 20 at 9: 0.915; others 1.
    assert scores.inside_50 == pytest.approx(1 / 5)
    assert scores.inside_90 == pytest.approx(2 / 5)
    assert scores.inside_99 == pytest.approx(3 / 5)
    assert scores.kept is not None
    assert scores.kept.count == 3
    assert scores.kept.rmse == pytest.approx(np.sqrt((0.25 + 4 + 16) / 3))


def test_nothing_located_is_a_score_too():
    fix, truth = singles([1.0, 2.0], [1, 1], [FixStatus.NO_ECHO] * 2)
    scores = score(fix, truth)
    assert (scores.rmse, scores.inside_90, scores.flagged_errors) == (None, None, None)
    assert scores.located_rmse is None
    assert (scores.lost, scores.beyond_10, scores.within_10) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("mixed", [False, True])
def test_truths_drawn_from_the_posterior_are_inside_as_often_as_claimed(mixed):
    rng = np.random.default_rng(3)
    count = 3000
    position = rng.normal(size=(count, 2, 3)) * [9.0, 4.0, 0.0]
    factor = rng.normal(size=(count, 2, 2, 2))
    covariance = np.zeros((count, 2, 3, 3))
    covariance[..., :2, :2] = factor @ np.swapaxes(factor, -1, -2)
    weight = np.tile([0.7, 0.3] if mixed else [1.0, 0.0], (count, 1))
    place = (rng.uniform(size=count) > weight[:, 0]).astype(int)
    rows = np.arange(count)
    truth = position[rows, place].copy()
    truth[:, :2] += np.einsum("tij,tj->ti", factor[rows, place], rng.normal(size=(count, 2)))
    fix = fix_of(position, covariance, weight, np.zeros(count))
    level = claimed_level(fix, truth)
    for share in (0.5, 0.9, 0.99):  # within 4 standard errors of a binomial
        assert np.mean(level <= share) == pytest.approx(share, abs=4 * np.sqrt(0.25 / count))
    narrow = fix_of(position, 0.25 * covariance, weight, np.zeros(count))
    assert np.mean(claimed_level(narrow, truth) <= 0.9) < 0.75


def test_an_alternative_that_is_the_truth_is_inside():
    place = [[[0.0, 0.0, 0.0], [40.0, 10.0, 0.0]]]
    covariance = np.diag([1.0, 1.0, 0.0])[None, None].repeat(2, axis=1)
    fix = fix_of(place, covariance, [[0.6, 0.4]], [FixStatus.AMBIGUOUS])
    level = claimed_level(fix, np.array([[40.0, 10.0, 0.0]]))
    assert level[0] < 0.4


def test_a_wide_mode_is_as_much_less_dense_as_it_is_wider():
    # The middle of a mode ten times as wide has a hundredth of the density, so what is denser is
    # the narrow mode out to where that too has fallen to a hundredth: 0.5 (1 - 0.01).
    covariance = np.stack([np.diag([1.0, 1.0, 0.0]), np.diag([100.0, 100.0, 0.0])])[None]
    place = [[[0.0, 0.0, 0.0], [300.0, 170.0, 0.0]]]
    fix = fix_of(place, covariance, [[0.5, 0.5]], [FixStatus.AMBIGUOUS])
    level = claimed_level(fix, np.array([[300.0, 170.0, 0.0]]))
    assert level[0] == pytest.approx(0.495, abs=0.07)  # 500 draws: three deviations


def test_the_truth_must_be_given_for_every_target():
    fix, truth = singles([1.0, 2.0], [1, 1], [0, 0])
    with pytest.raises(ValueError, match="2 fixes need as many true positions; got 1"):
        score(fix, truth[:1])


def test_claims_are_counted_without_the_truth():
    status = [FixStatus.LOCATED, FixStatus.AMBIGUOUS, FixStatus.NO_ECHO, FixStatus.LOCATED]
    fix, _ = singles([0.0] * 4, [1.0, 9.0, 1.0, 2.0], status)
    claims = summarize_fix(fix)
    assert claims.targets == 4
    assert (claims.status["located"], claims.status["ambiguous"]) == (2, 1)
    assert (claims.status["no_echo"], claims.status["outside"]) == (1, 0)
    assert claims.median_spread == pytest.approx(2 * np.sqrt(2))  # of x and y together
    assert claims.narrow == pytest.approx(2 / 4)
