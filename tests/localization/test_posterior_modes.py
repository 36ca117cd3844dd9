"""Modes and statuses from local maxima: each status provoked, each term alone decisive."""

import dataclasses

import numpy as np
import pytest

from echoscape.localization import FixStatus
from echoscape.localization.posterior_modes import ELSEWHERE, allow_elsewhere, posterior_modes
from echoscape.localization.unassociated.ascent import LocalMaxima

NEAR, FAR = np.array([3.1, -2.0, 1.5]), np.array([40.7, 11.0, 1.5])


def maxima(**changes):
    """Two maxima of one target, the second far less likely."""
    sharp = np.diag([4.0, 9.0, 0.0])
    found = LocalMaxima(
        position=np.array([[NEAR, FAR]]),
        log_likelihood=np.array([[20.0, 2.0]]),
        information=np.array([[sharp, sharp]]),
        explained=np.array([[9.0, 8.0]]),
        detected=np.array([[10.0, 10.0]]),
        log_reflectivity=np.zeros((1, 2, 1)),
        starts=np.array([[5.0, 2.0]]),
    )
    return dataclasses.replace(found, **{n: np.asarray(v)[None] for n, v in changes.items()})


def judge(found, support=(1.0, 1.0), extrapolated=None):
    return posterior_modes(
        np.array([7]), found, np.array([support]), False, reach=15.0, ambiguous_below=0.9,
        ambiguous_above=3.0, starts=8, extrapolated=extrapolated,
    )  # fmt: skip


def test_one_sharp_mode_is_located():
    fix = judge(maxima())
    assert fix.status[0] == FixStatus.LOCATED
    assert fix.target.tolist() == [7]
    np.testing.assert_allclose(fix.best[0], NEAR)
    np.testing.assert_array_equal(fix.agreeing_starts[0], [5, 2])
    assert fix.starts[0] == 8


def test_a_second_mode_as_likely_is_ambiguous():
    fix = judge(maxima(log_likelihood=[20.0, 18.5]))
    assert fix.status[0] == FixStatus.AMBIGUOUS
    assert fix.probability[0, 0] == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert fix.spread[0] > 10.0


def test_two_modes_close_by_are_ambiguous_though_the_spread_is_small():
    close = NEAR + np.array([2.6, -1.9, 0.0])
    fix = judge(maxima(position=[NEAR, close], log_likelihood=[20.0, 19.0]))
    assert fix.spread[0] < 3.0
    assert fix.status[0] == FixStatus.AMBIGUOUS
    unlikely = judge(maxima(position=[NEAR, close], log_likelihood=[20.0, 14.0]))
    assert unlikely.status[0] == FixStatus.LOCATED


def test_where_visibility_is_extrapolated_a_fix_claims_less():
    found = maxima(log_likelihood=[20.0, 15.0])
    sure, street = judge(found), judge(found, extrapolated=np.array([[False, True]]))
    above = judge(found, extrapolated=np.array([[True, True]]))
    assert sure.probability[0, 0] == pytest.approx(1 / (1 + np.exp(-5.0)))
    assert above.probability[0, 0] == pytest.approx(1 / (1 + np.exp(-2.5)))
    assert street.probability[0, 0] == sure.probability[0, 0]  # the best mode decides
    np.testing.assert_allclose(above.covariance, 1.6 * sure.covariance)
    np.testing.assert_allclose(street.covariance[0, 0], sure.covariance[0, 0])
    np.testing.assert_allclose(street.covariance[0, 1], 1.6 * sure.covariance[0, 1])


SURVEYED = np.array([[0.0, 0.0, 1.5], [60.0, 10.0, 1.5], [30.0, -40.0, 1.5], [-20.0, 50.0, 1.5]])


def test_the_target_of_a_flagged_fix_above_the_reports_may_be_anywhere():
    above, street = np.array([True]), np.array([False])
    doubtful = judge(maxima(explained=[4.9, 9.0]))
    wide = allow_elsewhere(doubtful, above, SURVEYED)
    # the second moment about the mode of a mixture of the mode and of the reports' places
    away = SURVEYED[:, :2] - NEAR[:2]
    expected = (1 - ELSEWHERE) * doubtful.covariance[0, 0, :2, :2]
    expected = expected + ELSEWHERE * np.einsum("ri,rj->ij", away, away) / len(away)
    np.testing.assert_allclose(wide.covariance[0, 0, :2, :2], expected, rtol=1e-12)
    np.testing.assert_array_equal(wide.covariance[0, 1], doubtful.covariance[0, 1])
    assert wide.status[0] == FixStatus.UNEXPLAINED
    for fix, where in ((doubtful, street), (judge(maxima()), above)):
        same = allow_elsewhere(fix, where, SURVEYED)  # at street level, or located
        np.testing.assert_array_equal(same.covariance, fix.covariance)
    for flagged in (
        judge(maxima(log_likelihood=[20.0, 18.5])),
        judge(maxima(), support=(14.5, 1.0)),
    ):
        wide = allow_elsewhere(flagged, above, SURVEYED)
        assert np.trace(wide.covariance[0, 0, :2, :2]) > 1000.0


def test_a_wide_mode_is_ambiguous():
    wide = np.diag([1 / 3.2**2, 9.0, 0.0])
    assert judge(maxima(information=[wide, wide])).status[0] == FixStatus.AMBIGUOUS
    narrower = np.diag([1 / 2.8**2, 9.0, 0.0])
    assert judge(maxima(information=[narrower, narrower])).status[0] == FixStatus.LOCATED


def test_a_mode_at_the_edge_of_the_reach_is_outside():
    assert judge(maxima(), support=(14.5, 1.0)).status[0] == FixStatus.OUTSIDE
    assert judge(maxima(), support=(13.9, 14.9)).status[0] == FixStatus.LOCATED


def test_a_map_that_explains_less_than_half_is_unexplained():
    assert judge(maxima(explained=[4.9, 9.0])).status[0] == FixStatus.UNEXPLAINED
    assert judge(maxima(explained=[5.1, 0.0])).status[0] == FixStatus.LOCATED
    edge = judge(maxima(explained=[4.9, 9.0]), support=(14.5, 1.0))
    assert edge.status[0] == FixStatus.UNEXPLAINED  # which `follow` does not take


def test_without_echoes_there_is_no_fix():
    fix = judge(maxima(detected=[0.0, 0.0]))
    assert fix.status[0] == FixStatus.NO_ECHO
    assert not fix.valid.any()
    assert np.isfinite(fix.position).all()
    none = judge(maxima(log_likelihood=[-np.inf, -np.inf]))
    assert none.status[0] == FixStatus.NO_ECHO


def test_a_mode_weighs_as_its_likelihood_times_its_volume():
    wide = np.diag([0.25, 0.36, 0.0])  # standard deviations 2 and 5/3 m against 1/2 and 1/3
    fix = judge(maxima(log_likelihood=[20.0, 20.0 - 1e-9], information=[np.diag([4, 9, 0]), wide]))
    prior = 300.0**-2
    volume = np.sqrt((4 + prior) * (9 + prior) / ((0.25 + prior) * (0.36 + prior)))
    order = np.argsort(fix.position[0, :, 0])
    share = fix.probability[0, order]
    assert share[1] / share[0] == pytest.approx(volume, rel=1e-6)  # twenty times


def test_maxima_that_coincide_are_one_mode():
    beside = NEAR + np.array([0.3, 0.2, 0.0])
    fix = judge(maxima(position=[NEAR, beside], log_likelihood=[20.0, 19.9]))
    assert fix.valid.sum() == 1
    assert fix.agreeing_starts[0, 0] == 7
    assert fix.status[0] == FixStatus.LOCATED
