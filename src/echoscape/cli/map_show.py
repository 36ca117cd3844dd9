"""`echoscape map show`: what maps know, in words and in a picture.

Takes folders of maps.
Gives a table, and figures.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoscape.cli.calibration import print_calibration, warn_of_larger_errors
from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_line,
    print_table,
    progress,
    use_double_precision,
)

if TYPE_CHECKING:
    from echoscape.plotting.channel_map import MapSummary


def show(
    folder: Path, /, *, figure: Path | None = None, json: Json = False, quiet: Quiet = False
) -> None:
    """State what maps know: static points, the ground that reports cover, and calibrations.

    Args:
        folder: Folder of maps.
        figure: Picture to write, such as map.png; of several stations one each, with their names.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    import dataclasses

    from echoscape.channel_map import load_manifest, load_maps
    from echoscape.plotting.channel_map import draw_map, summarize_map
    from echoscape.plotting.saving import check_figure

    if figure is not None:
        check_figure(figure)
    with progress("reading", quiet) as tell:
        maps, manifest = load_maps(folder), load_manifest(folder)
        tell(1, 3, "looking at points and ground")
        found = {name: summarize_map(each) for name, each in maps.items()}
        pictures = [] if figure is None else _pictures(figure, list(maps))
        for picture, each in zip(pictures, maps.values()):
            tell(2, 3, "drawing")
            draw_map(each, picture)
    calibration, scores = manifest.calibration, manifest.scores
    if json:
        print_json({
            name: {
                **dataclasses.asdict(each),
                "held_out": scores.get(name),
                "calibration": calibration.get(name),
            }
            for name, each in found.items()
        })  # fmt: skip
        return
    for name, each in found.items():
        print_table(f"{folder}, station {name}", _rows(each, scores.get(name)))
        if name in calibration:
            print_calibration(name, calibration[name])
        warn_of_larger_errors(name, maps[name])
    for picture in pictures:
        print_line(picture)


def _rows(found: "MapSummary", held_out: dict[str, Any] | None) -> dict[str, str]:
    rows = {
        "model": found.model,
        "station": ", ".join(f"{value:g}" for value in found.station_position) + " m",
        "reports": str(found.reports),
        "x": f"{found.low[0]:.1f} to {found.high[0]:.1f} m",
        "y": f"{found.low[1]:.1f} to {found.high[1]:.1f} m",
        "covered": f"{found.covered_area:.0f} m^2 within {found.reach:.2g} m of a report",
        "static points": "none: this model holds no points"
        if found.points is None
        else ", ".join(f"{count} {kind}" for kind, count in found.points.items()),
    }
    if found.single:
        rows["beside them"] = f"{found.single} points, each of one path alone"
    if found.explained is not None:
        rows["explained"] = f"{found.explained:.1%} of the paths learnt from"
    if held_out is not None:
        share = f"{held_out['explained']:.1%} of the paths explained"
        rows["held-out fifth"] = f"{share}, when the map was fitted"
    return rows


def _pictures(figure: Path, stations: Sequence[str]) -> list[Path]:
    """Name a picture for each station, whatever the stations are called."""
    if len(stations) == 1:
        return [figure]
    names = [re.sub(r"[^\w.+-]", "_", name) for name in stations]
    if len(set(names)) < len(names):
        names = [f"{number}" for number in range(1, 1 + len(names))]
    return [figure.with_stem(f"{figure.stem}-{name}") for name in names]
