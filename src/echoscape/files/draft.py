"""Drafts: hidden folders beside an output, in which it is made before it takes its place.

A draft is locked while its process lives, so the next run can tell what a killed one left behind
and remove it, while a run beside it is left alone.

Takes the folder to make a draft in.
Gives an empty folder, and none when the work is over, however it ended.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on this system: age alone tells what is left over
    fcntl = None

SUFFIX = ".echoscape-draft"
"""End of every draft's name."""
_OLD = 86400.0  # a draft that cannot be locked is left over after this long [s]


@contextlib.contextmanager
def draft_in(above: Path, name: str) -> Iterator[Path]:
    """Lend an empty hidden folder in `above`, and remove what killed runs left there.

    Args:
        above: An existing folder, on the file system where the output shall be.
        name: Name of the output, part of the draft's.
    """
    for leftover in leftovers(above):
        shutil.rmtree(leftover, ignore_errors=True)
    while True:
        draft = above / f".{name}.{secrets.token_hex(4)}{SUFFIX}"
        draft.mkdir()
        lock = _lock(draft)
        if lock is not None and _is_still(draft, lock):
            break
        if lock is not None:  # a run beside this one took it for a leftover
            os.close(lock)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def leftovers(above: Path, suffix: str = SUFFIX) -> list[Path]:
    """List hidden folders of killed runs: nobody holds their lock."""
    try:
        found = [entry.path for entry in os.scandir(above) if entry.name.endswith(suffix)]
    except OSError:
        return []
    return [Path(path) for path in sorted(found) if _is_left(Path(path))]


def _is_left(draft: Path) -> bool:
    if draft.is_symlink() or not draft.is_dir():
        return False
    lock = _lock(draft)
    if lock is None:
        return False
    if lock >= 0:
        os.close(lock)
        return True
    with contextlib.suppress(OSError):
        return time.time() - draft.stat().st_mtime > _OLD
    return False


def _lock(draft: Path) -> int | None:
    """Lock a folder: a descriptor, None where another holds it, -1 where it cannot be locked."""
    if fcntl is None:
        return -1
    try:
        descriptor = os.open(draft, os.O_RDONLY)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a network's file system without locks
        os.close(descriptor)
        return -1
    return descriptor


def _is_still(draft: Path, lock: int) -> bool:
    """Tell whether the locked folder is the one that has the name."""
    if lock < 0:
        return True
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(lock), os.stat(draft))
    return False
