"""`echoscape bench`: frozen tasks that any method can be measured on.

Takes names of tasks and methods, or files of rows.
Gives rows, tables, and the page of the leaderboard.
"""

from pathlib import Path

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    print_json,
    print_line,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_place

app = cyclopts.App(name="bench", help="Measure any method on frozen tasks, beside baselines.")


@app.command(name="list")
def show(task: str | None = None, /, *, write: Path | None = None, json: Json = False) -> None:
    """List tasks and baselines, or write the files of one task.

    Args:
        task: Name of a task; all if not given.
        write: Folder for the files that a program is given of this task, to try it on.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError
    from echoscape.studies.benchmark.baselines import BASELINES, INFORMED
    from echoscape.studies.benchmark.problems import KINDS, write_problem
    from echoscape.studies.benchmark.tasks import TASKS, task_named

    chosen = [task_named(task)] if task else list(TASKS.values())
    if write is not None:
        if task is None:
            raise InputError("--write needs the name of one task before it")
        from echoscape.files import atomic_folder

        with atomic_folder(write, "problem.json") as folder:
            names = write_problem(chosen[0].problem()[0], folder)
        print_line(f"{write}: {', '.join(names)}")
        return
    methods = {
        name: ", ".join(kinds) + (" (given part of the truth)" if name in INFORMED else "")
        for name, kinds in BASELINES.items()
    }
    if json:
        rows = [
            {"task": t.name, "kind": t.kind, "summary": t.summary, "version": t.version,
             "measure": t.measure._asdict(), "full": t.full, "small": t.small, "hash": t.hash(),
             "answer": KINDS[t.kind].answer}
            for t in chosen
        ]  # fmt: skip
        print_json({"tasks": rows, "methods": BASELINES and methods})
        return
    print_table("tasks", {t.name: f"{t.summary}; {t.measure.name}" for t in chosen})
    if task:
        print_table("answer", {chosen[0].kind: KINDS[chosen[0].kind].answer})
    else:
        print_table("methods", methods)


@app.command
def run(
    *,
    out: Path,
    tasks: str | None = None,
    methods: str | None = None,
    entry: tuple[str, ...] = (),
    small: bool = False,
    limit: float = 600.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run methods on tasks, or go on with what the file of rows holds.

    A method that fails, ends its process, takes too long or answers with something else is a row
    with a status.

    Args:
        out: File of rows, .jsonl; a row that it holds already is not measured again.
        tasks: Names of tasks such as square,city-sample; all if not given.
        methods: Names of baselines such as nearest,oracle; the main ones if neither they nor an
            entry are given.
        entry: A method of your own: mine.py:locate, package.module:locate, or a program as
            "name=./program --its-options", which is started in a folder with the problem's files
            and leaves its answer there; may be given several times.
        small: Run the tasks in small, to see within seconds that a method works.
        limit: Most time of a method on a task [s].
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.studies.benchmark.baselines import MAIN
    from echoscape.studies.benchmark.leaderboard import cell
    from echoscape.studies.benchmark.running import run as measure
    from echoscape.studies.benchmark.tasks import TASKS

    check_place(out)
    names = [each.strip() for each in methods.split(",")] if methods else []
    chosen = [*names, *entry] or list(MAIN)
    wanted = [each.strip() for each in tasks.split(",")] if tasks else list(TASKS)
    size = "small" if small else "full"
    with progress("benchmark", quiet) as tell:
        rows = measure(wanted, chosen, size=size, limit=limit, file=out, progress=tell)
    if json:
        print_json(rows)
        return
    lines = {}
    for row in rows:
        found = cell(row, row["task"], row["method"])
        measured = f" {row['measure']}" if row["status"] == "ok" else f": {row['detail']}"
        lines[f"{row['task']}, {row['method']}"] = f"{found}{measured}"
    print_table(str(out), lines)


@app.command
def table(
    *rows: Path, page: Path | None = None, small: bool = False, json: Json = False
) -> None:  # fmt: skip
    """Print the leaderboard of one or several files of rows, or write it as a page.

    Args:
        rows: Files of rows, .jsonl; where two have a task and method, the last counts.
        page: Markdown file to write the leaderboard to.
        small: Show rows of the small size.
        json: Print JSON for programs.
    """
    use_double_precision()
    from echoscape.checks import InputError
    from echoscape.studies.benchmark import leaderboard
    from echoscape.studies.benchmark.problems import KINDS

    if not rows:
        raise InputError("name at least one file of rows; echoscape bench run --out makes one")
    found = leaderboard.read_rows(rows)
    if page is not None:
        from echoscape.files import atomic_path

        with atomic_path(page) as temporary:
            Path(temporary).write_text(leaderboard.page(found), encoding="utf-8")
        print_line(str(page))
        return
    size = "small" if small else "full"
    tables = {kind: leaderboard.table(found, kind, size) for kind in KINDS}
    if json:
        print_json(tables)
        return
    for kind, (head, *body) in tables.items():
        width = [max(len(line[k]) for line in (head, *body)) for k in range(len(head))]
        print_line(kind)
        for line in (head, *body):
            print_line("  ".join(each.ljust(w) for each, w in zip(line, width)).rstrip())


@app.command
def submit(rows: Path, /, *, into: Path) -> None:
    """Add rows to a leaderboard's file, after a look at their hashes, tasks and data.

    The leaderboard of the documentation is docs/leaderboard.jsonl of the repository: add your rows
    there and propose the change.

    Args:
        rows: File of rows, .jsonl, of the full size.
        into: File of the leaderboard; created if there is none.
    """
    use_double_precision()
    from echoscape.studies.benchmark import leaderboard

    count = leaderboard.submit(leaderboard.read_rows([rows]), into)
    print_line(f"{into}: {count} rows")
