"""The map of a small campaign: exact near mirrors, errors learnt, directions read off."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import Extrapolated, fit_map, load_maps, save_maps
from echoscape.channel_map.extrapolated.arrivals import Errors
from echoscape.channel_map.extrapolated.map import _carry, _surprise
from echoscape.propagation import Paths
from echoscape.units import wrap_angle
from tests.worlds.mirrors import SEQUENCES, STATION, C, street_reports, users

LEVEL = STATION[2]


def level_reports(count=60, seed=0, length_std=0.0, angle_std=0.0, arrival=True, spread=(8.0, 6.0)):
    """Reports of one small yard, in the plane of the station, with arrival directions."""
    rng = np.random.default_rng(seed + 7)
    reports = street_reports(count, seed)
    place = users(count, seed, size=spread, height=LEVEL)
    point = np.stack([place @ turn.T + shift for turn, shift in SEQUENCES], axis=1) - STATION
    length = np.linalg.norm(point, axis=-1)
    out = np.arctan2(point[..., 1], point[..., 0])
    towards = np.stack([-p @ turn for (turn, _), p in zip(SEQUENCES, point.swapaxes(0, 1))], axis=1)
    back = np.arctan2(towards[..., 1], towards[..., 0])
    noise = rng.normal(size=(3, *length.shape))
    zero, unknown = np.zeros_like(length), np.full_like(length, np.inf)
    estimates = Paths(
        departure_azimuth=wrap_angle(out + angle_std * noise[0]),
        departure_zenith=zero + np.pi / 2,
        arrival_azimuth=back,
        arrival_zenith=zero + np.pi / 2,
        length=length + length_std * noise[1],
        power=1.0 / length**2,
        departure_azimuth_std=zero + angle_std,
        departure_zenith_std=unknown,
        arrival_azimuth_std=zero if arrival else unknown,
        arrival_zenith_std=unknown,
        length_std=zero + length_std,
    )
    return eqx.tree_at(lambda r: (r.estimates, r.position), reports, (estimates, place)), length


@pytest.mark.slow
def test_paths_are_carried_exactly_along_mirrors():
    reports, _ = level_reports(1)
    found = fit_map(reports, Extrapolated())
    step = np.array([0.7, -0.4, 0.0])
    place = reports.position[0] + step
    prior = found(jnp.asarray(place))
    truth = np.array([np.linalg.norm(turn @ place + shift - STATION) for turn, shift in SEQUENCES])
    np.testing.assert_allclose(np.sort(C * np.asarray(prior.delay)), np.sort(truth), rtol=1e-9)


@pytest.mark.slow
def test_the_errors_of_a_campaign_are_learnt_from_itself():
    reports, _ = level_reports(120, length_std=0.2, angle_std=0.04)
    errors = fit_map(reports, Extrapolated()).errors
    # The neighbours' scatter does its part of the spreading: widths below the errors themselves.
    assert 0.4 * 0.2 < float(errors.length) < 0.2
    assert 0.4 * 0.04 < float(errors.azimuth) < 0.04
    twice, _ = level_reports(120, length_std=0.4, angle_std=0.04)
    assert float(fit_map(twice, Extrapolated()).errors.length) > 1.5 * float(errors.length)
    assert float(errors.unshared) < 0.5


@pytest.mark.slow
def test_directions_are_read_off_the_neighbours():
    reports, _ = level_reports(60, arrival=False, length_std=0.02)
    truth, _ = level_reports(60, length_std=0.02)
    found = fit_map(reports, Extrapolated()).paths
    known = fit_map(truth, Extrapolated()).paths.arrival
    count = known.shape[1]
    agree = np.sum(found.arrival[:, :count] * known, axis=-1)
    assert np.median(agree) > np.cos(np.radians(5.0))  # the grid of directions
    assert np.mean(agree > 0.8) > 0.9
    np.testing.assert_allclose((found.share[:, :count] + found.share[:, count:]), 1.0, atol=1e-12)


@pytest.mark.slow
def test_learning_maximises_the_likelihood_that_loops_give():
    reports, _ = level_reports(7, length_std=0.1, angle_std=0.03)
    paths = fit_map(reports, Extrapolated(steps=0)).paths
    numbers = np.array([0.05, 0.2, 1.3, 0.4, 0.2, 0.6])
    some = np.arange(7)
    near = np.stack([some[some != k][:4] for k in some])
    tree = jax.tree.map(jnp.asarray, paths)
    taken = jnp.asarray(paths.share > 0)
    constants = (tree, taken, jnp.asarray(some), jnp.asarray(near), jnp.asarray(300.0))
    value, slope = _surprise(jnp.log(jnp.asarray(numbers)), *constants)

    def by_hand(numbers):
        azimuth, length, reach, turn, stretch, unshared = numbers
        total = 0.0
        for k in some:
            weight = np.array(
                [
                    np.exp(-np.sum((paths.position[k] - paths.position[o]) ** 2) / (2 * reach**2))
                    for o in near[k]
                ]
            )
            weight /= weight.sum()
            expected = unshared + np.sum(weight * 6)
            for p in range(6):
                density = unshared / (2 * np.pi * 300.0)
                for share, o in zip(weight, near[k]):
                    moved = np.linalg.norm(paths.position[k] - paths.position[o])
                    for q in range(6):
                        image = paths.position[o] + paths.length[o, q] * paths.arrival[o, q]
                        away = np.linalg.norm(paths.position[k] - image)
                        va = 2 * azimuth**2 + (turn * moved / paths.length[o, q]) ** 2
                        vl = 2 * length**2 + (stretch * moved) ** 2
                        dv = wrap_angle(paths.azimuth[k, p] - paths.azimuth[o, q])
                        dl = paths.length[k, p] - away
                        density += (
                            share
                            * np.exp(-0.5 * (dv**2 / va + dl**2 / vl))
                            / (2 * np.pi * np.sqrt(va * vl))
                        )
                total += np.log(density)
            total -= expected
        return -total / 7

    assert float(value) == pytest.approx(by_hand(numbers), rel=1e-9)
    for i in range(6):
        step = np.zeros(6)
        step[i] = 1e-5
        up, down = (by_hand(numbers * np.exp(sign * step)) for sign in (1, -1))
        assert float(slope[i]) == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-7)


def test_weights_sum_to_one_and_far_reports_claim_less():
    reports, _ = level_reports(12)
    found = fit_map(reports, Extrapolated(steps=0))
    near = _carry(
        jax.tree.map(jnp.asarray, found.paths),
        Errors(*(jnp.asarray(x) for x in (0.05, 0.1, 1.0, 0.5, 0.3, 0.5))),
        jnp.asarray(found.report_position[3]),
    )
    assert float(jnp.sum(jnp.exp(near.log_weight))) == pytest.approx(6.0)
    away = np.linalg.norm(found.report_position - found.report_position[3], axis=1)
    order = np.argsort(away)
    assert np.all(np.diff(np.asarray(near.length_variance)[order, 0]) >= 0)


@pytest.mark.slow
def test_it_survives_storage(tmp_path):
    reports, _ = level_reports(10)
    found = fit_map(reports, Extrapolated())
    save_maps(found, tmp_path / "map")
    again = load_maps(tmp_path / "map")[found.station]
    place = jnp.asarray(reports.position[2] + np.array([0.3, 0.2, 0.0]))
    np.testing.assert_array_equal(np.asarray(found(place).delay), np.asarray(again(place).delay))
