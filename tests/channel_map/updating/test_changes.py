"""Silences of points: false alarms over many points, and delays until an alarm."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from echoscape.channel_map.updating.changes import (
    _last_hearing,
    alarm_threshold,
    earlier_neighbours,
    expected_hearings,
    silence_before,
    silences,
)
from echoscape.channel_map.visibility import NOT_REPORTED, VisibilityModel, predict_pairs

POINTS, REPORTS, ALARM = 4000, 150, 0.05
MODEL = VisibilityModel(
    level=np.where(np.arange(13) < 5, 2.0, -3.0), slope=np.full(13, -0.5),
    across=np.asarray(-1.2), along=np.asarray(-2.0), decay=np.asarray(2.0),
)  # fmt: skip


def alarms(probability, there, seed=0):
    """Whether each of many points is said to be gone within the reports; and when at first."""
    rng = np.random.default_rng(seed)
    threshold = alarm_threshold(probability if there else 0.5, ALARM, REPORTS)
    silence, missed = np.zeros(POINTS), np.zeros(POINTS)
    first = np.full(POINTS, REPORTS)
    every = np.arange(POINTS)
    for t in range(REPORTS):
        heard = every[rng.uniform(size=POINTS) < probability] if there else every[:0]
        expected = (np.zeros(POINTS, int), every, np.full(POINTS, probability))
        silence, missed = silences(silence, missed, (np.zeros(len(heard), int), heard), expected)
        first = np.minimum(first, np.where(silence >= threshold, t + 1, REPORTS))
    return first


@pytest.mark.parametrize("probability", [0.4, 0.7, 0.9])
def test_false_alarms_stay_below_the_stated_probability(probability):
    rate = np.mean(alarms(probability, True) < REPORTS)
    error = 3 * np.sqrt(ALARM / POINTS)
    assert rate < ALARM + error
    # the union bound counts every start of a run; a bound that forgot how many there are fails
    assert rate > ALARM / (1 + REPORTS * probability)


def test_a_point_that_went_is_missed_after_a_few_hearings():
    assert np.all(alarms(0.9, False)[0] * 0.9 <= 4.0)
    first = alarms(0.5, False)[0]
    assert first == np.ceil(np.log((1 + 0.5 * REPORTS) / ALARM) / np.log(2))


def test_a_hearing_ends_a_silence_and_later_misses_begin_another():
    expected = (np.array([4, 6]), np.array([0, 0]), np.array([0.5, 0.75]))
    silence, missed = silences(np.array([3.0]), np.array([2.0]), (np.array([5]), np.array([0])),
                               expected)  # fmt: skip
    assert np.allclose([silence[0], missed[0]], [np.log(4), 0.75])
    none = np.zeros(0, int)
    silence, missed = silences(np.array([3.0]), np.array([2.0]), (none, none), expected)
    assert np.allclose([silence[0], missed[0]], [3 + np.log(8), 3.25])


def test_reports_are_predicted_from_those_before_them_only():
    place = np.random.default_rng(0).uniform(0, 50, (40, 2))
    near = earlier_neighbours(place, np.arange(12, 40), 12, 8)
    for row, report in zip(near, range(12, 40)):
        away = np.linalg.norm(place[:report] - place[report], axis=1)
        assert set(row) == set(np.argsort(away)[:8])


def test_a_point_is_silent_only_in_reports_before_the_first_that_holds_it():
    place = np.random.default_rng(1).uniform(0, 20, (30, 2))
    rank = np.full((30, 2), NOT_REPORTED, np.int8)
    rank[20:, 0], rank[12::3, 1] = 1, 2  # one came at 20; one at 12, and is missed two times of 3
    source = np.array([[-40.0, 7.0], [9.0, 55.0]])
    silence, missed, since = silence_before(MODEL, place, rank, source, 8)
    assert since.tolist() == [20, 12]
    for k, first in enumerate(since):  # as if only reports from the first on were known
        near = first + KDTree(place[first:]).query(place[:first], k=8)[1]
        row = np.flatnonzero((rank[near, k] < NOT_REPORTED).any(axis=1))
        p = predict_pairs(
            MODEL, place[:first], near, row, np.full(len(row), k), place, rank, source
        )
        if k == 0:
            assert missed[0] == pytest.approx(p.sum(), rel=0.1)  # neighbours are from 12 on
        else:
            assert missed[1] == pytest.approx(p.sum(), rel=1e-5)
            assert silence[1] == pytest.approx(-np.log1p(-p).sum(), rel=1e-5)


def test_a_silence_does_not_lower_the_expectation_of_what_it_is_about():
    rng = np.random.default_rng(2)
    place = rng.uniform(0, 12, (90, 2))
    rank = np.full((90, 2), NOT_REPORTED, np.int8)
    rank[:30, 0] = 1  # went after 30 reports
    rank[:, 1] = np.where(rng.random(90) < 0.7, 1, NOT_REPORTED)
    source = np.array([[-40.0, 7.0], [9.0, 55.0]])
    report, point, p = expected_hearings(
        MODEL, place, rank, source, np.arange(30, 90), 30, 16, np.zeros(2, int)
    )
    soon, late = (p[(point == 0) & (report >= a) & (report < a + 20)] for a in (30, 70))
    assert len(soon) == 20
    assert len(late) > 10
    assert late.mean() > 0.95 * soon.mean() > 0.6
    # what is heard now and then is predicted from the misses too
    often = p[(point == 1) & (report > 70)]
    assert 0.4 < often.mean() < 0.8


def test_the_last_report_that_held_a_point_before_another():
    rng = np.random.default_rng(0)
    held, report, point = (
        rng.random((50, 7)) < 0.2,
        rng.integers(0, 50, 300),
        rng.integers(0, 7, 300),
    )
    expected = [max(np.flatnonzero(held[:r, p]), default=-1) for r, p in zip(report, point)]
    assert _last_hearing(held, report, point).tolist() == expected


def test_reports_from_before_a_point_came_have_no_weight():
    place = np.array([[1.0, 0.5], [-1.0, 0.2], [0.3, -1.1], [2.0, 2.0]])
    rank = np.array([[NOT_REPORTED], [NOT_REPORTED], [1], [2]], np.int8)
    target, source = np.zeros((1, 2)), np.array([[30.0, -11.0]])

    def predict(near, since=None):
        pair = np.zeros(1, int)
        return predict_pairs(
            MODEL, target, np.array([near]), pair, pair, place, rank, source, since
        )[0]

    later = predict([0, 1, 2, 3], np.array([2]))
    assert later == pytest.approx(predict([2, 3, 2, 3]), rel=1e-5)
    assert later > predict([0, 1, 2, 3]) + 0.1
