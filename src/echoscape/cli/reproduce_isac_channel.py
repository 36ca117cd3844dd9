"""`echoscape reproduce isac-channel`: the figures of the paper on tracking and the channel model.

Takes a study's settings.
Gives rows and figures of the parts that were asked for.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_folder, read_multiples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from echoscape.progress import Progress
    from echoscape.studies.isac_channel.study import IsacChannel

    Measured = tuple[list[dict[str, Any]], dict[str, Figure | None], dict[str, Any]]

PARTS = ("spreads", "start", "sections")


def isac_channel(
    *,
    out: Path,
    parts: str = "spreads,start,sections",
    route: Path | None = None,
    mesh: Path | None = None,
    echoes: Path | None = None,
    noise: str = "1",
    missed: str = "0.1",
    rate: str = "10",
    withheld: str = "0",
    windows: str | None = None,
    seconds: float | None = None,
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Compare the spreads of a tracked channel with the truth: about three minutes a case.

    Of several noises, shares, rates and withheld times the first of each belong together, and the
    others change one of the four alone.

    Args:
        out: Folder for rows and figures; what was not measured this time is not in it.
        parts: Which parts, separated by commas: spreads along the walk (rows.json, figures 3 to 6
            of the paper), start, the first bounces that the station's own echoes give (start.json),
            and sections, cross-sections of TR 38.901 out of the sensing channel (sections.json).
        route: Ray-traced route as .npz; a walk through the sample city if not given.
        mesh: Walls of that route, .npz or .obj.
        echoes: What that route's station hears of its own pulse, exact, as .npz (point, range_m);
            from the mesh if not given.
        noise: Errors as multiples of 0.3 m, 0.5 and 1 degree, such as 0.3,1,3.
        missed: Shares of paths that are missed at each instant, such as 0.1,0.3,0.5.
        rate: Observations per second, such as 10,2,1 [Hz].
        withheld: How long nothing is observed at the end of each window of 20 s, such as 0,5,10;
            above zero, spreads are compared there alone [s].
        windows: When windows of 20 s begin of which a figure is drawn, such as 60,264; if not
            given, the paper's two or, in the sample city, 60,180, as far as the walk goes [s].
        seconds: Length of the walk; all of it if not given [s].
        quick: Half a minute of the walk, windows of 10 s, few particles, starts and types, to see
            that it works: a minute or two.
        seed: Seed of everything random; same seed, same result.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    check_folder(out)
    from echoscape.checks import InputError, unknown_name
    from echoscape.studies.isac_channel.study import IsacChannel

    names = [name.strip() for name in parts.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise unknown_name("part", name, PARTS)
    if not names:
        raise InputError("--parts needs the name of a part, such as spreads; got none")
    levels, rates = read_multiples(noise, "--noise"), read_multiples(rate, "--rate")
    shares = read_multiples(missed, "--missed", least=0.0)
    if not all(share < 1 for share in shares):
        raise InputError(f"--missed needs shares below 1, such as 0.1,0.5; got {missed!r}")
    if seconds is not None and not seconds >= 25:
        raise InputError(f"--seconds must be at least 25, in s; got {seconds:g}")
    if route is None and (mesh is not None or echoes is not None):
        option = "--echoes" if mesh is None else "--mesh"
        raise InputError(f"{option} goes with --route, whose surroundings it holds; give both")
    settings = IsacChannel(
        route, mesh, echoes, window=10.0 if quick else 20.0, noise=levels, missed=shares,
        rate=rates, withheld=read_multiples(withheld, "--withheld", least=0.0),
        named=None if windows is None else read_multiples(windows, "--windows", 0.0, 1e6),
        particles=100 if quick else 500,
        seconds=30.0 if quick and seconds is None else seconds, seed=seed,
    )  # fmt: skip
    import json as text

    from echoscape.files import atomic_folder
    from echoscape.plotting.fixes import save_figure

    measure = {"spreads": _spreads, "start": _start, "sections": _sections}
    files = {"spreads": "rows", "start": "start", "sections": "sections"}
    with progress("following", quiet) as tell:
        measured = {name: measure[name](settings, quick, tell) for name in names}
    summary: dict[str, Any] = {}
    with atomic_folder(out, f"{files[names[0]]}.json") as folder:
        for name, (rows, figures, said) in measured.items():
            (folder / f"{files[name]}.json").write_text(text.dumps(rows, indent=1))
            for drawn, figure in figures.items():
                if figure is not None:
                    save_figure(figure, folder / f"{drawn}.png")
            summary |= said
    if json:
        print_json(summary)
    else:
        print_table(str(out), {name: str(value) for name, value in summary.items()})


def _spreads(settings: "IsacChannel", quick: bool, tell: "Progress") -> "Measured":
    """Follow the walk and compare spreads, with the pooled distances in words."""
    from echoscape.studies.isac_channel.study import POOLED, run, seen_again, words_of

    found = run(settings, tell)
    from echoscape.plotting.tracks import draw_tracks
    from echoscape.studies.isac_channel import figures

    said: dict[str, Any] = {"user error [m]": [round(error, 3) for error in found.user_error]}
    for row in found.rows:
        if row["window"] == POOLED:
            line = said.setdefault(f"KS, {words_of(row)}, {row['method']}", {})
            line[row["spread"]] = round(row["ks"], 3)
    end = found.route.time[-1]
    beyond = [f"{t:g} s" for t in settings.windows if t + settings.window / 2 > end]
    if beyond:
        said["windows beyond the walk, not drawn"] = ", ".join(beyond)
    return found.rows, {
        "tracks": draw_tracks(found.tracks, seen_again(settings, found.route)),
        "distributions": figures.draw_distributions(found),
        "distances": figures.draw_distances(found),
        "windows": figures.draw_windows(found, settings.windows, settings.window),
        "cases": figures.draw_cases(found),
    }, said  # fmt: skip


def _start(settings: "IsacChannel", quick: bool, tell: "Progress") -> "Measured":
    """Place first bounces from the station's echoes, with their shares in words."""
    from echoscape.studies.isac_channel.bounce_start import start_rows
    from echoscape.studies.isac_channel.figures import draw_starts
    from echoscape.studies.isac_channel.study import starts_along

    tell(0, 1, "first bounces from the station's echoes")
    starts = starts_along(settings, 6 if quick else 24)
    rows = start_rows(starts, settings.seed)
    said = {}
    for row in rows:
        if not row["bounces"]:
            line = {"within an echo's 95 %": round(row["within_echo"], 3)}
            if "within_claimed" in row:
                line["within the claimed 95 %"] = round(row["within_claimed"], 3)
                line["class right"] = round(row["class_right"], 3)
            line["median [m]"] = round(row["median"], 2)
            said[f"first bounces by {row['start']}, {row['paths']} paths"] = line
    return rows, {"start": draw_starts(starts)}, said


def _sections(settings: "IsacChannel", quick: bool, tell: "Progress") -> "Measured":
    """Measure the cross-sections of targets, with the largest error of a mean in words."""
    from echoscape.studies.isac_channel.figures import draw_sections
    from echoscape.studies.isac_channel.section_calibration import calibrate_sections

    tell(0, 1, "cross-sections of TR 38.901")
    some = {"names": ("human", "vehicle"), "heights": 24, "headings": 60} if quick else {}
    rows = calibrate_sections(seed=settings.seed, **some)
    wrong = max(abs(row["mean"] - row["promised_mean"]) for row in rows)
    said = {f"cross-sections of {len(rows)} types, largest error of a mean [dB]": round(wrong, 2)}
    return rows, {"sections": draw_sections(rows)}, said
