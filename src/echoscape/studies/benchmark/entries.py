"""What competes: a baseline by name, a Python function, or a program.

A program is started in a folder that holds the problem (`write_problem`) and leaves its answer
there; it may be written in any language.

Takes words such as ``nearest``, ``mine.py:locate``, ``package.module:locate`` or
``mine=./locate --fast``.
Gives an `Entry`: a name, a hash of what runs, and a function from problem to answer.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from echoscape.checks import InputError, unknown_name
from echoscape.studies.benchmark import baselines
from echoscape.studies.benchmark.answers import Reference
from echoscape.studies.benchmark.problems import Problem, read_answer, write_problem


class Timeout(Exception):
    """A program did not end within its time."""


class Entry(NamedTuple):
    """One competitor."""

    name: str
    """Its name in rows."""
    hash: str
    """Names what runs: source of a function, or words and files of a program."""
    solve: Callable[[Problem, Reference], Any]
    """Gives an answer; only informed baselines look at the reference answer."""
    informed: bool = False
    """Whether it looks."""
    kinds: tuple[str, ...] | None = None
    """Kinds of problems that it solves; any, as far as is known, if not given."""


def entry_of(method: str | Callable[[Problem], Any], limit: float = 600.0) -> Entry:
    """Find what a method is.

    Args:
        method: A function, or words as above.
        limit: Most seconds of a program.

    Raises:
        InputError: There is no such method, file, function or program.
    """
    if callable(method):
        name = getattr(method, "__name__", type(method).__name__)
        return Entry(name, _source_hash(method), lambda problem, _: method(problem))
    if method in baselines.BASELINES:
        return _baseline(method)
    name, equals, command = method.partition("=")
    if equals and name and command.strip():
        return _program(name, shlex.split(command), limit)
    place, colon, function = method.rpartition(":")
    if not colon:
        raise unknown_name("method", method, baselines.BASELINES)
    found = getattr(_module(place), function, None)
    if not callable(found):
        raise InputError(f"{place} has no function {function!r}")
    return Entry(function, _source_hash(found), lambda problem, _: found(problem))


def _baseline(name: str) -> Entry:
    kinds, informed = baselines.BASELINES[name], name in baselines.INFORMED

    def solve(problem: Problem, truth: Reference) -> Any:
        function = kinds[problem.kind]
        return function(problem, truth) if informed else function(problem)

    return Entry(name, _baseline_hash(kinds), solve, informed, tuple(kinds))


def _baseline_hash(kinds: dict[str, Callable]) -> str:
    """Name a baseline by its own functions and settings; what they call, the version names."""
    digest = hashlib.sha256()
    for kind, function in kinds.items():
        settings = getattr(function, "keywords", {})
        source = inspect.getsource(getattr(function, "func", function))
        digest.update(f"{kind} {settings!r} {source}".encode())
    return digest.hexdigest()[:16]


def _program(name: str, words: list[str], limit: float) -> Entry:
    # what runs elsewhere is named from here
    words = [str(Path(word).resolve()) if Path(word).exists() else word for word in words]
    digest = hashlib.sha256("\0".join(words).encode())
    for word in words:
        if Path(word).is_file():
            digest.update(Path(word).read_bytes())

    def solve(problem: Problem, _: Reference) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            write_problem(problem, Path(folder))
            _run(words, Path(folder), limit)
            return read_answer(problem, Path(folder))

    return Entry(name, digest.hexdigest()[:16], solve)


def _run(words: list[str], folder: Path, limit: float) -> None:
    """Run a program, and end it with all that it started when its time is over."""
    try:
        with subprocess.Popen(
            words, cwd=folder, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        ) as running:  # fmt: skip
            try:
                _, said = running.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(OSError):
                    os.killpg(running.pid, signal.SIGKILL)
                raise Timeout from None
    except OSError as error:
        raise InputError(f"{words[0]} cannot be started: {error.strerror}") from error
    if running.returncode:
        last = (said.strip().splitlines() or [""])[-1]
        raise RuntimeError(f"the program ended with code {running.returncode}: {last[:200]}")


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise InputError(f"the module {place} cannot be imported: {error}") from error
    path = Path(place).resolve()
    if not path.is_file():
        raise InputError(f"there is no file {place}")
    spec = importlib.util.spec_from_file_location(f"entry_{_file_hash(path)}", path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def _source_hash(function: Any) -> str:
    try:
        return _file_hash(Path(inspect.getfile(inspect.unwrap(function))))
    except (TypeError, OSError):  # typed in, not in a file
        return hashlib.sha256(repr(function).encode()).hexdigest()[:16]


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
