"""`echoscape reports`: look at users' reports and change their format.

Takes files of reports.
Gives a summary, or another file.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from echoscape.cli.console import (
    Json,
    print_json,
    print_line,
    print_table,
    print_warning,
    use_double_precision,
)

if TYPE_CHECKING:
    from echoscape.reports import Summary
    from echoscape.scene import Site

_TURNED, _LATE = 0.2, 0.5  # what direct paths may be off by, in the median [rad], [m]

app = cyclopts.App(name="reports", help="Check users' reports and convert their format.")


@app.command
def check(file: Path, /, *, site: Path | None = None, json: Json = False) -> None:
    """Read reports, refuse what cannot be used, and say what they hold.

    Args:
        file: Reports as .parquet or .csv.
        site: TOML file that places the stations where the reports do not.
        json: Print JSON for programs.
    """
    from echoscape.reports import read_reports, summarize_reports

    summary = summarize_reports(read_reports(file, read_site(site)))
    if json:
        print_json(summary)
        return
    print_table(str(file), _rows(summary))
    for sentence in summary.warnings:
        print_warning(sentence)


@app.command
def convert(
    source: Path,
    destination: Path,
    /,
    *,
    site: Path | None = None,
    strongest: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = 12,
) -> None:
    """Check reports and write them in another format, with all their columns.

    Args:
        source: Reports as .parquet or .csv, or a ray-traced table as .npz.
        destination: File to write, .parquet or .csv.
        site: TOML file that places the stations where the reports do not.
        strongest: How many paths of each user to take from a ray-traced table.
    """
    from echoscape.reports.importing.convert import convert_reports

    reports = convert_reports(source, destination, read_site(site), strongest)
    count = int(reports.estimates.valid.sum())
    print_line(f"{destination}: {len(reports.report)} reports with {count} paths")


@app.command(name="import-measured")
def import_measured(
    source: Path,
    destination: Path,
    /,
    *,
    angle_std: float | None = None,
    length_std: float | None = None,
    clockwise: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    station: str = "bs",
    json: Json = False,
) -> None:
    """Write the multipath lists of a measurement campaign as reports.

    Args:
        source: The lists as .csv or MATLAB .mat.
        destination: Reports to write, .parquet or .csv.
        angle_std: Standard deviation of every angle [rad]; not stated if not given.
        length_std: Standard deviation of every path's length [m]; not stated if not given.
        clockwise: The angles run clockwise from the headings.
        station: Name of the base station.
        json: Print JSON for programs.
    """
    from echoscape.cli.options import check_table, refuse_same

    check_table(destination)
    refuse_same(source, destination)
    from echoscape.reports import direct_path_offsets, read_measured, write_reports

    reports = read_measured(
        source, angle_std=angle_std, length_std=length_std, clockwise=clockwise, station=station
    )
    write_reports(reports, destination)
    offset = direct_path_offsets(reports)
    count = int(reports.estimates.valid.sum())
    if json:
        print_json({"poses": len(reports.report), "paths": count, "direct": offset})
    else:
        print_line(f"{destination}: {len(reports.report)} poses with {count} paths")
        if offset["poses"]:
            print_line(
                f"{offset['poses']:.0f} poses with a direct path: its length is off by "
                f"{offset['length']:.2f} m, its angle by {offset['azimuth']:.3f} rad (medians)"
            )
    if offset["poses"] >= 5 and offset["scatter"] > 0.1:
        if offset["scatter_mirrored"] < 0.5 * offset["scatter"]:
            print_warning(
                "the direct paths fit far better mirrored: try with --clockwise, or without"
            )
        else:
            print_warning("the direct paths' angles do not fit the positions: check the headings")
    elif offset["poses"] >= 5 and abs(offset["azimuth"]) > _TURNED:
        print_warning(
            f"the direct paths are all turned by {offset['azimuth']:.2f} rad: check the station's "
            "heading and its unit"
        )
    if offset["poses"] >= 5 and abs(offset["length"]) > _LATE:
        print_warning(
            f"the direct paths are off by {offset['length']:.2f} m: check the clock, and the unit "
            "of lengths and positions"
        )


def read_site(file: Path | None) -> "Site | None":
    """Read a site file, if one was given."""
    if file is None:
        return None
    use_double_precision()
    from echoscape.scene import Site

    return Site.from_toml(file)


def _rows(summary: "Summary") -> dict[str, str]:
    paths = summary.paths_per_report
    stations = ", ".join(f"{name} ({count})" for name, count in summary.stations.items())
    rows = {
        "reports": str(summary.reports),
        "outages": f"{summary.outages} ({summary.outages / summary.reports:.1%})",
        "paths": f"{summary.paths} ({paths['fewest']:.0f} to {paths['most']:.0f} a report, "
        f"median {paths['median']:.0f})",
        "stations": stations,
    }
    for axis, (low, high) in summary.extent.items():
        rows[axis] = f"{low:.2f} to {high:.2f} m"
    if summary.delay and summary.power:
        rows["delay"] = f"{summary.delay[0] * 1e9:.1f} to {summary.delay[1] * 1e9:.1f} ns"
        rows["power"] = f"{summary.power[0]:.3g} to {summary.power[1]:.3g}"
    rows["position error"] = f"{summary.position_error:g} m (median stated)"
    rows["arrival angles"] = f"known for {summary.arrival_angles:.0%} of the paths"
    rows["errors stated"] = f"for {summary.stated_errors:.0%} of the paths"
    return rows
