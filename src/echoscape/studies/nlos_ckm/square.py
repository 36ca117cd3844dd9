"""Study part `square`: the paper's own experiment, its methods beside ours, layout by layout.

In each layout the paper's network learns from every user's report, by squared error and by
likelihood; scatterers are reconstructed from a tenth of the reports.  Targets echo at several
errors of delay and of angle and with several numbers of paths; the same draws, scaled, at every
level.

Takes a setting of one layout.
Gives rows: one for every level and method, and one for every map's accuracy.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from echoscape.channel_map import ChannelMap, Network, Scatterers, fit_map
from echoscape.localization import (
    AssociatedByPath,
    AssociatedByRank,
    Localizer,
    PairedEchoes,
    PreparedMaps,
    localize,
    prepare,
)
from echoscape.studies.nlos_ckm.world import (
    LISTED,
    Layout,
    Users,
    echoes_of,
    exact_bound,
    exact_map,
    make_layout,
    reports_of,
)
from echoscape.studies.sweep import Row, Setting
from echoscape.units import delay_of, wrap_angle

ANGLE, DELAY = 0.1, 20.0
"""The errors that stay while others change [rad], [ns]."""
DELAYS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
ANGLES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
PAPER = (
    "line of sight", "shortest echo", "network, reciprocal", "network, all pairs",
    "exact map, all pairs",
)  # fmt: skip
"""The paper's five: geometry in and out of sight, the map with Eqs. (5) and (6), the exact map."""
OURS = ("scatterers", "scatterers, no ranks")
_RANKS = ("soft", "none")
SHARES = np.linspace(0.0, 1.0, 21)
"""Shares of the targets whose error is stored."""


def points(quick: bool, seed: int = 0, layouts: int | None = None) -> list[Setting]:
    """List the layouts to measure."""
    count = layouts or (1 if quick else 10)
    size: Setting = {"reports": 10_000, "targets": 200, "epochs": 500, "levels": "all"}
    if quick:
        size = {"reports": 600, "targets": 16, "epochs": 12, "levels": "few", "methods": "main"}
    return [{"part": "square", "layout": n, "seed": seed, **size} for n in range(count)]


def paper_points(layouts: int = 10, seed: int = 0) -> list[Setting]:
    """List the layouts of the paper's figure 7 alone: its five methods, errors of delay."""
    size: Setting = {"reports": 10_000, "targets": 200, "epochs": 500, "levels": "delays"}
    return [
        {"part": "square", "layout": n, "seed": seed, "methods": "paper", **size}
        for n in range(layouts)
    ]


def measure(setting: Setting) -> list[Row]:
    """Measure one layout."""
    layout = make_layout(
        setting["layout"], users=setting["reports"], targets=setting["targets"],
        seed=setting["seed"],
    )  # fmt: skip
    maps = _maps(layout, setting)
    rows = [_accuracy(name, channel_map, layout.targets) for name, channel_map in maps.items()]
    runs = _prepare(maps)
    if setting.get("methods") == "main":  # every way of locating is compiled anew
        runs = {name: run for name, run in runs.items() if name in (*PAPER, *OURS[:1])}
    levels = [("delay", ANGLE, delay, LISTED) for delay in DELAYS]
    levels += [("angle", angle, DELAY, LISTED) for angle in ANGLES]
    levels += [("paths", ANGLE, DELAY, paths) for paths in range(2, LISTED)]
    if setting["levels"] == "few":
        levels = [levels[k] for k in (2, 4, 6, 11)]
    if setting["levels"] == "delays":
        levels = levels[: len(DELAYS)]
    for kind, angle, delay, paths in levels:
        echoes = echoes_of(
            layout.targets, angle_std=angle, delay_std=delay * 1e-9, paths=paths,
            seed=1000 * setting["seed"] + layout.number,
        )  # fmt: skip
        shared = {"kind": kind, "angle": angle, "delay": delay, "paths": paths}
        for pairs in ("all", "reciprocal"):
            bound = exact_bound(
                layout, angle_std=angle, delay_std=delay * 1e-9, pairs=pairs, paths=paths
            )
            rows.append(shared | {"method": f"bound, {pairs}"} | summary(bound))
        for name, run in runs.items():
            if name not in PAPER and (paths != LISTED or "scatterers" not in maps):
                continue
            found = run(layout, echoes)
            error = np.linalg.norm(found[:, :2] - layout.targets.position[:, :2], axis=1)
            rows.append(shared | {"method": name} | summary(error))
    if setting.get("methods") is None:
        rows += [_searched(layout, maps["scatterers"], setting, ranks) for ranks in _RANKS]
    return rows


def _searched(layout: Layout, channel_map: ChannelMap, setting: Setting, ranks: Any) -> Row:
    """Compare the search with one of many more starts from a finer grid, by the likelihood."""
    late = DELAY * 1e-9
    echoes = echoes_of(
        layout.targets, angle_std=ANGLE, delay_std=late,
        seed=1000 * setting["seed"] + layout.number,
    )  # fmt: skip
    usual = AssociatedByPath(rank_association=ranks)
    one, other = (
        localize(echoes, channel_map, method=method)
        for method in (usual, usual.model_copy(update={"starts": 24, "cell": 1.0}))
    )
    away = np.linalg.norm(one.best - other.best, axis=1)
    # Where the usual search found the more likely place, it is the other that missed.
    missed = (away > 0.1) & (other.log_likelihood[:, 0] > one.log_likelihood[:, 0])
    return {
        "kind": "search",
        "method": f"scatterers, ranks {ranks}",
        "within_0.1": float(1.0 - missed.mean()),
        "starts": usual.starts,
        "count": len(away),
        "status": "ok",
    }


def _maps(layout: Layout, setting: Setting) -> dict[str, ChannelMap]:
    reports, few = reports_of(layout, setting["reports"]), max(100, setting["reports"] // 10)
    key = jax.random.fold_in(jax.random.key(setting["seed"]), layout.number)
    how = Network(planar=True, epochs=setting["epochs"], batch=128, jitter=0.0)
    maps: dict[str, ChannelMap] = {
        "network": fit_map(reports, how.model_copy(update={"loss": "squared"}), key=key),
        "exact map": exact_map(layout, few),
    }
    if setting.get("methods") == "paper":
        return maps
    return maps | {
        "likelihood network": fit_map(reports, how, key=key),
        "scatterers": fit_map(reports_of(layout, few), Scatterers()),
    }


Run = Callable[[Layout, PairedEchoes], np.ndarray]


def _prepare(maps: dict[str, ChannelMap]) -> dict[str, Run]:
    """Name the methods and make each a function from echoes to places."""

    def through(channel_map: ChannelMap, method: Localizer) -> Run:
        prepared: list[PreparedMaps] = []

        def run(layout, echoes):
            if not prepared:
                prepared.append(prepare(channel_map, echoes, method=method))
            return localize(echoes, prepared[0]).best

        return run

    every, own = AssociatedByRank(), AssociatedByRank(pairs="reciprocal")
    runs = {
        "line of sight": _in_sight,
        "shortest echo": _shortest,
        "network, reciprocal": through(maps["network"], own),
        "network, all pairs": through(maps["network"], every),
        "exact map, all pairs": through(maps["exact map"], every),
        "exact map, reciprocal": through(maps["exact map"], own),
    }
    if "scatterers" not in maps:
        return runs
    return runs | {
        "likelihood network": through(maps["likelihood network"], every),
        "scatterers": through(maps["scatterers"], AssociatedByPath()),
        "scatterers, reciprocal": through(maps["scatterers"], AssociatedByPath(pairs="reciprocal")),
        "scatterers, no ranks": through(
            maps["scatterers"], AssociatedByPath(rank_association="none")
        ),
    }


def _in_sight(layout: Layout, echoes: PairedEchoes) -> np.ndarray:
    """Place targets by an echo in line of sight, as if nothing stood between, Eq. (3)."""
    station = np.asarray(layout.site.station_position[0])
    offset = layout.targets.position - station
    length = np.linalg.norm(offset[:, :2], axis=1)
    azimuth = np.arctan2(offset[:, 1], offset[:, 0])
    angle_std, delay_std = (float(std.max()) for std in echoes.deviations())
    # The errors of the first echo: those that the other methods had.
    first = echoes_of(
        layout.targets._replace(azimuth=azimuth[:, None], length=length[:, None]),
        angle_std=angle_std, delay_std=delay_std, seed=layout.number, paths=1,
    )  # fmt: skip
    return _as_direct(station, first, np.zeros(len(length), dtype=int))


def _shortest(layout: Layout, echoes: PairedEchoes) -> np.ndarray:
    return shortest_as_direct(np.asarray(layout.site.station_position[0]), echoes)


def shortest_as_direct(station: np.ndarray, echoes: PairedEchoes) -> np.ndarray:
    """Place targets by their shortest echo, taken for the direct one.

    Args:
        station: Position of the station [m].
        echoes: What was heard.
    """
    own = np.diagonal(np.where(echoes.valid, echoes.delay, np.inf), axis1=1, axis2=2)
    return _as_direct(station, echoes, own.argmin(axis=1))


def _as_direct(station, echoes: PairedEchoes, which) -> np.ndarray:
    rows = np.arange(len(which))
    out = np.asarray(echoes.departure_azimuth)[rows, which, which]
    back = np.asarray(echoes.arrival_azimuth)[rows, which, which]
    azimuth = out + 0.5 * wrap_angle(back - out)
    length = 0.5 * np.asarray(echoes.length)[rows, which, which]
    aside = np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], axis=1)
    return station + length[:, None] * aside


def summary(error: np.ndarray) -> Row:
    """Summarise errors [m]; targets that were not located count as they came out."""
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "median": float(np.median(error)),
        "p90": float(np.quantile(error, 0.9)),
        "beyond_10": float(np.mean(error > 10.0)),
        "quantiles": np.quantile(error, SHARES).round(4).tolist(),
        "count": len(error),
        "status": "ok",
    }


def _accuracy(name: str, channel_map: ChannelMap, targets: Users) -> Row:
    """Compare a map's strongest paths with those of the targets, rank by rank."""
    prior = jax.jit(jax.vmap(channel_map))(jax.numpy.asarray(targets.position))
    order = np.argsort(np.where(prior.probability > 0.5, -prior.power, np.inf), axis=1)
    order = order[:, : targets.length.shape[1]]
    azimuth, delay = (
        np.take_along_axis(np.asarray(leaf), order, 1)
        for leaf in (prior.departure_azimuth, prior.delay)
    )
    turn = np.abs(wrap_angle(azimuth - targets.azimuth))
    late = np.abs(delay - delay_of(targets.length)) * 1e9
    return {
        "kind": "map",
        "method": name,
        "angle_rmse": float(np.sqrt(np.mean(turn**2))),
        "angle_median": float(np.median(turn)),
        "delay_rmse": float(np.sqrt(np.mean(late**2))),
        "delay_median": float(np.median(late)),
        "count": len(delay),
        "status": "ok",
    }
