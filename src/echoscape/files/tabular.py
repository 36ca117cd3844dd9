"""Parquet and CSV as columns of Arrow, read bounded and checked, written safe.

Pages of Parquet are written with checksums and verified.  In CSV, cells of text that a spreadsheet
would take for a formula get an apostrophe in front, which is taken off again here.

Takes paths and, for a CSV file, which columns are numbers.
Gives Arrow tables.
"""

import csv as text
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import csv, parquet

from echoscape.checks import InputError
from echoscape.files.limits import check_input, check_size
from echoscape.files.output import atomic_path
from echoscape.text import plain_cell, safe_cell

SUFFIXES = (".parquet", ".csv")
MOST_COLUMNS = 1000
"""More columns than any table has: a file with more is something else."""
_DAMAGES = (
    pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError, text.Error,
)  # fmt: skip
_OTHER = re.compile(rb"[;\t|]")
"""What other programs put between columns."""
_CELL = 16  # bytes of a cell with its mask and, of text, its offset


def table_suffix(path: Path) -> str:
    """Refuse a name that tells no format, or return its suffix."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path} must end in .parquet or .csv, which tells the format; other tables of reports "
            "are read by echoscape reports import SOURCE --out FILE.parquet"
        )
    return suffix


def read_columns(
    path: str | Path,
    needed: str,
    kinds: Mapping[str, pa.DataType] | None = None,
    only: Collection[str] | None = None,
) -> pa.Table:
    """Read a table with its metadata, or refuse it in one sentence.

    Args:
        path: A ``.parquet`` or ``.csv`` file.
        needed: What was needed, such as "a table of reports".
        kinds: Types of columns of a CSV file; those of others are found by their cells.
        only: Columns to read, where the file has them; all if not given.  Others have their place
            and name, and no values.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is empty, damaged or something else, or needs too much memory.
    """
    path = Path(path)
    suffix = table_suffix(path)
    check_input(path, needed)
    try:
        table = (
            _read_parquet(path, only)
            if suffix == ".parquet"
            else _read_csv(path, needed, kinds or {}, only)
        )
        names = table.column_names  # may be no text at all
    except _DAMAGES as error:
        if isinstance(error, InputError):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise  # not the content: permission, device
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(
            f"{path} cannot be read as {suffix[1:]}, it is damaged, cut short or holds something "
            f"else ({reason}); write it again"
        ) from error
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"{path} has the column {doubled[0]!r} twice; rename or remove one")
    return table


def write_columns(table: pa.Table, path: str | Path, title: str) -> None:
    """Write a table by the suffix of its name, whole or not at all.

    Args:
        table: Its columns.
        path: A ``.parquet`` or ``.csv`` file.
        title: Kind and version, such as ``reports 1``.
    """
    path = Path(path)
    suffix = table_suffix(path)
    if suffix == ".csv":
        table = _spelt(table, path)
    with atomic_path(path) as temporary:
        if suffix == ".parquet":
            table = table.replace_schema_metadata({b"echoscape": title.encode()})
            parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        else:
            with open(temporary, "wb") as stream:
                stream.write(f"# echoscape {title}\n".encode())
                csv.write_csv(table, stream)


def title_of(path: Path) -> str:
    """Read kind and version of an existing table; empty where it tells none."""
    try:
        if path.suffix.lower() == ".csv":
            with open(path, "rb") as stream:
                return _title(_first_line(stream))
        metadata = parquet.read_schema(path).metadata or {}
        return metadata.get(b"echoscape", b"").decode(errors="replace")
    except _DAMAGES:
        return ""


def _read_parquet(path: Path, only: Collection[str] | None) -> pa.Table:
    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        about = file.metadata
        if about.num_columns > MOST_COLUMNS:
            raise _too_many(path, about.num_columns)
        names = file.schema_arrow.names
        wanted = [name for name in names if only is None or name in only]
        groups = [about.row_group(k) for k in range(about.num_row_groups)]
        claimed = sum(group.column(k).total_uncompressed_size for group in groups
                      for k in range(group.num_columns))  # fmt: skip
        check_size(path, max(about.num_rows * len(wanted) * _CELL, claimed), "its columns")
        table = file.read(columns=None if only is None else wanted)
    return _with_others(table, names)


def _with_others(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Give columns that were not read their place, without values."""
    if table.column_names == list(names):
        return table
    empty = pa.chunked_array([pa.nulls(table.num_rows)])
    read = dict(zip(table.column_names, table.columns))
    columns = [read.get(name, empty) for name in names]
    return pa.table(columns, names=list(names), metadata=table.schema.metadata)


def _read_csv(
    path: Path, needed: str, kinds: Mapping[str, pa.DataType], only: Collection[str] | None
) -> pa.Table:
    with open(path, "rb") as stream:
        first = _first_line(stream)
        comment = first.startswith(b"#")
        header = stream.readline(2**20) if comment else first
    if first[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"," not in header and _OTHER.search(header)):
        raise InputError(
            f"{path} is no table of UTF-8 text with commas between its columns; save it so, or, if "
            "it holds reports, bring it in by echoscape reports import SOURCE --out "
            "FILE.parquet"
        )
    if header.count(b",") >= MOST_COLUMNS:
        raise _too_many(path, header.count(b",") + 1)
    check_size(path, _CELL // 2 * path.stat().st_size, "its cells")  # two bytes a cell at least
    names = next(text.reader([header.decode(errors="replace").rstrip("\r\n")]), [])
    options = csv.ConvertOptions(
        column_types=dict(kinds),
        null_values=[""],
        include_columns=None if only is None else [name for name in names if name in only],
    )
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(skip_rows=int(comment)),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    except pa.ArrowInvalid as error:
        found = re.search(r"In CSV column #(\d+):.*invalid value '(.*)'", str(error), re.DOTALL)
        if found is None:
            raise
        name = names[int(found[1])] if int(found[1]) < len(names) else f"number {found[1]}"
        raise BadCell(path, name, found[2]) from error
    table = _with_others(table, names) if only is not None else table
    table = table.rename_columns([plain_cell(name) for name in table.column_names])
    for k, column in enumerate(table.columns):
        if pa.types.is_string(column.type):
            table = table.set_column(k, table.column_names[k], _changed(column, plain_cell))
    return table.replace_schema_metadata({b"echoscape": _title(first).encode()} if comment else {})


class BadCell(InputError):
    """A cell of a CSV file that is not of its column's type."""

    def __init__(self, path: Path, column: str, cell: str):
        """Name the column and the cell."""
        self.path, self.column, self.cell = path, column, cell
        super().__init__(
            f"{path}: column {column!r} must hold numbers, but it has {cell!r}; leave unknown "
            "cells empty"
        )


def _first_line(stream: IO[bytes]) -> bytes:
    return stream.readline(2**20).removeprefix(b"\xef\xbb\xbf").strip()


def _title(line: bytes) -> str:
    if not line.startswith(b"#"):
        return ""
    return line.lstrip(b"# ").removeprefix(b"echoscape").strip()[:200].decode(errors="replace")


def _too_many(path: Path, count: int) -> InputError:
    return InputError(
        f"{path} has {count} columns, but a table has at most {MOST_COLUMNS}; it is something else"
    )


def _spelt(table: pa.Table, path: Path) -> pa.Table:
    """Spell out what CSV cannot hold, or refuse it, and write text so that nothing runs it."""
    for k, (name, column) in enumerate(zip(table.column_names, table.columns)):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        elif pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            raise InputError(
                f"{path}: column {name!r} holds {column.type}, which CSV cannot; remove it or "
                "write .parquet"
            )
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = _changed(column, safe_cell)
        table = table.set_column(k, safe_cell(name), column)
    return table


def _changed(column: pa.ChunkedArray, change: Callable[[str], str]) -> pa.ChunkedArray:
    """Change the distinct texts of a column."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # no chunk at all, or several
        encoded = encoded.unify_dictionaries().combine_chunks()
    values = encoded.dictionary.to_pylist()
    changed = [value if value is None else change(value) for value in values]
    if changed == values:
        return column
    array = pa.DictionaryArray.from_arrays(encoded.indices, pa.array(changed, column.type))
    return pa.chunked_array([array.cast(column.type)])
