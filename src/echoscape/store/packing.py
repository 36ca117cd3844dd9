"""The paths of a set as the bytes of one cell, and back, without loss.

    byte 0      version of the packing, 1
    bytes 1-2   number of paths
    bytes 3-4   which columns differ from path to path, one bit each
    then        the columns that do not, once, and the others, path after path

All numbers are little-endian; values are double precision.  A key is a digest of the content that
does not depend on what else came in the same batch.

Takes `Paths` of shape [set, path].
Gives bytes, and `Paths` again.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from echoscape.checks import InputError
from echoscape.propagation.path import Paths

COLUMNS = (
    "departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith", "length", "power",
    "departure_azimuth_std", "departure_zenith_std", "arrival_azimuth_std", "arrival_zenith_std",
    "length_std",
)  # fmt: skip
"""Fields of `Paths` in the order in which they are packed."""
_VERSION = 1
_HEAD = np.dtype([("version", "u1"), ("count", "<u2"), ("varying", "<u2")])
_MOST = 65535  # paths of a set
_CUT = "a row's paths are cut short; `echoscape store check` names the row"


def as_array(paths: Paths) -> np.ndarray:
    """Stack the fields of paths as [set, path, column], valid paths first, their order kept."""
    values = np.stack([np.asarray(getattr(paths, name), dtype="<f8") for name in COLUMNS], axis=-1)
    valid = np.asarray(paths.valid)
    if values.shape[1] > _MOST:
        raise InputError(f"a set holds at most {_MOST} paths; got room for {values.shape[1]}")
    order = np.argsort(~valid, axis=1, kind="stable")
    return np.take_along_axis(values, order[..., None], axis=1)


def pack(paths: Paths) -> tuple[list[bytes], list[bytes]]:
    """Pack every set, once for its cell and once, in full, for its key.

    Returns:
        Cells, and contents that keys are made of.
    """
    values = as_array(paths)
    counts = np.asarray(paths.valid).sum(axis=1)
    used = np.arange(values.shape[1]) < counts[:, None]
    every = values[used]
    same = every[:1].view("<u8") == every.view("<u8")  # to the bit: -0 and 0 differ
    varying = ~same.all(axis=0) if len(every) else np.zeros(len(COLUMNS), bool)
    mask = int(np.sum(1 << np.flatnonzero(varying)))
    constant = (every[0] if len(every) else np.zeros(len(COLUMNS)))[~varying].tobytes()
    heads = np.zeros(len(counts), _HEAD)
    heads["version"], heads["count"], heads["varying"] = _VERSION, counts, mask
    short = np.ascontiguousarray(values[..., varying])
    cells, contents = [], []
    for i, count in enumerate(counts.tolist()):
        cells.append(heads[i].tobytes() + constant + short[i, :count].tobytes())
        contents.append(values[i, :count].tobytes())
    return cells, contents


def unpack(cells: Sequence[bytes]) -> Paths:
    """Rebuild paths, [set, path], from cells.

    Raises:
        InputError: A cell is no packing of this version.
    """
    size, width = _HEAD.itemsize, len(COLUMNS)
    if any(len(cell) < size for cell in cells):
        raise InputError(_CUT)
    heads = np.frombuffer(b"".join(cell[:size] for cell in cells), _HEAD)
    if (heads["version"] != _VERSION).any():
        raise InputError("a row's paths are not packed as this version packs them")
    counts = heads["count"].astype(np.int64)
    valid = np.arange(int(counts.max(initial=0))) < counts[:, None]
    values = np.zeros((*valid.shape, width))
    for mask in np.unique(heads["varying"]).tolist():
        varying = (mask >> np.arange(width)) & 1 == 1
        fixed, free = int((~varying).sum()), int(varying.sum())
        rows = np.flatnonzero(heads["varying"] == mask)
        numbers = fixed + counts[rows] * free
        bodies = [cells[i][size:] for i in rows.tolist()]
        if any(len(body) != 8 * number for body, number in zip(bodies, numbers.tolist())):
            raise InputError(_CUT)
        body = np.frombuffer(b"".join(bodies), "<f8")
        start = np.cumsum(numbers) - numbers
        within = np.zeros_like(valid)
        within[rows] = valid[rows]
        owner, slot = np.nonzero(valid[rows])
        part = np.empty((len(owner), width))
        part[:, ~varying] = body[start[:, None] + np.arange(fixed)][owner]
        first = start[owner] + fixed + slot * free
        part[:, varying] = body[first[:, None] + np.arange(free)]
        values[within] = part
    return Paths(valid=valid, **{name: values[..., i] for i, name in enumerate(COLUMNS)})


def content_keys(
    secret: bytes, columns: Mapping[str, np.ndarray], names: Sequence[str], contents: list[bytes]
) -> list[bytes]:
    """Digest what makes a row itself: its numbers, its names and its paths.

    Args:
        secret: The store's; without it nobody can test a guessed content against a key.
        columns: Numbers of every row, by name.
        names: Station and source of every row, as one text.
        contents: Of `pack`.
    """
    heads = np.stack([np.asarray(columns[n], "<f8") for n in sorted(columns)], axis=-1)
    return [
        hashlib.blake2b(
            heads[i].tobytes() + names[i].encode() + b"\0" + content, digest_size=16, key=secret
        ).digest()
        for i, content in enumerate(contents)
    ]
