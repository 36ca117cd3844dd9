"""Point scatterers: what the map predicts, and that they are found again, misread places or not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import ScattererMap, Scatterers, fit_map, load_maps, save_maps
from echoscape.channel_map.scatterers.map import map_of_points
from echoscape.channel_map.scatterers.search import arrange_paths, name_paths
from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.reports import Reports
from echoscape.scene import StaticPoints, scatterer_position
from echoscape.studies.nlos_ckm.world import make_layout, reports_of
from echoscape.units import SPEED_OF_LIGHT, wrap_angle

STATION = np.array([11.0, -4.0, 9.0])
POINTS = np.array([[31, 22, 3], [-14, 37, 14], [52, -9, 6], [4, -41, 1], [40, 48, 8]], dtype=float)
PLACE = np.array([18.0, 27.0, 1.5])


def _map(planar=False, listed=3) -> ScattererMap:
    jitter = np.array([0.2, 0.35, 0.1, 0.25, 0.3])
    return ScattererMap(
        points=StaticPoints.scatterers(
            POINTS,
            jitter[:, None, None] ** 2 * np.diag([1.0, 1.0, 0.0 if planar else 1.0]),
            log_gain=np.array([0.3, -0.4, 0.9, 0.1, 0.5]),
            log_gain_std=np.full(5, 0.01),
            visibility=np.array([0.9, 0.8, 0.95, 0.7, 0.99]),
        ),
        report_position=PLACE[None],
        station_position=STATION,
        station="mast",
        reported_paths=listed,
        planar=planar,
    )


@eqx.filter_jit
def _predict(channel_map, place):
    return channel_map(place)


def test_a_path_is_the_bounce_off_its_point():
    prior = _predict(_map(), jnp.asarray(PLACE))
    out, back = POINTS - STATION, PLACE - POINTS
    first, second = np.linalg.norm(out, axis=1), np.linalg.norm(back, axis=1)
    np.testing.assert_allclose(prior.departure_azimuth, np.arctan2(out[:, 1], out[:, 0]))
    np.testing.assert_allclose(prior.departure_zenith, np.arccos(out[:, 2] / first), rtol=1e-9)
    np.testing.assert_allclose(prior.length, first + second, rtol=1e-8)
    gain = np.exp([0.3, -0.4, 0.9, 0.1, 0.5])
    np.testing.assert_allclose(prior.power, gain / (first * second) ** 2, rtol=1e-7)


def test_the_covariance_is_that_of_the_sway_seen_through_angle_and_delay():
    channel_map = _map()
    prior = _predict(channel_map, jnp.asarray(PLACE))
    rng, draws = np.random.default_rng(3), 40_000
    for k in range(5):
        std = np.sqrt(channel_map.points.covariance[k, 0, 0])
        moved = POINTS[k] + std * rng.normal(size=(draws, 3))
        out = moved - STATION
        first = np.linalg.norm(out, axis=1)
        length = first + np.linalg.norm(PLACE - moved, axis=1)
        sample = np.stack(
            [
                wrap_angle(np.arctan2(out[:, 1], out[:, 0]) - float(prior.departure_azimuth[k])),
                np.arccos(out[:, 2] / first),
                length,
            ]
        )
        unit = np.sqrt(np.diag(np.asarray(prior.covariance[k])))
        expected = np.asarray(prior.covariance[k]) / np.outer(unit, unit)
        # Entries of a sampled covariance scatter by 1 / sqrt(draws); curvature adds a little.
        np.testing.assert_allclose(np.cov(sample) / np.outer(unit, unit), expected, atol=0.03)
        assert np.abs(expected - np.eye(3)).max() > 0.03  # correlated, or nothing is tested


def test_presence_is_being_among_the_strongest():
    still = 1e-8 * np.ones((5, 4, 4))
    channel_map = eqx.tree_at(lambda m: m.points.covariance, _map(listed=2), still)
    prior = _predict(channel_map, jnp.asarray(PLACE))
    rank = np.argsort(np.argsort(-np.asarray(prior.power)))
    expected = np.where(rank < 2, channel_map.points.visibility, 0)
    np.testing.assert_allclose(prior.probability, expected, atol=1e-6)


def test_the_predictor_predicts_the_same_and_then_paths_that_do_not_exist():
    one, filled = _map(), _map().predictor()
    first, other = (_predict(each, jnp.asarray(PLACE)) for each in (one, filled))
    assert len(other.delay) == 8
    np.testing.assert_allclose(other.delay[:5], first.delay, rtol=1e-12)
    np.testing.assert_allclose(other.probability[:5], first.probability, rtol=1e-12)
    np.testing.assert_array_equal(other.probability[5:], 0.0)
    assert np.isfinite(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(other)])).all()


def test_slopes_in_position_are_those_of_finite_differences():
    channel_map = _map()

    @jax.jit
    def read(place):
        prior = channel_map(place)
        return jnp.stack([prior.departure_azimuth, prior.length / 3, jnp.log(prior.power)])

    slope = jax.jit(jax.jacfwd(read))(jnp.asarray(PLACE))
    for axis in range(3):
        step = 1e-5 * np.eye(3)[axis]
        difference = (read(jnp.asarray(PLACE + step)) - read(jnp.asarray(PLACE - step))) / 2e-5
        np.testing.assert_allclose(slope[..., axis], difference, atol=1e-7)


def test_a_saved_map_predicts_the_same(tmp_path):
    save_maps(_map(), tmp_path / "map")
    again = load_maps(tmp_path / "map")["mast"]
    one, other = (_predict(each, jnp.asarray(PLACE)) for each in (_map(), again))
    np.testing.assert_array_equal(one.delay, other.delay)
    np.testing.assert_array_equal(one.probability, other.probability)


def _nearest(found: ScattererMap, layout):
    true = np.asarray(layout.site.scatterer_position)
    return np.linalg.norm(scatterer_position(found.points)[:, None] - true[None], axis=2).min(
        axis=0
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
@pytest.mark.parametrize("number", [1, 7])
def test_a_hundred_misread_reports_of_which_ten_are_wrong_find_every_scatterer(number):
    layout = make_layout(number, users=100, targets=1)
    found = fit_map(reports_of(layout, 100, position_std=2.0, wrong=0.1), Scatterers())
    true = len(layout.site.scatterer_position)
    assert true <= len(found.points) <= true + 1
    # Two metres of error, a hundred reports: a scatterer is known to some 0.1 m all the same.
    assert np.median(_nearest(found, layout)) < 0.12
    assert _nearest(found, layout).max() < 0.5


@pytest.mark.slow
def test_the_sway_is_learnt():
    layout = make_layout(2, users=600, targets=1)
    found = fit_map(reports_of(layout, 600), Scatterers())
    jitter = np.sqrt(found.points.covariance[:, 0, 0])
    np.testing.assert_allclose(jitter, 0.3, rtol=0.15)
    assert np.all(found.points.visibility > 0.9)


def _reports_in_space(count: int) -> tuple[Reports, np.ndarray]:
    rng = np.random.default_rng(5)
    place = np.c_[rng.uniform(-20, 60, (count, 2)), rng.uniform(0, 10, count)]
    out = np.broadcast_to(POINTS - STATION, (count, 5, 3))
    first = np.linalg.norm(out, axis=2)
    second = np.linalg.norm(place[:, None] - POINTS, axis=2)
    order = np.argsort(first * second, axis=1)[:, :4]
    pick = lambda leaf: np.take_along_axis(leaf, order, 1)  # noqa: E731
    azimuth = pick(np.arctan2(out[..., 1], out[..., 0])) + 0.004 * rng.normal(size=order.shape)
    zenith = pick(np.arccos(out[..., 2] / first)) + 0.006 * rng.normal(size=order.shape)
    delay = pick(first + second) / SPEED_OF_LIGHT + 0.3e-9 * rng.normal(size=order.shape)
    ones = np.ones_like(azimuth)
    estimates = PathEstimates.from_delays(
        departure_azimuth=azimuth, departure_zenith=zenith, arrival_azimuth=0 * ones,
        arrival_zenith=0 * ones, delay=delay, power=pick(1 / (first * second) ** 2),
        departure_azimuth_std=0.004 * ones, departure_zenith_std=0.006 * ones,
        arrival_azimuth_std=np.inf * ones, arrival_zenith_std=np.inf * ones,
        delay_std=0.3e-9 * ones, valid=ones > 0,
    )  # fmt: skip
    reports = Reports(
        estimates, place, np.zeros(count), np.zeros(count), np.arange(count),
        np.zeros(count, dtype=int), STATION[None], ("mast",),
    )  # fmt: skip
    return reports, order


def test_heights_are_found_where_zeniths_are_measured():
    reports, order = _reports_in_space(300)
    found = fit_map(reports, Scatterers())
    away = np.linalg.norm(scatterer_position(found.points)[:, None] - POINTS[None], axis=2)
    assert len(found.points) == 5
    assert not found.planar
    assert away.min(axis=0).max() < 0.1
    name = name_paths(reports, found)
    np.testing.assert_array_equal(away.argmin(axis=1)[name], order)
    arranged = arrange_paths(reports, name).estimates
    assert arranged.valid.sum() == order.size
    azimuth = np.where(arranged.valid, arranged.departure_azimuth, np.nan)
    assert np.nanstd(azimuth, axis=0).max() < 0.01  # one column, one scatterer


def test_paths_without_any_agreement_are_refused():
    reports, _ = _reports_in_space(12)
    rng = np.random.default_rng(1)
    paths = reports.estimates
    shuffled = Reports(
        PathEstimates(
            **{
                **{name: getattr(paths, name) for name in paths.__dataclass_fields__},
                "departure_azimuth": rng.uniform(-3, 3, paths.delay.shape),
                "length": rng.uniform(90, 270, paths.length.shape),
            }
        ),
        reports.position, reports.position_std, reports.time, reports.report,
        reports.station_index, reports.station_position, reports.station,
    )  # fmt: skip
    with pytest.raises(InputError, match="single bounces; fit the model 'virtual-anchors'"):
        fit_map(shuffled, Scatterers())


def test_a_map_of_points_states_what_the_points_do_not():
    place = np.array([[3.0, 1.0, 2.0], [5.0, -4.0, 1.0]])
    made = map_of_points(StaticPoints.scatterers(place), "west", np.zeros(3), place)
    prior = jax.jit(lambda place: made(place))(jnp.array([2.0, 6.0, 1.5]))
    length = np.linalg.norm(place, axis=1) + np.linalg.norm(place - [2.0, 6.0, 1.5], axis=1)
    assert np.allclose(prior.length, length, atol=1e-6)
    assert np.allclose(prior.probability, 0.9)
    walls = StaticPoints.from_walls(np.array([[1.0, 0.0, 0.0]]), np.array([4.0]))
    with pytest.raises(InputError, match=r"needs scatterers.*got 0 scatterers and 2 places"):
        map_of_points(walls, "west", np.zeros(3), place)
