"""Reports of a store as Parquet files, one folder for each station and day, and back.

    station=NAME/day=YYYY-MM-DD/reports.parquet

The files have the columns of ``docs/formats.md``; any reader of Parquet finds station and day in
the folders' names.  A further column `key` makes importing them again a repetition.

Takes a store, or such a folder.
Gives the folder, or the rows.
"""

import datetime
import math
import urllib.parse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from echoscape.checks import InputError
from echoscape.files import atomic_folder
from echoscape.progress import Progress, silent
from echoscape.reports.files import write_table
from echoscape.reports.schema import REPORTS as REPORT_COLUMNS
from echoscape.reports.table import load_reports, table_from_reports
from echoscape.store.append import Added, add_reports
from echoscape.store.database import Store
from echoscape.store.query import find_reports
from echoscape.store.tables import REPORTS, STATIONS

_DAY = 86400.0  # [s]
_MARKER = "store.json"


def export_reports(store: Store, out: str | Path, progress: Progress = silent) -> int:
    """Write all reports, one file for each station and day of UTC.

    Args:
        store: Which.
        out: Folder to write.
        progress: Told how many reports are written.

    Returns:
        How many reports.
    """
    day = sa.func.floor(REPORTS.c.time / _DAY)
    with store.reading() as connection:
        parts = connection.execute(
            sa.select(STATIONS.c.name, day.label("day"), sa.func.count().label("size"))
            .join(STATIONS, STATIONS.c.id == REPORTS.c.station)
            .group_by(STATIONS.c.name, day)
            .order_by(STATIONS.c.name, day)
        ).all()
    if not parts:
        raise InputError(f"{store} holds no reports to export")
    total, done = sum(part.size for part in parts), 0
    with atomic_folder(out, _MARKER) as folder:
        for part in parts:
            first = float(part.day) * _DAY
            span = (first, math.nextafter(first + _DAY, first))
            reports = find_reports(store, station=part.name, time=span)
            with store.reading() as connection:
                keys = connection.scalars(
                    sa.select(REPORTS.c.key)
                    .join(STATIONS, STATIONS.c.id == REPORTS.c.station)
                    .where(STATIONS.c.name == part.name, REPORTS.c.time.between(*span))
                    .order_by(REPORTS.c.id)
                ).all()
            table = table_from_reports(reports)
            row = np.searchsorted(reports.report, table["report"].to_numpy())
            key = pa.array([bytes(keys[i]).hex() for i in row])
            name = urllib.parse.quote(part.name, safe="")
            date = datetime.date(1970, 1, 1) + datetime.timedelta(days=int(part.day))
            file = folder / f"station={name}" / f"day={date}" / "reports.parquet"
            file.parent.mkdir(parents=True)
            write_table(table.append_column("key", key), file, REPORT_COLUMNS)
            done += len(reports)
            progress(done, total, "exporting")
        (folder / _MARKER).write_text('{"echoscape": 1, "kind": "reports by station and day"}\n')
    return done


def import_reports(
    store: Store, folder: str | Path, source: str, progress: Progress = silent
) -> Added:
    """Append the reports of an exported folder; those that are there already are left alone.

    Args:
        store: Where to.
        folder: As `export_reports` wrote it.
        source: Name of where they come from.
        progress: Told how many files are read.
    """
    files = sorted(Path(folder).glob("station=*/day=*/*.parquet"))
    if not files:
        raise InputError(f"{folder} holds no station=NAME/day=DATE/*.parquet")
    new = repeated = 0
    for done, file in enumerate(files, 1):
        reports, keys = load_reports(file), None
        schema = pq.read_schema(file)
        if "key" in schema.names:
            table = pq.ParquetFile(file).read(columns=["report", "key"])
            of = dict(zip(table["report"].to_pylist(), table["key"].to_pylist()))
            try:
                keys = [bytes.fromhex(of[number]) for number in reports.report.tolist()]
            except (TypeError, ValueError) as error:
                raise InputError(f"{file}: a key must be 32 hexadecimal digits") from error
        added = add_reports(store, reports, source, keys)
        new, repeated = new + added.new, repeated + added.repeated
        progress(done, len(files), "importing")
    return Added(new, repeated)
