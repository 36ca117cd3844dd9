"""The page served to this machine: the scene, its JSON at the same address, and predictions.

``GET /`` is the page, or the scene as JSON where the request accepts ``application/json``;
``GET /predict?x=..&y=..&z=..`` is a `PlaceMark`.  Requests that name another host, as those of a
page of a foreign site would after it changed its name's address, are refused.

Takes a scene and what answers at a place.
Gives a server.
"""

import gzip
import http.server
import json
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import numpy as np
from jaxtyping import Float

from echoscape.checks import InputError
from echoscape.viewer.page import page_of
from echoscape.viewer.scene import PlaceMark, ViewerScene, to_json

Answerer = Callable[[Float[np.ndarray, "3"]], PlaceMark]
"""Says what is predicted at a place [m], as `Place` does."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def make_server(
    scene: ViewerScene, place: Answerer | None, host: str = "127.0.0.1", port: int = 0
) -> http.server.ThreadingHTTPServer:
    """Listen; call ``serve_forever`` to answer.

    Args:
        scene: What is shown.
        place: What answers at a place; None where there is no map.
        host: Address to listen at.
        port: Port; 0 for any that is free.

    Raises:
        InputError: The port is in use.
    """
    kept = {
        kind: gzip.compress(text.encode(), 5)
        for kind, text in (("text/html", page_of(scene)), ("application/json", to_json(scene)))
    }
    asking = threading.Lock()

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            """Answer a request."""
            named = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            if host in _LOOPBACK and named not in _LOOPBACK:
                return self._say(403, "application/json", _problem("this page is of this machine"))
            url = urlsplit(self.path)
            if url.path == "/":
                wanted = "application/json" in self.headers.get("Accept", "")
                kind = "application/json" if wanted else "text/html"
                return self._say(200, kind, kept[kind], packed=True)
            if url.path == "/predict" and place is not None:
                return self._predict(place, parse_qs(url.query))
            return self._say(404, "application/json", _problem("there is nothing at this address"))

        def _predict(self, place: Answerer, query: dict[str, list[str]]) -> None:
            try:
                position = np.array([float(query[axis][0]) for axis in "xyz"])
                with asking:
                    answer = to_json(place(position))
            except (KeyError, ValueError) as error:  # an InputError is a ValueError
                said = (
                    str(error) if isinstance(error, InputError) else "x, y and z are needed, in m"
                )
                return self._say(422, "application/json", _problem(said))
            return self._say(200, "application/json", answer.encode())

        def _say(self, status: int, kind: str, content: bytes, packed: bool = False) -> None:
            if packed and "gzip" not in self.headers.get("Accept-Encoding", ""):
                content, packed = gzip.decompress(content), False
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Vary", "Accept, Accept-Encoding")
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            if packed:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    try:
        return http.server.ThreadingHTTPServer((host, port), Answer)
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}:{port}: {error.strerror}; choose another --port, or 0 for "
            "any that is free"
        ) from error


def _problem(sentence: str) -> bytes:
    return json.dumps({"detail": sentence}).encode()
