"""What the interface takes and gives as JSON, and a fix in the words of a location server.

Numbers are strict: a truth value or a text is no number.

Takes JSON.
Gives Arrow tables with the columns of ``docs/formats.md``, and JSON.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pydantic

_ELLIPSE = -2.0 * math.log(1.0 - 0.67)  # squared radius, in deviations, that holds 67 %

Number = Annotated[float, pydantic.Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, pydantic.Field(strict=True, ge=-(2**62), le=2**62)]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=256)]
Point = Annotated[list[Number], pydantic.Field(min_length=3, max_length=3)]


class _Message(pydantic.BaseModel, extra="forbid"):
    """No unknown fields."""


class PathMessage(_Message):
    """One path, or one echo; angles [rad], delay [s], power received over transmitted [1]."""

    departure_azimuth: Number
    departure_zenith: Number
    arrival_azimuth: Number | None = None
    arrival_zenith: Number | None = None
    delay: Number
    power: Number
    departure_azimuth_std: Number | None = None
    departure_zenith_std: Number | None = None
    arrival_azimuth_std: Number | None = None
    arrival_zenith_std: Number | None = None
    delay_std: Number | None = None


class ReportMessage(_Message):
    """A user's report; places [m], time [s]."""

    report: Whole
    station: Name
    station_position: Point
    position: Point
    position_std: Number = 0.0
    time: Number = 0.0
    paths: Annotated[list[PathMessage], pydantic.Field(max_length=1000)]


class ReportBatch(_Message):
    """Reports of one source, kept as a whole or not at all."""

    source: Name
    reports: Annotated[list[ReportMessage], pydantic.Field(min_length=1, max_length=100_000)]

    def table(self) -> pa.Table:
        """Lay the reports out as a table."""
        rows = []
        for each in self.reports:
            own = {
                "report": each.report, "station": each.station, "time": each.time,
                "position_std": each.position_std,
                **dict(zip(("x", "y", "z"), each.position)),
                **dict(zip(("station_x", "station_y", "station_z"), each.station_position)),
            }  # fmt: skip
            paths = [path.model_dump() for path in each.paths]
            rows += [own | path | {"path": i} for i, path in enumerate(paths)] or [own]
        return _table(rows, integers=("report", "path"))


class EchoMessage(_Message):
    """The echoes of one target at one station; time [s]."""

    target: Whole
    station: Name
    sender: Name | None = None
    time: Number = 0.0
    echoes: Annotated[list[PathMessage], pydantic.Field(max_length=1000)]


class EchoBatch(_Message):
    """Sets of echoes of one source."""

    source: Name
    sets: Annotated[list[EchoMessage], pydantic.Field(min_length=1, max_length=10_000)]

    def table(self) -> pa.Table:
        """Lay the echoes out as a table."""
        rows = []
        for each in self.sets:
            own = {"target": each.target, "station": each.station, "time": each.time}
            if each.sender is not None:
                own["sender"] = each.sender
            echoes = [echo.model_dump() for echo in each.echoes]
            rows += [own | echo for echo in echoes] or [own]
        return _table(rows, integers=("target",))


class Added(_Message):
    """What became of a batch."""

    new: int
    """Rows that were not there before."""
    repeated: int
    """Rows that were, and stand only once."""


class JobRequest(_Message):
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


class Ellipse(_Message):
    """Of 67 % confidence; `orientationMajor` clockwise from north, which is +y [degree]."""

    semiMajor: float
    semiMinor: float
    orientationMajor: float


class LocalOrigin(_Message):
    """What the coordinates count from."""

    coordinateId: str


class LocalPoint(_Message):
    """Where it is: x east, y north [m]."""

    x: float
    y: float
    z: float


class Location(_Message):
    """`Local2dPointUncertaintyEllipse` of 3GPP TS 29.572."""

    shape: Literal["LOCAL_2D_POINT_UNCERTAINTY_ELLIPSE"] = "LOCAL_2D_POINT_UNCERTAINTY_ELLIPSE"
    localOrigin: LocalOrigin
    point: LocalPoint
    uncertaintyEllipse: Ellipse
    confidence: int = 67


class Place(_Message):
    """Where a target may be."""

    position: list[float]
    covariance: list[list[float]]
    probability: float


class FixMessage(_Message):
    """Where a target is, in our words and in those of a location server."""

    target: int
    status: str
    time: float
    places: list[Place]
    location: Location | None


class Fixes(_Message):
    """Fixes of one request."""

    map: str
    version: int
    fixes: list[FixMessage]


class MapChange(_Message):
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


def stream_of(table: pa.Table) -> bytes:
    """Pack a table as an Arrow stream."""
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    return out.getvalue().to_pybytes()


def _table(rows: list[dict[str, Any]], integers: tuple[str, ...]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = {"station", "sender"}
    columns = {}
    for name in names:
        kind = pa.int64() if name in integers else pa.string() if name in texts else pa.float64()
        values = [row.get(name) for row in rows]
        if any(value is not None for value in values):
            columns[name] = pa.array(values, kind)
    return pa.table(columns)
