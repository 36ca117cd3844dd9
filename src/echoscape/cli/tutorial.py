"""`echoscape tutorial`: scripts that teach, to run and to change.

Takes the name of a tutorial.
Gives the script and, beside it, nothing: it writes the files that it needs itself.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import Json, print_json, print_line, print_table


def tutorial(
    name: str | None = None,
    /,
    *,
    out: Annotated[Path | None, cyclopts.Parameter(name=["--out", "-o"])] = None,
    json: Json = False,
) -> None:
    """Write a tutorial as a script, or list the tutorials.

    Editors and Jupyter read the script as a notebook; python NAME.py runs it as it is. The pages
    of the documentation show the same with what it prints and draws.

    Args:
        name: Name of the tutorial; all are listed if not given.
        out: File .py to write; NAME.py if not given.
        json: Print JSON for programs.
    """
    from echoscape.checks import InputError
    from echoscape.files import atomic_path
    from echoscape.sample.examples import TUTORIALS, tutorial_text, tutorial_title

    if name is None:
        if out is not None:
            raise InputError(f"--out needs a tutorial before it, one of {', '.join(TUTORIALS)}")
        titles = {each: tutorial_title(each) for each in TUTORIALS}
        if json:
            print_json(titles)
            return
        print_table("tutorials", titles)
        print_line(f"\nWrite one: echoscape tutorial {TUTORIALS[0]}")
        return
    text = tutorial_text(name)
    path = out or Path(f"{name}.py")
    if path.suffix != ".py":
        raise InputError(f"{path} must end in .py, for it is a script")
    with atomic_path(path) as new:
        new.write_text(text, encoding="utf-8")
    if json:
        print_json({"file": str(path), "title": tutorial_title(name)})
    else:
        print_line(f"{path}: {tutorial_title(name)}")
        print_line(f"Run it: python {path}")
