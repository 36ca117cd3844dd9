"""Where targets are, as a table of places.

Takes a Parquet or CSV file with the columns x, y and z, and target if they have numbers.
Gives numbers and positions.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table
from echoscape.reports.schema import POSITION, Column, Schema

_TARGETS = Schema(
    "targets",
    "",
    (
        Column("target", "integer", ""),
        *(Column(name, "number", "[m]", True) for name in POSITION),
    ),
)


def read_targets(
    path: str | Path,
) -> tuple[Int[np.ndarray, " target"], Float[np.ndarray, "target 3"]]:
    """Read the numbers and places [m] of targets; rows count from 0 where numbers are missing.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file cannot be used, or two targets have the same number.
    """
    columns = Columns(read_table(path, _TARGETS), _TARGETS, str(path))
    place = np.stack([columns.finite(name) for name in POSITION], axis=-1)
    number = np.arange(len(place))
    if columns.has("target"):
        number = columns.integer("target")
    if len(np.unique(number)) < len(number):
        raise InputError(f"{path} has two targets of the same number; number them apart")
    return number, place
