"""What users reported and what base stations heard: schema, files, adapters.

Takes `Paths` at known places, tables of any ray tracer or campaign.
Gives `Reports`, `Echoes` and `Observations`.
"""

from echoscape.files import atomic_folder, atomic_path
from echoscape.reports.echo import Echoes
from echoscape.reports.exporting.exporter import export_reports
from echoscape.reports.finding import Finding
from echoscape.reports.fix_table import read_fixes, write_fixes
from echoscape.reports.geometry import check_geometry
from echoscape.reports.importing.importer import import_reports
from echoscape.reports.importing.layout import ImportOptions
from echoscape.reports.importing.measured import direct_path_offsets, read_measured
from echoscape.reports.importing.ray_traced import reports_from_ray_traced
from echoscape.reports.importing.sionna import echoes_from_sionna, reports_from_sionna
from echoscape.reports.observation import Observations
from echoscape.reports.observation_table import read_observations, write_observations
from echoscape.reports.report import Reports
from echoscape.reports.summary import Summary, summarize_reports
from echoscape.reports.table import (
    read_echoes,
    read_reports,
    write_echoes,
    write_reports,
)

__all__ = [
    "Echoes",
    "Finding",
    "ImportOptions",
    "Observations",
    "Reports",
    "Summary",
    "atomic_folder",
    "atomic_path",
    "check_geometry",
    "direct_path_offsets",
    "echoes_from_sionna",
    "export_reports",
    "import_reports",
    "read_echoes",
    "read_fixes",
    "read_measured",
    "read_observations",
    "read_reports",
    "reports_from_ray_traced",
    "reports_from_sionna",
    "summarize_reports",
    "write_echoes",
    "write_fixes",
    "write_observations",
    "write_reports",
]


def __dir__() -> list[str]:
    return sorted(__all__)
