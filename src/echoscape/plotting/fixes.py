"""Maps of fixes and of bounds, for any city: what the commands draw beside their tables.

Takes a `Fix` or a `Bound` and the maps that it came from.
Gives a matplotlib figure, and writes it as PNG and PDF.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.localization import Fix, FixStatus
from echoscape.localization.bounds.fisher import Bound
from echoscape.plotting.saving import write_figure

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "pdf.fonttype": 42,
}
NINETY = 2 * np.sqrt(4.605)
"""Diameter of the 90 % ellipse, in standard deviations."""
_SURE, _DOUBTFUL, _OTHER = "#0072B2", "#D55E00", "#E69F00"
_SHOWN = 0.01  # alternatives with less of the posterior than this are left out


def draw_fixes(fix: Fix, maps: Mapping[str, ChannelMap]) -> Figure:
    """Draw where the targets are, their 90 % ellipses and their alternatives.

    Args:
        fix: The fixes; targets without any echo are left out.
        maps: The maps that located them, for stations and reports.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _ground(maps)
        detected = fix.status != FixStatus.NO_ECHO
        sure = detected & (fix.status == FixStatus.LOCATED)
        ambiguous = detected & ~sure
        other = fix.valid & (fix.probability >= _SHOWN) & ambiguous[:, None]
        other[:, 0] = False
        row, rank = np.nonzero(other)
        place = fix.position[row, rank]
        both = np.stack([fix.best[row], place], axis=1)[..., :2]
        for start, end in both:
            axes.plot(*np.stack([start, end], axis=1), color=_OTHER, lw=0.5, alpha=0.5, zorder=2)
        if len(row):
            axes.plot(*place[:, :2].T, "o", ms=3, mfc="none", mec=_OTHER, zorder=3,
                      label=f"alternatives ({len(row)})")  # fmt: skip
        widest = np.sqrt(np.linalg.eigvalsh(fix.covariance[:, 0, :2, :2])[:, 1])
        drawn = NINETY * widest < 0.5 * max(np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim()))
        for keep, colour, label in ((ambiguous, _DOUBTFUL, "flagged"), (sure, _SURE, "located")):
            if not keep.any():
                continue
            draw_ellipses(axes, fix.best[keep & drawn], fix.covariance[keep & drawn, 0], colour)
            axes.plot(*fix.best[keep, :2].T, ".", ms=4, color=colour, zorder=4,
                      label=f"{label} ({keep.sum()})")  # fmt: skip
        lone = detected & ~drawn
        if lone.any():
            axes.plot(*fix.best[lone, :2].T, "o", ms=8, mfc="none", mec=_DOUBTFUL, zorder=4,
                      label=f"ellipse too wide to draw ({lone.sum()})")  # fmt: skip
        some = "" if detected.all() else f"{detected.sum()} detected of "
        axes.set_title(f"{some}{len(detected)} targets, with the 90 % ellipse that each fix claims")
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def draw_bound(bound: Bound, maps: Mapping[str, ChannelMap]) -> Figure:
    """Draw the smallest error that any estimator can reach at each place, on a logarithmic scale.

    Args:
        bound: The bound.
        maps: The maps that it is of, for stations and reports.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _ground(maps)
        x, y, _ = bound.position.T
        seen = bound.observed
        if (~seen).any():
            axes.plot(x[~seen], y[~seen], "x", ms=3, color="#999999", zorder=3,
                      label=f"not observed ({(~seen).sum()})")  # fmt: skip
        if seen.any():
            error = bound.root_trace[seen]
            low, high = np.quantile(error, [0.02, 0.98])
            scale = LogNorm(low, max(high, 1.01 * low))
            drawn = axes.scatter(x[seen], y[seen], c=error, s=9, norm=scale, zorder=3)
            figure.colorbar(drawn, label="smallest root mean square error [m]", shrink=0.8)
        axes.set_title(f"Bound at {len(x)} places")
        figure.legend(loc="outside lower center", ncols=3)
    return figure


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


def _ground(maps: Mapping[str, ChannelMap]) -> tuple[Figure, Axes]:
    """Draw stations and faint reports on axes of equal scale."""
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.add_subplot()
    report = np.concatenate([np.asarray(item.report_position) for item in maps.values()])
    axes.plot(*report[:, :2].T, ".", ms=2, color="#cccccc", zorder=1, label="reports")
    for k, (name, item) in enumerate(maps.items()):
        x, y, _ = np.asarray(item.station_position)
        axes.plot(x, y, "^", ms=9, color="black", mec="white", zorder=6, ls="",
                  label=None if k else "base station")  # fmt: skip
        axes.annotate(name, (x, y), (5, 5), textcoords="offset points", zorder=6)
    margin = 0.04 * max(*np.ptp(report[:, :2], axis=0), 1.0)
    low, high = report[:, :2].min(axis=0) - margin, report[:, :2].max(axis=0) + margin
    for item in maps.values():
        station = np.asarray(item.station_position)[:2]
        low, high = np.minimum(low, station - margin), np.maximum(high, station + margin)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set(aspect="equal", xlabel="x [m]", ylabel="y [m]")
    return figure, axes


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
            offset_transform=axes.transData, facecolors=colour, alpha=0.25, zorder=3,
        )
    )  # fmt: skip
