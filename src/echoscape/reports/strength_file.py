"""Files of readings of received power: one row a place, one column a transmitter.

Takes CSV or Parquet files as cheap radios' campaigns come.
Gives `StrengthReadings`.
"""

from pathlib import Path

import equinox as eqx
import numpy as np
import pyarrow as pa
from jaxtyping import Float

from echoscape.checks import InputError
from echoscape.files.tabular import read_columns

_LOUDEST, _FAINTEST = 60.0, -250.0  # received power beyond these is a slip [dBm]


class StrengthReadings(eqx.Module):
    """Levels of several transmitters at known places."""

    position: Float[np.ndarray, "reading 3"]
    """Where each reading was taken [m]."""
    level: Float[np.ndarray, "reading transmitter"]
    """Received power [dBm]; NaN where the transmitter was not heard."""
    transmitter: Float[np.ndarray, "transmitter 3"]
    """Where the transmitters are [m]."""


def read_strength(
    readings: str | Path, transmitters: str | Path, *, placed: bool = True
) -> StrengthReadings:
    """Read levels and the places of their transmitters.

    Args:
        readings: Columns `x`, `y`, if known `z` [m], and for every transmitter `rssi_` with its
            `id` [dBm], empty where it was not heard; other columns are left alone.
        transmitters: Columns `id`, `x`, `y`, `z` [m].
        placed: Whether the places of the readings are known; if not, they come as NaN.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A column is missing or a value cannot be used.
    """
    table = read_columns(readings, "a table of readings")
    known = read_columns(transmitters, "a table of transmitters")
    where = np.stack([_numbers(known, name, transmitters, "m") for name in "xyz"], axis=1)
    names = [str(value) for value in _column(known, "id", transmitters).to_pylist()]
    if not names:
        raise InputError(f"{transmitters} has a header but no rows; at least one was needed")
    if table.num_rows == 0:
        raise InputError(f"{readings} has a header but no rows; at least one was needed")
    unknown = np.full(table.num_rows, np.nan)
    plane = [_numbers(table, name, readings, "m") if placed else unknown for name in "xy"]
    height = np.zeros(table.num_rows) if placed else unknown
    if placed and "z" in table.column_names:
        height = _numbers(table, "z", readings, "m")
    levels = [_numbers(table, f"rssi_{name}", readings, "dBm", empty=True) for name in names]
    level = np.stack(levels, axis=1)
    strange = (level > _LOUDEST) | (level < _FAINTEST)
    if strange.any():
        row, column = np.argwhere(strange)[0]
        raise InputError(
            f"{readings}: column 'rssi_{names[column]}' needs dBm between {_FAINTEST:g} and "
            f"{_LOUDEST:g}, but row {row + 1} has {level[row, column]:g}; leave a transmitter "
            "that was not heard empty"
        )
    return StrengthReadings(np.stack([*plane, height], axis=1), level, where)


def _column(table: pa.Table, name: str, path) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise InputError(
            f"{path} needs a column {name!r}; it has {', '.join(map(str, table.column_names))}"
        )
    return table[name]


def _numbers(table, name, path, unit, empty: bool = False) -> Float[np.ndarray, " row"]:
    column = _column(table, name, path)
    try:
        value = column.cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"{path}: column {name!r} needs numbers, in {unit}; some are not"
        ) from None
    bad = np.isinf(value) if empty else ~np.isfinite(value)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}: column {name!r} needs finite numbers, in {unit}; row {row + 1} has "
            f"{value[row]}"
        )
    return value
