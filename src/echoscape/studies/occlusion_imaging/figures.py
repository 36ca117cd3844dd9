"""Figures of the study `occlusion-imaging`, drawn from its rows and nothing else.

Takes rows as the study keeps them.
Gives matplotlib figures: images side by side, errors along each axis, convergence, coverage.
"""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from echoscape.plotting.style import STYLE
from echoscape.studies.occlusion_imaging.study import METHODS, Row, point_name
from echoscape.studies.occlusion_imaging.world import STANDARD

COLOURS: dict[str, Any] = dict(
    zip(METHODS, ("black", "0.55", "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#CC79A7"))
)
LABELS = {
    "genie": "least squares, known support and mask",
    "realisable oracle": "least squares, what is in range known",
    "known mask": "message passing, known mask",
    "visibility": "visibility variables (ours)",
    "geometry": "geometry (GAMP-MVSVR)",
    "unstructured": "mask without geometry",
    "ignore": "occlusion ignored",
}
AXES = {"users": "users", "snr_db": "signal to noise [dB]", "scatterers": "occupied voxels"}


def figures(rows: list[Row]) -> dict[str, Figure]:
    """Draw everything that the rows allow."""
    found: dict[str, Figure] = {}
    rows = [row for row in rows if row["method"] in METHODS]
    for stations, name in ((5, "five_stations"), (1, "one_station")):
        own = [row for row in rows if row["stations"] == stations]
        if not own:
            continue
        if any("voxels" in row for row in own):
            found[f"images_{name}"] = draw_images(own)
        if any(len(values_of(own, axis)) > 1 for axis in AXES):
            found[f"errors_{name}"] = draw_errors(own)
        found[f"convergence_{name}"] = draw_convergence(own)
    found["unseen"] = draw_unseen(rows)
    return found


def values_of(rows: list[Row], axis: str) -> list[float]:
    """List the values of an axis along which nothing else differs from the standard world."""
    return sorted({float(row.get(axis, STANDARD[axis])) for row in rows if _only(row, axis)})


def draw_errors(rows: list[Row]) -> Figure:
    """Draw the median error along each axis, within range above and over everything below."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 6.6), layout="constrained")
        panels = figure.subplots(2, 3, sharex="col", sharey="row")
        for column, (axis, words) in enumerate(AXES.items()):
            values = values_of(rows, axis)
            for line, key in enumerate(("error_db", "error_full_db")):
                panel = panels[line, column]
                for method in METHODS:
                    at = [_column(rows, axis, value, method, key) for value in values]
                    middle = [np.median(each) if len(each) else np.nan for each in at]
                    wide = 2.2 if method == "visibility" else 1.3
                    panel.plot(values, middle, "o-", ms=3.5, lw=wide, color=COLOURS[method],
                               label=LABELS[method])  # fmt: skip
                panel.grid(alpha=0.3)
            panels[1, column].set_xlabel(words)
        panels[0, 0].set_ylabel("error within range [dB]")
        panels[1, 0].set_ylabel("error over all voxels [dB]")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        seeds = len({row["seed"] for row in rows})
        figure.suptitle(f"{_stations(rows)}: medians of up to {seeds} worlds", x=0.01, ha="left")
    return figure


def draw_images(rows: list[Row]) -> Figure:
    """Draw what every method found of the first world, from above; rings are the truth."""
    rows = [row for row in rows if "voxels" in row and point_name(row) == point_name(rows[0])]
    by_method = {row["method"]: row for row in rows}
    methods = [method for method in METHODS if method in by_method]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 6.0), layout="constrained")
        panels = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
        drawn = None
        for panel, method in zip(panels, methods, strict=False):
            row = by_method[method]
            shape = tuple(row["grid_shape"])
            x, y, _ = np.unravel_index(np.asarray(row["true_voxels"], int), shape)
            panel.scatter(x + 0.5, y + 0.5, s=42, facecolors="none", edgecolors="0.5", lw=0.8)
            x, y, _ = np.unravel_index(np.asarray(row["voxels"], int), shape)
            drawn = panel.scatter(x + 0.5, y + 0.5, c=row["values"], s=16, cmap="viridis",
                                  vmin=0, vmax=1)  # fmt: skip
            panel.set_title(f"{LABELS[method]}\n{row['error_db']:.1f} dB", fontsize=8)
            panel.set_aspect("equal")
            panel.set(xlim=(0, shape[0]), ylim=(0, shape[1]))
        for panel in panels[len(methods) :]:
            panel.set_axis_off()
        figure.supxlabel("x [m]", fontsize=9)
        figure.supylabel("y [m]", fontsize=9)
        if drawn is not None:
            figure.colorbar(drawn, ax=panels, shrink=0.7, label="coefficient")
        figure.suptitle(
            f"{_stations(rows)}, all levels seen from above; rings: what is there",
            x=0.01,
            ha="left",
        )
    return figure


def draw_convergence(rows: list[Row]) -> Figure:
    """Draw how the misfit of the messages falls, a panel for each ratio of signal to noise."""
    levels = values_of(rows, "snr_db") or [rows[0].get("snr_db", STANDARD["snr_db"])]
    methods = ("known mask", "visibility", "geometry", "unstructured", "ignore")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(3.0 * len(levels) + 1.0, 6.4), 3.4), layout="constrained")
        panels = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
        for panel, level in zip(panels, levels, strict=True):
            for method in methods:
                traces = [
                    row["trace"] for row in rows
                    if row["method"] == method and row.get("snr_db", STANDARD["snr_db"]) == level
                    and (_only(row, "snr_db") or len(levels) == 1)
                ]  # fmt: skip
                if not traces:
                    continue
                longest = max(len(trace) for trace in traces)
                whole = np.array([trace + [trace[-1]] * (longest - len(trace)) for trace in traces])
                panel.semilogy(np.arange(1, longest + 1), np.median(whole, 0),
                               color=COLOURS[method], label=LABELS[method])  # fmt: skip
            panel.axhline(1, color="0.5", lw=0.7, ls=":")
            panel.set(xlabel="iteration", title=f"{level:g} dB")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(alpha=0.3)
        panels[0].set_ylabel("misfit over noise (median)")
        columns = 3 if figure.get_figwidth() > 8 else 2  # three labels are wider than one panel
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=columns)
    return figure


def draw_unseen(rows: list[Row]) -> Figure:
    """Draw what nobody sees: counts against theory, and how well images say which voxels."""
    ours = [row for row in rows if row["method"] == "visibility"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.8), layout="constrained")
        counts, scores = figure.subplots(1, 2)
        for stations, colour in ((5, "#0072B2"), (1, "#D55E00")):
            own = [row for row in ours if row["stations"] == stations]
            label = "one station" if stations == 1 else f"{stations} stations"
            expected = [row["unseen_expected"] for row in own]
            counts.loglog(np.maximum(expected, 0.5), [max(row["unseen_true"], 0.5) for row in own],
                          "o", ms=3, color=colour, label=label)  # fmt: skip
            active = [row for row in own if row["unseen_true"] > 0 and row["unseen_said"] > 0]
            scores.plot([row["unseen_recall"] for row in active],
                        [row["unseen_precision"] for row in active],
                        "o", ms=3, color=colour, label=label)  # fmt: skip
        limits = counts.get_xlim()
        counts.plot(limits, limits, color="0.5", lw=0.8)
        counts.set(xlabel="unseen voxels expected, Eq. (66)", ylabel="unseen voxels in truth")
        scores.set(xlabel="recall of unseen voxels", ylabel="precision", xlim=(0, 1.02),
                   ylim=(0, 1.02))  # fmt: skip
        counts.legend()
    return figure


def _only(row: Row, axis: str) -> bool:
    """Ask whether a row differs from the standard world along one axis at most."""
    others = (name for name in STANDARD if name not in (axis, "stations"))
    return all(row.get(name, STANDARD[name]) == STANDARD[name] for name in others)


def _column(rows: list[Row], axis: str, value: float, method: str, key: str) -> np.ndarray:
    chosen = (row for row in rows if row["method"] == method and _only(row, axis))
    return np.array([row[key] for row in chosen if row.get(axis, STANDARD[axis]) == value])


def _stations(rows: list[Row]) -> str:
    count = rows[0]["stations"]
    return "One station" if count == 1 else f"{count} stations"
