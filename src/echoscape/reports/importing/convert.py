"""Files of reports from one format to another, checked on the way.

Takes a ray-traced table (.npz) or a table of reports (.parquet, .csv).
Gives a table of reports.
"""

from pathlib import Path

import pyarrow as pa

from echoscape.reports.files import read_table, write_table
from echoscape.reports.importing.importer import import_reports
from echoscape.reports.importing.layout import Imported, ImportOptions
from echoscape.reports.report import Reports
from echoscape.reports.schema import REPORTS, STATION_POSITION
from echoscape.reports.table import reports_from_table, table_from_reports
from echoscape.scene import Site


def convert_reports(
    source: str | Path,
    destination: str | Path,
    site: Site | None = None,
    strongest: int = 12,
) -> Reports:
    """Check reports and write them in the format that the suffix of `destination` names.

    Columns beyond the format are kept.  Where only the site knows where the stations are, the
    columns that say so are added.

    Args:
        source: A ray-traced ``.npz`` table, or reports as ``.parquet`` or ``.csv``.
        destination: The file to write, ``.parquet`` or ``.csv``.
        site: Places the stations where the file does not.
        strongest: How many paths of each user to take from a ray-traced table.

    Returns:
        The reports, as they were read.
    """
    if Path(source).suffix.lower() == ".npz":
        reports = import_reports(source, None, ImportOptions(strongest=strongest)).reports
        table = table_from_reports(reports)
    else:
        table = read_table(source, REPORTS)
        reports = reports_from_table(table, site, str(source))
        if STATION_POSITION[0] not in table.column_names:
            table = _with_stations(table, reports)
    write_table(table, destination, REPORTS)
    return reports


def write_imported(imported: Imported, destination: str | Path) -> None:
    """Write imported reports, unless what was read would be refused on reading it again."""
    table = table_from_reports(imported.reports)
    reports_from_table(table, None, "what was imported")
    write_table(table, destination, REPORTS)


def _with_stations(table: pa.Table, reports: Reports) -> pa.Table:
    code = [reports.station.index(name) for name in table["station"].cast(pa.string()).to_pylist()]
    for name, values in zip(STATION_POSITION, reports.station_position.T):
        table = table.append_column(name, pa.array(values[code]))
    return table
