"""The web socket: fixes arrive as they are made; strangers and foreign pages are not let in."""

import json

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from echoscape.service import make_application
from echoscape.service.messages import Fixes
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
