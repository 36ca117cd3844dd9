"""What every localization method is: a frozen set of settings that can prepare and search.

A method prepares a grid of the maps once (`Localizer.prepare`), then turns any number of
measurements into a `Batch` (`Localizer.batch`): arrays with one entry for each target, a compiled
search of some targets at a time, and the way from what the search found to a `Fix`.  Chunks,
padding and progress are in one place (`run`).

Takes measurements and channel maps.
Gives `Batch`es, and what a method found in one.
"""

import abc
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import numpy as np
import pydantic
from jaxtyping import Bool, Float

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.localization.fix import Fix
from echoscape.localization.posterior_modes import EDGE, allow_elsewhere, posterior_modes
from echoscape.progress import Progress

Height = float | tuple[float, float] | None
"""Height of the targets, lowest and highest to search, or the reports' own [m]."""

CellSize = Annotated[float, pydantic.Field(gt=0, description="Side of the grid's cells [m].")]
Starts = Annotated[int, pydantic.Field(ge=1, description="Peaks of the grid that are refined.")]
Chunk = Annotated[int, pydantic.Field(ge=1, description="Most targets in memory at a time.")]
AmbiguousBelow = Annotated[
    float,
    pydantic.Field(
        gt=0,
        le=1,
        description="A best mode with less of the posterior than this is called ambiguous [1].",
    ),
]

_FARTHEST_HEIGHT = 10_000.0  # from the reports, beyond which a height is a slip [m]


class Batch(NamedTuple):
    """Measurements of several targets, ready to be searched."""

    count: int
    """How many targets."""
    inputs: Any
    """Arrays with targets on the first axis."""
    search: Callable[[Any], Any]
    """From the inputs of some targets to what was found, targets on the first axis."""
    conclude: Callable[[Any], Fix]
    """From what was found of all targets to their fixes."""


class Localizer(pydantic.BaseModel, abc.ABC):
    """A localization method; its fields are its settings."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    name: ClassVar[str]
    """What commands and files call the method."""
    measurements: ClassVar[tuple[type, ...]]
    """Types of measurements that it can use."""
    needs: ClassVar[str]
    """The same in words, for messages."""

    @abc.abstractmethod
    def prepare(self, maps: Mapping[str, ChannelMap], height: Height, measurements: Any) -> Any:
        """Query the maps on a grid, once for any number of measurements.

        Args:
            maps: Maps by station.
            height: Height of the targets, or the range to search [m].
            measurements: The first to be located; later ones must have the same layout.
        """

    @abc.abstractmethod
    def batch(self, prepared: Any, measurements: Any) -> Batch:
        """Arrange measurements for a search of what `prepare` made."""

    def targets_at_a_time(self, count: int) -> int:
        """Give the size of a chunk, one of few, so that few programs are compiled."""
        chunk = getattr(self, "chunk", count)
        size = 1
        while size < min(count, chunk):
            size *= 8
        return min(size, chunk)


class GridLocalizer(Localizer):
    """A method that refines the peaks of a grid, and the settings that all such have."""

    height_step: float = pydantic.Field(default=4.0, gt=0)
    """Distance between the grid's heights, where a range is searched [m]."""
    reach: float = pydantic.Field(default=15.0, gt=0)
    """How far from the nearest report a target may be [m]."""
    starts: Starts = 4
    ambiguous_below: AmbiguousBelow = 0.9
    ambiguous_above: float = pydantic.Field(default=3.0, gt=0)
    """A posterior with a wider standard deviation than this is called ambiguous [m]."""

    def judge(
        self,
        target: np.ndarray,
        maxima: Any,
        maps: Iterable[ChannelMap],
        height_free: bool,
        learnt: dict[str, float] | None = None,
    ) -> Fix:
        """Merge the maxima of every target into modes, weigh and judge them.

        Args:
            target: The targets' numbers.
            maxima: Their local maxima.
            maps: Maps whose reports tell how far the search reached.
            height_free: Whether the height was searched.
            learnt: What was learnt from all targets together, by name.
        """
        place, maps = maxima.position.reshape(-1, 3), list(maps)
        support = np.min([each.support(place) for each in maps], axis=0)
        unsure = np.any([each.extrapolates(place) for each in maps], axis=0)
        return posterior_modes(
            target, maxima, support.reshape(maxima.position.shape[:2]), height_free,
            reach=self.reach, ambiguous_below=self.ambiguous_below,
            ambiguous_above=self.ambiguous_above, starts=self.starts, learnt=learnt,
            extrapolated=unsure.reshape(maxima.position.shape[:2]),
        )  # fmt: skip

    def claim(self, fix: Fix, maps: Iterable[ChannelMap]) -> Fix:
        """Allow for targets of whose paths the maps know too little, above the reports.

        Args:
            fix: Fixes as judged.
            maps: Maps of the stations.
        """
        maps = list(maps)
        unsure = np.any([each.extrapolates(fix.best) for each in maps], axis=0)
        if not unsure.any():
            return fix
        return allow_elsewhere(fix, unsure, np.concatenate([m.report_position for m in maps]))

    def outside(
        self, place: Float[np.ndarray, "place 3"], maps: Iterable[ChannelMap]
    ) -> Bool[np.ndarray, " place"]:
        """Tell which places [m] lie at the edge of what the search reached, or beyond."""
        return np.min([each.support(place) for each in maps], axis=0) > EDGE * self.reach


def run(method: Localizer, batch: Batch, progress: Progress | None) -> Fix:
    """Search the targets of a batch chunk by chunk; the last chunk is filled up and cut."""
    if batch.count == 0:
        raise InputError("there is nothing to locate a target from; the set is empty")
    size = method.targets_at_a_time(batch.count)
    return batch.conclude(
        search_all(batch.search, batch.inputs, batch.count, size, progress, "locating")
    )


def search_all(
    search: Callable[[Any], Any],
    inputs: Any,
    count: int,
    size: int,
    progress: Progress | None = None,
    stage: str = "",
) -> Any:
    """Search targets some at a time; the last of them are filled up and cut.

    Args:
        search: From the inputs of some targets to what was found.
        inputs: Arrays with targets on the first axis.
        count: How many targets.
        size: Targets at a time; what is compiled already where another search had as many.
        progress: As for `localize`.
        stage: Name for the progress.
    """
    parts = []
    if progress is not None:
        progress(0, count, f"{stage}, compiling" if stage else "compiling")
    for first in range(0, count, size):
        index = np.minimum(np.arange(first, first + size), count - 1)
        some = jax.tree.map(lambda leaf, index=index: np.asarray(leaf)[index], inputs)
        kept = min(size, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], search(some)))
        if progress is not None:
            progress(first + kept, count, stage)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def station_map(maps: Mapping[str, ChannelMap], station: str, kind: str) -> ChannelMap:
    """Find the map of a station that measurements name.

    Raises:
        InputError: There is none.
    """
    if station not in maps:
        raise InputError(
            f"the {kind} are of station '{station}', but the map knows only "
            f"{', '.join(sorted(maps))}; fit a map from that station's reports"
        )
    return maps[station]


def only_map(maps: Mapping[str, Any], kind: str) -> Any:
    """Take the map of measurements that name no station.

    Raises:
        InputError: There are several.
    """
    if len(maps) != 1:
        raise InputError(
            f"{kind} name no station, so one map is needed; got those of "
            f"{', '.join(sorted(maps)) or 'no station'}: give the one that they were measured at"
        )
    return next(iter(maps.values()))


def height_range(maps: list[ChannelMap], height: Height) -> tuple[float, float]:
    """Read the heights to search [m]: those asked for, or the reports' common one."""
    common = float(np.median(np.concatenate([m.report_position[:, 2] for m in maps])))
    if height is None:
        return common, common
    if not isinstance(height, tuple | list):
        if not np.isfinite(height):
            raise InputError(f"a height needs a finite number in metres; got {height}")
        low = high = float(height)
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
