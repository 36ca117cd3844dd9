"""Figures of the study `nlos-sensing`, from its rows alone.

Takes rows.
Gives matplotlib figures.
"""

from typing import TYPE_CHECKING

import numpy as np

from echoscape.studies.nlos_ckm.square import ANGLE, DELAY, SHARES
from echoscape.studies.sweep import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLE = {
    "line of sight": ("0.55", "s", "in sight, geometry"),
    "shortest echo": ("0.75", "x", "shortest echo taken as direct"),
    "network, reciprocal": ("tab:orange", "v", "network, reciprocal echoes (5)"),
    "network, all pairs": ("tab:red", "o", "network, all pairs (6)"),
    "exact map, all pairs": ("tab:purple", "^", "exact map, all pairs"),
    "likelihood network": ("tab:brown", "D", "network by likelihood"),
    "scatterers": ("tab:blue", "o", "ours, ranks doubted"),
    "scatterers, no ranks": ("tab:cyan", "s", "ours, no ranks"),
    "scatterers, reciprocal": ("#8ab6d6", "v", "ours, reciprocal echoes"),
    "bound, all": ("black", None, "bound, all pairs"),
    "bound, reciprocal": ("black", None, "bound, reciprocal"),
    "nearest reports": ("tab:green", "s", "nearest reports"),
    "network of points": ("tab:pink", "*", "network of points"),
    "network by scatterer": ("tab:olive", "D", "network, slot by scatterer"),
    "network by rank": ("tab:brown", "v", "network, slot by rank"),
}


def draw_square(rows: list[Row]) -> "dict[str, Figure]":
    """Draw the paper's figures: the map, errors against delay, angle and paths, distributions."""
    from matplotlib.figure import Figure

    figures: dict[str, Figure] = {"map_accuracy": _draw_maps(rows)}
    for kind, axis, label in (
        ("delay", "delay", "error of a delay [ns]"),
        ("angle", "angle", "error of an angle [rad]"),
        ("paths", "paths", "paths that echo"),
    ):
        figure = Figure(figsize=(9.5, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        # The level that others vary at serves the number of paths too.
        mine = [row for row in rows if row["kind"] == kind]
        if kind == "paths":
            mine += [r for r in rows if r["kind"] == "delay" and r["delay"] == DELAY]
        _draw_levels(left, mine, axis, "rmse")
        _draw_levels(right, mine, axis, "median")
        left.set(xlabel=label, ylabel="error of a target's place [m]", title="root mean square")
        right.set(xlabel=label, title="median")
        for each in (left, right):
            each.set_yscale("log")
            each.grid(True, which="both", alpha=0.2)
            if kind != "paths":
                each.set_xscale("log")
            _plain(each)
            each.set_xticks(sorted({row[axis] for row in mine}))
        right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        figures[f"error_by_{kind}"] = figure
    figures["error_distribution"] = _draw_distribution(rows)
    return figures


def draw_learning(rows: list[Row]) -> "dict[str, Figure]":
    """Draw errors against the number of reports, and what bad reports cost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    exact = [r for r in rows if r["position_std"] == 0 and r["wrong"] == 0 and r["delay"] == 5]
    _draw_levels(left, exact, "reports", "rmse")
    bound = [row["bound"] for row in exact]
    if bound:
        left.axhline(float(np.median(bound)), color="black", lw=1, ls="--", label="bound")
    left.set(xscale="log", yscale="log", xlabel="reports", ylabel="root mean square error [m]")
    left.grid(True, which="both", alpha=0.2)
    if exact:
        left.legend(fontsize=7, frameon=False)
    _plain(left)
    bad = [r for r in rows if (r["position_std"] or r["wrong"]) and r["delay"] == 5]
    cases = sorted({(r["reports"], r["position_std"], r["wrong"]) for r in bad})
    methods = [m for m in ("scatterers", "nearest reports") if any(r["method"] == m for r in bad)]
    for k, method in enumerate(methods):
        height = [
            float(np.median([
                r["rmse"] for r in bad
                if r["method"] == method and (r["reports"], r["position_std"], r["wrong"]) == case
            ]))
            for case in cases
        ]  # fmt: skip
        color, _, label = _STYLE[method]
        right.barh(np.arange(len(cases)) + 0.4 * k, height, 0.4, color=color, label=label)
    names = [f"{n}: {std:g} m, {100 * wrong:g} % wrong" for n, std, wrong in cases]
    right.set_yticks(np.arange(len(cases)) + 0.2, names, fontsize=7)
    right.set(xscale="log", xlabel="root mean square error [m]")
    _plain(right)
    if methods:
        right.legend(fontsize=7, frameon=False)
    return {"learning": figure}


def draw_city(rows: list[Row]) -> "dict[str, Figure]":
    """Draw the distribution of errors in the city, a panel for each kind of reports."""
    from matplotlib.figure import Figure

    cases = list(dict.fromkeys(row["quality"] for row in rows))
    figure = Figure(figsize=(3.4 * len(cases) + 0.6, 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(cases), sharey=True))
    colour = {"anchors": "tab:blue", "nearest": "tab:green", "network": "tab:red",
              "geometry network": "tab:orange"}  # fmt: skip
    counts = sorted({row["reports"] for row in rows})
    for axes, case in zip(panels, cases, strict=True):
        for row in (each for each in rows if each["quality"] == case):
            axes.plot(
                row["quantiles"], SHARES, color=colour.get(row["method"], "0.5"), lw=1.5,
                ls=("-", "--", ":")[counts.index(row["reports"]) % 3],
                label=f"{row['method']}, {row['reports']} reports",
            )  # fmt: skip
        axes.set(xscale="log", xlim=(0.05, 500), xlabel="error [m]", title=case)
        axes.title.set_fontsize(9)
        axes.grid(True, which="both", alpha=0.2)
        _plain(axes)
    panels[0].set_ylabel("share of targets")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8
    )
    return {"city": figure}


def _draw_levels(axes: "Axes", rows: list[Row], axis: str, what: str) -> None:
    """Draw medians over layouts against a level, a line for each method."""
    present = {row["method"] for row in rows}
    for method in (name for name in _STYLE if name in present):
        color, marker, label = _STYLE[method]
        mine = [row for row in rows if row["method"] == method]
        levels = sorted({row[axis] for row in mine})
        value = [np.median([r[what] for r in mine if r[axis] == level]) for level in levels]
        line = {"bound, all": "--", "bound, reciprocal": ":"}.get(method, "-")
        axes.plot(levels, value, line, color=color, marker=marker, ms=4, lw=1.3, label=label)


def _draw_distribution(rows: list[Row]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    mine = [r for r in rows if r["kind"] == "delay" and r["delay"] == 5.0]
    present = {row["method"] for row in mine}
    for method in (name for name in _STYLE if name in present and not name.startswith("bound")):
        color, _, label = _STYLE[method]
        every = [np.interp(np.linspace(0, 1, 401), SHARES, r["quantiles"]) for r in mine
                 if r["method"] == method]  # fmt: skip
        pooled = np.sort(np.concatenate(every))
        axes.plot(pooled, np.linspace(0, 1, len(pooled)), color=color, lw=1.5, label=label)
    axes.set(
        xscale="log", xlabel="error of a target's place [m]", ylabel="share of targets",
        title=f"{ANGLE:g} rad, 5 ns", xlim=(0.03, 200),
    )  # fmt: skip
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=7, frameon=False)
    _plain(axes)
    return figure


def _draw_maps(rows: list[Row]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    mine = [row for row in rows if row["kind"] == "map"]
    methods = list(dict.fromkeys(row["method"] for row in mine))
    for axes, quantity, unit in zip(
        figure.subplots(1, 2), ("angle", "delay"), ("rad", "ns"), strict=True
    ):
        place = np.arange(len(methods))
        for k, kind in enumerate(("rmse", "median")):
            value = [
                np.median([r[f"{quantity}_{kind}"] for r in mine if r["method"] == method])
                for method in methods
            ]
            name = "root mean square" if kind == "rmse" else "median"
            axes.barh(place + 0.4 * k, value, 0.4, label=name, color=("tab:blue", "0.6")[k])
        axes.set_yticks(place + 0.2, methods)
        axes.set(xscale="log", xlabel=f"error of a path's {quantity} [{unit}]")
        axes.grid(True, axis="x", alpha=0.2)
        _plain(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _plain(axes: "Axes") -> None:
    """Write numbers as numbers, not as powers of ten."""
    from matplotlib.ticker import NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
