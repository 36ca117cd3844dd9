"""What a channel map knows, and where: static points, reports, distance to the nearest report.

Takes a `ChannelMap`.
Gives the figures of `map show`, and a file with the picture.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.channel_map.updating.state import MapState
from echoscape.checks import InputError
from echoscape.display import counted
from echoscape.plotting.saving import write_figure
from echoscape.plotting.style import BLUE, GREEN, RED, STYLE, plain

_NEAR = 3.0
"""Within so many times the reports' usual distance from one another a place is covered."""
_CELLS = 160
"""Along the longer side of the picture."""


@dataclasses.dataclass(frozen=True)
class MapSummary:
    """What a map knows, in numbers."""

    model: str
    """Class of the map."""
    station_position: tuple[float, ...]
    """x, y and z of the station [m]."""
    reports: int
    """Reports that it rests on."""
    low: tuple[float, ...]
    """Least x, y and z of their users [m]."""
    high: tuple[float, ...]
    """Greatest x, y and z [m]."""
    covered_area: float
    """Ground within reach of a report [m^2]."""
    reach: float
    """Distance within which a report covers the ground [m]."""
    points: dict[str, int] | None
    """Static points of each kind; None of a model that holds none."""
    single: int
    """Points beside them that are each of one path alone, which follows none of these."""
    explained: float | None
    """Share of the paths learnt from that the points explain; None where it was not kept."""


def summarize_map(channel_map: ChannelMap) -> MapSummary:
    """Count the points that a map knows and the ground that its reports cover."""
    place = np.asarray(channel_map.report_position)
    area, reach, distance = coverage(channel_map)
    cell = (area[1, 0, 0] - area[0, 0, 0]) * (area[0, 1, 1] - area[0, 0, 1])
    points, state = _points(channel_map), _state_of(channel_map)
    kinds = ("virtual anchors", "scatterers", "edges")
    return MapSummary(
        model=type(channel_map).__name__,
        station_position=tuple(np.asarray(channel_map.station_position, float).tolist()),
        reports=len(place),
        low=tuple(place.min(axis=0).tolist()),
        high=tuple(place.max(axis=0).tolist()),
        covered_area=float((distance <= reach).sum() * cell),
        reach=reach,
        points=None
        if points is None
        else {
            name: int((points.kind == k)[points.confirmed].sum()) for k, name in enumerate(kinds)
        },
        single=0 if points is None else int((~points.confirmed).sum()),
        explained=None if state is None else state.explained,
    )


def coverage(
    channel_map: ChannelMap,
) -> tuple[Float[np.ndarray, "x y 2"], float, Float[np.ndarray, "x y"]]:
    """Lay a grid around the reports: its places, the reach of a report, how near the next one is.

    Places, reach and distance are in metres.
    """
    place = np.asarray(channel_map.report_position)
    low, high = place[:, :2].min(axis=0), place[:, :2].max(axis=0)
    margin = max(0.5 * float((high - low).max()), 1.0)
    low, high = low - margin, high + margin
    count = np.maximum((_CELLS * (high - low) / (high - low).max()).astype(int), 2)
    grid = np.stack(
        np.meshgrid(*(np.linspace(low[i], high[i], count[i]) for i in (0, 1)), indexing="ij"), -1
    )
    reach = _NEAR * float(np.sqrt(np.prod(np.ptp(place[:, :2], axis=0)) / len(place)) or 1.0)
    flat = np.c_[grid.reshape(-1, 2), np.full(count.prod(), np.median(place[:, 2]))]
    return grid, reach, np.asarray(channel_map.support(flat)).reshape(count)


def draw_map(channel_map: ChannelMap, path: str | Path) -> None:
    """Draw points, reports and station on the ground; grey where the map knows nothing.

    Args:
        channel_map: The map.
        path: File to write.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        plot_map(figure.subplots(), channel_map)
        figure.legend(fontsize=8, loc="outside lower center", ncols=3)
        write_figure(figure, path)


def plot_map(axes: Axes, channel_map: ChannelMap) -> None:
    """Draw the same on axes.

    Args:
        axes: Where.
        channel_map: The map.
    """
    place = np.asarray(channel_map.report_position)
    station = np.asarray(channel_map.station_position)
    grid, reach, distance = coverage(channel_map)
    x, y = grid[..., 0], grid[..., 1]
    axes.contourf(x, y, distance, levels=[reach, np.inf], colors=["0.88"])
    axes.scatter(*place[:, :2].T, s=5, color="0.45", linewidths=0, label="reports")
    points, left_out = _points(channel_map), 0
    low, high = grid[0, 0], grid[-1, -1]
    looks: tuple[tuple[int, str, str, str], ...] = (
        (0, "o", BLUE, "virtual anchors"),
        (1, "s", RED, "scatterers"),
        (2, "D", GREEN, "edges"),
    )
    if points is not None:
        kind, where, confirmed = points
        shown = ((where >= low) & (where <= high)).all(axis=1)
        left_out = int((~shown).sum())
        for number, marker, colour, label in looks:
            use = shown & confirmed & (kind == number)
            if use.any():
                axes.scatter(*where[use].T, s=34, marker=marker, facecolors="none",
                             edgecolors=colour, label=label)  # fmt: skip
        if (shown & ~confirmed).any():
            axes.scatter(*where[shown & ~confirmed].T, s=9, marker="x", color="0.55", lw=0.8,
                         label="single paths")  # fmt: skip
    axes.scatter(*station[:2], s=70, marker="^", color="black", label="station")
    # An empty patch at the end of the list, for the legend.
    axes.fill([], [], color="0.88", label=f"no report within {reach:.2g} m")
    axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal",
             xlim=(low[0], high[0]), ylim=(low[1], high[1]))  # fmt: skip
    beyond = f"; {counted(left_out, 'point')} beyond the picture" if left_out else ""
    name = plain(channel_map.station)
    axes.set_title(f"station {name}: {len(place)} reports{beyond}")


class _Points(NamedTuple):
    """Kind and place of every static point, and whether several paths agree on it."""

    kind: np.ndarray
    where: np.ndarray
    confirmed: np.ndarray


def _state_of(channel_map: ChannelMap) -> MapState | None:
    return getattr(channel_map, "state", None)


def _points(channel_map: ChannelMap) -> _Points | None:
    """Take every static point, placed where the station's image or the scatterer is."""
    try:
        points = channel_map.static_points()
    except InputError:
        return None
    kind, offset = np.asarray(points.kind), np.asarray(points.offset)
    turn, mirror = np.asarray(points.rotation), np.asarray(points.reflection)
    # The user at p is seen at M p + offset; so the station at s is seen from M^-1 (s - offset).
    away = np.asarray(channel_map.station_position)[:2] - offset
    cosine, sine = np.cos(turn), np.sin(turn)
    image = np.stack([
        cosine * away[:, 0] + sine * away[:, 1],
        mirror * (cosine * away[:, 1] - sine * away[:, 0]),
    ], axis=1)  # fmt: skip
    state = _state_of(channel_map)
    confirmed = np.arange(len(kind)) < (len(kind) if state is None else state.confirmed)
    return _Points(kind, np.where((kind == 0)[:, None], image, offset), confirmed)
