"""Known pairing: a brute-force twin, the product that scores a grid, and the paper's square."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap, PathPrior
from echoscape.checks import InputError
from echoscape.localization import (
    AssociatedByRank,
    FixStatus,
    PairedEchoes,
    PreparedMaps,
    localize,
    prepare,
)
from echoscape.localization.associated import paired_likelihood
from echoscape.localization.associated.paired_likelihood import cell_weights, target_sums
from echoscape.localization.bounds.fisher import map_bound
from echoscape.localization.scores import score

# one compilation each, not one for every operation
log_likelihood = eqx.filter_jit(paired_likelihood.log_likelihood)
ranked_paths = eqx.filter_jit(paired_likelihood.ranked_paths)
C = 299_792_458.0
STATION = np.array([50.0, 0.0, 0.0])
SCATTERERS = np.array(
    [[12.0, 61.0], [83.0, 22.0], [35.0, 88.0], [67.0, 45.0], [91.0, 93.0], [22.0, 17.0]]
)


class SquareMap(ChannelMap):
    """Point scatterers whose places are known, after [wu-ckm]'s simulations."""

    report_position: Float[Array, "report 3"]
    station: str = "square"
    station_position: Float[Array, "3"] = eqx.field(default_factory=lambda: jnp.asarray(STATION))

    def __call__(self, position):
        first = jnp.asarray(SCATTERERS) - self.station_position[None, :2]
        out = jnp.linalg.norm(first, axis=1)
        leg = jnp.linalg.norm(jnp.asarray(SCATTERERS) - position[None, :2], axis=1)
        one = jnp.ones_like(out)
        variance = jnp.array([1e-4, 1.0, 0.3**2])
        unequal = 1.0 + 0.3 * jnp.arange(len(one))  # equal ones would hide a swapped axis
        return PathPrior(
            probability=0.9 * one,
            departure_azimuth=jnp.arctan2(first[:, 1], first[:, 0]),
            departure_zenith=0.5 * jnp.pi * one,
            length=out + leg,
            covariance=jnp.diag(variance)[None] * unequal[:, None, None],
            power=1.0 / (out * leg) ** 2,
        )


@pytest.fixture(scope="module")
def square():
    corners = [[x, y, 0.0] for x in range(0, 101, 20) for y in range(0, 101, 20)]
    return SquareMap(jnp.asarray(corners))


def _echoes(square, place, key, angle_std, delay_std, paths=5):
    ranked = jax.vmap(lambda x: ranked_paths(square, x, paths))(jnp.asarray(place))
    out, back, late = (
        np.asarray(jax.random.normal(each, (len(place), paths, paths)))
        for each in jax.random.split(key, 3)
    )
    azimuth, length = np.asarray(ranked.mean[..., 0]), np.asarray(ranked.mean[..., 2])
    return PairedEchoes(
        departure_azimuth=azimuth[:, :, None] + angle_std * out,
        arrival_azimuth=azimuth[:, None, :] + angle_std * back,
        delay=(length[:, :, None] + length[:, None, :]) / C + delay_std * late,
        valid=np.ones(out.shape, dtype=bool),
        angle_std=angle_std,
        delay_std=delay_std,
    )


PLACE = np.array([41.3, 57.8, 0.0])


def _one(square, key):
    echoes = _echoes(square, PLACE[None], key, 0.1, 5e-9)
    echoes = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), echoes).without_deviations()
    heard = np.ones((5, 5), dtype=bool)
    heard[1, 3] = heard[4, 4] = False  # unequal on purpose: a swapped axis shows
    return eqx.tree_at(lambda e: e.valid, echoes, jnp.asarray(heard))


def test_the_likelihood_is_the_papers_double_sum(square, key):
    echo = _one(square, key)
    where = jnp.asarray(PLACE + np.array([1.3, -0.9, 0.0]))
    paths = ranked_paths(square, where, 5)
    expected = 0.0
    for i in range(5):
        for j in range(5):
            if not echo.valid[i, j]:
                continue
            for seen, mean, variance in (
                (echo.departure_azimuth[i, j], paths.mean[i, 0], paths.variance[i, 0] + 0.01),
                (echo.arrival_azimuth[i, j], paths.mean[j, 0], paths.variance[j, 0] + 0.01),
                (
                    C * echo.delay[i, j],
                    paths.mean[i, 2] + paths.mean[j, 2],
                    paths.variance[i, 2] + paths.variance[j, 2] + (C * 5e-9) ** 2,
                ),
            ):
                expected -= 0.5 * ((seen - mean) ** 2 / variance + jnp.log(variance))
    value, _, _ = log_likelihood(paths, echo, 0.1, 5e-9, where)
    assert jnp.isclose(value, expected, rtol=1e-12)


def test_gradient_and_curvature_are_those_of_the_tangent(square, key):
    echo = _one(square, key)
    paths = ranked_paths(square, jnp.asarray(PLACE), 5)
    value = lambda x: log_likelihood(paths, echo, 0.1, 5e-9, x)[0]  # noqa: E731
    where = jnp.asarray(PLACE + np.array([0.7, 0.4, 0.0]))
    _, gradient, curvature = log_likelihood(paths, echo, 0.1, 5e-9, where)
    # quadratic in position: both derivatives are exact
    assert jnp.allclose(gradient, jax.grad(value)(where), rtol=1e-9, atol=1e-9)
    assert jnp.allclose(curvature, -jax.hessian(value)(where), rtol=1e-9, atol=1e-9)


def test_angles_are_compared_across_the_cut(square, key):
    echo = _one(square, key)
    turned = eqx.tree_at(
        lambda e: (e.departure_azimuth, e.arrival_azimuth),
        echo,
        (echo.departure_azimuth + 2 * jnp.pi, echo.arrival_azimuth - 2 * jnp.pi),
    )
    paths = ranked_paths(square, jnp.asarray(PLACE), 5)
    one, other = (
        log_likelihood(paths, e, 0.1, 5e-9, jnp.asarray(PLACE))[0] for e in (echo, turned)
    )
    assert jnp.isclose(one, other, rtol=1e-12)


@pytest.mark.slow
def test_a_grid_of_scores_is_one_product(square, key):
    echo = _one(square, key)
    cells = jnp.asarray(PLACE + np.array([[0.0, 0, 0], [2.0, -3, 0], [-30.0, 11, 0], [8.0, 25, 0]]))
    ranked = jax.vmap(lambda x: ranked_paths(square, x, 5))(cells)
    product = target_sums(echo) @ cell_weights(ranked, 0.1, 5e-9)

    def twin(paths):  # squares of angles as 2 - 2 cos, lengths in units of 100 m
        angle, length = paths.variance[:, 0] + 0.01, paths.variance[:, 2] / 1e4
        spread = length[:, None] + length[None] + (C * 5e-11) ** 2
        total = 0.0
        for i, j in zip(*np.nonzero(np.asarray(echo.valid))):
            out = echo.departure_azimuth[i, j] - paths.mean[i, 0]
            back = echo.arrival_azimuth[i, j] - paths.mean[j, 0]
            late = C * echo.delay[i, j] - paths.mean[i, 2] - paths.mean[j, 2]
            total -= (1 - jnp.cos(out)) / angle[i] + 0.5 * jnp.log(angle[i])
            total -= (1 - jnp.cos(back)) / angle[j] + 0.5 * jnp.log(angle[j])
            total -= 0.5 * (1e-4 * late**2 / spread[i, j] + jnp.log(spread[i, j]))
        return total

    each = [twin(jax.tree.map(lambda leaf, k=k: leaf[k], ranked)) for k in range(4)]
    # weights are in single precision, their terms up to 1e4 at the near cells
    assert np.allclose(product, each, rtol=1e-5, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["all", "reciprocal"])
def test_errors_in_the_square_meet_the_bound(square, key, pairs):
    place = np.asarray(jax.random.uniform(key, (400, 3))) * [100.0, 100.0, 0.0]
    echoes = _echoes(square, place, key, 0.1, 5e-9)
    fix = localize(echoes, square, method=AssociatedByRank(pairs=pairs))
    error = np.linalg.norm(fix.best - place, axis=1)
    # The map is exact here although it claims an error: the bound of the claim is an upper one.
    bound = map_bound(square, place, angle_std=0.1, delay_std=5e-9, pairs=pairs).root_trace
    assert np.median(error / bound) < 1.0
    # what is left are places that two readings of five blurred delays cannot tell apart
    assert np.mean(error > 10 * bound) < (0.01 if pairs == "all" else 0.03)
    # where two paths exchange their ranks the map jumps, and five echoes do not make up for it
    assert score(fix, place).inside_99 > (0.97 if pairs == "all" else 0.93)
    assert (fix.status == FixStatus.LOCATED).mean() > 0.9
    if pairs == "all":
        fewer = localize(echoes, square, method=AssociatedByRank(pairs="reciprocal"))
        assert np.median(np.linalg.norm(fewer.best - place, axis=1)) > 1.2 * np.median(error)


@pytest.mark.slow
def test_chunks_and_company_do_not_matter(square, key):
    place = np.asarray(jax.random.uniform(key, (400, 3))) * [100.0, 100.0, 0.0]
    echoes = _echoes(square, place, key, 0.1, 5e-9)
    prepared = prepare(square, echoes, method=AssociatedByRank())
    whole = localize(echoes, prepared)
    some = jax.tree.map(lambda leaf: leaf[37:337], echoes)  # pads to the same size
    assert np.allclose(localize(some, prepared).best, whole.best[37:337], atol=1e-6)
    narrow = PreparedMaps(AssociatedByRank(chunk=64), prepared.grid)
    parts = localize(jax.tree.map(lambda leaf: leaf[:70], echoes), narrow)
    assert np.allclose(parts.best, whole.best[:70], atol=1e-6)


@pytest.mark.slow
def test_refusals(square, key):
    method = AssociatedByRank()
    with pytest.raises(InputError, match="needs the echoes' own errors: delay_std must be finite"):
        localize(_echoes(square, PLACE[None], key, 0.1, 0.0), square, method=method)
    prepared = prepare(square, _echoes(square, PLACE[None], key, 0.1, 5e-9, 4), method=method)
    echoes = _echoes(square, np.repeat(PLACE[None], 2, axis=0), key, 0.1, 5e-9)
    with pytest.raises(InputError, match="pair 5 paths, but the maps were prepared for 4"):
        localize(echoes, prepared)
    none = jax.tree.map(lambda leaf: leaf[:0], echoes)
    with pytest.raises(InputError, match="the set is empty"):
        localize(none, square, method=method)
    unequal = dataclasses.replace(echoes, angle_std=np.array([0.1, 0.2]))
    with pytest.raises(InputError, match=r"the same errors of all targets.*AssociatedByPath can"):
        localize(unequal, square, method=method)
    with pytest.raises(InputError, match="name no station, so one map is needed"):
        localize(echoes, {"a": square, "b": square}, method=method)
    with pytest.raises(ValueError, match="square in the last two axes"):
        PairedEchoes(*(np.ones((2, 3, 4)),) * 3, np.ones((2, 3, 4), bool))
