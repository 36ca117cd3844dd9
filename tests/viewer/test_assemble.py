"""Scenes: what is given is in them, and what is missing is said."""

import dataclasses
import json

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.units import length_of
from echoscape.viewer import Place, Results, make_scene, to_json
from tests.worlds.point_maps import SCATTERER, scatterer_map
from tests.worlds.shown import everything, some_site, some_track


def test_everything_that_is_given_is_shown():
    results = everything()
    scene = make_scene(results, "all", Place(results))
    counts = {field.name: getattr(scene, field.name) for field in dataclasses.fields(scene)}
    for name in ("mesh", "stations", "reports", "fixes", "tracks", "voxels", "bound"):
        assert counts[name], name
    assert not scene.live
    assert scene.ground == 1.5
    assert scene.lower[1] <= -20 <= scene.upper[1]


def test_the_json_of_a_scene_is_its_fields():
    results = everything()
    scene = make_scene(results, "all", Place(results))
    stored = json.loads(to_json(scene))
    assert list(stored) == [field.name for field in dataclasses.fields(scene)]
    assert stored["fixes"][0]["target"] == 7
    assert stored["bound"]["value"][4] is None


def test_a_page_without_a_server_holds_forecasts_at_users():
    results = Results(maps={"mast": scatterer_map(reports=5)})
    scene = make_scene(results, "map", Place(results))
    assert len(scene.places) == 5
    live = make_scene(results, "map", Place(results), live=True)
    assert live.live
    assert live.places == ()


def test_a_place_has_a_line_of_the_length_of_every_path():
    results = Results(maps={"mast": scatterer_map()})
    mark = Place(results)(np.array([40.0, 30.0, 0.0]))
    assert len(mark.lines) == len(mark.forecast.paths) == 5
    for path, line in zip(mark.forecast.paths, mark.lines):
        corner = np.array(line).reshape(-1, 3)
        total = np.linalg.norm(np.diff(corner, axis=0), axis=1).sum()
        assert total == pytest.approx(length_of(path.delay), abs=0.02)
        nearest = np.linalg.norm(SCATTERER[:, :2] - corner[1, :2], axis=1).min()
        assert nearest < 0.05  # the corner is the scatterer


def test_images_of_a_station_do_not_widen_the_view():
    track = some_track() | {"track": np.zeros(21, int), "kind": np.array(["anchor"] * 21)}
    del track["vx"]
    results = Results(site=some_site(), tracks=[track | {"x": track["x"] + 1e4}])
    assert make_scene(results, "far", Place(results)).upper[0] < 100


def test_nothing_to_show_is_refused():
    with pytest.raises(InputError, match="nothing to show: give a map"):
        make_scene(Results(), "none", Place(Results()))


def test_echoes_need_what_they_are_drawn_by():
    from tests.viewer.test_echo_lines import echoes

    results = Results(echoes=echoes())
    with pytest.raises(InputError, match="give the map and --fixes too"):
        make_scene(results, "none", Place(results))
