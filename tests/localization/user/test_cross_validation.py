"""A room of mirrors located pose by pose from the other poses."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import Extrapolated, fit_map
from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.cli.left_out import left_out_rows
from echoscape.estimation import PathEstimates
from echoscape.localization import FixStatus, UserPaths, localize
from echoscape.localization.user.cross_validation import is_obstructed, leave_one_out, summarize
from echoscape.localization.user.positioning import score_positions, spacing_of
from echoscape.reports import Reports, write_reports
from echoscape.units import wrap_angle

STATION = np.array([1.3, 0.9, 1.4])
WALLS = [(0.06, 7.2), (1.62, 5.1), (3.19, 0.1), (-1.55, 0.2)]  # normal's azimuth, offset [rad, m]


def images():
    """The station and its mirror images of up to two walls."""

    def mirror(point, wall):
        normal = np.array([math.cos(wall[0]), math.sin(wall[0]), 0.0])
        return point - 2 * (point @ normal - wall[1]) * normal, normal

    found = [(STATION, np.eye(3))]
    for i, first in enumerate(WALLS):
        one, normal = mirror(STATION, first)
        turn = np.eye(3) - 2 * np.outer(normal, normal)
        found.append((one, turn))
        for j, second in enumerate(WALLS):
            if j != i:
                two, other = mirror(one, second)
                found.append((two, turn @ (np.eye(3) - 2 * np.outer(other, other))))
    return found


def room(count=24, seed=0, length_std=0.1, angle_std=0.05, hide=True):
    """A walk through a room; half of the poses lack the direct path."""
    rng = np.random.default_rng(seed)
    grid = [(2.0 + 0.5 * i, 1.5 + 0.9 * j, 1.4) for j in range(4) for i in range(7)]
    place = np.array(grid)[:count]
    rays = []
    for image, turn in images()[:9]:
        ray = place - image
        length = np.linalg.norm(ray, axis=1)
        away = ray @ turn.T  # as it left the station
        rays.append(
            (np.arctan2(away[:, 1], away[:, 0]), np.arctan2(-ray[:, 1], -ray[:, 0]), length)
        )
    out, back, length = (np.stack(column, axis=1) for column in zip(*rays))
    valid = np.ones(length.shape, bool)
    valid[::2, 0] = not hide
    noise = rng.normal(size=(3, *length.shape))
    level, unknown = np.full(length.shape, np.pi / 2), np.full(length.shape, np.inf)
    std = np.full(length.shape, angle_std)
    estimates = PathEstimates(
        departure_azimuth=wrap_angle(out + angle_std * noise[0]),
        departure_zenith=level,
        arrival_azimuth=wrap_angle(back + angle_std * noise[1]),
        arrival_zenith=level,
        length=length + length_std * noise[2],
        power=1 / length**2,
        departure_azimuth_std=std,
        departure_zenith_std=unknown,
        arrival_azimuth_std=std,
        arrival_zenith_std=unknown,
        length_std=np.full(length.shape, length_std),
        valid=valid,
    )
    zero = np.zeros(len(place))
    return Reports(
        estimates, place, zero, zero, 100 + np.arange(len(place)), zero.astype(int), STATION[None],
        ("bs",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return leave_one_out(room())


@pytest.mark.slow
def test_obstructed_poses_are_found_far_better_than_without_a_map(found):
    assert found.obstructed.tolist() == [True, False] * 12
    error = {name: value[found.obstructed] for name, value in found.distances().items()}
    # Eight paths of 0.1 m and two reports' worth of noise: about 0.1 m; a report is 0.5 m away.
    assert np.median(error["map"]) < 0.2
    assert np.median(error["nearest report"]) >= 0.5 - 1e-9
    assert np.median(error["geometry"]) > 1.0
    assert (found.fix.status != FixStatus.NO_ECHO).all()
    assert found.fix.target.tolist() == list(range(100, 124))


@pytest.mark.slow
def test_the_claimed_covariance_holds_the_truth(found):
    miss = (found.fix.best - found.position)[:, :2]
    covariance = found.fix.covariance[:, 0, :2, :2]
    square = np.einsum("ti,tij,tj->t", miss, np.linalg.inv(covariance), miss)
    assert 0.6 < np.mean(square < 4.605) <= 1.0  # 90 % claimed, of 24: two standard errors below


@pytest.mark.slow
def test_a_pose_never_uses_its_own_arrival_angles_or_powers():
    reports = room(12)
    channel_map = fit_map(reports, Extrapolated())
    pose = reports.estimates[[5]]
    other = eqx.tree_at(
        lambda e: (e.arrival_azimuth, e.power), pose, (pose.arrival_azimuth + 1.0, 5 * pose.power)
    )
    first, second = (localize(p, channel_map) for p in (pose, other))
    np.testing.assert_array_equal(first.position, second.position)


@pytest.mark.slow
def test_scores_are_those_of_a_loop():
    reports = room(9)
    channel_map = fit_map(reports, Extrapolated())
    place = reports.position[2:4] + np.array([0.11, -0.2, 0.0])
    method = UserPaths(azimuth_std=0.07, length_std=0.2, unknown_paths=0.4)
    score = score_positions(reports.estimates[[1]], channel_map, place, method)[0]
    paths = reports.estimates[1]
    span = max(paths.length[paths.valid])
    for where, value in zip(place, score):
        prior = jax.tree.map(np.asarray, channel_map(jnp.asarray(where)))
        total = np.log1p(-prior.probability).sum()
        for i in np.flatnonzero(paths.valid):
            density = 0.4 / (2 * np.pi * span)
            for k in np.flatnonzero(prior.probability > 0):
                p = prior.probability[k]
                u = prior.covariance[k, 0, 0] + 0.07**2
                w = prior.covariance[k, 2, 2] + 0.2**2
                turn = wrap_angle(prior.departure_azimuth[k] - paths.departure_azimuth[i])
                miss = prior.length[k] - paths.length[i]
                density += (
                    p
                    / (1 - p)
                    * np.exp(-0.5 * (turn**2 / u + miss**2 / w))
                    / (2 * np.pi * np.sqrt(u * w))
                )
            total += np.log(density)
        assert value == pytest.approx(total, rel=1e-9)


@pytest.mark.slow
def test_outages_have_a_status_and_too_few_reports_a_refusal():
    reports = room(8)
    valid = reports.estimates.valid.copy()
    valid[3] = False
    reports = eqx.tree_at(lambda r: r.estimates.valid, reports, valid)
    found = leave_one_out(reports, use_arrival=False)
    assert found.fix.status[3] == FixStatus.NO_ECHO
    assert summarize(found)["obstructed"]["poses"] + summarize(found)["in sight"]["poses"] == 7
    with pytest.raises(InputError, match="at least 3 reports with a path; got 2"):
        leave_one_out(room(2))
    with pytest.raises(InputError, match="finite number in metres"):
        localize(reports.estimates, fit_map(reports, Extrapolated()), height=float("nan"))


@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
def test_spacing_and_sight():
    assert spacing_of(room().position) == pytest.approx(0.5)
    reports = room(hide=False)
    assert not is_obstructed(reports, fit_map(reports, Extrapolated()).errors).any()


@pytest.mark.slow
def test_the_command_prints_and_draws(tmp_path, capsys):
    write_reports(room(10), tmp_path / "room.parquet")
    words = ["map", "leave-one-out", tmp_path / "room.parquet", "--out", tmp_path / "fix.csv"]
    words += ["--figure", "--json", "--quiet"]
    assert main([str(word) for word in words]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = left_out_rows(told)
    for kind in ("obstructed", "in sight"):
        assert rows[f"{kind}, map"].startswith(f"{told[kind]['map']['median']:.2f} m median")
    assert told["obstructed"]["poses"] == 5
    assert told["obstructed"]["map"]["median"] < told["obstructed"]["geometry"]["median"]
    assert (tmp_path / "fix.png").stat().st_size > 10_000
