"""The map that remembers: exact between exact reports, honest elsewhere."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import fit_map
from echoscape.channel_map.nearest_neighbours import NearestReports
from echoscape.channel_map.station_reports import reports_of_station, unfolded_point
from tests.worlds.mirrors import STATION, C, paths_at, street_reports, two_stations, users


@jax.jit
def predicted(channel_map, position):
    return jax.vmap(channel_map)(position)


def asked(channel_map, position):
    """Ask at many places; padded to one size, so that it compiles once for each size of map."""
    rows = np.resize(np.arange(len(position)), 300)
    prior = predicted(channel_map, jnp.asarray(position[rows]))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(position)], prior)


def errors_of_paths(prior, position):
    """Smallest weighed distance [m] from each true path to a slot, and that slot's (user, slot)."""
    azimuth, zenith, delay, _ = paths_at(position)
    turn = np.angle(np.exp(1j * (azimuth[:, :, None] - prior.departure_azimuth[:, None])))
    tilt = zenith[:, :, None] - prior.departure_zenith[:, None]
    late = delay[:, :, None] - prior.delay[:, None]
    length = C * delay[:, :, None]
    apart = np.sqrt((length * turn) ** 2 + (length * tilt) ** 2 + (C * late) ** 2)
    apart = np.where(prior.probability[:, None] > 0.3, apart, np.inf)
    return apart.min(axis=2), apart.argmin(axis=2), late


@pytest.fixture(scope="module")
def street():
    return fit_map(street_reports(200), NearestReports(reported_paths=6))


def test_between_exact_reports_every_path_is_exact_though_ranks_and_azimuths_cross(street):
    place = users(100, seed=5, corner=(-36.0, -16.0), size=(52.0, 47.0))
    power = paths_at(place)[3]
    assert len({tuple(row) for row in np.argsort(power, axis=1)}) > 1  # ranks do cross
    assert np.ptp(np.sign(paths_at(place)[0][:, 0])) == 2  # and the azimuth its cut
    apart, _, _ = errors_of_paths(asked(street, place), place)
    # A weak prior pulls slopes towards zero: 2 against precisions of 100 per metre squared.
    assert np.quantile(apart, 0.95) < 0.05
    assert np.median(apart) < 0.005


def test_the_plain_nearest_report_is_returned_with_an_error_of_its_distance():
    reports = street_reports(50)
    settings = NearestReports(neighbours=1, model_error=0.01)
    place = np.array([-11.0, 6.0, 1.5])
    prior = asked(fit_map(reports, settings), place[None])
    prior = jax.tree.map(lambda leaf: leaf[0], prior)
    away = np.linalg.norm(reports.position - place, axis=1)
    row = away.argmin()
    match = np.abs(prior.delay[:, None] - reports.estimates.delay[row]).argmin(axis=0)[:5]
    assert np.allclose(prior.delay[match], reports.estimates.delay[row, :5], rtol=1e-12)
    assert np.allclose(prior.departure_azimuth[match], reports.estimates.departure_azimuth[row, :5])
    assert np.allclose(prior.power[match], reports.estimates.power[row, :5])
    # Three axes share the unit slope: half the squared distance on each, plus the model's error.
    std = np.sqrt(away[row] ** 2 / 2 + 0.01**2)
    assert np.allclose(np.sqrt(prior.covariance[match, 2, 2]), std, rtol=1e-6)
    length = prior.length[match]
    across = std / (length * np.sin(prior.departure_zenith[match]))
    assert np.allclose(np.sqrt(prior.covariance[match, 0, 0]), across, rtol=1e-6)


def test_claimed_errors_are_those_made():
    noise = dict(position_std=0.5, angle_std=0.004, delay_std=1e-9)
    noisy = fit_map(street_reports(400, **noise), NearestReports(reported_paths=6))
    place = users(300, seed=9, corner=(-36.0, -16.0), size=(52.0, 47.0))
    prior = asked(noisy, place)
    apart, slot, late = errors_of_paths(prior, place)
    seen = apart < 5.0
    assert seen.mean() > 0.9
    late = np.take_along_axis(late, slot[..., None], axis=2)[..., 0][seen]
    std = np.sqrt(np.take_along_axis(prior.covariance[:, :, 2, 2], slot, axis=1))[seen] / C
    assert 0.5 < np.mean((late / std) ** 2) < 2.0
    assert np.median(np.abs(late)) < 0.5 / C  # better than one report of half a metre


def test_doubt_grows_with_the_distance_from_the_reports(street):
    west = np.c_[np.linspace(-45, -140, 6), np.full(6, 5.0), np.full(6, 1.5)]
    variance = asked(street, west).covariance[:, 0, 2, 2]
    assert (np.diff(variance) > 0).all()
    assert np.allclose(street.support(west)[1:] - street.support(west)[:-1], 19, atol=1.5)


@pytest.mark.slow
def test_gradients_match_finite_differences(street):
    place = jnp.array([-8.3, 4.1, 1.5])

    @jax.jit
    def probe(x):
        prior = street(x)
        sure = prior.probability > 0.9
        return jnp.where(
            sure[:, None], jnp.stack([prior.departure_azimuth, prior.delay * 1e7], -1), 0.0
        )

    exact = jax.jit(jax.jacfwd(probe))(place)
    step = 1e-5
    for axis in range(2):
        shift = jnp.zeros(3).at[axis].set(step)
        numeric = (probe(place + shift) - probe(place - shift)) / (2 * step)
        assert jnp.allclose(exact[..., axis], numeric, atol=1e-6)
    assert jnp.abs(exact).max() > 1e-3
    total = lambda x: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(street(x)))  # noqa: E731
    everywhere = jax.jit(jax.grad(total))
    for spot in (place, jnp.array([900.0, -40.0, 1.5]), jnp.asarray(STATION)):
        assert jnp.isfinite(everywhere(spot)).all()


@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
def test_one_report_in_ten_at_a_wrong_place_does_not_ruin_the_map():
    spoilt = fit_map(street_reports(200, wrong=0.1), NearestReports(reported_paths=6))
    place = users(200, seed=5, corner=(-36.0, -16.0), size=(52.0, 47.0))
    apart, _, _ = errors_of_paths(asked(spoilt, place), place)
    assert np.median(apart) < 0.02
    assert np.mean(apart < 1.0) > 0.85


def test_probability_is_the_share_of_reports_that_list_a_path():
    reports = street_reports(200)
    gone = reports.estimates.valid & (reports.position[:, :1] < -10.0)  # nothing is heard east
    reports = eqx.tree_at(lambda item: item.estimates.valid, reports, gone)
    part = fit_map(reports, NearestReports())
    prior = asked(part, np.array([[-30.0, 4.0, 1.5], [10.0, 4.0, 1.5], [-10.0, 4.0, 1.5]]))
    assert (prior.probability[0, :5] > 0.5).all()
    assert prior.probability[1].max() == 0.0
    assert 0.1 < prior.probability[2].max() < 0.9
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(prior))


def test_slots_fall_in_probability_and_covariances_are_positive(street):
    prior = asked(street, users(50, seed=3))
    assert (np.diff(prior.probability, axis=1) <= 0).all()
    assert np.linalg.eigvalsh(prior.covariance).min() >= -1e-12


def test_an_unmeasured_zenith_is_known_to_nobody(street):
    reports = street_reports(200)
    zero = np.zeros_like(reports.estimates.delay)  # as a report holds what was not measured
    silent = eqx.tree_at(
        lambda item: (item.estimates.departure_zenith, item.estimates.departure_zenith_std),
        reports,
        (zero, zero + np.inf),
    )
    place = np.array([[-12.0, 3.0, 1.5]])
    prior, known = asked(fit_map(silent, NearestReports()), place), asked(street, place)
    assert prior.covariance[0, 0, 1, 1] > 1.0
    assert known.covariance[0, 0, 1, 1] < 1e-3
    turn = prior.departure_azimuth[0, :, None] - known.departure_azimuth[0]
    late = prior.delay[0, :, None] - known.delay[0]
    near = np.hypot(turn / 0.01, C * late / 1.0).min(axis=1)
    assert (near[prior.probability[0] > 0.9] < 1.0).all()


def test_the_raster_finds_the_nearest_report(street):
    place = users(300, seed=21)
    ours = jax.jit(jax.vmap(street.nearest))(jnp.asarray(place))
    away = np.linalg.norm(place[:, None] - street.report_position, axis=-1)
    assert np.array_equal(ours, away.argmin(axis=1))


@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
def test_stations_are_told_apart():
    reports = two_stations(street_reports(30))
    assert fit_map(reports, NearestReports(), station="tower").report_position.shape == (10, 3)
    with pytest.raises(ValueError, match="name one station; these reports have roof, tower"):
        fit_map(reports, NearestReports())
    with pytest.raises(ValueError, match="station 'mast' has no reports"):
        fit_map(reports, NearestReports(), station="mast")
    nobody = eqx.tree_at(
        lambda item: item.estimates.valid, reports, np.zeros_like(reports.estimates.valid)
    )
    with pytest.raises(ValueError, match="hold no path to learn from"):
        fit_map(nobody, NearestReports(), station="roof")


def test_unfolded_points_of_a_mirror_move_as_far_as_the_user():
    reports = reports_of_station(street_reports(2, seed=4))
    point = unfolded_point(reports.estimates, STATION)
    strongest = np.linalg.norm(point[0, 0] - point[1, 0])
    assert strongest == pytest.approx(np.linalg.norm(reports.position[0] - reports.position[1]))


def test_a_report_s_own_errors_come_back_on_their_own_axes():
    reports = street_reports(8)
    ones = np.ones_like(reports.estimates.delay)
    stated = (0.02 * ones, 0.05 * ones, 0.9 * ones)  # unequal on purpose
    reports = eqx.tree_at(
        lambda item: (
            item.estimates.departure_azimuth_std,
            item.estimates.departure_zenith_std,
            item.estimates.length_std,
        ),
        reports,
        stated,
    )
    settings = NearestReports(neighbours=1, model_error=1e-3)
    prior = asked(fit_map(reports, settings), reports.position)
    std = np.sqrt(np.diagonal(prior.covariance, axis1=-2, axis2=-1))[:, :5]
    assert np.allclose(std, [0.02, 0.05, 0.9], rtol=1e-3)
    scaled = prior.covariance[:, :5] / np.einsum("...i,...j->...ij", std, std)
    assert np.allclose(scaled, np.eye(3), atol=1e-6)


def test_only_listed_paths_count_but_all_paths_tell_where_they_are():
    reports = street_reports(200)
    place = users(100, seed=5, corner=(-36.0, -16.0), size=(52.0, 47.0))
    prior = asked(fit_map(reports, NearestReports(reported_paths=2)), place)
    # Every report lists two; the cap of one slot's probability takes a little.
    assert np.allclose(prior.probability.sum(axis=1), 2.0, atol=0.05)
    apart, _, _ = errors_of_paths(prior, place)
    second = np.argsort(-paths_at(place)[3], axis=1)[:, :2]
    assert np.median(np.take_along_axis(apart, second, axis=1)) < 0.005


def test_errors_that_no_report_states_still_widen_the_claim():
    noisy = street_reports(200, position_std=1.0)
    mute = eqx.tree_at(lambda item: item.position_std, noisy, np.zeros(200))
    place = users(100, seed=5, corner=(-36.0, -16.0), size=(52.0, 47.0))
    prior = asked(fit_map(mute, NearestReports(tolerance=4.0)), place)
    claimed = np.sqrt(prior.covariance[:, :3, 2, 2])
    assert np.median(claimed) > 0.2  # ten centimetres over a dozen reports would claim 0.04


def test_directions_that_nobody_measured_are_unknown_and_no_warning():
    reports = jax.tree.map(np.array, street_reports(60))
    reports.estimates.valid[::3, -1] = False
    reports.estimates.length[::3, -1] = 0.0  # as a file's padding
    reports.estimates.departure_zenith_std[:] = np.inf
    prior = asked(fit_map(reports, NearestReports()), reports.position)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(prior))
    heard = prior.probability > 0.3
    assert np.sqrt(prior.covariance[heard][:, 1, 1]).min() > 100.0
    assert np.sqrt(prior.covariance[heard][:, 0, 0]).max() < 0.05
