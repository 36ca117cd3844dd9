"""Echoes of known pairs of paths as a table: echoes with the path that each left and returned by.

Takes a table of echoes with the columns ``departure_path`` and ``arrival_path``, numbers of paths
from 0 in falling power.
Gives the targets' numbers and `PairedEchoes`.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from echoscape.checks import InputError
from echoscape.localization.associated.paired_likelihood import PairedEchoes
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table
from echoscape.reports.schema import ECHOES, Column, Schema

PATHS = ("departure_path", "arrival_path")
"""Columns that number the forward and the return path of an echo."""
_PAIRED = Schema(
    "echoes", "target", (*ECHOES.columns, *(Column(name, "integer", "", True) for name in PATHS))
)
_MOST_PATHS = 64


def has_paths(table: pa.Table) -> bool:
    """Tell whether a table of echoes numbers their paths."""
    return all(name in table.column_names for name in PATHS)


def read_paired_echoes(
    path: str | Path, angle_std: float | None = None, delay_std: float | None = None
) -> tuple[Int[np.ndarray, " target"], PairedEchoes, str]:
    """Read echoes of known pairs of paths from Parquet or CSV.

    Args:
        path: The file.
        angle_std: Standard deviation of angles that the file states none for [rad].
        delay_std: Standard deviation of delays that the file states none for [s].

    Returns:
        The targets' numbers, their echoes, and the station.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A value cannot be used, or a target has two echoes of one pair of paths.
    """
    columns = Columns(read_table(path, _PAIRED), _PAIRED, str(path))
    _, station = columns.text("station")
    if len(station) != 1:
        raise InputError(
            f"{path} has echoes of {len(station)} stations; paired echoes need one: filter it"
        )
    out, back = (columns.integer(name) for name in PATHS)
    for name, value in zip(PATHS, (out, back)):
        outside = (value < 0) | (value >= _MOST_PATHS)
        columns.refuse(outside, name, f"must count from 0 to at most {_MOST_PATHS - 1}", value)
    target, row = np.unique(columns.number, return_inverse=True)
    paths = 1 + int(max(out.max(), back.max()))
    at = (row, out, back)
    valid = np.zeros((len(target), paths, paths), dtype=bool)
    valid[at] = True
    if valid.sum() < len(row):
        raise InputError(f"{path} has two echoes of the same target and pair of paths; keep one")

    def lay(values):
        laid = np.zeros(valid.shape)
        laid[at] = values
        return laid

    deviation = [
        _one_each(columns, name, given, row)
        for name, given in (("departure_azimuth_std", angle_std), ("delay_std", delay_std))
    ]
    echoes = PairedEchoes(
        departure_azimuth=lay(columns.azimuth("departure_azimuth")),
        arrival_azimuth=lay(columns.azimuth("arrival_azimuth")),
        delay=lay(columns.finite("delay")),
        valid=valid,
        departure_zenith=lay(columns.zenith("departure_zenith")),
        arrival_zenith=lay(columns.zenith("arrival_zenith")),
        angle_std=deviation[0],
        delay_std=deviation[1],
    )
    return target, echoes, station[0]


def _one_each(columns: Columns, name: str, given: float | None, row) -> np.ndarray:
    """Take one deviation a target: the root mean square of those of its echoes."""
    values = columns.deviation(name) if columns.has(name) else np.full(len(row), np.nan)
    values = np.where(np.isnan(values), np.nan if given is None else given, values)
    option = "delay_std" if "delay" in name else "angle_std"
    columns.refuse(
        ~(values > 0), name, "must be above zero", values, f"state one for all by {option}"
    )
    return np.sqrt(np.bincount(row, values**2) / np.bincount(row))
