"""The command line: parse, call one library function, print.

One module a group of commands.  Nothing here imports JAX until a command needs it, so that help
comes at once.  Exit codes: 0 done, 1 a fault of ours, 2 something the user can change.

Takes words typed by a person.
Gives text on standard output (``--json`` for programs), progress and errors on standard error.
"""

from echoscape.cli.application import app, main

__all__ = ["app", "main"]


def __dir__() -> list[str]:
    return sorted(__all__)
