"""Figures on disk: whole or not at all, and marked as written here, so that a rerun replaces them.

Takes figures of Matplotlib.
Gives files.
"""

import io
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
    mark, stream = check_figure(path), io.BytesIO()
    kind = Path(path).suffix.lower()[1:]
    with atomic_path(path) as temporary:
        figure.savefig(stream, dpi=160, format=kind, metadata={mark: "echoscape"})
        # In one go: a full disk would come out as an error of zlib.
        temporary.write_bytes(stream.getvalue())


def check_figure(path: str | Path) -> str:
    """Refuse a name whose suffix is no format of figures, before the work; say where to sign it.

    Args:
        path: File to write.
    """
    mark = _MARKS.get(Path(path).suffix.lower())
    if mark is None:
        raise InputError(f"{path} must end in {', '.join(_MARKS)}, which tells the format")
    return mark
