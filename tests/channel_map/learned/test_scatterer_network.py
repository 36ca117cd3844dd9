"""A network of points, against the world whose points it must find."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from echoscape.channel_map import fit_map
from echoscape.channel_map.learned.scatterer_network import ScattererNetwork, path_scores
from echoscape.checks import InputError
from echoscape.scene import scatterer_position
from echoscape.studies.nlos_ckm.world import JITTER, make_layout, reports_of


@pytest.fixture(scope="module")
def learnt():
    layout = make_layout(0, users=300, targets=50)
    reports = reports_of(layout, 300)
    return layout, fit_map(reports, ScattererNetwork(slots=64, steps=1500), key=jax.random.key(0))


@pytest.mark.slow
def test_every_scatterer_is_a_slot_and_no_other(learnt):
    layout, found = learnt
    truth = np.asarray(layout.site.scatterer_position)
    apart = np.linalg.norm(scatterer_position(found.static_points())[:, None] - truth, axis=-1)
    assert len(apart) == len(truth)
    np.testing.assert_array_less(apart.min(axis=0), 0.4)
    jitter = np.sqrt(np.asarray(found.static_points().covariance)[:, 0, 0])
    np.testing.assert_allclose(jitter, JITTER, rtol=0.3)


@pytest.mark.slow
def test_paths_of_new_places_are_those_predicted(learnt):
    layout, found = learnt
    prior = jax.tree.map(np.asarray, jax.jit(jax.vmap(found))(jnp.asarray(layout.targets.position)))
    apart = np.linalg.norm(
        scatterer_position(found.static_points())[:, None]
        - np.asarray(layout.site.scatterer_position),
        axis=-1,
    )
    slot = apart.argmin(axis=0)[layout.targets.identity]
    take = lambda leaf: np.take_along_axis(leaf, slot, axis=1)  # noqa: E731
    late = take(prior.length) - layout.targets.length
    assert np.median(np.abs(late)) < 0.5  # what the jitter makes of it
    assert np.mean(take(prior.probability) > 0.5) > 0.85
    np.testing.assert_allclose(prior.probability.sum(axis=1).mean(), 5.0, atol=0.4)
    gap = np.log(take(prior.power) / layout.targets.power)
    assert np.median(np.abs(gap)) < 0.1


@pytest.mark.slow
def test_a_path_is_scored_as_its_swaying_point_lets_angles_and_length_err_together():
    rng = np.random.default_rng(3)
    jitter, error = 0.3, 0.2
    point = rng.normal(size=(4, 3)) * [20.0, 20.0, 8.0]
    place = rng.normal(size=(6, 3)) * [40.0, 40.0, 5.0]
    own = rng.uniform(0.0001, 0.001, (6, 2, 3)) * [1.0, 1.0, 30.0]

    def path(point, place):
        level = jnp.hypot(point[0], point[1])
        length = jnp.linalg.norm(point) + jnp.linalg.norm(place - point)
        return jnp.stack([jnp.arctan2(point[1], point[0]), jnp.arctan2(level, point[2]), length])

    seen = np.array([[path(point[0] + 0.1, q), path(point[1] - 0.2, q)] for q in place])
    seen[0, 0, 0] += 2 * np.pi
    found = path_scores(point, np.log(jitter), place, seen, own, error)
    for user, other, slot in np.ndindex(found.shape):
        slope = np.array(jax.jacfwd(path)(point[slot], place[user]))
        spread = jitter**2 + error**2
        covariance = spread * slope @ slope.T + np.diag(own[user, other])
        legs = np.linalg.norm(point[slot]), np.linalg.norm(place[user] - point[slot])
        covariance[2, 2] += 0.5 * (spread * (1 / legs[0] + 1 / legs[1])) ** 2
        gap = seen[user, other] - np.array(path(point[slot], place[user]))
        gap[0] = (gap[0] + np.pi) % (2 * np.pi) - np.pi
        expected = multivariate_normal(np.zeros(3), covariance).logpdf(gap)
        np.testing.assert_allclose(found[user, other, slot], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
def test_reports_that_no_point_explains_are_refused():
    reports = reports_of(make_layout(0, users=20, targets=5), 20)
    early = np.zeros_like(reports.estimates.delay)
    with pytest.raises(InputError, match="none of the 100 paths reported inverts to one"):
        fit_map(
            eqx.tree_at(lambda r: r.estimates.length, reports, early),
            ScattererNetwork(),
            key=jax.random.key(0),
        )
