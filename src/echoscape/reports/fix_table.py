"""Fixes as a table: one row for each place that a target may be at.

The columns are those of `echoscape.reports.schema`, described in ``docs/formats.md``; the type
`Fix` belongs to a later stage, so columns go in and come out.

Takes columns, or a Parquet or CSV file.
Gives the file, or the columns.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table, write_table
from echoscape.reports.schema import FIXES, Schema


def read_fixes(path: str | Path) -> dict[str, np.ndarray]:
    """Read fixes as columns; empty numbers come as NaN, empty texts as "", no rank as 0."""
    return read_results(path, FIXES)


def read_results(path: str | Path, schema: Schema) -> dict[str, np.ndarray]:
    """Read a table of results as columns; empty numbers come as NaN or 0, empty texts as "".

    Args:
        path: The file.
        schema: Its kind.
    """
    columns = Columns(read_table(path, schema), schema, str(path))
    taken = {}
    for name in columns.table.column_names:
        kind = schema[name].kind if name in schema.names else "further"
        if kind == "integer":
            taken[name] = columns.integer(name, fill=None if schema[name].required else 0)
        elif kind == "number":
            taken[name] = columns.values(name)
        else:
            values = columns.table[name]
            taken[name] = np.array(["" if v is None else v for v in values.to_pylist()])
    return taken


def write_fixes(columns: Mapping[str, AnyArray | Sequence], path: str | Path) -> None:
    """Write fixes from columns of equal length as Parquet or CSV, by the suffix of `path`.

    Args:
        columns: Name to values; the names of `FIXES` come first, further ones are kept.  A NaN is
            written as an empty cell.
        path: The file to write.
    """
    missing = [column.name for column in FIXES.columns if column.required]
    missing = [name for name in missing if name not in columns]
    if missing:
        raise InputError(f"fixes need the columns {', '.join(missing)}")
    known = [name for name in FIXES.names if name in columns]
    names = known + [name for name in columns if name not in FIXES.names]
    arrays = [pa.array(np.asarray(columns[name]), from_pandas=True) for name in names]
    lengths = {name: len(array) for name, array in zip(names, arrays)}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the columns of fixes must have one length, but they have {lengths}")
    write_table(pa.table(arrays, names=names), path, FIXES)
