"""Several targets in one set of echoes: what one leaves unexplained is searched for another.

Every target gives echoes of all pairs of its own paths and none of another's.  After one is found,
its echoes are taken away; if the rest is a target too, both are searched again, each without the
other's echoes.

Takes `EchoSet`s by target, and local maxima that say which echoes they explain.
Gives what was found of a further target in each set.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from echoscape.localization.unassociated.ascent import LocalMaxima
from echoscape.localization.unassociated.one_way_paths import EchoSet

_FEWEST, _LEAST_SHARE = 5, 0.2  # echoes left over, for another target to be looked for
_LEAST_LOG_RATIO = 12.0  # of another target against false echoes
_EXPLAINED = 0.5  # share of the echoes left over that it must explain
_SEPARATION = 3.0  # from the first target, in standard deviations and in metres


class Further(NamedTuple):
    """A further target in some of the sets."""

    row: np.ndarray
    """Which sets."""
    first: Any
    """What was found of the first target, without the further one's echoes."""
    second: Any
    """What was found of the further one."""


def find_further(
    sets: list[EchoSet], found: LocalMaxima, search: Callable[[np.ndarray, list[EchoSet]], Any]
) -> Further | None:
    """Look for a further target where enough echoes are left over.

    Args:
        sets: Echoes by target, for every station or pair.
        found: Local maxima of one target in each set (numpy).
        search: From rows and their echoes to what is found (maxima first).
    """
    rest = _without_explained(sets, found)
    left = sum(each.valid.sum(axis=1) for each in rest)
    count = sum(np.asarray(each.valid).sum(axis=1) for each in sets)
    row = np.flatnonzero((left >= _FEWEST) & (left >= _LEAST_SHARE * count))
    if len(row) == 0:
        return None
    second = search(row, _rows(rest, row))
    good = _is_target(second[0], _best(found)[0][row], _best(found)[1][row])
    if not good.any():
        return None
    row, second = row[good], jax.tree.map(lambda leaf: np.asarray(leaf)[good], second)
    first = search(row, _without_explained(_rows(sets, row), second[0]))
    second = search(row, _without_explained(_rows(sets, row), first[0]))
    return Further(row, first, second)


def _rows(sets: list[EchoSet], row) -> list[EchoSet]:
    return [jax.tree.map(lambda leaf: np.asarray(leaf)[row], each) for each in sets]


def _best(found: LocalMaxima):
    """Give the position of every set's best end, and its information."""
    best = np.argmax(np.asarray(found.log_likelihood), axis=1)
    rows = np.arange(len(best))
    return np.asarray(found.position)[rows, best], np.asarray(found.information)[rows, best]


def _without_explained(sets: list[EchoSet], found: LocalMaxima) -> list[EchoSet]:
    """Take the echoes away that the best end explains."""
    best = np.argmax(np.asarray(found.log_likelihood), axis=1)
    rows, rest = np.arange(len(best)), []
    for each, share in zip(sets, found.echo_explained or []):
        taken = np.asarray(share)[rows, best] > 0.5
        rest.append(each._replace(valid=np.asarray(each.valid) & ~taken))
    return rest


def _is_target(second: LocalMaxima, position, information) -> np.ndarray:
    """Tell whether what was found of the rest is a target of its own."""
    best = np.argmax(np.asarray(second.log_likelihood), axis=1)
    rows = np.arange(len(best))
    ratio = np.asarray(second.log_likelihood)[rows, best]
    explained = np.asarray(second.explained)[rows, best]
    detected = np.asarray(second.detected)[rows, best]
    difference = np.asarray(second.position)[rows, best] - position
    away = np.linalg.norm(difference[:, :2], axis=1)
    square = np.einsum("ti,tij,tj->t", difference, information, difference)
    return (
        (ratio > _LEAST_LOG_RATIO)
        & (explained >= max(_FEWEST - 1, 1))
        & (explained >= _EXPLAINED * detected)
        & (away > _SEPARATION)
        & (square > _SEPARATION**2)
    )
