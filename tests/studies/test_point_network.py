"""A network of points, against the world whose points it must find."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import Refusal
from echoscape.studies.nlos_world import SWAY, make_layout, reports_of
from echoscape.studies.point_network import fit_point_network
from echoscape.units import SPEED_OF_LIGHT


@pytest.fixture(scope="module")
def learnt():
    layout = make_layout(0, users=300, targets=50)
    reports = reports_of(layout, 300)
    return layout, fit_point_network(reports, slots=64, steps=1500, key=jax.random.key(0))


@pytest.mark.slow
def test_every_scatterer_is_a_slot_and_no_other(learnt):
    layout, found = learnt
    truth = np.asarray(layout.site.scatterer_position)
    apart = np.linalg.norm(np.asarray(found.points.scatterer)[:, None] - truth, axis=-1)
    assert len(apart) == len(truth)
    np.testing.assert_array_less(apart.min(axis=0), 0.4)
    sway = np.sqrt(np.asarray(found.points.covariance)[:, 0, 0])
    np.testing.assert_allclose(sway, SWAY, rtol=0.3)


@pytest.mark.slow
def test_paths_of_new_places_are_those_predicted(learnt):
    layout, found = learnt
    prior = jax.tree.map(np.asarray, jax.jit(jax.vmap(found))(jnp.asarray(layout.targets.position)))
    apart = np.linalg.norm(
        np.asarray(found.points.scatterer)[:, None] - np.asarray(layout.site.scatterer_position),
        axis=-1,
    )
    slot = apart.argmin(axis=0)[layout.targets.identity]
    take = lambda leaf: np.take_along_axis(leaf, slot, axis=1)  # noqa: E731
    late = SPEED_OF_LIGHT * (take(prior.delay) - layout.targets.delay)
    assert np.median(np.abs(late)) < 0.5  # what the sway makes of it
    assert np.mean(take(prior.probability) > 0.5) > 0.85
    np.testing.assert_allclose(prior.probability.sum(axis=1).mean(), 5.0, atol=0.4)
    gap = np.log(take(prior.power) / layout.targets.power)
    assert np.median(np.abs(gap)) < 0.1


def test_reports_that_no_point_explains_are_refused():
    reports = reports_of(make_layout(0, users=20, targets=5), 20)
    early = np.zeros_like(reports.estimates.delay)
    with pytest.raises(Refusal, match="none of the 100 paths reported inverts to one"):
        fit_point_network(
            eqx.tree_at(lambda r: r.estimates.delay, reports, early), key=jax.random.key(0)
        )
