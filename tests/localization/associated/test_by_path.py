"""Known pairs, unknown ranks: a brute-force twin, identities, and the paper's square."""

import dataclasses
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from echoscape.channel_map import ScattererMap
from echoscape.checks import InputError
from echoscape.localization import (
    AssociatedByPath,
    FixStatus,
    PairedEchoes,
    PreparedMaps,
    localize,
    prepare,
)
from echoscape.localization.associated.one_way_likelihood import (
    evaluate,
    exchange_log_prior,
    exchanges,
    near_paths,
    one_way_target,
)
from echoscape.scene import StaticPoints
from echoscape.studies.nlos_ckm.world import echoes_of, exact_bound, exact_map, make_layout
from echoscape.units import SPEED_OF_LIGHT

ANGLE, DELAY = 0.07, 6e-9
STATION = np.array([50.0, 3.0, 0.0])
POINTS = np.array([[12.0, 61, 0], [83, 22, 0], [35, 88, 0], [67, 45, 0], [91, 93, 0]])


def _map(listed=3) -> ScattererMap:
    jitter = np.array([0.9, 0.4, 1.3, 0.7, 0.5])
    return ScattererMap(
        points=StaticPoints.scatterers(
            POINTS,
            jitter[:, None, None] ** 2 * np.array([[1, 0.4, 0], [0.4, 0.8, 0], [0, 0, 0]]),
            log_gain=np.array([0.3, -0.4, 0.9, 0.1, 0.5]),
            log_gain_std=np.full(5, 0.05),
            visibility=np.full(5, 0.9),
        ),
        report_position=np.array([[40.0, 40.0, 0.0]]),
        station_position=STATION,
        station="bs",
        reported_paths=listed,
        planar=True,
    )


def _echo(rng, paths=3, missing=()) -> PairedEchoes:
    shape = (paths, paths)
    azimuth = rng.uniform(0.3, 2.8, paths)
    delay = rng.uniform(2e-7, 5e-7, paths)
    valid = np.ones(shape, dtype=bool)
    for pair in missing:
        valid[pair] = False
    return PairedEchoes(
        jnp.asarray(azimuth[:, None] + 0.02 * rng.normal(size=shape)),
        jnp.asarray(azimuth[None] + 0.02 * rng.normal(size=shape)),
        jnp.asarray(delay[:, None] + delay + 2e-9 * rng.normal(size=shape)),
        jnp.asarray(valid),
    )


_evaluate, _near = eqx.filter_jit(evaluate), eqx.filter_jit(near_paths)


@eqx.filter_jit
def _target(echo):
    return one_way_target(echo, jnp.asarray(ANGLE), jnp.asarray(DELAY))


def _twin(echo, prior, order) -> float:
    """Log density of all echoes, one by one, correlated through the map's errors of the paths."""
    paths = len(order)
    own = np.zeros((2 * paths, 2 * paths))  # angle and one-way length of every path
    mean = np.zeros(2 * paths)
    for k, slot in enumerate(order):
        block = np.asarray(prior.covariance[slot])[np.ix_([0, 2], [0, 2])]
        own[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = block
        mean[2 * k] = prior.departure_azimuth[slot]
        mean[2 * k + 1] = prior.length[slot]
    rows, measured, noise = [], [], []
    for i, j in itertools.product(range(paths), repeat=2):
        if not echo.valid[i, j]:
            continue
        for column, value, std in (
            ([2 * i], echo.departure_azimuth[i, j], ANGLE),
            ([2 * j], echo.arrival_azimuth[i, j], ANGLE),
            ([2 * i + 1, 2 * j + 1], SPEED_OF_LIGHT * echo.delay[i, j], SPEED_OF_LIGHT * DELAY),
        ):
            row = np.zeros(2 * paths)
            np.add.at(row, column, 1.0)
            rows.append(row)
            measured.append(float(value))
            noise.append(std**2)
    a = np.array(rows)
    return multivariate_normal(a @ mean, a @ own @ a.T + np.diag(noise)).logpdf(measured)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [(), ((0, 1), (2, 2)), ((1, 0), (1, 2), (2, 1), (0, 0))])
def test_differences_of_likelihoods_are_those_of_all_echoes_one_by_one(missing):
    echo = _echo(np.random.default_rng(4), missing=missing)
    channel_map, twin, ours = _map(listed=5), [], []
    for place in ([30.0, 41.0, 0.0], [63.0, 70.0, 0.0], [22.0, 15.0, 0.0]):
        place = jnp.asarray(place)
        near = _near(channel_map, place, 4)
        prior = channel_map(place)
        listed = np.argsort(-np.asarray(prior.power))[:3]
        twin.append(_twin(echo, prior, listed))
        ours.append(float(_evaluate(near, _target(echo), place, "hard", False)[0]))
    # The mean of azimuths is taken over the circle: that departs from the plain mean by 1e-5.
    np.testing.assert_allclose(np.diff(ours), np.diff(twin), rtol=3e-4)
    assert np.abs(np.diff(twin)).min() > 10


@pytest.mark.slow
def test_gradient_and_curvature_are_those_of_the_linearised_likelihood():
    echo, place = _echo(np.random.default_rng(5)), jnp.array([37.0, 52.0, 0.0])
    near = _near(_map(), place, 4)

    target = _target(echo)

    @eqx.filter_jit
    def compare(ranks):
        value = lambda at: evaluate(near, target, at, ranks, False)[0]  # noqa: E731
        _, gradient, curvature, _ = evaluate(near, target, place, ranks, False)
        return gradient, curvature, jax.grad(value)(place), -jax.hessian(value)(place)

    gradient, curvature, slope, bend = compare("hard")
    np.testing.assert_allclose(gradient[:2], slope[:2], rtol=1e-8)
    np.testing.assert_allclose(curvature[:2, :2], bend[:2, :2], rtol=1e-7)
    gradient, _, slope, _ = compare("soft")
    np.testing.assert_allclose(gradient[:2], slope[:2], rtol=1e-8)


@pytest.mark.slow
def test_scatterers_that_nobody_hears_do_not_take_the_gradient_away():
    # In single precision the power of such a scatterer is zero.
    target = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == float else leaf,
        _target(_echo(np.random.default_rng(3))),
    )
    place = jnp.array([44.0, 51.0, 0.0], jnp.float32)

    @eqx.filter_jit
    @jax.value_and_grad
    def value(place, channel_map):
        return evaluate(near_paths(channel_map, place, 4), target, place, "soft", False)[0]

    filled = _map().predictor()
    assert isinstance(filled, ScattererMap)
    assert len(filled.points) > len(POINTS)
    expected, found = value(place, _map()), value(place, filled)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
    assert np.linalg.norm(found[1][:2]) > 0.1


@pytest.mark.parametrize("paths", [2, 3, 5])
def test_exchanges_are_all_orders_in_which_no_path_moves_by_more_than_one(paths):
    every = [
        order[:paths]
        for order in itertools.permutations(range(paths + 1))
        if all(abs(rank - k) <= 1 for k, rank in enumerate(order))
    ]
    assert sorted(map(tuple, exchanges(paths).tolist())) == sorted(every)


def test_an_exchange_is_as_likely_as_the_gap_is_small():
    near = _near(_map(listed=5), jnp.array([37.0, 52.0, 0.0]), 4)
    prior = np.asarray(exchange_log_prior(near, exchanges(3)))
    rng, draws = np.random.default_rng(0), 200_000
    noisy = np.asarray(near.log_power) + np.asarray(near.log_power_std) * rng.normal(
        size=(draws, 4)
    )
    for order, log_prior in zip(exchanges(3), prior, strict=True):
        swapped = [k for k in range(3) if order[k] == k + 1]
        pairs = swapped or [0, 1, 2]
        expected = 1.0
        for k in pairs:
            turned = np.mean(noisy[:, k] < noisy[:, k + 1])
            expected *= turned if swapped else 1 - turned
        if len(swapped) == 1 and expected > 1e-3:
            apart = [k for k in range(3) if abs(k - swapped[0]) > 1]
            for k in apart:
                expected *= np.mean(noisy[:, k] > noisy[:, k + 1])
            np.testing.assert_allclose(np.exp(log_prior), expected, rtol=0.1)
        if not swapped:
            np.testing.assert_allclose(np.exp(log_prior), expected, rtol=0.05)


@pytest.fixture(scope="module")
def square():
    layout = make_layout(3, users=1000, targets=60)  # scatterers that no group of eight holds
    echoes = echoes_of(layout.targets, angle_std=0.1, delay_std=5e-9, seed=3)
    return layout, prepare(exact_map(layout), echoes).grid


def _locate(square, echoes, **fields):
    return localize(echoes, PreparedMaps(AssociatedByPath(**fields), square[1]))


def _errors(layout, fix):
    return np.linalg.norm(fix.best - layout.targets.position, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", ["soft", "none"])
def test_targets_of_the_square_are_found_to_the_bound(square, ranks):
    layout, _ = square
    echoes = echoes_of(layout.targets, angle_std=0.1, delay_std=5e-9, seed=3)
    fix = _locate(square, echoes, rank_association=ranks)
    error, bound = _errors(layout, fix), exact_bound(layout, angle_std=0.1, delay_std=5e-9)
    # 60 errors of two coordinates: a root mean square scatters by a tenth.
    assert 0.75 < np.sqrt(np.mean(error**2) / np.mean(bound**2)) < 1.3
    assert np.mean(fix.status == FixStatus.LOCATED) > 0.9
    inside = error**2 < 4.605 * np.trace(fix.covariance[:, 0], axis1=1, axis2=2)
    assert inside.mean() > 0.9


@pytest.mark.slow
def test_where_ranks_are_ignored_the_order_of_paths_says_nothing(square):
    layout, _ = square
    echoes = echoes_of(layout.targets, angle_std=0.1, delay_std=5e-9, seed=3)
    order = np.array([3, 0, 4, 2, 1])
    turned = jax.tree.map(
        lambda leaf: leaf[:, order][:, :, order] if leaf.ndim == 3 else leaf, echoes
    )
    one = _locate(square, echoes, rank_association="none")
    other = _locate(square, turned, rank_association="none")
    np.testing.assert_allclose(one.best, other.best, atol=1e-4)
    lost = _locate(square, turned, rank_association="hard")
    assert np.median(_errors(layout, lost)) > 5.0


@pytest.mark.slow
def test_reciprocal_echoes_alone_say_less_by_the_information_they_hold(square):
    layout, _ = square
    how = {"angle_std": 0.1, "delay_std": 20e-9}
    echoes = echoes_of(layout.targets, seed=5, **how)
    every = _errors(layout, _locate(square, echoes))
    few = _errors(layout, _locate(square, echoes, pairs="reciprocal"))
    expected = np.sqrt(
        np.mean(exact_bound(layout, pairs="reciprocal", **how) ** 2)
        / np.mean(exact_bound(layout, **how) ** 2)
    )
    assert expected > 1.4
    np.testing.assert_allclose(np.sqrt(np.mean(few**2) / np.mean(every**2)), expected, rtol=0.25)


@pytest.mark.slow
def test_one_target_alone_is_located_as_among_others(square):
    layout, _ = square
    how = {"angle_std": 0.1, "delay_std": 5e-9}
    echoes = echoes_of(layout.targets, seed=6, **how)
    together = _locate(square, echoes)
    for k in (0, 17, 59):
        alone = _locate(square, jax.tree.map(lambda leaf, k=k: leaf[k : k + 1], echoes))
        np.testing.assert_allclose(alone.best[0], together.best[k], atol=1e-9)


def test_refusals(square):
    layout, _ = square
    echoes = echoes_of(layout.targets, angle_std=0.1, delay_std=5e-9, seed=6)
    with pytest.raises(InputError, match="delay_std must be finite and above zero, in s; got"):
        _locate(square, dataclasses.replace(echoes, delay_std=np.zeros(60)))
    with pytest.raises(InputError, match="the set is empty"):
        _locate(square, jax.tree.map(lambda leaf: leaf[:0], echoes))
    fewer = jax.tree.map(lambda leaf: leaf[:, :4, :4] if leaf.ndim == 3 else leaf, echoes)
    with pytest.raises(InputError, match="pair 4 paths, but the maps were prepared for 5"):
        _locate(square, fewer)
    with pytest.raises(ValueError, match="greater than 0"):
        AssociatedByPath(cell=0.0)
