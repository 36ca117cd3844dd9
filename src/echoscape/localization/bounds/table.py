"""Where the bound is asked for, and the table of what came out.

Takes the maps of one or several stations.
Gives places within their reports, and a table of bounds as Parquet or CSV.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.localization.bounds.fisher import Bound, Pairs, join_bounds, map_bound
from echoscape.reports.files import write_table
from echoscape.reports.schema import Column, Schema

BOUNDS = Schema(
    "bounds",
    "place",
    (
        Column("place", "integer", "", True),
        Column("station", "text", ""),
        *(Column(axis, "number", "[m]", True) for axis in "xyz"),
        Column("bound", "number", "[m]", True),
        *(Column(f"cov_{axes}", "number", "[m^2]") for axes in ("xx", "xy", "yy")),
        Column("paths", "integer", ""),
        Column("status", "text", "", True),
    ),
)
"""Columns of a table of bounds."""

_MOST_PLACES = 1_000_000


def grid_places(
    maps: Mapping[str, ChannelMap], step: float, height: float | None = None
) -> Float[np.ndarray, "place 3"]:
    """Lay a square grid over the area of the reports, without the places far from any.

    Args:
        maps: The maps; a place is kept if any of them has a report nearby.
        step: Distance between neighbouring places [m]; reports are near within twice as much, or
            5 m if that is more.
        height: z of the places [m]; the median of the reports' if not given.

    Raises:
        InputError: The step is not above zero, or so small that the places are too many.
    """
    if not 0 < step < np.inf:
        raise InputError(f"the step of the grid must be finite and above zero, in m; got {step}")
    report = np.concatenate([np.asarray(item.report_position) for item in maps.values()])
    low, high = report[:, :2].min(axis=0), report[:, :2].max(axis=0)
    count = np.floor((high - low) / step) + 1
    if count.prod() > _MOST_PLACES:
        raise InputError(
            f"a grid of {step:g} m has {count.prod():.3g} places here; take a larger step"
        )
    x, y = (low[i] + step * np.arange(int(count[i])) for i in (0, 1))
    level = float(np.median(report[:, 2])) if height is None else height
    place = np.stack([*np.meshgrid(x, y, indexing="ij")], axis=-1).reshape(-1, 2)
    place = np.c_[place, np.full(len(place), level)]
    away = np.min([item.support(place) for item in maps.values()], axis=0)
    return place[away <= max(2 * step, 5.0)]


def bound_of_maps(
    maps: Mapping[str, ChannelMap],
    position: Float[np.ndarray, "place 3"],
    *,
    angle_std: float,
    delay_std: float,
    strongest: int = 5,
    pairs: Pairs = "all",
) -> Bound:
    """Bound the error of targets that the stations of all maps see; as `map_bound`."""
    return join_bounds(
        [
            map_bound(
                item,
                position,
                angle_std=angle_std,
                delay_std=delay_std,
                strongest=strongest,
                pairs=pairs,
            )
            for item in maps.values()
        ]
    )


def bound_columns(
    bound: Bound, place: Int[np.ndarray, " place"], station: Sequence[str]
) -> dict[str, np.ndarray]:
    """Lay bounds out as the columns of ``docs/formats.md``; NaN where nothing is bounded.

    Args:
        bound: The bounds.
        place: Number of each place.
        station: Stations that took part.
    """

    def known(values: np.ndarray) -> np.ndarray:
        return np.where(bound.observed, values, np.nan)

    columns = {
        "place": place,
        "station": np.full(len(place), " ".join(station)),
        **{axis: bound.position[:, i] for i, axis in enumerate("xyz")},
        "bound": known(bound.root_trace),
    }
    for i, j in ((0, 0), (0, 1), (1, 1)):
        columns[f"cov_{'xyz'[i]}{'xyz'[j]}"] = known(bound.covariance[:, i, j])
    return columns | {
        "paths": bound.paths,
        "status": np.where(bound.observed, "bounded", "unobserved"),
    }


def write_bounds(columns: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write bounds from columns as Parquet or CSV by the suffix of `path`; NaN becomes empty."""
    arrays = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    write_table(pa.table(arrays), path, BOUNDS)
