"""What a service tells of itself: health, counts, and every fix as it is made.

Fixes are sent as server-sent events and over a web socket, whose origin and token are checked
before it is accepted.  A listener that does not keep up loses the oldest.

Takes a `Service`.
Gives the routes of an application.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import (
    FastAPI,
    HTTPException,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from echoscape import __version__
from echoscape.service.documents import answers
from echoscape.service.running import Service
from echoscape.store import count_rows, list_maps


def watch(app: FastAPI, service: Service) -> None:
    """Add health, metrics and the streams of fixes.

    Args:
        app: The application.
        service: What runs behind it.
    """

    @app.get("/v1/health", tags=["service"])
    async def health() -> dict[str, Any]:
        """Tell whether the store answers and the workers live; open to all."""
        await run_in_threadpool(list_maps, service.store)
        return {"status": "ok", "version": __version__, "busy": service.quick.busy}

    @app.get("/v1/metrics", responses=answers(), response_class=Response, tags=["service"])
    async def metrics(request: Request) -> Response:
        """Count for Prometheus."""
        await service.guard.allow(request, "read")
        rows = await run_in_threadpool(count_rows, service.store)
        lines = ["# TYPE echoscape_rows gauge"]
        lines += [f'echoscape_rows{{table="{name}"}} {count}' for name, count in rows.items()]
        for name, count in sorted(service.counts.items()):
            lines += [f"# TYPE echoscape_{name}_total counter", f"echoscape_{name}_total {count}"]
        return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    @app.get("/v1/events", responses=answers(), response_class=StreamingResponse, tags=["fixes"])
    async def events(request: Request) -> Response:
        """Send every fix as it is made, and every new version of a map (server-sent events)."""
        await service.guard.allow(request, "read")
        queue = service.listen()

        async def stream() -> AsyncIterator[str]:
            try:
                yield ": listening\n\n"
                while not service.is_ending:
                    try:
                        event, text = await asyncio.wait_for(queue.get(), 1.0)
                        yield f"event: {event}\ndata: {text}\n\n"
                    except TimeoutError:
                        yield ": still here\n\n"
            finally:
                service.listeners.discard(queue)

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        """Send what `/v1/events` sends, one JSON text each, until either end closes."""
        try:
            await service.guard.allow(socket, "read")
        except HTTPException as error:  # before it is accepted, a closed socket is refused: 403
            raise WebSocketException(1008, str(error.detail)) from None
        await socket.accept()
        queue = service.listen()
        gone = asyncio.ensure_future(_gone(socket))
        try:
            while not (service.is_ending or gone.done()):
                with contextlib.suppress(TimeoutError):
                    _, text = await asyncio.wait_for(queue.get(), 0.5)
                    await socket.send_text(text)
            if not gone.done():
                await socket.close(1001)
        except WebSocketDisconnect:
            pass
        finally:
            gone.cancel()
            service.listeners.discard(queue)


async def _gone(socket: WebSocket) -> None:
    """Wait until the other end is gone; what it says is of no interest."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
