"""How good an answer is: numbers by kind of problem, or a word for why there are none.

Takes a problem, its reference answer and what a method answered.
Gives scores, or raises `Unusable` with the status of the row.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from echoscape.channel_map import ChannelMap
from echoscape.channel_model import Spreads, ks_distance
from echoscape.channel_model.spread import NAMES
from echoscape.checks import InputError
from echoscape.imaging import VoxelImage
from echoscape.imaging.simulation import Truth
from echoscape.localization import Fix
from echoscape.localization.fix import fix_from_columns
from echoscape.localization.scores import score_against
from echoscape.reports import Echoes, Reports
from echoscape.reports.trajectory import Trajectory, score_trajectory
from echoscape.studies.benchmark.problems import Estimate, Image, Locate, Problem, Spread, Track
from echoscape.tracking import Tracks
from echoscape.units import wrap_angle

Scores = dict[str, float | None]
"""Numbers by name."""
_SHOWN = 0.1  # coefficient from which a voxel counts as shown; true ones are 0.2 to 1


class Unusable(Exception):
    """An answer that cannot be scored: the status of its row, and a sentence."""

    def __init__(self, status: str, sentence: str):
        super().__init__(sentence)
        self.status = status


class Bound(NamedTuple):
    """Not an answer but the least error that any could have, for each target [m]."""

    error: np.ndarray


class Places(NamedTuple):
    """Where targets are, and what informed methods may know."""

    position: np.ndarray
    """Of the targets [m]."""
    own: Reports | None
    """Exact paths of the targets."""
    exact: ChannelMap | None = None
    """The world itself as a map, where there is one."""
    angle_std: float | None = None
    """Error of every angle of an echo, where all are alike [rad]."""
    delay_std: float | None = None
    """Error of every delay of an echo [s]."""


class Voxels(NamedTuple):
    """What stands in the grid."""

    truth: Truth
    """Coefficients, and who sees what."""
    place: np.ndarray
    """Where every scatterer is [m]."""
    in_range: np.ndarray
    """Whether a user and a station see it."""
    by_position: bool
    """Whether points are scored by where they are, not by their voxel."""


class Walk(NamedTuple):
    """Where the user goes."""

    time: np.ndarray
    """Instants [s]."""
    position: np.ndarray
    """Positions then [m]."""
    path: np.ndarray
    """True paths, as the study of channels over time has them, [instant, path, 5]."""
    power: np.ndarray
    """Their power; zero for padding."""


class Tones(NamedTuple):
    """Echoes of every snapshot: departure and arrival azimuth [rad] and delay [s]."""

    value: np.ndarray
    """Shape [snapshot, echo, 3]."""
    cell: np.ndarray
    """What the arrays and the band resolve of each."""


Reference = Places | Voxels | Walk | Tones | Spreads


def score(problem: Problem, truth: Reference, answer: Any) -> Scores:
    """Score an answer.

    Args:
        problem: What was asked.
        truth: The reference answer.
        answer: What came.

    Raises:
        Unusable: It is of another type or shape, or not finite.
    """
    found = _SCORERS[type(problem)](problem, truth, answer)
    return {name: None if value is None else float(value) for name, value in found.items()}


def _array(answer: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Take an array of finite numbers of a shape."""
    try:
        values = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        kind = type(answer).__name__
        raise Unusable("wrong answer", f"{what} must be numbers; got {kind}") from None
    if values.shape != shape:
        raise Unusable("wrong shape", f"{what} need the shape {shape}; got {values.shape}")
    if not np.all(np.isfinite(values)):
        bad = int(np.sum(~np.isfinite(values)))
        raise Unusable("not finite", f"{what} must be finite; {bad} of {values.size} are not")
    return values


def _locate(problem: Locate, truth: Places, answer: Any) -> Scores:
    place = truth.position
    number = problem.heard.target if isinstance(problem.heard, Echoes) else np.arange(len(place))
    if isinstance(answer, Bound):
        error = np.asarray(answer.error)
        known = error[np.isfinite(error)]
        if not len(known):
            raise Unusable("not finite", "no target has a finite bound")
        median, p90 = (float(np.quantile(error, q, method="higher")) for q in (0.5, 0.9))
        return {"median": median, "p90": p90 if np.isfinite(p90) else None}
    if not isinstance(answer, Fix):
        position = _array(answer, (problem.count, 3), "positions")
        answer = fix_from_columns(
            {"target": number, "status": np.full(len(number), "located")}
            | {axis: position[:, i] for i, axis in enumerate("xyz")}
        )
    if len(answer.target) != problem.count and len(answer.target) == 0:
        raise Unusable("wrong shape", f"{problem.count} targets need a fix each; got none")
    _array(answer.best, (len(answer.target), 3), "positions")
    found = score_against(answer, number, place)
    kept = ("median", "p90", "within_3", "beyond_10", "lost", "inside_90", "flagged")
    scores = {name: getattr(found, name) for name in kept}
    scores = {n: v if v is None or np.isfinite(v) else None for n, v in scores.items()}
    if isinstance(problem.height, tuple):
        row = np.searchsorted(number, answer.target)  # numbers rise
        scores["height"] = np.median(np.abs(answer.best[:, 2] - place[row, 2]))
    return scores


def _image(problem: Image, truth: Voxels, answer: Any) -> Scores:
    grid, true = problem.grid, truth.truth
    image = answer if isinstance(answer, VoxelImage) else None
    mean = np.abs(_array(answer.mean if image else answer, grid.shape, "coefficients"))
    there, occupied = true.in_range, true.coefficient != 0
    shown = (mean.ravel() > _SHOWN) & there
    hits, listed = np.sum(shown & occupied), np.sum(shown) + np.sum(occupied & there)
    wrong = np.sum((mean.ravel() - true.coefficient)[there] ** 2)
    part = max(wrong / np.sum(true.coefficient[there] ** 2), 1e-12)
    scores: Scores = {
        "f1": float(2 * hits / max(listed, 1)),
        "error_db": float(10 * np.log10(part)),
        "false": float(np.sum(shown & ~occupied)),
    }
    if truth.by_position:
        if image is not None and image.point_position is not None:
            point = image.point_position
        else:
            shown = image.occupied() if image is not None else mean > _SHOWN
            point = grid.centre_of(np.flatnonzero(shown))
        scores["f1"], scores["false"] = _match_points(point, truth, grid.edge)
        del scores["error_db"]  # a scatterer off the grid has no voxel of its own
    if image is not None:
        scores["certified"] = float(image.certificate.holds)
    return scores


def _match_points(point: np.ndarray, truth: Voxels, edge: float) -> tuple[float, float]:
    """Count points within half an edge of a scatterer; what nobody sees need not be found."""
    apart = np.linalg.norm(point[:, None] - truth.place[None], axis=-1)
    rows, columns = linear_sum_assignment(np.where(apart <= 0.5 * edge, apart, 1e3))
    hit = apart[rows, columns] <= 0.5 * edge
    hits, false = int(truth.in_range[columns[hit]].sum()), len(point) - int(hit.sum())
    return 2 * hits / max(hits + false + int(truth.in_range.sum()), 1), float(false)


def _track(problem: Track, truth: Walk, answer: Any) -> Scores:
    time, count = truth.time, problem.count
    covariance = np.full((count, 2, 2), np.nan)
    if isinstance(answer, Tracks):
        covariance = np.asarray(answer.record.user_covariance)[:, :2, :2]
        answer = np.asarray(answer.record.user)[:, :3]
    if isinstance(answer, Trajectory):
        found = answer
        _array(found.position, (len(found.time), 3), "positions")
    else:
        found = Trajectory(time, _array(answer, (count, 3), "positions"), covariance)
    scored = score_trajectory(found, Trajectory(time, truth.position, np.full_like(covariance, 0)))
    kept = ("rmse", "median", "p90", "largest", "last", "inside_90", "lost")
    return {name: getattr(scored, name) for name in kept}


def _estimate(problem: Estimate, truth: Tones, answer: Any) -> Scores:
    row = np.arange(problem.count)
    if isinstance(answer, Echoes):
        row = np.searchsorted(problem.samples.target, answer.target)
        answer = answer.estimates
    names = ("departure_azimuth", "arrival_azimuth", "delay", "valid")
    if not all(hasattr(answer, name) for name in names):
        kind = type(answer).__name__
        raise Unusable("wrong answer", f"paths of every snapshot are needed; got {kind}")
    value = np.stack([np.asarray(getattr(answer, name)) for name in names[:3]], axis=-1)
    valid = np.asarray(answer.valid)
    if len(value) != problem.count:
        raise Unusable("wrong shape", f"{problem.count} sets are needed; got {len(value)}")
    _array(value[valid], (int(valid.sum()), 3), "echoes")
    hits, error = 0, []
    for found, there, exact in zip(value, valid, truth.value[row], strict=True):
        off = found[there][:, None] - exact[None]
        off[..., :2] = wrap_angle(off[..., :2])
        cells = (np.abs(off) / truth.cell).max(axis=-1)
        near = linear_sum_assignment(np.minimum(cells, 2.0))
        good = cells[near][cells[near] < 1.0]
        hits += len(good)
        error += good.tolist()
    total = truth.value.shape[0] * truth.value.shape[1]
    return {
        "f1": 2 * hits / max(hits + int(valid.sum()) + total - hits, 1),
        "found": hits / total,
        "false": (int(valid.sum()) - hits) / problem.count,
        "error_cells": float(np.median(error)) if error else None,
    }


def _spread(problem: Spread, truth: Spreads, answer: Any) -> Scores:
    if isinstance(answer, Spreads):
        answer = {name: getattr(answer, name) for name in NAMES}
    if not isinstance(answer, Mapping) or not set(NAMES) <= set(answer):
        raise Unusable("wrong answer", f"the spreads {', '.join(NAMES)} are needed")
    distance, relative = [], []
    for name in NAMES:
        value = _array(answer[name], (problem.count,), name)
        exact = np.asarray(getattr(truth, name))
        distance.append(ks_distance(value, exact))
        relative.append(np.median(np.abs(value - exact)) / max(float(exact.mean()), 1e-30))
    each = {f"ks_{name}": value for name, value in zip(NAMES, distance, strict=True)}
    return {"ks": float(np.mean(distance)), "relative": float(np.mean(relative)), **each}


_SCORERS: dict[type, Any] = {
    Locate: _locate, Image: _image, Track: _track, Estimate: _estimate, Spread: _spread,
}  # fmt: skip


def score_or_status(problem: Problem, truth: Reference, answer: Any) -> tuple[str, str, Scores]:
    """Score an answer; where that cannot be, say why: status, sentence and no scores.

    Args:
        problem: What was asked.
        truth: The reference answer.
        answer: What came.
    """
    try:
        return "ok", "", score(problem, truth, answer)
    except Unusable as error:
        return error.status, str(error), {}
    except InputError as error:
        return "wrong answer", str(error), {}


def arrays_of(content: Any) -> list[np.ndarray]:
    """List all arrays of numbers in a problem or a reference answer, in a fixed order."""
    if isinstance(content, np.ndarray | float | int):
        return [np.asarray(content)]
    if dataclasses.is_dataclass(content):
        content = [getattr(content, field.name) for field in dataclasses.fields(content)]
    if isinstance(content, tuple | list):
        return [each for part in content for each in arrays_of(part)]
    return [np.asarray(content)] if hasattr(content, "__array__") else []
