"""Conventions of directions that reports may have followed in place of ours.

At each end the stated azimuth and zenith are read in every way that files are known to be written
in.  A hypothesis is a reading for each end; it is right for a path if the straight line is met at
both ends.  The stated reading stands unless another one is right for far more reports than it, and
than chance allows.

Takes `StraightLine`.
Gives the `Hypothesis` and the paths that are direct under it.
"""

import math

import numpy as np

from echoscape.reports.direction_cures import AS_STATED, Hypothesis
from echoscape.reports.straight_line import Mask, PathEnd, StraightLine
from echoscape.units import wrap_angle

_TOLERANCES = (0.06, 0.2)
"""How far a direct path may lie off the straight line besides its stated error: computed paths and
good sounders first, poor ones only where that decides nothing [rad]."""
_EXACT = 2e-3
"""The same of computed paths, of which all must be right [rad]."""
_FAR_MORE = 2.0
"""So many times as many direct paths within the widest tolerance show that errors are wide."""
_WIDEST = 0.4
"""Wider stated errors do not widen it further [rad]."""
_AHEAD = 3.0
"""Another reading must be right for this many times as many reports as the stated one."""
_LEAST_SHARE = 0.25
"""Another reading must be right for this share of the reports with a direct length."""
_SPENT = 3
"""Reports that an angle fitted to them explains anyway."""
_MOST_FIRST = 0.3
"""Where no length agrees, this share of the shortest paths must be direct to say so."""
_ENOUGH = 0.3
"""The stated reading stands if it is right for this share of the reports with a direct length."""


_READINGS = (
    ("stated", "stated"),
    ("reversed", "reversed"),
    ("stated", "elevation"),
    ("compass", "stated"),
    ("mirrored", "stated"),
    ("transposed", "transposed"),
    ("degrees", "degrees"),
    ("reversed", "stated"),
    ("stated", "reversed"),
    ("compass", "elevation"),
    ("reversed", "elevation"),
    ("turned", "stated"),
    ("mirror-turned", "stated"),
    ("turned", "elevation"),
)
"""Readings of azimuth and zenith at one end, the likeliest first."""


def rank_hypotheses(line: StraightLine) -> tuple[Hypothesis | None, Mask]:
    """Find how directions were written; None where no direct path can be recognised.

    Returns:
        The hypothesis, and which paths are direct under it.
    """
    computed = line.computed_length
    if computed.any():
        best, direct = _explain_all(line, computed)
        if best is not None:
            return best, direct
    whole = all((end.zenith_known & line.first).any() for end in line.ends)
    for tolerance in _TOLERANCES:
        best, direct = _rank(line, line.direct_length, tolerance, turns=True)
        if best is not None:
            direct = _widened(line, best, direct)
            late = _late(line, direct) if whole else None
            return (AS_STATED, late) if late is not None else (best, direct)
    if not (line.ends[1].azimuth_known & line.first).any():
        return None, direct  # one azimuth alone, of any length, says nothing
    for tolerance in _TOLERANCES if whole else _TOLERANCES[:1]:
        best, direct = _rank(line, line.first, tolerance, turns=False)
        if best is not None and _alike(line, direct):
            return best, direct
    return None, direct


def _widened(line: StraightLine, best: Hypothesis, direct: Mask) -> Mask:
    """Keep no mere slice of direct paths: where errors are wide, a narrow tolerance hides a turn.

    Twice as many within the widest tolerance, and not only of a few reports, are that and no
    single bounces near the line.
    """
    if best != AS_STATED:
        return direct
    again, wide = _rank(line, line.direct_length, _TOLERANCES[-1], turns=False)
    count = int(wide.any(axis=1).sum())
    more = count >= max(_FAR_MORE * direct.any(axis=1).sum(), _MOST_FIRST * len(wide))
    return wide if again == AS_STATED and more else direct


def _explain_all(line: StraightLine, use: Mask) -> tuple[Hypothesis | None, Mask]:
    """Find the first reading that is right for all computed paths to their last digits."""
    readings = [_readings(line, k, k, use, _EXACT, False) for k in (0, 1)]
    exchanged = [_readings(line, k, 1 - k, use, _EXACT, False)[:1] for k in (0, 1)]
    for swapped, (out, back) in ((False, [each[:1] for each in readings]), (True, exchanged),
                                 (False, readings)):  # fmt: skip
        for out_name, out_mask, _ in out:
            for back_name, back_mask, _ in back:
                mask = use & out_mask & back_mask
                if (mask.any(axis=1) == use.any(axis=1)).all():
                    return Hypothesis(swapped, *out_name, *back_name), mask
    return None, use


def _late(line: StraightLine, direct: Mask) -> Mask | None:
    """Find more reports whose shortest path runs along the line, though all lengths are off alike.

    Bounces are then as long as the line, and their directions seem to follow another convention.
    """
    if line.crowded_length.any():
        return None
    count = int(direct.any(axis=1).sum())
    best, along = _rank(line, line.first, _TOLERANCES[-1], turns=False)
    exact = int((line.aligned & line.first & along).sum())
    more = along.any(axis=1).sum() > 2 * count or exact > count
    return along if best == AS_STATED and more and _alike(line, along) else None


def _alike(line: StraightLine, direct: Mask) -> bool:
    """Tell whether lengths are wrong alike, by an amount or a factor, as detours never are."""
    length = np.where(direct, line.length, np.inf).min(axis=1)
    have = np.isfinite(length)
    if have.mean() < _MOST_FIRST and (line.aligned & direct).sum() < 3:
        return False
    if have.sum() < 3:
        return bool(line.aligned[direct].all())
    length, distance = length[have], line.distance[have, 0]
    off, ratio = length - distance, length / distance
    limit = max(1.0, 0.02 * float(np.median(distance)))
    error = 3 * float(np.median(np.where(direct, line.length_error, 0.0).max(axis=1)[have]))
    constant = np.median(np.abs(off - np.median(off))) <= limit + error
    factor = np.median(np.abs(ratio - np.median(ratio))) <= 0.02 * np.median(ratio) + 0.001
    return bool(constant or factor)


def _rank(
    line: StraightLine, use: Mask, tolerance: float, turns: bool
) -> tuple[Hypothesis | None, Mask]:
    readings = [_readings(line, k, k, use, tolerance, turns) for k in (0, 1)]
    exchanged = [_readings(line, k, 1 - k, use, tolerance, False) for k in (0, 1)]
    stated = use & readings[0][0][1] & readings[1][0][1]
    count = int(stated.any(axis=1).sum())
    expected = _chance(line, use, tolerance)
    reports = len(use)
    straight = max(1, int((line.direct_length).any(axis=1).sum()))
    needed = max(math.ceil(expected + 4 * math.sqrt(expected)), _surplus(line, use))
    if count >= needed and count >= _ENOUGH * min(straight, reports):
        return AS_STATED, stated
    best, most, direct = AS_STATED, count, stated
    # Exchanged and both reversed are one to a direct path, and to one with a bounce (a turn of its
    # triangle by 180 degrees); the likelier comes first.
    for swapped, (out, back) in ((True, exchanged), (False, readings)):
        for out_name, out_mask, out_turn in out[: 1 if swapped else None]:
            for back_name, back_mask, back_turn in back[: 1 if swapped else None]:
                mask = use & out_mask & back_mask
                if not swapped and _is_bounce(line, mask, out_name, back_name):
                    continue
                right = int(mask.any(axis=1).sum()) - _SPENT * ((out_turn != 0) + (back_turn != 0))
                # A reading further down the list must explain clearly more.
                if right > most * (1.0 if best == AS_STATED else 1.1):
                    most, direct = right, mask
                    best = Hypothesis(
                        swapped, *out_name, *back_name, out_turn, back_turn
                    )  # fmt: skip
    if best == AS_STATED:
        return (AS_STATED, stated) if count >= needed else (None, direct)
    sure = most >= 3 or (line.exact_length & direct).any()
    share = _LEAST_SHARE if sure else 0.5
    if most >= max(needed, _AHEAD * count, share * straight) and most - count >= needed:
        return best, direct
    return (AS_STATED, stated) if count >= needed else (None, direct)


def _is_bounce(line: StraightLine, mask: Mask, out: tuple[str, str], back: tuple[str, str]) -> bool:
    """Tell reflections in the ground, mirrored upside down at one end, from angles from below.

    They are longer than the line and off it by one angle at both ends, which no error shares.
    """
    if {out[1], back[1]} != {"stated", "reversed"} or not mask.any():
        return False
    off = [end.zenith - end.expected_zenith for end in line.ends]
    for k, (end, reading) in enumerate(zip(line.ends, (out, back))):
        if reading[1] == "reversed":
            off[k] = math.pi - end.zenith - end.expected_zenith
    first, second = (each[mask] for each in off)
    shared, apart = 0.5 * (first + second), 0.5 * (first - second)
    size = float(np.median(np.abs(first)))
    error = float(np.median(np.broadcast_to(line.length_error, mask.shape)[mask]))
    if not float(np.median(line.excess[mask])) > -error or size < 1e-3:
        return False
    if float(np.median(np.abs(2 * shared))) < 0.3 * size:
        return True
    # Errors hide it in single paths: all paths off one way are no errors.
    scatter = 1.48 * float(np.median(np.abs(apart - np.median(apart))))
    return abs(float(np.median(apart))) > 3 * scatter / math.sqrt(len(apart))


def _readings(
    line: StraightLine, k: int, source: int, use: Mask, tolerance: float, turns: bool
) -> list[tuple[tuple[str, str], Mask, float]]:
    """Read one end in every way: the names, which paths are right, and the turn."""
    end, written = line.ends[k], line.ends[source]
    near = np.minimum(tolerance + 3 * np.maximum(end.error, written.error), _WIDEST)
    found: list[tuple[tuple[str, str], Mask, float]] = []
    azimuth, zenith = _azimuths(end, written, use, turns), _zeniths(written)
    # Azimuths mean less the steeper the path is; both are compared as arcs.
    arc = np.sin(end.expected_zenith)
    right_azimuth = {
        name: ~written.azimuth_known
        | (np.abs(wrap_angle(values - end.expected_azimuth)) * arc <= near)
        for name, (values, _) in azimuth.items()
    }
    right_zenith = {
        name: ~written.zenith_known
        | np.any([np.abs(values - end.expected_zenith) <= near for values in each], axis=0)
        for name, each in zenith.items()
    }
    any_zenith = bool((written.zenith_known & use).any())
    any_azimuth = bool((written.azimuth_known & use).any())
    for name, polar in _READINGS if k == source else _READINGS[:1]:
        if name not in azimuth or (polar not in ("stated",) and not any_zenith and polar != name):
            continue
        if not any_azimuth and (name, polar) != ("stated", "stated"):
            continue
        if polar == "transposed" and not any_zenith:
            continue
        found.append(((name, polar), right_azimuth[name] & right_zenith[polar], azimuth[name][1]))
    return found


def _azimuths(
    end: PathEnd, written: PathEnd, use: Mask, turns: bool
) -> dict[str, tuple[np.ndarray, float]]:
    """Turn stated azimuths into what each reading says they are."""
    stated = written.azimuth
    found = {
        "stated": (stated, 0.0),
        "reversed": (stated + math.pi, 0.0),
        "compass": (0.5 * math.pi - stated, 0.0),
        "mirrored": (-stated, 0.0),
        "transposed": (written.zenith, 0.0),
        "degrees": (stated * math.pi / 180, 0.0),
    }
    if turns:
        for name, sense in (("turned", 1.0), ("mirror-turned", -1.0)):
            turn = _common_turn(end, sense * stated, use & written.azimuth_known)
            if turn is not None and abs(wrap_angle(turn)) > _TOLERANCES[0]:
                found[name] = (sense * stated + turn, float(wrap_angle(turn)))
    return found


def _zeniths(written: PathEnd) -> dict[str, list[np.ndarray]]:
    """Turn stated zeniths into what each reading says they may be."""
    stated = written.zenith
    return {
        "stated": [stated],
        "reversed": [math.pi - stated],
        "elevation": [0.5 * math.pi - stated, 0.5 * math.pi + stated],
        "transposed": [written.azimuth],
        "degrees": [stated * math.pi / 180],
    }


def _common_turn(end: PathEnd, azimuth: np.ndarray, use: Mask) -> float | None:
    """Find the turn that brings most azimuths onto the straight line; None where none does."""
    off = wrap_angle(end.expected_azimuth - azimuth)[use]
    if len(off) < 4:
        return None
    bins = np.histogram(off, 126, (-math.pi, math.pi))[0]  # of 0.05 rad
    crowd = bins + np.roll(bins, 1) + np.roll(bins, -1)
    centre = -math.pi + (int(crowd.argmax()) + 0.5) * 2 * math.pi / 126
    near = np.abs(wrap_angle(off - centre)) < 0.1
    return float(centre + np.median(wrap_angle(off[near] - centre)))


def _chance(line: StraightLine, use: Mask, tolerance: float) -> float:
    """Expect this many reports to seem direct by chance under one reading."""
    share = 1.0
    for end in line.ends:
        if (end.azimuth_known & use).any():
            near = np.minimum(tolerance + 3 * end.error[use], _WIDEST)
            share *= float(near.mean()) / math.pi
    paths = use.sum() / max(1, len(use))
    return float(len(use) * min(1.0, share * paths))


def _surplus(line: StraightLine, use: Mask) -> int:
    """Count how many more reports than chance must agree: fewer where each says more."""
    out, back = line.ends
    if not (out.azimuth_known & use).any():
        return 10**9  # nothing to compare
    full = out.zenith_known & back.azimuth_known & back.zenith_known & use
    exact = float(np.median(np.maximum(out.error, back.error)[use])) < 0.03
    return 1 if full.any() and exact else 3
