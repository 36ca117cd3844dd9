"""Study part `learning`: how many reports each kind of map needs, and how good they must be.

Takes a setting of one layout.
Gives rows: one for every number and kind of reports and every map, at 0.1 rad and 5 ns.
"""

import jax
import numpy as np

from echoscape.channel_map import (
    ChannelMap,
    NearestReports,
    Network,
    ScattererMap,
    Scatterers,
    fit_map,
)
from echoscape.channel_map.learned.scatterer_network import ScattererNetwork
from echoscape.channel_map.scatterers.search import arrange_paths, name_paths
from echoscape.localization import AssociatedByPath, localize
from echoscape.reports import Reports
from echoscape.studies.nlos_ckm.square import summary
from echoscape.studies.nlos_ckm.world import echoes_of, exact_bound, make_layout, reports_of
from echoscape.studies.sweep import Row, Setting

ANGLE, DELAYS = 0.1, (5.0, 20.0)
COUNTS = (50, 100, 300, 1000, 3000, 10_000)
_GEOMETRY = ("scatterers", "nearest reports")
_NETWORKS = ("network by scatterer", "network by rank")
_POINTS = ("network of points",)
WORSE = ((1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (0.0, 0.1), (0.0, 0.2), (2.0, 0.1))
"""Position error of the reports [m] and share of wrong ones."""


def points(quick: bool, seed: int = 0, layouts: int | None = None) -> list[Setting]:
    """List the layouts and the reports to learn from."""
    count = layouts or (1 if quick else 8)
    exact = [(number, 0.0, 0.0) for number in COUNTS]
    worse = [(number, *quality) for number in (100, 1000) for quality in WORSE]
    cases = [(100, 2.0, 0.1)] if quick else exact + worse
    chosen = [(_GEOMETRY, layout, *case) for layout in range(count) for case in cases]
    # Networks take most of the time, so they come last, and in fewer layouts.
    networks = [(10_000, 0.0, 0.0), *exact[:-1]]
    if not quick:
        chosen += [
            (maps, layout, *case)
            for maps in (_POINTS, _NETWORKS)
            for case in networks
            for layout in range(count if maps is _POINTS and case == networks[0] else min(count, 4))
        ]
    return [
        {
            "part": "learning", "maps": list(maps), "layout": layout, "reports": number,
            "position_std": std, "wrong": wrong, "targets": 16 if quick else 200,
            "epochs": 500, "seed": seed,
        }
        for maps, layout, number, std, wrong in chosen
    ]  # fmt: skip


def measure(setting: Setting) -> list[Row]:
    """Fit every map to one set of reports and locate the layout's targets."""
    layout = make_layout(
        setting["layout"], users=max(setting["reports"], 100), targets=setting["targets"],
        seed=setting["seed"],
    )  # fmt: skip
    reports = reports_of(
        layout, setting["reports"], position_std=setting["position_std"], wrong=setting["wrong"],
        seed=setting["seed"],
    )  # fmt: skip
    scatterers = fit_map(reports, Scatterers())
    assert isinstance(scatterers, ScattererMap)
    maps = {name: _fit(name, reports, scatterers, setting) for name in setting["maps"]}
    rows = []
    for delay in DELAYS:
        late = delay * 1e-9
        echoes = echoes_of(
            layout.targets, angle_std=ANGLE, delay_std=late,
            seed=1000 * setting["seed"] + layout.number,
        )  # fmt: skip
        bound = exact_bound(layout, angle_std=ANGLE, delay_std=late)
        for name, channel_map in maps.items():
            fix = localize(echoes, channel_map, method=AssociatedByPath(), height=0.0)
            error = np.linalg.norm((fix.best - layout.targets.position)[:, :2], axis=1)
            rows.append(
                {"method": name, "delay": delay, "bound": float(np.sqrt(np.mean(bound**2))),
                 "found": len(scatterers.points),
                 "scatterers": len(layout.site.scatterer_position)} | summary(error)
            )  # fmt: skip
    return rows


def _fit(name: str, reports: Reports, scatterers: ScattererMap, setting: Setting) -> ChannelMap:
    if name == "scatterers":
        return scatterers
    if name == "nearest reports":
        return fit_map(reports, NearestReports())
    if name in _POINTS:
        key = jax.random.fold_in(jax.random.key(setting["seed"]), setting["layout"])
        return fit_map(reports, ScattererNetwork(), key=key)
    if name == "network by scatterer":
        return _network(arrange_paths(reports, name_paths(reports, scatterers)), setting)
    return _network(reports, setting)


def _network(reports: Reports, setting: Setting):
    slots = reports.estimates.valid.shape[1]
    batch = min(128, max(16, setting["reports"] // 16))
    # As many steps however few the reports are; positions are shaken where they are few.
    epochs = min(20_000, setting["epochs"] * max(1, 3000 // setting["reports"]))
    few = setting["reports"] < 3000
    jitter = min(1.0, 30.0 / setting["reports"] ** 0.5) if few else 0.0
    how = Network(paths=slots, epochs=epochs, batch=batch, jitter=jitter)
    key = jax.random.fold_in(jax.random.key(setting["seed"]), setting["layout"])
    return fit_map(reports, how, key=key)
