"""A clock or a heading that all echoes have wrong: estimated, stated in every fix, or noticed."""

import dataclasses

import jax
import numpy as np
import pytest

from echoscape.localization import FixStatus, Unassociated, fix_columns, localize
from echoscape.localization.posterior_modes import posterior_modes
from echoscape.localization.unassociated.ascent import LocalMaxima
from echoscape.localization.unassociated.batch_bias import (
    Normal,
    estimate_bias,
    marginalise,
    normal_equations,
    significant_causes,
)
from echoscape.localization.unassociated.calibration import state_bias
from echoscape.localization.unassociated.linearised_map import LinearisedPaths
from echoscape.localization.unassociated.one_way_paths import OneWayPaths
from echoscape.reports.echo_making import make_echoes
from tests.worlds.point_maps import reports_of, scatterer_map, some_targets

CLOCK, HEADING = 6e-9, 0.02  # [s], [rad]
C = 299_792_458.0
MAP = scatterer_map()
PLACE = np.c_[np.random.default_rng(8).uniform(8.0, 92.0, (16, 2)), np.zeros(16)]


def off(echoes, clock=0.0, heading=0.0):
    """Add a bias to all echoes."""
    e = echoes.estimates
    return dataclasses.replace(
        echoes,
        estimates=dataclasses.replace(
            e,
            length=e.length + C * clock * e.valid,
            departure_azimuth=e.departure_azimuth + heading * e.valid,
            arrival_azimuth=e.arrival_azimuth + heading * e.valid,
        ),
    )


@pytest.fixture(scope="module")
def echoes():
    return make_echoes(
        reports_of(MAP, PLACE), jax.random.key(5), angle_std=0.05, delay_std=3e-9
    ).echoes


def error(fix):
    return np.linalg.norm(fix.best[:, :2] - PLACE[fix.target, :2], axis=1)


@pytest.fixture(scope="module")
def clean(echoes):
    return localize(echoes, MAP)


@pytest.mark.slow
def test_a_clean_batch_is_not_called_biased(clean):
    assert (clean.status == FixStatus.LOCATED).sum() > 12
    assert not (clean.status == FixStatus.BIASED).any()
    assert "clock_bias" not in clean.learnt


@pytest.mark.slow
def test_an_undeclared_clock_is_noticed_and_named(echoes):
    fix = localize(off(echoes, clock=CLOCK), MAP)
    assert (fix.status == FixStatus.BIASED).sum() > 12
    assert fix.learnt["clock_bias"] == pytest.approx(CLOCK, abs=1e-9)
    assert "heading_bias" not in fix.learnt


@pytest.mark.slow
def test_a_declared_clock_is_estimated_with_its_uncertainty(echoes, clean):
    fix = localize(off(echoes, clock=CLOCK), MAP, method=Unassociated(unknown=("clock",)))
    std = fix.learnt["clock_bias_std"]
    assert abs(fix.learnt["clock_bias"] - CLOCK) < 4 * std
    assert 1e-11 < std < 1e-9
    assert np.sqrt(np.mean(error(fix) ** 2)) < 1.2 * np.sqrt(np.mean(error(clean) ** 2))
    assert not (fix.status == FixStatus.BIASED).any()
    columns = fix_columns(fix, ["mast"], "scatterers")
    assert np.unique(columns["clock_bias"]) == [fix.learnt["clock_bias"]]
    # one target alone knows the clock worse, and every direction of its fix says so
    some = some_targets(off(echoes, clock=CLOCK), np.array([3]))
    given = {n: fix.learnt[n] for n in ("detection", "false_share", "log_power_std")}
    alone = localize(some, MAP, method=Unassociated(unknown=("clock",), **given))
    assert alone.learnt["clock_bias_std"] > 2.5 * std  # 4 if all knew as much
    gained = alone.covariance[0, 0, :2, :2] - fix.covariance[3, 0, :2, :2]
    assert np.trace(gained) > 0.0


@pytest.mark.slow
def test_a_declared_heading_is_estimated(echoes, clean):
    fix = localize(off(echoes, heading=HEADING), MAP, method=Unassociated(unknown="heading"))
    assert fix.learnt["heading_bias"] == pytest.approx(HEADING, abs=4e-3)
    assert np.sqrt(np.mean(error(fix) ** 2)) < 1.2 * np.sqrt(np.mean(error(clean) ** 2))


@pytest.mark.slow
def test_errors_stated_too_small_locate_as_well_as_true_ones(echoes, clean):
    paths = echoes.estimates
    names = ["length_std", *(f"{way}_{angle}_std" for way in ("departure", "arrival")
                             for angle in ("azimuth", "zenith"))]  # fmt: skip
    stds = {name: 0.25 * getattr(paths, name) for name in names}
    fix = localize(dataclasses.replace(echoes, estimates=dataclasses.replace(paths, **stds)), MAP)
    for name in ("angle_error_scale", "delay_error_scale"):
        assert clean.learnt[name] == 1.0
        assert 3.0 < fix.learnt[name] < 5.0
    assert clean.learnt["tail_scale"] == fix.learnt["tail_scale"] == 1.0
    assert np.sqrt(np.mean(error(fix) ** 2)) < 1.2 * np.sqrt(np.mean(error(clean) ** 2))


def test_fixes_at_the_edge_say_nothing_of_a_bias_and_keep_their_status():
    gradient, information = synthetic([1.5, 0.0])
    count = len(gradient)
    whole = np.zeros((count, 1, 5, 5))
    whole[:, 0, 3:, 3:], whole[:, 0, :2, :2] = information, 4.0 * np.eye(2)
    whole[:, 0, 0, 3] = whole[:, 0, 3, 0] = 2.0  # a clock moves the fix
    whole[:, 0, 3, 3] += 1.0  # as far as the fix gives way
    right = np.concatenate([np.zeros((count, 3)), gradient], axis=1)[:, None]
    normal = Normal(right, whole)
    found = LocalMaxima(
        position=np.tile([3.0, 4.0, 1.5], (count, 1, 1)), log_likelihood=np.full((count, 1), 20.0),
        information=np.tile(np.diag([4.0, 4.0, 0.0]), (count, 1, 1, 1)),
        explained=np.full((count, 1), 4.0), detected=np.full((count, 1), 10.0),
        log_reflectivity=np.zeros((count, 1, 1)), starts=np.ones((count, 1)),
    )  # fmt: skip

    def stated(outside):
        fix = posterior_modes(
            np.arange(count), found, np.where(outside, 14.9, 1.0)[:, None], False, reach=15.0,
            ambiguous_below=0.9, ambiguous_above=3.0, starts=1,
        )  # fmt: skip
        return state_bias(fix, found, normal, None, 2, outside).status

    assert (stated(np.zeros(count, bool)) == FixStatus.BIASED).all()
    assert (stated(np.ones(count, bool)) == FixStatus.UNEXPLAINED).all()
    few = np.arange(count) < 5
    np.testing.assert_array_equal(stated(few) == FixStatus.BIASED, ~few)


def test_names_of_nuisances_are_checked():
    assert Unassociated(unknown="heading, clock").unknown == ("clock", "heading")
    with pytest.raises(ValueError, match="Input should be 'clock' or 'heading'"):
        Unassociated(unknown="tilt")


def synthetic(bias, count=40, seed=2):
    """Gradients and information of targets that share a bias."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(count, 2, 2)) * np.array([1.0, 30.0])
    information = np.einsum("tik,til->tkl", root, root) + np.diag([0.5, 200.0])
    noise = np.einsum("tij,tj->ti", np.linalg.cholesky(information), rng.normal(size=(count, 2)))
    return information @ np.asarray(bias) + noise, information


def test_the_robust_mean_ignores_wrong_fixes_and_states_its_error():
    gradient, information = synthetic([1.5, 0.0])
    gradient[::8] += 400.0  # fixes at another place
    every = np.ones(40, bool)
    found = estimate_bias(gradient, information, every, ("clock",))
    assert found.targets == 40
    assert abs(found.value[0] - 1.5) < 4 * found.std[0] < 1.0
    assert found.value[1] == 0.0
    assert np.isinf(found.std[1])
    none = estimate_bias(gradient, information, ~every, ("clock",))
    assert none.targets == 0
    assert np.isinf(none.std).all()


def test_only_a_bias_that_is_significant_and_matters_is_a_cause():
    every, moved = np.ones(40, bool), np.zeros((40, 3, 2))
    moved[:, 0, 0] = 0.8
    covariance = np.tile(np.diag([0.5, 0.5, 0.0]), (40, 1, 1))
    cause = lambda bias, width=1.0: set(  # noqa: E731
        significant_causes(*synthetic(bias), moved, width * covariance, every)
    )
    assert cause([1.5, 0.0]) == {"clock"}
    assert cause([0.0, 0.0]) == set()
    assert cause([1.5, 0.0], 400.0) == set()  # fixes too wide for it to matter
    few = np.arange(40) < 7
    assert significant_causes(*synthetic([1.5, 0.0]), moved, covariance, few) == {}


@pytest.mark.slow
def test_normal_equations_are_those_of_the_residuals():
    rng = np.random.default_rng(1)
    slope = rng.normal(size=(2, 3, 3)) * np.array([0.02, 0.01, 0.8])[:, None]
    mean = np.array([[0.3, 1.4, 60.0], [-1.2, 1.5, 85.0]])
    path = LinearisedPaths(
        np.zeros(3), mean, slope, np.tile([1e-4, 2e-4, 0.1], (2, 1)), np.array([3.0, 3.0]),
        np.zeros(2), np.ones(2), np.array(0.0),
    )  # fmt: skip
    seen = mean + np.array([[0.01, -0.02, 0.4], [0.02, 0.01, 0.7]])
    joint = np.array([[0.3, -0.1], [-0.1, 0.2]])
    observed = OneWayPaths(
        *seen.T, np.zeros(2), *np.tile([3e-4, 4e-4], (2, 1)).T, np.diag(joint), joint, np.ones(2),
        np.array(0.0), np.array(1.0), np.ones(2, bool),
    )  # fmt: skip
    path, observed = jax.tree.map(jax.numpy.asarray, (path, observed))
    normal = normal_equations(path, observed, jax.numpy.zeros(3), jax.numpy.nan)
    rows = np.zeros((6, 5))
    rows[:, :3] = slope.reshape(6, 3)
    rows[[2, 5], 3], rows[[0, 3], 4] = 0.5, 1.0
    covariance = np.diag([4e-4, 6e-4, 0.0, 4e-4, 6e-4, 0.0])
    lengths = np.ix_([2, 5], [2, 5])
    covariance[lengths] = joint + 0.1 * np.eye(2)
    weight = np.linalg.inv(covariance)
    np.testing.assert_allclose(normal.information, rows.T @ weight @ rows, rtol=1e-9)
    np.testing.assert_allclose(
        normal.gradient, rows.T @ weight @ (seen - mean).ravel(), rtol=1e-9, atol=1e-12
    )
    one = Normal(*(np.asarray(leaf)[None] for leaf in normal))
    gradient, information, moved = marginalise(one, 2)
    whole = np.linalg.inv(one.information[0][np.ix_([0, 1, 3, 4], [0, 1, 3, 4])] + np.diag(
        [300.0**-2, 300.0**-2, 0.0, 0.0]))  # fmt: skip
    np.testing.assert_allclose(np.linalg.inv(information[0]), whole[2:, 2:], rtol=1e-6)
    assert gradient.shape == (1, 2)
    assert moved.shape == (1, 3, 2)
    assert (moved[0, 2] == 0).all()
