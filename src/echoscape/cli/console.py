"""What commands share: options with one meaning everywhere, tables, progress, problems.

Takes values to show.
Gives text: results on standard output, everything else on standard error.
"""

import contextlib
import dataclasses
import gc
import importlib.metadata
import json
import math
import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import cyclopts

from echoscape.progress import Progress, silent
from echoscape.text import printable

Quiet = Annotated[
    bool,
    cyclopts.Parameter(name=["--quiet", "-q"], negative="", help="Show no progress."),
]
Json = Annotated[
    bool,
    cyclopts.Parameter(name="--json", negative="", help="Print JSON for programs."),
]
Seed = Annotated[
    int,
    cyclopts.Parameter(
        name="--seed",
        help="Seed of everything random; same seed, same result.",
        validator=cyclopts.validators.Number(gte=0, lt=2**62),
    ),
]


def use_double_precision() -> None:
    """Switch JAX to 64 bits; every command that computes calls this before anything else.

    What JAX compiles is kept for the next command, see `compiled_folder`.
    """
    compile_sooner()
    import jax

    jax.config.update("jax_enable_x64", True)
    folder = compiled_folder()
    kept = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if folder is not None and kept is None:
        with contextlib.suppress(OSError):  # a home that cannot be written to only costs time
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def compile_sooner() -> None:
    """Switch XLA's fusion emitters off, unless XLA_FLAGS says otherwise; seldom look for garbage.

    They are a third of the time to compile a localization, which then runs no slower without them.
    Another jaxlib than the one tried may not know the flag and would not start.  Tracing makes many
    objects and few cycles: collecting by Python's own measure is a tenth of the time of a command.
    """
    gc.set_threshold(100_000, 20, 20)
    flags = os.environ.get("XLA_FLAGS", "")
    known = importlib.metadata.version("jaxlib").startswith("0.10.")
    if known and "xla_cpu_use_fusion_emitters" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false".strip()


def compiled_folder() -> pathlib.Path | None:
    """Name the folder of compiled programs: ECHOSCAPE_CACHE, or one in the user's cache."""
    chosen = os.environ.get("ECHOSCAPE_CACHE")
    if chosen == "off":
        return None
    if chosen:
        return pathlib.Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "echoscape/compiled"


def print_json(content: Any) -> None:
    """Print a dataclass or plain content as JSON; numbers that JSON lacks become null."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    print(json.dumps(_plain(content), indent=2, allow_nan=False))


def print_table(title: str, rows: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    rows = {printable(name): printable(value) for name, value in rows.items()}
    room = min(max((len(value) for value in rows.values()), default=0), console.width // 2)
    short = max((len(name) for name in rows), default=0) + 1 + room <= console.width
    title_text = Text(printable(title))
    table = Table(
        title=title_text, title_justify="left", show_header=False, box=None, pad_edge=False
    )
    table.add_column(style="bold", no_wrap=short)
    table.add_column(overflow="fold", min_width=room)
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    console.print(table)


def print_line(text: object) -> None:
    """Print a line of results; characters that a terminal would obey are spelt out."""
    print(printable(text, lines=True))


def print_warning(sentence: str) -> None:
    """Print a yellow sentence on standard error."""
    _print_error("warning", "yellow", sentence)


def print_problem(sentence: str) -> None:
    """Print a red sentence on standard error."""
    _print_error("error", "red", sentence)


@contextlib.contextmanager
def progress(stage: str, quiet: bool = False) -> Iterator[Progress]:
    """Show how far work is on standard error: a bar, or plain lines where that is no terminal.

    Args:
        stage: What is done first.
        quiet: Show nothing.

    Yields:
        A `Progress`, for any function of the library; it may be called as often as it likes.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    console = Console(stderr=True)
    if quiet:
        yield silent
    elif not console.is_terminal:
        with PlainLines(stage) as lines:
            yield lines
    else:

        class Stage(TextColumn):
            def render(self, task: Any) -> Text:
                return Text(printable(task.description))  # no markup, no escapes

        with Bar(
            Stage(""), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), console=console,
        ) as bar:  # fmt: skip
            task = bar.add_task(stage, total=None)

            def report(done: float | int, total: float | int, stage: str | None = None) -> None:
                if stage and stage != bar.tasks[0].description:
                    bar.reset(task, total=total, completed=int(done), description=stage)
                bar.update(task, completed=done, total=total)

            yield report


class PlainLines:
    """Progress where no bar can be drawn: a line after two seconds, then one every ten.

    A thread writes the lines, so that they come while a long step runs, too.
    """

    FIRST, EVERY = 2.0, 10.0
    """When the first line comes, and the next ones [s]."""

    def __init__(self, stage: str):
        """Start with nothing done of `stage`."""
        self._stage, self._done, self._total, self._from = stage, 0.0, 0.0, 0.0
        self._start = self._begin = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __call__(self, done: float | int, total: float | int, stage: str | None = None) -> None:
        """Take note of how far the work is."""
        if stage and stage != self._stage:
            self._stage, self._start, self._from = stage, time.monotonic(), done
        self._done, self._total = done, total

    def __enter__(self) -> "PlainLines":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        wait = self.FIRST
        while not self._over.wait(wait):
            print(self.line(time.monotonic()), file=sys.stderr, flush=True)
            wait = self.EVERY

    def line(self, now: float) -> str:
        """Say what is done, how much of it, and how long it will take."""
        text = f"{printable(self._stage)}: "
        if self._total:
            text += f"{100 * self._done / self._total:.0f} %, "
        text += f"{now - self._begin:.0f} s"
        made = self._done - self._from  # since this stage began, whose pace is measured
        rest = max(self._total - self._done, 0.0)
        if self._total and (made > 0 or rest == 0):
            left = (now - self._start) * rest / made if rest else 0.0
            text += f", about {left:.0f} s left"
        return text


def _print_error(kind: str, colour: str, sentence: str) -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble((f"{kind}: ", f"bold {colour}"), (printable(sentence), colour))
    Console(stderr=True, file=sys.stderr).print(line, soft_wrap=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):  # numpy and JAX
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
