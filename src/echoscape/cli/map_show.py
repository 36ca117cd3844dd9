"""`echoscape map show`: what maps know, in words and in a picture.

Takes folders of maps.
Gives a table, and figures.
"""

from pathlib import Path

from echoscape.cli.calibration import print_calibration
from echoscape.cli.console import (
    Json,
    print_json,
    print_table,
    use_double_precision,
)


def show(folder: Path, /, *, figure: Path | None = None, json: Json = False) -> None:
    """State what maps know: static points, the ground that reports cover, and calibrations.

    Args:
        folder: Folder of maps.
        figure: Picture to write, such as map.png; of several stations one each, with their names.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.channel_map import load_manifest, load_maps
    from echoscape.plotting.channel_map import draw_map, summarize_map

    maps = load_maps(folder)
    calibration = load_manifest(folder).calibration
    found = {name: summarize_map(each) for name, each in maps.items()}
    if json:
        print_json({name: {**each, "calibration": calibration.get(name)}
                    for name, each in found.items()})  # fmt: skip
    else:
        for name, each in found.items():
            print_table(f"{folder}, station {name}", each)
            if name in calibration:
                print_calibration(name, calibration[name])
    if figure is None:
        return
    for name, each in maps.items():
        several = len(maps) > 1
        draw_map(each, figure.with_stem(f"{figure.stem}-{name}") if several else figure)
