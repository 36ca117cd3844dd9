"""`echoscape map walls`: the walls that maps of virtual anchors show.

Takes folders of maps.
Gives a file of lines or rectangles.
"""

from pathlib import Path

from echoscape.cli.console import Quiet, print_line, print_warning, progress, use_double_precision


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
