"""Locate targets straight from samples through channel maps, without detecting any echo.

Detection throws away echoes below its threshold, although all of a target's echoes together may
stand far above the noise.  Here every place is judged by all echoes that the map promises there:
a grid scored by the sum of squared correlations (`direct_grid`), its peaks scored again with the
energy shared among overlapping echoes, the best climbed over place and map errors
(`direct_likelihood`).  Several targets are found one after the other, each with the others' echoes
taken off, until nothing stands out.

Takes `EchoSnapshots` and a `ChannelMap` for each station.
Gives a `Fix`.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from scipy.stats import gamma

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.estimation.echo_box import box_of
from echoscape.localization.direct.forward import DirectView
from echoscape.localization.direct.grid import FINER, CellPaths, cell_paths, cell_peaks, score_cells
from echoscape.localization.direct.likelihood import descend, fit_echoes
from echoscape.localization.fix import Fix
from echoscape.localization.posterior_modes import gather_places
from echoscape.localization.unassociated.ascent import Found
from echoscape.localization.unassociated.grid import lay_cells
from echoscape.localization.unassociated.method import height_range
from echoscape.numerics import DescentSettings, damped_newton
from echoscape.numerics.harmonics import synthesize
from echoscape.signals import EchoSnapshots, check_delays
from echoscape.units import SPEED_OF_LIGHT

_MOST_NUMBERS = 3e8  # kept of all cells' paths: about a gigabyte
_SNR = 1e4  # of an echo, for the first look at peaks


class DirectSettings(pydantic.BaseModel):
    """How places are searched."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    paths: int = pydantic.Field(default=5, ge=1)
    """Most one-way paths whose pairs echo."""
    cell: float | None = pydantic.Field(default=None, gt=0)
    """Side of the grid's cells [m]; a quarter of the resolved length if not given."""
    level: float = pydantic.Field(default=4.0, gt=0)
    """Distance between the grid's heights, when the height is searched too [m]."""
    reach: float = pydantic.Field(default=15.0, gt=0)
    """How far from the nearest report a target may be [m]."""
    peaks: int = pydantic.Field(default=24, ge=1)
    """Peaks of the grid that are scored again."""
    reciprocal: bool = True
    """Whether a target sends back along i what comes along j as it does the reverse: so does
    everything of reciprocal materials, at one station whose antennas send and listen alike."""
    starts: int = pydantic.Field(default=4, ge=1)
    """Peaks that are climbed from."""
    steps: int = pydantic.Field(default=25, ge=1)
    """Most steps of a climb."""
    false_alarm: float = pydantic.Field(default=1e-3, gt=0, lt=1)
    """Probability that noise alone is taken for a target."""
    ambiguous_below: float = pydantic.Field(default=0.9, gt=0, le=1)
    """A best place with less of the posterior than this is called ambiguous."""
    vague_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""


class DirectSearch(eqx.Module):
    """Grid and map at every cell, made once for all snapshots of the same arrays and waveform."""

    views: list[DirectView]
    """One for each pair of stations."""
    features: list[CellPaths]
    """The maps' paths at every cell."""
    cells: jax.Array
    """Centres, the last repeated to a multiple of what is scored at a time [m]."""
    heights: tuple[float, float] = eqx.field(static=True)
    """Lowest and highest z [m]."""
    step: float = eqx.field(static=True)
    """Side of a cell [m]."""
    settings: DirectSettings = eqx.field(static=True)
    """How places are searched."""


def prepare_direct(
    snapshots: Sequence[EchoSnapshots],
    maps: ChannelMap | Mapping[str, ChannelMap],
    *,
    height: float | tuple[float, float] | None = None,
    settings: DirectSettings | None = None,
) -> DirectSearch:
    """Lay a grid over the maps for snapshots of some pairs of stations.

    Args:
        snapshots: One for each pair; their arrays and waveforms count, not their samples.
        maps: The map, or one for each station by name.
        height: Height of the targets, or the range to search [m]; the reports' own by default.
        settings: How to search.

    Raises:
        InputError: A station has no map, delays would fold, or the grid would be too large.
    """
    settings = settings or DirectSettings()
    if isinstance(maps, ChannelMap):
        maps = {maps.station: maps}
    views = []
    for each in snapshots:
        for name in (each.transmit_station, each.receive_station):
            if name not in maps:
                raise InputError(
                    f"the samples are of station '{name}', but the map knows only "
                    f"{', '.join(sorted(maps))}; fit a map from that station's reports"
                )
        own = each.transmit_station == each.receive_station
        listener = None if own else maps[each.receive_station]
        views.append(
            DirectView(
                maps[each.transmit_station], listener, box_of(each), settings.paths,
                settings.reciprocal,
            )
        )  # fmt: skip
    ends = [end for v in views for end in (v.sender, v.listener) if end is not None]
    low, high = height_range(ends, height)
    resolved = min(SPEED_OF_LIGHT / view.box.waveform.bandwidth for view in views)
    step = 0.25 * resolved if settings.cell is None else settings.cell
    asked = settings.model_copy(update={"cell": step})
    place = np.asarray(lay_cells(ends, low, high, asked).place)
    elements = sum(v.box.transmit.elements + v.box.receive.elements for v in views)
    gains = sum(view.mix.shape[1] ** 2 for view in views)
    if len(place) * (gains + settings.paths * elements) > _MOST_NUMBERS or len(
        place
    ) * step**2 < 0.5 * (_area(ends, settings.reach) if low == high else 0.0):
        raise InputError(
            f"cells of {step:.2g} m, which {resolved:.2g} m of resolution ask for, are too many "
            f"for this area: {len(place)}; give a larger cell or a map of a smaller area"
        )
    features = [cell_paths(view, place) for view in views]
    for view, feature in zip(views, features):
        waveform = view.box.waveform
        longest = float(jnp.max(jnp.where(feature.present, feature.step, 0)))
        check_delays(
            waveform,
            longest * waveform.unambiguous_delay / (FINER * waveform.subcarriers),
            "the longest echo in the map's area",
        )
    filled = features[0].step.shape[0]
    cells = jnp.asarray(place[np.minimum(np.arange(filled), len(place) - 1)])
    return DirectSearch(views, features, cells, (low, high), step, settings)


def _area(ends, reach: float) -> float:
    """Area whose cells `lay_cells` would keep, at least: each report's own disc is in it [m^2]."""
    reports = np.concatenate([np.asarray(m.report_position)[:, :2] for m in ends])
    return float(np.prod(np.ptp(reports, axis=0))) * 0.5 if len(reports) > 100 else 0.0


def localize_direct(
    snapshots: EchoSnapshots | Sequence[EchoSnapshots],
    maps: ChannelMap | Mapping[str, ChannelMap] | DirectSearch,
    *,
    targets: int = 1,
    height: float | tuple[float, float] | None = None,
    settings: DirectSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fix:
    """Locate the targets of every snapshot, with the gains of all echoes integrated out.

    Args:
        snapshots: Of one pair of stations, or the same targets as several pairs hear them.
        maps: The map, or one for each station by name, or what `prepare_direct` made of them.
        targets: Most targets in each snapshot.  With more than one, target k of snapshot n gets
            the number ``n * targets + k``; otherwise the snapshot's own.
        height: As for `prepare_direct`.
        settings: How to search.
        progress: Called with snapshots done and all snapshots.

    Returns:
        A row for every snapshot and target; one of several targets that does not stand out has no
        row, a single one the status ``NO_ECHO``.

    Raises:
        InputError: As `prepare_direct`, or the pairs hold different numbers of snapshots.
    """
    several = [snapshots] if isinstance(snapshots, EchoSnapshots) else list(snapshots)
    if not several:
        raise InputError("there are no samples to locate a target from")
    counts = {len(each.received) for each in several}
    if len(counts) > 1:
        raise InputError(f"all pairs of stations need the same snapshots; got {sorted(counts)}")
    if targets < 1:
        raise InputError(f"targets must be at least 1; got {targets}")
    if isinstance(maps, DirectSearch):
        search = maps
    else:
        search = prepare_direct(several, maps, height=height, settings=settings)
    noise = jnp.asarray([each.noise() for each in several])
    samples = [each.echoes for each in several]
    rows, number, count = [], [], counts.pop()
    for index in range(count):
        found = _locate_all(search, [jnp.asarray(s[index]) for s in samples], noise, targets)
        single = targets == 1
        rows += found
        number += [int(several[0].target[index]) if single else index * targets + k
                   for k in range(len(found))]  # fmt: skip
        if progress is not None:
            progress(index + 1, count)
    return _as_fix(search, rows, number)


def _locate_all(search: DirectSearch, samples, noise, targets: int) -> list[Found]:
    """Find one target after the other, and after each new one all again, others taken off."""
    found: list[Found] = []
    echoes = []
    for _ in range(targets):
        one, echo, stands_out = _locate(search, _without(samples, echoes), noise)
        if not stands_out and targets > 1:
            break
        found.append(one)
        echoes.append(echo)
        for _ in range(2 if len(found) > 1 else 0):
            for k in range(len(found)):
                rest = _without(samples, echoes[:k] + echoes[k + 1 :])
                found[k], echoes[k], _ = _locate(search, rest, noise)
    return found


def _without(samples, echoes):
    for echo in echoes:
        samples = [s - e for s, e in zip(samples, echo)]
    return samples


def _locate(search: DirectSearch, samples, noise):
    settings = search.settings
    score = score_cells(samples, search.features, [view.mix for view in search.views], noise)
    peak = cell_peaks(score, search.cells, min(settings.peaks, len(score)), 1.5 * search.step)
    found, echo = _climb(search, samples, noise, search.cells[peak])
    best = int(np.argmax(np.asarray(found.value)))
    gains = sum(view.mix.shape[1] for view in search.views)
    threshold = gamma.isf(settings.false_alarm / len(score), gains)
    stands_out = float(found.explained[best]) > threshold
    energy = float(found.explained[best])
    # What is left over beyond noise, where that can be told, counts against the map.
    total, size = 0.0, 0
    for s, n in zip(samples, np.asarray(noise)):
        total, size = total + float(jnp.sum(jnp.abs(s) ** 2)) / n, size + s.size
    beyond = max(energy, total - size - 5 * math.sqrt(size))
    heard = np.full(found.value.shape, beyond if stands_out else 0.0)
    found = Found(found.place, found.value, found.information, found.explained, heard, found.level)
    return found, [e[best] for e in echo], stands_out


@eqx.filter_jit
def _climb(search: DirectSearch, samples, noise, start):
    """Score peaks with energy shared, climb from the best, over place and map errors."""
    views, settings = search.views, search.settings
    boxes = [view.box.fold(s) for view, s in zip(views, samples)]
    free = 3 if search.heights[1] > search.heights[0] else 2

    def fits(held, frequency, snr):
        return [
            fit_echoes(box, w, h.present, h.mix, n, snr)
            for box, w, h, n in zip(boxes, frequency, held, noise)
        ]

    def first(place):
        held = [view.held(place) for view in views]
        told = [h.frequencies(place, jnp.zeros(v.errors)) for h, v in zip(held, views)]
        energy = sum(fit.energy for fit in fits(held, told, jnp.asarray(_SNR)))
        return energy

    energy = jax.lax.map(first, start)
    count = sum(view.mix.shape[1] for view in views)
    energy = energy - count
    snr = jnp.maximum(jnp.max(energy) / count, 1.0)  # type: ignore[operator]
    _, best = jax.lax.top_k(energy, min(settings.starts, len(start)))

    def climb(place):
        held = [view.held(place) for view in views]

        def objective(point):
            where = jnp.concatenate([point[:free], place[free:]])
            value, gradient = jnp.zeros(()), jnp.zeros_like(point)
            curvature = jnp.zeros((point.shape[0],) * 2)
            at = free
            for view, h, box, n in zip(views, held, boxes, noise):
                error = point[at : at + view.errors]
                v, g, c = descend(box, h, where, error, n, snr)
                index = np.r_[0:free, at : at + view.errors]
                inside = np.r_[0:free, 3 : 3 + view.errors]
                value = value + v
                gradient = gradient.at[index].add(g[inside])
                curvature = curvature.at[np.ix_(index, index)].add(c[np.ix_(inside, inside)])
                at += view.errors
            return value, gradient, curvature

        begin = jnp.concatenate([place[:free], jnp.zeros(sum(v.errors for v in views))])
        stop = DescentSettings(
            max_steps=settings.steps, step_limit=2 * search.step, tolerance_step=1e-5
        )
        return damped_newton(objective, begin, settings=stop)

    def turn(place, _):
        """Climb once with the paths held that are the strongest here."""
        descent = climb(place)
        final = jnp.concatenate([descent.x[:free], place[free:]])
        return final, (place, descent.x, descent.value, descent.curvature)

    def last(place):
        """Climb twice: the paths are chosen anew where the first climb ended."""
        final, turns = jax.lax.scan(turn, place, None, 2)
        place, point, value, block = jax.tree.map(lambda leaf: leaf[-1], turns)
        held = [view.held(place) for view in views]
        told, at = [], free
        for view, h in zip(views, held):
            told.append(h.frequencies(final, point[at : at + view.errors]))
            at += view.errors
        fit = fits(held, told, snr)
        echo = [
            synthesize(w, jnp.where(h.present, f.gain, 0.0), box.shape).reshape(s.shape)
            for w, f, h, box, s in zip(told, fit, held, boxes, samples)
        ]
        rest = block[free:, free:]
        inside = block[:free, :free] - block[:free, free:] @ jnp.linalg.solve(
            rest, block[free:, :free]
        )
        information = jnp.zeros((3, 3)).at[:free, :free].set(inside)
        # Of echoes that no prior holds back: under noise alone one for each gain.
        energy = sum(f.energy for f in fits(held, told, jnp.asarray(_SNR)))
        return final, -value, information, energy, echo

    final, value, information, energy, echo = jax.lax.map(last, start[best])
    level = jnp.full((len(best), len(views)), jnp.nan)
    return Found(final, value, information, energy, energy, level), echo


def _as_fix(search: DirectSearch, rows: list[Found], number: list[int]) -> Fix:
    if not rows:
        size = search.settings.starts
        empty = np.zeros((0, size))
        found = Found(np.zeros((0, size, 3)), empty, np.zeros((0, size, 3, 3)), empty, empty,
                      np.zeros((0, size, 1)))  # fmt: skip
    else:
        found = jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *rows)
    ends = [end for v in search.views for end in (v.sender, v.listener) if end is not None]
    place = np.asarray(found.place)
    support = np.min([m.support(place.reshape(-1, 3)) for m in ends], axis=0)
    return gather_places(
        np.asarray(number, dtype=int), found, support.reshape(place.shape[:2]),
        search.heights[0] < search.heights[1], reach=search.settings.reach,
        ambiguous_below=search.settings.ambiguous_below, vague_above=search.settings.vague_above,
    )  # fmt: skip
