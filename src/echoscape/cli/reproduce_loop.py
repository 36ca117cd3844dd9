"""`echoscape reproduce closed-loop`: what one stage has seen is where the next one begins.

Takes a study's settings.
Gives rows and a figure.
"""

from pathlib import Path
from typing import Annotated

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
from echoscape.cli.options import check_folder
from echoscape.cli.study_parts import part_names, write_lines


def closed_loop(
    *,
    out: Path,
    parts: str = "imaging,tracking,recall",
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Begin maps with an image or a tracked walk, and a walk with a map, against no start.

    Asked again with the same folder, it goes on where it was interrupted.

    Args:
        out: Folder for the rows, a table and the figure.
        parts: Which parts, separated by commas.
        quick: Measure few small points, up to a minute a part, to see that it works.
        workers: Measure with so many processes of this machine at once; one alone if not given.
        scheduler: Measure with the workers of this Dask scheduler, such as tcp://host:8786.
        seed: Seed of everything random.
        quiet: Show no progress.
        json: Print JSON for programs.
    """
    use_double_precision()
    check_folder(out)
    from echoscape.plotting.fixes import save_figure
    from echoscape.studies.closed_loop.study import draw, measure_parts, table
    from echoscape.studies.cluster import spread_over

    names = part_names(parts, "imaging")
    with spread_over(workers, scheduler) as spread, progress("measuring", quiet) as tell:
        rows = measure_parts(names, out, quick, seed, tell, spread)
    save_figure(draw(rows), out / "closed_loop.png")
    lines = table(rows)
    write_lines(lines, out)
    if json:
        print_json(lines)
        return
    summary = {}
    for line in lines:
        found = "no map"
        if line["median"] is not None:
            found = f"{line['median']:.3g} / {line['p90']:.3g} m"
            found += f", {100 * line['beyond_10']:.3g} % beyond 10 m"
        summary[f"{line['part']}, {line['method']}, {line['reports']} reports"] = found
    print_table(f"{out}: medians over worlds of median / 90 % error", summary)
