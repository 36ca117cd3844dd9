"""Locating an unseen target from samples: with and without a detection step, and estimators.

The paper's square of [wu-ckm] with an exact map, 16 + 16 antennas and 100 MHz.  One figure shows
the error against the integrated ratio of each echo for two ways: echoes detected, estimated and
then located, and places judged by the samples directly; beside them the bound of the samples.
The other puts the estimators beside the joint bound of all echoes, resolved and not.

Takes whether to be quick, and a seed.
Gives points, rows, figures; a few minutes in full, some seconds when quick.
"""

import dataclasses
import functools
import math
import time
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from scipy.optimize import linear_sum_assignment

from echoscape.estimation import METHODS, EchoMethod, estimate
from echoscape.localization import Direct, Unassociated, localize, prepare
from echoscape.localization.direct.bound import sample_bound
from echoscape.numerics.harmonics import (
    frequency_covariances,
    frequency_information,
    synthesize,
)
from echoscape.propagation import square_world
from echoscape.reports.sample_file import echoes_from_estimates
from echoscape.signals import EchoSnapshots, Waveform
from echoscape.studies.nlos_ckm.point_world import equal_echoes, exact_map
from echoscape.studies.sweep import Row, Setting
from echoscape.units import from_db

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REACH = 5.0  # beyond the square [m]


class _Point(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = 0
    """Decides scatterers, targets, phases and noise."""
    snr_db: float
    """Integrated ratio of each echo [dB]."""
    elements: int = pydantic.Field(default=16, ge=2)
    """Antennas of each linear array."""
    subcarriers: int = pydantic.Field(default=192, ge=8)
    """Pilots over the bandwidth."""


class LocatePoint(_Point):
    """One ratio, some layouts, targets placed at random."""

    part: Literal["locate"] = "locate"
    """Which half of the study."""
    layouts: int = pydantic.Field(default=4, ge=1)
    """Layouts of eight scatterers."""
    targets: int = pydantic.Field(default=25, ge=1)
    """Targets in each layout."""
    listed: int = pydantic.Field(default=5, ge=1)
    """Strongest one-way paths."""
    detected: int = pydantic.Field(default=10, ge=0)
    """Of the targets in each layout, how many are located through detection too, which is slow."""


class EstimatePoint(_Point):
    """One estimator, one ratio, random echoes."""

    part: Literal["estimate"] = "estimate"
    """Which half of the study."""
    method: Literal["greedy", "music", "esprit", "fft"]
    """Estimator."""
    case: Literal["resolved", "unresolved"]
    """Six echoes two cells apart in delay or more, or three pairs half a cell apart each way."""
    trials: int = pydantic.Field(default=25, ge=1)
    """Snapshots."""


def points(quick: bool, seed: int) -> list[Setting]:
    """List the points of the study.

    Args:
        quick: A few small points instead of all, without the way through detection, whose
            programs alone take longer to compile.
        seed: Seed of everything random.
    """
    if quick:
        some: list[_Point] = [
            LocatePoint(seed=seed, snr_db=20.0, elements=6, layouts=1, targets=2, listed=3,
                        detected=0),
            *(EstimatePoint(seed=seed, snr_db=20.0, elements=6, subcarriers=32, trials=2,
                            method=method, case="resolved") for method in ("fft", "esprit")),
        ]  # fmt: skip
    else:
        ratios = (0.0, 5.0, 10.0, 12.5, 15.0, 20.0, 30.0, 40.0)
        some = [LocatePoint(seed=seed, snr_db=ratio) for ratio in ratios]
        some += [
            EstimatePoint(seed=seed, snr_db=ratio, elements=8, subcarriers=64, method=method,
                          case=case)
            for case in ("resolved", "unresolved")
            for method in ("greedy", "music", "esprit", "fft")
            for ratio in (10.0, 15.0, 20.0, 30.0, 40.0)
        ]  # fmt: skip
    return [point.model_dump() for point in some]


def measure(setting: Setting) -> list[Row]:
    """Measure one point."""
    if setting["part"] == "locate":
        return _measure_locating(LocatePoint(**setting))
    return _measure_estimating(EstimatePoint(**setting))


def _waveform(point: _Point) -> Waveform:
    return Waveform(point.subcarriers, 100e6 / point.subcarriers)


@functools.lru_cache(maxsize=8)
def _layout(text: str, number: int):
    """Make a layout, its map and the grid over it, whatever the ratio."""
    point = LocatePoint.model_validate_json(text)
    site = square_world(jax.random.key(1000 * point.seed + number), elements=point.elements)
    channel_map = exact_map(site, point.listed)
    rng = np.random.default_rng([point.seed, number])
    place = np.c_[rng.uniform(0.0, 100.0, (point.targets, 2)), np.zeros(point.targets)]
    like, _ = equal_echoes(
        site, _waveform(point), place[:1], listed=point.listed, snr_db=0.0, key=jax.random.key(0)
    )
    method = Direct(paths=point.listed, reach=_REACH)
    return site, channel_map, place, prepare(channel_map, [like], method=method)


def _measure_locating(point: LocatePoint) -> list[Row]:
    error: dict[str, list[float]] = {"direct": [], "detected": []}
    status: dict[str, list[int]] = {"direct": [], "detected": []}
    seconds = {"direct": 0.0, "detected": 0.0}
    bound: list[float] = []
    for number in range(point.layouts):
        same = point.model_copy(update={"snr_db": 0.0, "detected": 0}).model_dump_json()
        site, channel_map, place, search = _layout(same, number)
        key = jax.random.fold_in(jax.random.key(point.seed), 1000 * number + int(10 * point.snr_db))
        snapshots, truth = equal_echoes(
            site, _waveform(point), place, listed=point.listed, snr_db=point.snr_db, key=key
        )
        noise = snapshots.noise()
        for where, (gain, _) in zip(place, truth):
            found = sample_bound(search.grid.views[0], jnp.asarray(where), jnp.asarray(gain), noise)
            bound.append(float(np.sqrt(np.trace(found))))
        some = _first(snapshots, point.detected)
        ways = {"direct": lambda s=snapshots, m=search: localize(s, m)}
        if some is not None:
            ways["detected"] = lambda s=some, m=channel_map: _through_detection(s, m)
        for name, locate in ways.items():
            start = time.process_time()
            fix = locate()
            seconds[name] += time.process_time() - start
            error[name] += np.linalg.norm(fix.best[:, :2] - place[fix.target, :2], axis=1).tolist()
            status[name] += fix.status.tolist()
    rows = [
        {"method": name, **_spread(values), "seconds": seconds[name] / len(values),
         "located": int(np.sum(np.asarray(status[name]) == 0)), "error": values}
        for name, values in error.items() if values
    ]  # fmt: skip
    return [*rows, {"method": "bound", **_spread(bound), "error": bound}]


def _first(snapshots: EchoSnapshots, count: int) -> EchoSnapshots | None:
    """Take the first snapshots, or none."""
    if count == 0:
        return None
    names = ("received", "target", "time")
    return dataclasses.replace(snapshots, **{n: getattr(snapshots, n)[:count] for n in names})


def _through_detection(snapshots, channel_map):
    echoes = echoes_from_estimates(snapshots, estimate(snapshots))
    return localize(echoes, channel_map, method=Unassociated(reach=_REACH))


def _spread(values: list[float]) -> Row:
    error = np.asarray(values)
    return {
        "count": len(error),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "median": float(np.median(error)),
        "p90": float(np.quantile(error, 0.9)),
        "beyond_10": float(np.mean(error > 10.0)),
    }


def random_tones(case: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw frequencies of six echoes [rad/sample].

    Args:
        case: "resolved" or "unresolved".
        shape: Of the samples; the last axis is the delay.
        rng: Random numbers.
    """
    cell = 2 * math.pi / np.asarray(shape)
    groups = 6 if case == "resolved" else 3
    start = rng.uniform(-0.9 * math.pi, 0.9 * math.pi, (groups, len(shape)))
    room = shape[-1] / groups  # cells of delay for each
    start[:, -1] = (np.arange(groups) * room + rng.uniform(0, room - 2.0, groups)) * cell[-1]
    if case == "resolved":
        return start
    other = start + 0.5 * cell * rng.choice([-1.0, 1.0], start.shape)
    return np.concatenate([start, other])


def _measure_estimating(point: EstimatePoint) -> list[Row]:
    shape = (point.elements, point.elements, point.subcarriers)
    noise = math.prod(shape) / from_db(point.snr_db)
    rng = np.random.default_rng(point.seed)
    named = {each.__name__.lower(): each for each in METHODS}
    method: EchoMethod = named[point.method](40)  # pyright: ignore[reportCallIssue]
    found, extra, misses, seconds = 0, 0, [], []
    bound = jax.jit(lambda w, g: frequency_covariances(frequency_information(w, g, shape, noise)))
    for _ in range(point.trials):
        frequency = random_tones(point.case, shape, rng)
        gain = np.exp(2j * math.pi * rng.random(len(frequency)))
        clean = np.asarray(synthesize(jnp.asarray(frequency), jnp.asarray(gain), shape))
        real, imaginary = rng.standard_normal((2, *shape))
        start = time.process_time()
        fit = method(clean + np.sqrt(noise / 2) * (real + 1j * imaginary), noise)
        seconds.append(time.process_time() - start)
        std = np.sqrt(np.einsum("eaa->ea", np.asarray(bound(frequency, jnp.asarray(gain)))))
        estimated = np.asarray(fit.frequency)[np.asarray(fit.valid)]
        off = estimated[:, None] - frequency[None]
        off = (off + math.pi) % (2 * math.pi) - math.pi
        cells = np.abs(off) * np.asarray(shape) / (2 * math.pi)
        row, column = linear_sum_assignment(np.minimum(cells.max(axis=2), 3.0))
        good = cells[row, column].max(axis=1) < 0.5
        found += int(good.sum())
        extra += len(estimated) - int(good.sum())
        misses += (off[row, column] / std[column])[good].ravel().tolist()
    missed = np.asarray(misses)
    return [{
        "found": found / (6 * point.trials),
        "false": extra / point.trials,
        "ratio": float(np.sqrt(np.mean(missed**2))) if len(missed) else None,
        "median_ratio": float(np.median(np.abs(missed)) / 0.6745) if len(missed) else None,
        "seconds": float(np.median(seconds)),
    }]  # fmt: skip


def draw(rows: list[Row]) -> "dict[str, Figure]":
    """Draw the error against the ratio, and the estimators against the bound.

    Args:
        rows: Of any of the study's points; a figure without rows is left out.
    """
    figures = {}
    locating = [row for row in rows if row["part"] == "locate"]
    estimating = [row for row in rows if row["part"] == "estimate"]
    if locating:
        figures["direct"] = _draw_locating(locating)
    if estimating:
        figures["estimators"] = _draw_estimating(estimating)
    return figures


def _draw_locating(rows: list[Row]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    style = {"direct": ("C0", "o", "direct from the samples"),
             "detected": ("C3", "s", "detected, then located"),
             "bound": ("0.3", "", "bound of the samples")}  # fmt: skip
    for axes, value, title in ((left, "rmse", "RMSE"), (right, "median", "median")):
        for name, (colour, marker, label) in style.items():
            line = sorted((row["snr_db"], row[value]) for row in rows if row["method"] == name)
            if line:
                axes.plot(*zip(*line), color=colour, marker=marker, label=label)
        axes.set(yscale="log", xlabel="integrated ratio of each echo [dB]", title=title)
        axes.grid(alpha=0.3)
    left.set_ylabel("position error [m]")
    left.legend()
    return figure


def _draw_estimating(rows: list[Row]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, case in enumerate(("resolved", "unresolved")):
        for number, method in enumerate(METHODS):
            mine = [row for row in rows if row["case"] == case and row["method"] == method]
            mine = sorted(mine, key=lambda row: row["snr_db"])
            colour = f"C{number}"
            known = [row for row in mine if row["ratio"] is not None]
            if mine:
                axes[0, column].plot([row["snr_db"] for row in mine],
                                     [row["found"] for row in mine], colour, marker="o",
                                     label=method)  # fmt: skip
            ratio = [row["median_ratio"] for row in known]
            axes[1, column].plot([row["snr_db"] for row in known], ratio, colour, marker="o")
        axes[0, column].set(title=f"{case} echoes")
        axes[1, column].axhline(1.0, color="0.3", linestyle="--")
        axes[1, column].set(xlabel="integrated ratio of each echo [dB]", yscale="log")
    axes[0, 0].set_ylabel("share of echoes found")
    axes[1, 0].set_ylabel("typical error over the joint bound")
    for each in axes.ravel():
        each.grid(alpha=0.3)
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend()
    return figure
