"""Write docs/commands.md: every command with its help, as the command line prints it."""

import contextlib
import io
import os
import pathlib

os.environ.update(COLUMNS="88", NO_COLOR="1", TERM="dumb")

from echoscape.cli import app, main

OUT = pathlib.Path(__file__).resolve().parents[1] / "docs/commands.md"


def commands(of=app, path=()):
    for name in of:
        if not name.startswith("-"):
            yield (*path, name)
            yield from commands(of[name], (*path, name))


def help_of(path: tuple[str, ...]) -> str:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        main([*path, "--help"])
    return "\n".join(line.rstrip() for line in stream.getvalue().strip().splitlines())


def text() -> str:
    parts = ["# Commands", "", "Written by `make docs` from the commands' own help.", ""]
    for path in [(), *commands()]:
        title = " ".join(("echoscape", *path))
        parts += [f"## {title}", "", "```text", help_of(path), "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    if not OUT.exists() or OUT.read_text(encoding="utf-8") != text():  # tests may read it meanwhile
        OUT.write_text(text(), encoding="utf-8")
