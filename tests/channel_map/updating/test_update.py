"""Batches added to a map: the same as a fit of all, whatever their order; and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest

from echoscape.channel_map import (
    NearestReports,
    VirtualAnchors,
    fit_map,
    load_maps,
    save_maps,
    update_map,
)
from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.reports import write_reports
from tests.worlds.mirrors import LOSS, paths_at, street_reports, users

ERRORS = {"angle_std": 0.003, "delay_std": 3e-10}
MODEL = VirtualAnchors(reported_paths=6, cell=6.0, margin=6.0, neighbours=32)


def at_time(reports, time):
    return dataclasses.replace(reports, time=np.full(len(reports), float(time)))


def without(reports, sequence):
    """Take the paths of one wall sequence out of reports without errors."""
    azimuth = paths_at(reports.position)[0][:, sequence, None]
    gone = np.abs(np.angle(np.exp(1j * (reports.estimates.departure_azimuth - azimuth)))) < 0.02
    valid = np.asarray(reports.estimates.valid) & ~gone
    return dataclasses.replace(
        reports, estimates=jax.tree.map(lambda x: np.where(valid, x, 0.0) if x.dtype != bool else
                                        valid, reports.estimates)
    )  # fmt: skip


@pytest.fixture(scope="module")
def batches():
    return [street_reports(count=n, seed=s, **ERRORS) for n, s in ((80, 3), (30, 5), (20, 7))]


@pytest.fixture(scope="module")
def first_map(batches):
    return fit_map(batches[0], MODEL)


def predicted(channel_map, place):
    """Error of the best slot for every true path: lengths [m] and its probability."""
    prior = jax.vmap(channel_map.predictor())(place)
    azimuth, _, delay, _ = paths_at(place)
    turn = np.angle(
        np.exp(1j * (np.asarray(prior.departure_azimuth)[:, None] - azimuth[..., None]))
    )
    longer = 299_792_458.0 * (np.asarray(prior.delay)[:, None] - delay[..., None])
    known = np.asarray(prior.probability)[:, None] > 0.05
    cost = np.where(known, np.abs(longer) + 50 * np.abs(turn), np.inf)
    best = cost.argmin(axis=-1)[..., None]
    chance = np.broadcast_to(np.asarray(prior.probability)[:, None], cost.shape)
    chance = np.take_along_axis(chance, best, -1)
    return np.take_along_axis(longer, best, -1)[..., 0], chance[..., 0]


@pytest.mark.slow
def test_two_batches_predict_what_a_fit_of_all_reports_does(batches, first_map):
    every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(b.estimates for b in batches))
    together = dataclasses.replace(
        batches[0], estimates=every,
        **{n: np.concatenate([getattr(b, n) for b in batches]) for n in
           ("position", "position_std", "time", "report", "station_index")},
    )  # fmt: skip
    grown, changes = update_map(first_map, batches[1])
    grown, _ = update_map(grown, batches[2])
    refit = fit_map(together, MODEL)
    place = users(40, seed=11)
    own, chance = predicted(grown, place)
    other, other_chance = predicted(refit, place)
    assert np.sqrt(np.mean(own**2)) < 1.1 * np.sqrt(np.mean(other**2)) + 1e-3
    assert np.abs(chance - other_chance).max() < 0.05
    assert changes.explained == 1.0
    assert len(grown.report_position) == len(grown.state.place) == 130
    assert len(grown.state.statistics) == len(LOSS)
    before, _ = predicted(first_map, place)
    assert np.sqrt(np.mean(own**2)) < np.sqrt(np.mean(before**2))  # 130 reports tell more than 80


@pytest.mark.slow
def test_the_order_of_batches_hardly_matters(batches, first_map):
    one, _ = update_map(update_map(first_map, batches[1])[0], batches[2])
    other, _ = update_map(update_map(first_map, batches[2])[0], batches[1])
    place = users(40, seed=12)
    (a, p), (b, q) = predicted(one, place), predicted(other, place)
    # weights are robust about where a point was when a path came: a tenth of an error of 2 cm
    assert np.abs(a - b).max() < 2e-3
    assert np.abs(p - q).max() < 0.01


@pytest.mark.slow
def test_a_wall_that_goes_is_missed_and_one_that_comes_is_born(first_map):
    later = without(at_time(street_reports(count=40, seed=21), 5.0), 1)
    grown, changes = update_map(first_map, later)
    assert changes.kind == ("vanished",)
    assert changes.missed[0] > 4
    assert changes.silence[0] > changes.threshold[0]
    assert changes.reports[0] == 80
    assert len(grown.state.statistics) == len(LOSS) - 1
    back, changes = update_map(grown, at_time(street_reports(count=30, seed=22, **ERRORS), 6.0))
    assert changes.kind == ("appeared",)
    assert len(back.state.statistics) == len(LOSS)
    again, chance = predicted(back, users(30, seed=13))
    assert np.sqrt(np.mean(again**2)) < 0.2
    # the 120 reports from before it came do not count against it, now or later
    assert np.median(chance[:, 1]) > 0.9 * np.median(chance[:, 0])
    assert back.points.visibility.min() > 0.9
    more, _ = update_map(back, at_time(street_reports(count=10, seed=23, **ERRORS), 7.0))
    assert sorted(more.state.since)[-2:] == [0, 120]
    assert np.median(predicted(more, users(30, seed=13))[1][:, 1]) > 0.8
    assert changes.to_arrow()["change"].to_pylist() == ["appeared"]
    assert "30 reports added to roof" in repr(changes)


def test_a_region_without_reports_is_found_and_did_not_appear(batches, first_map):
    east = batches[1].position[:, 0] > -10.0
    west = fit_map(batches[0][batches[0].position[:, 0] < -15.0], MODEL)
    grown, changes = update_map(west, batches[1][east])
    assert changes.count("vanished") == changes.count("appeared") == 0
    assert grown.slot.shape[0] > west.slot.shape[0]  # the raster reaches the new reports


def test_users_are_placed_by_the_points(first_map):
    later = at_time(street_reports(count=40, seed=31, position_std=1.0, **ERRORS), 5.0)
    true = street_reports(count=40, seed=31, **ERRORS).position
    grown, _ = update_map(first_map, later)
    placed = grown.state.place[80:, :2] + grown.station_position[:2]
    error = np.linalg.norm(placed[:, None] - true[None, :, :2], axis=-1).min(axis=1)
    assert np.median(error) < 0.3  # reported with 1.2 m


def test_what_has_been_added_is_refused(batches, first_map):
    with pytest.raises(InputError, match="80 of these 80 reports are in the map of 'roof' already"):
        update_map(first_map, batches[0][::-1])
    grown, _ = update_map(first_map, at_time(batches[1], 7.0))
    with pytest.raises(InputError, match="30 of these 30 reports are in the map"):
        update_map(grown, at_time(batches[1], 7.0))
    with pytest.raises(InputError, match=r"begin at 6.000 s, before the last .*\(7.000 s\)"):
        update_map(grown, at_time(batches[2], 6.0))


def test_a_station_that_moved_is_refused(batches, first_map):
    elsewhere = dataclasses.replace(
        batches[1], station_position=batches[1].station_position + np.array([0.0, 0.5, 0.0])
    )
    with pytest.raises(InputError, match=r"'roof' has moved: these reports place it 0\.50 m"):
        update_map(first_map, elsewhere)
    late = jax.tree.map(np.array, batches[1])
    late.estimates.length[:15] += 6.0
    with pytest.raises(InputError, match=r"15 of these 30 .*off by \+[56]\.\d m \(\+\d+\.\d ns\)"):
        update_map(first_map, late)
    turned = jax.tree.map(np.array, batches[1])
    turned.estimates.departure_azimuth[:] += np.radians(4.0)
    with pytest.raises(InputError, match="two clusters of calibration"):
        update_map(first_map, turned)


def test_other_maps_stations_and_numbers_are_refused(batches, first_map):
    with pytest.raises(InputError, match="'roof' is a NearestMap: fit it again"):
        update_map(fit_map(batches[0], NearestReports()), batches[1])
    stateless = dataclasses.replace(first_map, state=None)
    with pytest.raises(InputError, match="keeps no state to update"):
        update_map(stateless, batches[1])
    other = dataclasses.replace(batches[1], station=("tower",))
    with pytest.raises(InputError, match="'roof'; these reports are of tower"):
        update_map(first_map, other)
    with pytest.raises(InputError, match="false_alarm must be a probability above 0 and below 1"):
        update_map(first_map, batches[1], false_alarm=1.0)
    with pytest.raises(InputError, match="per_reports must be at least 1 report; got 0"):
        update_map(first_map, batches[1], per_reports=0)


def test_the_command_updates_a_folder(batches, first_map, tmp_path, capsys):
    folder, file = tmp_path / "map", tmp_path / "later.parquet"
    save_maps(first_map, folder, settings={"model": "virtual-anchors"}, seed=4)
    write_reports(at_time(batches[1], 3.0), file)
    assert main(["map", "update", str(folder), str(file), "--out", str(tmp_path / "new")]) == 0
    assert "30 reports added to roof" in capsys.readouterr().out
    grown = load_maps(tmp_path / "new")["roof"]
    direct, _ = update_map(first_map, at_time(batches[1], 3.0))
    for a, b in zip(jax.tree.leaves(grown.points), jax.tree.leaves(direct.points)):
        assert np.allclose(a, b, atol=1e-6)
    assert main(["map", "update", str(tmp_path / "new"), str(file)]) == 2
    assert "in the map of 'roof' already" in capsys.readouterr().err
