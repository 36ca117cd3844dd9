"""The interface: who may do what, what goes in comes out, and errors are one sentence."""

import dataclasses
import io
import json
import sys
import time

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from echoscape.channel_map import fit_maps
from echoscape.checks import InputError
from echoscape.localization import localize
from echoscape.reports.echo_making import make_echoes
from echoscape.reports.table import table_from_echoes, table_from_reports
from echoscape.sample import load_sample
from echoscape.service import Limits, make_application
from echoscape.service.application import ARROW, PARQUET
from echoscape.service.messages import Place, location_of
from echoscape.service.worker import Worker, WorkerDied
from echoscape.store import Store, count_rows, find_reports
from echoscape.store.jobs import add_job, begin_job, find_job, resume_jobs
from echoscape.store.tokens import make_token, revoke_token, scopes_of
from tests.store.test_store import reports

PATH = {
    "departure_azimuth": 0.5, "departure_zenith": 1.7, "arrival_azimuth": -2.6,
    "arrival_zenith": 1.4, "delay": 2e-7, "power": 1e-9, "departure_azimuth_std": 0.02,
    "departure_zenith_std": 0.02, "arrival_azimuth_std": 0.02, "arrival_zenith_std": 0.02,
    "delay_std": 1e-9,
}  # fmt: skip
REPORT = {
    "report": 3, "station": "roof", "station_position": [0.0, 5.0, 20.0],
    "position": [40.0, 30.0, 1.5], "time": 12.0, "paths": [PATH],
}  # fmt: skip


class Client:
    """A client with a token of every scope."""

    def __init__(self, store, url, limits=None):
        self.store = store
        self.token = {
            scope: {"Authorization": f"Bearer {make_token(store, scope, [scope])}"}
            for scope in ("ingest", "read", "admin")
        }
        app = make_application(store, url, limits or Limits(body=2**20), origin="square")
        self.service = app.state.service
        self.client = TestClient(app, raise_server_exceptions=False)

    def call(self, method, path, scope="admin", **given):
        headers = {**self.token.get(scope, {}), **given.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **given)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('service') / 'site.db'}"
    made = Client(Store.create(url), url)
    with made.client:
        yield made


def problem(answer, status, words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_nothing_is_done_without_the_right_token(client):
    batch = {"source": "test", "reports": [REPORT]}
    problem(client.call("POST", "/v1/reports", None, json=batch), 401, "Bearer TOKEN")
    for header in ("Bearer wrong", "Basic abc", "Bearer", "bearer " + "x" * 5000):
        answer = client.call(
            "POST", "/v1/reports", None, json=batch, headers={"Authorization": header}
        )
        problem(answer, 401, "Bearer TOKEN")
    problem(client.call("POST", "/v1/reports", "read", json=batch), 403, "'ingest'")
    problem(client.call("GET", "/v1/reports", "ingest"), 403, "'read'")
    problem(client.call("POST", "/v1/jobs", "read", json={"kind": "fit", "map": "a"}), 403, "admin")
    foreign = {"Origin": "http://elsewhere.example"}
    problem(client.call("POST", "/v1/reports", json=batch, headers=foreign), 403, "other origins")
    assert count_rows(client.store)["reports"] == 0
    answer = client.call("GET", "/v1/health", None)
    assert answer.json()["status"] == "ok"
    assert "access-control-allow-origin" not in answer.headers


def test_reports_go_in_by_every_form_and_come_out(client):
    given = reports(30, seed=11)
    table = table_from_reports(given)
    body = io.BytesIO()
    pq.write_table(table, body, write_page_checksum=True)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    for kind, content, new in ((PARQUET, body, 30), (ARROW, stream, 0)):
        answer = client.call(
            "POST", "/v1/reports?source=walk", "ingest", content=content.getvalue(),
            headers={"Content-Type": kind},
        )  # fmt: skip
        assert answer.json() == {"new": new, "repeated": 30 - new}
    batch = {"source": "phone", "reports": [REPORT]}
    assert client.call("POST", "/v1/reports", "ingest", json=batch).json()["new"] == 1
    assert client.call("POST", "/v1/reports", "ingest", json=batch).json()["repeated"] == 1
    answer = client.call("GET", "/v1/reports?source=walk", "read")
    found = pq.read_table(io.BytesIO(answer.content))
    assert len(set(found["report"].to_pylist())) == 30
    kept = find_reports(client.store, source="walk")
    np.testing.assert_array_equal(kept.position, given.position)
    answer = client.call(
        "GET", "/v1/reports?west=39&south=29&east=41&north=31&form=arrow&source=phone", "read"
    )
    with pa.ipc.open_stream(answer.content) as back:
        assert back.read_all()["x"].to_pylist() == [40.0]
    problem(client.call("GET", "/v1/reports?west=1", "read"), 422, "west, south, east and north")
    problem(client.call("GET", "/v1/reports?station=rof", "read"), 422, "roof")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"report": 1.5}, "reports.1.report"),
        ({"position": [1.0, 2.0]}, "reports.1.position"),
        ({"position": [1.0, 2.0, True]}, "reports.1.position.2"),
        ({"nonsense": 1}, "reports.1.nonsense"),
        ({"station": ""}, "reports.1.station"),
        ({"time": 4e9 * 10}, "lies in the future"),
        ({"paths": [PATH | {"departure_azimuth": 120.0}]}, "departure_azimuth"),
        ({"paths": [PATH | {"delay": 200.0}]}, "delay"),
        ({"paths": [PATH | {"power": "loud"}]}, "reports.1.paths.0.power"),
        ({"position_std": -1.0}, "position_std"),
        ({"station_position": [9.0, 5.0, 20.0]}, "must stand still"),
    ],
)
def test_batches_that_cannot_be_right_are_refused_whole(client, change, words):
    client.call("POST", "/v1/reports", json={"source": "first", "reports": [REPORT]})
    before = count_rows(client.store)["reports"]
    other = REPORT | {"report": 77, "time": 99.0}
    batch = {"source": "test", "reports": [other, REPORT | {"report": 78} | change]}
    problem(client.call("POST", "/v1/reports", json=batch), 422, words)
    assert count_rows(client.store)["reports"] == before


def test_bodies_that_are_damaged_or_too_large_are_refused(client):
    post = "/v1/reports?source=x"
    for kind in (PARQUET, ARROW):
        head = {"Content-Type": kind}
        problem(client.call("POST", post, content=b"junk", headers=head), 422, "damaged")
        problem(client.call("POST", "/v1/reports", content=b"x", headers=head), 422, "?source=")
    head = {"Content-Type": "text/csv"}
    problem(client.call("POST", post, content=b"a,b", headers=head), 415, "application/json")
    head = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"[]", b"\xff\xfe{}", b'{"source": "a", "reports": []}'):
        answer = client.call("POST", post, content=content, headers=head)
        assert answer.status_code == 422, content
    problem(client.call("POST", post, content=b" " * 2**20 + b"{", headers=head), 413, "1,048,576")

    def pieces():
        for _ in range(20):
            yield b" " * 2**16

    problem(client.call("POST", post, content=pieces(), headers=head), 413, "at most")


def test_who_sends_too_fast_is_told_to_wait(tmp_path):
    url = str(tmp_path / "a.db")
    made = Client(Store.create(url), url, Limits(rate=0.001, burst=3.0))
    answers = [made.call("GET", "/v1/maps", "read").status_code for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]
    assert made.call("GET", "/v1/maps", "admin").status_code == 200


def test_tokens_are_kept_as_digests_and_can_be_taken_back(tmp_path):
    store = Store.create(str(tmp_path / "a.db"))
    token = make_token(store, "phones", ["ingest", "read"])
    assert scopes_of(store, token) == {"ingest", "read"}
    other = make_token(store, "phones", ["ingest"])
    assert scopes_of(store, token) == frozenset()
    assert scopes_of(store, other) == {"ingest"}
    revoke_token(store, "phones")
    assert scopes_of(store, other) == frozenset()
    store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
    assert other.encode() not in content


def test_jobs_wait_run_and_survive(tmp_path):
    store = Store.create(str(tmp_path / "a.db"))
    first, second = (add_job(store, "fit", {"map": name}) for name in "ab")

    def begun():
        job = begin_job(store)
        return job and (job.number, job.state, job.attempts)

    assert begun() == (first.number, "running", 1)
    assert begun() == (second.number, "running", 1)
    assert begun() is None
    for attempt in (2, 3):
        assert resume_jobs(store) == 2
        assert begun() == (first.number, "running", attempt)
        assert begun() == (second.number, "running", attempt)
    assert resume_jobs(store) == 0
    given_up = find_job(store, first.number)
    assert given_up is not None
    assert given_up.state == "failed"
    assert "died 3 times" in given_up.result
    assert find_job(store, 99) is None


def test_an_ellipse_is_turned_from_north():
    """Long axis from the east to the north by 30 degrees is 60 degrees clockwise from north."""
    turn = np.array([[np.cos(np.pi / 6), -0.5], [0.5, np.cos(np.pi / 6)]])
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = turn @ np.diag([9.0, 1.0]) @ turn.T
    place = Place(position=[1.0, 2.0, 3.0], covariance=covariance.tolist(), probability=1.0)
    found = location_of(place, "square")
    assert found.uncertaintyEllipse.orientationMajor == pytest.approx(60.0)
    # a circle of this radius holds 67 % of a circular error
    radius = np.sqrt(-2 * np.log(0.33))
    assert found.uncertaintyEllipse.semiMajor == pytest.approx(3 * radius)
    assert found.uncertaintyEllipse.semiMinor == pytest.approx(radius)


def test_what_a_request_says_comes_back_spelt_out(client):
    name = "a\x1b[2J\u202e\x9b"
    batch = {"source": "test", "reports": [REPORT | {name: 1}]}
    answer = client.call("POST", "/v1/reports", json=batch)
    problem(answer, 422, r"a\x1b[2J\u202e\x9b")
    assert not set(answer.text) & set("\x1b\u202e\x9b")


def test_the_interface_describes_itself(client):
    found = client.call("GET", "/v1/openapi.json", None).json()
    assert set(found["paths"]) == {
        "/v1/reports", "/v1/echoes", "/v1/locate", "/v1/maps", "/v1/fixes", "/v1/jobs",
        "/v1/jobs/{number}", "/v1/health", "/v1/metrics", "/v1/events", "/v1/forecast",
        "/v1/scene", "/v1/place",
    }  # fmt: skip
    body = found["paths"]["/v1/reports"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", PARQUET, ARROW}
    assert "$ref" not in json.dumps(body)
    for path in ("/docs", "/redoc", "/v2/maps", "/v1/maps/"):
        assert client.call("GET", path).status_code == 404
    problem(client.call("GET", "/v1/jobs/12345678901234567890"), 404, "no job")


def test_jobs_refuse_what_would_have_no_effect(client):
    for kind, stray in (("fit", {"height": 1.5}), ("locate", {"model": "scatterers"})):
        asked = {"kind": kind, "map": "city"} | stray
        problem(client.call("POST", "/v1/jobs", json=asked), 422, f"takes no {next(iter(stray))}")


def test_jobs_locate_echoes_of_their_span_alone(tmp_path, monkeypatch):
    """Of four targets at 0 to 3 s, two lie in the span."""
    from types import SimpleNamespace

    from echoscape.localization import localize as module
    from echoscape.service import tasks
    from echoscape.store import add_echoes

    url = str(tmp_path / "a.db")
    _, targets, _ = load_sample()
    made = make_echoes(targets, jax.random.key(3), angle_std=0.02, delay_std=2e-9).echoes[:4]
    times = np.arange(4.0)
    add_echoes(Store.create(url), dataclasses.replace(made, time=times), "radar")
    seen = []

    def stop(echoes, prepared):
        seen.extend(echoes.time.tolist())
        raise InputError("far enough")

    version = SimpleNamespace(name="city", version=1)
    monkeypatch.setattr(tasks, "list_maps", lambda store: [version])
    monkeypatch.setattr(tasks, "_prepared", lambda *place: None)
    monkeypatch.setattr(sys.modules[module.__module__], "localize", stop)
    with pytest.raises(InputError, match="far enough"):
        tasks.locate(url, {"map": "city", "since": 0.5, "until": 2.5, "time": 0.0})
    assert seen == [1.0, 2.0]


def test_a_closed_worker_is_not_started_again(tmp_path):
    url = str(tmp_path / "a.db")
    Store.create(url)
    worker = Worker(url)
    worker.close()
    with pytest.raises(WorkerDied, match="being stopped"):
        worker.ask("warm", {"map": "city"})
    assert not worker._process.is_alive()


@pytest.mark.slow
def test_from_reports_to_fixes(tmp_path, monkeypatch):
    """A map is learnt by a job, targets are located, and a worker that is killed comes back."""
    import os
    import signal

    # the workers share what is compiled with the tests
    kept = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(kept))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    learnt, targets, _ = load_sample()
    learnt = learnt[:150]
    url = str(tmp_path / "site.db")
    made = Client(Store.create(url), url, Limits())
    body = io.BytesIO()
    pq.write_table(table_from_reports(learnt), body)
    echoes = make_echoes(targets, jax.random.key(3), angle_std=0.02, delay_std=2e-9).echoes[:3]
    table = table_from_echoes(echoes)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    locating = {"content": out.getvalue(), "headers": {"Content-Type": ARROW}}
    with made.client:
        answer = made.call(
            "POST", "/v1/reports?source=sample", "ingest", content=body.getvalue(),
            headers={"Content-Type": PARQUET},
        )  # fmt: skip
        assert answer.json()["new"] == len(learnt)
        problem(made.call("POST", "/v1/locate?map=city", "read", **locating), 422, "has none")
        job = made.call("POST", "/v1/jobs", json={"kind": "fit", "map": "city"}).json()["number"]
        until = time.monotonic() + 400
        while time.monotonic() < until:
            state = made.call("GET", f"/v1/jobs/{job}").json()
            if state["state"] in ("done", "failed"):
                break
            time.sleep(0.5)
        assert state["state"] == "done", state
        assert state["result"]["version"] == 1
        (listed,) = made.call("GET", "/v1/maps", "read").json()
        assert (listed["name"], listed["reports"]) == ("city", len(learnt))
        first = made.call("POST", "/v1/locate?map=city", "read", **locating).json()
        assert (first["map"], first["version"]) == ("city", 1)
        direct = localize(echoes, fit_maps(find_reports(made.store), key=jax.random.key(0)))
        for fix, place in zip(first["fixes"], direct.best):
            np.testing.assert_allclose(fix["places"][0]["position"], place, atol=1e-6)
            assert fix["location"]["localOrigin"]["coordinateId"] == "square"
        listed = made.call("GET", "/v1/fixes", "read").json()
        assert [fix["target"] for fix in listed] == echoes.target.tolist()
        os.kill(made.service.quick.pid, signal.SIGKILL)
        answer = made.call("POST", "/v1/locate?map=city", "read", **locating)
        if answer.status_code == 503:
            problem(answer, 503, "send the request again")
            answer = made.call("POST", "/v1/locate?map=city", "read", **locating)
        assert answer.json()["fixes"][0]["places"] == first["fixes"][0]["places"]
        text = made.call("GET", "/v1/metrics", "read").text
        assert f'echoscape_rows{{table="reports"}} {len(learnt)}' in text
        assert "echoscape_fixes_total 6" in text
