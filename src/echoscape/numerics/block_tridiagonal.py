"""Symmetric matrices of a chain, in which only neighbours share an entry.

Takes blocks over pairs of neighbours, each of six coordinates.
Gives the lower diagonals that LAPACK factorises, and the inverse where the matrix has entries.
"""

import numpy as np
from jaxtyping import Float

SIZE = 6
"""Coordinates of one link."""


def band_of(block: Float[np.ndarray, "step 12 12"]) -> Float[np.ndarray, "12 coordinate"]:
    """Add up blocks over links and their next ones, as lower diagonals."""
    banded = np.zeros((2 * SIZE, SIZE * (len(block) + 1)))
    for column in range(2 * SIZE):
        at = SIZE * np.arange(len(block)) + column
        for row in range(column, 2 * SIZE):
            banded[row - column, at] += block[:, row, column]
    return banded


def sum_of(part: Float[np.ndarray, "step 12"]) -> Float[np.ndarray, " coordinate"]:
    """Add up vectors over links and their next ones."""
    total = np.zeros((len(part) + 1, SIZE))
    total[:-1] += part[:, :SIZE]
    total[1:] += part[:, SIZE:]
    return total.reshape(-1)


def invert_band(
    banded: Float[np.ndarray, "12 coordinate"],
) -> tuple[Float[np.ndarray, "link 6 6"], Float[np.ndarray, "step 6 6"]]:
    """Invert where the matrix has entries: each link with itself, and with the next one."""
    count = banded.shape[1] // SIZE
    own, below = np.zeros((2, count, SIZE, SIZE))
    for column in range(SIZE):
        for row in range(column, SIZE):
            own[:, row, column] = own[:, column, row] = banded[row - column, column::SIZE]
        for row in range(SIZE):
            below[:, row, column] = banded[SIZE + row - column, column::SIZE]
    forward = [own[0]]
    for k in range(count - 1):
        forward.append(own[k + 1] - below[k] @ np.linalg.solve(forward[k], below[k].T))
    inverse, right = np.zeros((count, SIZE, SIZE)), np.zeros((count - 1, SIZE, SIZE))
    inverse[-1] = np.linalg.inv(forward[-1])
    for k in range(count - 2, -1, -1):
        ahead = np.linalg.solve(forward[k], below[k].T)
        right[k] = -ahead @ inverse[k + 1]
        inverse[k] = np.linalg.inv(forward[k]) - right[k] @ ahead.T
    return inverse, right
