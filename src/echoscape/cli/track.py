"""`echoscape track`: from observations over time to anchors and the user's track.

Takes a file of observations.
Gives tables of tracks and of the user, and a figure.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import Numbers, check_deviations, check_folder, read_triple
from echoscape.tracking.filters import BouncePoints, JointFilter, KnownUser, TrackingFilter

if TYPE_CHECKING:
    import numpy as np

    from echoscape.propagation.ray_cast import BoxTree
    from echoscape.scene import StaticPoints
    from echoscape.tracking import Tracks

SAME_STATION = 1.0
"""A map's station is this near the one that is given [m]."""
Filter = Literal["joint", "anchors", "paper", "bootstrap", "rao-blackwellised", "ekf", "ukf"]


def track(
    observations: Path,
    /,
    *,
    station: Numbers,
    out: Path,
    start: Numbers | None = None,
    start_velocity: Numbers | None = None,
    map: Path | None = None,
    mesh: Path | None = None,
    echoes: Path | None = None,
    filter: Filter = "joint",
    motion: str | None = None,
    unknown: str | None = None,
    smooth: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    lag: float | None = None,
    forecast: float | None = None,
    animate: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    particles: int = 500,
    seed: Seed = 0,
    angle_std: float | None = None,
    delay_std: float | None = None,
    settings: Annotated[JointFilter | None, cyclopts.Parameter(name="*")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Follow static points and, where it is not known, the user; write tracks, user and a figure.

    Args:
        observations: Observations as .parquet or .csv.
        station: Position of the base station, such as 120.4,222.4,10 [m].
        out: Folder for tracks.parquet, user.parquet, filter.json, tracks.png and tracks.pdf.
        start: Where the user is at first [m]; the file's first known position if not given.
        start_velocity: The user's first velocity, such as 0.2,1,0 [m/s].
        map: Folder of maps; the points of the one of this station, with their errors and
            visibility, are where the filter starts: it recognises, moves and adds to them.
        mesh: Walls as .npz (vertices, faces) or .obj; gives every path's first and last bounce.
        echoes: What the station heard of its own pulse, a table of echoes or ray-traced points
            (.npz: point, range_m); with --filter paper, bootstrap, rao-blackwellised, ekf or ukf,
            first and last bounces at the start are where the paths leave to; the first instant's
            are written as start.parquet, each with its class, error and covariance.
        filter: Which filter follows: joint, over user and points; anchors, where the file knows
            the user's position at every instant; or, where it does, one of five over first and last
            bounces that move, on the associations of anchors: paper (the heaviest particle),
            bootstrap, rao-blackwellised, ekf, ukf.  These are baselines: every path carries its
            own copy of the user, which drifts, and anchors are several times closer.
        motion: How the user moves: pedestrian, vehicle, uav, or a .toml file of the acceleration
            settings below.
        unknown: What is not known exactly and estimated with the rest, such as clock,heading: the
            user's clock, the heading of the user's array, or station-heading.
        smooth: Fit user and points to the whole walk at once, so that later observations correct
            earlier positions; without, every instant rests on what came before.
        lag: With --smooth, let only observations within this long after an instant correct it, as
            a system that answers so late can; this corrects the user's motion, not the points [s].
        forecast: Go on for this long after the last observation, the user straight on and anchors
            standing still; written as forecast.parquet and forecast_user.parquet [s].
        animate: Write the walk as a film too: route.html, one file with its own player, and
            route.mp4, or route.gif where ffmpeg is not installed.
        particles: How many for paper, bootstrap and rao-blackwellised.
        seed: Seed of everything random.
        angle_std: Standard deviation of angles that the file states none for [rad].
        delay_std: Standard deviation of delays that the file states none for [s].
        settings: Settings of the joint filter.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    check_deviations(angle_std, delay_std)
    check_folder(out)
    given: dict[str, object] = {"--start": start or start_velocity, "--motion": motion}
    given |= {"--unknown": unknown, "--map": map}
    check_echoes(filter, echoes)
    check_bounces(filter, smooth, lag, forecast, particles, given)
    method = choose_filter(filter, settings or JointFilter(), motion, unknown, particles)
    station_position = read_triple(station, "--station", "m")
    assert station_position is not None  # --station is required
    start_position = read_triple(start, "--start", "m")
    velocity = read_triple(start_velocity, "--start-velocity", "m/s")
    from echoscape.files import atomic_folder
    from echoscape.files.tabular import write_columns
    from echoscape.reports import read_observations
    from echoscape.tracking import track as follow
    from echoscape.tracking import write_tracks, write_user

    points = None if map is None else read_points(map, station_position)
    tree = None if mesh is None else read_tree(mesh, station_position)
    seen = read_observations(observations, angle_std, delay_std)
    if tree is not None:
        begin = seen.user_position[:1] if start_position is None else start_position[None]
        if start_position is not None or seen.user_known[0]:
            check_outdoors(tree, begin, mesh)
    heard = begun = None
    if echoes is not None:
        from echoscape.tracking.joint_start_file import read_station_echoes, start_of, start_table

        heard = read_station_echoes(echoes, station_position, angle_std, delay_std)
        begun = start_table(*start_of(heard, seen, station_position))
    with progress(f"follow {len(seen.time)} instants", quiet) as tell:
        import jax

        found = follow(
            seen, station_position, method, start=start_position, start_velocity=velocity,
            smooth=smooth, lag=lag, points=points, tree=tree, echoes=heard,
            key=jax.random.key(seed), progress=tell,
        )  # fmt: skip
    later = None if forecast is None else go_on(found, forecast)
    from echoscape.plotting.fixes import save_figure
    from echoscape.plotting.tracks import draw_tracks

    drawing = draw_tracks(found, seen)
    film = None
    if animate:
        from echoscape.plotting.animation import make_film, write_film, write_html
        from echoscape.scene.mesh import read_mesh

        film = make_film(found, seen, tree, None if mesh is None else read_mesh(mesh))
    with atomic_folder(out, "user.parquet") as folder:
        write_tracks(found, seen, folder / "tracks.parquet", tree)
        save_figure(drawing, folder / "tracks.parquet")
        if later is not None:
            write_tracks(later, None, folder / "forecast.parquet", tree)
            write_user(later, folder / "forecast_user.parquet")
        if film is not None:
            write_html(film, folder / "route.html")
            write_film(film, folder)
        if begun is not None:
            write_columns(begun, folder / "start.parquet", "bounces at the start 1")
        (folder / "filter.json").write_text(describe_filter(method))
        write_user(found, folder / "user.parquet")
    told = summarize(found, seen.repeated)
    if tree is not None:
        out_of = count_outside(tree, found)
        if out_of:
            told["instants outside the mesh, without bounces of the map"] = out_of
    if json:
        print_json(told)
    else:
        print_table(str(out), {name: str(value) for name, value in told.items()})


def check_echoes(filter: str, echoes: Path | None) -> None:
    """Refuse a station's echoes for a filter that does not start from bounces."""
    from echoscape.checks import InputError

    if echoes is not None and filter in ("joint", "anchors"):
        raise InputError(
            f"--echoes has no effect with --filter {filter}, whose points are images and not "
            "bounces; take --filter paper, bootstrap, rao-blackwellised, ekf or ukf"
        )


def check_bounces(
    filter: str,
    smooth: bool,
    lag: float | None,
    forecast: float | None,
    particles: int,
    given: dict[str, object],
) -> None:
    """Refuse options that make no sense together, before the work and not after it."""
    from echoscape.checks import InputError

    if forecast is not None and not 0 < forecast < 1e6:
        raise InputError(f"--forecast must be above zero and below 1e6, in s; got {forecast:g}")
    if lag is not None and not smooth:
        raise InputError("--lag needs --smooth beside it; add that or leave --lag out")
    if lag is not None and not 0 < lag < 1e6:
        raise InputError(f"--lag must be above zero, in s; got {lag:g}")
    if not 2 <= particles <= 1_000_000:
        raise InputError(f"--particles must lie between 2 and 1000000; got {particles}")
    if filter in ("joint", "anchors"):
        return
    given |= {"--smooth": smooth or None, "--forecast": forecast}
    for option, value in given.items():
        if value is not None:
            raise InputError(
                f"{option} does not go with --filter {filter}, which follows moving bounce points "
                "around a user who is known; take --filter joint or anchors"
            )


def choose_filter(
    filter: Filter, settings: JointFilter, motion: str | None, unknown: str | None, particles: int
) -> TrackingFilter:
    """Make the filter of a name with its settings."""
    if motion is not None:
        settings = settings.with_motion(motion)
    if unknown is not None:
        settings = settings.with_unknown(*unknown.split(","))
    if filter == "joint":
        return settings
    if filter == "anchors":
        return KnownUser(points=settings)
    method = "extended" if filter == "ekf" else "unscented" if filter == "ukf" else filter
    return BouncePoints(method, particles)


def describe_filter(method: TrackingFilter) -> str:
    """Write a filter's name and settings as JSON."""
    import dataclasses
    import json

    fields = dataclasses.asdict(method)
    return json.dumps({"filter": type(method).__name__, **fields}, indent=1) + "\n"


def go_on(found: "Tracks", seconds: float) -> "Tracks":
    """Forecast at the steps of the observations, for as long as asked."""
    import numpy as np

    from echoscape.tracking import forecast

    step = float(np.median(np.diff(found.time))) if len(found.time) > 1 else seconds
    count = max(1, int(np.floor(seconds / step + 1e-9)))
    return forecast(found, found.time[-1] + step * np.arange(1, count + 1))


def read_points(folder: Path, station: "np.ndarray") -> "StaticPoints":
    """Read the static points of a station's map."""
    import numpy as np

    from echoscape.channel_map import load_maps
    from echoscape.checks import InputError

    maps = load_maps(folder)
    off = {n: float(np.linalg.norm(m.station_position - station)) for n, m in maps.items()}
    name = min(off, key=lambda n: off[n])
    if off[name] > SAME_STATION:
        place = ",".join(f"{value:g}" for value in np.asarray(maps[name].station_position))
        raise InputError(
            f"--map {folder} has no station within {SAME_STATION:g} m of --station; the nearest is "
            f"{name} at {place}, {off[name]:.3g} m away"
        )
    return maps[name].static_points()


def read_tree(path: Path, station: "np.ndarray") -> "BoxTree":
    """Read a mesh for casting rays; refuse one that the station is not in."""
    from echoscape.checks import InputError
    from echoscape.propagation.ray_cast import build_tree
    from echoscape.scene.mesh import read_mesh

    mesh = read_mesh(path)
    low, high = mesh.vertex.min(axis=0), mesh.vertex.max(axis=0)
    if (station[:2] < low[:2]).any() or (station[:2] > high[:2]).any():
        raise InputError(
            f"--station {station[0]:g},{station[1]:g} lies outside the mesh {path}, which spans x "
            f"{low[0]:g} to {high[0]:g} and y {low[1]:g} to {high[1]:g} m; give both in one frame"
        )
    return build_tree(mesh)


def check_outdoors(tree: "BoxTree", start: "np.ndarray", mesh: Path | None) -> None:
    """Refuse a user that starts inside a building, where nothing of the map holds."""
    import jax.numpy as jnp

    from echoscape.checks import InputError
    from echoscape.propagation.ray_cast import enclosed

    if bool(enclosed(tree, jnp.asarray(start))[0]):
        place = ",".join(f"{value:g}" for value in start[0])
        raise InputError(
            f"the user starts at {place} m, inside a building of {mesh}; give --start and the "
            "station in the frame of the mesh, or leave --mesh out"
        )


def count_outside(tree: "BoxTree", tracks: "Tracks") -> int:
    """Count the instants at which the user is beside the map, seen from above."""
    import numpy as np

    user = np.asarray(tracks.record.user)[:, :2]
    low, high = np.asarray(tree.low)[0, :2], np.asarray(tree.high)[0, :2]
    return int(np.sum(~np.all((user >= low) & (user <= high), axis=1)))


def summarize(tracks: "Tracks", repeated: int) -> dict[str, int | float]:
    """Say in a few numbers what was followed."""
    import numpy as np

    from echoscape.tracking import UserStatus

    spread = np.asarray(tracks.record.user_covariance)[:, [0, 1], [0, 1]].sum(axis=1)
    count = {
        f"user {status.name.lower()}": int(np.sum(tracks.user_status == status))
        for status in UserStatus
    }
    return {
        "instants": len(tracks.time),
        "tracks": tracks.count,
        **{name: number for name, number in count.items() if number},
        "repeated rows": repeated,
        "claimed error median [m]": round(float(np.median(np.sqrt(spread))), 3),
        "claimed error at the end [m]": round(float(np.sqrt(spread[-1])), 3),
    }
