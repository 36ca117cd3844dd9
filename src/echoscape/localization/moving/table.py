"""A followed target as a table.

Takes `TargetTrack`.
Gives a table as Parquet or CSV.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from echoscape.localization.moving.particle_filter import TargetStatus, TargetTrack
from echoscape.reports.files import write_table
from echoscape.reports.schema import Column, Schema

FOLLOWED = Schema(
    "followed",
    "",
    (
        Column("time", "number", "[s]", True),
        Column("track", "integer", ""),
        *(Column(axis, "number", "[m]", True) for axis in "xyz"),
        *(Column(f"v{axis}", "number", "[m/s]") for axis in "xy"),
        *(Column(f"cov_{axes}", "number", "[m^2]") for axes in ("xx", "xy", "yy")),
        Column("status", "text", "", True),
    ),
)
"""Columns of a table of a followed target."""


def write_followed(found: TargetTrack, path: str | Path) -> None:
    """Write a followed target as Parquet or CSV; cells of instants without a track are empty."""
    none = found.track < 0
    names = np.array([status.name.lower() for status in TargetStatus])
    columns = {
        "time": pa.array(found.time),
        "track": pa.array(found.track, mask=none),
        **{axis: pa.array(found.position[:, i], mask=none) for i, axis in enumerate("xyz")},
        **{f"v{axis}": pa.array(found.velocity[:, i], mask=none) for i, axis in enumerate("xy")},
    }
    for i, j in ((0, 0), (0, 1), (1, 1)):
        name = f"cov_{'xy'[i]}{'xy'[j]}"
        columns[name] = pa.array(found.covariance[:, i, j], mask=none)
    columns["status"] = pa.array(names[found.status])
    write_table(pa.table(columns), path, FOLLOWED)
