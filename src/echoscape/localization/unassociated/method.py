"""Locate targets from unordered echoes: a grid over the map's area, then ascents from its peaks.

Random starts lose targets; a grid does not.  One-way paths are estimated under each target's
echoes (`one_way_paths`), every cell is scored by how well the map's paths match them, and the best
peaks are refined, compared and integrated (`ascent`, `posterior_quadrature`).  Log-likelihoods of
several stations add up, of monostatic echoes and of bistatic ones.

Takes `Echoes` and a `ChannelMap` for each station.
Gives a `Batch` for `run`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.localization.fix import Fix, FixStatus
from echoscape.localization.localizer import (
    Batch,
    CellSize,
    Chunk,
    GridLocalizer,
    Height,
    Starts,
    height_range,
    search_all,
    station_map,
)
from echoscape.localization.unassociated.ascent import (
    LocalMaxima,
    ascend,
    best_ends,
    log_likelihoods,
)
from echoscape.localization.unassociated.batch_bias import Normal, normal_equations_at_ends
from echoscape.localization.unassociated.bistatic import (
    linearise_pair_at_starts,
)
from echoscape.localization.unassociated.calibration import calibrate, state_bias
from echoscape.localization.unassociated.echo_sets import (
    estimate_for_targets,
    learn_detection,
    learn_power_fluctuation,
    sets_of_targets,
)
from echoscape.localization.unassociated.error_scale import (
    ErrorScale,
    learn_error_scale,
)
from echoscape.localization.unassociated.grid import Cells, grid_peaks, make_cells
from echoscape.localization.unassociated.grid_features import features_of_cells
from echoscape.localization.unassociated.linearised_map import (
    LinearisedPaths,
    linearise_at_starts,
)
from echoscape.localization.unassociated.one_way_paths import EchoModel, OneWayPaths
from echoscape.localization.unassociated.posterior_quadrature import integrate_modes
from echoscape.localization.unassociated.several import find_further
from echoscape.reports import Echoes

_ENDS = 4  # different ends of the first ascents that are refined further
_DETECTION, _FALSE_SHARE = 0.9, 0.1  # assumed where nothing is given or learnt


class Unassociated(GridLocalizer):
    """Locate from echoes whose paths are unknown; the association is marginalised.

    Implements Eq. (42) of [wu-ckm] with the measurement covariance added to the map's in (40), and
    a mixture over all pairs of paths in place of the known pairing.
    """

    name: ClassVar[str] = "unassociated"
    measurements: ClassVar[tuple[type, ...]] = (Echoes,)
    needs: ClassVar[str] = "echoes (Echoes)"

    cell: CellSize = 2.0
    starts: Starts = 8
    steps: int = pydantic.Field(default=5, ge=1)
    """Gauss-Newton steps of each ascent."""
    candidates: int = pydantic.Field(default=16, ge=1)
    """Most paths of the map compared with the echoes at a position."""
    detection: float | None = pydantic.Field(default=None, gt=0, le=1)
    """Probability that an echo of two existing paths is detected; learnt from all targets together
    if not given."""
    false_share: float | None = pydantic.Field(default=None, ge=0, lt=1)
    """Share of false echoes; learnt from all targets together if not given."""
    log_power_std: float | None = pydantic.Field(default=None, gt=0)
    """Fluctuation of the natural logarithm of an echo's power; learnt from all targets together if
    not given."""
    angle_error_scale: float | None = pydantic.Field(default=None, ge=1)
    """Errors of the echoes' angles over those stated; learnt from all targets together if not
    given."""
    delay_error_scale: float | None = pydantic.Field(default=None, ge=1)
    """Errors of their delays over those stated, likewise."""
    tail_scale: float | None = pydantic.Field(default=None, ge=1)
    """Deviations of fixes over those of Gaussian errors, where errors have heavy tails,
    likewise."""
    use_power: bool = True
    """Whether the echoes' relative powers count."""
    unknown: tuple[Literal["clock", "heading"], ...] = ()
    """What all echoes have in common that is estimated too: the clock against the map's, the
    heading of the array."""
    targets: int = pydantic.Field(default=1, ge=1, le=2)
    """Most targets in each set of echoes.  With two, target k of the set with number n gets the
    number ``2 * n + k``; with one, a set that holds more gets the status ``SEVERAL``."""
    chunk: Chunk = 32

    @pydantic.field_validator("unknown", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Take names with commas between, as the command line gives them."""
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",")]
        return sorted(set(value)) if isinstance(value, list | tuple) else value

    def prepare(self, maps: Mapping[str, ChannelMap], height: Height, measurements: Echoes) -> Any:
        """Query the maps of the echoes' stations on a grid."""
        pairs = _station_pairs(measurements)
        used = list(dict.fromkeys(name for pair in pairs for name in pair))
        found = {name: station_map(maps, name, "echoes") for name in used}
        low, high = height_range(list(found.values()), height)
        cells = make_cells(
            list(found.values()), low, high,
            cell=self.cell, height_step=self.height_step, reach=self.reach,
        )  # fmt: skip
        predictor = {name: each.at_heights(low, high).predictor() for name, each in found.items()}
        # on the device once, or each call of a compiled step would copy the rasters there again
        predictor = jax.tree.map(
            lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, predictor
        )
        features = {
            n: features_of_cells(m, np.asarray(cells.position)) for n, m in predictor.items()
        }
        cells = jax.tree.map(jnp.asarray, cells)
        return _Grid(found, predictor, cells, features, np.array([low, high]))

    def batch(self, prepared: "_Grid", measurements: Echoes) -> Batch:
        """Estimate one-way paths and what the targets have in common."""
        pairs = _station_pairs(measurements)
        for name in dict.fromkeys(name for pair in pairs for name in pair):
            station_map(prepared.maps, name, "echoes")
        targets, sets = sets_of_targets(measurements, pairs)
        paths = measurements.estimates
        powers = self.use_power and bool(np.all(paths.power[paths.valid] > 0))
        own = [out == back for out, back in pairs]
        scale = self._error_scale([s for s, one in zip(sets, own) if one])
        sets = [scale.widen(each) for each in sets]
        model, grouped = self._learn([s for s, one in zip(sets, own) if one], powers)
        rest = iter(grouped)
        observed = [next(rest) if one else each for each, one in zip(sets, own)]
        stations = [_Stations(*(prepared.predictor[name] for name in pair)) for pair in pairs]
        features = [
            prepared.features[out] if one else (prepared.features[out], prepared.features[back])
            for (out, back), one in zip(pairs, own)
        ]

        def search(inputs):
            echo, observed = jax.device_put(inputs)  # all at once: each by itself costs more
            return _search(self, prepared, stations, features, echo, observed, model)

        def peaks(observed):
            return _peaks(self, prepared, features, jax.device_put(observed), model)[1]

        free = 3 if prepared.heights[1] > prepared.heights[0] else 2
        inputs, bias = (sets, observed), None
        if self.unknown:
            if not any(own):
                raise InputError(
                    "a common clock or heading is estimated from stations that receive their own "
                    "pulse; these echoes are all of another station's"
                )
            inputs, bias = calibrate(self, inputs, search, peaks, self.unknown, free)

        def judge(number, result, bias) -> Fix:
            found, normal = result
            learnt = {"detection": model.detection, "false_share": model.false_share}
            if powers:
                learnt["log_power_std"] = model.log_power_std
            learnt = {name: float(value) for name, value in learnt.items()} | scale.stated()
            fix = self.judge(number, found, prepared.maps.values(), free == 3, learnt)
            fix = dataclasses.replace(fix, covariance=scale.tail**2 * fix.covariance)
            outside = self.outside(fix.best, prepared.maps.values())
            fix = state_bias(fix, found, normal, bias, free, outside)
            return self.claim(fix, prepared.maps.values())

        def search_again(rows, echo):
            paths = self._paths([e for e, one in zip(echo, own) if one], model)
            rest = iter(paths)
            seen = [next(rest) if one else e for e, one in zip(echo, own)]
            size = self.targets_at_a_time(len(targets))
            return search_all(search, (echo, seen), len(rows), size)

        def conclude(result) -> Fix:
            further = find_further(list(inputs[0]), result[0], search_again)
            if further is None:
                return judge(targets * self.targets, result, bias)
            if self.targets == 1:
                fix = judge(targets, result, bias)
                fix.status[further.row] = FixStatus.SEVERAL
                return fix
            put = lambda whole, part: _put(whole, further.row, part)  # noqa: E731
            numbers = np.concatenate([2 * targets, 2 * targets[further.row] + 1])
            both = jax.tree.map(
                lambda whole, one, two: np.concatenate([put(whole, one), two]),
                result, further.first, further.second,
            )  # fmt: skip
            order = np.argsort(numbers, kind="stable")
            both = jax.tree.map(lambda leaf: leaf[order], both)
            return judge(numbers[order], both, bias)

        return Batch(len(targets), inputs, search, conclude)

    def _error_scale(self, own) -> ErrorScale:
        """Learn how large errors are beside those stated, where it is not given."""
        given = (self.angle_error_scale, self.delay_error_scale, self.tail_scale)
        learnt = learn_error_scale(own) if None in given else ErrorScale()
        return ErrorScale(*(o if g is None else g for g, o in zip(given, learnt)))

    def _learn(self, own, powers: bool) -> tuple[EchoModel, list[OneWayPaths]]:
        """Learn what is not given from all targets, and estimate their one-way paths with it."""
        detection = _DETECTION if self.detection is None else self.detection
        false = _FALSE_SHARE if self.false_share is None else self.false_share
        grouped: list[OneWayPaths] = []
        if self.detection is None or self.false_share is None:
            guess = _echo_model(detection, false, 0.25, False)
            grouped = [estimate_for_targets(each, guess) for each in own]
            learnt = learn_detection(own, grouped, detection, false)
            detection = learnt[0] if self.detection is None else detection
            false = learnt[1] if self.false_share is None else false
        model = _echo_model(detection, false, 1.0, False)
        grouped = self._paths(own, model)
        std = self.log_power_std
        if std is None:
            std = learn_power_fluctuation(grouped)
        model = _echo_model(detection, false, std, powers)
        return model, [each.with_fluctuation(std) for each in grouped]

    def _paths(self, own, model: EchoModel) -> list[OneWayPaths]:
        """Estimate the one-way paths under the echoes of every station's own pulse."""
        found = [estimate_for_targets(each, model) for each in own]
        return [each.with_fluctuation(float(model.log_power_std)) for each in found]


def _put(whole, row, part):
    """Replace some rows of an array."""
    whole = np.array(whole)
    whole[row] = part
    return whole


def _echo_model(detection: float, false_share: float, log_power_std: float, powers: bool):
    numbers = (detection, max(false_share, 1e-3), log_power_std, 1.0 * powers)
    return EchoModel(*(np.asarray(value, float) for value in numbers))


def _station_pairs(echoes: Echoes) -> list[tuple[str, str]]:
    return sorted(echoes.ways())


class _Grid(NamedTuple):
    """Maps queried on a grid."""

    maps: dict[str, ChannelMap]
    predictor: dict[str, ChannelMap]
    cells: Cells
    features: dict[str, Any]
    heights: np.ndarray


class _Stations(NamedTuple):
    """The transmitting and the receiving station, by their maps."""

    transmitter: ChannelMap
    receiver: ChannelMap

    def linearise(self, position, observed, count, position_variance) -> LinearisedPaths:
        """Linearise the map, or both, about every start."""
        if isinstance(observed, OneWayPaths):
            return linearise_at_starts(
                self.transmitter, position, observed, count, position_variance
            )
        return linearise_pair_at_starts(
            (self.transmitter, self.receiver), position, observed, count, position_variance
        )


def _half_cell(method, grid: _Grid):
    """Give the variance of a position within a cell, and between two heights if searched [m^2]."""
    free = grid.heights[1] > grid.heights[0]
    return np.float32((method.cell**2 + (method.height_step**2 if free else 0.0)) / 8)


def _peaks(method, grid: _Grid, features, observed, model):
    return grid_peaks(
        features, observed, model, grid.cells, _half_cell(method, grid),
        np.float32(2.25 * method.cell), count=method.starts,
    )  # fmt: skip


def _search(
    method, grid: _Grid, stations, features, echo, observed, model
) -> tuple[LocalMaxima, Normal | None]:
    """Search some targets: peaks of the grid, ascents from each, the best by the echoes."""
    heights, half = grid.heights, _half_cell(method, grid)
    wide, none = 3.0 * half, 0.0 * half
    peaks, _ = _peaks(method, grid, features, observed, model)
    position = np.asarray(grid.cells.position)[np.asarray(peaks)]

    def linearise(position, variance, observed=observed):
        return [
            s.linearise(position, o, method.candidates, variance)
            for s, o in zip(stations, observed)
        ]

    def ascend_from(position, reflectivity, members, variance, tempering):
        """Ascend from as many starts at a time as there are ends: one program for all rounds."""
        index = np.minimum(np.arange(-(-position.shape[1] // size) * size), position.shape[1] - 1)
        parts = []
        for rows in index.reshape(-1, size):
            take = lambda leaf, rows=rows: leaf[:, rows]  # noqa: E731
            parts.append(ascend(
                linearise(take(position), variance), echo, observed, model, take(reflectivity),
                take(members), variance, tempering, heights, steps=method.steps,
            ))  # fmt: skip
        return jax.tree.map(
            lambda *leaves: np.concatenate(leaves, axis=1)[:, : position.shape[1]], *parts
        )

    # The first rounds allow for the grid's cell and learn the target's reflectivity; after one, an
    # ascent is wrong by no more than the map's curvature, and the best ends stand out.
    size = min(_ENDS, method.starts)
    unknown = np.full((*peaks.shape, len(stations)), np.nan)
    found = ascend_from(position, unknown, np.ones(peaks.shape), wide, wide)
    for variance, tempering in ((wide, 0.05 * half), (none, none)):
        found = best_ends(found, size)
        found = ascend_from(
            found.position, found.log_reflectivity, found.starts, variance, tempering
        )

    def evaluate_points(rows, position, reflectivity):
        inputs = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], (echo, observed))
        some, seen = jax.device_put(inputs)
        return log_likelihoods(linearise(position, none, seen), some, seen, model, reflectivity)

    found = integrate_modes(found, evaluate_points, grid.heights)
    own = [isinstance(each, OneWayPaths) for each in observed]
    if not any(own):
        return found, None
    position = found.position
    predicted = [p for p, one in zip(linearise(position, none), own) if one]
    seen = [o for o, one in zip(observed, own) if one]
    reflectivity = found.log_reflectivity[..., np.array(own)]
    return found, normal_equations_at_ends(predicted, seen, position, reflectivity)
