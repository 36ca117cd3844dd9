"""One verb that draws any result: what `result.plot()` calls.

Takes a result, and what stands beside it.
Gives matplotlib axes.
"""

import functools
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echoscape.channel_map import ChannelMap
from echoscape.channel_model.coefficient import ChannelRealization
from echoscape.checks import InputError
from echoscape.imaging import VoxelImage
from echoscape.localization import Fix
from echoscape.localization.bounds.fisher import Bound
from echoscape.localization.moving.particle_filter import TargetTrack
from echoscape.plotting.channel_map import plot_map
from echoscape.plotting.fixes import plot_bound, plot_fix
from echoscape.plotting.paths import plot_channel, plot_paths, plot_reports, plot_sets
from echoscape.plotting.style import DOUBLE, SINGLE, STYLE
from echoscape.plotting.target_track import plot_followed
from echoscape.plotting.tracks import plot_tracks
from echoscape.plotting.voxel_image import plot_image
from echoscape.propagation import Paths
from echoscape.reports import Echoes, Observations, Reports
from echoscape.tracking import Tracks

Maps = Mapping[str, ChannelMap]


def plot(result: Any, *, axes: Axes | None = None, width: float = DOUBLE, **beside: Any) -> Axes:
    """Draw a result.

    Args:
        result: `Fix`, `Bound`, `TargetTrack`, `Tracks`, `VoxelImage`, a channel map,
            `ChannelRealization`, `Reports`, `Echoes`, `Observations` or `Paths`.
        axes: Where; a new figure if not given. An image needs axes in three dimensions.
        width: Of a new figure: `style.SINGLE` or `style.DOUBLE` columns, or any other [inch].
        beside: What to draw beside it: `maps` of a fix, a bound or a target's track (a mapping of
            station names, or one map), `user_position` and `station_position` of an image.

    Returns:
        The axes; ``axes.figure.savefig(name)`` writes the figure.

    Raises:
        InputError: There is no figure of such a thing.
    """
    if _draw.dispatch(type(result)) is _draw.dispatch(object):
        raise InputError(f"there is no figure of a {type(result).__name__}")
    if isinstance(beside.get("maps"), ChannelMap):
        beside["maps"] = {beside["maps"].station: beside["maps"]}
    ours = axes is None
    with matplotlib.rc_context(STYLE):
        if axes is None:
            figure = Figure(figsize=(width, 0.85 * width), layout="constrained")
            solid = {"projection": "3d"} if isinstance(result, VoxelImage) else {}
            axes = figure.add_subplot(**solid)
        _draw(result, axes, **beside)
        if axes.get_legend() is None and axes.get_legend_handles_labels()[0]:
            if ours:  # below the drawing, of which it hides nothing
                columns = 3 if width > SINGLE else 2
                axes.figure.legend(loc="outside lower center", ncols=columns)
            else:
                axes.legend(loc="best")
    return axes


@functools.singledispatch
def _draw(result: Any, axes: Any) -> None:
    raise TypeError(type(result))


@_draw.register
def _(result: Fix, axes: Axes, maps: Maps | None = None) -> None:
    plot_fix(axes, result, maps or {})


@_draw.register
def _(result: Bound, axes: Axes, maps: Maps | None = None) -> None:
    plot_bound(axes, result, maps or {})


@_draw.register
def _(result: TargetTrack, axes: Axes, maps: Maps | None = None) -> None:
    plot_followed(axes, result, maps or {})


@_draw.register
def _(
    result: VoxelImage,
    axes: Any,
    user_position: Float[np.ndarray, "user 3"] | None = None,
    station_position: Float[np.ndarray, "station 3"] | None = None,
) -> None:
    plot_image(axes, result, user_position=user_position, station_position=station_position)


@_draw.register(ChannelMap)
def _(result: ChannelMap, axes: Axes) -> None:
    plot_map(axes, result)


@_draw.register(Echoes)
@_draw.register(Observations)
def _(result: Echoes | Observations, axes: Axes) -> None:
    plot_sets(axes, result)


for _kind, _function in (
    (Tracks, plot_tracks), (Reports, plot_reports), (Paths, plot_paths),
    (ChannelRealization, plot_channel),
):  # fmt: skip
    _draw.register(_kind, lambda result, axes, function=_function: function(axes, result))
