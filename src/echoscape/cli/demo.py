"""`echoscape demo`: everything at once, in a real city, without a file.

Takes a folder to write to.
Gives a table, and the folder with rows, figures, maps and a page.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from echoscape.cli.console import Quiet, Seed, print_line, progress, use_double_precision

_SHORT = {
    "bound of the anchors' map": "bound",
    "network, squared error": "network, squared",
    "shortest echo taken as direct": "shortest echo",
}

if TYPE_CHECKING:
    from echoscape.studies.city_demo.study import Demo


def demo(
    *,
    out: Path = Path("echoscape-demo"),
    seed: Seed = 0,
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    quiet: Quiet = False,
) -> None:
    """Learn maps of a real city from users' reports, locate targets nobody sees, steer beams.

    Needs no file and no network. The page report.html in the folder explains what was done.

    Args:
        out: Folder for rows, figures, maps and report.html.
        seed: Seed of everything random; same seed, same result.
        quick: Show the same with a fifth of the data: a minute or two, and rougher figures.
        quiet: Show no progress.
    """
    start = time.perf_counter()
    use_double_precision()
    from echoscape.files import atomic_folder
    from echoscape.sample import load_sample
    from echoscape.studies.city_demo.report import REPORT, write_demo
    from echoscape.studies.city_demo.study import DemoSettings, run_demo

    settings = DemoSettings.quick(seed) if quick else DemoSettings(seed=seed)
    with atomic_folder(out, REPORT) as folder:  # refuses a foreign folder before the work
        sample = load_sample()
        found = run_demo(settings, sample, lambda title: progress(title, quiet))
        writing = "rows, maps, figures, report"
        with progress(writing, quiet) as tell:
            tell(0, 1, writing)
            drawing = time.perf_counter()
            write_demo(found, settings, sample.scene, folder)
            drawing = time.perf_counter() - drawing
            tell(1, 1, writing)
    _print(found, drawing, time.perf_counter() - start)
    print_line(f"\nOpen {out / REPORT} to see and read what was found.  Then try")
    maps = out / "maps" / "anchors"
    for words, what in (
        (f"map show {maps} --figure map.png", "what the map knows, and where it knows nothing"),
        (f"view {maps}", "the same in three dimensions, in a browser"),
        ("examples try", "small files; every command's --help ends with a line to run on them"),
    ):
        print_line(f"  echoscape {words}\n      {what}")


def _print(found: "Demo", drawing: float, total: float) -> None:
    """Print scores, beams and seconds."""
    from rich.console import Console
    from rich.table import Table

    from echoscape.studies.city_demo.report import (
        COLUMNS,
        beam_lines,
        hearing_sentence,
        score_lines,
    )
    from echoscape.studies.city_demo.study import MODES

    console = Console()

    def show(title: str, heading: list[str], lines: list[list[str]]) -> None:
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0)
        )
        for i, name in enumerate(heading):
            table.add_column(name, justify="right" if i else "left", no_wrap=not i)
        for line in lines:
            table.add_row(*line)
        console.print(table)
        console.print()

    # Units go into the title, so that the table fits a terminal of 80 columns.
    heading = ["", *(name.replace(" [m]", "").replace(" [s]", "") for name in COLUMNS)]
    for mode in MODES:
        lines = [
            [_SHORT.get(line[0], line[0]), *(cell.removesuffix(" %") for cell in line[1:])]
            for line in score_lines(found.scores, mode)
        ]
        show(f"Targets, {mode}: errors in m, shares in %, time in s", heading, lines)
    console.print(hearing_sentence(found.targets) + "\n", highlight=False)
    show("Beams", *beam_lines(found.beams))
    steps = [*zip(found.steps["step"].tolist(), found.steps["seconds"].tolist())]
    steps += [("rows, maps, figures, report", drawing), ("in all", total)]
    show("Seconds", ["step", ""], [[name, f"{seconds:.1f}"] for name, seconds in steps])
