"""What both methods for echoes of known pairs of paths share: their settings, grid and judgement.

Takes `PairedEchoes` and a `ChannelMap`.
Gives a grid of the map, and a `Fix` of the maxima found on it.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Bool, Float

from echoscape.channel_map import ChannelMap
from echoscape.localization.associated.paired_likelihood import PairedEchoes
from echoscape.localization.fix import Fix
from echoscape.localization.localizer import (
    CellSize,
    GridLocalizer,
    Height,
    height_range,
    only_map,
)
from echoscape.localization.unassociated.ascent import LocalMaxima
from echoscape.localization.unassociated.grid import cell_centres, round_up

Pairs = Annotated[
    Literal["all", "reciprocal"],
    pydantic.Field(
        description='Use "all" ordered pairs of paths, Eq. (6) of [wu-ckm], or only the '
        '"reciprocal" ones that return the way they came, Eq. (5).'
    ),
]


class PairedGrid(NamedTuple):
    """A map and the cells that it is queried at."""

    channel_map: ChannelMap
    predictor: ChannelMap
    cells: Float[Array, "cell 3"]
    valid: Bool[np.ndarray, " cell"]
    """False for cells that fill up."""
    heights: Float[np.ndarray, "2"]

    @property
    def height_free(self) -> bool:
        """Whether the height is searched."""
        return bool(self.heights[0] < self.heights[1])


class PairedSearch(GridLocalizer):
    """A method for echoes of known pairs of paths."""

    measurements: ClassVar[tuple[type, ...]] = (PairedEchoes,)
    needs: ClassVar[str] = "echoes of known pairs of paths (PairedEchoes)"

    cell: CellSize = 2.0
    pairs: Pairs = "all"

    def grid_of(self, maps: Mapping[str, ChannelMap], height: Height) -> PairedGrid:
        """Lay the cells over the one map there is."""
        channel_map = only_map(maps, "paired echoes")
        low, high = height_range([channel_map], height)
        centres, _ = cell_centres(
            [channel_map], low, high, cell=self.cell, height_step=self.height_step,
            reach=self.reach,
        )  # fmt: skip
        cells = jnp.asarray(round_up(centres))
        valid = np.arange(len(cells)) < len(centres)
        predictor = channel_map.at_heights(low, high).predictor()
        return PairedGrid(channel_map, predictor, cells, valid, np.array([low, high]))

    def conclude(self, grid: PairedGrid, found: LocalMaxima) -> Fix:
        """Judge what was found; targets are numbered as they came."""
        maps = [grid.channel_map]
        number = np.arange(len(found.position))
        return self.claim(self.judge(number, found, maps, grid.height_free), maps)
