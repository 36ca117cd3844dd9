"""`echoscape bound`: how well any method could locate targets with a map.

Takes a folder of maps.
Gives a table of bounds, and a figure.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_line,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import MapFolder, check_deviations, check_table, refuse_both
from echoscape.cli.reports import read_site


def bound(
    *,
    map_folder: MapFolder,
    angle_std: float,
    delay_std: float,
    out: Path,
    targets: Path | None = None,
    step: float | None = None,
    height: float | None = None,
    strongest: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = 5,
    site: Path | None = None,
    figure: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bound the error of targets of known height, at given places or on a grid.

    It holds for echoes of all ordered pairs of the most probable paths, detected and associated.

    Args:
        map_folder: Folder of maps.
        angle_std: Standard deviation of every angle of an echo [rad].
        delay_std: Standard deviation of every echo's two-way delay [s].
        out: File of bounds to write, .parquet or .csv.
        targets: Reports whose users are the targets, .parquet or .csv.
        step: Distance between places of a grid over the reports [m]; 5 if no targets are given.
        height: z of the grid's places [m]; the reports' common height if not given.
        strongest: Most paths that take part.
        site: TOML file that places the stations where the targets' file does not.
        figure: Also draw the bound, as PNG and PDF beside the file.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    refuse_both(targets=targets, step=step)
    refuse_both(targets=targets, height=height)
    check_deviations(angle_std, delay_std)
    check_table(out, "bounds")
    import numpy as np

    from echoscape.channel_map import load_maps
    from echoscape.localization.bounds.table import (
        bound_columns,
        bound_of_maps,
        grid_places,
        write_bounds,
    )
    from echoscape.reports import read_reports

    maps = load_maps(map_folder)
    if targets is None:
        place = grid_places(maps, 5.0 if step is None else step, height)
        number = np.arange(len(place))
    else:
        users = read_reports(targets, read_site(site))
        number, first = np.unique(users.report, return_index=True)
        place = users.position[first]
    with progress(f"bounds at {len(place)} places, compiling", quiet) as tell:
        found = bound_of_maps(
            maps, place, angle_std=angle_std, delay_std=delay_std, strongest=strongest
        )
        if figure:  # before anything is written, so that a failure leaves nothing
            from echoscape.plotting.fixes import draw_bound, save_figure

            tell(1, 3, "drawing")
            drawing = draw_bound(found, maps)
        tell(2, 3, "writing")
        write_bounds(bound_columns(found, number, list(maps)), out)
    summary = {
        "places": len(place),
        "observed": int(found.observed.sum()),
        "median": float(np.median(found.root_trace)) if len(place) else None,
        "p90": float(np.quantile(found.root_trace, 0.9, method="higher")) if len(place) else None,
    }
    if json:
        print_json(summary)
    else:
        rows = {"places": str(summary["places"]), "observed": str(summary["observed"])}
        for name in ("median", "p90"):
            value = summary[name]
            known = value is not None and np.isfinite(value)
            rows[f"{name} error"] = f"{value:.2f} m at least" if known else "not bounded"
        print_table(str(out), rows)
    if figure:
        for path in save_figure(drawing, out):
            if not json:
                print_line(path)
