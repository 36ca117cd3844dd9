"""Checksums of rows: any one bit that flips in a cell is noticed.

Takes a table and a row's cells.
Gives a number.
"""

import math
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
    other = [i for i in range(len(columns)) if i not in whole and i not in real]
    sizes = struct.Struct(f"<{len(whole)}q{len(real)}d{len(other)}q")

    def checksum(cells: Sequence) -> int:
        rest = [
            cell.encode() if isinstance(cell, str) else bytes(cell)
            for cell in (cells[i] for i in other)
        ]
        head = sizes.pack(
            *[_NO_INTEGER if cells[i] is None else cells[i] for i in whole],
            *[math.nan if cells[i] is None else cells[i] for i in real],
            *map(len, rest),
        )
        return zlib.crc32(b"".join((head, *rest)))

    return checksum
