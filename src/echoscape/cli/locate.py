"""`echoscape locate`: from echoes, or samples of them, and maps to places.

Takes a folder of maps and a file of echoes or samples.
Gives a file of fixes, and a figure.
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
    progress,
    use_double_precision,
)
from echoscape.cli.options import (
    MapFolder,
    Numbers,
    check_deviations,
    check_table,
    read_range,
    refuse_both,
)

if TYPE_CHECKING:
    from echoscape.localization.scores import Claims


def locate(
    echoes: Path,
    /,
    *,
    map_folder: MapFolder,
    out: Path,
    height: float | None = None,
    height_range: Numbers | None = None,
    angle_std: float | None = None,
    delay_std: float | None = None,
    most: Annotated[
        int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))
    ] = None,
    cell: float | None = None,
    figure: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Locate targets from their echoes, with the maps of the stations that heard them.

    From samples (.npz) targets are located directly: every place is judged by all the echoes that
    the map promises there, and none has to be detected.

    Args:
        echoes: Echoes as .parquet or .csv, or samples as .npz.
        map_folder: Folder of maps.
        out: File of fixes to write, .parquet or .csv.
        height: z of all targets [m]; the reports' common height if neither this nor a range is
            given.
        height_range: Lowest and highest z to search, such as 0.5,20 [m].
        angle_std: Standard deviation of angles that the file states none for [rad].
        delay_std: Standard deviation of delays that the file states none for [s].
        most: Most targets in each snapshot of samples; 1 if not given.  With more than one,
            target k of snapshot n gets the number n * most + k.
        cell: Side of the grid's cells for samples [m]; a quarter of the resolved length if not
            given.
        figure: Also draw the fixes, as PNG and PDF beside the file.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    refuse_both(height=height, height_range=height_range)
    check_deviations(angle_std, delay_std)
    check_table(out)
    between = read_range(height_range, "--height-range", "m")
    from echoscape.channel_map import load_manifest, load_maps
    from echoscape.checks import InputError
    from echoscape.localization import fix_columns, localize
    from echoscape.localization.scores import summarize_fix
    from echoscape.reports import read_echoes, write_fixes

    between = height if between is None else between
    sampled = echoes.suffix.lower() == ".npz"
    if sampled:
        _refuse_given("samples state no errors", angle_std=angle_std, delay_std=delay_std)
    else:
        _refuse_given("echoes were detected already", most=most, cell=cell)
    maps = load_maps(map_folder)
    if sampled:
        from echoscape.localization.direct.method import DirectSettings, localize_direct
        from echoscape.reports.sample_file import read_samples

        if cell is not None and not 0 < cell < float("inf"):
            raise InputError(f"--cell must be finite and above zero, in m; got {cell:g}")
        samples = read_samples(echoes)
        names = tuple(dict.fromkeys((samples.transmit_station, samples.receive_station)))
        with progress("locating", quiet) as tell:
            fix = localize_direct(
                samples, maps, targets=most or 1, height=between,
                settings=DirectSettings(cell=cell), progress=tell,
            )  # fmt: skip
    else:
        heard = read_echoes(echoes, angle_std, delay_std)
        names = heard.station
        with progress("locating", quiet) as tell:
            fix = localize(heard, maps, height=between, progress=tell)
    method = load_manifest(map_folder).settings.get("model", "map")
    if figure:  # before anything is written, so that a failure leaves nothing
        from echoscape.plotting.fixes import draw_fixes, save_figure

        drawing = draw_fixes(fix, {name: maps[name] for name in names})
    write_fixes(fix_columns(fix, names, str(method)), out)
    claims = summarize_fix(fix)
    if json:
        print_json(claims)
    else:
        print_table(str(out), _rows(claims))
    if figure:
        for path in save_figure(drawing, out):
            if not json:
                print_line(path)


def _refuse_given(reason: str, **options: object) -> None:
    """Refuse options that mean nothing for this kind of file."""
    from echoscape.checks import InputError

    for name, value in options.items():
        if value is not None:
            raise InputError(f"--{name.replace('_', '-')} has no meaning here: {reason}")


def _rows(claims: "Claims") -> dict[str, str]:
    rows = {"targets": str(claims.targets)}
    for name, count in claims.status.items():
        if count or name in ("located", "ambiguous"):
            rows[name.replace("_", " ")] = f"{count} ({count / max(claims.targets, 1):.1%})"
    spread = claims.median_spread
    rows["claimed error"] = "no echoes" if spread is None else f"{spread:.2f} m median"
    rows["narrower than 3 m"] = f"{claims.narrow:.1%}"
    return rows
