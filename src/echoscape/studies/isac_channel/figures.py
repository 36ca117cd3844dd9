"""Figures of the study `isac-channel`, drawn from what it found.

Takes `Found`, `Starts` and rows.
Gives matplotlib figures: the distributions, the distances, starts on the map, cross-sections.
"""

import dataclasses
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from echoscape.channel_model.spread import NAMES
from echoscape.plotting.style import STYLE
from echoscape.studies.isac_channel.bounce_start import ANGLE_STD, RANGE_STD, Starts
from echoscape.studies.isac_channel.study import METHODS, POOLED, Found

TITLES = {
    "delay": ("delay spread", "ns", 1e9),
    "departure_azimuth": ("departure azimuth spread", "degree", 180 / np.pi),
    "departure_zenith": ("departure elevation spread", "degree", 180 / np.pi),
    "arrival_azimuth": ("arrival azimuth spread", "degree", 180 / np.pi),
    "arrival_zenith": ("arrival elevation spread", "degree", 180 / np.pi),
}
_PAINT = ("black", "#0072B2", "#999999", "#E69F00", "#D55E00", "#7A3B00", "#CC79A7", "#56B4E9")
COLOURS: dict[str, Any] = dict(zip(("truth", *METHODS), _PAINT))


def draw_distributions(found: Found) -> Figure:
    """Draw the distribution of every spread over the route, the truth and all methods."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 6.4), layout="constrained")
        axes = figure.subplots(2, 3).ravel()
        for panel, name in zip(axes, NAMES):
            title, unit, factor = TITLES[name]
            limit = factor * max(np.quantile(getattr(found.series["truth"], name), 1.0), 1e-12)
            for method, colour in _drawn(found):
                value = np.sort(factor * getattr(found.series[method], name))
                share = (1 + np.arange(len(value))) / len(value)
                wide = 2.2 if method == "truth" else 1.2
                panel.step(value, share, where="post", lw=wide, color=colour, label=method)
            panel.set(xlim=(0, 1.6 * limit), ylim=(0, 1), xlabel=f"{title} [{unit}]")
        axes[0].set_ylabel("share of the route below")
        axes[3].set_ylabel("share of the route below")
        axes[5].axis("off")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[5].legend(handles, labels, loc="center", fontsize=10)
        figure.suptitle("Spreads along the whole route", x=0.01, ha="left")
    return figure


def draw_windows(found: Found, named: tuple[float, ...], length: float) -> Figure | None:
    """Draw the distribution of every spread in the named windows, as the paper's figures 4 to 6."""
    time = found.route.time
    parts = {begin: (time >= begin - 1e-6) & (time < begin + length - 1e-6) for begin in named}
    parts = {begin: inside for begin, inside in parts.items() if inside.sum() >= 20}
    if not parts:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(14.0, 0.6 + 2.9 * len(parts)), layout="constrained")
        panels = figure.subplots(len(parts), len(NAMES), squeeze=False)
        for row, (begin, inside) in zip(panels, parts.items(), strict=True):
            for panel, name in zip(row, NAMES, strict=True):
                title, unit, factor = TITLES[name]
                exact = factor * getattr(found.series["truth"], name)[inside]
                for method, colour in _drawn(found):
                    value = np.sort(factor * getattr(found.series[method], name)[inside])
                    share = (1 + np.arange(len(value))) / len(value)
                    wide = 2.2 if method == "truth" else 1.2
                    panel.step(value, share, where="post", lw=wide, color=colour, label=method)
                reach = max(2 * np.ptp(exact), 0.3 * exact.mean(), 1e-9)
                panel.set(xlim=(max(0, exact.min() - reach), exact.max() + reach), ylim=(0, 1))
                panel.set(xlabel=f"{title} [{unit}]")
            row[0].set_ylabel(f"{begin:g} to {begin + length:g} s: share below")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center",
                      ncols=len(found.series))  # fmt: skip
    return figure


def draw_cases(found: Found) -> Figure | None:
    """Draw how the methods fare as one thing about the observations changes at a time."""
    first = found.cases[0]
    axes = [
        (key, [c for c in found.cases if c == first or getattr(c, key) != getattr(first, key)])
        for key in ("noise", "missed", "rate", "withheld")
    ]
    axes = [(key, cases) for key, cases in axes if len(cases) > 1]
    if not axes:
        return None
    words = {"noise": "noise, multiples", "missed": "share missed", "rate": "observations [Hz]"}
    words |= {"withheld": "withheld, compared there [s]"}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(14.0, 0.6 + 2.7 * len(axes)), layout="constrained")
        panels = figure.subplots(len(axes), len(NAMES), squeeze=False)
        for row, (key, cases) in zip(panels, axes, strict=True):
            for panel, name in zip(row, NAMES, strict=True):
                for method in ("anchors and user", "copy", "frozen", "paper"):
                    points = sorted(
                        (getattr(case, key), one["relative_rmse"])
                        for case in cases
                        for one in found.rows
                        if one["window"] == POOLED and one["method"] == method
                        and one["spread"] == name
                        and all(one[k] == getattr(case, k) for k in words)
                    )  # fmt: skip
                    panel.plot(*np.array(points).T, "o-", ms=4, color=COLOURS[method], label=method)
                panel.set(xlabel=words[key], yscale="log")
                _plain(panel)
                panel.set_title(TITLES[name][0], fontsize=8.5)
            row[0].set_ylabel("relative error")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center",
                      ncols=4)  # fmt: skip
    return figure


def draw_distances(found: Found) -> Figure:
    """Draw the pooled distance of every method beside what the truth's own halves are apart."""
    first = dataclasses.asdict(found.cases[0])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        panels = figure.subplots(1, 2)
        for panel, key, title in zip(
            panels,
            ("ks", "relative_rmse"),
            ("Kolmogorov-Smirnov distance, whole route", "relative error, instant by instant"),
        ):
            methods = [method for method in METHODS if method in found.series]
            for k, method in enumerate(methods):
                rows = [
                    row for row in found.rows
                    if row["method"] == method and row["window"] == POOLED
                    and all(row[k] == v for k, v in first.items())
                ]  # fmt: skip
                value = [row[key] for row in rows]
                place = np.arange(len(NAMES)) + 0.8 / len(methods) * (k - 0.5 * len(methods) + 0.5)
                wide = 0.75 / len(methods)
                panel.bar(place, value, wide, color=COLOURS[method], label=method)
            if key == "ks":
                halves = [row["halves"] for row in rows]
                panel.plot(np.arange(len(NAMES)), halves, "k_", ms=26, label="truth, half by half")
            panel.set_xticks(np.arange(len(NAMES)))
            panel.set_xticklabels([name.replace("_", "\n") for name in NAMES], fontsize=8)
            panel.set_title(title)
        panels[1].set_yscale("log")
        _plain(panels[1])
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_starts(starts: Starts) -> Figure:
    """Draw first bounces on the map, in truth and from the station's echoes, and their errors."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 4.6), layout="constrained")
        plan, errors = figure.subplots(1, 2, width_ratios=(1.3, 1))
        near = starts.first["echoes"]
        plan.plot(*starts.heard[:, :2].T, ".", ms=1, color="#bbbbbb", label="echoes", zorder=0)
        plan.plot(*np.unique(starts.user[:, :2], axis=0).T, "s", ms=3.5, color=_PAINT[5],
                  label="user")  # fmt: skip
        ends = np.stack([starts.exact, near, np.full_like(near, np.nan)], 1)[..., :2].reshape(-1, 2)
        plan.plot(*ends.T, "-", lw=0.6, color=_PAINT[4])
        plan.plot(
            *starts.exact[:, :2].T, "o", ms=5, mfc="none", color="black", label="first bounce"
        )
        plan.plot(*near[:, :2].T, ".", ms=4, color=_PAINT[1], label="joint start")
        plan.plot(*starts.station[:2], "^", ms=9, color=_PAINT[4], label="station")
        around = np.concatenate([starts.exact, starts.user])[:, :2]
        low, high = around.min(axis=0) - 10, around.max(axis=0) + 10
        plan.set(xlabel="x [m]", ylabel="y [m]", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        plan.set_aspect("equal", adjustable="box")
        figure.legend(*plan.get_legend_handles_labels(), loc="outside lower left", ncols=5,
                      fontsize=8)  # fmt: skip
        words = {"echoes": "joint start, from echoes", "mesh": "ray through the exact mesh"}
        for name, colour in (("echoes", _PAINT[1]), ("mesh", _PAINT[3])):
            if name in starts.first:
                away = np.linalg.norm(starts.first[name] - starts.exact, axis=1)
                value = np.sort(np.nan_to_num(away, nan=1e3))
                share = (1 + np.arange(len(value))) / len(value)
                errors.step(value, share, where="post", color=colour, label=words[name])
        echo = np.linalg.norm(starts.exact - starts.station, axis=1)
        echo = np.sort(np.hypot(RANGE_STD, np.sqrt(2) * ANGLE_STD * echo))
        share = (1 + np.arange(len(echo))) / len(echo)
        errors.step(echo, share, "k:", where="post", label="deviation of one echo there")
        errors.set(xscale="log", xlim=(0.01, 30), ylim=(0, 1), xlabel="first bounce off by [m]")
        errors.set_ylabel("share of paths below")
        errors.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        errors.legend(loc="lower right")
    return figure


def draw_sections(rows: list[dict[str, Any]]) -> Figure:
    """Draw cross-sections of TR 38.901 as the sensing channel has them over what is promised."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        place = np.arange(len(rows))
        for panel, name, unit in zip(panels, ("mean", "deviation"), ("dBsm", "dB")):
            panel.plot([row[f"promised_{name}"] for row in rows], place, "o", ms=9, mfc="none",
                       color="black", label="TR 38.901, 7.9.2")  # fmt: skip
            panel.plot([row[name] for row in rows], place, ".", color=_PAINT[1], label="sense")
            panel.set(xlabel=f"{name} of the cross-section [{unit}]")
        panels[0].set_yticks(place, [row["type"] for row in rows])
        panels[0].invert_yaxis()
        panels[0].legend(fontsize=9)
    return figure


def _drawn(found: Found) -> list[tuple[str, Any]]:
    """List what was measured, with its colour."""
    return [(method, colour) for method, colour in COLOURS.items() if method in found.series]


def _plain(panel: Axes) -> None:
    """Write the numbers of a logarithmic axis as they are, not as powers, and few of them."""
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
