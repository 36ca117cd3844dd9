"""The leaderboard: a page of stored rows and nothing else, and how rows come to it.

Takes files of rows, as `run` keeps them.
Gives tables, a page for the documentation, and a file that other rows were added to.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from echoscape.checks import InputError
from echoscape.files import atomic_path
from echoscape.studies.benchmark.baselines import BASELINES, MAIN
from echoscape.studies.benchmark.problems import KINDS
from echoscape.studies.benchmark.running import STATUSES, row_hash
from echoscape.studies.benchmark.tasks import TASKS, Size, frozen, same_data
from echoscape.studies.sweep import Row, read_sweep, setting_name

NOT_RUN = "not run"
_SETTING = ("task", "method", "size", "task_hash", "method_hash")
_NEEDED = (*_SETTING, "kind", "status", "value", "scores", "data", "versions", "machine", "hash")
_TITLES = {
    "locate": "Locating",
    "image": "Imaging",
    "track": "Tracking",
    "estimate": "Estimation from samples",
    "spread": "Channel statistics",
}


def read_rows(files: Iterable[Path]) -> list[Row]:
    """Read rows of one or several files, a later row of a task and method before an earlier one.

    Args:
        files: Files that `run` kept.

    Raises:
        InputError: A file is missing, or holds something else.
    """
    found: dict[tuple, Row] = {}
    for file in files:
        if not file.is_file():
            raise InputError(f"there is no file {file}; echoscape bench run --out {file} makes one")
        for rows in read_sweep(file).values():
            for row in rows:
                if not isinstance(row, dict) or not all(name in row for name in _SETTING):
                    raise InputError(f"{file} needs rows of the benchmark; it has others")
                found[row["task"], row["method"], row["size"]] = row
    return list(found.values())


def current(rows: Iterable[Row], size: Size = "full") -> list[Row]:
    """Keep rows of tasks as they are now; those of former versions do not count.

    Args:
        rows: Any rows.
        size: Of which size.
    """
    return [
        row
        for row in rows
        if row["task"] in TASKS
        and row["size"] == size
        and row["task_hash"] == TASKS[row["task"]].hash(size)
    ]


def methods_of(rows: Iterable[Row], kind: str) -> list[str]:
    """List the methods of a kind of task: the main ones first, then others that did anything.

    Args:
        rows: Any rows.
        kind: Kind of problem.
    """
    did = {r["method"] for r in rows if r["kind"] == kind and r["status"] != "not applicable"}
    return [*MAIN, *sorted(did - set(MAIN))]


def cell(row: Row | None, task: str, method: str) -> str:
    """Write one cell: the number that ranks, or the status.

    Args:
        row: The row, if there is one.
        task: Name of the task.
        method: Name of the method.
    """
    if row is None:
        applies = method not in BASELINES or TASKS[task].kind in BASELINES[method]
        return NOT_RUN if applies else "not applicable"
    if row["status"] != "ok":
        return row["status"]
    return "none" if row["value"] is None else f"{row['value']:.3g}"


def table(rows: Sequence[Row], kind: str, size: Size = "full") -> list[list[str]]:
    """Lay out the tasks of a kind against methods, with a heading.

    Args:
        rows: Any rows.
        kind: Kind of problem.
        size: Of which size.
    """
    rows = current(rows, size)
    methods = methods_of(rows, kind)
    by = {(row["task"], row["method"]): row for row in rows}
    lines = [["task", *methods]]
    for task in TASKS.values():
        if task.kind == kind:
            line = [cell(by.get((task.name, name)), task.name, name) for name in methods]
            lines.append([task.name, *line])
    return lines


def page(rows: Sequence[Row]) -> str:
    """Write the page of the documentation."""
    rows = current(rows)
    lines = [
        "# Leaderboard", "",
        "Written by `echoscape bench table --page` from stored rows, `docs/leaderboard.jsonl`.",
        "Tasks, sizes, seeds and metrics are frozen; `echoscape bench list` names them, and",
        "[how to enter](benchmark.md) says how a method gets a column.  *oracle* and *bound* are",
        "given part of the truth and are no competitors.", "",
    ]  # fmt: skip
    for kind in KINDS:
        tasks = [task for task in TASKS.values() if task.kind == kind]
        head, *body = table(rows, kind)
        lines += [f"## {_TITLES[kind]}", ""]
        for measure in dict.fromkeys(task.measure for task in tasks):
            best = "higher" if measure.higher else "lower"
            lines.append(f"The number is `{measure.name}` [{measure.unit}]; {best} is better.")
        lines += ["", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
        lines += [_line(line) for line in body] + [""]
        mine = [row for row in rows if row["kind"] == kind and row["status"] == "ok"]
        names = list(dict.fromkeys(name for row in mine for name in row["scores"]))[:6]
        if mine:
            lines += ["More of each row:", ""]
            lines += [_line(["task", "method", *names, "CPU [s]", "of"])]
            lines += [_line(["---", "---", *["---:"] * (len(names) + 2)])]
            for row in mine:
                found = [row["scores"].get(name) for name in names]
                shown = ["" if value is None else f"{value:.3g}" for value in found]
                spent, count = f"{row['cpu_seconds']:.0f}", str(row["count"])
                lines.append(_line([row["task"], row["method"], *shown, spent, count]))
            lines.append("")
    lines += ["## Tasks", "", _line(["task", "what", "size"]), _line(["---"] * 3)]
    for task in TASKS.values():
        sizes = ", ".join(f"{name} {value}" for name, value in task.full.items())
        lines.append(_line([task.name, task.summary, sizes or "as the study's"]))
    where = sorted({row["machine"] for row in rows})
    names = sorted({f"{n} {v}" for row in rows for n, v in row["versions"].items()})
    lines += ["", f"Measured on {'; '.join(where)}.  Versions: {', '.join(names)}."] if rows else []
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def problems_of(row: Row) -> str | None:
    """Say what keeps a row from the leaderboard, if anything does."""
    missing = [name for name in _NEEDED if name not in row]
    if missing:
        return f"it lacks {missing[0]}"
    if row["hash"] != row_hash(row):
        return "its content is not what its hash says; it was changed after it was measured"
    if row["task"] not in TASKS or row["task_hash"] != TASKS[row["task"]].hash(row["size"]):
        return "its task is not as it is now; run it with this version"
    if row["size"] != "full":
        return "it is of the small size; run the task in full"
    if row["status"] not in STATUSES:
        return f"its status is none of {', '.join(STATUSES)}"
    if row["status"] == "ok" and not same_data(row["data"], frozen()[row["task"]]["full"]):
        return "its data are not those of the task; the world was made otherwise on that machine"
    return None


def submit(rows: Sequence[Row], into: Path) -> int:
    """Add rows to a leaderboard's file; those of the same task and method are replaced.

    Args:
        rows: Rows of `run`.
        into: The file, created if there is none.

    Returns:
        How many rows it holds then.

    Raises:
        InputError: There is no row, or one does not belong there.
    """
    if not rows:
        raise InputError("there are no rows to submit")
    for row in rows:
        problem = problems_of(row)
        if problem:
            raise InputError(f"the row of {row.get('method')} on {row.get('task')}: {problem}")
    kept = {(row["task"], row["method"]): row for row in read_rows([into] if into.exists() else [])}
    taken = [
        row
        for row in rows
        if row["method"] in BASELINES
        and kept.get((row["task"], row["method"]), row)["informed"] != row["informed"]
    ]
    if taken:
        raise InputError(f"the name {taken[0]['method']} is a baseline's; give the method another")
    kept |= {(row["task"], row["method"]): row for row in rows}
    with atomic_path(into) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        for row in sorted(kept.values(), key=lambda r: (list(TASKS).index(r["task"]), r["method"])):
            setting = {name: row[name] for name in _SETTING}
            entry = {"name": setting_name(setting), "setting": setting, "rows": [row]}
            stream.write(json.dumps(entry) + "\n")
    return len(kept)
