"""How large the errors of echoes are beside those stated, from the echoes alone.

A target's echo out along one path and back along another has a twin, out along the other and back
along the one: the same delay, directions exchanged.  Twins differ by their errors only, whatever
the map.  Every echo is a mixture over the possible twins in its set and none; expectation
maximisation gives the scale of angles and that of delays.

Takes `EchoSet`s by target.
Gives an `ErrorScale`.
"""

from typing import NamedTuple

import numpy as np

from echoscape.localization.unassociated.one_way_paths import EchoSet
from echoscape.units import wrap_angle

_LEARNT_FROM = 64  # targets, those of most echoes
_STARTS = (1.0, 3.0, 9.0)  # scales that the iteration begins with
_STEPS = 12
_FEWEST = 40.0  # echoes with a twin below which nothing is said
_MATTERS = 1.5  # scales below it are left: close paths alone give up to 1.2
_LARGEST = 20.0
_HEAVY = 1.25  # scale over that of the core, above which tails are heavy
_MEDIAN_SQUARE = (0.4549, 1.3863, 2.3660, 3.3567)  # of one to four standard Gaussians
_MEASURED = 1.0  # deviation above which an angle counts as unmeasured [rad]
_TEMPER = 1.3  # a nearer candidate is a twin by less than its likelihood says
_MOST = 60  # echoes of a target that are compared
_ROOM = {"azimuth": 2 * np.pi, "zenith": 0.6, "length": 100.0}  # of echoes without a twin [rad, m]


class ErrorScale(NamedTuple):
    """Errors over stated ones, never below one."""

    angle: float = 1.0
    """Of azimuths and zeniths."""
    length: float = 1.0
    """Of delays."""
    tail: float = 1.0
    """Of fixes over what the two say, where errors have heavy tails."""

    def widen(self, echo: EchoSet) -> EchoSet:
        """State the errors of echoes so much larger."""
        if self.angle == self.length == 1.0:
            return echo
        names = ("departure_azimuth_std", "departure_zenith_std", "arrival_azimuth_std",
                 "arrival_zenith_std")  # fmt: skip
        angles = {name: self.angle * getattr(echo, name) for name in names}
        return echo._replace(**angles, length_std=self.length * echo.length_std)

    def stated(self) -> dict[str, float]:
        """State both by the names of the method's settings."""
        return {
            "angle_error_scale": self.angle,
            "delay_error_scale": self.length,
            "tail_scale": self.tail,
        }


class _Pairs(NamedTuple):
    """Pairs of echoes of one target, ordered by the first of them."""

    echo: np.ndarray
    """The first."""
    angle: np.ndarray
    """Sum of the squared differences of its measured angles, in stated variances."""
    length: np.ndarray
    """Squared difference of the lengths, likewise."""
    angles: np.ndarray
    """How many angles were measured."""
    log_density: np.ndarray
    """Logarithm of the density of twins without difference, over that of echoes anywhere."""


def learn_error_scale(echo: list[EchoSet]) -> ErrorScale:
    """Learn the scale from the twins among the echoes of each target.

    Args:
        echo: Echoes by target of every station that receives its own pulse.
    """
    parts: list[_Pairs] = []
    for each in echo:
        count = np.asarray(each.valid).sum(axis=1)
        for row in np.argsort(-count, kind="stable")[:_LEARNT_FROM]:
            if count[row] > 1:
                first = int(parts[-1].echo[-1]) + 1 if parts else 0
                one = EchoSet(*(np.asarray(leaf)[row] for leaf in each))
                parts.append(_pairs(EchoSet(*(leaf[one.valid][:_MOST] for leaf in one)), first))
    if not parts:
        return ErrorScale()
    pairs = _Pairs(*(np.concatenate(column) for column in zip(*parts)))
    found = max((_estimate(pairs, start) for start in _STARTS), key=lambda each: each[0])
    if found[1] < _FEWEST:
        return ErrorScale()
    core = [min(each, _LARGEST) if each > _MATTERS else 1.0 for each in _core(pairs, *found[2:])]
    tail = max(float(whole) / each for whole, each in zip(found[2:], core))
    return ErrorScale(core[0], core[1], tail if tail > _HEAVY else 1.0)


def _pairs(echo: EchoSet, first: int) -> _Pairs:
    """Compare every echo with every other, its directions exchanged."""
    one, other = np.nonzero(~np.eye(len(echo.length), dtype=bool))
    gaps = [
        (wrap_angle(echo.departure_azimuth[one] - echo.arrival_azimuth[other]), "azimuth"),
        (wrap_angle(echo.arrival_azimuth[one] - echo.departure_azimuth[other]), "azimuth"),
        (echo.departure_zenith[one] - echo.arrival_zenith[other], "zenith"),
        (echo.arrival_zenith[one] - echo.departure_zenith[other], "zenith"),
    ]
    angle, angles = np.zeros(len(one)), np.zeros(len(one))
    variance = echo.length_std[one] ** 2 + echo.length_std[other] ** 2
    length = np.asarray((echo.length[one] - echo.length[other]) ** 2 / variance)
    density = np.log(_ROOM["length"]) - 0.5 * np.log(2 * np.pi * variance)
    for turn, (gap, name) in enumerate(gaps):
        ways = ("departure", "arrival") if turn % 2 == 0 else ("arrival", "departure")
        stds = (getattr(echo, f"{way}_{name}_std") for way in ways)
        a, b = (std[index] for std, index in zip(stds, (one, other)))
        measured, variance = (a < _MEASURED) & (b < _MEASURED), a**2 + b**2
        gap = np.asarray(gap)
        angle += np.where(measured, gap**2 / variance, 0.0)
        angles += measured
        log = np.log(_ROOM[name]) - 0.5 * np.log(2 * np.pi * variance)
        density += np.where(measured, log, 0.0)
    density -= np.log(len(echo.length) - 1)
    return _Pairs(first + one, angle, length, angles, density)


def _likely(pairs: _Pairs, angle: float, length: float) -> np.ndarray:
    """Compare the density of each pair as twins with that of echoes anywhere."""
    log = pairs.log_density - 0.5 * (pairs.angle / angle**2 + pairs.length / length**2)
    return np.exp(np.minimum(log - pairs.angles * np.log(angle) - np.log(length), 100.0))


def _shares(pairs: _Pairs, alone: float, angle: float, length: float):
    """Share every echo among its twins: shares of the pairs, and the likelihood of each echo.

    Among several candidates the nearest is nearer than a twin: they share an echo as if errors
    were `_TEMPER` times as large.
    """
    twin = (1 - alone) * np.bincount(pairs.echo, _likely(pairs, angle, length))
    wide = _likely(pairs, _TEMPER * angle, _TEMPER * length)
    each = np.maximum(np.bincount(pairs.echo, wide), 1e-300)
    return wide * (twin / (alone + twin) / each)[pairs.echo], alone + twin


def _core(pairs: _Pairs, angle: float, length: float) -> tuple[float, float]:
    """Estimate the scales of angles and of lengths by medians."""
    share, _ = _shares(pairs, 0.5, angle, length)
    every = max(int(np.median(pairs.angles)), 1)
    core = []
    for square, count in ((pairs.angle, every), (pairs.length, 1)):
        order = np.argsort(square)
        total = np.cumsum(share[order])
        middle = square[order][np.searchsorted(total, 0.5 * total[-1])]
        core.append(float(np.sqrt(middle / _MEDIAN_SQUARE[count - 1])))
    return core[0], core[1]


def _estimate(pairs: _Pairs, start: float) -> tuple[float, float, float, float]:
    """Iterate from a scale: log-likelihood, echoes with a twin, scales of angles and lengths."""
    angle = length = start
    alone, value, twins = 0.5, -np.inf, 0.0
    for _ in range(_STEPS):
        share, total = _shares(pairs, alone, angle, length)
        value, twins = float(np.log(total).sum()), float(share.sum())
        alone = float(np.clip(1.0 - twins / len(total), 0.02, 0.98))
        angle = float(np.sqrt(share @ pairs.angle / max(share @ pairs.angles, 1e-9)))
        length = float(np.sqrt(share @ pairs.length / max(twins, 1e-9)))
        angle, length = max(angle, 0.05), max(length, 0.05)
    return value, twins, angle, length
