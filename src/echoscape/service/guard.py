"""What every request must pass: its size, its pace, where it comes from and its token.

Bodies are read in pieces and never beyond the limit; a sender that is slow is cut off.  Pages of
other origins are refused, and no header invites them.

Takes a request.
Gives its body, or an answer that says why not.
"""

import asyncio
import dataclasses
import threading
import time
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from echoscape.store import Store
from echoscape.store.tokens import scopes_of


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much the service takes."""

    body: int = 64 * 2**20
    """Largest body [byte]."""
    patience: float = 30.0
    """How long a body may take to arrive [s]."""
    rate: float = 200.0
    """Requests of one token in the long run [1/s]."""
    burst: float = 400.0
    """Requests of one token at once [1]."""
    ahead: float = 300.0
    """How far times may lie in the future, by which clocks differ [s]."""


class Guard:
    """Lets requests through, or says why not."""

    def __init__(self, store: Store, limits: Limits):
        """Guard a store.

        Args:
            store: Whose tokens count.
            limits: What is too much.
        """
        self._store, self._limits = store, limits
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    async def allow(self, request: HTTPConnection, scope: str) -> None:
        """Refuse a request that may not do what it asks for.

        Args:
            request: A request, or the beginning of a web socket, with its token.
            scope: What it needs; `admin` allows everything.
        """
        _refuse_foreign(request)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        scopes = frozenset[str]()
        if kind.lower() == "bearer" and token:
            scopes = await run_in_threadpool(scopes_of, self._store, token)
        if not scopes:
            raise HTTPException(
                401, "a token of this store is needed: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        if not scopes & {scope, "admin"}:
            raise HTTPException(403, f"this token does not allow {scope!r}")
        self._pace(token)

    async def body(self, request: Request) -> bytes:
        """Read a request's body, as far as it may go."""
        limit = self._limits.body
        too_much = HTTPException(413, f"a body has at most {limit:,} bytes; send it in parts")
        stated = request.headers.get("content-length", "")
        if stated.isdigit() and int(stated) > limit:
            raise too_much
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.patience):
                async for part in request.stream():
                    size += len(part)
                    if size > limit:
                        raise too_much
                    parts.append(part)
        except TimeoutError:
            raise HTTPException(
                408, f"the body did not arrive within {self._limits.patience:g} s"
            ) from None
        return b"".join(parts)

    def _pace(self, token: str) -> None:
        now = time.monotonic()
        with self._lock:
            left, then = self._left.get(token, (self._limits.burst, now))
            left = min(left + (now - then) * self._limits.rate, self._limits.burst)
            if left < 1.0:
                raise HTTPException(
                    429, f"this token sends more than {self._limits.rate:g} requests a second",
                    {"Retry-After": "1"},
                )  # fmt: skip
            self._left[token] = (left - 1.0, now)


def _refuse_foreign(request: HTTPConnection) -> None:
    origin = request.headers.get("origin")
    if origin is None:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "pages of other origins may not use this service")
