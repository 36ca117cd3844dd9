"""A user's own clock and heading: marginalised as by brute force, found, refused where untold."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import Extrapolated, fit_map
from echoscape.checks import InputError
from echoscape.localization import UserPaths, fix_columns, localize
from echoscape.localization.user.cross_validation import leave_one_out
from echoscape.localization.user.own_bias import UNKNOWNS, score_with_bias
from echoscape.units import delay_of, length_of, wrap_angle
from tests.localization.user.test_cross_validation import room

CLOCK, HEADING = 21e-9, 2.3  # s, rad


@pytest.fixture(scope="module")
def campaign():
    return room(14, length_std=0.05, angle_std=0.03)


@pytest.fixture(scope="module")
def channel_map(campaign):
    return fit_map(campaign[np.arange(14) != 8], Extrapolated(neighbours=2))


def shifted(pose):
    """The same pose by a late clock and a turned array."""
    paths = pose.estimates
    return dataclasses.replace(pose, estimates=dataclasses.replace(
        paths, length=paths.length + length_of(CLOCK),
        arrival_azimuth=wrap_angle(paths.arrival_azimuth + HEADING),
    ))  # fmt: skip


def brute_force(channel_map, place, paths, numbers):
    """Integrate clock and heading on a fine grid, every pair of paths counted."""
    azimuth_std, length_std, strangers = numbers
    near = channel_map.around(place)
    prior = jax.tree.map(np.asarray, near(place))
    slope = np.asarray(jax.jacfwd(lambda p: near(p).length)(place))
    coming = np.arctan2(-slope[:, 1], -slope[:, 0])
    span = paths.length[paths.valid].max()
    clock = length_of(CLOCK) + np.linspace(-1.5, 1.5, 121)[:, None]
    heading = np.linspace(-np.pi, np.pi, 361)[:-1][None]
    total = np.full(np.broadcast_shapes(clock.shape, heading.shape), 0.0)
    for i in np.flatnonzero(paths.valid):
        density = np.full(total.shape, strangers / ((2 * np.pi) ** 2 * span))
        for k in np.flatnonzero(prior.probability > 1e-9):
            p, spread = min(prior.probability[k], 0.98), np.diag(prior.covariance[k])
            u = spread[0] + max(azimuth_std, paths.departure_azimuth_std[i]) ** 2
            t = spread[0] + max(azimuth_std, paths.arrival_azimuth_std[i]) ** 2
            w = spread[2] + max(length_std, paths.length_std[i]) ** 2
            out = wrap_angle(paths.departure_azimuth[i] - prior.departure_azimuth[k])
            back = wrap_angle(paths.arrival_azimuth[i] - coming[k] - heading)
            late = paths.length[i] - prior.length[k] - clock
            square = out**2 / u + back**2 / t + late**2 / w
            odds = p / (1 - p)
            density += odds * np.exp(-0.5 * square) / np.sqrt((2 * np.pi) ** 3 * u * t * w)
        total += np.log(density)
    weight = np.exp(total - total.max())
    step = (clock[1, 0] - clock[0, 0]) / span / 360.0  # flat priors
    value = total.max() + np.log(weight.sum() * step)
    value += np.log1p(-np.clip(prior.probability, 0, 0.98)).sum()
    weight /= weight.sum()
    mean = (weight * clock).sum()
    return value, mean, (weight * (clock - mean) ** 2).sum()


@pytest.mark.slow
def test_the_score_is_that_of_the_integral(campaign, channel_map):
    pose = shifted(campaign[[8]])
    place = campaign.position[[8]] + np.array([[0.1, -0.07, 0.0]])
    numbers = (0.02, 0.04, 0.4)
    found = score_with_bias(
        channel_map, jnp.asarray(place), jax.tree.map(jnp.asarray, pose.estimates),
        jnp.asarray(numbers), UNKNOWNS,
    )  # fmt: skip
    value, clock, variance = brute_force(
        channel_map, jnp.asarray(place[0]), pose.estimates[0], numbers
    )
    # Laplace's approximation of a mixture: a tenth of a nat of some twenty.
    assert float(found.score[0, 0]) == pytest.approx(value, abs=0.15)
    assert float(found.clock[0, 0]) == pytest.approx(clock, abs=0.2 * np.sqrt(variance))
    assert float(found.clock_variance[0, 0]) == pytest.approx(variance, rel=0.4)


@pytest.mark.slow
def test_a_pose_with_a_late_clock_and_a_turned_array_is_found(campaign, channel_map):
    pose = shifted(campaign[[8]])
    method = UserPaths(unknown=UNKNOWNS, length_std=0.1)
    fix = localize(pose, channel_map, method=method)
    assert np.linalg.norm(fix.best[0, :2] - campaign.position[8, :2]) < 0.2
    assert fix.own is not None
    assert abs(fix.own["clock_bias"][0] - CLOCK) < 4 * fix.own["clock_bias_std"][0] < 4e-9
    assert abs(fix.own["heading_bias"][0] - HEADING) < 4 * fix.own["heading_bias_std"][0] < 0.2
    columns = fix_columns(fix, ["bs"], method.name)
    assert columns["clock_bias"].tolist() == [fix.own["clock_bias"][0]] * len(columns["rank"])
    # neither is asked for: the map has no such place
    wrong = localize(pose, channel_map)
    assert wrong.own is None
    assert np.linalg.norm(wrong.best[0, :2] - campaign.position[8, :2]) > 1.0


@pytest.mark.slow
def test_one_unknown_at_a_time_uses_the_other_as_stated(campaign, channel_map):
    pose = campaign[[8]]
    heading = localize(pose, channel_map, method=UserPaths(unknown=("user-heading",)))
    clock = localize(pose, channel_map, method=UserPaths(unknown=("user-clock",)))
    assert heading.own is not None
    assert clock.own is not None
    assert set(heading.own) == {"heading_bias", "heading_bias_std"}
    assert set(clock.own) == {"clock_bias", "clock_bias_std"}
    turned = dataclasses.replace(
        pose.estimates, arrival_azimuth=pose.estimates.arrival_azimuth + 1.0
    )
    again = localize(
        dataclasses.replace(pose, estimates=turned), channel_map,
        method=UserPaths(unknown=("user-clock",)),
    )  # fmt: skip
    np.testing.assert_array_equal(again.position, clock.position)


def test_a_heading_needs_arrival_angles_and_the_names_are_known(campaign, channel_map):
    paths = campaign.estimates
    blind = eqx.tree_at(
        lambda r: r.estimates.arrival_azimuth_std, campaign, np.full(paths.length.shape, np.inf)
    )
    with pytest.raises(InputError, match="follows from arrival azimuths at the users"):
        localize(blind, channel_map, method=UserPaths(unknown=("user-heading",)))
    with pytest.raises(InputError, match="unknown 'clock'"):
        leave_one_out(campaign, unknown=("clock",))


def test_one_path_tells_no_clock(campaign, channel_map):
    pose = shifted(campaign[[8]])
    valid = np.zeros_like(pose.estimates.valid)
    valid[0, 1] = True
    alone = eqx.tree_at(lambda r: r.estimates.valid, pose, valid)
    fix = localize(alone, channel_map, method=UserPaths(unknown=UNKNOWNS))
    assert fix.own is not None
    # any place along its bearing: the clock is as unsure as the place is
    assert fix.spread[0] > 0.5
    assert fix.own["clock_bias_std"][0] > delay_of(0.2)
