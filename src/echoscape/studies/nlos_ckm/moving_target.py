"""What tracking a moving target through the map gains over one epoch at a time.

A target wanders through the paper's square for six seconds at walking to cycling speed, ten
epochs a second.  Out of sight every path bounces; in the mixed scene the station sees the eastern
half.  Each epoch is also located by itself.

Takes a layout's seed and a scene.
Gives rows (about a minute a point) and a figure.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from echoscape.localization import localize
from echoscape.localization.moving.particle_filter import follow
from echoscape.localization.scores import claimed_level
from echoscape.propagation.path import strongest
from echoscape.propagation.point_scatterer import jitter_scatterers, scatter
from echoscape.reports import Reports
from echoscape.reports.echo_making import make_echoes
from echoscape.scene import Site
from echoscape.studies.nlos_ckm.square_scene import (
    JITTER,
    LISTED,
    learn_square,
    reports_of_paths,
    square_places,
    square_site,
)
from echoscape.studies.sweep import Row, Setting

ANGLE_STD, DELAY_STD = 0.1, 5e-9
"""Errors of one echo [rad, s]."""
EPOCH = 0.1
"""Time between epochs [s]."""


def points(quick: bool, seed: int) -> list[Setting]:
    """List the points: layouts and scenes."""
    layouts, routes, reports, epochs = (1, 1, 100, 24) if quick else (4, 6, 1000, 60)
    scenes = ("out of sight",) if quick else ("out of sight", "mixed")
    return [
        {
            "layout": seed * 1000 + k,
            "scene": scene,
            "routes": routes,
            "reports": reports,
            "epochs": epochs,
        }
        for k in range(layouts)
        for scene in scenes
    ]


def wander(seed: int, epochs: int) -> Float[np.ndarray, "epoch 3"]:
    """Draw a smooth route: a random heading that turns slowly, speed 1.5 to 5 m/s."""
    rng = np.random.default_rng(seed)
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(
        0.25 * np.sqrt(EPOCH) * rng.normal(size=epochs)
    )
    step = EPOCH * rng.uniform(1.5, 5.0) * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    route = np.cumsum(step, axis=0)
    low, high = route.min(axis=0), route.max(axis=0)
    start = rng.uniform(5.0 - low, 95.0 - high)
    return np.concatenate([start + route, np.zeros((epochs, 1))], axis=1)


def scene_reports(site: Site, place: Float[Array, "place 3"], key, sight: bool) -> Reports:
    """Report the strongest paths; with sight, the eastern half has the straight one too."""

    def one(key, place):
        moved = jitter_scatterers(site, JITTER, key=key)
        paths = scatter(moved, place)
        seen = sight & (place[0] > 50.0)
        straight = paths.identity < 0
        # A straight path among scatterers of one square metre would drown them all: same order.
        gain = jnp.where(straight, paths.gain * 1e-2, paths.gain)
        valid = paths.valid & (~straight | seen)
        return strongest(eqx.tree_at(lambda p: p.valid, paths, valid).with_gain(gain), LISTED)

    paths = jax.jit(jax.vmap(one))(jax.random.split(key, len(place)), place)
    return reports_of_paths(site, place, paths)


def measure(setting: Setting) -> list[Row]:
    """Follow some routes through one layout and locate every epoch alone."""
    site = square_site(setting["layout"])
    key = jax.random.key(setting["layout"] + 31)
    sight = setting["scene"] == "mixed"
    place = square_places(setting["layout"], setting["reports"])
    learnt = learn_square(scene_reports(site, place, jax.random.fold_in(key, 0), sight), sight)
    rows = []
    for route in range(setting["routes"]):
        truth = wander(setting["layout"] * 100 + route, setting["epochs"])
        mine = jax.random.fold_in(key, 10 + route)
        users = scene_reports(site, jnp.asarray(truth), mine, sight)
        time = EPOCH * np.arange(float(setting["epochs"]))
        users = eqx.tree_at(lambda r: r.time, users, time)
        echoes = make_echoes(users, mine, angle_std=ANGLE_STD, delay_std=DELAY_STD).echoes
        found = follow(echoes, learnt, key=mine)
        alone = localize(echoes, learnt)
        away = (found.position - truth)[:, :2]
        square = np.einsum(
            "ti,tij,tj->t", away, np.linalg.inv(found.covariance + 1e-6 * np.eye(2)), away
        )
        levels = 1.0 - np.exp(-0.5 * square), claimed_level(alone, truth)
        for k in range(setting["epochs"]):
            rows.append(
                {
                    "route": route,
                    "time": float(time[k]),
                    "followed": float(np.linalg.norm(found.position[k, :2] - truth[k, :2])),
                    "alone": float(np.linalg.norm(alone.best[k, :2] - truth[k, :2])),
                    # Shares of what was claimed that lie nearer than the truth: uniform if honest.
                    "followed_level": float(levels[0][k]),
                    "alone_level": float(levels[1][k]),
                    "status": int(found.status[k]),
                    "track": int(found.track[k]),
                }
            )
    return rows


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Draw the RMS error over the time followed, for each scene."""
    scenes = sorted({row["scene"] for row in rows})
    figure = Figure(figsize=(4.6 * len(scenes), 3.4), layout="constrained")
    for panel, scene in zip(figure.subplots(1, len(scenes), squeeze=False)[0], scenes, strict=True):
        some = [row for row in rows if row["scene"] == scene]
        times = sorted({row["time"] for row in some})
        for name, color in (("alone", "#E69F00"), ("followed", "#0072B2")):
            error = [
                np.sqrt(np.mean([r[name] ** 2 for r in some if r["time"] == t])) for t in times
            ]
            panel.semilogy(
                times, error, color=color, label="each epoch by itself" if name == "alone" else name
            )
        panel.axvline(2.0, color="#999999", lw=0.8)
        panel.set(xlabel="time [s]", ylabel="RMS error [m]", title=scene)
        panel.legend()
    return {"moving": figure}
