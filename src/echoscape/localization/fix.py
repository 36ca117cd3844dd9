"""Where a target may be: modes of its posterior with covariance and probability, and a status.

Takes what a search found.
Gives `Fix`, its rows for a file, and the way back.
"""

import enum
from collections.abc import Mapping, Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.checks import InputError
from echoscape.display import Plotted

BIAS_COLUMNS = ("clock_bias", "clock_bias_std", "heading_bias", "heading_bias_std")
"""What the echoes of all targets, or a user's own paths, are off the map by, where it was
estimated [s], [rad]."""


class FixStatus(enum.IntEnum):
    """What to think of a fix."""

    LOCATED = 0
    """One position explains the echoes."""
    AMBIGUOUS = 1
    """Other positions explain them about as well: see the further modes, or a wide covariance."""
    OUTSIDE = 2
    """The best mode lies at the edge of what the map knows."""
    NO_ECHO = 3
    """No echo to locate from; the position is the middle of the map and has no meaning."""
    UNEXPLAINED = 4
    """The map explains less than half of the echoes anywhere."""
    BIASED = 5
    """Residuals of the batch share a sign that nothing declared explains: see `Fix.learnt`."""
    SEVERAL = 6
    """Echoes of more than one target: the position is of one; allow for more `targets`."""


class Fix(Plotted, eqx.Module):
    """Modes of every target's posterior, the best first; unused ones have ``valid`` false."""

    target: Int[np.ndarray, " target"]
    """The target's number in its file."""
    position: Float[np.ndarray, "target mode 3"]
    """Where it may be [m]."""
    covariance: Float[np.ndarray, "target mode 3 3"]
    """Covariance of each mode; zero in a coordinate that was given [m^2]."""
    log_likelihood: Float[np.ndarray, "target mode"]
    """Logarithm of the likelihood, relative to clutter alone."""
    probability: Float[np.ndarray, "target mode"]
    """Share of the posterior that belongs to each mode [1]."""
    agreeing_starts: Int[np.ndarray, "target mode"]
    """Starts of the search that ended there."""
    starts: Int[np.ndarray, " target"]
    """Starts of the search."""
    status: Int[np.ndarray, " target"]
    """A `FixStatus`."""
    valid: Bool[np.ndarray, "target mode"]
    """False for padding."""
    learnt: dict[str, float] | None = eqx.field(default=None, kw_only=True)
    """What was learnt from all targets together, by name of the method's setting; None where
    nothing was.  Given to the method, a part of the targets gets the same fixes."""
    own: dict[str, Float[np.ndarray, " target"]] | None = eqx.field(default=None, kw_only=True)
    """What was estimated of each user's own clock [s] and heading [rad], by `BIAS_COLUMNS`; None
    where nothing was."""

    @property
    def best(self) -> Float[np.ndarray, "target 3"]:
        """The best mode of each target [m]."""
        return self.position[:, 0]

    @property
    def spread(self) -> Float[np.ndarray, " target"]:
        """Standard deviation of the whole posterior in the plane, all modes included [m]."""
        weight = np.where(self.valid, self.probability, 0.0)
        mean = np.einsum("tp,tpi->ti", weight, self.position)
        difference = self.position - mean[:, None]
        inside = np.einsum("tpii->tp", self.covariance[..., :2, :2])
        return np.sqrt(
            np.sum(weight * (inside + np.sum(difference[..., :2] ** 2, axis=-1)), axis=1)
        )


def fix_columns(fix: Fix, station: Sequence[str], method: str) -> dict[str, np.ndarray]:
    """Lay fixes out as the columns of ``docs/formats.md``, further modes as rows of rank above 0.

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
        **{
            name: np.full(len(row), fix.learnt[name])
            for name in BIAS_COLUMNS
            if fix.learnt is not None and name in fix.learnt
        },
        **{name: value[row] for name, value in (fix.own or {}).items()},
    }


def fix_from_columns(columns: Mapping[str, np.ndarray]) -> Fix:
    """Build fixes from the columns of a file, as `echoscape.reports.read_fixes` gives them.

    Targets come in rising order of their numbers.  What the file does not state is NaN where it is
    a number; a target's places share the probability equally then.
    """
    target, index = np.unique(columns["target"], return_inverse=True)
    rank = np.asarray(columns.get("rank", np.zeros(len(index), dtype=int)))
    order = np.lexsort((rank, index))
    place = np.empty(len(index), dtype=int)
    first = np.searchsorted(index[order], np.arange(len(target)))
    place[order] = np.arange(len(index)) - first[index[order]]
    shape = (len(target), int(place.max(initial=0)) + 1)

    def spread_out(values, empty, *rest: int) -> np.ndarray:
        full = np.full((*shape, *rest), empty, dtype=np.asarray(values).dtype)
        full[index, place] = values
        return full

    def number(name: str, missing: float = np.nan) -> np.ndarray:
        return np.asarray(columns.get(name, np.full(len(index), missing)), dtype=float)

    covariance = np.empty((len(index), 3, 3))
    for i in range(3):
        for j in range(i, 3):
            values = number(f"cov_{'xyz'[i]}{'xyz'[j]}")
            covariance[:, i, j] = covariance[:, j, i] = values
    names = [status.name.lower() for status in FixStatus]
    unknown = sorted(set(columns["status"]) - set(names))
    if unknown:
        raise InputError(
            f"the status of a fix must be one of {', '.join(names)}; got {str(unknown[0])!r}"
        )
    code = np.array([names.index(word) for word in columns["status"]])
    count = np.bincount(index)
    probability = number("probability")
    probability = np.where(np.isfinite(probability), probability, 1.0 / count[index])
    valid = spread_out(np.ones(len(index), dtype=bool), False)
    status = spread_out(code, 0)[:, 0]
    valid[status == FixStatus.NO_ECHO] = False
    return Fix(
        target=target,
        position=spread_out(np.stack([number(axis) for axis in "xyz"], axis=-1), 0.0, 3),
        covariance=spread_out(covariance, 0.0, 3, 3),
        log_likelihood=spread_out(number("log_likelihood"), 0.0),
        probability=spread_out(probability, 0.0),
        agreeing_starts=spread_out(number("agreeing_starts", 0.0).astype(int), 0),
        starts=spread_out(number("starts", 0.0).astype(int), 0)[:, 0],
        status=status,
        valid=valid,
    )
