"""The web socket: fixes arrive as they are made; strangers and foreign pages are not let in."""

import json

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from echoscape.service import make_application
from echoscape.service.messages import Fixes
from echoscape.service.worker import WorkerDied
from echoscape.store import Store
from echoscape.store.tokens import make_token

FIXES = Fixes(map="city", version=3, fixes=[])


@pytest.fixture
def served(tmp_path):
    url = f"sqlite:///{tmp_path / 'site.db'}"
    store = Store.create(url)
    app = make_application(store, url)
    tokens = {scope: make_token(store, scope, [scope]) for scope in ("read", "ingest")}
    yield TestClient(app), app.state.service, tokens
    store.close()


def bearer(token, **more):
    return {"Authorization": f"Bearer {token}", **more}


def test_a_fix_reaches_the_listener(served):
    client, service, tokens = served
    with client.websocket_connect("/v1/stream", headers=bearer(tokens["read"])) as socket:
        socket.portal.call(lambda: service._hand_out(("fixes", FIXES.model_dump_json())))
        assert json.loads(socket.receive_text()) == FIXES.model_dump()
        assert len(service.listeners) == 1
    assert service.listeners == set()


@pytest.mark.parametrize(
    ("scope", "more"),
    [(None, {}), ("ingest", {}), ("read", {"Origin": "https://evil.example"})],
)
def test_strangers_and_foreign_pages_are_refused(served, scope, more):
    client, service, tokens = served
    headers = bearer(tokens[scope] if scope else "wrong", **more)
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("/v1/stream", headers=headers),
    ):
        pass
    assert refused.value.code == 1008
    assert service.listeners == set()


def test_the_own_page_may_listen(served):
    client, _, tokens = served
    headers = bearer(tokens["read"], Origin="http://testserver")
    with client.websocket_connect("/v1/stream", headers=headers):
        pass


def test_a_service_that_stops_says_goodbye(served):
    client, service, tokens = served
    with client.websocket_connect("/v1/stream", headers=bearer(tokens["read"])) as socket:
        service._ending.set()
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_text()
        assert end.value.code == 1001


class Slow:
    """A worker that is retired while somebody waits for it, then one that answers."""

    def __init__(self, service, after):
        self.service, self.after = service, after

    def ask(self, task, request):
        if self.after is not None:
            self.service.quick = self.after
            raise WorkerDied("the service is being stopped")
        return task


def test_who_asks_a_retired_worker_is_answered_by_the_next(served):
    _, service, _ = served
    service.quick = Slow(service, Slow(service, None))
    assert service.ask("locate", {}) == "locate"
    service.quick = dying = Slow(service, None)
    dying.after = dying  # nobody takes its place
    with pytest.raises(WorkerDied):
        service.ask("locate", {})


def test_a_new_version_is_answered_by_when_it_is_ready(served, monkeypatch):
    from echoscape.service import running

    _, service, _ = served
    seen = []

    class Fresh(running.Worker):
        def __init__(self, url):
            pass

        def ask(self, task, request):
            seen.append((task, request["map"], service.quick))
            return {"map": request["map"], "version": 4}

    class Old:
        def retire(self):
            seen.append("retired")

    monkeypatch.setattr(running, "Worker", Fresh)
    old = service.quick = Old()
    service._versions = {"city": 3}
    service._renewed({"map": "city", "version": 4, "reports": 9, "vanished": 2})
    assert seen == [("warm", "city", old), "retired"]  # until then the old one answers
    assert isinstance(service.quick, Fresh)
    assert service._versions == {"city": 4}
    assert service.counts["points_vanished"] == 2
