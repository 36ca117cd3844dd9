"""`echoscape reports`: look at users' reports and change their format.

Takes files of reports.
Gives a summary, or another file.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_line,
    print_table,
    print_warning,
    progress,
    use_double_precision,
)

if TYPE_CHECKING:
    from echoscape.reports import ImportOptions, Summary
    from echoscape.scene import Site

app = cyclopts.App(
    name="reports", help="Check users' reports, convert their format, import foreign ones."
)


@app.command
def check(
    file: Path, /, *, site: Path | None = None, json: Json = False, quiet: Quiet = False
) -> None:
    """Read reports, refuse what cannot be used, and say what they hold.

    Args:
        file: Reports as .parquet or .csv.
        site: TOML file that places the stations where the reports do not.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    from echoscape.reports import summarize_reports
    from echoscape.reports.table import load_reports

    with progress("reading", quiet) as tell:
        reports = load_reports(file, read_site(site))
        tell(1, 2, "checking")
        summary = summarize_reports(reports)
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
    quiet: Quiet = False,
) -> None:
    """Check reports and write them in another format, with all their columns.

    Args:
        source: Reports as .parquet or .csv, or a ray-traced table as .npz.
        destination: File to write, .parquet or .csv.
        site: TOML file that places the stations where the reports do not.
        strongest: How many paths of each user to take from a ray-traced table.
        quiet: Show no progress.
    """
    from echoscape.reports import check_geometry
    from echoscape.reports.importing.convert import convert_reports

    with progress("converting", quiet) as tell:
        reports = convert_reports(source, destination, read_site(site), strongest)
        tell(1, 2, "checking")
        findings = check_geometry(reports)
    count = int(reports.estimates.valid.sum())
    print_line(f"{destination}: {len(reports.report)} reports with {count} paths")
    for finding in findings:
        print_warning(finding.sentence)


@app.command(name="import")
def import_foreign(
    source: Path,
    /,
    *,
    out: Path,
    layout: str | None = None,
    station: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    column: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    transmit_power: Annotated[float | None, cyclopts.Parameter(allow_leading_hyphen=True)] = None,
    strongest: Annotated[
        int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))
    ] = None,
    angle_std: float | None = None,
    length_std: float | None = None,
    clockwise: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring in the paths of a ray tracer, a channel sounder or a spreadsheet as reports.

    Says what each quantity was taken from, and whether the direct paths agree with the positions.

    Args:
        source: A file or a folder.
        layout: deepmimo, wireless-insite, aodt, sionna, point-data, ray-traced or measured; found
            by itself if not given.
        station: Name of a station, once for each, in the order of the source.
        column: What a column means, as COLUMN=QUANTITY or COLUMN=QUANTITY:UNIT, such as
            aod_el=departure_zenith:deg, or COLUMN=ignore.
        transmit_power: What was transmitted, where powers are received powers [dBm].
        out: Reports to write, .parquet or .csv.
        strongest: How many paths of each report to keep; all if not given.
        angle_std: Standard deviation of every angle [rad]; not stated if not given.
        length_std: Standard deviation of every path's length [m]; not stated if not given.
        clockwise: The angles run clockwise from the headings.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    from echoscape.reports import ImportOptions

    options = ImportOptions(
        tuple(station or ()), strongest, angle_std, length_std, clockwise, transmit_power,
        tuple(column or ()),
    )  # fmt: skip
    _import(source, out, layout, options, json, quiet)


@app.command
def export(
    file: Path,
    /,
    *,
    layout: str,
    out: Path,
    carrier: float,
    station: str | None = None,
    site: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write reports for another tool, and say what of them its layout cannot hold.

    Args:
        file: Reports as .parquet or .csv.
        layout: deepmimo, a scenario folder of version 4, or sionna, arrays as cir() gives them.
        out: Folder (deepmimo) or .npz file (sionna) to write.
        carrier: Carrier frequency [Hz]; paths get its phase over their delay.
        station: Export this station alone.
        site: TOML file that places the stations where the reports do not.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    from echoscape.cli.options import refuse_same
    from echoscape.reports import read_reports
    from echoscape.reports.exporting.exporter import export_reports

    refuse_same(file, out)
    with progress("reading", quiet) as tell:
        reports = read_reports(file, read_site(site))
        tell(1, 2, "writing")
        lost = export_reports(reports, layout, out, carrier, station)
    if json:
        print_json({"layout": layout, "lost": list(lost)})
        return
    print_line(f"{out}: layout {layout}")
    for what in lost:
        print_line(f"not in this layout: {what}")


@app.command(name="import-measured", show=False)
def import_measured(
    source: Path,
    destination: Path,
    /,
    *,
    angle_std: float | None = None,
    length_std: float | None = None,
    clockwise: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    station: str | None = None,
    json: Json = False,
) -> None:
    """Write the multipath lists of a measurement campaign as reports; use `reports import`.

    Args:
        source: The lists as a table or MATLAB .mat.
        destination: Reports to write, .parquet or .csv.
        angle_std: Standard deviation of every angle [rad]; not stated if not given.
        length_std: Standard deviation of every path's length [m]; not stated if not given.
        clockwise: The angles run clockwise from the headings.
        station: Name of the base station.
        json: Print JSON for programs.
    """
    from echoscape.reports import ImportOptions

    print_warning(
        "echoscape reports import-measured is deprecated and will be removed in the next version; "
        "use echoscape reports import SOURCE --out FILE"
    )
    options = ImportOptions(
        (station,) if station else (), None, angle_std, length_std, clockwise
    )  # fmt: skip
    _import(source, destination, None, options, json)


def _import(
    source: Path,
    destination: Path,
    layout: str | None,
    options: "ImportOptions",
    json: bool,
    quiet: bool = False,
) -> None:
    from echoscape.cli.options import check_table, refuse_same
    from echoscape.reports import import_reports
    from echoscape.reports.importing.convert import write_imported

    refuse_same(source, destination)
    check_table(destination, "reports")
    with progress("reading", quiet) as tell:
        found = import_reports(source, layout, options)
        tell(1, 3, "writing")
        write_imported(found, destination)
        tell(2, 3, "checking")
        findings = found.findings()
    doubts = [f"{note.quantity}: {note.taken}" for note in found.notes if note.doubt]
    warnings = [*doubts, *(finding.sentence for finding in findings)]
    count = int(found.reports.estimates.valid.sum())
    if json:
        print_json({
            "layout": found.layout,
            "reports": len(found.reports.report),
            "paths": count,
            "stations": list(found.reports.station),
            "taken": {note.quantity: note.taken for note in found.notes},
            "warnings": warnings,
        })  # fmt: skip
    else:
        rows = {note.quantity: note.taken for note in found.notes}
        print_table(f"{source}: layout {found.layout}", rows)
        print_line(f"{destination}: {len(found.reports.report)} reports with {count} paths")
    for sentence in warnings:
        print_warning(sentence)


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
