"""Tables on disk: read whole or refused, written whole or not at all.

A table is Parquet or CSV by its suffix, with the same columns in both.  The kind of table and the
version of its format travel in the Parquet schema, and in CSV in a first line such as
``# echoscape reports 1`` that a reader may do without.

Takes paths.
Gives Arrow tables.
"""

import re
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from echoscape.checks import InputError
from echoscape.files import atomic_path
from echoscape.reports.schema import VERSION, Schema

SUFFIXES = (".parquet", ".csv")


def read_table(path: str | Path, schema: Schema) -> pa.Table:
    """Read a Parquet or CSV table of one kind, with every column it has.

    Only the file is looked at here; the columns are checked where they are used.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is empty, damaged, of another kind or of a later version.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; a table of {schema.kind} was needed")
    if path.is_dir():
        raise InputError(f"{path} is a folder; a .parquet or .csv file of {schema.kind} was needed")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; a table of {schema.kind} was needed")
    try:
        table = _read_parquet(path) if suffix == ".parquet" else _read_csv(path, schema)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # not the content: permission, device
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"{path} cannot be read as {suffix[1:]}, it is damaged, cut short or holds something "
            f"else ({reason}); write it again"
        ) from error
    _check_kind(path, table, schema)
    names = table.column_names
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"{path} has the column {doubled[0]!r} twice; rename or remove one")
    return table


def write_table(table: pa.Table, path: str | Path, schema: Schema) -> None:
    """Write a table as Parquet or CSV by the suffix of `path`, whole or not at all."""
    path = Path(path)
    suffix = _suffix(path)
    title = f"{schema.kind} {VERSION}"
    with atomic_path(path) as temporary:
        if suffix == ".parquet":
            table = table.replace_schema_metadata({b"echoscape": title.encode()})
            parquet.write_table(table, temporary, compression="zstd")
        else:
            with open(temporary, "wb") as stream:
                stream.write(f"# echoscape {title}\n".encode())
                csv.write_csv(_flat(table, path), stream)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} must end in .parquet or .csv, which tells the format")
    return suffix


def _read_parquet(path: Path) -> pa.Table:
    with parquet.ParquetFile(path) as file:
        return file.read()


def _read_csv(path: Path, schema: Schema) -> pa.Table:
    with open(path, "rb") as stream:
        first = stream.readline(200).removeprefix(b"\xef\xbb\xbf").strip()
    comment = first.startswith(b"#")
    types = {c.name: pa.float64() for c in schema.columns if c.kind == "number"}
    types |= {c.name: pa.string() for c in schema.columns if c.kind == "text"}
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(skip_rows=int(comment)),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[""]),
        )
    except pa.ArrowInvalid as error:
        raise _about_cell(path, int(comment), schema, error) from error
    if comment:
        title = first.lstrip(b"# ").removeprefix(b"echoscape").strip()
        table = table.replace_schema_metadata({b"echoscape": title})
    return table


def _about_cell(path: Path, skipped: int, schema: Schema, error: pa.ArrowInvalid) -> Exception:
    """Name the column that holds what is not a number, where that is what was wrong."""
    found = re.search(r"In CSV column #(\d+):.*invalid value '(.*)'", str(error))
    if found is None:
        return error
    with open(path, encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readlines()[skipped]
    name = header.strip().split(",")[int(found[1])].strip('"')
    unit = schema[name].unit if name in schema.names else ""
    return InputError(
        f"{path}: column {name!r} must hold numbers{f' {unit}' if unit else ''}, but it has "
        f"{found[2]!r}; leave unknown cells empty"
    )


def _flat(table: pa.Table, path: Path) -> pa.Table:
    """Spell out what CSV cannot hold, or refuse it."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table[i].cast(field.type.value_type))
        elif pa.types.is_nested(field.type):
            raise InputError(
                f"{path}: column {field.name!r} holds {field.type}, which CSV cannot; remove it or "
                "write .parquet"
            )
    return table


def _check_kind(path: Path, table: pa.Table, schema: Schema) -> None:
    title = (table.schema.metadata or {}).get(b"echoscape", b"").decode(errors="replace")
    kind, _, version = title.partition(" ")
    if not version.isdecimal():
        return  # a table of somebody else, or a comment of another sort
    if kind != schema.kind:
        raise InputError(f"{path} is a table of {kind}, but {schema.kind} were needed")
    if int(version) > VERSION:
        raise InputError(
            f"{path} has version {version} of the format of {kind}, this echoscape reads up to "
            f"version {VERSION}; install a newer one"
        )
