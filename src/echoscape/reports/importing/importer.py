"""Bring foreign data in: find the layout, read it, check it against geometry.

Takes a file or a folder of any known layout.
Gives `Imported`.
"""

from pathlib import Path

from echoscape.checks import InputError, unknown_name
from echoscape.reports.importing.aodt import Aodt
from echoscape.reports.importing.deepmimo import DeepMimo
from echoscape.reports.importing.layout import Imported, ImportOptions, Layout
from echoscape.reports.importing.ray_traced import RayTraced
from echoscape.reports.importing.saved_sionna import SavedSionna
from echoscape.reports.importing.table_layout import Measured, PointData
from echoscape.reports.importing.wireless_insite import WirelessInsite

LAYOUTS: tuple[Layout, ...] = (
    DeepMimo(), WirelessInsite(), Aodt(), SavedSionna(), RayTraced(), PointData(), Measured(),
)  # fmt: skip
"""Every layout, those that can be recognised for certain first; `Measured` is what remains."""


def import_reports(
    source: str | Path, layout: str | None = None, options: ImportOptions | None = None
) -> Imported:
    """Read foreign data as reports.

    Args:
        source: A file or a folder.
        layout: Name of the layout; found by itself if not given.
        options: What the user states of the source.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read, or something in it must be stated; the message says how.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"there is no file {source}; paths to import were needed")
    return find_layout(source, layout).read(source, options or ImportOptions())


def find_layout(source: Path, name: str | None = None) -> Layout:
    """Find a layout by its name, or by what the source looks like."""
    if name is not None:
        found = {each.name: each for each in LAYOUTS}.get(name)
        if found is None:
            raise unknown_name("layout", name, [each.name for each in LAYOUTS])
        return found
    for each in LAYOUTS:
        if each.recognises(source):
            return each
    if source.is_dir():
        known = "; ".join(f"{each.name}: {each.files}" for each in LAYOUTS)
        raise InputError(f"{source} is a folder of no known layout; known are {known}")
    return LAYOUTS[-1]
