"""Run methods on tasks: one row each, whatever the method does.

Methods run in a process of their own, so one that hangs is ended when its time is over, and one
that takes the process down is a row like any other.

Takes names of tasks and methods.
Gives rows, kept as they come by `sweep`.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from echoscape import __version__
from echoscape.checks import InputError
from echoscape.process import start_apart
from echoscape.studies.benchmark.answers import score_or_status
from echoscape.studies.benchmark.baselines import NotApplicable
from echoscape.studies.benchmark.entries import Entry, Timeout, entry_of
from echoscape.studies.benchmark.problems import Problem
from echoscape.studies.benchmark.tasks import Size, fingerprint, task_named
from echoscape.studies.sweep import Progress, Row, Setting, sweep

STATUSES = (
    "ok", "not applicable", "not finite", "wrong shape", "wrong answer", "failed", "crashed",
    "timeout",
)  # fmt: skip
"""What becomes of a method: it answered; it does not apply; its answer has NaN, another shape or
another type; it raised an error; it took its process down; it did not end in time."""
_GRACE = 60.0  # beyond the limit, in which a program that is ended becomes a row [s]
_MAKING = 1800.0  # most seconds to make a world
Solve = Callable[[Setting], Row]


def run(
    tasks: Sequence[str],
    methods: Sequence[str | Callable[[Problem], Any]],
    *,
    size: Size = "full",
    limit: float = 600.0,
    file: Path | None = None,
    isolated: bool = True,
    progress: Progress | None = None,
) -> list[Row]:
    """Run every method on every task, or go on where the file ends.

    Args:
        tasks: Names of tasks.
        methods: Names of baselines, functions, or words of `entry_of`.
        size: Whether to run the tasks as they count or in small.
        limit: Most seconds of a method on a task.
        file: Rows that there are, and those that come.
        isolated: Whether methods run in a process of their own; functions that no other process
            can import run here in any case, without a limit.
        progress: Called with the rows done, all rows, and what is being done.

    Returns:
        One row for each task and method.

    Raises:
        InputError: A task or method is unknown.
    """
    if not 0 < limit < 1e6:
        raise InputError(f"the time limit must be above zero, in s; got {limit:g}")
    entries = [entry_of(method, limit) for method in methods]
    found = {entry.name: (entry, method) for entry, method in zip(entries, methods, strict=True)}
    if len(found) < len(entries):
        names = [entry.name for entry in entries]
        raise InputError(f"methods need different names; got {', '.join(names)}")
    settings: list[Setting] = [
        {"task": task.name, "method": name, "size": size, "task_hash": task.hash(size),
         "method_hash": entry.hash}
        for task in map(task_named, tasks)
        for name, (entry, _) in found.items()
    ]  # fmt: skip
    apart = isolated and all(isinstance(method, str) for method in methods)
    with _worker(limit) if apart else contextlib.nullcontext(_solve_here) as solve:

        def measure(setting: Setting) -> list[Row]:
            entry, method = found[setting["method"]]
            kind = task_named(setting["task"]).kind
            if entry.kinds is not None and kind not in entry.kinds:
                detail = f"{entry.name} solves problems of kind {', '.join(entry.kinds)}"
                done: Row = {"status": "not applicable", "detail": detail}
            else:
                done = solve({**setting, "words": method, "limit": limit})
            return [_completed(setting, entry, done)]

        return sweep(settings, measure, file, progress)


@contextlib.contextmanager
def _worker(limit: float) -> Iterator[Solve]:
    """Lend a function that solves in another process, which is replaced when it is lost."""
    context = multiprocessing.get_context("spawn")
    state: dict[str, Any] = {}

    def start() -> None:
        state["ours"], theirs = context.Pipe()
        compiled = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
        state["process"] = context.Process(target=_serve, args=(theirs, compiled), daemon=True)
        start_apart(state["process"])
        theirs.close()

    def stop() -> None:
        state["ours"].close()
        state["process"].kill()
        state["process"].join()
        state.clear()

    def solve(setting: Setting) -> Row:
        if not state:
            start()
        began = time.perf_counter()
        try:
            state["ours"].send(setting)
            for wait in (_MAKING, limit + _GRACE):  # the world first, then the answer
                if not state["ours"].poll(wait):
                    stop()
                    return {"status": "timeout", "detail": f"longer than {limit:g} s"}
                row = state["ours"].recv()
                if row is not None:
                    return row
                began = time.perf_counter()
        except (EOFError, ConnectionError):
            state["process"].join(5.0)
            code = state["process"].exitcode
            stop()
            detail = f"its process ended with code {code}"
            return {"status": "crashed", "detail": detail, "seconds": time.perf_counter() - began}
        raise AssertionError("a worker answers with a row")

    try:
        yield solve
    finally:
        if state:
            stop()


def _serve(pipe: Any, compiled: str | None) -> None:
    """Solve what comes through a pipe, until it is closed."""
    jax.config.update("jax_enable_x64", True)
    if compiled is not None:
        jax.config.update("jax_compilation_cache_dir", compiled)
    made: dict[tuple[str, str], Any] = {}
    with contextlib.suppress(EOFError):
        while True:
            setting = pipe.recv()
            name = setting["task"], setting["size"]
            if name not in made:
                made.clear()
                made[name] = task_named(name[0]).problem(name[1])
            pipe.send(None)
            row = _solve(setting, made[name])
            row["data"] = fingerprint(*made[name])
            pipe.send(row)


def _solve_here(setting: Setting) -> Row:
    made = task_named(setting["task"]).problem(setting["size"])
    return _solve(setting, made) | {"data": fingerprint(*made)}


def _solve(setting: Setting, made: tuple[Problem, Any]) -> Row:
    """Run one method on one problem and say what became of it."""
    limit, (problem, truth) = setting["limit"], made
    began, spent = time.perf_counter(), time.process_time()
    scores: Row = {}
    try:
        entry: Entry = entry_of(setting["words"], limit)
        answer = entry.solve(problem, truth)
    except NotApplicable as error:
        status, detail = "not applicable", str(error)
    except Timeout:
        status, detail = "timeout", f"longer than {limit:g} s"
    except InputError as error:
        status, detail = "failed", str(error)
    except Exception as error:  # whatever a method does is a row
        status, detail = "failed", f"{type(error).__name__}: {error}"
    else:
        status, detail, scores = score_or_status(problem, truth, answer)
    row: Row = {"status": status, "detail": " ".join(detail.split())[:300], "count": problem.count}
    row["seconds"] = round(time.perf_counter() - began, 3)
    row["cpu_seconds"] = round(time.process_time() - spent, 3)
    if status == "ok" and row["seconds"] > limit:
        row["status"], row["detail"] = "timeout", f"longer than {limit:g} s"
        return row
    return row | {"scores": scores}


def _completed(setting: Setting, entry: Entry, done: Row) -> Row:
    """Add what ranks methods, where the row was measured, and the hash of it all."""
    task = task_named(setting["task"])
    scores = done.get("scores", {})
    row: Row = {
        "kind": task.kind, "task_version": task.version, "measure": task.measure.name,
        "value": scores.get(task.measure.name), "data": None, **done, "scores": scores,
        "informed": entry.informed, "versions": versions(), "machine": machine(),
    }  # fmt: skip
    return row | {"hash": row_hash({**setting, **row})}


def row_hash(row: Row) -> str:
    """Name a row by its content, so that one that was edited is noticed."""
    text = json.dumps({k: v for k, v in row.items() if k != "hash"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """List the versions that decide a number."""
    names = ("jax", "jaxlib", "numpy", "scipy", "equinox")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"echoscape": __version__, "python": platform.python_version(), **found}


def machine() -> str:
    """Say what a row was measured on, without naming whose it is."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
