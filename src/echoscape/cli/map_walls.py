"""`echoscape map walls`: the walls that maps of virtual anchors show, and maps made of them.

Takes folders of maps.
Gives a file of lines or rectangles; maps of stations without reports.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from echoscape.cli.console import Quiet, print_line, print_warning, progress, use_double_precision

if TYPE_CHECKING:
    from echoscape.channel_map import ChannelMap
    from echoscape.scene import Site


def walls(folder: Path, /, *, out: Path, quiet: Quiet = False) -> None:
    """Write the walls that single reflections of a map show, with extents.

    Heights are those of reflections that were reported: a wall is at least so high.

    Args:
        folder: Folder of maps of virtual anchors.
        out: File to write: lines with heights as .geojson, rectangles as .ply.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.channel_map import load_maps
    from echoscape.channel_map.walls import contradictions, find_walls, write_walls

    with progress("reading", quiet) as tell:
        maps, found = load_maps(folder), {}
        for done, (name, each) in enumerate(maps.items()):
            tell(done, len(maps), f"walls of {name}, compiling")
            found[name] = find_walls(each)
        write_walls(found, out)
    for name, each in found.items():
        print_line(f"{out}: {len(each.low)} walls of {name}")
        for better, other in contradictions(each):
            print_warning(
                f"walls {better + 1} and {other + 1} of {name} cross in their middles, which no "
                f"two walls do: {each.reports[better]} reflections speak for the first, "
                f"{each.reports[other]} for the second; leave the second out, or fit the map to "
                "later reports if walls were rebuilt"
            )


def maps_from_walls(
    others: Mapping[str, "ChannelMap"], site: "Site | None", known: tuple[str, ...]
) -> "dict[str, ChannelMap]":
    """Make maps of the stations of a site that have none, from the walls of others.

    Args:
        others: Their maps.
        site: With the new stations.
        known: Stations that have reports of their own.
    """
    from echoscape.channel_map.shared_walls import map_of_walls
    from echoscape.checks import InputError

    if not others or site is None:
        raise InputError(
            "a map is fitted to reports, or made of the walls that other stations' maps show: give "
            "reports, or --walls FOLDER and --site FILE with the new station"
        )
    new = [name for name in site.station if name not in others and name not in known]
    if not new and not known:
        raise InputError(
            f"every station of the site has a map already ({', '.join(others)}); add the new one "
            "to the site file"
        )
    positions = site.station_position.tolist()
    return {name: map_of_walls(others, name, positions[site.station.index(name)]) for name in new}
