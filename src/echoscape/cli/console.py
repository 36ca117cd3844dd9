"""What commands share: options with one meaning everywhere, tables, progress, problems.

Takes values to show.
Gives text: results on standard output, everything else on standard error.
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import cyclopts

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
    cyclopts.Parameter(name="--seed", help="Seed of everything random; same seed, same result."),
]


def use_double_precision() -> None:
    """Switch JAX to 64 bits; every command that computes calls this before anything else.

    What JAX compiles is kept for the next command, see `compiled_folder`.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    folder = compiled_folder()
    kept = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if folder is not None and kept is None:
        with contextlib.suppress(OSError):  # a home that cannot be written to only costs time
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


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
    room = min(max((len(value) for value in rows.values()), default=0), console.width // 2)
    short = max((len(name) for name in rows), default=0) + 1 + room <= console.width
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=short)
    table.add_column(overflow="fold", min_width=room)
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    console.print(table)


def print_warning(sentence: str) -> None:
    """Print a yellow sentence on standard error."""
    _print_error("warning", "yellow", sentence)


def print_problem(sentence: str) -> None:
    """Print a red sentence on standard error."""
    _print_error("error", "red", sentence)


@contextlib.contextmanager
def progress(description: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error, if that is a terminal and the user wants one.

    Yields:
        A function of `done`, `total` and, optionally, a new description; any of the library's
        progress callbacks may call it, as often as it likes.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    with bar:
        task = bar.add_task(description, total=None)

        def report(done: float | int, total: float | int, description: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=description)

        yield report


def _print_error(kind: str, colour: str, sentence: str) -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble((f"{kind}: ", f"bold {colour}"), (sentence, colour))
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
