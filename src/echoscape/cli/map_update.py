"""`echoscape map update`: add later reports to maps, and say what changed.

Takes a folder of maps, a file of reports.
Gives a folder of maps, and the points that vanished, appeared or were found.
"""

from pathlib import Path

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_line,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_map_folder, check_stations
from echoscape.cli.reports import read_site


def update(
    folder: Path,
    reports: Path,
    /,
    *,
    out: Path | None = None,
    false_alarm: float = 0.01,
    per_reports: int = 1500,
    site: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add later reports to maps of virtual anchors without fitting them again.

    A report is added once: a batch that holds one which a map has seen is refused, as are reports
    older than the last that it has seen, and reports of a station that has moved.  Scores on
    held-out reports are dropped, for they are those of the old map.

    Args:
        folder: Folder of maps.
        reports: Later reports as .parquet or .csv.
        out: Folder to write; the maps in FOLDER are replaced if not given.
        false_alarm: Probability that a point which is there is said to have vanished.
        per_reports: Within how many reports.
        site: TOML file that places the stations where the reports do not.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.channel_map import load_manifest, load_maps
    from echoscape.channel_map.fitting import stations_reported
    from echoscape.channel_map.updating.folder import save_updated, update_maps
    from echoscape.reports import read_reports

    if out is not None:
        check_map_folder(out)
    with progress("reading", quiet) as tell:
        maps, manifest = load_maps(folder), load_manifest(folder)
        batch = read_reports(reports, read_site(site))
        check_stations(maps, stations_reported(batch), "reports", folder)
        tell(1, 3, "comparing with the maps, compiling")
        grown, changes = update_maps(
            maps, batch, manifest.calibration, false_alarm=false_alarm, per_reports=per_reports
        )
        tell(2, 3, "writing")
        save_updated(grown, out or folder, manifest, batch)
    if json:
        print_json({name: {**each.summary_rows(), "changes": each.to_arrow().to_pylist()}
                    for name, each in changes.items()})  # fmt: skip
        return
    for name, each in changes.items():
        print_table(f"{out or folder}, station {name}", each.summary_rows())
        for row in each.to_arrow().to_pylist():
            if row["change"] != "found":
                print_line(
                    f"{row['change']}: the point at ({row['x']:.1f}, {row['y']:.1f}) m, "
                    f"{row['missed']:.1f} hearings expected and missed, {row['reports']} reports"
                )
