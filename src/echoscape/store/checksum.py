"""Checksums of rows: any one bit that flips in a cell is noticed.

Takes a table and a row's cells.
Gives a number.
"""

import math
import operator
import struct
import zlib
from collections.abc import Callable, Sequence

import sqlalchemy as sa

_NO_INTEGER = -(2**63)


def checksum_of(table: sa.Table) -> Callable[[Sequence], int]:
    """Make the function that sums up the cells of a row of a table.

    The cells are those between its number and its checksum, in their order: whole numbers as 8
    bytes, real ones as double precision, texts and bytes as they are, each behind its length.
    """
    columns = list(table.columns)[1:-1]
    whole = [i for i, c in enumerate(columns) if isinstance(c.type, sa.Integer)]
    real = [i for i, c in enumerate(columns) if isinstance(c.type, sa.Double)]
    rest = [i for i in range(len(columns)) if i not in whole and i not in real]
    sizes = struct.Struct(f"<{len(whole)}q{len(real)}d{len(rest)}q")
    numbers_of = operator.itemgetter(*whole, *real)

    def checksum(cells: Sequence) -> int:
        numbers = numbers_of(cells)
        if None in numbers:
            empty = [_NO_INTEGER] * len(whole) + [math.nan] * len(real)
            numbers = [e if n is None else n for n, e in zip(numbers, empty)]
        others = [cells[i] if type(cells[i]) is bytes else _as_bytes(cells[i]) for i in rest]
        total = zlib.crc32(sizes.pack(*numbers, *map(len, others)))
        for other in others:
            total = zlib.crc32(other, total)
        return total

    return checksum


def _as_bytes(cell: object) -> bytes:
    return cell.encode() if isinstance(cell, str) else bytes(cell)  # pyright: ignore[reportArgumentType]
