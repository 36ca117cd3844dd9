"""`echoscape map`: learn channel maps from users' reports, and score them.

Takes files of reports, folders of maps.
Gives folders of maps, scores.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from echoscape.cli.calibration import (
    print_calibration,
    print_quality,
    warn_of_larger_errors,
)
from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_line,
    print_table,
    print_warning,
    progress,
    use_double_precision,
)
from echoscape.cli.left_out import left_out_rows
from echoscape.cli.map_image import maps_from_image, points_of_image
from echoscape.cli.map_show import show
from echoscape.cli.map_signal_strength import signal_strength
from echoscape.cli.map_update import update
from echoscape.cli.map_walls import maps_from_walls, walls
from echoscape.cli.options import check_map_folder, check_stations, check_table
from echoscape.cli.reports import read_site

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from echoscape.channel_map import ChannelMap, MapModel
    from echoscape.channel_map.evaluation import Evaluation
    from echoscape.reports import Reports

app = cyclopts.App(name="map", help="Learn channel maps from users' reports, and score them.")


Settings = Annotated[tuple[str, ...], cyclopts.Parameter(name="--set", negative="")]


def _read_model(name: str, settings: "Iterable[str]") -> "MapModel":
    """Make the model that the options name."""
    from echoscape.channel_map.fitting import model_named
    from echoscape.checks import InputError

    values: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        if not (field and equals and value):
            raise InputError(f"--set takes name=value, such as slots=20; got {setting!r}")
        values[field] = value.split(",") if "," in value else value
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        model = model_named(name, **values)
    for warning in caught:
        print_warning(str(warning.message))
    return model


@app.command
def models(*, json: Json = False) -> None:
    """Describe every kind of map and the settings that `map fit --set` takes.

    Args:
        json: Print JSON for programs.
    """
    from echoscape.channel_map.fitting import MODELS

    fields = {
        name: {
            field: {"default": info.default, "meaning": " ".join((info.description or "").split())}
            for field, info in model.model_fields.items()
        }
        for name, model in MODELS.items()
    }
    if json:
        print_json(fields)
        return
    for name, each in fields.items():
        summary = (MODELS[name].__doc__ or "").splitlines()[0]
        rows = {key: f"{row['default']}: {row['meaning']}" for key, row in each.items()}
        print_table(f"{name}: {summary}", rows)


@app.command
def fit(
    reports: Path | None = None,
    /,
    *,
    out: Path,
    model: str = "virtual-anchors",
    set_: Settings = (),
    site: Path | None = None,
    walls: Path | None = None,
    image: Path | None = None,
    delays: Literal["absolute", "excess"] = "absolute",
    unknown: str | None = None,
    score: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Learn a channel map for each station that the reports are of.

    With the maps of other stations (--walls) the fit begins with the walls that they show, which
    few reports confirm; a station of the site without any report gets a map from the walls alone.
    With an image of the site (--image) it begins with the image's scatterers, in the same way.

    Args:
        reports: Reports as .parquet or .csv; may be left out with --walls or --image, and --site.
        out: Folder to write, or to replace the maps in.
        model: Kind of map; `echoscape map models` describes each and its settings.
        set_: A setting of the model as name=value; may be given several times.
        site: TOML file that places the stations where the reports do not.
        walls: Folder of maps of virtual anchors of other stations in the same site.
        image: Image (.npz, of `echoscape image`) of the same site, for --model scatterers.
        delays: Whether delays are absolute, or in excess of the line of sight, which is then added.
        unknown: What is estimated of each station or user and taken off the reports, with commas
            between: station-clock, station-heading (yaw, pitch and roll of the array), user-clock,
            user-heading; reports of users whose clock remains unknown are left out.
        score: Also fit without a fifth of the area, evaluate there, and store the scores.
        seed: Seed of everything random.
        quiet: Show no progress.
    """
    use_double_precision()
    import jax

    from echoscape.channel_map import data_hash, fit_maps, load_maps, save_maps
    from echoscape.channel_map.calibration import calibrate
    from echoscape.channel_map.fitting import held_out_scores, model_settings
    from echoscape.channel_map.shared_walls import shared_points
    from echoscape.reports.table import load_reports

    check_map_folder(out)
    chosen = _read_model(model, set_)
    names = _names(unknown)
    others = {} if walls is None else load_maps(walls)
    seen = None if image is None else points_of_image(image, chosen, walls)
    if reports is None and seen is not None:
        new = maps_from_image(seen, read_site(site), ())
        save_maps(new, out, settings=model_settings(chosen), seed=seed)
        print_line(f"{out}: map of {', '.join(new)} from {image} alone")
        return
    if reports is None:
        new = maps_from_walls(others, read_site(site), ())
        save_maps(new, out, settings=model_settings(chosen), seed=seed)
        print_line(f"{out}: map of {', '.join(new)} from the walls of {', '.join(others)} alone")
        return
    with progress("reading", quiet) as report:
        learnt = load_reports(reports, read_site(site))
        report(1, 3, "calibrating" if names else "checking")
        learnt, calibration = calibrate(learnt, names)
        report(2, 3, "checking")
        learnt = _checked(learnt, delays)
    key = jax.random.key(seed)
    with progress("fitting, compiling", quiet) as report:
        start = shared_points(others) if others else None if seen is None else seen.points
        maps = fit_maps(learnt, chosen, key=key, start=start, progress=report)
        scores = {}
        if score:
            scores = held_out_scores(learnt, chosen, seed=seed, key=key, progress=report)
    place = read_site(site)
    if others and place is not None:
        maps |= maps_from_walls(others, place, tuple(maps))
    if seen is not None and place is not None:
        maps |= maps_from_image(seen, place, tuple(maps))
    save_maps(
        maps,
        out,
        settings=model_settings(chosen),
        seed=seed,
        data_sha256=data_hash(learnt),
        scores=scores,
        calibration=calibration,
    )
    for name in sorted(set(learnt.station) - set(maps)):
        print_warning(f"station {name!r} has no map: its reports hold no path")
    print_line(f"{out}: {chosen.name} map of {', '.join(_learnt_from(learnt, maps))}")
    if alone := [name for name in maps if name not in learnt.station]:
        source = image if others == {} else f"the walls of {', '.join(others)}"
        print_line(f"{out}: map of {', '.join(alone)} from {source} alone")
    for name, item in maps.items():
        print_quality(name, item)
    for name, each in calibration.items():
        print_calibration(name, each)
    for name, each in maps.items():
        warn_of_larger_errors(name, each)
    for name, found in scores.items():
        print_line(f"held-out fifth of {name}: {found['explained']:.1%} of the paths explained")
    if not scores and not quiet:
        print_line("how much of other users' paths it explains: map evaluate, or map fit --score")


def _names(text: str | None) -> tuple[str, ...]:
    """Split names with commas between."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _checked(reports: "Reports", delays: str) -> "Reports":
    """Warn of what does not agree with geometry; relative delays teach a map nothing."""
    from echoscape.checks import InputError
    from echoscape.reports.finding import Cause
    from echoscape.reports.geometry import add_line_of_sight, check_geometry

    if delays == "excess":
        reports = add_line_of_sight(reports)
    for finding in check_geometry(reports):
        if finding.cause is Cause.RELATIVE_DELAY:
            raise InputError(
                f"{finding.sentence}; if all count from the line of sight, state --delays excess"
            )
        print_warning(finding.sentence)
    reports.mark_judged()
    return reports


def _learnt_from(reports: "Reports", maps: "Mapping[str, ChannelMap]") -> "Iterator[str]":
    """Say of each station how many of its reports its map rests on."""
    for name, item in maps.items():
        if name not in reports.station:
            continue
        have = int((reports.station_index == reports.station.index(name)).sum())
        used = len(item.report_position)
        others = "" if used == have else f" of {have}, the others contradict them"
        yield f"{name} ({used} reports{others})"


@app.command
def evaluate(
    folder: Path,
    reports: Path,
    /,
    *,
    site: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score maps on reports that they were not learnt from.

    Args:
        folder: Folder of maps.
        reports: Held-out reports as .parquet or .csv.
        site: TOML file that places the stations where the reports do not.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.channel_map import load_maps
    from echoscape.channel_map.evaluation import evaluate as score
    from echoscape.channel_map.fitting import stations_reported
    from echoscape.reports import read_reports

    maps = load_maps(folder)
    held_out = read_reports(reports, read_site(site))
    present = stations_reported(held_out)
    check_stations(maps, present, "reports", folder)
    found = {}
    with progress("scoring", quiet) as tell:
        for done, name in enumerate(present):
            tell(done, len(present), f"scoring {name}" + ("" if done else ", compiling"))
            found[name] = score(maps[name], held_out)
    if json:
        import dataclasses

        print_json({name: dataclasses.asdict(each) for name, each in found.items()})
        return
    for name, each in found.items():
        print_table(f"{folder}, station {name}", _rows(each))


app.command(signal_strength, name="signal-strength")
app.command(walls)
app.command(show)
app.command(update)


@app.command(name="leave-one-out")
def leave_one_out(
    reports: Path,
    /,
    *,
    out: Path,
    model: str = "extrapolated",
    without_arrival: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    unknown: str | None = None,
    site: Path | None = None,
    figure: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Locate every pose of a campaign by a map of all the others.

    A pose is located by what its station measured, angles and delays, never by its own arrival
    angles or powers.  What the pose does not know of itself is estimated with its place; arrival
    angles then count as far as they tell the heading.  Beside the map stand the report that matches
    best and, where the clock is known, the shortest path taken for the straight line.

    Args:
        reports: Reports as .parquet or .csv.
        out: File of fixes to write, .parquet or .csv.
        model: Kind of map, as for `echoscape map fit`.
        without_arrival: Use the other reports' arrival angles no more than the pose's own.
        unknown: What each pose does not know of itself, with commas between: user-clock,
            user-heading.
        site: TOML file that places the station where the reports do not.
        figure: Also draw the fixes, as PNG and PDF beside the file.
        seed: Seed of everything random.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    check_table(out, "fixes")
    from echoscape.localization import fix_columns
    from echoscape.localization.user.cross_validation import leave_one_out as leave
    from echoscape.localization.user.cross_validation import summarize
    from echoscape.reports import read_reports, write_fixes

    chosen = _read_model(model, ())
    campaign = read_reports(reports, read_site(site))
    with progress("leaving out", quiet) as report:
        found = leave(
            campaign, model=chosen, use_arrival=not without_arrival, unknown=_names(unknown),
            seed=seed, progress=report,
        )  # fmt: skip
    if figure:
        from echoscape.plotting.campaign import draw_left_out
        from echoscape.plotting.fixes import save_figure

        drawing = draw_left_out(found, campaign.station_position)
    write_fixes(fix_columns(found.fix, campaign.station, chosen.name), out)
    summary = summarize(found)
    if json:
        print_json(summary)
    else:
        print_table(str(out), left_out_rows(summary))
    if figure:
        for path in save_figure(drawing, out):
            if not json:
                print_line(path)


def _rows(found: "Evaluation") -> dict[str, str]:
    def pair(name: str, unit: str, factor: float = 1.0) -> str:
        rms, median = getattr(found, f"{name}_rms"), getattr(found, f"{name}_median")
        if rms is None:
            return "nothing explained"
        return f"{rms * factor:.3g} {unit} rms, {median * factor:.3g} {unit} median"

    inside = "nothing explained" if found.inside_90 is None else f"{found.inside_90:.1%}"
    return {
        "reports": str(found.reports),
        "paths": f"{found.paths} (the strongest of each report)",
        "explained": f"{found.explained:.1%}",
        "azimuth": pair("azimuth", "rad"),
        "zenith": pair("zenith", "rad"),
        "delay": pair("delay", "ns", 1e9),
        "inside 90 %": inside,
        "presence": f"log loss {found.log_loss:.3f} nat, Brier {found.brier:.3f}, a place",
    }
