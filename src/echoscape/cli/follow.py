"""`echoscape follow`: a target that moves, from its echoes over time and maps.

Takes a folder of maps and a file of echoes.
Gives a table, and a figure.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_line,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import MapFolder, check_deviations, check_table


def follow(
    echoes: Path,
    /,
    *,
    map_folder: MapFolder,
    out: Path,
    height: float | None = None,
    angle_std: float | None = None,
    delay_std: float | None = None,
    acceleration_std: float | None = None,
    figure: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Track one moving target through the maps of the stations that receive its echoes.

    The file has one number of target and one time for each instant.

    Args:
        echoes: Echoes as .parquet or .csv.
        map_folder: Folder of maps.
        out: Table to write, .parquet or .csv.
        height: z of the target [m]; the reports' common height if not given.
        angle_std: Standard deviation of angles that the file states none for [rad].
        delay_std: Standard deviation of delays that the file states none for [s].
        acceleration_std: Random acceleration of the target in each coordinate [m/s^2]; learnt from
            the echoes if not given.
        figure: Also draw the track, as PNG and PDF beside the table.
        seed: Seed of everything random.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    check_deviations(angle_std, delay_std)
    check_table(out, "followed")
    import jax
    import numpy as np

    from echoscape.channel_map import load_maps
    from echoscape.checks import InputError
    from echoscape.localization.moving.particle_filter import FollowSettings, TargetStatus
    from echoscape.localization.moving.particle_filter import follow as follow_target
    from echoscape.localization.moving.table import write_followed
    from echoscape.reports import read_echoes

    if acceleration_std is not None and not 0 < acceleration_std < float("inf"):
        raise InputError(
            f"--acceleration-std must be finite and above zero, in m/s^2; got {acceleration_std:g}"
        )
    maps = load_maps(map_folder)
    received = read_echoes(echoes, angle_std, delay_std)
    how = FollowSettings(acceleration_std=acceleration_std)
    with progress("locating each epoch", quiet) as report:
        found = follow_target(
            received, maps, key=jax.random.key(seed), height=height, settings=how, progress=report
        )
    if figure:
        from echoscape.plotting.fixes import save_figure
        from echoscape.plotting.target_track import draw_followed

        drawing = draw_followed(found, maps)
    write_followed(found, out)
    summary: dict[str, float] = {
        "instants": len(found.time),
        "tracks": int(found.track.max() + 1),
        **{s.name.lower(): int((found.status == s).sum()) for s in TargetStatus},
    }
    if np.any(found.track >= 0):
        trace = np.trace(found.covariance[found.track >= 0], axis1=1, axis2=2)
        summary["claimed_error"] = float(np.median(np.sqrt(trace)))
    if json:
        print_json(summary)
    else:
        rows = {name.replace("_", " "): str(value) for name, value in summary.items()}
        if "claimed_error" in summary:
            rows["claimed error"] = f"{summary['claimed_error']:.2f} m median"
        print_table(str(out), rows)
    if figure:
        for path in save_figure(drawing, out):
            if not json:
                print_line(path)
