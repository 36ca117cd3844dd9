"""`echoscape reproduce`: the figures of papers, from their studies.

Takes a study's settings.
Gives rows and figures.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from echoscape.cli.reproduce_imaging import occlusion_imaging

if TYPE_CHECKING:
    from echoscape.studies.isac_channel import Found

app = cyclopts.App(name="reproduce", help="Reproduce the figures of papers.")
app.command(occlusion_imaging, name="occlusion-imaging")


@app.command(name="isac-channel")
def isac_channel(
    *,
    out: Path,
    route: Path | None = None,
    mesh: Path | None = None,
    noise: str = "1",
    seconds: float | None = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Compare the spreads of a tracked channel with the truth: about three minutes.

    Args:
        out: Folder for rows.json and the figures.
        route: Ray-traced route as .npz; a walk through the sample city if not given.
        mesh: Walls of that route, .npz or .obj.
        noise: Errors as multiples of 0.3 m, 0.5 and 1 degree, such as 0.3,1,3.
        seconds: Length of the walk; all of it if not given [s].
        seed: Seed of everything random; same seed, same result.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import Refusal

    try:
        levels = tuple(float(part) for part in noise.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(0 < level < 100 for level in levels):
        raise Refusal(f"--noise needs multiples above zero such as 0.3,1,3; got {noise!r}")
    if seconds is not None and not seconds >= 25:
        raise Refusal(f"--seconds must be at least 25, in s; got {seconds:g}")
    from echoscape.reports import atomic_folder
    from echoscape.studies.draw_fixes import save_figure
    from echoscape.studies.draw_isac_channel import draw_distances, draw_distributions
    from echoscape.studies.draw_tracks import draw_tracks
    from echoscape.studies.isac_channel import IsacChannel, run, seen_again

    settings = IsacChannel(route, mesh, noise=levels, seconds=seconds, seed=seed)
    with progress("following", quiet) as tell:
        found = run(settings, tell)
    figures = {
        "tracks": draw_tracks(found.tracks, seen_again(settings, found.route)),
        "distributions": draw_distributions(found),
        "distances": draw_distances(found),
    }
    import json as text

    with atomic_folder(out, "rows.json") as folder:
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
        (folder / "rows.json").write_text(text.dumps(found.rows, indent=1))
    told = _told(found)
    if json:
        print_json(told)
    else:
        print_table(str(out), {name: str(value) for name, value in told.items()})


def _told(found: "Found") -> dict[str, Any]:
    """Give the pooled distances, a line for each method."""
    told: dict[str, Any] = {"user error [m]": [round(error, 3) for error in found.user_error]}
    for row in found.rows:
        if row["window"] < 0:
            line = told.setdefault(f"KS, noise {row['noise']:g}, {row['method']}", {})
            line[row["spread"]] = round(row["ks"], 3)
    return told
