"""Marks: ellipsoids, what reports are coloured by, what is left out."""

import pathlib

import numpy as np
import pytest

from echoscape.channel_map import load_maps
from echoscape.channel_map.walls import reported_points
from echoscape.scene import path_length
from echoscape.viewer import layers
from tests.worlds.point_maps import SCATTERER, scatterer_map
from tests.worlds.shown import (
    BEYOND,
    STATION,
    some_bound,
    some_fixes,
    some_image,
    some_reports,
    some_site,
    some_track,
)

MAPS = pathlib.Path(__file__).resolve().parents[1] / "data/maps_0.1"


def test_an_ellipsoid_has_the_axes_of_its_covariance():
    columns = some_fixes() | {"cov_xy": np.array([1.2, 0, 0, 0.0])}
    axes = np.array(layers.fix_marks(columns)[0].axes).reshape(3, 3)
    covariance = axes.T @ axes / layers.NINETY**2  # half axes are scaled eigenvectors
    np.testing.assert_allclose(covariance, [[4, 1.2, 0], [1.2, 1, 0], [0, 0, 0]], atol=2e-3)


def test_ninety_per_cent_of_a_gaussian_lie_in_the_ellipsoid():
    from scipy.stats import chi2

    assert chi2.cdf(layers.NINETY**2, 3) == pytest.approx(0.9, abs=1e-4)


def test_a_target_without_echoes_has_no_mark():
    marks = layers.fix_marks(some_fixes())
    assert [(mark.target, mark.rank) for mark in marks] == [(7, 0), (7, 1), (8, 0)]


def test_reports_are_coloured_by_what_was_measured():
    reports = some_reports()
    columns = {column.name: column for column in layers.report_marks(reports).column}
    beyond = columns["shortest path beyond the line"]
    np.testing.assert_allclose(np.array(beyond.value, float), BEYOND, atol=1e-3)
    power = 10 * np.log10(np.asarray(reports.estimates.power)[:, 0])
    np.testing.assert_allclose(
        np.array(columns["power of all paths"].value, float), power, atol=1e-3
    )
    assert columns["power of all paths"].unit == "dB"


def test_a_station_shows_its_array_where_the_site_tells_it():
    bare, known = (layers.station_marks({}, some_reports(), s)[0] for s in (None, some_site()))
    assert (bare.rows, bare.azimuth) == (None, None)
    assert (known.rows, known.columns, known.azimuth, known.tilt) == (8, 4, 0.7, 0.1)
    np.testing.assert_allclose(known.position, STATION)


def test_a_track_is_a_target_the_user_or_a_point():
    target = layers.track_lines(some_track() | {"track": np.zeros(21, int)})[0]
    user = layers.track_lines(some_track())[0]
    assert (target.kind, target.name, user.kind, user.name) == ("target", "0", "user", "user")
    point = {k: v for k, v in some_track().items() if k != "vx"}
    point |= {"track": np.repeat([4, 5], [10, 11]), "kind": np.array(["scatterer"] * 21)}
    first, second = layers.track_lines(point)
    assert (first.name, second.name, second.kind) == ("4", "5", "scatterer")
    assert len(first.time) == 10
    assert user.std[0] == pytest.approx(np.sqrt(0.17), abs=1e-3)


def test_only_voxels_that_may_be_occupied_are_shown():
    image = some_image()
    image.occupancy[1, 2, 3], image.unseen[2, 2, 2] = 0.01, True
    image.occupancy[2, 2, 2] = 1.0
    marks = layers.voxel_marks(image)
    places = np.array(marks.position).reshape(-1, 3)
    assert len(places) == int(((image.occupancy >= 0.05) & ~image.unseen).sum())
    centre = np.asarray(image.grid.centre_of(np.array([50])))  # (2, 2, 2)
    assert not np.any(np.all(np.abs(places - centre) < 0.01, axis=1))
    assert marks.std == [0.2] * len(places)


def test_the_most_probable_of_very_many_voxels_are_kept(monkeypatch):
    monkeypatch.setattr(layers, "MOST_VOXELS", 7)
    occupancy = np.sort(some_image().occupancy.ravel())[-7:]
    np.testing.assert_allclose(
        np.sort(layers.voxel_marks(some_image()).occupancy), occupancy, atol=1e-3
    )


def test_a_bound_keeps_its_step_and_its_gaps():
    heat = layers.heat_map(some_bound())
    assert heat.step == 3.0
    assert heat.value[4] is None
    assert heat.value[0] == pytest.approx(0.2)


def test_points_and_walls_of_a_map_stand_where_the_map_says():
    made = next(iter(load_maps(MAPS / "virtual_anchors").values()))
    marks = layers.point_marks(made)
    assert len(marks) == len(made.static_points())
    report, point = reported_points(made)
    listed = [np.asarray(made.report_position)[report[point == k]] for k in range(len(marks))]
    assert [len(mark.region) // 3 for mark in marks] == [len(places) for places in listed]
    most = int(np.argmax([len(places) for places in listed]))
    np.testing.assert_allclose(np.array(marks[most].region).reshape(-1, 3), listed[most], atol=0.06)
    station = np.asarray(made.station_position)
    # The ray from the mark to a user is as long as the path.
    user = listed[most][0]
    length = path_length(made.static_points(), user, station)[most]
    assert np.linalg.norm(np.array(marks[most].position) - user) == pytest.approx(length, abs=0.02)


def test_scatterers_stand_where_they_are():
    marks = layers.point_marks(scatterer_map())
    np.testing.assert_allclose([mark.position for mark in marks], SCATTERER, atol=0.01)
    assert {mark.kind for mark in marks} == {"scatterer"}
    assert layers.wall_marks(scatterer_map()) == ()


def test_a_map_without_points_has_no_marks():
    made = next(iter(load_maps(MAPS / "nearest").values()))
    assert layers.point_marks(made) == ()
