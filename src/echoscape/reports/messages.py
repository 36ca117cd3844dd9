"""Reports and echoes as JSON: what a service takes and what a stream carries.

Numbers are strict: a truth value or a text is no number.

Takes JSON.
Gives Arrow tables with the columns of ``docs/formats.md``.
"""

from typing import Annotated, Any

import pyarrow as pa
import pydantic

Number = Annotated[float, pydantic.Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, pydantic.Field(strict=True, ge=-(2**62), le=2**62)]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=256)]
Point = Annotated[list[Number], pydantic.Field(min_length=3, max_length=3)]


class Message(pydantic.BaseModel, extra="forbid"):
    """No unknown fields."""


class PathMessage(Message):
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


class ReportMessage(Message):
    """A user's report; places [m], time [s]."""

    report: Whole
    station: Name
    station_position: Point
    position: Point
    position_std: Number = 0.0
    time: Number = 0.0
    paths: Annotated[list[PathMessage], pydantic.Field(max_length=1000)]


class ReportBatch(Message):
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


class EchoMessage(Message):
    """The echoes of one target at one station; time [s]."""

    target: Whole
    station: Name
    sender: Name | None = None
    time: Number = 0.0
    echoes: Annotated[list[PathMessage], pydantic.Field(max_length=1000)]


class EchoBatch(Message):
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
