"""What the interface takes and gives as JSON, and a fix in the words of a location server.

Takes what workers answer.
Gives JSON.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from echoscape.reports.messages import Message, Name, Number

_ELLIPSE = -2.0 * math.log(1.0 - 0.67)  # squared radius, in deviations, that holds 67 %


class Added(Message):
    """What became of a batch."""

    new: int
    """Rows that were not there before."""
    repeated: int
    """Rows that were, and stand only once."""


class JobRequest(Message):
    """Work that takes longer than an answer may."""

    kind: Literal["fit", "locate", "update"]
    map: Name
    model: Name | None = None
    station: Name | None = None
    source: Name | None = None
    since: Number | None = None
    until: Number | None = None
    height: Number | None = None
    false_alarm: Annotated[float, pydantic.Field(gt=0, lt=1)] | None = None
    per_reports: Annotated[int, pydantic.Field(ge=1, le=10**9)] | None = None
    refit_every: Annotated[int, pydantic.Field(ge=1, le=10**6)] | None = None

    @pydantic.model_validator(mode="after")
    def _refuse_what_has_no_effect(self) -> "JobRequest":
        growing = ("false_alarm", "per_reports", "refit_every")
        strays = {
            "fit": ("height", *growing), "locate": ("model", *growing),
            "update": ("height", "model", "since", "until"),
        }  # fmt: skip
        for stray in strays[self.kind]:
            if getattr(self, stray) is not None:
                raise ValueError(f"a job of kind {self.kind!r} takes no {stray}; leave it out")
        return self


class Ellipse(Message):
    """Of 67 % confidence; `orientationMajor` clockwise from north, which is +y [degree]."""

    semiMajor: float
    semiMinor: float
    orientationMajor: float


class LocalOrigin(Message):
    """What the coordinates count from."""

    coordinateId: str


class LocalPoint(Message):
    """Where it is: x east, y north [m]."""

    x: float
    y: float
    z: float


class Location(Message):
    """`Local2dPointUncertaintyEllipse` of 3GPP TS 29.572."""

    shape: Literal["LOCAL_2D_POINT_UNCERTAINTY_ELLIPSE"] = "LOCAL_2D_POINT_UNCERTAINTY_ELLIPSE"
    localOrigin: LocalOrigin
    point: LocalPoint
    uncertaintyEllipse: Ellipse
    confidence: int = 67


class Place(Message):
    """Where a target may be."""

    position: list[float]
    covariance: list[list[float]]
    probability: float


class FixMessage(Message):
    """Where a target is, in our words and in those of a location server."""

    target: int
    status: str
    time: float
    places: list[Place]
    location: Location | None


class Fixes(Message):
    """Fixes of one request."""

    map: str
    version: int
    fixes: list[FixMessage]


class MapChange(Message):
    """A map has a new version."""

    map: str
    version: int
    reports: int
    """Reports that it was fitted to, or that came to it."""
    vanished: int
    """Static points that were seen to be gone."""
    appeared: int
    """Static points that are new."""


def fixes_of(answer: dict[str, Any], time: float, origin: str) -> Fixes:
    """Make the answer to a request for fixes of the columns that a worker gave.

    Args:
        answer: Of `tasks.locate`.
        time: When the echoes were measured [s].
        origin: What the coordinates count from.
    """
    columns = {name: np.asarray(values) for name, values in answer["fixes"].items()}
    found: dict[int, FixMessage] = {}
    for i, target in enumerate(columns["target"].tolist()):
        place = _place(columns, i)
        status = str(columns["status"][i])
        if target in found:
            found[target].places.append(place)
        else:
            heard = status != "no_echo"
            found[target] = FixMessage(
                target=target, status=status, time=time, places=[place] if heard else [],
                location=location_of(place, origin) if heard else None,
            )  # fmt: skip
    return Fixes(map=answer["map"], version=answer["version"], fixes=list(found.values()))


def location_of(place: Place, origin: str) -> Location:
    """Say a place as a location server would."""
    covariance = np.array(place.covariance)[:2, :2]
    size, axis = np.linalg.eigh(covariance)
    minor, major = np.sqrt(np.maximum(size, 0.0) * _ELLIPSE)
    east, north = axis[:, 1]
    x, y, z = place.position
    return Location(
        localOrigin=LocalOrigin(coordinateId=origin),
        point=LocalPoint(x=x, y=y, z=z),
        uncertaintyEllipse=Ellipse(
            semiMajor=float(major), semiMinor=float(minor),
            orientationMajor=math.degrees(math.atan2(east, north)) % 180.0,
        ),
    )  # fmt: skip


def _place(columns: dict[str, np.ndarray], i: int) -> Place:
    c = {pair: float(columns[f"cov_{pair}"][i]) for pair in ("xx", "xy", "xz", "yy", "yz", "zz")}
    return Place(
        position=[float(columns[axis][i]) for axis in "xyz"],
        covariance=[
            [c["xx"], c["xy"], c["xz"]], [c["xy"], c["yy"], c["yz"]], [c["xz"], c["yz"], c["zz"]]
        ],
        probability=float(columns["probability"][i]) if "probability" in columns else 1.0,
    )  # fmt: skip
