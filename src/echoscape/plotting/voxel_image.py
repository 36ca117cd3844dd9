"""Pictures of a voxel image: where things stand in space, and level by level.

Takes a `VoxelImage` and where users and stations were.
Gives two files: the scene in three dimensions, and slices along z.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from echoscape.imaging import VoxelImage
from echoscape.plotting.saving import write_figure
from echoscape.plotting.style import ORANGE

LARGEST_SLICES = 12
"""More levels than this are thinned out."""


def draw_image(
    image: VoxelImage,
    path: str | Path,
    *,
    user_position: Float[np.ndarray, "user 3"],
    station_position: Float[np.ndarray, "station 3"],
) -> None:
    """Draw occupied voxels in space, coloured by coefficient, with users and stations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.add_subplot(projection="3d")
    plot_image(axes, image, user_position=user_position, station_position=station_position)
    write_figure(figure, path)


def plot_image(
    axes: Any,
    image: VoxelImage,
    *,
    user_position: Float[np.ndarray, "user 3"] | None = None,
    station_position: Float[np.ndarray, "station 3"] | None = None,
) -> None:
    """Draw the same on axes in three dimensions.

    Args:
        axes: Where.
        image: The image.
        user_position: Where the users were [m].
        station_position: Where the stations are [m].
    """
    from matplotlib.ticker import MaxNLocator

    grid = image.grid
    index = np.flatnonzero(image.occupied())
    place, value = grid.centre_of(index), np.abs(image.mean.ravel()[index])
    size: Any = max(18 * (16 / max(grid.shape)) ** 2, 4.0)  # smaller cannot be seen
    drawn = axes.scatter(*place.T, c=value, s=size, marker="s", cmap="viridis", vmin=0)
    if user_position is not None:
        axes.scatter(*user_position.T, marker="o", s=14, color=ORANGE, label="users")
    if station_position is not None:
        axes.scatter(*station_position.T, marker="^", s=40, color="black", label="stations")
    axes.figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.12, label="scattering coefficient")
    _box(axes, np.asarray(grid.origin), np.asarray(grid.upper))
    axes.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")
    axes.zaxis.set_major_locator(MaxNLocator(4))
    axes.set_aspect("equal")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", frameon=False)
    holds = "holds" if image.certificate.holds else "does not hold"
    axes.set_title(f"{len(index)} occupied voxels; the certificate {holds}", fontsize=10)


def draw_slices(image: VoxelImage, path: str | Path) -> None:
    """Draw every level along z: coefficients, and in grey what nobody sees."""
    from matplotlib.figure import Figure

    grid = image.grid
    levels = np.unique(
        np.linspace(0, grid.shape[2] - 1, min(grid.shape[2], LARGEST_SLICES)).round().astype(int)
    )
    columns = min(4, len(levels))
    rows = -(-len(levels) // columns)
    figure = Figure(figsize=(2.3 * columns + 0.8, 2.3 * rows + 0.3), layout="constrained")
    every = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    extent = (grid.origin[0], grid.upper[0], grid.origin[1], grid.upper[1])
    value = np.where(image.occupied(), np.abs(image.mean), np.nan)
    top = np.nanmax(value) if np.isfinite(value).any() else 1.0
    drawn = None
    for axes, level in zip(every.ravel(), levels, strict=False):
        hidden = np.where(image.unseen[:, :, level], 1.0, np.nan)
        common = {"origin": "lower", "extent": extent, "interpolation": "nearest"}
        axes.imshow(hidden.T, cmap="Greys", vmin=0, vmax=2.5, **common)
        drawn = axes.imshow(value[:, :, level].T, cmap="viridis", vmin=0, vmax=top, **common)
        height = grid.origin[2] + grid.edge * (level + 0.5)
        axes.set_title(f"z = {height:g} m", fontsize=9)
    for axes in every.ravel()[len(levels) :]:
        axes.set_axis_off()
    for axes in every[-1]:
        axes.set_xlabel("x [m]")
    for axes in every[:, 0]:
        axes.set_ylabel("y [m]")
    if drawn is not None:
        figure.colorbar(drawn, ax=every, shrink=0.8, label="coefficient (grey: unseen)")
    write_figure(figure, path)


def _box(axes, low: np.ndarray, high: np.ndarray) -> None:
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    for a in range(8):
        for b in range(a):
            if np.abs(corners[a] - corners[b]).sum() == 1:
                ends = np.stack([np.where(corners[i], high, low) for i in (a, b)])
                axes.plot(*ends.T, color="0.7", linewidth=0.6)
