"""Studies of several parts: which are asked for, and the table of what was measured.

Takes the option `--parts`, lines of a table.
Gives names, a file `table.json`.
"""

import json
from pathlib import Path
from typing import Any


def part_names(text: str, example: str) -> list[str]:
    """Split the names of parts with commas between.

    Raises:
        InputError: There is none.
    """
    from echoscape.checks import InputError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"--parts needs the name of a part, such as {example}; got none")
    return names


def write_lines(lines: list[dict[str, Any]], out: Path) -> None:
    """Write the lines of a study's table into its folder."""
    from echoscape.files import atomic_path

    with atomic_path(out / "table.json") as path:
        path.write_text(json.dumps({"echoscape": 1, "rows": lines}, indent=1))
