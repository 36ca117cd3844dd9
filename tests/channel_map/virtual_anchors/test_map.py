"""The geometric map: mirrors and scatterers found without labels, and predicted exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import VirtualAnchorMap, VirtualAnchors, fit_map, load_maps, save_maps
from echoscape.channel_map.virtual_anchors.search import find_points
from echoscape.channel_map.virtual_anchors.unfolded import unfold
from echoscape.scene import PointKind, isometry
from tests.worlds.mirrors import LOSS, C, paths_at, street_reports, users


@pytest.fixture(scope="module")
def exact_map():
    return fit_map(street_reports(count=150, seed=3), VirtualAnchors())


def _nearest_slot(channel_map, place):
    """For every true path at every place: error of the slot nearest in delay and azimuth."""
    prior = jax.jit(lambda m, x: jax.vmap(m)(x))(channel_map, jnp.asarray(place))
    azimuth, zenith, delay, power = paths_at(place)
    turn = np.angle(
        np.exp(1j * (np.asarray(prior.departure_azimuth)[:, None] - azimuth[..., None]))
    )
    length = C * (np.asarray(prior.delay)[:, None] - delay[..., None])
    tilt = np.asarray(prior.departure_zenith)[:, None] - zenith[..., None]
    some = np.asarray(prior.probability)[:, None] > 0.0
    cost = np.where(some, np.abs(length) + 100 * np.abs(turn) + 100 * np.abs(tilt), np.inf)
    best = cost.argmin(axis=-1)[..., None]
    pick = lambda leaf: np.take_along_axis(leaf, best, -1)[..., 0]  # noqa: E731
    gain = np.log(pick(np.broadcast_to(np.asarray(prior.power)[:, None], cost.shape)) / power)
    return pick(length), pick(turn), pick(tilt), gain


def test_every_wall_sequence_is_predicted_exactly_at_new_places(exact_map):
    length, turn, tilt, gain = _nearest_slot(exact_map, users(40, seed=11))
    assert np.abs(length).max() < 1e-6
    assert np.abs(turn).max() < 1e-8
    assert np.abs(tilt).max() < 1e-8
    assert np.abs(gain).max() < 1e-6  # power times squared length is the sequence's loss


def test_anchors_are_few_and_hold_their_paths():
    reports = street_reports(count=150, seed=3)
    paths = unfold(reports, reports.position - reports.station_position[0], 0.1)
    anchors, free = find_points(paths, np.random.default_rng(0))
    assert len(anchors) == len(LOSS)
    assert not free.any()
    assert sorted(anchor.reflection for anchor in anchors) == [-1, -1, -1, 1, 1, 1]


def test_presence_of_points_is_the_probability_of_their_paths(exact_map):
    place = users(20, seed=11)
    presence = exact_map.presence(place)
    assert presence.shape == (20, len(exact_map.points))
    prior = jax.jit(lambda m, x: jax.vmap(m)(x))(exact_map, jnp.asarray(place))
    images = np.stack([isometry(exact_map.static_points(), each) for each in place])
    length = np.linalg.norm(images - exact_map.station_position, axis=-1)
    other = np.abs(length[:, None] - np.asarray(prior.length)[..., None])  # lengths are all unlike
    own = other.argmin(axis=-1)
    assert np.allclose(np.take_along_axis(presence, own, 1), prior.probability, atol=1e-12)
    assert presence.min() < 0.001
    assert 0.2 < presence.max() <= 1.0
    assert np.allclose(presence.sum(axis=1), np.sum(prior.probability, axis=1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
@pytest.mark.parametrize("options", [{"wrong": 0.1}, {"position_std": 1.0, "angle_std": 0.002}])
def test_wrong_and_blurred_reports_do_not_ruin_the_map(options):
    channel_map = fit_map(street_reports(count=200, seed=5, **options), VirtualAnchors())
    length, turn, _, _ = _nearest_slot(channel_map, users(40, seed=12))
    assert np.median(np.abs(length)) < 0.3  # a third of one report's error
    assert np.median(np.abs(turn)) < 5e-3


SCATTERER = np.array([[18.0, 43.0], [-25.0, 37.0], [41.0, -22.0]])
STATION = np.array([31.0, 12.0, 1.5])


def _scattered(place, moved):
    """Azimuth [rad] and length [m] by way of each scatterer; all from outside the station."""
    leg = np.linalg.norm(place[:, None, :2] - moved, axis=-1)
    aside = moved - STATION[:2]
    return np.arctan2(aside[..., 1], aside[..., 0]), np.linalg.norm(aside, axis=-1) + leg


def _scattered_reports(place, moved):
    reports = jax.tree.map(np.array, street_reports(count=len(place), seed=4, paths=3))
    azimuth, length = _scattered(place, moved)
    reports.position[:] = place
    reports.station_position[0] = STATION
    reports.estimates.departure_azimuth[:] = azimuth
    reports.estimates.departure_zenith[:] = np.pi / 2
    reports.estimates.length[:] = length
    return reports


def test_point_scatterers_are_found_where_they_stand():
    channel_map = fit_map(_scattered_reports(users(80, seed=4), SCATTERER[None]), VirtualAnchors())
    assert isinstance(channel_map, VirtualAnchorMap)
    points = channel_map.static_points()
    found = points.offset[points.kind == PointKind.EDGE]
    assert len(found) == 3
    apart = np.linalg.norm(found[:, None] - SCATTERER[None], axis=-1)
    assert apart.min(axis=0).max() < 1e-3


@pytest.mark.slow
def test_scatterers_that_jitter_stay_whole_and_their_paths_err_as_claimed():
    def jitter(count, seed):
        noise = np.random.default_rng(seed).normal(scale=0.3, size=(count, 3, 2))
        return SCATTERER + noise

    reports = _scattered_reports(users(300, seed=4), jitter(300, 5))
    channel_map = fit_map(reports, VirtualAnchors())  # the jitter is unknown to it
    points = channel_map.static_points()
    variance = points.covariance[points.kind == PointKind.EDGE, 0, 0]
    assert len(variance) == 3  # ten if gathered as if they stood still
    assert np.sum(np.abs(variance - 0.09) < 0.02) == 3

    place = users(400, seed=12)
    azimuth, length = _scattered(place, jitter(400, 13))
    prior = jax.jit(lambda m, x: jax.vmap(m)(x))(channel_map, jnp.asarray(place))
    turn = np.angle(np.exp(1j * (azimuth[..., None] - prior.departure_azimuth[:, None])))
    late = length[..., None] - prior.length[:, None]
    gap = np.stack([turn, late], axis=-1)
    covariance = np.asarray(prior.covariance)[:, None, :, ::2, ::2]
    square = np.einsum("usli,uslij,uslj->usl", gap, np.linalg.inv(covariance), gap)
    square = np.where(np.asarray(prior.probability)[:, None] > 0.5, square, np.inf).min(axis=-1)
    # Two degrees of freedom: mean 2, 90 % below 4.6; a jitter of the wrong sign gives far more.
    assert np.isfinite(square).mean() > 0.98
    assert 1.7 < np.mean(square[np.isfinite(square)]) < 2.4
    assert 0.87 < np.mean(square < 4.605) < 0.94


@pytest.mark.slow
def test_predictions_follow_their_own_gradient(exact_map):
    place = jnp.asarray(users(1, seed=8)[0])
    near = exact_map.around(place)
    step = jnp.array([0.6e-4, -0.8e-4, 0.3e-4])
    for name in ("departure_azimuth", "departure_zenith", "length"):
        jacobian = jax.jacfwd(lambda x, name=name: getattr(near(x), name))(place)
        moved = getattr(near(place + step), name) - getattr(near(place - step), name)
        scale = float(jnp.abs(moved).max())
        assert jnp.allclose(2 * jacobian @ step, moved, atol=1e-6 * scale)


@pytest.mark.slow
def test_a_path_seen_once_is_kept_and_less_certain_afar():
    reports = jax.tree.map(np.array, street_reports(count=60, seed=3))
    reports.estimates.length[7, 2] += 40.0  # follows nothing
    reports.position_std[:] = 0.0
    channel_map = fit_map(reports, VirtualAnchors())
    here = jnp.asarray(reports.position[7])
    kept = channel_map(here).length
    nearest = jnp.argmin(jnp.abs(kept - reports.estimates.length[7, 2]))
    assert jnp.abs(kept[nearest] - reports.estimates.length[7, 2]) < 1e-6
    near = channel_map.around(here)
    away = near(here + jnp.array([3.0, 4.0, 0.0])).covariance[nearest, 2, 2]
    assert away > 5.0**2 / 4  # one report cannot tell which way its path moves


@pytest.mark.slow
def test_a_saved_map_predicts_the_same(exact_map, tmp_path):
    save_maps(exact_map, tmp_path / "map", settings=VirtualAnchors())
    (loaded,) = load_maps(tmp_path / "map").values()
    place = jnp.asarray(users(3, seed=2))
    old, new = jax.vmap(exact_map)(place), jax.vmap(loaded)(place)
    same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), old, new)
    assert all(jax.tree.leaves(same))


def test_the_same_seed_gives_the_same_map():
    reports = street_reports(count=60, seed=9)
    one, two = (
        fit_map(reports, VirtualAnchors(), key=jax.random.key(4)),
        fit_map(reports, VirtualAnchors(), key=jax.random.key(4)),
    )
    assert np.array_equal(one.points.offset, two.points.offset)
    assert np.array_equal(one.probability, two.probability)
