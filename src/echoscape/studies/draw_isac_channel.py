"""Figures of the study `isac-channel`, drawn from what it found.

Takes `Found`.
Gives matplotlib figures: the map, the distributions, the distances.
"""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from echoscape.channel_model.spread import NAMES
from echoscape.studies.draw_fixes import STYLE
from echoscape.studies.isac_channel import METHODS, Found

TITLES = {
    "delay": ("delay spread", "ns", 1e9),
    "departure_azimuth": ("departure azimuth spread", "degree", 180 / np.pi),
    "departure_zenith": ("departure elevation spread", "degree", 180 / np.pi),
    "arrival_azimuth": ("arrival azimuth spread", "degree", 180 / np.pi),
    "arrival_zenith": ("arrival elevation spread", "degree", 180 / np.pi),
}
COLOURS: dict[str, Any] = dict(
    zip(("truth", *METHODS), ("black", "#0072B2", "#999999", "#E69F00", "#D55E00", "#CC79A7"))
)


def draw_distributions(found: Found) -> Figure:
    """Draw the distribution of every spread over the route, the truth and all methods."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 6.4), layout="constrained")
        axes = figure.subplots(2, 3).ravel()
        for panel, name in zip(axes, NAMES):
            title, unit, factor = TITLES[name]
            limit = factor * max(np.quantile(getattr(found.series["truth"], name), 1.0), 1e-12)
            for method, colour in COLOURS.items():
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


def draw_distances(found: Found) -> Figure:
    """Draw the pooled distance of every method beside what the truth's own halves are apart."""
    noise = found.rows[-1]["noise"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        panels = figure.subplots(1, 2)
        for panel, key, title in zip(
            panels,
            ("ks", "relative_rmse"),
            ("Kolmogorov-Smirnov distance, whole route", "relative error, instant by instant"),
        ):
            for k, method in enumerate(METHODS):
                rows = [
                    row for row in found.rows
                    if row["method"] == method and row["window"] < 0 and row["noise"] == noise
                ]  # fmt: skip
                value = [row[key] for row in rows]
                place = np.arange(len(NAMES)) + 0.15 * (k - 2)
                panel.bar(place, value, 0.14, color=COLOURS[method], label=method)
            if key == "ks":
                halves = [row["halves"] for row in rows]
                panel.plot(np.arange(len(NAMES)), halves, "k_", ms=26, label="truth, half by half")
            panel.set_xticks(np.arange(len(NAMES)))
            panel.set_xticklabels([name.replace("_", "\n") for name in NAMES], fontsize=8)
            panel.set_title(title)
        panels[1].set_ylim(0, 1.2)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure
