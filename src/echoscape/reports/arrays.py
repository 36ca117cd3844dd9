"""Arrays and data frames of a script as the tables that files hold, so that one reader checks both.

Takes arrays [set, path], or any data frame that speaks Arrow (pandas, polars, DuckDB).
Gives Arrow tables with the columns of `echoscape.reports.schema`.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from echoscape.checks import InputError
from echoscape.reports.schema import ANGLES, DEVIATIONS
from echoscape.units import delay_of

PATH_COLUMNS = (*ANGLES, "delay", "power", *DEVIATIONS)


def table_from_arrays(
    source: str,
    sets: Mapping[str, Any],
    paths: Mapping[str, Any],
    valid: Any = None,
    number: str | None = None,
) -> pa.Table:
    """Lay arrays out as a table, one row a path and an empty one for a set without any.

    Args:
        source: Who asks, for refusals.
        sets: What belongs to a whole set, one value each or one for all; None is left out.
        paths: What belongs to a path, [set, path], or one value for all; `length` and `length_std`
            [m] stand for delays.  None is left out.
        valid: False for padding; the paths whose delay is a number if not given.
        number: The column that numbers the sets, from 0 where it is None.

    Raises:
        InputError: The arrays disagree in shape, or both delay and length came.
    """
    arrays = {name: _numbers(source, name, v) for name, v in paths.items() if v is not None}
    for name, other in (("length", "delay"), ("length_std", "delay_std")):
        if name in arrays and other in arrays:
            raise InputError(f"{source} takes {other} [s] or {name} [m], not both")
        if name in arrays:
            arrays[other] = delay_of(arrays.pop(name))
    if "delay" not in arrays:
        raise InputError(f"{source} needs delay [s] or length [m] of every path")
    shape = arrays["delay"].shape
    if len(shape) != 2:
        raise InputError(
            f"{source} needs arrays with one row a set and one column a path, padded with NaN; got "
            f"delay of shape {shape}"
        )
    if "departure_zenith" not in arrays:  # not measured: level, of no weight
        arrays["departure_zenith"] = np.full((), 0.5 * np.pi)
        arrays["departure_zenith_std"] = np.full((), np.inf)
    valid = ~np.isnan(arrays["delay"]) if valid is None else np.asarray(valid, bool)
    for name, values in {**arrays, "valid": valid}.items():
        if values.shape not in ((), shape):
            raise InputError(
                f"{source} needs {name} of shape {shape} like delay, one row a set and one column "
                f"a path; got {values.shape}"
            )
    owner, slot = np.nonzero(valid)
    empty = np.flatnonzero(~valid.any(axis=1))
    absent = np.arange(len(owner) + len(empty)) >= len(owner)
    owner, slot = np.concatenate([owner, empty]), np.concatenate([slot, np.zeros_like(empty)])
    order = np.lexsort((slot, owner))
    owner, slot, absent = owner[order], slot[order], absent[order]
    columns = {}
    for name, value in sets.items():
        if value is None and name != number:
            continue
        values = np.arange(shape[0]) if value is None else np.asarray(value)
        if values.ndim > 1 or (values.ndim == 1 and len(values) != shape[0]):
            raise InputError(
                f"{source} needs one {name} for each of the {shape[0]} sets, or one for all; got "
                f"shape {values.shape}"
            )
        columns[name] = pa.array(np.broadcast_to(values, shape[:1])[owner])
    for name, values in arrays.items():
        columns[name] = pa.array(np.broadcast_to(values, shape)[owner, slot], mask=absent)
    return pa.table(columns)


def table_from_dataframe(frame: Any, source: str, reader: str) -> pa.Table:
    """Turn a data frame into an Arrow table: pandas, polars, or what else speaks Arrow.

    Args:
        frame: The data frame, an Arrow table, or a mapping of columns.
        source: Who asks, for refusals.
        reader: The function that reads files, for refusals.

    Raises:
        InputError: It is no data frame.
    """
    if isinstance(frame, str | os.PathLike):
        raise InputError(
            f"{source} needs a data frame, but got the path {os.fspath(frame)!r}; read it with "
            f"{reader}"
        )
    if isinstance(frame, pa.Table):
        table = frame
    elif isinstance(frame, Mapping):
        table = pa.table({name: pa.array(v, from_pandas=True) for name, v in frame.items()})
    elif hasattr(frame, "__arrow_c_stream__"):
        table = pa.table(frame)
    elif type(frame).__module__.partition(".")[0] == "pandas":
        table = pa.Table.from_pandas(frame, preserve_index=False)
    else:
        raise InputError(
            f"{source} needs a data frame of pandas or polars, or an Arrow table; got a "
            f"{type(frame).__name__}"
        )
    index = [name for name in table.column_names if name.startswith("__index_level_")]
    return table.drop_columns(index) if index else table


def _numbers(source: str, name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{source} needs {name} as numbers in a full array [set, path], rows padded with NaN"
        ) from None
