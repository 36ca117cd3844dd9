"""Locate targets through channel maps: a grid over the map's area, then descent from its peaks.

Random starts lose targets; a grid does not.  Each target's echoes are grouped into one-way paths
(`grouping`), every cell is scored by how well its paths match them (a multi-Bernoulli likelihood,
cheap), and the best peaks are refined and compared by the likelihood of the echoes themselves
(`explain`).  What several stations heard adds up, of themselves and of one another.

Takes `Echoes` and a `ChannelMap` for each station.
Gives a `Fix`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.localization.fix import Fix
from echoscape.localization.posterior_modes import gather_places
from echoscape.localization.unassociated.ascent import Found, climb_all
from echoscape.localization.unassociated.bistatic import pairs_near_all
from echoscape.localization.unassociated.echo_sets import (
    group_sets,
    learn_detection,
    power_fluctuation,
    sets_of_targets,
)
from echoscape.localization.unassociated.grid import grid_peaks, lay_cells
from echoscape.localization.unassociated.grid_features import cell_features
from echoscape.localization.unassociated.linearised_map import NearbyPaths, paths_near_all
from echoscape.localization.unassociated.one_way_paths import EchoModel, OneWayPaths
from echoscape.localization.unassociated.posterior_quadrature import weigh_ends
from echoscape.reports import Echoes

_FARTHEST_HEIGHT = 10_000.0  # from the reports, beyond which a height is a slip [m]


class SearchSettings(pydantic.BaseModel):
    """How places are searched."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    cell: float = pydantic.Field(default=2.0, gt=0)
    """Side of the grid's cells [m]."""
    level: float = pydantic.Field(default=4.0, gt=0)
    """Distance between the grid's heights, when the height is searched too [m]."""
    reach: float = pydantic.Field(default=15.0, gt=0)
    """How far from the nearest report a target may be [m]."""
    starts: int = pydantic.Field(default=8, ge=1)
    """Peaks of the grid that are refined."""
    steps: int = pydantic.Field(default=5, ge=1)
    """Steps of each of the three rounds of a refinement."""
    candidates: int = pydantic.Field(default=16, ge=1)
    """Most paths of the map compared with the echoes at a place."""
    detection: float = pydantic.Field(default=0.9, gt=0, le=1)
    """Probability that an echo of two existing paths is heard, before any was."""
    false_share: float = pydantic.Field(default=0.1, ge=0, lt=1)
    """Expected share of false echoes, before any was heard."""
    use_power: bool = True
    """Whether the echoes' relative powers count; their fluctuation is learnt from the echoes."""
    ambiguous_below: float = pydantic.Field(default=0.9, gt=0, le=1)
    """A best place with less of the posterior than this is called ambiguous."""
    vague_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""
    chunk: int = pydantic.Field(default=32, ge=1)
    """Targets in memory at a time."""


def localize(
    echoes: Echoes,
    maps: ChannelMap | Mapping[str, ChannelMap],
    *,
    height: float | tuple[float, float] | None = None,
    settings: SearchSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fix:
    """Locate targets from their unordered echoes, association free.

    Implements Eq. (42) of [wu-ckm] with the measurement covariance added to the map's in (40),
    and a mixture over all pairs of paths in place of the known pairing.

    Args:
        echoes: Echoes of the targets; one set for each station that heard one, of its own pulse
            or of another station's.
        maps: The map, or one for each station by name.
        height: Height of the targets, or the range to search [m]; the reports' own by default.
        settings: How to search.
        progress: Called with targets done and all targets.

    Raises:
        InputError: A station of the echoes has no map, or an option makes no sense.
    """
    settings = settings or SearchSettings()
    if isinstance(maps, ChannelMap):
        maps = {maps.station: maps}
    ways = echoes.ways()
    used = list(dict.fromkeys(name for way in ways for name in way))
    missing = [name for name in used if name not in maps]
    if missing:
        raise InputError(
            f"the echoes are of station '{missing[0]}', but the map knows only "
            f"{', '.join(sorted(maps))}; fit a map from that station's reports"
        )
    station_maps = [maps[name] for name in used]
    if not station_maps:
        raise InputError("there are no echoes to locate a target from; the set is empty")
    low, high = height_range(station_maps, height)
    cells = lay_cells(station_maps, low, high, settings)
    features = {name: cell_features(maps[name], np.asarray(cells.place)) for name in used}
    cells = jax.tree.map(jnp.asarray, cells)
    targets, sets = sets_of_targets(echoes, ways)
    guess = (settings.detection, settings.false_share + 1e-3, 0.25, 0.0)
    model = EchoModel(*(jnp.asarray(value, float) for value in guess))
    powers = settings.use_power and bool(np.all(echoes.estimates.power[echoes.estimates.valid] > 0))
    own = [each for each, (out, back) in zip(sets, ways) if out == back]
    grouped = [group_sets(each, model, settings.chunk) for each in own]
    model = learn_detection(own, grouped, model)
    grouped = [group_sets(each, model, settings.chunk) for each in own]
    if powers:
        model = model._replace(
            log_power_std=jnp.asarray(power_fluctuation(grouped), float),
            power_counts=jnp.asarray(1.0, float),
        )
    rest = iter(grouped)
    heard = [next(rest) if out == back else each for each, (out, back) in zip(sets, ways)]
    looks = [_Look(*(maps[name] for name in way)) for way in ways]
    seen = [features[out] if out == back else (features[out], features[back]) for out, back in ways]
    heights = jnp.asarray([low, high])
    parts, count = [], len(targets)
    for first in range(0, count, settings.chunk):
        index = np.minimum(np.arange(first, first + settings.chunk), count - 1)
        take = lambda tree, index=index: jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), tree)  # noqa: E731
        part = _search_chunk(
            settings, looks, cells, seen, [take(s) for s in sets], [take(h) for h in heard],
            model, heights,
        )  # fmt: skip
        kept = min(settings.chunk, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], part))
        if progress is not None:
            progress(first + kept, count)
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    support = np.min([m.support(found.place.reshape(-1, 3)) for m in station_maps], axis=0)
    return gather_places(
        targets, found, support.reshape(found.place.shape[:2]), low < high,
        reach=settings.reach, ambiguous_below=settings.ambiguous_below,
        vague_above=settings.vague_above,
    )  # fmt: skip


def height_range(maps, height) -> tuple[float, float]:
    """Read the heights to search [m]: those asked for, or the reports' common one."""
    common = float(np.median(np.concatenate([m.report_position[:, 2] for m in maps])))
    if height is None:
        return common, common
    if np.ndim(height) == 0:
        if not np.isfinite(height):
            raise InputError(f"a height needs a finite number in metres; got {height}")
        low = high = height
    else:
        low, high = height
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise InputError(f"a height range needs two ascending numbers in metres; got {height}")
    if max(abs(low - common), abs(high - common)) > _FARTHEST_HEIGHT:
        raise InputError(
            f"heights must lie within {_FARTHEST_HEIGHT:g} m of the reports', which is {common:g} "
            f"m; got {height}"
        )
    return float(low), float(high)


class _Look(NamedTuple):
    """Who sent and who heard, by their maps."""

    sender: ChannelMap
    listener: ChannelMap

    def near(self, place, heard, keep, slack) -> NearbyPaths:
        """Ask the map, or both."""
        if isinstance(heard, OneWayPaths):
            return paths_near_all(self.sender, place, heard, keep, slack)
        return pairs_near_all((self.sender, self.listener), place, heard, keep, slack)


def _search_chunk(settings, looks, cells, features, echo, heard, model, heights) -> Found:
    """Search some targets: peaks of the grid, then three rounds of climbing from each."""
    free = heights[1] > heights[0]
    # A place within a cell, and within a level where heights are searched.
    half = jnp.float32((settings.cell**2 + jnp.where(free, settings.level**2, 0.0)) / 8)
    apart = 2.25 * settings.cell
    peaks = grid_peaks(features, heard, model, cells, half, apart, count=settings.starts)
    start = cells.place[peaks]

    def climb_from(place, level, slack, blur, steps=settings.steps):
        near = [
            look.near(place, paths, settings.candidates, slack) for look, paths in zip(looks, heard)
        ]
        return climb_all(near, echo, one_way, model, level, slack, blur, heights, steps=steps)

    # The first rounds allow for the grid's cell and learn the target's level; after one, a climb
    # is wrong by no more than the map's tangent was.
    one_way = [each if isinstance(each, OneWayPaths) else None for each in heard]
    unknown = jnp.full((*peaks.shape, len(looks)), jnp.nan, start.dtype)
    wide, none = 3.0 * half, 0.0 * half
    found = climb_from(start, unknown, wide, wide)
    found = climb_from(found.place, found.level, wide, 0.05 * half)
    found = climb_from(found.place, found.level, none, none)
    return weigh_ends(
        found, lambda place, level: climb_from(place, level, none, none, steps=1).value, heights
    )
