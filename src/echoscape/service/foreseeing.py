"""What maps say of a place: channel priors for an estimator, beams for a base station.

Takes a `Service`.
Gives the route of an application.
"""

import math
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool

from echoscape.checks import InputError
from echoscape.service.documents import answers
from echoscape.service.running import Service

_Number = Annotated[float, Query(allow_inf_nan=False, ge=-1e7, le=1e7)]
_Count = Annotated[int | None, Query(ge=1, le=64)]


def foresee(app: FastAPI, service: Service) -> None:
    """Add the question what maps predict at a place.

    Args:
        app: The application.
        service: What runs behind it.
    """

    @app.get("/v1/forecast", responses=answers(503), tags=["maps"])
    async def forecast(
        request: Request,
        map: Annotated[str, Query(min_length=1, max_length=256)],
        x: _Number,
        y: _Number,
        z: _Number,
        position_std: Annotated[float, Query(allow_inf_nan=False, ge=0, le=1e4)] = 0.0,
        rows: _Count = None,
        columns: _Count = None,
        azimuth: Annotated[float, Query(ge=-math.pi, le=math.pi)] = 0.0,
        tilt: Annotated[float, Query(ge=-math.pi / 2, le=math.pi / 2)] = 0.0,
    ) -> dict[str, Any]:
        """Predict the paths at a place [m], and the best beams of an array, if one is given."""
        await service.guard.allow(request, "read")
        if (rows is None) != (columns is None):
            raise InputError("beams need rows and columns, the elements of the station's array")
        array = None
        if rows is not None:
            array = {"rows": rows, "columns": columns, "azimuth": azimuth, "tilt": tilt}
        asked = {
            "map": map, "position": [x, y, z], "position_std": position_std, "array": array,
        }  # fmt: skip
        return await run_in_threadpool(service.ask, "forecast", asked)
