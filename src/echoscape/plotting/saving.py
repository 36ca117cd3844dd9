"""Figures on disk: whole or not at all, and marked as written here, so that a rerun replaces them.

Takes figures of Matplotlib.
Gives files.
"""

from pathlib import Path
from typing import Any

from echoscape.checks import InputError
from echoscape.files import atomic_path

_MARKS = {".png": "Software", ".pdf": "Creator", ".svg": "Creator", ".ps": "Creator",
          ".eps": "Creator"}  # fmt: skip
"""Where each format says what wrote it; without that a second run would refuse to replace it."""


def write_figure(figure: Any, path: str | Path) -> None:
    """Write a figure in the format that the suffix names.

    Args:
        figure: The figure.
        path: A ``.png``, ``.pdf``, ``.svg``, ``.ps`` or ``.eps`` file.

    Raises:
        InputError: The suffix names another format.
    """
    mark = check_figure(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=160, metadata={mark: "echoscape"})


def check_figure(path: str | Path) -> str:
    """Refuse a name whose suffix is no format of figures, before the work; say where to sign it.

    Args:
        path: File to write.
    """
    mark = _MARKS.get(Path(path).suffix.lower())
    if mark is None:
        raise InputError(f"{path} must end in {', '.join(_MARKS)}, which tells the format")
    return mark
