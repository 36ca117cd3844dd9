"""What further stations are worth for a target that none of them sees.

One, two and three stations on the edges of the paper's square, each with its own map and its own
echoes of the target, and then also those of each other's pulses; the errors of the places found
and the bounds of their own echoes, from all of an echo and from its delay alone, over the same
targets.

Takes a layout's seed and a number of stations.
Gives rows (up to a minute a point) and figures: errors, and the bound over the square.
"""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.localization import localize
from echoscape.localization.bounds.table import bound_of_maps
from echoscape.reports import Echoes
from echoscape.reports.echo_making import make_echoes
from echoscape.scene import Site
from echoscape.studies.nlos_ckm.square_scene import (
    learn_square,
    square_places,
    square_reports,
    square_site,
)
from echoscape.studies.sweep import Row, Setting

ANGLE_STD, DELAY_STD = 0.1, 20e-9
"""Errors of one echo [rad, s]."""
STATIONS = ((50.0, 0.0), (0.0, 60.0), (100.0, 75.0))
"""Where the stations are [m]."""
_NO_ANGLE = 1e3  # standard deviation of an angle that is not measured [rad]


def points(quick: bool, seed: int) -> list[Setting]:
    """List the points: layouts and numbers of stations."""
    layouts, targets, reports = (1, 24, 100) if quick else (4, 200, 1000)
    cases = [(2, False)] if quick else [(1, False), *product((2, 3), (False, True))]
    return [
        {"layout": seed * 1000 + k, "stations": count, "cross": cross, "targets": targets,
         "reports": reports}
        for k in range(layouts)
        for count, cross in cases
    ]  # fmt: skip


def several(site: Site, count: int) -> Site:
    """Put some stations about the square instead of one."""
    place = np.array([(*spot, 0.0) for spot in STATIONS[:count]])
    names = tuple(f"bs-{k}" for k in range(count))
    return Site(
        carrier_frequency=site.carrier_frequency,
        bandwidth=site.bandwidth,
        station=names,
        station_position=jnp.asarray(place),
        array=site.array * count,
        bounds=site.bounds,
        scatterer_position=site.scatterer_position,
        scatterer_cross_section=site.scatterer_cross_section,
    )


def learn_maps(site: Site, layout: int, reports: int) -> dict[str, ChannelMap]:
    """Learn each station's map from its own users' reports."""
    key = jax.random.key(layout + 41)
    return {
        name: learn_square(
            square_reports(
                site, square_places(layout + 50 * k, reports), jax.random.fold_in(key, k), k
            )
        )
        for k, name in enumerate(site.station)
    }


def join_echoes(parts: list[Echoes]) -> Echoes:
    """Put the echoes of several stations in one set, with padding to one width."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.station))
    code = [np.array([names.index(name) for name in part.station]) for part in parts]
    width = max(part.estimates.valid.shape[1] for part in parts)

    def pad(leaf):
        return np.pad(np.asarray(leaf), ((0, 0), (0, width - leaf.shape[1])))

    estimates = [jax.tree.map(pad, part.estimates) for part in parts]
    return Echoes(
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *estimates),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([each[part.station_index] for each, part in zip(code, parts)]),
        names,
        np.concatenate([each[part.sender] for each, part in zip(code, parts)]),
    )


def measure(setting: Setting) -> list[Row]:
    """Locate targets with some stations, and bound the error."""
    site = several(square_site(setting["layout"]), setting["stations"])
    maps = learn_maps(site, setting["layout"], setting["reports"])
    place = square_places(setting["layout"] + 700, setting["targets"])
    key = jax.random.key(setting["layout"] + 43)
    # One key: all stations see the scatterers where they are at that moment.
    users = [square_reports(site, place, key, k) for k in range(setting["stations"])]
    parts = []
    for out, back in product(range(len(users)), repeat=2):
        if out == back or setting["cross"]:
            made = make_echoes(
                users[out], jax.random.fold_in(key, 10 * out + back), angle_std=ANGLE_STD,
                delay_std=DELAY_STD, listener=None if out == back else users[back],
            )  # fmt: skip
            parts.append(made.echoes)
    found = localize(join_echoes(parts), maps)
    truth = np.asarray(place)
    error = np.linalg.norm((found.best - truth)[:, :2], axis=1)
    row: Row = {
        "method": "own and each other's echoes" if setting["cross"] else "own echoes",
        "rmse": float(np.sqrt(np.mean(error**2))),
        "median": float(np.median(error)),
        "p90": float(np.quantile(error, 0.9)),
        "beyond_10": float(np.mean(error > 10.0)),
    }
    for name, angle in (("bound", ANGLE_STD), ("bound_delays", _NO_ANGLE)):
        limit = bound_of_maps(maps, truth, angle_std=angle, delay_std=DELAY_STD)
        seen = limit.root_trace[limit.observed]
        row[name] = float(np.median(seen)) if len(seen) else None
        row[f"{name}_rms"] = float(np.sqrt(np.mean(seen**2))) if len(seen) else None
    side = np.arange(2.5, 100.0, 5.0)
    grid = np.stack([*np.meshgrid(side, side, indexing="ij")], axis=-1).reshape(-1, 2)
    level = np.concatenate([grid, np.zeros((len(grid), 1))], axis=1)
    area = bound_of_maps(maps, level, angle_std=ANGLE_STD, delay_std=DELAY_STD)
    row["area"] = [float(x) if np.isfinite(x) else None for x in area.root_trace]
    return [row]


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Draw errors and bounds against the number of stations, and the bound over the square."""
    counts = sorted({row["stations"] for row in rows})
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    panel = figure.subplots()
    styles: dict[tuple[str, bool, str], Any] = {
        ("rmse", False, "own echoes, rms"): {"color": "#E69F00", "marker": "o"},
        ("median", False, "own echoes, median"): {"color": "#E69F00", "marker": ".", "ls": ":"},
        ("rmse", True, "and each other's, rms"): {"color": "#0072B2", "marker": "o"},
        ("median", True, "and each other's, median"): {
            "color": "#0072B2", "marker": ".", "ls": ":"
        },
        ("bound_rms", False, "bound, own echoes"): {"color": "#000000"},
        ("bound_delays_rms", False, "bound, their delays"): {"color": "#999999", "ls": "--"},
    }  # fmt: skip
    for (name, cross, label), style in styles.items():
        some = [r for r in rows if r["cross"] == cross and r[name] is not None]
        mine = sorted({r["stations"] for r in some})
        values = [np.mean([r[name] for r in some if r["stations"] == count]) for count in mine]
        panel.plot(mine, values, label=label, **style)
    panel.set(xlabel="stations", ylabel="error [m]", ylim=(0, None), xticks=counts)
    panel.legend(fontsize=7)
    area = Figure(figsize=(3.4 * len(counts) + 0.8, 3.2), layout="constrained")
    first = min(row["layout"] for row in rows)
    for plan, count in zip(area.subplots(1, len(counts), squeeze=False)[0], counts, strict=True):
        row = next(r for r in rows if r["layout"] == first and r["stations"] == count)
        values = np.array([np.nan if x is None else x for x in row["area"]]).reshape(20, 20)
        drawn = plan.imshow(values.T, origin="lower", extent=(0, 100, 0, 100), vmin=0, vmax=4)
        x, y = np.array(STATIONS[:count]).T
        plan.plot(x, y, "^", color="white", mec="black", ms=8, clip_on=False)
        plan.set(xlabel="x [m]", ylabel="y [m]", title=f"{count} station{'s' * (count > 1)}")
    area.colorbar(drawn, ax=area.axes, label="smallest error [m]")
    return {"stations": figure, "stations-area": area}
