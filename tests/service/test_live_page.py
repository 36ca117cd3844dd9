"""The live page in a real browser: it asks with its token, and draws fixes as they are made."""

import asyncio
import json
import os
import shutil
import socket
import threading

import pytest
import uvicorn

from echoscape.service import make_application
from echoscape.service.messages import Fixes, FixMessage, MapChange, Place
from echoscape.store import Store
from echoscape.store.tokens import make_token
from echoscape.viewer import ViewerScene, to_json
from tests.viewer.test_in_browser import FLAGS, show

pytestmark = pytest.mark.slow
SCENE = ViewerScene("Live", [0.0, 0.0, 0.0], [50.0, 40.0, 10.0], 1.5, live=True)
FIX = FixMessage(
    target=7, status="located", time=5.0, location=None,
    places=[
        Place(
            position=[20.0, 10.0, 1.5], probability=1.0,
            covariance=[[5.0, 3.0, 0.0], [3.0, 5.0, 0.0], [0.0, 0.0, 1.0]],
        )
    ],
)  # fmt: skip


class Worker:
    """Stands in for the worker that lays scenes out."""

    busy, asked = False, 0

    def ask(self, task, request):
        assert task == "scene"
        self.asked += 1
        return to_json(SCENE)[:-1] + ',"maps":["city 1"]}'


@pytest.fixture
def served(tmp_path, monkeypatch):
    url = str(tmp_path / "site.db")
    store = Store.create(url)
    app = make_application(store, url)
    service = app.state.service

    def start(loop):
        service._loop, service.quick = loop, Worker()

    monkeypatch.setattr(service, "start", start)
    monkeypatch.setattr(service, "stop", lambda: service._ending.set())
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    token = make_token(store, "page", ["read"])
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/", token, service
    service._ending.set()
    server.should_exit = True
    thread.join()
    store.close()


def test_fixes_appear_as_they_are_made(served):
    from playwright.sync_api import sync_playwright

    at, token, service = served
    program = os.environ.get("ECHOSCAPE_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 500, "height": 400})
        said, asked = [], []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(at)
        page.wait_for_function("() => !document.getElementById('problem').hidden")
        assert "A token is needed" in page.inner_text("#problem")
        page.close()
        page = browser.new_page(viewport={"width": 500, "height": 400})
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        show(page, f"{at}#token={token}")
        assert token not in page.url
        assert page.inner_text("h1") == "Live"
        page.wait_for_function("() => window.echoscape.layers.some((l) => l.name === 'Fixes')")
        for _ in range(100):
            if service.listeners:
                break
            page.wait_for_timeout(50)
        service.tell("fixes", Fixes(map="city", version=1, fixes=[FIX]))
        page.wait_for_function("() => window.echoscape.scene.fixes.length === 1")
        assert "1 targets" in page.inner_text("#layers")
        assert "located 1" in page.inner_text("#layers")
        axes = page.evaluate("() => window.echoscape.scene.fixes[0].axes")
        lengths = sorted(sum(v * v for v in axes[i : i + 3]) ** 0.5 for i in (0, 3, 6))
        assert lengths == pytest.approx([2.5003 * s**0.5 for s in (1.0, 2.0, 8.0)])
        before = service.quick.asked
        service.tell("map", MapChange(map="city", version=2, reports=9, vanished=1, appeared=0))
        page.wait_for_function("() => window.echoscape?.scene.fixes.length === 0")
        assert service.quick.asked > before
        assert all(url.startswith(at) for url in asked), asked
        assert said == []
        browser.close()


def test_events_are_named(served):
    _, _, service = served
    for _ in range(200):
        if service._loop is not None:
            break
        threading.Event().wait(0.02)

    async def listen():
        queue = service.listen()
        service.tell("map", MapChange(map="city", version=2, reports=9, vanished=1, appeared=0))
        return await asyncio.wait_for(queue.get(), 5.0)

    event, text = asyncio.run_coroutine_threadsafe(listen(), service._loop).result(10.0)
    assert event == "map"
    assert json.loads(text)["vanished"] == 1
