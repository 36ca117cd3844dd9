"""`echoscape reproduce occlusion-imaging`: images of voxels that hide each other.

Takes a study's settings.
Gives rows, kept as they come, a table of medians and shares, and figures.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_folder


def occlusion_imaging(
    *,
    out: Path,
    seeds: int = 50,
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    workers: int | None = None,
    scheduler: str | None = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Image voxels that hide each other with every solver: some minutes for each seed.

    An interrupted study goes on where it ended, and one with more seeds keeps those it has.

    Args:
        out: Folder for rows.jsonl, summary.json and the figures; gone on with if it exists.
        seeds: Worlds at each of the 49 points.
        quick: Two points in a small box, one world each unless stated, under a minute.
        workers: Measure with so many processes of this machine at once; one alone if not given.
        scheduler: Measure with the workers of this Dask scheduler, such as tcp://host:8786.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError

    if seeds < 1:
        raise InputError(f"--seeds must be at least 1; got {seeds}")
    check_folder(out)
    import json as text

    from echoscape.files import atomic_path
    from echoscape.plotting.fixes import save_figure
    from echoscape.studies.cluster import spread_over
    from echoscape.studies.occlusion_imaging.figures import figures
    from echoscape.studies.occlusion_imaging.study import OcclusionImaging, run, summary

    study = OcclusionImaging(seeds=1 if quick and seeds == 50 else seeds, quick=quick)
    with spread_over(workers, scheduler) as spread, progress("imaging", quiet) as tell:
        rows = run(study, out / "rows.jsonl", tell, spread)
    table = summary(rows)
    with atomic_path(out / "summary.json") as temporary:
        temporary.write_text(text.dumps({"echoscape": 1, "rows": table}, indent=1))
    for name, figure in figures(rows).items():
        save_figure(figure, out / f"{name}.png")
    if json:
        print_json(table)
        return
    lines = {}
    for row in table:
        words = f"{row['error_db']:.1f} dB, F1 {row['f1']:.3f}"
        if row["within_1_db"] is not None:
            words += f", within 1 dB of genie {100 * row['within_1_db']:.0f} %"
        words += f", certified {100 * row['certified']:.0f} %"
        lines[f"{row['point']}, {row['method']}"] = words
    print_table(str(out), lines)
