"""What maps say of a place over HTTP: the library's numbers, and refusals; no worker is started."""

import dataclasses
import pathlib

import numpy as np
import pytest
from fastapi.testclient import TestClient

from echoscape.channel_map import load_maps
from echoscape.checks import InputError
from echoscape.communication.at_place import forecast_at
from echoscape.scene import PlanarArray
from echoscape.service import make_application
from echoscape.service.tasks import TASKS
from echoscape.store import Store, add_map
from echoscape.store.tokens import make_token

MAP = pathlib.Path(__file__).resolve().parents[1] / "data/maps_0.1/scatterers"
PLACE = {"x": 20.0, "y": 31.0, "z": 1.5}


class Here:
    """A worker that computes in this process."""

    busy = False

    def __init__(self, url):
        self.url = url

    def ask(self, task, request):
        return TASKS[task](self.url, request)


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('foresee') / 'site.db'}"
    store = Store.create(url)
    add_map(store, MAP, "city", report_count=1, last_report=0)
    app = make_application(store, url)
    app.state.service.quick = Here(url)
    token = {"Authorization": f"Bearer {make_token(store, 'reader', ['read'])}"}
    client = TestClient(app, raise_server_exceptions=False)  # without its lifespan: no processes

    def get(headers=token, **query):
        return client.get("/v1/forecast", params={"map": "city", **PLACE, **query}, headers=headers)

    return get


def test_paths_and_beams_are_those_of_the_library(ask):
    answer = ask(position_std=0.5, rows=2, columns=4, azimuth=0.3)
    assert answer.status_code == 200, answer.text
    maps = load_maps(MAP)
    arrays = {name: PlanarArray(rows=2, columns=4, azimuth=0.3) for name in maps}
    place = np.array(list(PLACE.values()))
    said = dataclasses.asdict(forecast_at(maps, place, position_std=0.5, arrays=arrays))
    found = answer.json()
    assert (found["map"], found["version"]) == ("city", 1)
    assert found["paths"] == [dict(path) for path in said["paths"]]
    assert found["beams"] == [dict(beam) for beam in said["beams"]]
    assert len(found["beams"]) == 3 * len(maps)


def test_without_an_array_there_are_no_beams(ask):
    assert ask().json()["beams"] == []


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"rows": 4}, 422, "rows and columns"),
        ({"map": "village"}, 422, "the store has no map 'village'; it has city"),
        ({"x": "east"}, 422, "query.x"),
        ({"position_std": -1}, 422, "position_std"),
        ({"headers": {}}, 401, "a token of this store is needed"),
    ],
)
def test_bad_questions_are_refused(ask, query, status, words):
    answer = ask(**query)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_a_map_that_is_not_there_cannot_be_warmed(tmp_path):
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    Store.create(url).close()
    with pytest.raises(InputError, match="the store has no map 'city'; it has none"):
        TASKS["warm"](url, {"map": "city"})
