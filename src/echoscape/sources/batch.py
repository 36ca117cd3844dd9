"""One batch of a stream, as a line of JSON or as the two parts of a message.

    line      {"kind": "reports", "source": "walk", "reports": [...]}, as a service takes them
    message   a head, {"kind": "echoes", "source": "radar"}, and a body: an Arrow stream with the
              columns of docs/formats.md, or for samples the bytes of a file of samples

What the readers of files refuse is refused here, in the same sentence.

Takes `Reports`, `Echoes`, `EchoSnapshots`; text and bytes.
Gives text and bytes; a `Batch`.
"""

import dataclasses
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pydantic

from echoscape.checks import InputError
from echoscape.reports import Echoes, Reports
from echoscape.reports.messages import EchoBatch, ReportBatch, stream_of
from echoscape.reports.sample_file import read_samples, write_samples
from echoscape.reports.table import (
    echoes_from_table,
    reports_from_table,
    table_from_echoes,
    table_from_reports,
)
from echoscape.signals import EchoSnapshots

KINDS = ("reports", "echoes", "samples")
"""What a batch can hold."""
_PLACES = {"position": ("x", "y", "z"), "station_position": ("station_x", "station_y", "station_z")}


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some reports, echoes or samples of one source."""

    source: str
    """Where they come from."""
    content: Reports | Echoes | EchoSnapshots
    """What came."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        named = {Reports: "reports", Echoes: "echoes", EchoSnapshots: "samples"}
        return named[type(self.content)]


def to_line(batch: Batch) -> str:
    """Write a batch of reports or echoes as one line of JSON.

    Args:
        batch: What to write.

    Raises:
        InputError: It holds samples, which JSON has no room for.
    """
    if isinstance(batch.content, Reports):
        rows, key = table_from_reports(batch.content).to_pylist(), "report"
        names, inner, outer = ("station", "time", "position_std"), "paths", "reports"
    elif isinstance(batch.content, Echoes):
        rows, key = table_from_echoes(batch.content).to_pylist(), "target"
        names, inner, outer = ("station", "sender", "time"), "echoes", "sets"
    else:
        raise InputError("samples are sent over ZeroMQ, not as lines of JSON")
    sets: dict[Any, dict[str, Any]] = {}
    drop = {key, "path", *names, *(axis for axes in _PLACES.values() for axis in axes)}
    for row in rows:
        own = {key: row[key], **{name: row[name] for name in names if row.get(name) is not None}}
        if inner == "paths":
            own |= {name: [row[axis] for axis in axes] for name, axes in _PLACES.items()}
        each = sets.setdefault((row[key], row["station"], row.get("sender")), {**own, inner: []})
        path = {n: v for n, v in row.items() if n not in drop and v is not None}
        if "delay" in path:
            each[inner].append(path)
    said = {"kind": batch.kind, "source": batch.source, outer: list(sets.values())}
    return json.dumps(said, allow_nan=False)


def from_line(line: str | bytes) -> Batch:
    """Read a batch from one line of JSON.

    Args:
        line: As `to_line` writes it.

    Raises:
        InputError: The line says what is wrong with it.
    """
    try:
        said = json.loads(line)
        kind = said.pop("kind")
        message: Any = {"reports": ReportBatch, "echoes": EchoBatch}[kind]
        batch = message.model_validate_json(json.dumps(said))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{place or 'the batch'}: {first['msg']}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            'a line needs a batch as JSON: {"kind": "reports", "source": NAME, "reports": [...]} '
            'or {"kind": "echoes", "source": NAME, "sets": [...]}'
        ) from error
    make = reports_from_table if kind == "reports" else echoes_from_table
    return Batch(batch.source, make(batch.table(), source=batch.source))


def to_parts(batch: Batch) -> tuple[bytes, bytes]:
    """Write a batch as head and body of a message.

    Args:
        batch: What to write.
    """
    head = json.dumps({"kind": batch.kind, "source": batch.source}).encode()
    if isinstance(batch.content, Reports):
        return head, stream_of(table_from_reports(batch.content))
    if isinstance(batch.content, Echoes):
        return head, stream_of(table_from_echoes(batch.content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.npz"
        write_samples(batch.content, path)
        return head, path.read_bytes()


def from_parts(head: bytes, body: bytes) -> Batch:
    """Read a batch from head and body of a message.

    Args:
        head: Kind and source, as JSON.
        body: Bytes of the kind.

    Raises:
        InputError: The message says what is wrong with it.
    """
    try:
        said = json.loads(head)
        kind, source = said["kind"], said["source"]
        if kind not in KINDS or not isinstance(source, str) or not 0 < len(source) <= 256:
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'the head of a message needs {{"kind": ..., "source": NAME}} with one of the kinds '
            f"{', '.join(KINDS)}"
        ) from error
    if kind == "samples":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "samples.npz"
            path.write_bytes(body)
            return Batch(source, read_samples(path))
    try:
        with pa.ipc.open_stream(io.BytesIO(body)) as stream:
            table = stream.read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the body is damaged: {str(error).splitlines()[0]}") from error
    make = reports_from_table if kind == "reports" else echoes_from_table
    return Batch(source, make(table, source=source))
