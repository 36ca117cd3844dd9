"""Stores: where reports, echoes, fixes and maps live, in SQLite or PostgreSQL.

Takes what readers and methods give, from one sender or many at once.
Gives it back by station, time and area, as tables, and as files; needs the extra ``store``.
"""

# ruff: noqa: E402
from echoscape.extras import need as _need

_need("store", "a store")

from echoscape.store.append import (
    Added,
    add_echoes,
    add_fixes,
    add_observations,
    add_reports,
)
from echoscape.store.database import Store
from echoscape.store.integrity import check_store
from echoscape.store.map_versions import MapVersion, add_map, list_maps, take_map
from echoscape.store.partitions import export_reports, import_reports
from echoscape.store.privacy import Privacy
from echoscape.store.query import (
    StationSpan,
    count_rows,
    find_echoes,
    find_fixes,
    find_observations,
    find_reports,
    newest_report,
    station_spans,
)
from echoscape.store.retention import Retention, compact, prune, store_size
from echoscape.store.whole_files import add_file, list_files, take_file
from echoscape.store.writer import Writer

__all__ = [
    "Added",
    "MapVersion",
    "Privacy",
    "Retention",
    "StationSpan",
    "Store",
    "Writer",
    "add_echoes",
    "add_file",
    "add_fixes",
    "add_map",
    "add_observations",
    "add_reports",
    "check_store",
    "compact",
    "count_rows",
    "export_reports",
    "find_echoes",
    "find_fixes",
    "find_observations",
    "find_reports",
    "import_reports",
    "list_files",
    "list_maps",
    "newest_report",
    "prune",
    "station_spans",
    "store_size",
    "take_file",
    "take_map",
]


def __dir__() -> list[str]:
    return sorted(__all__)
