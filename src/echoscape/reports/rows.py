"""Ragged rows to padded sets and back, without a loop.

Takes checked columns, one row per path.
Gives where each row goes in arrays of shape [set, path].
"""

import numpy as np

from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.reports.columns import Columns


class Sets:
    """Groups the rows of one report or target at one station, in the order of the file."""

    def __init__(
        self, columns: Columns, code: np.ndarray, present: np.ndarray, rank: np.ndarray | None
    ):
        """Group rows and order them within their set; refuse a path that comes twice.

        Args:
            columns: The table, for its numbers and for refusals.
            code: Station of each row.
            present: False for a row that says there is no path.
            rank: Place of each row in its set, ascending; None keeps the order of the file.  Whole
                numbers must not repeat.
        """
        self._columns = columns
        number = columns.number
        keys = (code, number) if rank is None else (rank, code, number)
        order = np.lexsort(keys)
        new = (np.diff(number[order], prepend=0) != 0) | (np.diff(code[order], prepend=0) != 0)
        new[0] = True
        starts = np.flatnonzero(new)
        sizes = np.diff(starts, append=len(order))
        turn = np.argsort(np.minimum.reduceat(order, starts), kind="stable")
        place = np.empty(len(turn), dtype=np.int64)
        place[turn] = np.arange(len(turn))
        self.row = order
        """Rows, set after set."""
        self.set = np.repeat(place, sizes)
        """Set of each of `row`."""
        self.first = order[starts][turn]
        """One row of each set."""
        self._slot = np.arange(len(order)) - np.repeat(starts, sizes)
        self._numbered = rank is not None and rank.dtype.kind == "i"
        self._refuse_repetition(present, rank)
        shape = (len(starts), int(sizes.max()))
        self.valid = np.zeros(shape, dtype=bool)
        """True where a set has a path."""
        self.valid[self.set, self._slot] = present[order]

    def padded(self, values: np.ndarray) -> np.ndarray:
        """Lay out one value per row as [set, path], zero where there is none."""
        padded = np.zeros(self.valid.shape)
        padded[self.set, self._slot] = values[self.row]
        return np.where(self.valid, padded, 0.0)

    def constant(self, values: np.ndarray, name: str, across_stations: bool = False) -> None:
        """Refuse a set whose rows disagree on what belongs to the whole set.

        Args:
            values: Shape [row, coordinate].
            name: What refusals call it.
            across_stations: Compare all rows of a report, whichever station heard it.
        """
        columns = self._columns
        number, row = columns.number[self.row], self.row
        group = self.set
        if across_stations:
            group = np.cumsum(np.diff(number, prepend=number[0]) != 0)
        start = np.flatnonzero(np.diff(group, prepend=-1))
        size = np.diff(start, append=len(row))
        reference = np.repeat(row[start], size)
        differ = np.abs(values[row] - values[reference]).max(axis=-1) > 1e-6
        if differ.any():
            at = int(np.argmax(differ))
            first, second = sorted((int(reference[at]), int(row[at])))
            noun = columns.schema.number
            raise InputError(
                f"{columns.source}: {noun} {number[at]} comes with two values of {name}, in rows "
                f"{first + 1} and {second + 1}; give each {noun} its own number"
            )

    def _refuse_repetition(self, present: np.ndarray, rank: np.ndarray | None) -> None:
        columns, row = self._columns, self.row
        same = np.diff(self.set) == 0
        noun = columns.schema.number
        mixed = same & ~(present[row][1:] & present[row][:-1])
        if mixed.any():
            at = int(np.argmax(mixed))
            first, second = sorted((int(row[at]), int(row[at + 1])))
            raise InputError(
                f"{columns.source}: {noun} {columns.number[first]} has an empty row beside another "
                f"one (rows {first + 1} and {second + 1}); an empty row stands alone and says that "
                "there is no path"
            )
        if self._numbered and rank is not None:
            twice = same & (np.diff(rank[row]) == 0)
            if twice.any():
                at = int(np.argmax(twice))
                first, second = sorted((int(row[at]), int(row[at + 1])))
                raise InputError(
                    f"{columns.source}: {noun} {columns.number[first]} has path "
                    f"{rank[first]} twice, in rows {first + 1} and {second + 1}; number the paths "
                    f"of a {noun} 0, 1, 2, ... and give each {noun} its own number"
                )


def flatten(valid: AnyArray) -> tuple[np.ndarray, np.ndarray]:
    """List the rows of padded sets: owner and slot of each, slot -1 for a set without any."""
    valid = np.asarray(valid)
    owner, slot = np.nonzero(valid)
    empty = np.flatnonzero(~valid.any(axis=1))
    owner, slot = np.concatenate([owner, empty]), np.concatenate([slot, np.full(len(empty), -1)])
    order = np.lexsort((slot, owner))
    return owner[order], slot[order]
