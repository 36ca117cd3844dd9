"""Locate a radio by the powers that it receives from transmitters, through a map of these.

Received powers alone rarely leave one sharp peak, so the whole posterior over a grid is computed
and its mean and covariance given, which minimises the expected squared error.

Takes received powers and a `SignalStrengthMap`.
Gives a `Batch` for `run`; and, for a campaign judged by itself, a `BlocksLeftOut`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import numpy as np
import pydantic
from jaxtyping import Float
from scipy.spatial import KDTree

from echoscape.channel_map.received_power import SignalStrengthMap, fit_signal_strength
from echoscape.checks import InputError
from echoscape.localization.fix import Fix, FixStatus
from echoscape.localization.localizer import (
    Batch,
    CellSize,
    Chunk,
    Height,
    Localizer,
    only_map,
    run,
)
from echoscape.progress import Progress
from echoscape.reports.strength_file import StrengthReadings

_TOGETHER = 256  # readings in memory at a time


class ReceivedPower(Localizer):
    """Locate from received powers: the mean of each reading's posterior over the map's area.

    A transmitter that was not received is not used.
    """

    name: ClassVar[str] = "received-power"
    measurements: ClassVar[tuple[type, ...]] = (np.ndarray, StrengthReadings)
    needs: ClassVar[str] = "received powers in dB (StrengthReadings, or an array of readings)"

    cell: CellSize = 0.2
    reach: float = pydantic.Field(default=1.0, gt=0)
    """How far from the nearest reading to search [m]."""
    ambiguous_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""
    chunk: Chunk = 256

    def prepare(self, maps: Mapping[str, Any], height: Height, measurements: Any) -> "_Grid":
        """Predict the received powers on a grid."""
        channel_map = only_map(maps, "received powers")
        if not isinstance(channel_map, SignalStrengthMap):
            raise InputError(
                "ReceivedPower needs a map of received power (fit_signal_strength), got "
                f"{type(channel_map).__name__}"
            )
        position = channel_map.reading_position
        common = float(np.median(position[:, 2])) if height is None else height
        if isinstance(common, tuple | list) or not np.isfinite(common):
            raise InputError(
                f"ReceivedPower needs one height, a finite number in metres; got {height}"
            )
        cells = _cells(position, self.cell, self.reach, float(common))
        mean, std = channel_map.predict(cells)
        return _Grid(cells, mean, std**2 + np.array([w.reading for w in channel_map.widths]) ** 2)

    def batch(self, prepared: "_Grid", measurements: Any) -> Batch:
        """Check the readings."""
        power = measurements.level if isinstance(measurements, StrengthReadings) else measurements
        known = prepared.mean.shape[1]
        if power.ndim != 2 or power.shape[1] != known or len(power) == 0:
            raise InputError(
                f"received powers need one row a reading and a column for each of the map's "
                f"{known} transmitters; got shape {power.shape}"
            )

        def search(power):
            return _posterior(prepared, power, self.cell)

        def conclude(found) -> Fix:
            position, covariance, top, received = found
            count = len(position)
            fix = Fix(
                target=np.arange(count),
                position=position[:, None],
                covariance=covariance[:, None],
                log_likelihood=top[:, None],
                probability=np.ones((count, 1)),
                agreeing_starts=np.ones((count, 1), dtype=int),
                starts=np.ones(count, dtype=int),
                status=np.full(count, int(FixStatus.LOCATED)),
                valid=np.ones((count, 1), dtype=bool),
            )
            fix.status[fix.spread > self.ambiguous_above] = FixStatus.AMBIGUOUS
            fix.status[~received] = FixStatus.NO_ECHO
            return fix

        return Batch(len(power), power, search, conclude)


class _Grid(NamedTuple):
    """What is expected at every cell."""

    cells: Float[np.ndarray, "cell 3"]
    mean: Float[np.ndarray, "cell transmitter"]
    variance: Float[np.ndarray, "cell transmitter"]


def _posterior(grid: _Grid, power, side: float):
    """Average over the posterior of some readings."""
    received, value = ~np.isnan(power), np.nan_to_num(power)
    square = (value[:, None] - grid.mean[None]) ** 2 / grid.variance[None]
    square += np.log(grid.variance)[None]
    log = -0.5 * np.sum(np.where(received[:, None], square, 0.0), axis=2)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    position = weight @ grid.cells
    second = np.einsum("rc,ci,cj->rij", weight, grid.cells, grid.cells)
    covariance = second - position[:, :, None] * position[:, None]
    covariance += np.diag([1.0, 1.0, 0.0]) * side**2 / 12  # of a position within its cell
    return position, covariance, log.max(axis=1), received.any(axis=1)


def _cells(position, cell: float, reach: float, height: float) -> Float[np.ndarray, "cell 3"]:
    low, high = position[:, :2].min(0) - reach, position[:, :2].max(0) + reach
    axes = [np.arange(a, b + cell, cell) for a, b in zip(low, high, strict=True)]
    plane = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    distance, _ = KDTree(position[:, :2]).query(plane)
    plane = plane[distance <= reach]
    return np.concatenate([plane, np.full((len(plane), 1), height)], axis=1)


class BlocksLeftOut(eqx.Module):
    """Every reading located by a map that knows nothing of its surroundings, beside baselines."""

    fix: Fix
    """Where each reading was found."""
    position: Float[np.ndarray, "reading 3"]
    """Where it was taken [m]."""
    nearest: Float[np.ndarray, "reading 3"]
    """The mean position of the 15 readings whose powers match best [m]."""
    miss: Float[np.ndarray, "reading transmitter"]
    """Power received less power predicted there [dB]."""

    def distances(self) -> dict[str, Float[np.ndarray, " reading"]]:
        """Measure the horizontal error of each method at each reading [m]."""
        found = {"map": self.fix.best, "nearest readings": self.nearest}
        return {
            name: np.linalg.norm(position[:, :2] - self.position[:, :2], axis=1)
            for name, position in found.items()
        }


def leave_blocks_out(
    position: Float[np.ndarray, "reading 3"],
    power: Float[np.ndarray, "reading transmitter"],
    transmitter: Float[np.ndarray, "transmitter 3"],
    *,
    block: float = 1.0,
    folds: int = 5,
    seed: int = 0,
    method: ReceivedPower | None = None,
    progress: Progress | None = None,
) -> BlocksLeftOut:
    """Judge a campaign by itself: a map of some squares of the area locates the readings of others.

    Single readings left out would still be predicted from those a few centimetres away.

    Args:
        position: Where the readings were taken [m].
        power: What was received [dB], NaN where nothing was.
        transmitter: Where the transmitters are [m].
        block: Side of the squares [m].
        folds: How many maps are fitted, each without its share of the squares.
        seed: Seed of the shares.
        method: How to locate.
        progress: Called with maps fitted and all maps.

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
    nearest, miss = np.zeros_like(position), np.zeros_like(power)
    parts, rows = [], []
    method = method or ReceivedPower()
    for fold in range(folds):
        out = share == fold
        channel_map = fit_signal_strength(position[~out], power[~out], transmitter)
        prepared = method.prepare({"": channel_map}, None, power[out])
        parts.append(run(method, method.batch(prepared, power[out]), None))
        rows.append(np.flatnonzero(out))
        miss[out] = power[out] - channel_map.predict(position[out])[0]
        nearest[out] = _best_match(power[out], power[~out], position[~out])
        if progress is not None:
            progress(fold + 1, folds, "leaving squares out")
    order = np.argsort(np.concatenate(rows))
    fix = eqx.tree_at(
        lambda f: f.target,
        Fix(*(np.concatenate([getattr(p, n) for p in parts])[order] for n in _FIELDS)),
        np.arange(len(position)),
    )
    return BlocksLeftOut(fix, position, nearest, miss)


def summarize_blocks(found: BlocksLeftOut) -> dict[str, Any]:
    """Measure errors of powers [dB] and positions [m], and the share inside the claimed 90 %."""
    away = (found.position - found.fix.best)[:, :2]
    inverse = np.linalg.inv(found.fix.covariance[:, 0, :2, :2])
    square = np.einsum("ri,rij,rj->r", away, inverse, away)
    summary: dict[str, Any] = {
        "readings": len(away),
        "level_rms": float(np.sqrt(np.nanmean(found.miss**2))),
        "inside_90": float(np.mean(square < -2.0 * np.log(0.1))),
    }
    for name, error in found.distances().items():
        summary[name] = {
            "median": float(np.median(error)),
            "p90": float(np.quantile(error, 0.9)),
            "rms": float(np.sqrt(np.mean(error**2))),
        }
    return summary


_FIELDS = (
    "target", "position", "covariance", "log_likelihood", "probability", "agreeing_starts",
    "starts", "status", "valid",
)  # fmt: skip


def _best_match(power, known, position, neighbours: int = 15, not_received: float = 15.0):
    """Average the positions of the readings most alike; a missing power counts as 15 dB."""
    found = np.zeros((len(power), 3))
    for first in range(0, len(power), _TOGETHER):
        difference = power[first : first + _TOGETHER, None] - known[None]
        square = np.sum(np.where(np.isnan(difference), not_received, difference) ** 2, axis=2)
        best = np.argsort(square, axis=1, kind="stable")[:, :neighbours]
        found[first : first + _TOGETHER] = position[best].mean(axis=1)
    return found
