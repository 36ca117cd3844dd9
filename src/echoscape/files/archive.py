"""Archives of named arrays (``.npz``) that know their kind and version.

Takes paths and arrays of numpy.
Gives an open archive of the right kind, or one sentence about what is wrong with the file.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echoscape.checks import InputError
from echoscape.files.npz import Npz, check_archive, open_npz, write_npz

__all__ = ["check_archive", "open_arrays", "write_arrays"]

VERSION = 1
"""Version of the formats of snapshots, images and samples of echoes."""


@contextlib.contextmanager
def open_arrays(path: str | os.PathLike[str], kind: str, needed: tuple[str, ...]) -> Iterator[Npz]:
    """Open an archive of one kind, or refuse it in one sentence.

    Args:
        path: The file.
        kind: Plural noun that its title starts with; a file without a title may be of any kind.
        needed: Arrays that it must have.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged, of another kind or of a later version, or lacks an array;
            or the block raised a `ValueError` about its content.
    """
    path = Path(path)
    with open_npz(path, kind) as archive:
        title = archive.title() or f"{kind} {VERSION}"
        got, _, version = title.rpartition(" ")
        if got != kind:
            raise InputError(f"{path} holds {got or title}, but {kind} were needed")
        if not version.isdecimal() or int(version[:9]) > VERSION:
            raise InputError(
                f"{path} has version {version} of the format of {kind}, this echoscape reads up to "
                f"version {VERSION}; install a newer one"
            )
        for name in needed:
            if name not in archive:
                raise InputError(
                    f"{path} lacks the array '{name}'; {kind} need {', '.join(needed)}"
                )
        try:
            yield archive
        except ValueError as problem:  # of a type that is made of the arrays
            if str(problem).startswith(str(path)):
                raise
            raise InputError(f"{path}: {problem}") from problem


def write_arrays(path: str | os.PathLike[str], kind: str, values: dict[str, Any]) -> None:
    """Write named arrays as ``.npz`` with their kind and version, whole or not at all."""
    write_npz(path, values, f"{kind} {VERSION}")
