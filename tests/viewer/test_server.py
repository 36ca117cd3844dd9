"""The server: page and JSON at one address, predictions, and no foreign hosts."""

import http.client
import json
import threading

import pytest

from echoscape.checks import InputError
from echoscape.viewer import ViewerScene, make_server, page_of, to_json
from tests.worlds.shown import forecast

SCENE = ViewerScene("a", [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], 0.0, live=True)


@pytest.fixture
def server():
    def place(position):
        if position[0] > 1e6:
            raise InputError("too far, in m")
        return forecast(position)

    made = make_server(SCENE, place)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def ask(server, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], content


def test_page_and_json_are_at_one_address(server):
    assert ask(server, "/") == (200, "text/html; charset=utf-8", page_of(SCENE))
    status, kind, text = ask(server, "/", Accept="application/json")
    assert (status, kind, text) == (200, "application/json; charset=utf-8", to_json(SCENE))


def test_a_place_is_answered(server):
    status, _, text = ask(server, "/predict?x=20&y=22&z=1.5")
    assert status == 200
    assert json.loads(text) == json.loads(to_json(forecast([20.0, 22.0, 1.5])))


@pytest.mark.parametrize("query", ["", "?x=1&y=2", "?x=one&y=2&z=3"])
def test_a_place_without_numbers_is_refused(server, query):
    status, _, text = ask(server, f"/predict{query}")
    assert status == 422
    assert json.loads(text) == {"detail": "x, y and z are needed, in m"}


def test_a_refusal_is_passed_on(server):
    status, _, text = ask(server, "/predict?x=2e6&y=0&z=0")
    assert (status, json.loads(text)["detail"]) == (422, "too far, in m")


def test_a_page_of_another_name_is_refused(server):
    assert ask(server, "/", Host="evil.example")[0] == 403
    assert ask(server, "/predict?x=1&y=1&z=1", Host="evil.example:80")[0] == 403
    assert ask(server, "/", Host=f"localhost:{server.server_address[1]}")[0] == 200


def test_other_addresses_hold_nothing(server):
    assert ask(server, "/etc/passwd")[0] == 404
    without = make_server(SCENE, None)
    without.server_close()


def test_a_port_in_use_is_said(server):
    with pytest.raises(InputError, match="choose another --port"):
        make_server(SCENE, None, port=server.server_address[1])
