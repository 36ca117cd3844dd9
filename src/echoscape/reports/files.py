"""Tables on disk: read whole or refused, written whole or not at all.

A table is Parquet or CSV by its suffix, with the same columns in both.  The kind of table and the
version of its format travel in the Parquet schema, and in CSV in a first line such as
``# echoscape reports 1`` that a reader may do without.

Takes paths.
Gives Arrow tables.
"""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from echoscape.checks import InputError
from echoscape.files import output
from echoscape.files.tabular import SUFFIXES, BadCell, read_columns, title_of, write_columns
from echoscape.reports.schema import VERSION, Schema

__all__ = ["SUFFIXES", "check_table_output", "read_table", "write_table"]


def read_table(path: str | Path, schema: Schema, only: Collection[str] | None = None) -> pa.Table:
    """Read a Parquet or CSV table of one kind.

    Only the file is looked at here; the columns are checked where they are used.

    Args:
        path: The file.
        schema: Its kind.
        only: Columns to read; others keep their names but no values; all if not given.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is empty, damaged, of another kind or of a later version.
    """
    path = Path(path)
    kinds = {c.name: pa.float64() for c in schema.columns if c.kind == "number"}
    kinds |= {c.name: pa.string() for c in schema.columns if c.kind == "text"}
    try:
        table = read_columns(path, f"a table of {schema.kind}", kinds, only)
    except BadCell as bad:
        unit = schema[bad.column].unit if bad.column in schema.names else ""
        raise InputError(
            f"{path}: column {bad.column!r} must hold numbers{f' {unit}' if unit else ''}, but it "
            f"has {bad.cell!r}; leave unknown cells empty"
        ) from bad
    _check_kind(path, table, schema)
    return table


def write_table(table: pa.Table, path: str | Path, schema: Schema) -> None:
    """Write a table as Parquet or CSV by the suffix of `path`, whole or not at all."""
    check_table_output(path, schema.kind)
    write_columns(table, path, f"{schema.kind} {VERSION}")


def check_table_output(path: str | Path, kind: str) -> None:
    """Refuse, in a command, to replace a table of another kind, such as reports by fixes."""
    path = Path(path)
    output.check_output(path)
    if not output.is_protecting() or not path.exists():
        return
    found = title_of(path).rpartition(" ")[0]
    if found and found != kind:
        raise InputError(
            f"{path} exists and holds {found}, not {kind}; give another name, or replace it by "
            "--force"
        )


def _check_kind(path: Path, table: pa.Table, schema: Schema) -> None:
    title = (table.schema.metadata or {}).get(b"echoscape", b"").decode(errors="replace")
    kind, _, version = title.partition(" ")
    if not version.isdecimal():
        return  # a table of somebody else, or a comment of another sort
    if kind not in (schema.kind, *schema.others):
        raise InputError(f"{path} is a table of {kind}, but {schema.kind} were needed")
    if int(version[:9]) > VERSION:
        raise InputError(
            f"{path} has version {version} of the format of {kind}, this echoscape reads up to "
            f"version {VERSION}; install a newer one"
        )
