"""Echoes arranged by target for each station, and the one-way paths under them.

The order of a target's echoes in their file does not matter: they are sorted here.

Takes `Echoes`.
Gives `EchoSet`s and `OneWayPaths` with targets on the first axis, one for each station or pair.
"""

import jax
import numpy as np
from jaxtyping import Int

from echoscape.estimation import PathEstimates
from echoscape.localization.unassociated.one_way_paths import (
    EchoModel,
    EchoSet,
    OneWayPaths,
    estimate_one_way_paths,
)
from echoscape.reports import Echoes

_UNMEASURED = 2.5  # standard deviation of an angle that was not measured [rad]
_SWERLING = 1.3  # fluctuation of a log power where there is nothing to learn it from: 5.6 dB
_ASSUMED = 100.0  # echoes that what is assumed of detection and false echoes counts for
_PADDED_TO = 16  # few lengths let echoes of different files share a compiled program
_TOGETHER = 32  # targets whose one-way paths are estimated at a time


def sets_of_targets(
    echoes: Echoes, pairs: list[tuple[str, str]]
) -> tuple[Int[np.ndarray, " target"], list[EchoSet]]:
    """Arrange the echoes by target, with one set for each pair, empty where none was detected.

    Args:
        echoes: The echoes.
        pairs: Names of the transmitting and of the receiving station.
    """
    targets = np.unique(echoes.target)
    whole = _echo_set(_sorted(echoes.estimates))
    sets = []
    for pair in pairs:
        out, back = map(echoes.station.index, pair)
        mine = np.flatnonzero((echoes.sender == out) & (echoes.station_index == back))
        row = np.zeros(len(targets), dtype=int)
        has = np.zeros(len(targets), dtype=bool)
        index = np.searchsorted(targets, echoes.target[mine])
        row[index], has[index] = mine, True
        one = EchoSet(*(np.asarray(leaf)[row] for leaf in whole))
        sets.append(one._replace(valid=one.valid & has[:, None]))
    return targets, sets


def _sorted(paths: PathEstimates) -> PathEstimates:
    """Sort the echoes of every set by delay and angles, and fill up to a round number."""
    extra = -paths.valid.shape[-1] % _PADDED_TO
    paths = jax.tree.map(lambda leaf: np.pad(leaf, ((0, 0), (0, extra))), paths)
    keys = (paths.arrival_azimuth, paths.departure_azimuth, paths.length, ~paths.valid)
    order = np.lexsort([np.asarray(key) for key in keys], axis=-1)
    return jax.tree.map(lambda leaf: np.take_along_axis(np.asarray(leaf), order, 1), paths)


def _echo_set(e: PathEstimates) -> EchoSet:
    def std(value):
        measured = np.isfinite(value) & (value > 0)
        return np.where(measured, np.minimum(value, _UNMEASURED), _UNMEASURED)

    log_power = np.log(np.where(e.power > 0, e.power, 1.0))
    return EchoSet(
        e.departure_azimuth, e.departure_zenith, e.arrival_azimuth, e.arrival_zenith,
        e.length, log_power,
        std(e.departure_azimuth_std), std(e.departure_zenith_std), std(e.arrival_azimuth_std),
        std(e.arrival_zenith_std),
        np.where(e.valid, e.length_std, 1.0), e.valid,
    )  # fmt: skip


def estimate_for_targets(echo: EchoSet, model: EchoModel, chunk: int = _TOGETHER) -> OneWayPaths:
    """Estimate every target's one-way paths, some targets at a time."""
    count = len(echo.length)
    chunk = chunk if count > 1 else 1
    parts = []
    for first in range(0, count, chunk):
        index = np.minimum(np.arange(first, first + chunk), count - 1)
        some = EchoSet(*(leaf[index] for leaf in echo))
        part = _estimate_many(some, model)
        kept = min(chunk, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@jax.jit
def _estimate_many(echo: EchoSet, model: EchoModel) -> OneWayPaths:
    return jax.vmap(estimate_one_way_paths, in_axes=(0, None))(echo, model)


def learn_power_fluctuation(paths: list[OneWayPaths]) -> float:
    """Learn the deviation of the echoes' log powers from how badly path gains add up to them."""
    if not paths:
        return _SWERLING
    residual = np.concatenate([np.asarray(g.log_gain_residual) for g in paths])
    freedom = np.concatenate([np.asarray(g.degrees_of_freedom) for g in paths])
    enough = freedom >= 3
    if not np.any(enough):
        return _SWERLING
    return float(np.clip(np.sqrt(np.median(residual[enough])), 0.1, 3.0))


def learn_detection(
    echo: list[EchoSet], paths: list[OneWayPaths], detection: float, false_share: float
) -> tuple[float, float]:
    """Learn the probability of detection and the share of false echoes from the one-way paths.

    Args:
        echo: Echoes of every station.
        paths: The paths under them.
        detection: Assumed before; counts as much as a hundred echoes.
        false_share: Likewise.
    """
    explained = expected = detected = 0.0
    for each, found in zip(echo, paths):
        number = np.asarray(found.valid).sum(axis=1)
        some = number >= 2
        explained += float(np.sum((np.asarray(found.degrees_of_freedom) + number)[some]))
        expected += float(np.sum(number[some] ** 2))
        detected += float(np.sum(np.asarray(each.valid).sum(axis=1)[some]))
    share = (explained + _ASSUMED * detection) / (expected + _ASSUMED)
    false = (max(detected - explained, 0.0) + _ASSUMED * false_share) / (detected + _ASSUMED)
    return float(np.clip(share, 0.3, 0.99)), float(np.clip(false, 1e-3, 0.5))
