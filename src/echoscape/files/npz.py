"""Archives of named arrays (``.npz``), opened by one reader that trusts nothing.

The directory of the archive and the header of every array are read and checked before anything is
allocated: no pickles, no links, no foreign members, and no more memory than `limits` allows.
Arrays are read one by one, when they are asked for, and checked against kind, shape and
finiteness.  What this package writes also carries a checksum of every array.

Takes paths, and what each array must be.
Gives arrays of numpy, or one sentence about what is wrong with the file.
"""

import dataclasses
import hashlib
import json
import math
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from echoscape.checks import InputError
from echoscape.files.limits import check_input, check_size
from echoscape.files.output import atomic_path

MOST_ARRAYS = 1000
"""More arrays than any format has: an archive with more is something else."""
_MOST_AXES = 8
_HEADER = 10_000  # bytes of an array's header at most, numpy's own limit
TITLE = "echoscape"
"""Name of the array that holds the kind and version of the file."""
_CHECKSUMS = b"echoscape sha256 "
"""How the archive's comment starts that holds the checksums; an archive that somebody changes and
writes again by other means loses it, and is read without."""

Kind = Literal["real", "complex", "integer", "boolean", "text"]
_KINDS = {
    "real": ("fiu", "real numbers"),
    "complex": ("fiuc", "numbers"),
    "integer": ("iu", "whole numbers"),
    "boolean": ("b", "true or false"),
    "text": ("U", "text"),
}
_DAMAGES = (
    ValueError, TypeError, KeyError, OSError, EOFError, OverflowError, SyntaxError, MemoryError,
    tokenize.TokenError,
    RecursionError, RuntimeError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and numpy raise where the bytes make no sense; RuntimeError: encrypted, and
NotImplementedError, which it includes: compressed in another way."""


@dataclasses.dataclass(frozen=True)
class Member:
    """An array before it is read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    size: int


class Arrays(Mapping[str, np.ndarray]):
    """Named arrays that are checked as they are taken; here of a mapping in memory."""

    def __init__(self, source: str, values: Mapping[str, Any]):
        """Check arrays that are in memory already.

        Args:
            source: What refusals call them.
            values: Name to array.
        """
        self.source = source
        self._axes: dict[str, tuple[int, str]] = {}
        self._values = {name: np.asarray(value) for name, value in values.items()}
        self._members = {
            name: Member(name, value.shape, value.dtype, value.nbytes)
            for name, value in self._values.items()
        }

    def __iter__(self) -> Iterator[str]:
        """List the arrays, without the title."""
        return (name for name in self._members if name != TITLE)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> np.ndarray:
        """Read an array as it is stored."""
        self._find(name)
        return self._read(name)

    def array(
        self,
        name: str,
        kind: Kind = "real",
        shape: tuple[int | str | None, ...] | None = None,
        finite: bool = True,
    ) -> np.ndarray:
        """Read an array and check what it is.

        Args:
            name: Its name.
            kind: What it holds; whole numbers go for real ones, and real ones for complex ones.
            shape: Length of each axis; a word stands for a length that all axes of that name
                share, None for any; no shape leaves even the number of axes open.
            finite: Refuse NaN and infinity.

        Raises:
            InputError: It is missing, or something else.
        """
        member = self._find(name)
        letters, words = _KINDS[kind]
        if member.dtype.kind not in letters:
            raise InputError(
                f"{self.source}: {name} must be {words}, see docs/formats.md; got {member.dtype} "
                f"of shape {member.shape}"
            )
        if shape is not None:
            self._check_shape(member, shape)
        values = self._read(name)
        if finite and member.dtype.kind in "fc" and not np.isfinite(values).all():
            bad = int(np.sum(~np.isfinite(values)))
            raise InputError(
                f"{self.source}: {name} must be finite numbers; {bad} of {values.size} are NaN or "
                "infinite"
            )
        return values

    def number(self, name: str, kind: Kind = "real", finite: bool = True) -> Any:
        """Read an array that holds one number."""
        shape = self._find(name).shape
        if math.prod(shape) != 1:
            raise InputError(
                f"{self.source}: {name} must be one number; got an array of shape {shape}"
            )
        return self.array(name, kind, finite=finite).reshape(()).item()

    def title(self) -> str:
        """Read the kind and version of the file; empty where it says none."""
        return str(self.array(TITLE, "text", ())) if TITLE in self._members else ""

    def _find(self, name: str) -> Member:
        if name not in self._members:
            names = list(self)
            listed = (", ".join(names[:12]) or "none") + (", ..." if len(names) > 12 else "")
            raise InputError(f"{self.source} lacks the array {name!r}; it has {listed}")
        return self._members[name]

    def _check_shape(self, member: Member, shape: tuple[int | str | None, ...]) -> None:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        if len(shape) != len(member.shape):
            raise InputError(
                f"{self.source}: {member.name} must have {len(shape)} axes, {wanted}; got shape "
                f"{member.shape}"
            )
        for length, axis in zip(member.shape, shape, strict=True):
            if isinstance(axis, str):
                known, owner = self._axes.setdefault(axis, (length, member.name))
                if known != length:
                    raise InputError(
                        f"{self.source}: {member.name} must have the shape {wanted} with {known} "
                        f"for {axis}, as {owner} has; got {member.shape}"
                    )
            elif axis is not None and axis != length:
                raise InputError(
                    f"{self.source}: {member.name} must have the shape {wanted}; got {member.shape}"
                )

    def _read(self, name: str) -> np.ndarray:
        return self._values[name]


class Npz(Arrays):
    """An open archive: names and shapes are known, arrays are read when they are asked for."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, members: dict[str, Member]):
        """Use `open_npz`."""
        super().__init__(str(path), {})
        self.path, self._archive, self._members = path, archive, members
        self._sums = self._read_checksums()

    def _read(self, name: str) -> np.ndarray:
        member = self._members[name]
        try:
            with self._archive.open(f"{name}.npy") as stream:
                values = npy.read_array(stream, allow_pickle=False, max_header_size=_HEADER)
                if stream.read(1):
                    raise ValueError("bytes follow the array")
        except _DAMAGES as error:
            raise _damaged(self.path, error) from error
        if values.shape != member.shape or values.dtype != member.dtype:
            raise _damaged(self.path, None)
        if self._sums and self._sums.get(name) != _checksum(values):
            raise InputError(
                f"{self.path} is damaged: the content of {name!r} is not what was written "
                "(its checksum differs); copy or write it again"
            )
        return values

    def _read_checksums(self) -> dict[str, str]:
        comment = self._archive.comment
        if not comment.startswith(_CHECKSUMS):
            return {}
        try:
            sums = json.loads(comment.removeprefix(_CHECKSUMS))
        except (ValueError, RecursionError) as error:
            raise _damaged(self.path, error) from error
        if not isinstance(sums, dict) or set(sums) != set(self._members):
            raise _damaged(self.path, None)
        return sums


@contextmanager
def open_npz(path: str | os.PathLike[str], needed: str) -> Iterator[Npz]:
    """Open an archive of named arrays, or refuse it in one sentence.

    Args:
        path: The file; its name must end in ``.npz``.
        needed: What was needed, such as "samples".

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no such archive, is damaged, or needs too much memory.
    """
    path = Path(path)
    check_archive(path)
    check_input(path, needed)
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGES as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(path, error) from error
    with archive:
        members = _members(path, archive)
        check_size(path, sum(member.size for member in members.values()), "its arrays")
        yield Npz(path, archive, members)


def check_archive(path: Path) -> None:
    """Refuse a name that does not say that it is an ``.npz`` file."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path} must end in .npz")
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder; give the name of a file")


def write_npz(
    path: str | os.PathLike[str], arrays: Mapping[str, Any], title: str | None = None
) -> None:
    """Write named arrays with their checksums, compressed, whole or not at all.

    Args:
        path: The file.
        arrays: Name to array; no array of objects.
        title: Kind and version of the file, such as ``samples 1``.
    """
    path = Path(path)
    check_archive(path)
    found = {} if title is None else {TITLE: np.array(title)}
    found |= {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in found.items():
        if value.dtype.hasobject:
            raise TypeError(f"array {name!r} holds objects, which no archive may hold")
    sums = json.dumps({name: _checksum(value) for name, value in found.items()})
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **found)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = _CHECKSUMS + sums.encode()


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, Member]:
    """Read the directory and every header."""
    entries = archive.infolist()
    if len(entries) > MOST_ARRAYS:
        raise InputError(
            f"{path} holds {len(entries)} members, but an archive of arrays has at most "
            f"{MOST_ARRAYS}; it is something else"
        )
    members = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError(f"{path} holds a symbolic link, {name!r}; arrays alone are read")
        if entry.filename == name or name in members:
            raise InputError(f"{path} holds {name!r} twice or not as an array; write it again")
        try:
            with archive.open(entry) as stream:
                version = npy.read_magic(stream)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(stream, max_header_size=_HEADER)
                start = stream.tell()
        except _DAMAGES as error:
            raise _damaged(path, error) from error
        if dtype.hasobject or dtype.kind not in "biufcUS":
            raise InputError(
                f"{path}: {name!r} holds {dtype}, objects of Python or something else that is not "
                "read, for it could run code; store numbers or text"
            )
        size = math.prod(shape) * dtype.itemsize
        if len(shape) > _MOST_AXES or min(shape, default=1) < 0 or entry.file_size != start + size:
            raise _damaged(path, None)
        members[name] = Member(name, shape, dtype, size)
    return members


def _checksum(values: np.ndarray) -> str:
    values = np.asarray(values)
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _damaged(path: Path, error: Exception | None) -> InputError:
    reason = "" if error is None else f" ({' '.join(str(error).split())[:120]})".replace(" ()", "")
    return InputError(
        f"{path} cannot be read as npz, it is damaged, cut short or holds something else{reason}; "
        "write it again"
    )
