"""Tables of text as people have them: any delimiter, decimal commas, UTF-16, packed by gzip.

Takes a ``.csv``, ``.tsv``, ``.txt`` or ``.dat`` file, perhaps with ``.gz`` behind.
Gives an Arrow table with typed columns, or one sentence about what is wrong.
"""

import gzip
import io
import re
import zlib
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from echoscape.checks import InputError
from echoscape.files.limits import check_input, check_size, largest_content

SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
"""Endings of text tables; ``.gz`` may follow."""
LARGEST = 4 << 30
"""No table unpacks to more, so that a small packed file cannot fill the memory [byte]."""

_EMPTY = ["", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "-"]
_COMMENTS = (b"#", b"%")


def is_text_table(path: Path) -> bool:
    """Tell by its name whether a file is a table of text."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in SUFFIXES


def read_text_table(path: Path) -> pa.Table:
    """Read a table of text.

    Lines that begin with ``#`` or ``%`` are comments.  The delimiter is found in the header; where
    it is a semicolon, numbers may have decimal commas.

    Raises:
        InputError: The file is no table: no header, no rows, rows of several widths.
    """
    text = _text(path)
    if re.match(rb"sep=.\n", text, re.IGNORECASE):  # for Excel alone
        text = text.split(b"\n", 1)[1]
    lines = text.split(b"\n", 1)
    header = lines[0].strip(b"\r ")
    if not header or len(lines) < 2 or not lines[1].strip():
        raise InputError(f"{path} has no rows; one row for each path was needed below a header")
    delimiter = _delimiter(header)
    if delimiter == " ":
        text = re.sub(rb"[ \t]+", b" ", re.sub(rb"(?m)^[ \t]+|[ \t\r]+$", b"", text))
    names = [name.strip().strip("\"'").strip() for name in _cells(header, delimiter)]
    _check_names(names, path)
    comma = delimiter != "," and bool(re.search(rb"[^,\d]\d*,\d+[^,\d]", lines[1][:20_000]))
    try:
        table = csv.read_csv(
            io.BytesIO(text),
            read_options=csv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(
                null_values=_EMPTY, strings_can_be_null=True, decimal_point="," if comma else "."
            ),
        )
    except pa.ArrowInvalid as error:
        raise _about(path, len(names), error, text, delimiter) from None
    return table.select([name for name in names if name])


def _text(path: Path) -> bytes:
    """Read, unpack and decode; comments and empty lines are left out."""
    large = f"{path} holds more than {LARGEST >> 30} GiB; split it into several files"
    if check_input(path, "a table of text") > LARGEST:
        raise InputError(large)
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as stream:
                content = stream.read(int(min(LARGEST, largest_content(path))) + 1)
                check_size(path, len(content), "its text")
        else:
            with open(path, "rb") as stream:
                content = stream.read(LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} cannot be unpacked ({error}), it is damaged or cut short; write it again"
        ) from None
    if len(content) > LARGEST:
        raise InputError(large)
    start = content[:200]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or start.count(b"\0") > len(start) // 4:
        little = start[:2] == b"\xff\xfe" or (start[:2] != b"\xfe\xff" and start[1:2] == b"\0")
        try:
            content = content.decode("utf-16-le" if little else "utf-16-be").encode()
        except UnicodeDecodeError:
            raise InputError(f"{path} is no text; a table of text was needed") from None
        content = content.removeprefix("\ufeff".encode())
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in content[:10_000]:
        raise InputError(f"{path} is no text; a table of text was needed")
    marked = content[:1] in _COMMENTS or any(b"\n" + mark in content for mark in _COMMENTS)
    if marked or content[:1] in (b"\n", b" ", b"\t"):
        content = b"\n".join(
            line
            for line in content.split(b"\n")
            if line.strip() and not line.lstrip().startswith(_COMMENTS)
        )
    try:
        content.decode()
    except UnicodeDecodeError:
        content = content.decode("latin-1").encode()
    return content


def _delimiter(header: bytes) -> str:
    bare = re.sub(rb'"[^"]*"', b"", header)
    counts = {mark: bare.count(mark.encode()) for mark in (";", "\t", ",", "|")}
    mark = max(counts, key=lambda each: counts[each])
    if counts[mark]:
        return mark
    return " " if b" " in bare.strip() else ","


def _cells(header: bytes, delimiter: str) -> list[str]:
    text = header.decode(errors="replace")
    return [cell for cell in re.split(re.escape(delimiter) + r'(?=(?:[^"]*"[^"]*")*[^"]*$)', text)]


def _check_names(names: list[str], path: Path) -> None:
    numbers = [name for name in names if re.fullmatch(r"[-+]?\d*[.,]?\d+([eE][-+]?\d+)?", name)]
    if len(numbers) * 2 > len(names):
        raise InputError(
            f"{path} begins with numbers; a header with the names of the columns was needed above"
        )
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise InputError(f"{path} has the column {doubled[0]!r} twice; rename or remove one")


def _about(
    path: Path, width: int, error: pa.ArrowInvalid, text: bytes, delimiter: str
) -> InputError:
    found = re.search(r"Expected (\d+) columns, got (\d+)", str(error))
    if found:
        lines = text.split(b"\n")[1:]
        mark = delimiter.encode()
        row = next((k for k, line in enumerate(lines, 1) if line.count(mark) + 1 != width), 0)
        return InputError(
            f"{path}: row {row} has {found[2]} cells, but the header has {width}; give every row "
            "a cell for each column, empty where unknown"
        )
    reason = str(error).splitlines()[0].rstrip(".")
    return InputError(f"{path} cannot be read as a table ({reason}); write it again")
