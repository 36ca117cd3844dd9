"""The way of a target that was followed: what `echoscape follow --figure` draws.

Takes `TargetTrack` and the maps.
Gives a matplotlib figure.
"""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.localization.moving.particle_filter import TargetStatus, TargetTrack
from echoscape.plotting.style import FAINT, RED, STYLE


def draw_followed(found: TargetTrack, maps: Mapping[str, ChannelMap]) -> Figure:
    """Draw the ways of all tracks, where they were only expected, and the claimed error."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 4.2), layout="constrained")
        plan, error = figure.subplots(1, 2)
        plot_followed(plan, found, maps)
        spread = np.sqrt(np.trace(found.covariance, axis1=1, axis2=2))
        for number in range(int(found.track.max()) + 1):
            mine = found.track == number
            error.plot(found.time[mine], spread[mine], lw=1.4, color=f"C{number % 10}")
        error.set(xlabel="time [s]", ylabel="claimed error [m]", ylim=(0, None))
        return figure


def plot_followed(axes: Axes, found: TargetTrack, maps: Mapping[str, ChannelMap]) -> None:
    """Draw the ways of all tracks on axes.

    Args:
        axes: Where.
        found: The tracks.
        maps: The maps that they were followed with; none draws the tracks alone.
    """
    for item in maps.values():
        axes.plot(*np.asarray(item.report_position)[:, :2].T, ".", ms=1.5, color=FAINT)
        axes.plot(*np.asarray(item.station_position)[:2], "^", color="black", ms=7)
    for number in range(int(found.track.max()) + 1):
        mine = np.flatnonzero(found.track == number)
        colour = f"C{number % 10}"
        axes.plot(*found.position[mine, :2].T, lw=1.4, color=colour, label=f"track {number}")
        axes.plot(*found.position[mine[0], :2], "o", ms=5, color=colour)
        idle = mine[found.status[mine] == TargetStatus.COASTING]
        axes.plot(*found.position[idle, :2].T, "x", ms=4, color=RED)
    seen = found.position[found.track >= 0, :2]
    if len(seen):  # the way, not all of the map
        middle = 0.5 * (seen.min(axis=0) + seen.max(axis=0))
        half = max(0.7 * float(np.ptp(seen, axis=0).max()), 10.0)
        axes.set(
            xlim=middle[0] + half * np.array([-1, 1]), ylim=middle[1] + half * np.array([-1, 1])
        )
        axes.legend(loc="best")
    axes.set_aspect("equal")
    axes.set(xlabel="x [m]", ylabel="y [m]", title="Dots: starts; crosses: coasting")
