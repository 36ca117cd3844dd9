"""Study `nlos-sensing`: locating what the station cannot see, the paper's figures and beyond.

Each part is a module with its own points, measurement and drawing; all share one way of being
interrupted and gone on with.

Takes the names of parts.
Gives rows in one file a part, and figures drawn from those rows alone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from echoscape.checks import unknown_name
from echoscape.studies.nlos_ckm import city as nlos_city
from echoscape.studies.nlos_ckm import communication as nlos_communication
from echoscape.studies.nlos_ckm import from_samples as nlos_samples
from echoscape.studies.nlos_ckm import learning_curves as nlos_learning
from echoscape.studies.nlos_ckm import moving_target as nlos_moving
from echoscape.studies.nlos_ckm import multistatic as nlos_stations
from echoscape.studies.nlos_ckm import square as nlos_square
from echoscape.studies.nlos_ckm.figures import draw_city, draw_learning, draw_square
from echoscape.studies.sweep import Progress, Row, Setting, Spread, sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Options(NamedTuple):
    """What a user may ask of all parts; each takes what concerns it."""

    quick: bool = False
    """Few small points, to see that it works; the numbers mean little."""
    seed: int = 0
    """Seed of everything random."""
    layouts: int | None = None
    """How many layouts of scatterers; as many as the full study has if not given."""
    city: Path | None = None
    """Ray-traced table of a city's users (.npz); the package's sample if not given."""


class Part(NamedTuple):
    """One part of the study."""

    points: Callable[[Options], list[Setting]]
    measure: Callable[[Setting], list[Row]]
    draw: "Callable[[list[Row]], dict[str, Figure]]"


PARTS = {
    "square": Part(
        lambda o: nlos_square.points(o.quick, o.seed, o.layouts), nlos_square.measure, draw_square
    ),
    "learning": Part(
        lambda o: nlos_learning.points(o.quick, o.seed, o.layouts), nlos_learning.measure,
        draw_learning,
    ),
    "city": Part(
        lambda o: nlos_city.points(o.quick, o.seed, o.city), nlos_city.measure, draw_city
    ),
    "samples": Part(
        lambda o: nlos_samples.points(o.quick, o.seed), nlos_samples.measure, nlos_samples.draw
    ),
    "stations": Part(
        lambda o: nlos_stations.points(o.quick, o.seed), nlos_stations.measure, nlos_stations.draw
    ),
    "moving": Part(
        lambda o: nlos_moving.points(o.quick, o.seed), nlos_moving.measure, nlos_moving.draw
    ),
    "communication": Part(
        lambda o: nlos_communication.points(o.quick, o.seed), nlos_communication.measure,
        nlos_communication.draw,
    ),
}  # fmt: skip
"""Parts by name, in the order in which they are measured."""


def measure_parts(
    parts: Sequence[str],
    folder: Path | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> dict[str, list[Row]]:
    """Measure parts of the study, going on where the folder's rows end.

    Args:
        parts: Names of parts.
        folder: Where the rows of each part are kept, as JSON lines.
        options: What to ask of all parts.
        progress: Told after each point.
        spread: As of `sweep`.

    Raises:
        InputError: A part is unknown.
    """
    for name in parts:
        if name not in PARTS:
            raise unknown_name("part", name, PARTS)
    rows = {}
    for name in parts:
        chosen = PARTS[name].points(options or Options())
        file = None if folder is None else folder / f"{name}.jsonl"
        rows[name] = sweep(chosen, PARTS[name].measure, file, progress, spread)
    return rows


def draw_parts(rows: dict[str, list[Row]]) -> "dict[str, Figure]":
    """Draw every figure of the parts measured."""
    import matplotlib

    from echoscape.plotting.style import STYLE

    with matplotlib.rc_context(STYLE):
        return {
            figure: drawn
            for name, some in rows.items()
            for figure, drawn in PARTS[name].draw(some).items()
        }


def table(rows: dict[str, list[Row]]) -> list[Row]:
    """Give medians over layouts, a line for each level and method.

    Parts that locate give their errors; the others the median of whatever they measured.
    """
    lines = []
    for part, some in rows.items():
        groups: dict[tuple, list[Row]] = {}
        for row in some:
            locates = all(name in row for name in ("method", *_ERRORS))
            if not locates and part not in _PLAIN:
                continue
            named = ("method",) if locates else _NAMES
            key = tuple((name, row[name]) for name in (*_LEVELS, *named) if name in row)
            groups.setdefault((locates, key), []).append(row)
        for (locates, key), group in groups.items():
            counted = "layouts" if locates else "rows"
            line: Row = {"part": part, **dict(key), counted: len(group)}
            names = (
                _ERRORS if locates else [n for n in group[0] if n not in {*line, *_NOT_MEASURED}]
            )
            for name in names:
                values = [
                    float(v) for v in (row.get(name) for row in group) if isinstance(v, int | float)
                ]
                if values:
                    line[name] = _median(values)
            if locates:
                line["worst_rmse"] = max(row["rmse"] for row in group)
            if len(line) > len(key) + 2:
                lines.append(line)
    return lines


_ERRORS = ("rmse", "median", "p90", "beyond_10")
_LEVELS = (
    "kind", "angle", "delay", "paths", "reports", "position_std", "wrong", "quality", "stations",
    "snr_db",
)  # fmt: skip
_PLAIN = ("samples", "moving", "communication")  # parts that measure more than errors of places
_NAMES = ("case", "scene", "map", "method")
_NOT_MEASURED = (
    "layout", "seed", "targets", "users", "trials", "time", "track", "status", "epochs", "routes",
    "route", "elements", "subcarriers", "count",
)  # fmt: skip


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half])
