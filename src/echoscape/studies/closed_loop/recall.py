"""Study part `recall`: a walk whose filter begins with the points of other users' map.

The walk is that of part `tracking`; the map is fitted to reports of users beside it.

Takes a setting.
Gives rows: how far off the user is believed to be, with a map and without.
"""

import jax
import numpy as np

from echoscape.channel_map import fit_map
from echoscape.studies.closed_loop.tracking import make_walk
from echoscape.studies.nlos_ckm.square import summary
from echoscape.studies.sweep import Row, Setting
from echoscape.tracking import track


def points(quick: bool, seed: int = 0) -> list[Setting]:
    """List numbers of reports.

    Args:
        quick: Without a map only.
        seed: Seed of the first walk.
    """
    return [
        {"part": "recall", "reports": count, "rate": 2.0, "seed": seed + walk}
        for walk in range(1 if quick else 2)
        for count in ((0,) if quick else (0, 10, 100))
    ]


def measure(setting: Setting) -> list[Row]:
    """Follow the walk, with a map of so many reports or with none."""
    walk, count = make_walk(setting["seed"], setting["rate"]), setting["reports"]
    if not count:
        return [{"method": "no map"} | summary(walk.user_error)]
    steps = len(walk.observations)
    reports = walk.reports[steps : steps + count]
    points = fit_map(reports, key=jax.random.key(setting["seed"])).static_points()
    found = track(
        walk.observations, reports.station_position[0], start=walk.position[0],
        start_velocity=walk.velocity[0], points=points,
    )  # fmt: skip
    error = np.linalg.norm(np.asarray(found.record.user)[:, :3] - walk.position, axis=1)
    return [{"method": "map"} | summary(error)]
