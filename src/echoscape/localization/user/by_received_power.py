"""Locate a radio by how strongly it hears transmitters, through a map of levels.

Levels alone rarely leave one sharp peak, so the whole posterior over a grid is kept and its mean
and covariance given, which is what loses least on average.

Takes levels and a `SignalStrengthMap`.
Gives a `Fix`; and, for a campaign judged by itself, a `BlocksLeftOut`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
import pydantic
from jaxtyping import Float
from scipy.spatial import KDTree

from echoscape.channel_map.received_power import SignalStrengthMap, fit_signal_strength
from echoscape.checks import InputError
from echoscape.localization.fix import Fix, FixStatus

_TOGETHER = 256  # readings in memory at a time


class StrengthSettings(pydantic.BaseModel):
    """How places are searched."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    cell: float = pydantic.Field(default=0.2, gt=0)
    """Side of the grid's cells [m]."""
    reach: float = pydantic.Field(default=1.0, gt=0)
    """How far from the nearest reading a place may be [m]."""
    vague_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""


def locate_by_strength(
    level: Float[np.ndarray, "_ _"],
    channel_map: SignalStrengthMap,
    *,
    settings: StrengthSettings | None = None,
) -> Fix:
    """Locate every reading by itself: the mean of its posterior over the map's area.

    A transmitter that was not heard says nothing.

    Args:
        level: What was received [dB], a row a reading and a column a transmitter; NaN where
            nothing was.
        channel_map: What to expect where.
        settings: How to search.

    Raises:
        InputError: The levels are of another number of transmitters, or there are none.
    """
    settings = settings or StrengthSettings()
    known = len(channel_map.transmitter)
    if level.ndim != 2 or level.shape[1] != known or len(level) == 0:
        raise InputError(
            f"levels need one row a reading and a column for each of the map's {known} "
            f"transmitters; got shape {level.shape}"
        )
    cells = _cells(channel_map.reading_position, settings)
    mean, std = channel_map.predict(cells)
    spread = std**2 + np.array([w.reading for w in channel_map.widths]) ** 2
    heard, value = ~np.isnan(level), np.nan_to_num(level)
    count = len(level)
    place, top = np.zeros((count, 3)), np.zeros(count)
    covariance = np.zeros((count, 3, 3))
    for first in range(0, count, _TOGETHER):
        rows = slice(first, first + _TOGETHER)
        gap = (value[rows, None] - mean[None]) ** 2 / spread[None] + np.log(spread)[None]
        log = -0.5 * np.sum(np.where(heard[rows, None], gap, 0.0), axis=2)
        top[rows] = log.max(axis=1)
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        place[rows] = weight @ cells
        square = np.einsum("rc,ci,cj->rij", weight, cells, cells)
        covariance[rows] = square - place[rows, :, None] * place[rows, None]
    plane = np.diag([1.0, 1.0, 0.0]) * settings.cell**2 / 12  # of a place within its cell
    fix = Fix(
        target=np.arange(count),
        position=place[:, None],
        covariance=(covariance + plane[None])[:, None],
        log_likelihood=top[:, None],
        probability=np.ones((count, 1)),
        agreeing_starts=np.ones((count, 1), dtype=int),
        starts=np.ones(count, dtype=int),
        status=np.full(count, int(FixStatus.LOCATED)),
        valid=np.ones((count, 1), dtype=bool),
    )
    status = fix.status.copy()
    status[fix.spread > settings.vague_above] = FixStatus.AMBIGUOUS
    status[~heard.any(axis=1)] = FixStatus.NO_ECHO
    return eqx.tree_at(lambda f: f.status, fix, status)


def _cells(position, settings: StrengthSettings) -> Float[np.ndarray, "cell 3"]:
    low, high = position[:, :2].min(0) - settings.reach, position[:, :2].max(0) + settings.reach
    axes = [np.arange(a, b + settings.cell, settings.cell) for a, b in zip(low, high, strict=True)]
    plane = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    away, _ = KDTree(position[:, :2]).query(plane)
    plane = plane[away <= settings.reach]
    height = np.full((len(plane), 1), np.median(position[:, 2]))
    return np.concatenate([plane, height], axis=1)


class BlocksLeftOut(eqx.Module):
    """Every reading located by a map that knows nothing of its surroundings, beside baselines."""

    fix: Fix
    """Where each reading was found."""
    position: Float[np.ndarray, "reading 3"]
    """Where it was taken [m]."""
    nearest: Float[np.ndarray, "reading 3"]
    """The mean place of the 15 readings whose levels match best [m]."""
    miss: Float[np.ndarray, "reading transmitter"]
    """Level received less level predicted where it was taken [dB]."""

    def distances(self) -> dict[str, Float[np.ndarray, " reading"]]:
        """Measure the horizontal error of each method at each reading [m]."""
        found = {"map": self.fix.best, "nearest readings": self.nearest}
        return {
            name: np.linalg.norm(place[:, :2] - self.position[:, :2], axis=1)
            for name, place in found.items()
        }


def leave_blocks_out(
    position: Float[np.ndarray, "reading 3"],
    level: Float[np.ndarray, "reading transmitter"],
    transmitter: Float[np.ndarray, "transmitter 3"],
    *,
    block: float = 1.0,
    folds: int = 5,
    seed: int = 0,
    settings: StrengthSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BlocksLeftOut:
    """Judge a campaign by itself: a map of some squares of the area locates the readings of others.

    Single readings left out would still be known from those a hand's breadth away.

    Args:
        position: Where the readings were taken [m].
        level: What was received [dB], NaN where nothing was.
        transmitter: Where the transmitters are [m].
        block: Side of the squares [m].
        folds: How many maps are learnt, each without its share of the squares.
        seed: Seed of the shares.
        settings: How to search.
        progress: Called with maps learnt and all maps.

    Raises:
        InputError: There are fewer squares than folds, or as `fit_signal_strength`.
    """
    if not block > 0 or folds < 2:
        raise InputError(
            f"block must be above zero, in m, and folds at least 2; got {block} and {folds}"
        )
    key = np.floor(position[:, :2] / block).astype(int)
    _, owner = np.unique(key, axis=0, return_inverse=True)
    squares = int(owner.max()) + 1
    if squares < folds:
        raise InputError(f"{folds} folds need as many squares of {block:g} m; there are {squares}")
    share = (np.random.default_rng(seed).permutation(squares) % folds)[owner.ravel()]
    nearest, miss = np.zeros_like(position), np.zeros_like(level)
    parts, rows = [], []
    for fold in range(folds):
        out = share == fold
        learnt = fit_signal_strength(position[~out], level[~out], transmitter)
        parts.append(locate_by_strength(level[out], learnt, settings=settings))
        rows.append(np.flatnonzero(out))
        miss[out] = level[out] - learnt.predict(position[out])[0]
        nearest[out] = _best_match(level[out], level[~out], position[~out])
        if progress is not None:
            progress(fold + 1, folds)
    order = np.argsort(np.concatenate(rows))
    fix = eqx.tree_at(
        lambda f: f.target,
        Fix(*(np.concatenate([getattr(p, n) for p in parts])[order] for n in _FIELDS)),
        np.arange(len(position)),
    )
    return BlocksLeftOut(fix, position, nearest, miss)


def summarize_blocks(found: BlocksLeftOut) -> dict[str, Any]:
    """Measure levels [dB], places [m] and the share of places inside the claimed 90 % region."""
    away = (found.position - found.fix.best)[:, :2]
    inverse = np.linalg.inv(found.fix.covariance[:, 0, :2, :2])
    square = np.einsum("ri,rij,rj->r", away, inverse, away)
    told: dict[str, Any] = {
        "readings": len(away),
        "level_rms": float(np.sqrt(np.nanmean(found.miss**2))),
        "inside_90": float(np.mean(square < -2.0 * np.log(0.1))),
    }
    for name, error in found.distances().items():
        told[name] = {
            "median": float(np.median(error)),
            "p90": float(np.quantile(error, 0.9)),
            "rms": float(np.sqrt(np.mean(error**2))),
        }
    return told


_FIELDS = (
    "target", "position", "covariance", "log_likelihood", "probability", "agreeing_starts",
    "starts", "status", "valid",
)  # fmt: skip


def _best_match(level, known, position, neighbours: int = 15, unheard: float = 15.0):
    """Average the places of the readings most alike; a level that only one has counts as 15 dB."""
    found = np.zeros((len(level), 3))
    for first in range(0, len(level), _TOGETHER):
        gap = level[first : first + _TOGETHER, None] - known[None]
        square = np.sum(np.where(np.isnan(gap), unheard, gap) ** 2, axis=2)
        best = np.argsort(square, axis=1, kind="stable")[:, :neighbours]
        found[first : first + _TOGETHER] = position[best].mean(axis=1)
    return found
