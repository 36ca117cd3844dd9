"""A map of what a filter followed, and the delays of its paths over time.

Takes `Tracks`, and the observations that they came from.
Gives a matplotlib figure.
"""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echoscape.plotting.fixes import draw_ellipses
from echoscape.plotting.style import BLUE, GREEN, PINK, RED, STYLE
from echoscape.reports import Observations
from echoscape.tracking import Tracks, TrackStatus, UserStatus
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.bounce import one_wall_bounce

_ELLIPSES = 30
_USER, _LOST, _WALL, _ANCHOR = BLUE, RED, GREEN, PINK


def draw_tracks(tracks: Tracks, observations: Observations) -> Figure:
    """Draw the user's track with its 90 % ellipses, anchors, bounce points, and delays over time.

    Args:
        tracks: What was followed.
        observations: What it was followed from.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 5.4), layout="constrained")
        place, delay = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
        plot_tracks(place, tracks)
        _draw_delay(delay, tracks, observations)
        place.get_legend().remove()
        place.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=3)
    return figure


def plot_tracks(axes: Axes, tracks: Tracks) -> None:
    """Draw the user's track with its 90 % ellipses, anchors and bounce points on axes.

    Args:
        axes: Where.
        tracks: What was followed.
    """
    user = np.asarray(tracks.record.user)[:, :2]
    lost = tracks.user_status == UserStatus.LOST
    identity = np.asarray(tracks.record.identity)
    kind, flip = np.asarray(tracks.record.kind), np.asarray(tracks.record.vertical_reflection)
    anchor = np.asarray(tracks.record.anchor)
    tracked = tracks.status == TrackStatus.TRACKED
    instant, slot = np.nonzero(tracked & (kind == AnchorType.ONE_WALL) & (flip > 0))
    bounce = one_wall_bounce(
        np.asarray(tracks.record.user)[instant, :3], anchor[instant, slot], tracks.station
    )
    if tracks.first is not None:
        bounce = anchor[tracked & (kind == AnchorType.SCATTERER)]
    low = np.minimum(user.min(axis=0), tracks.station[:2])
    high = np.maximum(user.max(axis=0), tracks.station[:2])
    centre, half = 0.5 * (low + high), 0.7 * max(*(high - low), 20.0)
    low, high = centre - half, centre + half
    axes.plot(*bounce[:, :2].T, ".", ms=2, color=_WALL, zorder=2, rasterized=True,
              label="points on walls" if tracks.first is None else "last bounces")  # fmt: skip
    instant, slot = np.nonzero(tracked & (kind != AnchorType.STATION))
    points = "anchors" if tracks.first is None else "first bounces"
    last = {identity[i, j]: (i, j) for i, j in zip(instant, slot)}
    if tracks.first is not None:
        anchor = tracks.first
    if last:
        where = np.array([anchor[at][:2] for at in last.values()])
        inside = np.all((where > low) & (where < high), axis=1)
        axes.plot(*where[inside].T, "x", ms=4, color=_ANCHOR, zorder=3,
                  label=f"{points} (another {np.sum(~inside)} beyond the picture)")  # fmt: skip
    axes.plot(*user.T, color=_USER, lw=1.4, zorder=4, label="user, with 90 % ellipses")
    if lost.any():
        axes.plot(*user[lost].T, ".", ms=3, color=_LOST, zorder=5, label="user lost")
    some = np.unique(np.linspace(0, len(user) - 1, _ELLIPSES).astype(int))
    draw_ellipses(axes, user[some], np.asarray(tracks.record.user_covariance)[some], _USER)
    axes.plot(*user[0], "o", ms=5, color=_USER, mec="white", zorder=6, ls="", label="start")
    axes.plot(*tracks.station[:2], "^", ms=9, color="black", mec="white", zorder=6, ls="",
              label="base station")  # fmt: skip
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set(xlabel="x [m]", ylabel="y [m]")
    followed = f"A user and {tracks.count} anchors, followed together"
    if tracks.first is not None:
        followed = f"Bounce points of {tracks.count} tracks around a known user"
    axes.set_title(followed)
    axes.legend(loc="best", fontsize=8)


def _draw_delay(axes: Axes, tracks: Tracks, observations: Observations) -> None:
    estimates = observations.estimates
    instant, path = np.nonzero(np.asarray(estimates.valid))
    axes.plot(observations.time[instant], 1e9 * np.asarray(estimates.delay)[instant, path], ".",
              ms=1, color="#bbbbbb", zorder=1, rasterized=True, label="observed")  # fmt: skip
    confirmed = tracks.status >= TrackStatus.TRACKED
    instant, slot = np.nonzero(confirmed)
    identity = np.asarray(tracks.record.identity)[instant, slot]
    length = np.asarray(tracks.record.predicted)[instant, slot, 0] / 0.299792458
    for number in np.unique(identity):
        mine = identity == number
        when, how_long = tracks.time[instant[mine]], length[mine]
        gap = np.flatnonzero(np.diff(instant[mine]) > 1) + 1
        when, how_long = np.insert(when, gap, np.nan), np.insert(how_long, gap, np.nan)
        axes.plot(when, how_long, lw=0.9, color=f"C{number % 10}", zorder=2)
    axes.set(xlabel="time [s]", ylabel="delay [ns]")
    axes.set_title("Delays: observed (grey) and followed, one colour a track")
