"""Sets of paths, and channels: what was reported, received, predicted or made.

Takes `Reports`, `Echoes`, `Observations`, `Paths` or a `ChannelRealization`, and axes.
Gives nothing; the axes hold the drawing, with its labels.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from echoscape.channel_model.coefficient import ChannelRealization
from echoscape.plotting.style import RED
from echoscape.propagation import Paths
from echoscape.reports import Echoes, Observations, Reports

_BINS = 200  # of delay
_DEEP = 40.0  # weakest power drawn, below the strongest [dB]


def plot_reports(axes: Axes, reports: Reports) -> None:
    """Draw where the users were, coloured by the number of their paths; crosses are outages.

    Args:
        axes: Where.
        reports: The reports.
    """
    count = np.asarray(reports.estimates.valid).sum(axis=-1)
    x, y = reports.position[:, :2].T
    some = count > 0
    if (~some).any():
        axes.plot(x[~some], y[~some], "x", ms=3, color="#999999", ls="",
                  label=f"no path ({(~some).sum()})")  # fmt: skip
    drawn = axes.scatter(x[some], y[some], c=count[some], s=9, cmap="viridis")
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="paths of a report")
    axes.plot(*np.asarray(reports.station_position)[:, :2].T, "^", ms=9, color="black",
              mec="white", ls="", label="base station")  # fmt: skip
    axes.set(aspect="equal", xlabel="x [m]", ylabel="y [m]", title=f"{len(x)} reports")


def plot_paths(axes: Axes, paths: Paths, title: str = "") -> None:
    """Draw the departure and the delay of every path, coloured by power where it is known.

    Args:
        axes: Where.
        paths: Any number of sets of paths.
        title: What they are.
    """
    keep = np.asarray(paths.valid).ravel()
    azimuth = np.degrees(np.asarray(paths.departure_azimuth).ravel()[keep])
    delay = 1e9 * np.asarray(paths.delay).ravel()[keep]
    _errors(axes, paths, keep, azimuth, delay)
    power = None if paths.power is None else np.asarray(paths.power).ravel()[keep]
    if power is None or not (power > 0.0).any():
        axes.scatter(delay, azimuth, s=14, color=RED, zorder=3)
    else:
        level = 10 * np.log10(np.maximum(power, power[power > 0.0].min()))
        drawn: PathCollection = axes.scatter(delay, azimuth, c=level, s=14, zorder=3)
        axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="power gain [dB]")
    axes.set(xlabel="delay [ns]", ylabel="azimuth of departure [deg]", ylim=(-185, 185))
    axes.set_yticks([-180, -90, 0, 90, 180])
    axes.set_title(title or f"{keep.sum()} paths")


def _errors(axes: Axes, paths: Paths, keep: np.ndarray, azimuth: np.ndarray, delay: np.ndarray):
    """Draw one standard deviation of what was measured; of few paths only, or it hides them."""
    if len(delay) > 100 or paths.length_std is None or paths.departure_azimuth_std is None:
        return
    across = np.degrees(np.asarray(paths.departure_azimuth_std).ravel()[keep])
    along = 1e9 * np.asarray(paths.delay_std).ravel()[keep]
    known = [np.where(np.isfinite(each), each, 0.0) for each in (across, along)]
    axes.errorbar(delay, azimuth, known[0], known[1], fmt="none", color="0.6", lw=0.8)


def plot_sets(axes: Axes, sets: Echoes | Observations) -> None:
    """Draw echoes, or what was observed over time, as paths.

    Args:
        axes: Where.
        sets: All of them are drawn, whatever their target, time or station.
    """
    count = int(np.asarray(sets.estimates.valid).sum())
    if isinstance(sets, Echoes):
        what = f"{count} echoes of {len(np.unique(sets.target))} targets"
    else:
        what = f"{count} paths at {len(np.unique(sets.time))} instants"
    plot_paths(axes, sets.estimates, what)


def plot_channel(axes: Axes, channel: ChannelRealization) -> None:
    """Draw the mean power of all antenna pairs over time and delay.

    Args:
        axes: Where.
        channel: The channel.
    """
    power = np.mean(np.abs(np.asarray(channel.coefficient)) ** 2, axis=(1, 2))
    time, delay = np.asarray(channel.time), 1e9 * np.asarray(channel.delay)
    there = power > 0.0
    if not there.any():
        axes.set_title("no path at any time")
        axes.set(xlabel="time [s]", ylabel="delay [ns]")
        return
    first, last = delay[there].min(), delay[there].max()
    edge = np.linspace(first - 1.0, last + 1.0, _BINS + 1)
    cell = np.clip(np.searchsorted(edge, delay) - 1, 0, _BINS - 1)
    sums = np.zeros((len(time), _BINS))
    np.add.at(sums, (np.arange(len(time))[:, None], cell), np.where(there, power, 0.0))
    level = 10 * np.ma.log10(np.ma.masked_less_equal(sums, 0.0))
    top = level.max()
    drawn = axes.pcolormesh(
        time, 0.5 * (edge[1:] + edge[:-1]), level.T, vmin=top - _DEEP, vmax=top,
        shading="nearest", rasterized=True,
    )  # fmt: skip
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="power gain [dB]", extend="min")
    axes.set(xlabel="time [s]", ylabel="delay [ns]", title="Power over time and delay")
