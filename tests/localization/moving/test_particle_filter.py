"""A moving target among mirrors: better than single looks, honest starts, silences and ends."""

import equinox as eqx
import jax
import numpy as np
import pytest

from echoscape.channel_map import save_maps
from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.localization import localize
from echoscape.localization.moving import particle_filter
from echoscape.localization.moving.particle_filter import (
    FollowSettings,
    TargetStatus,
    _accelerations,
    _Epochs,
    _new_cloud,
    _read_epochs,
    _run,
    follow,
)
from echoscape.localization.posterior_modes import posterior_modes
from echoscape.localization.unassociated.ascent import LocalMaxima
from echoscape.reports import write_echoes
from echoscape.reports.echo_making import make_echoes
from echoscape.studies.nlos_ckm.moving_target import scene_reports, wander
from echoscape.studies.nlos_ckm.square_scene import learn_square, square_places, square_site

LOOKS = 36


@pytest.fixture(scope="module")
def scene():
    site, key = square_site(3), jax.random.key(5)
    learnt = learn_square(scene_reports(site, square_places(3, 120), key, True))
    truth = wander(11, LOOKS)
    users = scene_reports(site, jax.numpy.asarray(truth), jax.random.key(6), True)
    users = eqx.tree_at(lambda r: r.time, users, 0.1 * np.arange(float(LOOKS)))
    made = make_echoes(users, jax.random.key(7), angle_std=0.1, delay_std=5e-9)
    return learnt, truth, made.echoes


SMALL = FollowSettings(particles=800)


@pytest.mark.slow
def test_after_two_seconds_a_track_is_twice_as_good_as_a_look(scene):
    learnt, truth, echoes = scene
    found = follow(echoes, learnt, key=jax.random.key(0), settings=SMALL)
    late = found.time > 2.0
    rms = lambda place: np.sqrt(np.mean(np.sum((place - truth[late])[:, :2] ** 2, axis=1)))  # noqa: E731
    followed = rms(found.position[late])
    # One short way: the ratio scatters about the half that the study finds over many.
    assert followed < 0.6 * rms(localize(echoes[late], learnt).best)
    assert followed < 0.4
    assert (found.status == TargetStatus.FOLLOWED).all()
    assert (found.track == 0).all()
    miss = (found.position - truth)[late, :2]
    square = np.einsum("ti,tij,tj->t", miss, np.linalg.inv(found.covariance[late]), miss)
    assert np.median(square) < 9.0  # correlated in time: only a gross overclaim shows


def test_a_fix_that_explains_little_is_no_detection_even_at_the_edge():
    two = np.zeros((2, 1))
    found = LocalMaxima(
        position=np.tile([3.0, 4.0, 1.5], (2, 1, 1)), log_likelihood=two + 20.0,
        information=np.tile(np.diag([4.0, 4.0, 0.0]), (2, 1, 1, 1)),
        explained=np.array([[4.0], [9.0]]), detected=two + 10.0,
        log_reflectivity=two[..., None], starts=two + 1.0,
    )  # fmt: skip
    fix = posterior_modes(
        np.arange(2), found, two + 14.9, False, reach=15.0, ambiguous_below=0.9,
        ambiguous_above=3.0, starts=1,
    )  # fmt: skip
    assert np.asarray(_read_epochs(fix, np.arange(2)).detected).tolist() == [False, True]


@pytest.mark.slow
def test_a_short_silence_is_coasted_and_a_long_one_ends_the_track(scene):
    learnt, truth, echoes = scene
    for silent, tracks in ((4, 1), (14, 2)):
        valid = np.array(echoes.estimates.valid)
        valid[12 : 12 + silent] = False
        quiet = eqx.tree_at(lambda e: e.estimates.valid, echoes, valid)
        found = follow(quiet, learnt, key=jax.random.key(1), settings=SMALL)
        assert found.track.max() + 1 == tracks
        expected = TargetStatus.COASTING if tracks == 1 else TargetStatus.NO_TRACK
        assert (found.status[12 : 12 + silent] == expected).all()
        assert np.isfinite(found.position).all()
        assert np.linalg.norm((found.position - truth)[-1, :2]) < 2.0


def run_gaussians(seen, covariance, lag, settings):
    """Follow looks that are one Gaussian each."""
    count = len(seen)
    looks = _Epochs(
        seen[:, None],
        np.tile(np.linalg.inv(covariance), (count, 1, 1, 1)),
        np.full((count, 1), -0.5 * np.log(np.linalg.det(covariance)) - np.log(2 * np.pi)),
        np.ones(count, bool),
    )
    cloud = _new_cloud(jax.tree.map(lambda leaf: leaf[0], looks), settings, jax.random.key(1))
    found = _run(
        jax.tree.map(jax.numpy.asarray, looks), lag * jax.numpy.arange(float(count)),
        jax.numpy.asarray(0), cloud, jax.numpy.asarray(np.log(1e-6)), _accelerations(settings),
        jax.random.key(2),
    )  # fmt: skip
    return [np.asarray(leaf) for leaf in found[:3]]


@pytest.mark.slow
def test_how_a_target_moves_is_learnt_from_its_looks():
    rng, lag, covariance = np.random.default_rng(8), 0.1, np.array([[0.02, 0.01], [0.01, 0.03]])
    settings, told = FollowSettings(particles=1500), {}
    for acceleration in (0.3, 5.0):
        push = acceleration * np.sqrt(lag) * rng.normal(size=(80, 2))
        speed = np.cumsum(push, axis=0) + np.array([1.5, -0.8])
        way = np.cumsum(lag * (speed - 0.5 * push), axis=0)
        seen = way + rng.multivariate_normal(np.zeros(2), covariance, 80)
        mean, _, _ = run_gaussians(seen, covariance, lag, settings)
        told[acceleration] = np.exp(mean[-1, 4])
        rms = {"learnt": np.sqrt(np.mean((mean[20:, :2] - way[20:]) ** 2))}
        for fixed in (acceleration, 0.3 * 5.0 / acceleration):
            mean, _, _ = run_gaussians(
                seen, covariance, lag, FollowSettings(particles=1500, acceleration_std=fixed)
            )
            np.testing.assert_allclose(mean[:, 4], np.log(fixed), atol=1e-9)
            rms[fixed] = np.sqrt(np.mean((mean[20:, :2] - way[20:]) ** 2))
        assert rms["learnt"] < 1.2 * rms[acceleration]
        assert rms["learnt"] < 0.85 * rms[0.3 * 5.0 / acceleration]
    assert told[0.3] < 0.8
    assert 2.5 < told[5.0] < 10.0


@pytest.mark.slow
def test_looks_of_one_gaussian_are_filtered_as_by_kalman_and_an_odd_one_is_passed_over():
    rng, lag, count = np.random.default_rng(3), 0.1, 30
    covariance = np.array([[0.5, 0.3], [0.3, 0.4]])
    way = np.array([20.0, 35.0]) + lag * np.arange(count)[:, None] * [2.0, -1.3]
    seen = way + rng.multivariate_normal(np.zeros(2), covariance, count)
    odd = 17
    seen[odd] += [40.0, 25.0]
    settings = FollowSettings(particles=20_000, acceleration_std=1.0)
    mean, spread, explained = run_gaussians(seen, covariance, lag, settings)
    eye, none = np.eye(2), np.zeros((2, 2))
    step = np.block([[eye, lag * eye], [none, eye]])
    push = np.sqrt(lag) * np.concatenate([0.5 * lag * eye, eye])
    state, trust = (
        np.concatenate([seen[0], [0, 0]]),
        np.block([[covariance, none], [none, 9 * eye]]),
    )
    for k in range(1, count):
        state, trust = step @ state, step @ trust @ step.T + push @ push.T
        if k != odd:
            gain = trust[:, :2] @ np.linalg.inv(trust[:2, :2] + covariance)
            state, trust = state + gain @ (seen[k] - state[:2]), trust - gain @ trust[:2]
    assert np.flatnonzero(~np.asarray(explained)).tolist() == [odd]
    np.testing.assert_allclose(mean[-1, :4], state, atol=0.06)
    np.testing.assert_allclose(spread[-1], trust[:2, :2], atol=0.02)


def test_what_cannot_be_followed_is_refused(scene):
    learnt, _, echoes = scene
    still = eqx.tree_at(lambda e: e.time, echoes, np.zeros(LOOKS))
    with pytest.raises(InputError, match="two instants have the same time"):
        follow(still, learnt, key=jax.random.key(0))
    nothing = eqx.tree_at(
        lambda e: e.estimates.valid, echoes, np.zeros_like(echoes.estimates.valid)
    )
    with pytest.raises(InputError, match="no echoes to follow"):
        follow(nothing, learnt, key=jax.random.key(0))
    with pytest.raises(InputError, match="fit a map from that station"):
        follow(echoes, {}, key=jax.random.key(0))


@pytest.mark.slow
def test_the_command_writes_a_table_and_a_figure(scene, tmp_path, capsys):
    learnt, _, echoes = scene
    save_maps({learnt.station: learnt}, tmp_path / "map")
    write_echoes(echoes, tmp_path / "echoes.parquet")
    words = ["follow", tmp_path / "echoes.parquet", "--map", tmp_path / "map"]
    words += ["--out", tmp_path / "way.csv", "--figure"]
    assert main([str(word) for word in words]) == 0
    assert "claimed error" in capsys.readouterr().out
    assert len((tmp_path / "way.csv").read_text().splitlines()) == LOOKS + 2
    assert (tmp_path / "way.png").stat().st_size > 10_000


def test_names_of_the_previous_version_work_and_say_so():
    with pytest.warns(DeprecationWarning, match="patience is deprecated; use max_coasting_time"):
        assert FollowSettings(patience=2.0) == FollowSettings(max_coasting_time=2.0)  # pyright: ignore[reportCallIssue]
    with pytest.warns(DeprecationWarning, match="FollowStatus is deprecated; use TargetStatus"):
        assert particle_filter.FollowStatus is TargetStatus
