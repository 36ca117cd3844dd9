"""The interface over HTTP: data in, maps, fixes and jobs out.

    POST /v1/reports, /v1/echoes      scope ingest; JSON, Parquet or an Arrow stream
    GET  /v1/reports                  scope read; JSON, Parquet or an Arrow stream
    POST /v1/locate                   scope read; fixes of one or a few targets, at once
    GET  /v1/forecast                 scope read; paths and beams at a place
    GET  /v1/stream                   scope read; fixes as they are made, over a web socket
    GET  /v1/maps, POST /v1/jobs, GET /v1/jobs/NUMBER, GET /v1/fixes, /v1/events, /v1/metrics
    GET  /, /v1/health, /v1/openapi.json open to all; the page at / asks for a token

Answering and computing are apart: computing happens in two processes, one for fixes that somebody
waits for and one for jobs.  Errors are ``application/problem+json`` (RFC 9457).

Takes a `Store` and `Limits`.
Gives an application for any ASGI server.
"""

import asyncio
import contextlib
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from echoscape import __version__
from echoscape.checks import InputError
from echoscape.reports.messages import EchoBatch, ReportBatch, stream_of
from echoscape.reports.table import echoes_from_table, reports_from_table, table_from_reports
from echoscape.service.documents import answers, body_of
from echoscape.service.foreseeing import foresee
from echoscape.service.guard import Limits
from echoscape.service.messages import Added, Fixes, JobRequest
from echoscape.service.page import show
from echoscape.service.running import Service
from echoscape.service.upkeep import Upkeep
from echoscape.service.watching import watch
from echoscape.service.worker import WorkerDied
from echoscape.store import (
    Store,
    add_echoes,
    add_reports,
    find_fixes,
    find_reports,
    list_maps,
)
from echoscape.store.jobs import add_job, find_job
from echoscape.text import printable

PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
_log = logging.getLogger("echoscape.service")
_Name = Annotated[str | None, Query(min_length=1, max_length=256)]
_Number = Annotated[float | None, Query(allow_inf_nan=False)]


def make_application(
    store: Store,
    url: str,
    limits: Limits | None = None,
    origin: str = "site",
    upkeep: Upkeep | None = None,
) -> FastAPI:
    """Make the application.

    Args:
        store: Open store.
        url: Its address, for the workers.
        limits: How much is taken; sensible values by default.
        origin: What coordinates count from, as fixes name it.
        upkeep: When maps are updated without being asked; never if not given.
    """
    service = Service(store, url, limits or Limits(), origin, upkeep)

    @contextlib.asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start, asyncio.get_running_loop())
        yield
        await run_in_threadpool(service.stop)

    app = FastAPI(
        title="Echoscape", version=__version__, lifespan=running, docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json", redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    _explain(app)
    _ingest(app, service)
    _ask(app, service)
    watch(app, service)
    foresee(app, service)
    show(app, service)
    return app


def _explain(app: FastAPI) -> None:
    """Answer errors as problems, in one sentence each."""

    def problem(status: int, sentence: str, headers: Any = None) -> Response:
        content = {"type": "about:blank", "status": status, "detail": printable(sentence)}
        return JSONResponse(content, status, headers, "application/problem+json")

    @app.exception_handler(StarletteHTTPException)
    async def _(_: Request, error: StarletteHTTPException) -> Response:
        return problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def _(_: Request, error: Any) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem(422, f"{place or 'the request'}: {first['msg']}")

    @app.exception_handler(InputError)
    async def _(_: Request, error: InputError) -> Response:
        return problem(422, str(error))

    @app.exception_handler(WorkerDied)
    async def _(_: Request, error: WorkerDied) -> Response:
        return problem(503, f"{error}; send the request again", {"Retry-After": "2"})

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> Response:
        _log.exception("fault at %s", printable(request.url.path), exc_info=error)
        return problem(500, "a fault of the service; its log says more")


def _ingest(app: FastAPI, service: Service) -> None:
    def keep(
        add: Callable[..., Any], kind: str, make: Callable[..., Any]
    ) -> Callable[[pa.Table, str], Added]:
        def kept(table: pa.Table, source: str) -> Added:
            rows = make(table, source=source)
            latest = float(rows.time.max())
            if latest > time.time() + service.limits.ahead:
                raise InputError(
                    f"a time of {latest:.3f} s lies in the future; are the sender's clock and the "
                    "unit, seconds since 1970, right?"
                )
            added = add(service.store, rows, source)
            service.count(f"{kind}_added", added.new)
            service.count(f"{kind}_repeated", added.repeated)
            return Added(new=added.new, repeated=added.repeated)

        return kept

    @app.post(
        "/v1/reports", response_model=Added, responses=answers(413, 415, 408),
        openapi_extra=body_of(ReportBatch, PARQUET, ARROW), tags=["data"],
    )  # fmt: skip
    async def post_reports(request: Request, source: _Name = None) -> Added:
        """Keep a batch of reports, as a whole or not at all."""
        await service.guard.allow(request, "ingest")
        table, origin = await _table(service, request, ReportBatch, source)
        kept = keep(add_reports, "reports", reports_from_table)
        return await run_in_threadpool(kept, table, origin)

    @app.post(
        "/v1/echoes", response_model=Added, responses=answers(413, 415, 408),
        openapi_extra=body_of(EchoBatch, PARQUET, ARROW), tags=["data"],
    )  # fmt: skip
    async def post_echoes(request: Request, source: _Name = None) -> Added:
        """Keep a batch of echoes, as a whole or not at all."""
        await service.guard.allow(request, "ingest")
        table, origin = await _table(service, request, EchoBatch, source)
        kept = keep(add_echoes, "echoes", echoes_from_table)
        return await run_in_threadpool(kept, table, origin)


async def _table(
    service: Service, request: Request, message: Any, source: str | None
) -> tuple[pa.Table, str]:
    """Read a body as a table, and who sent it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", PARQUET, ARROW):
        raise HTTPException(415, f"send application/json, {PARQUET} or {ARROW}")
    body = await service.guard.body(request)
    return await run_in_threadpool(_parsed, kind, body, message, source)


def _parsed(kind: str, body: bytes, message: Any, source: str | None) -> tuple[pa.Table, str]:
    if kind == "application/json":
        batch = message.model_validate_json(body)
        return batch.table(), batch.source
    if source is None:
        raise InputError("say where the table comes from: ?source=NAME")
    try:
        if kind == PARQUET:
            file = pq.ParquetFile(io.BytesIO(body), page_checksum_verification=True)
            if file.metadata.num_rows * file.metadata.num_columns > 50_000_000:
                raise InputError("a table has at most 50 million cells; send it in parts")
            return file.read(), source
        with pa.ipc.open_stream(body) as stream:
            return stream.read_all(), source
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the body is damaged: {str(error).splitlines()[0]}") from error


def _ask(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/reports", responses=answers(404) | {200: {"content": {PARQUET: {}, ARROW: {}}}},
        response_class=Response, tags=["data"],
    )  # fmt: skip
    async def get_reports(
        request: Request,
        station: _Name = None,
        source: _Name = None,
        since: _Number = None,
        until: _Number = None,
        west: _Number = None,
        south: _Number = None,
        east: _Number = None,
        north: _Number = None,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
        form: Literal["parquet", "arrow"] = "parquet",
    ) -> Response:
        """Find reports by station, source, time and area, as a table."""
        await service.guard.allow(request, "read")
        edges = (west, south, east, north)
        if any(edge is None for edge in edges) and edges != (None,) * 4:
            raise InputError("an area needs west, south, east and north [m]")
        low = -float("inf") if since is None else since
        high = float("inf") if until is None else until
        table = await run_in_threadpool(
            lambda: table_from_reports(
                find_reports(
                    service.store, station=station, source=source, time=(low, high),
                    area=None if west is None else [e for e in edges if e is not None],
                    limit=limit,
                )
            )
        )  # fmt: skip
        if form == "arrow":
            return Response(stream_of(table), media_type=ARROW)
        out = io.BytesIO()
        pq.write_table(table, out, write_page_checksum=True)
        return Response(out.getvalue(), media_type=PARQUET)

    @app.post(
        "/v1/locate", response_model=Fixes, responses=answers(413, 415, 408, 503),
        openapi_extra=body_of(EchoBatch, PARQUET, ARROW), tags=["fixes"],
    )  # fmt: skip
    async def locate(
        request: Request,
        map: Annotated[str, Query(min_length=1, max_length=256)],
        height: _Number = None,
    ) -> Fixes:
        """Locate the targets of a few sets of echoes, and keep the fixes."""
        await service.guard.allow(request, "read")
        table, _ = await _table(service, request, EchoBatch, "locate")
        return await run_in_threadpool(service.locate, stream_of(table), map, height)

    @app.get("/v1/maps", responses=answers(), tags=["maps"])
    async def maps(request: Request) -> list[dict[str, Any]]:
        """List the versions of all maps, with what each was learnt from."""
        await service.guard.allow(request, "read")
        every = await run_in_threadpool(list_maps, service.store)
        return [
            {
                "name": v.name, "version": v.version, "made": v.made, "reports": v.report_count,
                "manifest": json.loads(v.manifest),
            }
            for v in every
        ]  # fmt: skip

    @app.get("/v1/fixes", responses=answers(), tags=["fixes"])
    async def fixes(
        request: Request,
        since: _Number = None,
        until: _Number = None,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    ) -> list[dict[str, Any]]:
        """List fixes of a span of time, the last that were kept."""
        await service.guard.allow(request, "read")
        low = -float("inf") if since is None else since
        high = float("inf") if until is None else until
        columns = await run_in_threadpool(find_fixes, service.store, time=(low, high), limit=limit)
        rows = zip(*(columns[name].tolist() for name in columns))
        return [{n: None if v != v else v for n, v in zip(columns, row)} for row in rows]

    @app.post(
        "/v1/jobs", status_code=202, responses=answers(408, 413),
        openapi_extra=body_of(JobRequest), tags=["jobs"],
    )  # fmt: skip
    async def post_job(request: Request) -> dict[str, Any]:
        """Learn a map from the store's reports, or locate all echoes that it holds."""
        await service.guard.allow(request, "admin")
        job = JobRequest.model_validate_json(await service.guard.body(request))
        asked = job.model_dump(exclude={"kind"}, exclude_none=True)
        made = await run_in_threadpool(add_job, service.store, job.kind, asked)
        service.wake()
        return {"number": made.number, "state": made.state}

    @app.get("/v1/jobs/{number}", responses=answers(404), tags=["jobs"])
    async def get_job(request: Request, number: int) -> dict[str, Any]:
        """Tell how a job stands, and what came of it."""
        await service.guard.allow(request, "read")
        job = None
        if abs(number) < 2**31:
            job = await run_in_threadpool(find_job, service.store, number)
        if job is None:
            raise HTTPException(404, f"there is no job {number}")
        return {
            "number": job.number, "kind": job.kind, "state": job.state, "request": job.request,
            "result": job.result, "attempts": job.attempts,
        }  # fmt: skip
