"""The `echoscape` command and what becomes of its errors.

Takes the words after ``echoscape``.
Gives an exit code.
"""

import atexit
import contextlib
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

import cyclopts

from echoscape import __version__
from echoscape.cli import (
    bench,
    bound,
    channel,
    coverage,
    demo,
    doctor,
    echoes,
    examples,
    follow,
    image,
    links,
    maps,
    methods,
    pilots,
    reports,
    reproduce,
    sample,
    samples,
    score,
    sense,
    serve,
    store,
    stream,
    tutorial,
    view,
)
from echoscape.cli.console import print_line, print_problem, print_warning
from echoscape.cli.deprecated import current_words
from echoscape.extras import need

_DRAWING = ("demo", "reproduce", "track")  # always
_FIGURES = ("--figure", "--slices", "--animate")
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes of a command that was stopped."""

app = cyclopts.App(
    name="echoscape",
    help="Learn a channel knowledge map from users' reports; find unseen targets and steer beams "
    "with it.",
    help_epilogue="Every command also takes --force, to replace an output that echoscape did not "
    "write; --largest-input GB, to read a file whose content needs more memory than its size "
    "explains; and --debug, to see where an unexpected error came from.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version=__version__,
)
app.command(demo.demo)
app.command(examples.examples)
app.command(tutorial.tutorial)
app.command(reports.app)
app.command(maps.app)
app.command(echoes.app)
app.command(sample.estimate)
app.command(samples.app)
# Its options are the methods' own fields, which JAX comes with: loaded only when it is asked for.
app.command(
    "echoscape.cli.locate:locate",
    name="locate",
    help="Locate targets or users from what was measured of them, with the maps of the stations.",
)
app.command(follow.follow)
app.command(bound.bound)
# Its options are the filter's own fields, which JAX comes with: loaded only when it is asked for.
app.command(
    "echoscape.cli.track:track",
    name="track",
    help="Follow static points and, where it is not known, the user; write tracks and the user.",
)
app.command(channel.channel)
app.command(links.links)
app.command(sense.sense)
app.command(reproduce.app)
app.command(bench.app)
app.command(pilots.app)
app.command(coverage.coverage)
app.command(image.image)
app.command(score.score)
app.command(store.app)
app.command(stream.app)
app.command(serve.serve)
app.command(view.view)
app.command(methods.methods)
app.command(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: The words of the command; those of the process by default.
    """
    if arguments is not None:
        return _run(list(arguments))
    stop_cleanly()
    try:
        code = _run(sys.argv[1:])
    except SystemExit as stopped:
        if stopped.code != _TERMINATED:
            raise
        code = _TERMINATED
    if code in (_INTERRUPTED, _TERMINATED):
        _leave(code)
    return code


def _run(words: list[str]) -> int:
    """Run one command and say what became of it."""
    debug, words = _without(words, "--debug")
    force, words = _without(words, "--force")
    try:
        limit, words = _largest_input(words)
        words, sentences = current_words(app, words)
        for sentence in sentences:
            print_warning(sentence)
        with contextlib.ExitStack() as around:
            if words and not {"--help", "-h", "--version"} & set(words):  # imports JAX
                if words[0] in _DRAWING or any(word.startswith(_FIGURES) for word in words):
                    need("plot", "a figure")  # before the work, not after it
                from echoscape.files import largest_input
                from echoscape.files.output import protecting

                around.enter_context(protecting(force))
                if limit is not None:
                    around.enter_context(largest_input(limit))
                around.enter_context(_sentences())
            result = app(
                words, exit_on_error=False, print_error=False, result_action="return_value"
            )
            if {"--help", "-h"} & set(words):
                _show_example(words)
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        print_problem("interrupted; nothing was left half-written")
        return _INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def _show_example(words: Sequence[str]) -> None:
    """End the help of a command with its example."""
    example = examples.example_of(words)
    if example:
        print_line(f"\nExample, with the files that `echoscape examples` writes:\n\n  {example}")


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Print what the library warns of reports as the commands print their own warnings."""
    from echoscape.reports.finding import GeometryWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", GeometryWarning)
        show = warnings.showwarning

        def tell(message, category, *place, **more):
            if issubclass(category, GeometryWarning):
                print_warning(str(message))
            else:
                show(message, category, *place, **more)

        warnings.showwarning = tell
        yield


def _without(words: list[str], flag: str) -> tuple[bool, list[str]]:
    return flag in words, [word for word in words if word != flag]


def _largest_input(words: list[str]) -> tuple[float | None, list[str]]:
    """Take the option ``--largest-input`` out of a command's words; the limit in bytes."""
    option = "--largest-input"
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name != option:
            continue
        rest = words[:at] + words[at + (1 if equals else 2) :]
        value = value if equals else "".join(words[at + 1 : at + 2])
        try:
            size = 1e9 * float(value)
        except ValueError:
            size = math.nan
        if not 0 < size < math.inf:
            from echoscape.checks import InputError

            raise InputError(f"{option} must be above zero, in GB, such as 4; got {value!r}")
        return size, rest
    return None, words


def stop_cleanly() -> None:
    """Let a request to terminate unwind like an exception, so that nothing stays half-written."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _leave(code: int) -> None:
    """End the process after what is registered for its end, without taking the interpreter down.

    JAX that was stopped while it traced or compiled crashes then, one time in three.
    """
    atexit._run_exitfuncs()
    for output in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            output.flush()
    os._exit(code)


def _explain(error: Exception) -> int:
    """Print an error as one sentence: exit code 2 if the user can help it, else 1."""
    if isinstance(error, cyclopts.CycloptsError):
        print_problem(f"{' '.join(str(error).split())} Try `echoscape --help`.")
        return 2
    if isinstance(error, OSError):
        print_problem(_about_file(error))
        return 2
    if isinstance(error, MemoryError):
        print_problem("there is not enough memory for this; take less data at a time")
        return 2
    from echoscape.checks import InputError  # imports JAX, as did whatever failed

    if isinstance(error, InputError):
        print_problem(str(error))
        return 2
    detail = " ".join(str(error).split())
    print_problem(
        f"unexpected {type(error).__name__}: {detail[:300]} (a fault of echoscape; repeat the "
        "command with --debug and report what it prints)"
    )
    return 1


def _about_file(error: OSError) -> str:
    if error.strerror is None or error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror.lower()}"
