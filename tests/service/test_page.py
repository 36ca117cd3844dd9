"""The page of a service: open to all, empty of data; what it shows needs a token."""

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient

from echoscape.service import make_application
from echoscape.store import Store, add_file, add_fixes, add_reports
from echoscape.store.tokens import make_token
from echoscape.viewer import Place, make_scene, to_json
from echoscape.viewer.stored import stored_results
from tests.store.test_store import reports

MESH = {"vertices": np.eye(3) * 5.0, "faces": np.array([[0, 1, 2]])}
FIX = {
    "target": np.array([7]), "status": np.array(["located"]), "x": np.array([3.0]),
    "y": np.array([4.0]), "z": np.array([1.5]), "cov_xx": np.array([4.0]),
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = Store.create(str(tmp_path / "site.db"))
    yield made
    made.close()


def test_the_page_is_open_and_its_scene_is_not(store):
    client = TestClient(make_application(store, store.engine.url.database))
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-frame-options"] == "DENY"
    assert '<script type="application/json" id="scene">null</script>' in answer.text
    assert "halfAxes" in answer.text
    for path in ("/v1/scene", "/v1/place?x=1&y=2&z=3"):
        assert client.get(path).status_code == 401
        token = make_token(store, "phones", ["ingest"])
        headers = {"Authorization": f"Bearer {token}"}
        assert client.get(path, headers=headers).status_code == 403


def test_the_scene_shows_what_the_store_holds(store, tmp_path):
    np.savez(tmp_path / "walls.npz", **MESH)
    add_file(store, tmp_path / "walls.npz", "mesh")
    given = reports(12, seed=3)
    add_reports(store, given, "walk")
    add_fixes(store, FIX, "service", 5.0)
    results = stored_results(store)
    scene = json.loads(to_json(make_scene(results, "site", Place(results), live=True)))
    assert len(scene["reports"]["position"]) == 3 * 12
    assert scene["mesh"]["face"] == [0, 1, 2]
    assert [(fix["target"], fix["position"]) for fix in scene["fixes"]] == [(7, [3.0, 4.0, 1.5])]
    assert scene["points"] == []


def test_an_empty_store_has_no_scene(store):
    from echoscape.checks import InputError
    from echoscape.service.tasks import scene

    with pytest.raises(InputError, match="nothing to show"):
        scene(str(store.engine.url), {"title": "site"})


def test_the_newest_fixes_and_reports_are_shown(store, monkeypatch):
    from echoscape.viewer import stored

    monkeypatch.setattr(stored, "MOST_REPORTS", 5)
    monkeypatch.setattr(stored, "MOST_FIXES", 2)
    add_reports(store, reports(12, seed=3), "walk")
    for target in range(4):
        add_fixes(store, FIX | {"target": np.array([target])}, "service", float(target))
    results = stored_results(store)
    assert results.reports is not None
    assert results.fixes is not None
    assert results.reports.report.tolist() == [8, 9, 10, 11, 12]
    assert results.fixes["target"].tolist() == [2, 3]
