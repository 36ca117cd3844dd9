"""Archives of named arrays (``.npz``) that know their kind and version.

Takes paths and arrays of numpy.
Gives arrays, or one sentence about what is wrong with the file.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from echoscape.checks import InputError
from echoscape.reports.files import atomic_path

VERSION = 1
"""Version of the formats of snapshots, images and samples of echoes."""


def read_arrays(
    path: Path, kind: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Read named arrays of one kind of file, or refuse it in one sentence."""
    check_archive(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; {kind} were needed")
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(
            f"{path} cannot be read as npz, it is damaged, cut short or holds something else; "
            "write it again"
        ) from error
    title = str(found.get("echoscape", f"{kind} {VERSION}"))
    got, _, version = title.partition(" ")
    if got != kind:
        raise InputError(f"{path} holds {got}, but {kind} were needed")
    if not version.isdecimal() or int(version) > VERSION:
        raise InputError(
            f"{path} has version {version} of the format of {kind}, this echoscape reads up to "
            f"version {VERSION}; install a newer one"
        )
    for name in needed:
        if name not in found:
            raise InputError(f"{path} lacks the array '{name}'; {kind} need {', '.join(needed)}")
    return {name: found[name] for name in (*needed, *optional) if name in found}


def write_arrays(path: str | os.PathLike[str], kind: str, values: dict[str, Any]) -> None:
    """Write named arrays as ``.npz`` with their kind and version, whole or not at all."""
    path = Path(path)
    check_archive(path)
    arrays: Any = {name: np.asarray(value) for name, value in values.items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, echoscape=np.array(f"{kind} {VERSION}"), **arrays)


def check_archive(path: Path) -> None:
    """Refuse a name that does not say that it is an ``.npz`` file."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path} must end in .npz")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
