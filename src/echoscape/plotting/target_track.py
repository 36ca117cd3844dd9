"""The way of a target that was followed: what `echoscape follow --figure` draws.

Takes `TargetTrack` and the maps.
Gives a matplotlib figure.
"""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.localization.moving.particle_filter import TargetStatus, TargetTrack
from echoscape.plotting.fixes import STYLE


def draw_followed(found: TargetTrack, maps: Mapping[str, ChannelMap]) -> Figure:
    """Draw the ways of all tracks, where they were only expected, and the claimed error."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 4.2), layout="constrained")
        plan, error = figure.subplots(1, 2)
        for item in maps.values():
            plan.plot(*np.asarray(item.report_position)[:, :2].T, ".", ms=1.5, color="#cccccc")
            plan.plot(*np.asarray(item.station_position)[:2], "^", color="black", ms=7)
        spread = np.sqrt(np.trace(found.covariance, axis1=1, axis2=2))
        for number in range(int(found.track.max()) + 1):
            mine = np.flatnonzero(found.track == number)
            (line,) = plan.plot(*found.position[mine, :2].T, lw=1.4, label=f"track {number}")
            plan.plot(*found.position[mine[0], :2], "o", ms=5, color=line.get_color())
            idle = mine[found.status[mine] == TargetStatus.COASTING]
            plan.plot(*found.position[idle, :2].T, "x", ms=4, color="#D55E00")
            error.plot(found.time[mine], spread[mine], lw=1.4, color=line.get_color())
        seen = found.position[found.track >= 0, :2]
        if len(seen):  # the way, not all of the map
            middle = 0.5 * (seen.min(axis=0) + seen.max(axis=0))
            half = max(0.7 * float(np.ptp(seen, axis=0).max()), 10.0)
            plan.set(
                xlim=middle[0] + half * np.array([-1, 1]), ylim=middle[1] + half * np.array([-1, 1])
            )
        plan.set_aspect("equal")
        plan.set(xlabel="x [m]", ylabel="y [m]", title="Dots: starts; crosses: coasting")
        if found.track.max() >= 0:
            plan.legend(loc="best")
        error.set(xlabel="time [s]", ylabel="claimed error [m]", ylim=(0, None))
        return figure
