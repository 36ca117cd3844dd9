"""`echoscape methods`: the methods of a stage, and their settings.

Takes the name of a stage.
Gives a table of methods, settings, defaults and what they mean, read from the classes.
"""

from typing import Literal

from echoscape.cli.console import Json, print_json, print_table


def methods(stage: Literal["estimate", "image"], /, *, json: Json = False) -> None:
    """List the methods of a stage with their settings, for `--set NAME=VALUE`.

    Args:
        stage: Name of the command that uses them.
        json: Print JSON for programs.
    """
    from echoscape.cli.settings import table

    if stage == "image":
        from echoscape.imaging import SOLVERS as found
    else:
        from echoscape.estimation import METHODS as found
    rows = table(found)
    if json:
        print_json(rows)
    else:
        print_table(f"methods of {stage}", rows)
