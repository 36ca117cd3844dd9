"""Maps of fixes and of bounds, for any city: what the commands draw beside their tables.

Takes a `Fix` or a `Bound` and the maps that it came from.
Gives a matplotlib figure, and writes it as PNG and PDF.
"""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.channel_map.virtual_anchors.map import VirtualAnchorMap
from echoscape.channel_map.walls import find_walls
from echoscape.checks import InputError
from echoscape.localization import Fix, FixStatus
from echoscape.localization.bounds.fisher import Bound
from echoscape.plotting.saving import write_figure
from echoscape.plotting.style import BLUE, FAINT, ORANGE, RED, STYLE, plain

NINETY = 2 * np.sqrt(4.605)
"""Diameter of the 90 % ellipse, in standard deviations."""
_SURE, _DOUBTFUL, _OTHER = BLUE, RED, ORANGE
_SHOWN = 0.01  # alternatives with less of the posterior than this are left out


def draw_fixes(fix: Fix, maps: Mapping[str, ChannelMap]) -> Figure:
    """Draw where the targets are, their 90 % ellipses and their alternatives.

    Args:
        fix: The fixes; targets without any echo are left out.
        maps: The maps that located them, for stations, reports and the walls that they show.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        plot_fix(figure.add_subplot(), fix, maps)
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def plot_fix(axes: Axes, fix: Fix, maps: Mapping[str, ChannelMap]) -> None:
    """Draw the same on axes; they show the fixes and the stations, not all of the map.

    Args:
        axes: Where.
        fix: The fixes.
        maps: The maps that located them; none draws the fixes alone.
    """
    detected = fix.status != FixStatus.NO_ECHO
    sure = detected & (fix.status == FixStatus.LOCATED)
    ambiguous = detected & ~sure
    other = fix.valid & (fix.probability >= _SHOWN) & ambiguous[:, None]
    other[:, 0] = False
    row, rank = np.nonzero(other)
    place = fix.position[row, rank]
    _ground(axes, maps, np.concatenate([fix.best[detected], place])[:, :2])
    both = np.stack([fix.best[row], place], axis=1)[..., :2]
    for start, end in both:
        axes.plot(*np.stack([start, end], axis=1), color=_OTHER, lw=0.5, alpha=0.5, zorder=2)
    if len(row):
        axes.plot(*place[:, :2].T, "o", ms=3, mfc="none", mec=_OTHER, zorder=3, ls="",
                  label=f"alternatives ({len(row)})")  # fmt: skip
    longest = ninety(fix.covariance[:, 0])[0]
    drawn = longest < 0.5 * max(np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim()))
    for keep, colour, label in ((ambiguous, _DOUBTFUL, "flagged"), (sure, _SURE, "located")):
        if not keep.any():
            continue
        draw_ellipses(axes, fix.best[keep & drawn], fix.covariance[keep & drawn, 0], colour)
        axes.plot(*fix.best[keep, :2].T, "+", ms=5, mew=0.8, color=colour, zorder=4,
                  label=f"{label} ({keep.sum()})")  # fmt: skip
    lone = detected & ~drawn
    if lone.any():
        axes.plot(*fix.best[lone, :2].T, "o", ms=8, mfc="none", mec=_DOUBTFUL, zorder=4, ls="",
                  label=f"ellipse too wide to draw ({lone.sum()})")  # fmt: skip
    some = "" if detected.all() else f"{detected.sum()} detected of "
    axes.set_title(f"{some}{len(detected)} targets")
    if (sure & drawn).any():
        # At the scale of a city an ellipse may be smaller than a cross, so its size is said.
        axes.set_title(f"{some}{len(detected)} targets; 90 % ellipses of located ones "
                       f"{np.median(longest[sure & drawn]):.2g} m long (median)")  # fmt: skip


def draw_bound(bound: Bound, maps: Mapping[str, ChannelMap]) -> Figure:
    """Draw the smallest error that any estimator can reach at each place, on a logarithmic scale.

    Args:
        bound: The bound.
        maps: The maps that it is of, for stations and reports.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        plot_bound(figure.add_subplot(), bound, maps)
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def plot_bound(axes: Axes, bound: Bound, maps: Mapping[str, ChannelMap]) -> None:
    """Draw the same on axes: a heat map where the places are a grid, dots elsewhere.

    Args:
        axes: Where.
        bound: The bound.
        maps: The maps that it is of; none draws the bound alone.
    """
    _ground(axes, maps, bound.position[:, :2], whole=True)
    x, y, _ = bound.position.T
    seen = bound.observed
    if (~seen).any():
        axes.plot(x[~seen], y[~seen], "x", ms=3, color="#999999", zorder=3, ls="",
                  label=f"not observed ({(~seen).sum()})")  # fmt: skip
    if seen.any():
        error = bound.root_trace[seen]
        low, high = np.quantile(error, [0.02, 0.98])
        scale = LogNorm(low, max(high, 1.01 * low))
        across, along, cells = _cells(bound.position[:, :2], bound.root_trace)
        if cells is None:
            drawn = axes.scatter(x[seen], y[seen], c=error, s=9, norm=scale, zorder=3)
        else:
            drawn = axes.pcolormesh(across, along, cells.T, norm=scale, zorder=0.5, rasterized=True)
        bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8, extend="both")
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.yaxis.set_minor_formatter("{x:g}")
        bar.set_label("smallest root mean square error [m]")
    axes.set_title(f"Bound at {len(x)} places")


def _cells(
    place: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ma.MaskedArray | None]:
    """Lay values at places out on the grid that they form, if they do; infinite ones masked."""
    x, column = np.unique(place[:, 0].round(6), return_inverse=True)
    y, row = np.unique(place[:, 1].round(6), return_inverse=True)
    regular = all(
        len(each) > 2 and np.allclose(np.diff(each) / np.diff(each).min() % 1.0, 0.0, atol=1e-3)
        for each in (x, y)
    )
    if not regular or len(place) < 0.1 * len(x) * len(y):
        return x, y, None
    cells = np.full((len(x), len(y)), np.inf)
    cells[column, row] = value
    return x, y, np.ma.masked_invalid(cells)


def save_figure(figure: Figure, table: Path) -> list[Path]:
    """Write a figure beside a table, under its name, as PNG and PDF.

    Args:
        figure: The figure.
        table: The table's file.
    """
    written = []
    for suffix in (".png", ".pdf"):
        path = table.with_suffix(suffix)
        with matplotlib.rc_context(STYLE):
            write_figure(figure, path)
        written.append(path)
    return written


def _ground(
    axes: Axes, maps: Mapping[str, ChannelMap], place: np.ndarray, *, whole: bool = False
) -> None:
    """Draw stations, the walls that the maps show and faint reports, on axes of equal scale.

    The axes hold the places and the stations and, if `whole`, all reports.
    """
    points = [place]
    for k, (name, item) in enumerate(maps.items()):
        report = np.asarray(item.report_position)[:, :2]
        x, y, _ = np.asarray(item.station_position)
        axes.plot(*report.T, ".", ms=2, color=FAINT, zorder=1, ls="",
                  label=None if k else "reports")  # fmt: skip
        axes.plot(x, y, "^", ms=9, color="black", mec="white", zorder=6, ls="",
                  label=None if k else "base station")  # fmt: skip
        axes.annotate(plain(name), (x, y), (5, 5), textcoords="offset points", zorder=6)
        points += [np.array([[x, y]]), *([report] if whole or not len(place) else [])]
        if isinstance(item, VirtualAnchorMap):
            _draw_walls(axes, item, None if k else "walls that the map shows")
    every = np.concatenate(points)
    axes.set(aspect="equal", xlabel="x [m]", ylabel="y [m]")
    if len(every):
        low, high = every.min(axis=0), every.max(axis=0)
        margin = 0.06 * max(*(high - low), 1.0)
        axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))


def _draw_walls(axes: Axes, item: VirtualAnchorMap, label: str | None) -> None:
    try:
        walls = find_walls(item)
    except InputError:  # no single reflection is in it
        return
    axes.add_collection(
        LineCollection(
            list(np.stack([walls.start, walls.end], axis=1)), colors="#555555", lw=1.4, zorder=1.5,
            label=label,
        ),
        autolim=False,
    )  # fmt: skip


def ninety(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give lengths [m], widths [m] and directions [rad] of horizontal 90 % ellipses."""
    value, vector = np.linalg.eigh(covariance[:, :2, :2])
    size = NINETY * np.sqrt(np.maximum(value, 0.0))
    return size[:, 1], size[:, 0], np.arctan2(vector[:, 1, 1], vector[:, 0, 1])


def draw_ellipses(axes: Axes, place: np.ndarray, covariance: np.ndarray, colour: str) -> None:
    """Draw the 90 % ellipses of places."""
    length, width, angle = ninety(covariance)
    axes.add_collection(
        EllipseCollection(
            length, width, np.degrees(angle), units="xy", offsets=place[:, :2],
            offset_transform=axes.transData, facecolors=to_rgba(colour, 0.2), edgecolors=colour,
            linewidths=0.7, zorder=3,
        )
    )  # fmt: skip
