"""Where a target may be: places with covariance, how likely each, and a result code.

Takes what a search over places found.
Gives `Fix`, and its rows for a file.
"""

import enum
from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int


class FixStatus(enum.IntEnum):
    """What to think of a fix."""

    LOCATED = 0
    """One place explains the echoes."""
    AMBIGUOUS = 1
    """Other places explain them about as well: see the alternatives, or a wide covariance."""
    OUTSIDE = 2
    """The best place lies at the edge of what the map knows."""
    NO_ECHO = 3
    """No echo to locate from; the position is the middle of the map and means nothing."""
    UNEXPLAINED = 4
    """The map explains less than half of the echoes anywhere."""


class Fix(eqx.Module):
    """Places of every target, the most probable first; unused places have ``valid`` false."""

    target: Int[np.ndarray, " target"]
    """The target's number in its file."""
    position: Float[np.ndarray, "target place 3"]
    """Where it may be [m]."""
    covariance: Float[np.ndarray, "target place 3 3"]
    """Covariance of each place; zero in a coordinate that was given [m^2]."""
    log_likelihood: Float[np.ndarray, "target place"]
    """Logarithm of the likelihood, relative to clutter alone."""
    probability: Float[np.ndarray, "target place"]
    """Share of the posterior that is at each place [1]."""
    agreeing_starts: Int[np.ndarray, "target place"]
    """Starts of the search that ended there."""
    starts: Int[np.ndarray, " target"]
    """Starts of the search."""
    status: Int[np.ndarray, " target"]
    """A `FixStatus`."""
    valid: Bool[np.ndarray, "target place"]
    """False for padding."""

    @property
    def best(self) -> Float[np.ndarray, "target 3"]:
        """The most probable place of each target [m]."""
        return self.position[:, 0]

    @property
    def spread(self) -> Float[np.ndarray, " target"]:
        """Standard deviation of the whole posterior in the plane, alternatives included [m]."""
        weight = np.where(self.valid, self.probability, 0.0)
        mean = np.einsum("tp,tpi->ti", weight, self.position)
        apart = self.position - mean[:, None]
        inside = np.einsum("tpii->tp", self.covariance[..., :2, :2])
        return np.sqrt(np.sum(weight * (inside + np.sum(apart[..., :2] ** 2, axis=-1)), axis=1))


def fix_columns(fix: Fix, station: Sequence[str], method: str) -> dict[str, np.ndarray]:
    """Lay fixes out as the columns of ``docs/formats.md``, alternatives as rows of rank above 0.

    Args:
        fix: The fixes.
        station: Stations whose echoes were used.
        method: Name of the method.
    """
    keep = fix.valid.copy()
    keep[:, 0] = True
    row, rank = np.nonzero(keep)
    covariance = fix.covariance[row, rank]
    names = np.array([status.name.lower() for status in FixStatus])
    columns = {
        "target": fix.target[row],
        "station": np.full(len(row), " ".join(station)),
        **{axis: fix.position[row, rank, i] for i, axis in enumerate("xyz")},
    }
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
        columns[f"cov_{'xyz'[i]}{'xyz'[j]}"] = covariance[:, i, j]
    return columns | {
        "log_likelihood": fix.log_likelihood[row, rank],
        "status": names[fix.status[row]],
        "agreeing_starts": fix.agreeing_starts[row, rank],
        "starts": fix.starts[row],
        "method": np.full(len(row), method),
        "rank": rank,
        "probability": fix.probability[row, rank],
        "spread": fix.spread[row],
    }
