"""Study `closed-loop`: what one stage has seen is where the next one begins.

An image or a tracked walk starts a map before users report, and a map starts a walk.

Takes names of parts.
Gives rows in one file a part, a table, and a figure drawn from those rows alone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from echoscape.checks import unknown_name
from echoscape.studies.closed_loop import imaging, recall, tracking
from echoscape.studies.sweep import Progress, Row, Setting, Spread, sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Part(NamedTuple):
    """One part of the study."""

    points: Callable[[bool, int], list[Setting]]
    measure: Callable[[Setting], list[Row]]
    title: str


PARTS = {
    "imaging": Part(imaging.points, imaging.measure, "targets, map begun with an image"),
    "tracking": Part(tracking.points, tracking.measure, "targets, map begun with a walk"),
    "recall": Part(recall.points, recall.measure, "user of a walk, begun with a map"),
}
"""Parts by name, in the order in which they are measured."""


def measure_parts(
    parts: Sequence[str],
    folder: Path | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> dict[str, list[Row]]:
    """Measure parts of the study, going on where the folder's rows end.

    Args:
        parts: Names of parts.
        folder: Where the rows of each part are kept, as JSON lines.
        quick: Few small points.
        seed: Of everything random.
        progress: Told after each point.
        spread: As of `sweep`.

    Raises:
        InputError: A part is unknown.
    """
    for name in parts:
        if name not in PARTS:
            raise unknown_name("part", name, PARTS)
    return {
        name: sweep(
            PARTS[name].points(quick, seed), PARTS[name].measure,
            None if folder is None else folder / f"{name}.jsonl", progress, spread,
        )
        for name in parts
    }  # fmt: skip


def table(rows: dict[str, list[Row]]) -> list[Row]:
    """Give medians over worlds, a line for each start and number of reports."""
    lines = []
    for part, some in rows.items():
        keys = dict.fromkeys((row["method"], row["reports"]) for row in some)
        for method, count in keys:
            group = [r for r in some if (r["method"], r["reports"]) == (method, count)]
            good = [row for row in group if row["status"] == "ok"]
            line: Row = {"part": part, "method": method, "reports": count, "worlds": len(group)}
            line["without a map"] = len(group) - len(good)
            for name in ("median", "p90", "beyond_10", "located"):
                values = [row[name] for row in good if name in row]
                line[name] = float(np.median(values)) if values else None
            lines.append(line)
    return lines


def draw(rows: dict[str, list[Row]]) -> "Figure":
    """Draw the median error over the number of reports, a panel for each part."""
    import matplotlib
    from matplotlib.figure import Figure

    from echoscape.plotting.style import STYLE

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(rows), 3.8), layout="constrained")
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        lines = table(rows)
        for panel, name in zip(panels, rows):
            mine = [line for line in lines if line["part"] == name]
            for method in dict.fromkeys(line["method"] for line in mine):
                some = [line for line in mine if line["method"] == method and line["median"]]
                if some:
                    count = [line["reports"] for line in some]
                    drawn = panel.plot(count, [r["median"] for r in some], "o-", label=method)
                    colour = drawn[0].get_color()
                    panel.plot(count, [r["p90"] for r in some], "v:", color=colour)
            panel.set_xscale("symlog", linthresh=1.0)
            panel.set_yscale("log")
            ticks = sorted({line["reports"] for line in mine})
            panel.set_xticks(ticks, [f"{tick}" for tick in ticks])
            panel.set(title=PARTS[name].title, xlabel="reports of other users")
            panel.grid(True, which="both", alpha=0.2)
            panel.legend(fontsize=8)
        panels[0].set_ylabel("error: median (circles), 90 % (triangles) [m]")
    return figure
