"""Silences of points: false alarms over many points, and delays until an alarm."""

import numpy as np
import pytest

from echoscape.channel_map.updating.changes import alarm_threshold, earlier_neighbours, silences

POINTS, REPORTS, ALARM = 4000, 150, 0.05


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
