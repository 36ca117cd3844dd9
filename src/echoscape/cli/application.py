"""The `echoscape` command and what becomes of its errors.

Takes the words after ``echoscape``.
Gives an exit code.
"""

import signal
import sys
from collections.abc import Sequence

import cyclopts

from echoscape import __version__
from echoscape.cli import (
    bound,
    channel,
    demo,
    doctor,
    echoes,
    follow,
    image,
    locate,
    maps,
    pilots,
    reports,
    reproduce,
    sample,
    track,
)
from echoscape.cli.console import print_problem, print_warning
from echoscape.cli.deprecated import current_words

app = cyclopts.App(
    name="echoscape",
    help="Learn a channel knowledge map from users' reports; find unseen targets and steer beams "
    "with it.",
    help_epilogue="After an unexpected error, --debug shows where it came from.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version=__version__,
)
app.command(demo.demo)
app.command(reports.app)
app.command(maps.app)
app.command(echoes.app)
app.command(sample.estimate)
app.command(locate.locate)
app.command(follow.follow)
app.command(bound.bound)
app.command(track.track)
app.command(channel.channel)
app.command(reproduce.app)
app.command(pilots.app)
app.command(image.image)
app.command(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: The words of the command; those of the process by default.
    """
    if arguments is None:
        stop_cleanly()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        words, sentences = current_words(app, words)
        for sentence in sentences:
            print_warning(sentence)
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        print_problem("interrupted; nothing was left half-written")
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def stop_cleanly() -> None:
    """Let a request to terminate unwind like an exception, so that nothing stays half-written."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _explain(error: Exception) -> int:
    """Print an error as one sentence: exit code 2 if the user can help it, else 1."""
    if isinstance(error, cyclopts.CycloptsError):
        print_problem(f"{' '.join(str(error).split())} Try `echoscape --help`.")
        return 2
    if isinstance(error, OSError):
        print_problem(_about_file(error))
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
