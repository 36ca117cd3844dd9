"""Direct position determination: targets located from samples, without detecting any echo.

Detection discards echoes below its threshold, although all of a target's echoes together may
stand far above the noise.  Here every position is judged by all echoes that the map predicts there:
a grid scored by the sum of squared correlations (`grid`), its peaks scored again with the energy
shared among overlapping echoes, the best refined over position and map errors (`likelihood`).
Several targets are found one after the other, each with the others' echoes subtracted, until
nothing is significant.

Takes `EchoSnapshots` and a `ChannelMap` for each station.
Gives a `Batch` for `run`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from scipy.stats import gamma

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.estimation.sample_tensor import tensor_of
from echoscape.localization.direct.forward import DirectView
from echoscape.localization.direct.grid import FINER, CellPaths, cell_paths, cell_peaks, score_cells
from echoscape.localization.direct.likelihood import descend, fit_echoes
from echoscape.localization.localizer import (
    Batch,
    GridLocalizer,
    Height,
    height_range,
    station_map,
)
from echoscape.localization.unassociated.ascent import LocalMaxima
from echoscape.localization.unassociated.grid import cell_centres
from echoscape.numerics import DescentSettings, damped_newton
from echoscape.numerics.harmonics import synthesize
from echoscape.signals import EchoSnapshots, check_delays
from echoscape.units import length_of

_MOST_NUMBERS = 3e8  # held of all cells' paths: about a gigabyte
_SNR = 1e4  # of an echo, for the first score of peaks


class Direct(GridLocalizer):
    """Locate from samples of echoes, the gains of all echoes integrated out.

    With more than one target, target k of snapshot n gets the number ``n * targets + k``, and one
    that is not significant has no row; a single one keeps the snapshot's number and gets the status
    ``NO_ECHO``.
    """

    name: ClassVar[str] = "direct"
    measurements: ClassVar[tuple[type, ...]] = (EchoSnapshots,)
    needs: ClassVar[str] = "samples of echoes (EchoSnapshots, or a list of one for each pair)"

    targets: int = pydantic.Field(default=1, ge=1)
    """Most targets in each snapshot."""
    paths: int = pydantic.Field(default=5, ge=1)
    """Most one-way paths whose pairs echo."""
    cell: float | None = pydantic.Field(default=None, gt=0)
    """Side of the grid's cells [m]; a quarter of the resolved length if not given."""
    peaks: int = pydantic.Field(default=24, ge=1)
    """Peaks of the grid that are scored again."""
    reciprocal: bool = True
    """Whether the gain out along i and back along j is that of the reverse: so it is of reciprocal
    materials, at one station that transmits and receives with the same antennas."""
    steps: int = pydantic.Field(default=25, ge=1)
    """Most steps of an ascent."""
    false_alarm: float = pydantic.Field(default=1e-3, gt=0, lt=1)
    """Probability that noise alone is taken for a target."""

    def targets_at_a_time(self, count: int) -> int:
        """Give one: samples and scores of all cells fill the memory."""
        return 1

    def prepare(
        self,
        maps: Mapping[str, ChannelMap],
        height: Height,
        measurements: EchoSnapshots | Sequence[EchoSnapshots],
    ) -> "DirectGrid":
        """Query the maps of every pair of stations on a grid.

        Raises:
            InputError: A station has no map, delays are ambiguous, or the grid is too large.
        """
        snapshots = _as_list(measurements)
        views = []
        for each in snapshots:
            ends = (each.transmit_station, each.receive_station)
            transmitter, receiver = (station_map(maps, name, "samples") for name in ends)
            views.append(
                DirectView(
                    transmitter, None if ends[0] == ends[1] else receiver, tensor_of(each),
                    self.paths, self.reciprocal,
                )
            )  # fmt: skip
        ends = _ends(views)
        low, high = height_range(ends, height)
        resolved = min(length_of(1.0 / view.tensor.waveform.bandwidth) for view in views)
        step = 0.25 * resolved if self.cell is None else self.cell
        position, _ = cell_centres(
            ends, low, high, cell=step, height_step=self.height_step, reach=self.reach
        )
        elements = sum(v.tensor.transmit.elements + v.tensor.receive.elements for v in views)
        gains = sum(view.mix.shape[1] ** 2 for view in views)
        area = _area(ends) if low == high else 0.0
        too_many = len(position) * (gains + self.paths * elements) > _MOST_NUMBERS
        if too_many or len(position) * step**2 < 0.5 * area:
            raise InputError(
                f"cells of {step:.2g} m, which {resolved:.2g} m of resolution ask for, are too "
                f"many for this area: {len(position)}; give a larger cell or a map of a smaller "
                "area"
            )
        features = [cell_paths(view, position) for view in views]
        for view, feature in zip(views, features):
            waveform = view.tensor.waveform
            longest = float(jnp.max(jnp.where(feature.present, feature.step, 0)))
            check_delays(
                waveform,
                longest * waveform.unambiguous_delay / (FINER * waveform.subcarriers),
                "the longest echo in the map's area",
            )
        filled = features[0].step.shape[0]
        cells = jnp.asarray(position[np.minimum(np.arange(filled), len(position) - 1)])
        return DirectGrid(views, features, cells, np.array([low, high]), step)

    def batch(
        self, prepared: "DirectGrid", measurements: EchoSnapshots | Sequence[EchoSnapshots]
    ) -> Batch:
        """Take the samples of every snapshot, of all pairs of stations."""
        snapshots = _as_list(measurements)
        counts = {len(each.received) for each in snapshots}
        if len(counts) > 1:
            raise InputError(f"all pairs of stations need the same snapshots; got {sorted(counts)}")
        noise = jnp.asarray([each.noise() for each in snapshots])

        def search(samples):
            found = _locate_all(self, prepared, [jnp.asarray(s[0]) for s in samples], noise)
            return _fill(found, self.targets, self.starts, len(snapshots))

        def conclude(found):
            maxima, significant = found
            number = np.arange(significant.size).reshape(significant.shape)
            if self.targets == 1:
                number = np.asarray(snapshots[0].target)[:, None]
            maxima = jax.tree.map(lambda leaf: leaf[significant], maxima)
            free = bool(prepared.heights[0] < prepared.heights[1])
            maps = _ends(prepared.views)
            return self.claim(self.judge(number[significant], maxima, maps, free), maps)

        return Batch(counts.pop(), [each.echoes for each in snapshots], search, conclude)


class DirectGrid(NamedTuple):
    """Maps at every cell, queried once for all snapshots of the same arrays and waveform."""

    views: list[DirectView]
    """One for each pair of stations."""
    features: list[CellPaths]
    """The maps' paths at every cell."""
    cells: jax.Array
    """Centres, the last repeated to a multiple of what is scored at a time [m]."""
    heights: np.ndarray
    """Lowest and highest z [m]."""
    step: float
    """Side of a cell [m]."""


def _as_list(snapshots) -> list[EchoSnapshots]:
    several = [snapshots] if isinstance(snapshots, EchoSnapshots) else list(snapshots)
    if not several:
        raise InputError("there are no samples to locate a target from")
    return several


def _ends(views: list[DirectView]) -> list[ChannelMap]:
    return [end for v in views for end in (v.transmitter, v.receiver) if end is not None]


def _area(maps) -> float:
    """Area whose cells a grid has, at least: each report's own disc is in it [m^2]."""
    reports = np.concatenate([np.asarray(m.report_position)[:, :2] for m in maps])
    return float(np.prod(np.ptp(reports, axis=0))) * 0.5 if len(reports) > 100 else 0.0


def _fill(found: list[LocalMaxima], targets: int, starts: int, pairs: int):
    """Stack what was found of one snapshot, filled up to the most targets."""
    zero = np.zeros(starts)
    empty = LocalMaxima(
        np.zeros((starts, 3)), zero, np.zeros((starts, 3, 3)), zero, zero,
        np.zeros((starts, pairs)), zero,
    )  # fmt: skip
    rows = [jax.tree.map(np.asarray, each) for each in found]
    rows += [empty] * (targets - len(rows))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves)[None], *rows)
    return stacked, (np.arange(targets) < len(found))[None]


def _locate_all(method: Direct, grid: DirectGrid, samples, noise) -> list[LocalMaxima]:
    """Find one target after the other, and after each new one all again, others taken off."""
    found: list[LocalMaxima] = []
    echoes = []
    for _ in range(method.targets):
        one, echo, significant = _locate(method, grid, _without(samples, echoes), noise)
        if not significant and method.targets > 1:
            break
        found.append(one)
        echoes.append(echo)
        for _ in range(2 if len(found) > 1 else 0):
            for k in range(len(found)):
                rest = _without(samples, echoes[:k] + echoes[k + 1 :])
                found[k], echoes[k], _ = _locate(method, grid, rest, noise)
    return found


def _without(samples, echoes):
    for echo in echoes:
        samples = [s - e for s, e in zip(samples, echo)]
    return samples


def _locate(method: Direct, grid: DirectGrid, samples, noise):
    score = score_cells(samples, grid.features, [view.mix for view in grid.views], noise)
    peak = cell_peaks(
        score, grid.cells, min(method.peaks, len(score)), jnp.asarray(1.5 * grid.step)
    )
    found, echo = _refine(
        grid.views, samples, noise, grid.cells[peak], grid.step,
        bool(grid.heights[1] > grid.heights[0]), (method.starts, method.steps),
    )  # fmt: skip
    best = int(np.argmax(np.asarray(found.log_likelihood)))
    gains = sum(view.mix.shape[1] for view in grid.views)
    threshold = gamma.isf(method.false_alarm / len(score), gains)
    energy = float(found.explained[best])
    significant = energy > threshold
    # Energy left over beyond noise counts against the map.
    total, size = 0.0, 0
    for s, n in zip(samples, np.asarray(noise)):
        total, size = total + float(jnp.sum(jnp.abs(s) ** 2)) / n, size + s.size
    beyond = max(energy, total - size - 5 * math.sqrt(size))
    detected = np.full(found.log_likelihood.shape, beyond if significant else 0.0)
    found = dataclasses.replace(found, detected=detected)
    return found, [e[best] for e in echo], significant


@eqx.filter_jit
def _refine(views, samples, noise, start, step, height_free: bool, numbers: tuple[int, int]):
    """Score peaks with energy shared, ascend from the best, over position and map errors."""
    starts, steps = numbers
    tensors = [view.tensor.fold(s) for view, s in zip(views, samples)]
    free = 3 if height_free else 2

    def fits(selected, frequency, snr):
        return [
            fit_echoes(tensor, w, h.present, h.mix, n, snr)
            for tensor, w, h, n in zip(tensors, frequency, selected, noise)
        ]

    def first(position):
        selected = [view.select(position) for view in views]
        predicted = [h.frequencies(position, jnp.zeros(v.errors)) for h, v in zip(selected, views)]
        energy = sum(fit.energy for fit in fits(selected, predicted, jnp.asarray(_SNR)))
        return energy

    energy = jax.lax.map(first, start)
    count = sum(view.mix.shape[1] for view in views)
    energy = energy - count
    snr = jnp.maximum(jnp.max(energy) / count, 1.0)  # type: ignore[operator]
    _, best = jax.lax.top_k(energy, min(starts, len(start)))

    def ascend(position):
        selected = [view.select(position) for view in views]

        def objective(point):
            where = jnp.concatenate([point[:free], position[free:]])
            value, gradient = jnp.zeros(()), jnp.zeros_like(point)
            curvature = jnp.zeros((point.shape[0],) * 2)
            at = free
            for view, h, tensor, n in zip(views, selected, tensors, noise):
                error = point[at : at + view.errors]
                v, g, c = descend(tensor, h, where, error, n, snr)
                index = np.r_[0:free, at : at + view.errors]
                inside = np.r_[0:free, 3 : 3 + view.errors]
                value = value + v
                gradient = gradient.at[index].add(g[inside])
                curvature = curvature.at[np.ix_(index, index)].add(c[np.ix_(inside, inside)])
                at += view.errors
            return value, gradient, curvature

        begin = jnp.concatenate([position[:free], jnp.zeros(sum(v.errors for v in views))])
        stop = DescentSettings(max_steps=steps, step_limit=2 * step, tolerance_step=1e-5)
        return damped_newton(objective, begin, settings=stop)

    def ascent(position, _):
        """Ascend once with the paths held that are the strongest here."""
        descent = ascend(position)
        final = jnp.concatenate([descent.x[:free], position[free:]])
        return final, (position, descent.x, descent.value, descent.curvature)

    def last(position):
        """Ascend twice: the paths are selected anew where the first ascent ended."""
        final, ascents = jax.lax.scan(ascent, position, None, 2)
        position, point, value, block = jax.tree.map(lambda leaf: leaf[-1], ascents)
        selected = [view.select(position) for view in views]
        predicted, at = [], free
        for view, h in zip(views, selected):
            predicted.append(h.frequencies(final, point[at : at + view.errors]))
            at += view.errors
        fit = fits(selected, predicted, snr)
        echo = [
            synthesize(w, jnp.where(h.present, f.gain, 0.0), tensor.shape).reshape(s.shape)
            for w, f, h, tensor, s in zip(predicted, fit, selected, tensors, samples)
        ]
        rest = block[free:, free:]
        inside = block[:free, :free] - block[:free, free:] @ jnp.linalg.solve(
            rest, block[free:, :free]
        )
        information = jnp.zeros((3, 3)).at[:free, :free].set(inside)
        # Of echoes that no prior holds back: under noise alone one for each gain.
        energy = sum(f.energy for f in fits(selected, predicted, jnp.asarray(_SNR)))
        return final, -value, information, energy, echo

    final, value, information, energy, echo = jax.lax.map(last, start[best])
    unknown = jnp.full((len(best), len(views)), jnp.nan)
    once = jnp.ones_like(value)
    return LocalMaxima(final, value, information, energy, energy, unknown, once), echo
