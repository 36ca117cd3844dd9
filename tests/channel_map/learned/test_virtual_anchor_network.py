"""A network that outputs anchors, against the ray tracing of the sample city."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import fit_map
from echoscape.channel_map.learned.virtual_anchor_network import VirtualAnchorNetwork
from echoscape.checks import InputError
from echoscape.sample import load_sample
from echoscape.units import SPEED_OF_LIGHT, wrap_angle


@pytest.fixture(scope="module")
def learnt():
    reports = load_sample().reports
    return fit_map(reports, VirtualAnchorNetwork(slots=600, steps=600), key=jax.random.key(1))


@pytest.mark.slow
def test_paths_of_new_places_are_among_those_predicted(learnt):
    truth = load_sample().targets
    prior = jax.jit(jax.vmap(learnt))(jnp.asarray(truth.position))
    prior = jax.tree.map(np.asarray, prior)
    paths = truth.estimates
    strongest = np.argsort(-np.where(paths.valid, paths.power, 0.0), axis=1)[:, :5]
    hits = []
    for k, row in enumerate(strongest):
        likely = prior.probability[k] > 0.2
        assert likely.sum() < 15  # no crowd
        for slot in row[paths.valid[k, row]]:
            late = SPEED_OF_LIGHT * (prior.delay[k][likely] - paths.delay[k, slot])
            turn = prior.departure_azimuth[k][likely] - paths.departure_azimuth[k, slot]
            hits.append(bool(np.any((np.abs(late) < 1.0) & (np.abs(wrap_angle(turn)) < 0.02))))
    assert np.mean(hits) > 0.4


@pytest.mark.slow
def test_lengths_grow_by_the_distance_gone(learnt):
    # an anchor is rigid: the gradient of a length is a unit vector wherever one asks
    place = jnp.array([3.7, -11.2, 1.9])
    slope = SPEED_OF_LIGHT * jax.jit(jax.jacfwd(lambda x: learnt(x).delay))(place)
    np.testing.assert_allclose(np.linalg.norm(slope, axis=1), 1.0, rtol=1e-6)


def test_without_directions_of_arrival_it_is_refused():
    reports = load_sample().reports
    unknown = np.full(reports.estimates.delay.shape, np.inf)
    reports = eqx.tree_at(lambda r: r.estimates.arrival_azimuth_std, reports, unknown)
    with pytest.raises(InputError, match="arrival angles of at least 50 paths; got 0"):
        fit_map(reports, VirtualAnchorNetwork(), key=jax.random.key(0))
