"""A walk as a film: user with its ellipse, anchors, bounce points, and the power-delay profile.

Takes `Tracks`, the observations they came from and, for bounce points and walls, a mesh.
Gives `Film`, written as one HTML file that needs nothing else, and as MP4 or GIF.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from echoscape.plotting.fixes import ninety
from echoscape.plotting.style import STYLE
from echoscape.propagation.ray_cast import BoxTree
from echoscape.reports import Observations
from echoscape.scene.mesh import Mesh
from echoscape.tracking import Tracks, TrackStatus, paths_of
from echoscape.tracking.anchor import AnchorType
from echoscape.tracking.bounce import one_wall_bounce, seen_points

FRAMES = 240
"""Most frames of a film."""
_WALLS = 20_000  # most lines of a map
_COLOURS = {"user": "#0072B2", "anchor": "#CC79A7", "bounce": "#009E73", "scatterer": "#E69F00"}
_RANGE = 40.0  # of the power-delay profile [dB]


@dataclasses.dataclass(frozen=True)
class Film:
    """What is shown: plain numbers, metres and nanoseconds."""

    station: list[float]
    """The station, x and y [m]."""
    view: list[float]
    """Lowest x and y, highest x and y of the map [m]."""
    walls: list[list[float]]
    """Walls from above, a line each: x, y, x, y [m]."""
    track: list[list[float]]
    """Where the user was at every frame [m]."""
    frames: list[dict[str, Any]]
    """For each frame `time` [s], `user`, `ellipse` (half axes [m], angle [rad]), `status`, the
    points `anchor`, `bounce` and `scatterer` [m], and `profile`: delay [ns] and power [dB]."""
    delay: list[float]
    """Shortest and longest delay that is shown [ns]."""


def make_film(
    tracks: Tracks,
    observations: Observations,
    tree: BoxTree | None = None,
    mesh: Mesh | None = None,
    frames: int | None = None,
) -> Film:
    """Choose instants evenly, and collect what is seen at each.

    Args:
        tracks: What was followed.
        observations: What it was followed from.
        tree: Walls, for the last bounce of every path; without, those of one wall are shown.
        mesh: The same walls, to be drawn.
        frames: Most frames; `FRAMES` if not given.
    """
    record = tracks.record
    count = FRAMES if frames is None else frames
    chosen = np.unique(np.linspace(0, len(tracks.time) - 1, count).astype(int))
    user, anchor = np.asarray(record.user), np.asarray(record.anchor)
    kind = np.asarray(record.kind)
    confirmed = tracks.status >= TrackStatus.TRACKED
    shown = np.zeros_like(confirmed)
    shown[chosen] = confirmed[chosen]
    instant, slot = np.nonzero(shown & (kind != AnchorType.STATION))
    points = anchor[instant, slot]
    scattered = kind[instant, slot] == AnchorType.SCATTERER
    if tree is not None and tracks.first is None:
        path = paths_of(tracks)[instant, slot]
        bounce = seen_points(tree, user[instant, :3], path[:, 1], path[:, 2])
    else:
        bounce = one_wall_bounce(user[instant, :3], points, tracks.station)
        single = (kind[instant, slot] == AnchorType.ONE_WALL) & (
            np.asarray(record.vertical_reflection)[instant, slot] > 0
        )
        bounce[~single] = np.nan
    low = np.minimum(user[:, :2].min(axis=0), tracks.station[:2])
    high = np.maximum(user[:, :2].max(axis=0), tracks.station[:2])
    centre, half = 0.5 * (low + high), 0.75 * max(*(high - low), 20.0)
    view = np.concatenate([centre - half, centre + half])
    estimates = observations.estimates
    delay, power = 1e9 * np.asarray(estimates.delay), np.asarray(estimates.power)
    valid = np.asarray(estimates.valid) & (power > 0)
    strongest = 10 * np.log10(power[valid].max()) if valid.any() else 0.0
    length, width, angle = ninety(np.asarray(record.user_covariance))
    half_axes = 0.5 * np.stack([length, width], axis=1)

    def spelt(values: np.ndarray) -> list[list[float]]:
        values = values[np.isfinite(values).all(axis=1)]
        inside = np.all((values[:, :2] > view[:2]) & (values[:, :2] < view[2:]), axis=1)
        return np.round(values[inside][:, :2], 2).tolist()

    taken = []
    for k in chosen:
        mine = instant == k
        level = 10 * np.log10(power[k][valid[k]]) - strongest
        profile = np.stack([delay[k][valid[k]], np.maximum(level, -_RANGE)], axis=1)
        taken.append(
            {
                "time": round(float(tracks.time[k]), 3),
                "user": np.round(user[k, :2], 3).tolist(),
                "ellipse": [*np.round(half_axes[k], 3).tolist(), round(float(angle[k]), 4)],
                "status": int(tracks.user_status[k]),
                "anchor": spelt(points[mine & ~scattered]),
                "bounce": spelt(bounce[mine & ~scattered]),
                "scatterer": spelt(points[mine & scattered]),
                "profile": np.round(profile, 2).tolist(),
            }
        )
    seen = delay[valid] if valid.any() else np.array([0.0, 1.0])
    return Film(
        station=np.round(tracks.station[:2], 2).tolist(),
        view=np.round(view, 2).tolist(),
        walls=[] if mesh is None else _walls(mesh, view),
        track=np.round(user[chosen, :2], 3).tolist(),
        frames=taken,
        delay=[0.0, round(float(np.quantile(seen, 0.999)), 1)],
    )


def _walls(mesh: Mesh, view: np.ndarray) -> list[list[float]]:
    """See upright triangles from above: each is a line, and many are the same."""
    corner = mesh.triangle[np.abs(mesh.normal[:, 2]) < 0.1][:, :, :2]
    pairs = corner[:, [0, 1, 2]] - corner[:, [1, 2, 0]]
    longest = np.argmax(np.sum(pairs**2, axis=2), axis=1)
    row = np.arange(len(corner))
    line = np.concatenate([corner[row, longest], corner[row, (longest + 1) % 3]], axis=1)
    line = np.where(line[:, [0]] > line[:, [2]], line[:, [2, 3, 0, 1]], line)
    inside = np.all((line[:, :2] < view[2:]) & (line[:, 2:] > view[:2]), axis=1)
    return np.unique(np.round(line[inside], 1), axis=0)[:_WALLS].tolist()


def write_html(film: Film, path: Path) -> None:
    """Write a film as one file with its own player, which loads nothing from anywhere."""
    template = Path(__file__).with_name("animation.html").read_text(encoding="utf-8")
    data = json.dumps(dataclasses.asdict(film), separators=(",", ":"))
    text = template.replace("__COLOURS__", json.dumps(_COLOURS)).replace("__FILM__", data)
    path.write_text(text, encoding="utf-8")


def write_film(film: Film, folder: Path, rate: int = 12) -> Path:
    """Write a film as ``route.mp4`` where ffmpeg is installed, else as ``route.gif``."""
    figure, update = _stage(film)
    with matplotlib.rc_context(STYLE):
        moving = FuncAnimation(figure, update, frames=len(film.frames), blit=False)
        if shutil.which("ffmpeg"):
            path, writer = folder / "route.mp4", FFMpegWriter(fps=rate, bitrate=1200)
        else:
            path, writer = folder / "route.gif", PillowWriter(fps=rate)
        moving.save(path, writer=writer, dpi=80)
    return path


def draw_frame(film: Film, number: int) -> Figure:
    """Draw one frame as it stands in the film."""
    figure, update = _stage(film)
    update(number)
    return figure


def _stage(film: Film):
    """Set the scene, and give what moves it."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 6.0), layout="constrained")
        place, profile = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        low_x, low_y, high_x, high_y = film.view
        lines = [((a, b), (c, d)) for a, b, c, d in film.walls]
        place.add_collection(LineCollection(lines, colors="#999999", linewidths=0.6))
        place.plot(*np.array(film.track).T, color=_COLOURS["user"], lw=0.8, alpha=0.4)
        place.plot(*film.station, "^", ms=9, color="black", ls="", label="base station")
        marks = {"anchor": "x", "bounce": ".", "scatterer": "s"}
        words = {"anchor": "anchors", "bounce": "bounces", "scatterer": "scatterers"}
        moving = {
            name: place.plot([], [], mark, ms=5, color=_COLOURS[name], label=words[name])[0]
            for name, mark in marks.items()
        }
        user = place.plot(
            [], [], "o", ms=5, color=_COLOURS["user"], mec="white", label="user, 90 %"
        )[0]
        ellipse = Ellipse((0, 0), 0, 0, facecolor=_COLOURS["user"], alpha=0.3)
        place.add_patch(ellipse)
        place.set(xlim=(low_x, high_x), ylim=(low_y, high_y), aspect="equal")
        place.set(xlabel="x [m]", ylabel="y [m]")
        figure.legend(loc="outside lower left", ncols=5, fontsize=8)
        stems = LineCollection([], colors=_COLOURS["user"], linewidths=1.6)
        profile.add_collection(stems)
        profile.set(xlim=film.delay, ylim=(-_RANGE, 2), xlabel="delay [ns]")
        profile.set(
            ylabel="power below the strongest of the walk [dB]", title="Power-delay profile"
        )

    def update(number: int):
        frame = film.frames[number]
        for name, line in moving.items():
            points = np.array(frame[name]).reshape(-1, 2)
            line.set_data(points[:, 0], points[:, 1])
        user.set_data(*np.array(frame["user"])[:, None])
        one, two, angle = frame["ellipse"]
        ellipse.set(center=frame["user"], width=2 * one, height=2 * two, angle=np.degrees(angle))
        stems.set_segments([[(d, -_RANGE), (d, p)] for d, p in frame["profile"]])
        place.set_title(f"{frame['time']:.1f} s; 90 % ellipse {one:.2f} by {two:.2f} m")
        return [*moving.values(), user, ellipse, stems]

    return figure, update
