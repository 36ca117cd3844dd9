"""What to try things on and to learn from: small files, and tutorials as scripts.

Tutorials are Python scripts in the percent format, which editors and Jupyter read as notebooks:
``# %%`` begins a cell, ``# %% [markdown]`` one of text.  The documentation is built from them.

Takes a folder, or the name of a tutorial.
Gives the files that ``echoscape examples`` writes; the text of a script.
"""

import re
import shutil
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from echoscape.checks import unknown_name
from echoscape.files import atomic_folder

TUTORIALS = (
    "ray-tracer", "measured-campaign", "samples", "clock-and-heading", "imaging", "tracking",
    "living-map", "beams", "own-method",
)  # fmt: skip
"""Names of the tutorials, in the order in which one reads them."""


class Cell(NamedTuple):
    """A cell of a tutorial."""

    code: bool
    """Whether it is code; text otherwise."""
    source: str
    """Python, or Markdown without the signs of comments."""


def write_examples(folder: str | Path) -> list[str]:
    """Write the small files with which commands and tutorials run.

    Args:
        folder: Folder to write; one that holds something else is refused.

    Returns:
        Names of the files and folders.
    """
    ours = resources.files("echoscape.sample") / "files"
    with resources.as_file(ours) as files, atomic_folder(folder, "users.parquet") as new:
        shutil.copytree(files, new, dirs_exist_ok=True)
        return sorted(path.name for path in new.iterdir())


def tutorial_text(name: str) -> str:
    """Read a tutorial's script.

    Args:
        name: One of `TUTORIALS`.

    Raises:
        InputError: There is no such tutorial.
    """
    if name not in TUTORIALS:
        raise unknown_name("tutorial", name, TUTORIALS)
    file = resources.files("echoscape.sample") / "tutorials" / f"{name.replace('-', '_')}.py"
    return file.read_text(encoding="utf-8")


def tutorial_cells(name: str) -> list[Cell]:
    """Cut a tutorial into its cells.

    Args:
        name: One of `TUTORIALS`.
    """
    parts = re.split(r"^# %%( \[markdown\])?\n", tutorial_text(name), flags=re.MULTILINE)
    found = []
    for mark, body in zip(parts[1::2], parts[2::2], strict=True):
        body = body.strip("\n")
        if mark is not None:
            body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        found.append(Cell(mark is None, body))
    return found


def tutorial_title(name: str) -> str:
    """Give the heading of a tutorial.

    Args:
        name: One of `TUTORIALS`.
    """
    return tutorial_cells(name)[0].source.splitlines()[0].removeprefix("# ")
