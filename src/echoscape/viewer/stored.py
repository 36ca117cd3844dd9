"""What a store holds, as something to show: its maps, newest reports and fixes, and the mesh.

Takes a store.
Gives `Results`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from echoscape.channel_map import ChannelMap, load_maps
from echoscape.checks import InputError
from echoscape.scene.mesh import Mesh, read_mesh
from echoscape.store import (
    MapVersion,
    Store,
    find_fixes,
    find_reports,
    list_files,
    list_maps,
    newest_report,
    take_file,
    take_map,
)
from echoscape.viewer.assemble import Results

MOST_REPORTS = 5000
"""So many of the newest reports are shown."""
MOST_FIXES = 300
"""So many of the newest fixes are shown."""


def stored_results(store: Store, maps: Mapping[str, ChannelMap] | None = None) -> Results:
    """Collect what there is to show; files of kind ``mesh`` are buildings, the newest counts.

    Args:
        store: Where.
        maps: Maps by station; the newest version of each name if not given.
    """
    if maps is None:
        maps = {}
        for version in newest_versions(store):
            with tempfile.TemporaryDirectory() as folder:
                take_map(store, version.name, Path(folder) / "map", version.version)
                maps |= load_maps(Path(folder) / "map")
    newest = newest_report(store)
    reports = None
    if newest:
        try:
            reports = find_reports(store, after=max(newest - MOST_REPORTS, 0))
        except InputError:  # all of them were deleted
            reports = None
    fixes = find_fixes(store, limit=MOST_FIXES)
    return Results(
        maps=maps, reports=reports, fixes=fixes if len(fixes["target"]) else None,
        mesh=_mesh(store),
    )  # fmt: skip


def newest_versions(store: Store) -> list[MapVersion]:
    """List the newest version of every map."""
    return list({version.name: version for version in list_maps(store)}.values())


def _mesh(store: Store) -> Mesh | None:
    files = [file for file in list_files(store) if file.kind == "mesh"]
    if not files:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(files[-1].name).name
        take_file(store, files[-1].number, path)
        return read_mesh(path)
