"""What an input may be: a regular file, and no larger in memory than its size on disk explains.

A small file can claim an array of a terabyte, and a compressed one can hold it.  Readers ask here
before they allocate; whoever has such data on purpose raises the limit, `largest_input` or the
option ``--largest-input``.

Takes paths, and the bytes that a reader is about to need.
Gives them back, or one sentence.
"""

import contextlib
import contextvars
import stat
from collections.abc import Iterator
from pathlib import Path

from echoscape.checks import InputError

_LEAST = 64 * 2**20
"""Content below this is read whatever the file's size: any machine has as much [byte]."""
_RATIO = 64
"""Largest expansion of a larger file: deviations that repeat compress by about 20 in practice."""
_MOST = 16 * 2**30
"""Content beyond this is never read unless the limit is raised [byte]."""

_TEXT = 16 * 2**20
"""Texts beside data are no larger [byte]."""

_LIMIT: contextvars.ContextVar[float | int | None] = contextvars.ContextVar("limit", default=None)


@contextlib.contextmanager
def largest_input(size: float | int) -> Iterator[None]:
    """Read content up to `size` bytes within the block, whatever the size of its file.

    Args:
        size: Largest content of one file once it is in memory [byte].
    """
    if not size > 0:
        raise InputError(f"the largest input must be above zero, in bytes; got {size:g}")
    token = _LIMIT.set(size)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def check_input(path: str | Path, needed: str) -> int:
    """Refuse what cannot be an input file, and return its size in bytes.

    Args:
        path: The file.
        needed: What was needed, such as "a table of reports" or "samples".

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is a folder, a device or a pipe, or it is empty.
    """
    needed += (
        " were needed" if needed.endswith("s") and not needed.startswith("a") else " was needed"
    )
    path = Path(path)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no file {path}; {needed}") from None
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be opened ({reason.lower()}); give another name") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} is a folder; {needed}")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is a pipe, socket or device; {needed}: save it to a file first")
    if found.st_size == 0:
        raise InputError(f"{path} is empty; {needed}")
    return found.st_size


def read_small_text(path: str | Path, needed: str) -> str:
    """Read a text that people write or programs put beside data, at most 16 MiB of it.

    Args:
        path: The file, in UTF-8; what is not UTF-8 in it is replaced.
        needed: What was needed, such as "the parameters of a scenario".

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no regular file, empty, or larger.
    """
    size = check_input(path, needed)
    if size > _TEXT:
        raise InputError(
            f"{path} has {_spelt(size)}, but {needed} needs at most {_spelt(_TEXT)}; it is damaged "
            "or another file"
        )
    return Path(path).read_text(encoding="utf-8", errors="replace")


def largest_content(path: str | Path) -> float | int:
    """Give how many bytes the content of a file may need in memory [byte]."""
    limit = _LIMIT.get()
    if limit is not None:
        return limit
    return min(max(_LEAST, _RATIO * Path(path).stat().st_size), _MOST)


def check_size(path: str | Path, size: int, what: str) -> None:
    """Refuse content that takes far more memory than its file explains.

    Args:
        path: The file, which exists.
        size: Bytes that its content needs.
        what: What needs them, such as "its arrays".
    """
    limit = largest_content(path)
    if size > limit:
        raise InputError(
            f"{path}: {what} need {_spelt(size)} of memory, more than {_spelt(limit)}, which is "
            "the most for a file of its size; if that is meant, raise the limit by "
            f"--largest-input {size / 1e9:.3g} [GB]"
        )


def _spelt(size: float | int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
