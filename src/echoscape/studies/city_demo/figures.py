"""Figures of the demo, drawn from its rows and the city's outline alone.

Colours are those of Okabe and Ito, distinguishable by every eye, and viridis where colour is a
number.

Takes rows by table name, as `city_demo` makes and stores them, and the sample's scene.
Gives matplotlib figures by name, and the sentence under each.
"""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from echoscape.plotting import fixes
from echoscape.studies.city_demo.wall_paths import horizontal_length, mirrored_station, retrace

Rows = Mapping[str, np.ndarray]
Scene = Mapping[str, np.ndarray]

STYLE: dict = fixes.STYLE | {
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 140,
}
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#777777"
COLOUR = {
    "anchors": BLUE,
    "nearest report": GREEN,
    "network": ORANGE,
    "network, squared error": PURPLE,
    "shortest echo taken as direct": GREY,
    "position only": GREY,
}
PATHS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")

CAPTIONS = {
    "city": "Every target, in one picture.  The base station (triangle) has no line of sight to "
    "any of them.  A dot is a fix by the map of anchors, its colour the distance to the true place "
    "(grey ring), its ellipse the region that the fix claims to hold the target with 90 % "
    "probability; a thin line joins a fix to a true place more than 3 m away.",
    "story": "How it works.  Left: the target's echoes travel along paths folded at walls; the "
    "receiver knows their directions and delays, not the walls.  Middle: unfolded, every path is a "
    "straight line from a mirror image of the base station, and these images stand still while "
    "users move; they are what the map of virtual anchors learns.  Distances from several of them "
    "meet in one place.  Right: the methods' fixes of this target, with their 90 % ellipses.",
    "errors": "Share of targets located better than a given error; a curve that ends below 100 % "
    "leaves targets without any echo.  Dashed: the local bound, the errors (taken as round) of "
    "an unbiased estimator that knows nothing of visibility, reaches the bound of the map of "
    "virtual anchors, receives every echo and knows its association; what is biased towards likely "
    "places, as a posterior is, may lie left of it.  It ends below 100 % where the map knows too "
    "few paths to bound a target.",
    "calibration": "Is the claimed uncertainty true?  The share of targets inside the region that "
    "claims a given probability; on the diagonal, claims and truth agree; below it a method claims "
    "to know too much, above it too little.",
    "beams": "The same map chooses beams: the share of users whose best beam is among the first "
    "1, 3 or 5 that are tried, and the pilots saved against trying every beam.",
}


def draw_figures(rows: Mapping[str, Rows], scene: Scene) -> dict[str, Figure]:
    """Draw every figure.

    Args:
        rows: Tables ``targets``, ``beams`` and ``paths`` by name.
        scene: `Sample.scene`.
    """
    with matplotlib.rc_context(STYLE):
        figures = {
            "city": _city(rows["targets"], rows["paths"], scene),
            "story": _story(rows["targets"], rows["paths"], scene),
            "errors": _errors(rows["targets"]),
            "calibration": _calibration(rows["targets"]),
            "beams": _beams(rows["beams"]),
        }
    return {name: figure for name, figure in figures.items() if figure is not None}


def select(rows: Rows, **equal: str | int) -> dict[str, np.ndarray]:
    """Keep the rows whose columns equal the given values."""
    keep = np.ones(len(next(iter(rows.values()))), dtype=bool)
    for name, value in equal.items():
        keep &= rows[name] == value
    return {name: values[keep] for name, values in rows.items()}


def _names(rows: Rows, column: str) -> list[str]:
    """List the values of a column in the order of their first row."""
    return list(dict.fromkeys(rows[column].tolist()))


def _walls(axes: Axes, scene: Scene) -> None:
    """Draw buildings as quiet ground."""
    x, y, height = scene["height_x"], scene["height_y"], scene["height_dm"]
    built = np.where(height.T > 20, 1.0, np.nan)  # [dm]
    extent = (x[0] - 0.5, x[-1] + 0.5, y[0] - 0.5, y[-1] + 0.5)
    axes.imshow(
        built, origin="lower", extent=extent, cmap="Greys", vmin=0, vmax=9, interpolation="none"
    )
    axes.add_collection(LineCollection(list(scene["outline"]), colors="#9a9a9a", linewidths=0.6))
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal", xlabel="x [m]", ylabel="y [m]")


def _station(axes: Axes, paths: Rows, label: str | None = None) -> None:
    x, y = paths["station_x"][0], paths["station_y"][0]
    axes.plot(x, y, "^", ms=9, color="black", mec="white", mew=0.8, zorder=6, ls="", label=label)


def _ellipses(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give widths, heights [m] and angles [degrees] of the 90 % ellipses."""
    top = np.stack([rows["cov_xx"], rows["cov_xy"]], axis=-1)
    low = np.stack([rows["cov_xy"], rows["cov_yy"]], axis=-1)
    length, width, angle = fixes.ninety(np.stack([top, low], axis=-2))
    return length, width, np.degrees(angle)


def _city(targets: Rows, paths: Rows, scene: Scene) -> Figure:
    rows = select(targets, method="anchors", mode="fixed errors")
    found = np.isfinite(rows["error"])
    rows = {name: values[found] for name, values in rows.items()}
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    _walls(axes, scene)
    truth = np.stack([rows["true_x"], rows["true_y"]], axis=-1)
    fix = np.stack([rows["x"], rows["y"]], axis=-1)
    axes.plot(*truth.T, "o", mfc="none", mec="#444444", ms=5.5, mew=0.7, ls="", label="true place")
    far = rows["error"] > 3
    lines = np.stack([truth, fix], axis=1)[far]
    axes.add_collection(LineCollection(list(lines), colors="#444444", linewidths=0.5, zorder=3))
    norm = LogNorm(0.1, 100, clip=True)
    width, height, angle = _ellipses(rows)
    # A claim of hundreds of metres would hide the city; the fix itself is still drawn.
    shown = width < 120
    ellipses = EllipseCollection(
        width[shown], height[shown], angle[shown], units="xy", offsets=fix[shown],
        offset_transform=axes.transData, facecolors="none", cmap="viridis_r", norm=norm,
        linewidths=0.8, zorder=4,
    )  # fmt: skip
    ellipses.set_facecolor("none")
    colours = matplotlib.colormaps["viridis_r"](norm(rows["error"]))
    ellipses.set_edgecolor([tuple(colour) for colour in colours[shown]])
    axes.add_collection(ellipses)
    dots = axes.scatter(
        *fix.T, c=np.maximum(rows["error"], 1e-3), s=13, cmap="viridis_r", norm=norm, zorder=5,
        linewidths=0,
    )  # fmt: skip
    axes.plot([], [], "o", ms=4, color="#21918c", ls="", label="fix with its 90 % ellipse")
    _station(axes, paths, "base station")
    bar = figure.colorbar(dots, ax=axes, shrink=0.75, aspect=30, pad=0.02, extend="both")
    bar.set_label("error of the fix [m]")
    bar.set_ticks([0.1, 1, 10, 100], labels=["0.1", "1", "10", "100"])
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.08), ncols=3, handletextpad=0.2)
    return figure


def _story(targets: Rows, paths: Rows, scene: Scene) -> Figure | None:
    """Draw one target from its echoes to its fixes, if one has three paths that can be retraced."""
    chosen = _choose(targets, paths, scene["outline"].astype(float))
    if chosen is None:
        return None
    number, corners = chosen
    rows = select(targets, target=number, mode="fixed errors")
    truth = np.array([rows["true_x"][0], rows["true_y"][0]])
    station = corners[0][0]
    figure = Figure(figsize=(10.2, 4.0), layout="constrained")
    street, unfolded, close = figure.subplots(1, 3)
    for axes, title in (
        (street, "a  echoes arrive along folded paths"),
        (unfolded, "b  learnt: images of the station"),
        (close, "c  fixes of this target"),
    ):
        axes.set_title(title, fontweight="bold")
        if axes is not close:
            _walls(axes, scene)
    images = np.array([mirrored_station(corner) for corner in corners])
    for corner, image, colour in zip(corners, images, PATHS):
        street.plot(*corner.T, color=colour, lw=1.4, zorder=4)
        street.plot(*corner[1:-1].T, "o", ms=3, color=colour, zorder=5)
        unfolded.plot(*np.array([image, truth]).T, color=colour, lw=1.2, zorder=4)
        unfolded.plot(*image, "^", ms=8, color=colour, mec="white", mew=0.8, zorder=6)
    every = np.concatenate([*corners, [station, truth]])
    _frame(street, every, 14.0)
    _frame(unfolded, np.concatenate([images, [station, truth]]), 20.0)
    for axes in (street, unfolded):
        _station(axes, select(paths, target=number))
        axes.plot(*truth, "*", ms=13, color="black", mec="white", mew=0.8, zorder=7)
        for word, place in (("base station", station), ("target", truth)):
            note = axes.annotate(word, place, (8, 4), textcoords="offset points", fontsize=8)
            note.set_bbox({"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.8})
            note.set_zorder(8)
    _close(close, rows, truth)
    handles, labels = close.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handletextpad=0.2)
    return figure


def _choose(targets: Rows, paths: Rows, walls: np.ndarray):
    """Choose the target that shows most: distinct images, a good fix, a geometry that fools."""
    best = None
    for number in np.unique(paths["target"]).tolist():
        mine = select(paths, target=number)
        truth = np.array([mine["true_x"][0], mine["true_y"][0]])
        corners, images = [], []
        for azimuth, zenith, delay in zip(
            mine["departure_azimuth"], mine["departure_zenith"], mine["delay"]
        ):
            start = np.array([mine["station_x"][0], mine["station_y"][0]])
            path = retrace(walls, start, float(azimuth), horizontal_length(delay, zenith))
            image = mirrored_station(path)
            new = all(np.linalg.norm(image - other) > 5 for other in images)
            if np.linalg.norm(path[-1] - truth) < 0.5 and new:
                corners.append(path)
                images.append(image)
        corners, images = corners[:4], images[:4]
        rows = select(targets, target=number, method="anchors", mode="fixed errors")
        if len(corners) < 3 or not rows["error"][0] < 3:
            continue
        bounces = sum(len(path) - 2 for path in corners)
        away = np.array(images) - truth
        legs = np.array([path[1] - path[0] for path in corners])
        image_turn, leg_turn = (min(_least_turn(vectors), 30.0) for vectors in (away, legs))
        merit = image_turn + 2 * leg_turn - 3 * bounces - 0.2 * np.hypot(*away.T).max()
        if best is None or merit > best[0]:
            best = (merit, number, corners)
    return None if best is None else best[1:]


def _least_turn(vectors: np.ndarray) -> float:
    """Measure the smallest angle between any two vectors [degrees]."""
    azimuth = np.sort(np.arctan2(vectors[:, 1], vectors[:, 0]))
    return float(np.degrees(np.diff(azimuth, append=azimuth[:1] + 2 * np.pi).min()))


def _frame(axes: Axes, points: np.ndarray, margin: float | int) -> None:
    """Show a square around points."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.5 * (high - low).max() + margin
    middle = 0.5 * (low + high)
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))


def _close(axes: Axes, rows: Rows, truth: np.ndarray) -> None:
    """Draw the methods' fixes of one target about its true place; far ones are listed in words."""
    difference = np.stack([rows["x"], rows["y"]], axis=-1) - truth
    near = rows["error"] < 6
    reach = np.stack([rows["cov_xx"], rows["cov_yy"]], axis=-1)[near]
    reach = np.abs(difference[near]) + 0.5 * fixes.NINETY * np.sqrt(reach)  # of the ellipses
    half = 1.1 * max(2.0, float(np.max(reach, initial=0.0)))
    axes.plot(0, 0, "*", ms=13, color="black", mec="white", mew=0.8, zorder=7, ls="")
    width, height, angle = _ellipses(rows)
    for i, method in enumerate(rows["method"]):
        colour = COLOUR.get(method, GREY)
        label = f"{method}: {rows['error'][i]:.2g} m"
        if rows["error"][i] >= 10:
            label = f"{method}: {rows['error'][i]:.0f} m"
        if not near[i]:
            axes.plot(
                [], [], "o", ms=5, color=colour, mfc="none", ls="", label=label + ", not shown"
            )
            continue
        axes.plot(*difference[i], "o", ms=5, color=colour, zorder=6, ls="", label=label)
        ellipse = EllipseCollection(
            width[i], height[i], angle[i], units="xy", offsets=difference[i : i + 1],
            offset_transform=axes.transData, facecolors="none", edgecolors=colour, linewidths=1.1,
        )  # fmt: skip
        axes.add_collection(ellipse)
    axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
    axes.set(xlabel="east of the target [m]", ylabel="north of the target [m]")


def _errors(targets: Rows) -> Figure:
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, mode in zip(panels, _names(targets, "mode")):
        rows = select(targets, mode=mode)
        for method in _names(rows, "method"):
            error = select(rows, method=method)["error"]
            _curve(axes, error, color=COLOUR.get(method, GREY), label=method)
        bound = select(rows, method=rows["method"][0])["bound"]
        if np.isfinite(bound).any():
            # Errors of an estimator that reaches the bound, taken as round.
            reach = np.geomspace(0.01, 1000, 400)
            share = np.mean(-np.expm1(-((reach[:, None] / bound[None]) ** 2)), axis=1)
            axes.plot(reach, share, color="black", ls="--", lw=1.2, label="local bound, unbiased")
        axes.set(xscale="log", xlim=(0.03, 1000), ylim=(0, 1), xlabel="horizontal error [m]")
        axes.set_xticks([0.1, 1, 10, 100], labels=["0.1", "1", "10", "100"])
        axes.set_title(mode, fontweight="bold")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="both", color="#e4e4e4", lw=0.6)
        axes.set_axisbelow(True)
    panels[0].set_ylabel("share of all targets")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _curve(axes: Axes, error: np.ndarray, **style) -> None:
    """Draw the share of all targets below an error; those without a fix never count."""
    known = np.sort(error[np.isfinite(error)])
    share = np.arange(1, len(known) + 1) / len(error)
    axes.step(np.r_[1e-3, known, 1e4], np.r_[0, share, share[-1:] if len(share) else 0],
              where="post", **style)  # fmt: skip


def _calibration(targets: Rows) -> Figure:
    figure = Figure(figsize=(7.4, 3.7), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    claimed = np.linspace(0, 1, 101)
    for axes, mode in zip(panels, _names(targets, "mode")):
        axes.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":")
        rows = select(targets, mode=mode)
        for method in _names(rows, "method"):
            level = select(rows, method=method)["level"]
            level = level[np.isfinite(level)]
            if len(level):
                inside = np.mean(level[None] <= claimed[:, None], axis=1)
                axes.plot(claimed, inside, color=COLOUR.get(method, GREY), label=method)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="claimed probability")
        axes.set_title(mode, fontweight="bold")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
    panels[0].set_ylabel("share of targets inside")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _beams(beams: Rows) -> Figure:
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    methods = _names(beams, "method")
    width = 0.8 / len(methods)
    for i, method in enumerate(methods):
        rows = select(beams, method=method)
        at = np.arange(len(rows["tried"])) + (i - (len(methods) - 1) / 2) * width
        bars = axes.bar(at, rows["found"], 0.92 * width, color=COLOUR.get(method, GREY))
        bars.set_label(method)
        axes.bar_label(
            bars, [f"{100 * share:.0f}" for share in rows["found"]], fontsize=8, padding=1
        )
    rows = select(beams, method=methods[0])
    axes.set_xticks(
        np.arange(len(rows["tried"])),
        labels=[
            f"{'first beam' if tried == 1 else f'first {tried} beams'} of {of}\n"
            f"{100 * saved:.0f} % of the pilots saved"
            for tried, of, saved in zip(rows["tried"], rows["beams"], rows["saved"])
        ],
    )
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(ylim=(0, 1.08), yticks=np.linspace(0, 1, 6), ylabel="users whose best beam is found")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.14), ncols=len(methods), columnspacing=1.2)
    return figure
