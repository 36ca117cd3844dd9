"""The page of the live site: everybody gets the page, and a token gets what it shows.

The page holds no data.  It takes the token from the part of its address that browsers do not send,
asks for the scene, and draws every fix as it is made.

Takes a `Service`.
Gives the routes of an application.
"""

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from echoscape.service.documents import answers
from echoscape.service.running import Service
from echoscape.viewer.page import page_of

_Number = Annotated[float, Query(allow_inf_nan=False, ge=-1e7, le=1e7)]
_HEADERS = {
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}  # fmt: skip


def show(app: FastAPI, service: Service) -> None:
    """Add the page, its scene, and what maps predict at a place of it.

    Args:
        app: The application.
        service: What runs behind it.
    """
    text = page_of(None)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(text, media_type="text/html", headers=_HEADERS)

    described = answers(503) | {200: {"content": {"application/json": {}}}}

    @app.get("/v1/scene", responses=described, response_class=Response, tags=["service"])
    async def scene(request: Request) -> Response:
        """Lay out maps, newest reports and fixes, and the mesh, as the page draws them."""
        await service.guard.allow(request, "read")
        asked = {"title": f"Echoscape: {service.origin}"}
        made = await run_in_threadpool(service.ask, "scene", asked)
        return Response(made, media_type="application/json", headers=_HEADERS)

    @app.get("/v1/place", responses=described, response_class=Response, tags=["service"])
    async def place(request: Request, x: _Number, y: _Number, z: _Number) -> Response:
        """Predict the paths at a place [m], with their corners, as the page draws them."""
        await service.guard.allow(request, "read")
        made = await run_in_threadpool(service.ask, "place", {"position": [x, y, z]})
        return Response(made, media_type="application/json", headers=_HEADERS)
