"""What a channel map knows, and where: static points, reports, distance to the nearest report.

Takes a `ChannelMap`.
Gives the figures of `map show`, and a file with the picture.
"""

from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.display import counted
from echoscape.plotting.saving import write_figure
from echoscape.plotting.style import BLUE, GREEN, RED, STYLE

_NEAR = 3.0
"""Within so many times the reports' usual distance from one another a place is covered."""
_CELLS = 160
"""Along the longer side of the picture."""


def summarize_map(channel_map: ChannelMap) -> dict[str, str]:
    """State the points that a map knows and the ground that its reports cover."""
    place = np.asarray(channel_map.report_position)
    area, reach, distance = coverage(channel_map)
    cell = (area[1, 0, 0] - area[0, 0, 0]) * (area[0, 1, 1] - area[0, 0, 1])
    rows = {
        "model": type(channel_map).__name__,
        "reports": str(len(place)),
        "x": f"{place[:, 0].min():.1f} to {place[:, 0].max():.1f} m",
        "y": f"{place[:, 1].min():.1f} to {place[:, 1].max():.1f} m",
        "covered": f"{(distance <= reach).sum() * cell:.0f} m^2 within {reach:.2g} m of a report",
    }
    points = _points(channel_map)
    if points is None:
        return rows | {"static points": "none: this model holds no points"}
    kinds = ("virtual anchors", "scatterers", "edges")
    counts = [f"{(points[0] == k).sum()} {name}" for k, name in enumerate(kinds)]
    return rows | {"static points": ", ".join(counts)}


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
        kind, where = points
        shown = ((where >= low) & (where <= high)).all(axis=1)
        left_out = int((~shown).sum())
        for number, marker, colour, label in looks:
            use = shown & (kind == number)
            if use.any():
                axes.scatter(*where[use].T, s=34, marker=marker, facecolors="none",
                             edgecolors=colour, label=label)  # fmt: skip
    axes.scatter(*station[:2], s=70, marker="^", color="black", label="station")
    # An empty patch at the end of the list, for the legend.
    axes.fill([], [], color="0.88", label=f"no report within {reach:.2g} m")
    axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal",
             xlim=(low[0], high[0]), ylim=(low[1], high[1]))  # fmt: skip
    beyond = f"; {counted(left_out, 'point')} beyond the picture" if left_out else ""
    axes.set_title(f"station {channel_map.station}: {len(place)} reports{beyond}")


def _points(channel_map: ChannelMap) -> tuple[np.ndarray, np.ndarray] | None:
    """Take kind and place of every static point: where the station's image or the scatterer is."""
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
    return kind, np.where((kind == 0)[:, None], image, offset)
