"""The bias of a batch: estimated and removed where it is declared, tested for where it is not.

Takes the measurements of a batch and a search of its targets.
Gives measurements without the bias, and fixes whose covariances and statuses state it.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from echoscape.localization.fix import Fix, FixStatus
from echoscape.localization.localizer import Localizer, search_all
from echoscape.localization.unassociated.ascent import LocalMaxima
from echoscape.localization.unassociated.batch_bias import (
    NUISANCES,
    BatchBias,
    Normal,
    estimate_bias,
    marginalise,
    remove_bias,
    significant_causes,
)
from echoscape.localization.unassociated.one_way_paths import EchoSet, OneWayPaths

_LEARNT_FROM = 64  # targets at most, those of most echoes
_ROUNDS = 6  # searches at most
_SETTLED = 0.2  # standard deviations of a last step
_SCANNED, _SCAN_STEP = 18.0, 1.5  # lengths tried for the clock, plus and minus 60 ns [m]
_TRUSTED = 0.9  # posterior share of the best mode of a target that takes part


class _Marginal(NamedTuple):
    """What the best mode of every target says of the nuisances."""

    gradient: np.ndarray
    information: np.ndarray
    moved: np.ndarray


def calibrate(
    method: Localizer, inputs: tuple[list[EchoSet], list[Any]], search, best_score,
    unknown: tuple[str, ...], free: int,
) -> tuple[tuple[list[EchoSet], list[Any]], BatchBias]:  # fmt: skip
    """Estimate the bias of a batch and take it off.

    Args:
        method: Searches.
        inputs: Echoes of every station, and the one-way paths under them, by target.
        search: From some of the inputs to local maxima and their normal equations.
        best_score: From one-way paths of some targets to the score of each one's best cell.
        unknown: Which nuisances.
        free: How many coordinates are unknown.

    Returns:
        The inputs without the bias, and the bias.
    """
    sets, observed = inputs
    echoes = sum(np.asarray(each.valid).sum(axis=1) for each in sets)
    rows = np.sort(np.argsort(-echoes, kind="stable")[:_LEARNT_FROM])
    value = np.zeros(len(NUISANCES))
    if "clock" in unknown:
        chosen = rows[: method.targets_at_a_time(len(rows))]
        some = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], observed)
        tried = np.arange(-_SCANNED, _SCANNED + 0.1, _SCAN_STEP)
        score = [
            float(np.sum(np.asarray(best_score(_without(some, np.array([length, 0.0]))))))
            for length in tried
        ]
        value[0] = tried[int(np.argmax(score))]
    bias = BatchBias(value, np.full(len(NUISANCES), np.inf), 0)
    for _ in range(_ROUNDS):
        some = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], inputs)
        some = _without(some[0], value), _without(some[1], value)
        size = method.targets_at_a_time(len(rows))
        found, normal = search_all(search, some, len(rows), size)
        marginal, share = _of_best(found, normal, free)
        trusted = share > _TRUSTED if np.any(share > _TRUSTED) else share > 0.0
        left = estimate_bias(marginal.gradient, marginal.information, trusted, unknown)
        if left.targets == 0:
            break
        value = value + left.value
        bias = BatchBias(value, left.std, left.targets)
        if np.all(np.abs(left.value) < _SETTLED * left.std):
            break
    return (_without(sets, bias.value), _without(observed, bias.value)), bias


def state_bias(
    fix: Fix, found: LocalMaxima, normal: Normal | None, bias: BatchBias | None, free: int,
    outside: Bool[np.ndarray, " target"],
) -> Fix:  # fmt: skip
    """Add a declared bias's uncertainty to every fix, or say that one was not declared.

    Args:
        fix: The fixes.
        found: The local maxima that they are of.
        normal: Normal equations there; None where no station received its own pulse.
        bias: What was estimated; None where nothing was declared unknown.
        free: How many coordinates are unknown.
        outside: Targets whose best mode lies at the edge of the search: they say nothing of a bias.
    """
    if normal is None:
        return fix
    marginal, share = _of_best(found, normal, free)
    if bias is not None:
        variance = np.where(np.isfinite(bias.std), bias.std, 0.0) ** 2
        added = np.einsum("tik,k,tjk->tij", marginal.moved, variance, marginal.moved)
        covariance = fix.covariance + added[:, None]
        learnt = (fix.learnt or {}) | bias.stated()
        return dataclasses.replace(fix, covariance=covariance, learnt=learnt)
    # a large bias leaves many echoes unexplained: such fixes are asked too
    sound = (fix.status != FixStatus.NO_ECHO) & ~outside
    causes = significant_causes(*marginal, fix.covariance[:, 0], sound & (share > _TRUSTED))
    if not causes:
        return fix
    learnt = dict(fix.learnt or {})
    for each in causes.values():
        learnt |= each.stated()
    fix.status[sound] = FixStatus.BIASED
    return dataclasses.replace(fix, learnt=learnt)


def _of_best(found: LocalMaxima, normal: Normal, free: int) -> tuple[_Marginal, np.ndarray]:
    """Marginalise the position at each target's best end, and give that end's share."""
    value = np.where(np.isfinite(found.log_likelihood), found.log_likelihood, -np.inf)
    best = np.argmax(value, axis=1)
    rows = np.arange(len(best))
    at_best = Normal(*(np.asarray(leaf)[rows, best] for leaf in normal))
    top = value[rows, best]
    weight = np.exp(value - np.where(np.isfinite(top), top, 0.0)[:, None])
    detected = np.asarray(found.detected)[rows, best]
    share = np.where(np.isfinite(top) & (detected > 0), 1.0 / np.maximum(weight.sum(1), 1.0), 0.0)
    return _Marginal(*marginalise(at_best, free)), share


def _without(sets: list[Any], value: np.ndarray) -> list[Any]:
    """Take a bias off echoes or one-way paths of every station."""
    return [
        each._replace(length=each.length - 0.5 * value[0], azimuth=each.azimuth - value[1])
        if isinstance(each, OneWayPaths)
        else remove_bias(each, value)
        for each in sets
    ]
