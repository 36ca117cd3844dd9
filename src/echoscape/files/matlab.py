"""MATLAB files up to version 7, read in bounded memory.

Elements of such a file claim their sizes, some are compressed, and cells and structs claim a shape
whose places are allocated before any of them is read.  All claims are added up before the file is
handed to SciPy.

Takes a ``.mat`` file.
Gives its variables, structs as objects with fields.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import Any

from echoscape.checks import InputError
from echoscape.files.limits import check_input, check_size

_HEADER = 128  # bytes before the first element
_COMPRESSED, _MATRIX = 15, 14
_KINDS = frozenset({*range(1, 8), 9, *range(12, 19)})  # types of elements
_CONTAINERS = {1: "cell", 2: "struct", 3: "object"}
_DEEPEST = 100
_PLACE = 64  # bytes of an element of a cell or struct as SciPy holds it
_DAMAGES = (
    ValueError, TypeError, OSError, KeyError, IndexError, EOFError, OverflowError, MemoryError,
    AttributeError, RecursionError, struct.error, zlib.error, AssertionError,
)  # fmt: skip


def load_matlab(path: str | Path, needed: str) -> dict[str, Any]:
    """Load the variables of a MATLAB file, without those that MATLAB adds.

    Args:
        path: The file.
        needed: What was needed, such as "a measured multipath list".

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no MATLAB file up to version 7, damaged, or needs too much memory.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = Path(path)
    check_input(path, needed)
    try:
        content = path.read_bytes()
        if content[:10] == b"MATLAB 7.3" or content[:8] == b"\x89HDF\r\n\x1a\n":
            raise InputError(f"{path} is a MATLAB 7.3 file; save it again with the option -v7")
        _check_claims(path, content)
        found = loadmat(path, struct_as_record=False, squeeze_me=True)
    except (*_DAMAGES, MatReadError, NotImplementedError) as error:
        if isinstance(error, InputError) or (isinstance(error, OSError) and error.errno):
            raise
        raise InputError(
            f"{path} cannot be read as a MATLAB file ({' '.join(str(error).split())[:120]}); save "
            "it again"
        ) from error
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _check_claims(path: Path, content: bytes) -> None:
    """Add up what a file of version 5 to 7 claims to hold, and refuse too much."""
    if content[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        return  # version 4: plain arrays, each as long as its bytes
    order = "<" if content[126:128] == b"IM" else ">"
    claimed, at = len(content), _HEADER
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        body = content[at + 8 : at + 8 + size]
        if kind == _COMPRESSED:
            limit = 2**26  # the least that is always allowed; more is checked below
            unpacker = zlib.decompressobj()
            body = unpacker.decompress(body, limit)
            if unpacker.unconsumed_tail:
                check_size(path, 1032 * size, "its compressed variables")  # zlib's largest ratio
                body += unpacker.flush()
            claimed += len(body)
            body = body[8:]
            check_size(path, claimed, "its variables")
        if kind in (_COMPRESSED, _MATRIX):
            claimed += _claims_of_matrix(body, order, 0)
            check_size(path, claimed, "its variables")
        at += 8 + size


def _claims_of_matrix(body: bytes, order: str, depth: int) -> int:
    """Count the bytes that SciPy will allocate for the places of cells and structs."""
    parts = _parts(body, order)
    if len(parts) < 2 or depth > _DEEPEST:
        return 0
    kind = parts[0][1][0] if order == "<" else parts[0][1][3]
    if kind not in _CONTAINERS:
        return 0
    shape = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    claimed = _PLACE * math.prod(abs(count) for count in shape)
    return claimed + sum(
        _claims_of_matrix(part, order, depth + 1) for kind, part in parts[2:] if kind == _MATRIX
    )


def _parts(body: bytes, order: str) -> list[tuple[int, bytes]]:
    """Cut an element into its parts: kind and bytes of each."""
    parts, at = [], 0
    while at + 8 <= len(body):
        kind, size = struct.unpack_from(f"{order}II", body, at)
        if kind >> 16:  # a small element: size and kind share four bytes
            kind, size = kind & 0xFFFF, kind >> 16
            parts.append((kind, body[at + 4 : at + 4 + size]))
            at += 8
        else:
            parts.append((kind, body[at + 8 : at + 8 + size]))
            at += 8 + size + (-size % 8)
        if kind not in _KINDS:  # SciPy would look it up beyond the end of a table
            raise ValueError(f"an element of the unknown type {kind}")
    return parts
