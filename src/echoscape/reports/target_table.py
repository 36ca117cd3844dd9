"""Where targets are, as a table of places.

Takes a Parquet or CSV file with the columns x, y and z, and target or report if they have numbers.
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
_PLACES = Schema(
    "targets",
    "report",
    (Column("report", "integer", ""), *_TARGETS.columns[1:]),
    others=("reports",),
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


def read_places(
    path: str | Path,
) -> tuple[Int[np.ndarray, " target"], Float[np.ndarray, "target 3"]]:
    """Read where targets were from a table of targets, or of reports by the reports' numbers [m].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file cannot be used, or a report is at two places.
    """
    table = read_table(path, _PLACES)
    if "report" not in table.column_names:
        return read_targets(path)
    columns = Columns(table, _PLACES, str(path))
    place = np.stack([columns.finite(name) for name in POSITION], axis=-1)
    number, first, row = np.unique(columns.number, return_index=True, return_inverse=True)
    columns.refuse(
        (place != place[first][row]).any(axis=1), "x", "must be the same in all rows of a report"
    )
    return number, place[first]
