"""`echoscape locate`: from measurements and maps to positions, by any method.

Takes a file of measurements and a folder of maps.
Gives a file of fixes with its settings beside it, and a figure.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from echoscape.cli.method_options import make_method, options_of
from echoscape.cli.options import (
    Numbers,
    check_deviations,
    check_table,
    deprecated,
    read_range,
    refuse_both,
)
from echoscape.localization import METHODS

if TYPE_CHECKING:
    from echoscape.localization.scores import Claims

MethodName = Literal["unassociated", "by-path", "by-rank", "direct", "user-paths", "received-power"]
MethodOptions = options_of(METHODS)
deprecated(old="--most", new="--targets")


def locate(
    measurements: Path,
    /,
    *,
    map_folder: Annotated[
        Path | None,
        cyclopts.Parameter(name="--map", help="Folder of maps that `echoscape map fit` wrote."),
    ] = None,
    out: Path,
    method: MethodName | None = None,
    height: float | None = None,
    height_range: Numbers | None = None,
    angle_std: float | None = None,
    delay_std: float | None = None,
    readings: Path | None = None,
    transmitters: Path | None = None,
    figure: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    quiet: Quiet = False,
    json: Json = False,
    options: Annotated[MethodOptions | None, cyclopts.Parameter(name="*")] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Locate targets or users from what was measured of them, with the maps of the stations.

    The method follows from the file if it is not given: samples (.npz) are located directly, with
    no echo detected; echoes with the columns departure_path and arrival_path by these; other echoes
    with their association marginalised.  The settings, and what was learnt from all targets
    together, are written beside the fixes as .json.

    Args:
        measurements: Echoes, users' reports or readings of received power as .parquet or .csv, or
            samples as .npz.
        map_folder: Folder of maps.
        out: File of fixes to write, .parquet or .csv.
        method: How to locate.
        height: z of all targets [m]; the reports' common height if neither this nor a range is
            given.
        height_range: Lowest and highest z to search, such as 0.5,20 [m].
        angle_std: Standard deviation of angles that the file states none for [rad].
        delay_std: Standard deviation of delays that the file states none for [s].
        readings: Readings at known places, in place of a folder of maps, for received power.
        transmitters: Positions of their transmitters.
        figure: Also draw the fixes, as PNG and PDF beside the file.
        quiet: Show no progress.
        json: Print JSON for programs.
        options: Settings of the method.
    """
    use_double_precision()
    refuse_both(height=height, height_range=height_range)
    check_deviations(angle_std, delay_std)
    check_table(out, "fixes")
    between = read_range(height_range, "--height-range", "m")
    from echoscape.files import atomic_files
    from echoscape.localization import fix_columns, localize
    from echoscape.localization.scores import summarize_fix
    from echoscape.reports import write_fixes

    name = method or _method_of(measurements)
    chosen = make_method(METHODS, name, options)
    if name in ("direct", "received-power", "user-paths"):
        _refuse_given(
            f"the method {name!r} reads errors from the file or needs none",
            angle_std=angle_std, delay_std=delay_std,
        )  # fmt: skip
    if name != "received-power":
        _refuse_given("only received power needs it", readings=readings, transmitters=transmitters)
    maps, model = _maps(name, map_folder, readings, transmitters)
    given, stations, number = _read(name, measurements, maps, angle_std, delay_std, transmitters)
    with progress("locating", quiet) as report:
        fix = localize(
            given, maps, method=chosen, height=height if between is None else between,
            progress=report,
        )  # fmt: skip
    if number is not None:
        fix.target[:] = number
    if figure:  # before anything is written, so that a failure leaves nothing
        from echoscape.plotting.fixes import draw_fixes, save_figure

        if name == "received-power":
            _refuse_given("there is no map of paths to draw", figure=figure)
        drawing = draw_fixes(fix, {station: maps[station] for station in stations})  # pyright: ignore[reportIndexIssue]
    settings = _settings(chosen, fix, height if between is None else between)
    with atomic_files(out, out.with_suffix(".json")) as (fixes, beside):
        write_fixes(fix_columns(fix, stations, model), fixes)
        beside.write_text(settings, encoding="utf-8")
    for sentence in _causes(fix):
        print_warning(sentence)
    claims = summarize_fix(fix)
    if json:
        print_json(claims)
    else:
        print_table(str(out), _rows(claims) | _bias_rows(fix.learnt or {}))
    if figure:
        for path in save_figure(drawing, out):
            if not json:
                print_line(path)


def _method_of(path: Path) -> str:
    """Choose the method that a file asks for."""
    if path.suffix.lower() == ".npz":
        return "direct"
    from echoscape.localization.associated.table import has_paths
    from echoscape.reports.files import read_table
    from echoscape.reports.schema import ECHOES

    return "by-path" if has_paths(read_table(path, ECHOES)) else "unassociated"


def _maps(name: str, folder: Path | None, readings: Path | None, transmitters: Path | None):
    """Load the maps, or learn that of received power."""
    from echoscape.checks import InputError

    if name == "received-power":
        if readings is None or transmitters is None:
            raise InputError(
                "received power needs --readings, readings at known places, and --transmitters, "
                "the positions of their transmitters"
            )
        _refuse_given("received power needs --readings instead", map=folder)
        from echoscape.channel_map.received_power import fit_signal_strength
        from echoscape.reports.strength_file import read_strength

        campaign = read_strength(readings, transmitters)
        power = fit_signal_strength(campaign.position, campaign.level, campaign.transmitter)
        return power, "received-power"
    if folder is None:
        raise InputError("a folder of maps is needed: give it by --map")
    from echoscape.channel_map import load_manifest, load_maps

    return load_maps(folder), str(load_manifest(folder).settings.get("model", "map"))


def _read(name: str, path: Path, maps: Any, angle_std, delay_std, transmitters):
    """Read measurements for a method: these, their stations, and numbers where it has none."""
    if name == "direct":
        from echoscape.reports.sample_file import read_samples

        samples = read_samples(path)
        both = (samples.transmit_station, samples.receive_station)
        return samples, tuple(dict.fromkeys(both)), None
    if name in ("by-path", "by-rank"):
        from echoscape.localization.associated.table import read_paired_echoes
        from echoscape.localization.localizer import station_map

        number, echoes, station = read_paired_echoes(path, angle_std, delay_std)
        found = station_map(maps, station, "echoes")
        maps.clear()  # these echoes name one station, and one map is needed
        maps[station] = found
        return echoes, (station,), number
    if name == "user-paths":
        from echoscape.reports import read_reports

        users = read_reports(path)
        return users, users.station, None
    if name == "received-power":
        from echoscape.reports.strength_file import read_strength

        return read_strength(path, transmitters, placed=False), ("all",), None
    from echoscape.reports import read_echoes

    echoes = read_echoes(path, angle_std, delay_std)
    return echoes, echoes.station, None


def _settings(method: Any, fix: Any, height: Any) -> str:
    """Tell how the fixes were made, for ``NAME.json`` beside them."""
    import json

    from echoscape import __version__

    content = {
        "echoscape": __version__,
        "method": method.name,
        "settings": method.model_dump(),
        "height": height,
        "learnt": fix.learnt,
    }
    return json.dumps(content, indent=2) + "\n"


def _refuse_given(reason: str, **options: object) -> None:
    """Refuse options that mean nothing for this kind of file."""
    from echoscape.checks import InputError

    for name, value in options.items():
        if value is not None:
            raise InputError(f"--{name.replace('_', '-')} has no meaning here: {reason}")


def _causes(fix: Any) -> list[str]:
    """Name errors larger than stated; what biases fixes, and the option that estimates it."""
    from echoscape.localization import FixStatus

    learnt = fix.learnt or {}
    larger = [
        f"{name}s {learnt[key]:.1f} times"
        for name in ("angle", "delay")
        if learnt.get(key := f"{name}_error_scale", 1.0) > 1.0
    ]
    said = []
    if larger:
        said.append(
            f"the errors of the echoes are larger than stated, of {' and of '.join(larger)}, as "
            "echoes along the same two paths differ; fixes count with that"
        )
    if learnt.get("tail_scale", 1.0) > 1.0:
        said.append(
            "the errors of the echoes have heavier tails than Gaussian ones of the stated "
            f"deviations; fixes claim {learnt['tail_scale']:.1f} times the deviations"
        )
    if not (fix.status == FixStatus.BIASED).any():
        return said
    rows = _bias_rows(learnt)
    return said + [
        f"the residuals of these targets share a sign: a common {name} of {value} explains them; "
        f"estimate it with --unknown {name.split()[0]}, or correct the echoes"
        for name, value in rows.items()
    ]


def _bias_rows(learnt: dict[str, float]) -> dict[str, str]:
    rows = {}
    for name, unit, factor in (("clock", "ns", 1e9), ("heading", "deg", 57.29577951)):
        if f"{name}_bias" in learnt:
            value, std = (factor * learnt[f"{name}_bias{end}"] for end in ("", "_std"))
            rows[f"{name} bias"] = f"{value:.2f} +- {std:.2f} {unit}"
    return rows


def _rows(claims: "Claims") -> dict[str, str]:
    rows = {"targets": str(claims.targets)}
    for name, count in claims.status.items():
        if count or name in ("located", "ambiguous"):
            rows[name.replace("_", " ")] = f"{count} ({count / max(claims.targets, 1):.1%})"
    spread = claims.median_spread
    rows["claimed error"] = "no echoes" if spread is None else f"{spread:.2f} m median"
    rows["narrower than 3 m"] = f"{claims.narrow:.1%}"
    return rows
