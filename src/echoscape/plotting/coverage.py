"""Picture of who sees what of a site at one height, before anything is sent.

Takes a `Coverage`.
Gives one file with three maps: users, stations, and what nobody sees.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from echoscape.imaging.planning import Coverage
from echoscape.plotting.saving import write_figure


def draw_coverage(
    coverage: Coverage,
    path: str | Path,
    *,
    station_position: Float[np.ndarray, "station 3"],
    height: float | None = None,
) -> None:
    """Draw expected views and the probability of being unseen; what the site occupies is grey.

    Args:
        coverage: What to draw.
        path: File .png, .pdf or .svg.
        station_position: Where the stations are [m].
        height: Of the level to draw; the middle of the grid by default [m].
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    grid = coverage.grid
    middle = 0.5 * (grid.origin[2] + grid.upper[2])
    level = int(((middle if height is None else height) - grid.origin[2]) / grid.edge)
    level = int(np.clip(level, 0, grid.shape[2] - 1))
    wide = grid.shape[0] > 1.5 * grid.shape[1]
    size, layout = ((6.4, 8.0), (3, 1)) if wide else ((11.0, 3.4), (1, 3))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(*layout, sharex=True, sharey=True)
    extent = (grid.origin[0], grid.upper[0], grid.origin[1], grid.upper[1])
    solid = coverage.occupied.reshape(grid.shape)[:, :, level]
    maps = (
        (f"of {coverage.users} users see it", coverage.user_views, "viridis", coverage.users),
        (
            f"of {len(coverage.station_hidden)} stations see it",
            coverage.station_views,
            "viridis",
            len(coverage.station_hidden),
        ),
        ("probability that nobody sees it", coverage.unseen, "magma_r", 1.0),
    )
    for panel, (words, values, colours, top) in zip(panels.ravel(), maps, strict=True):
        shown = np.where(solid, np.nan, values.reshape(grid.shape)[:, :, level])
        shades = colormaps[colours].with_extremes(bad="0.75")
        drawn = panel.imshow(
            shown.T, origin="lower", extent=extent, cmap=shades, vmin=0, vmax=top,
            interpolation="nearest",
        )  # fmt: skip
        panel.plot(*station_position[:, :2].T, "^", ms=7, color="tab:red", mec="white", mew=0.6)
        figure.colorbar(drawn, ax=panel, shrink=0.75)
        panel.set(title=words, xlabel="x [m]")
        panel.set_aspect("equal")
    panels.ravel()[0].set_ylabel("y [m]")
    at = grid.origin[2] + grid.edge * (level + 0.5)
    figure.suptitle(
        f"z = {at:g} m; {coverage.unseen_count:.0f} of {grid.voxels} voxels stay unseen; "
        "triangles: stations, grey: occupied",
        fontsize=9,
    )
    write_figure(figure, path)
