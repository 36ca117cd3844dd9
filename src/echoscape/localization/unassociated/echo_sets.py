"""Echoes lined up by target for each station, and grouped into one-way paths.

Takes `Echoes`.
Gives `EchoSet`s and `OneWayPaths` with targets on the first axis, one for each station.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from echoscape.localization.unassociated.one_way_paths import (
    EchoModel,
    EchoSet,
    OneWayPaths,
    group_echoes,
)
from echoscape.reports import Echoes

_UNMEASURED = 2.5  # standard deviation of an angle that says nothing [rad]
_SWERLING = 1.3  # fluctuation of a log power where there is nothing to learn it from: 5.6 dB
_ASSUMED = 100.0  # echoes that a guess of detection and false echoes counts for
_PADDED_TO = 16  # few lengths let echoes of different files share a compiled program


def sets_of_targets(
    echoes: Echoes, ways: list[tuple[str, str]]
) -> tuple[Int[np.ndarray, " target"], list[EchoSet]]:
    """Line the targets up, with one set of echoes for each way, empty where none was heard.

    Args:
        echoes: The echoes.
        ways: Who sent and who heard.
    """
    targets = np.unique(echoes.target)
    extra = -echoes.estimates.valid.shape[-1] % _PADDED_TO
    e = jax.tree.map(lambda leaf: np.pad(leaf, ((0, 0), (0, extra))), echoes.estimates)

    def std(value):
        measured = np.isfinite(value) & (value > 0)
        return np.where(measured, np.minimum(value, _UNMEASURED), _UNMEASURED)

    log_power = np.log(np.where(e.power > 0, e.power, 1.0))
    whole = EchoSet(
        e.departure_azimuth, e.departure_zenith, e.arrival_azimuth, e.arrival_zenith,
        e.length, log_power,
        std(e.departure_azimuth_std), std(e.departure_zenith_std), std(e.arrival_azimuth_std),
        std(e.arrival_zenith_std),
        np.where(e.valid, e.length_std, 1.0), e.valid,
    )  # fmt: skip
    sets = []
    for way in ways:
        out, back = map(echoes.station.index, way)
        mine = np.flatnonzero((echoes.sender == out) & (echoes.station_index == back))
        row = np.zeros(len(targets), dtype=int)
        has = np.zeros(len(targets), dtype=bool)
        place = np.searchsorted(targets, echoes.target[mine])
        row[place], has[place] = mine, True
        one = EchoSet(*(np.asarray(leaf)[row] for leaf in whole))
        sets.append(one._replace(valid=one.valid & has[:, None]))
    return targets, sets


def group_sets(echo: EchoSet, model: EchoModel, chunk: int) -> OneWayPaths:
    """Group every target's echoes, some targets at a time."""
    count = len(echo.length)
    parts = []
    for first in range(0, count, chunk):
        index = np.minimum(np.arange(first, first + chunk), count - 1)
        some = EchoSet(*(jnp.asarray(leaf[index]) for leaf in echo))
        part = _group_many(some, model)
        kept = min(chunk, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@jax.jit
def _group_many(echo: EchoSet, model: EchoModel) -> OneWayPaths:
    return jax.vmap(group_echoes, in_axes=(0, None))(echo, model)


def power_fluctuation(grouped: list[OneWayPaths]) -> float:
    """Learn how much echoes' log powers fluctuate from how badly path gains add up to them."""
    if not grouped:
        return _SWERLING
    scatter = np.concatenate([np.asarray(g.gain_scatter) for g in grouped])
    freedom = np.concatenate([np.asarray(g.gain_freedom) for g in grouped])
    enough = freedom >= 3
    if not np.any(enough):
        return _SWERLING
    return float(np.clip(np.sqrt(np.median(scatter[enough])), 0.1, 3.0))


def learn_detection(echo: list[EchoSet], grouped: list[OneWayPaths], model: EchoModel) -> EchoModel:
    """Learn how many echoes are heard and how many are false from how the paths explain them.

    What was assumed before counts as much as a hundred echoes.
    """
    told = promised = heard = 0.0
    for each, paths in zip(echo, grouped):
        found = np.asarray(paths.valid).sum(axis=1)
        some = found >= 2
        told += float(np.sum((np.asarray(paths.gain_freedom) + found)[some]))
        promised += float(np.sum(found[some] ** 2))
        heard += float(np.sum(np.asarray(each.valid).sum(axis=1)[some]))
    detection = (told + _ASSUMED * float(model.detection)) / (promised + _ASSUMED)
    false = (max(heard - told, 0.0) + _ASSUMED * float(model.false_share)) / (heard + _ASSUMED)
    return model._replace(
        detection=jnp.asarray(np.clip(detection, 0.3, 0.99), float),
        false_share=jnp.asarray(np.clip(false, 1e-3, 0.5), float),
    )
