"""`echoscape links`: the channels of several users to all stations of a site or of maps.

Takes a site or a folder of maps, and users: a table of their ways, or as many as are drawn.
Gives one file of all channels.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from echoscape.cli.channel import read_array
from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_table,
    progress,
    use_double_precision,
)
from echoscape.cli.options import Numbers, check_place, read_range

if TYPE_CHECKING:
    import numpy as np

    from echoscape.channel_model import Motion, RaySet
    from echoscape.scene import PlanarArray

_Positive = Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))]
_Count = Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))]
_LARGEST = 2**31  # bytes of coefficients
_NEAREST = 10.0  # of drawn users to the station [m]


def links(
    source: Path,
    /,
    *,
    out: Path,
    users: Path | None = None,
    drops: _Count | None = None,
    radius: _Positive = 100.0,
    height: _Positive = 1.5,
    speed: Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=0))] = 0.0,
    model: Literal["points", "tr38901-umi"] = "points",
    carrier: float | None = None,
    times: Numbers | None = None,
    rate: _Positive = 250.0,
    transmit: str | None = None,
    receive: str = "1x1",
    transmit_antenna: str | None = None,
    receive_antenna: str | None = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the channels of users to all stations, by way of static points or drawn by TR 38.901.

    Args:
        source: Site (.toml) or folder of maps.
        out: File to write, .npz: arrays as Sionna has them, users as receivers, stations as
            transmitters.
        users: Table of x, y, z [m] and perhaps target (the user's number), time [s] and vx, vy, vz
            [m/s]; one of --users and --drops is needed.
        drops: How many users to draw, evenly over the ground around the first station.
        radius: Farthest drawn user, level; none is nearer than 10 m [m].
        height: Height of drawn users [m].
        speed: Of drawn users, each in a direction of its own [m/s].
        model: Rays by way of the source's static points, with the line of sight of a site; or by
            the tables of TR 38.901, urban micro, with the source's geometry.
        carrier: Carrier frequency; the site's if not given [Hz].
        times: First and last time, such as 0,0.1; one sample at 0 if not given [s].
        rate: Samples per second [Hz].
        transmit: Rows and columns of every station's array; the site's, or 1x1, if not given.
        receive: Rows and columns of the users' arrays.
        transmit_antenna: Pattern and polarisation of the stations' elements, as for echoscape
            channel.
        receive_antenna: The same of the users'.
        seed: Seed of everything random; same seed, same result.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    from echoscape.checks import InputError
    from echoscape.files.npz import check_archive

    check_archive(out)
    check_place(out)
    if (users is None) == (drops is None):
        raise InputError("give one of --users, a table of their places, and --drops, their number")
    between = read_range(times, "--times", "s") or (0.0, 0.0)
    import jax
    import numpy as np

    from echoscape.channel_model.antenna_file import read_antenna
    from echoscape.channel_model.drop import draw_link
    from echoscape.channel_model.links import realize_links, write_links

    stations = read_stations(source, carrier, between)
    rng = np.random.default_rng(seed)
    count = int(np.floor((between[1] - between[0]) * rate * (1 + 1e-9))) + 1
    when = between[0] + np.arange(count) / rate
    motions = (
        read_users(users, between)
        if users is not None
        else draw_users(drops or 0, stations.position[0], radius, height, speed, between, rng)
    )
    receiving = read_array(receive, "--receive")
    sending = stations.array
    if transmit is not None:
        given = read_array(transmit, "--transmit")
        sending = [dataclasses.replace(given, azimuth=a.azimuth, tilt=a.tilt) for a in sending]
    antennas = None
    if transmit_antenna or receive_antenna:
        antennas = (
            read_antenna(transmit_antenna or "isotropic"),
            read_antenna(receive_antenna or "isotropic"),
        )
    more: dict[str, Any] = {}
    if model == "points":
        rays = [stations.rays] * len(motions)
    else:
        drawn = [
            [
                draw_link(place, np.asarray(motion.position[0]), stations.carrier, rng)
                for place in stations.position
            ]
            for motion in motions
        ]
        rays = [[link for link, _ in row] for row in drawn]
        for name in ("line_of_sight", "path_loss"):
            more[name] = np.array([[facts[name] for _, facts in row] for row in drawn])
    paths = max(each.gain_db.shape[1] for row in rays for each in row)
    pairs = 1 if antennas is None else len(antennas[0].slant) * len(antennas[1].slant)
    size = 16 * paths * count * len(motions) * pairs * receiving.elements
    size *= sum(array.elements for array in sending)
    if size > _LARGEST:
        raise InputError(
            f"these links have {size / 2**30:.1f} GiB of coefficients; take fewer users, shorter "
            "--times, a lower --rate or smaller arrays"
        )
    with progress("links", quiet) as tell:
        made = realize_links(
            rays, motions, when, stations.carrier, sending, receiving, antennas=antennas,
            key=jax.random.key(seed), progress=lambda done, total: tell(done, total, "links"),
        )  # fmt: skip
        write_links(made, out, station=stations.position, names=stations.name, more=more)
    power = np.sum(np.abs(made.coefficient) ** 2, axis=(2, 3, 4, 5))
    power = power / (count * made.coefficient.shape[3] * made.coefficient.shape[4])
    summary: dict[str, Any] = {
        "users": len(motions),
        "stations": len(stations.name),
        "samples": count,
        "paths": paths,
        "median power of a link [dB]": round(
            float(10 * np.log10(max(float(np.median(power)), 1e-300))), 2
        ),
    }
    if more:
        summary["share in sight"] = round(float(more["line_of_sight"].mean()), 3)
    if json:
        print_json(summary)
    else:
        print_table(str(out), {name: str(value) for name, value in summary.items()})


@dataclasses.dataclass
class Stations:
    """The stations of a source and their rays."""

    name: tuple[str, ...]
    """What they are called."""
    position: "np.ndarray"
    """Where they are [m]."""
    array: "list[PlanarArray]"
    """Their arrays."""
    rays: "list[RaySet]"
    """Rays of each by way of the source's static points."""
    carrier: float
    """Carrier [Hz]."""


def read_stations(source: Path, carrier: float | None, between: tuple[float, float]) -> Stations:
    """Read all stations of a site or of a folder of maps."""
    import numpy as np

    from echoscape.channel_map import load_maps
    from echoscape.channel_model import has_rays, rays_from_points
    from echoscape.channel_model.sensing import add_line_of_sight
    from echoscape.checks import InputError
    from echoscape.scene import PlanarArray, Site
    from echoscape.units import wavelength_of

    span = between[0], between[1] + 1.0
    if source.suffix == ".toml":
        site = Site.from_toml(source)
        if carrier is not None and abs(carrier / site.carrier_frequency - 1) > 1e-9:
            raise InputError(
                f"--carrier {carrier:g} Hz is not that of {source}, {site.carrier_frequency:g} Hz; "
                "leave it out"
            )
        place = np.asarray(site.station_position, float)
        points, wavelength = site.static_points(), wavelength_of(site.carrier_frequency)
        rays = [add_line_of_sight(rays_from_points(points, p, span), wavelength) for p in place]
        return Stations(site.station, place, list(site.array), rays, site.carrier_frequency)
    if carrier is None:
        raise InputError("give --carrier, in Hz, such as 28e9: only a site file has its own")
    if not 1e6 < carrier < 1e15:
        raise InputError(f"--carrier must be a frequency in Hz, such as 28e9; got {carrier:g}")
    maps = load_maps(source)
    place = np.stack([np.asarray(each.station_position, float) for each in maps.values()])
    rays = []
    for each, stand in zip(maps.values(), place):
        points = each.static_points()
        rays.append(rays_from_points(points[has_rays(points)], stand, span))
    return Stations(tuple(maps), place, [PlanarArray()] * len(maps), rays, carrier)


def read_users(path: Path, between: tuple[float, float]) -> "list[Motion]":
    """Read the users' ways, in the order of their numbers."""
    from echoscape.channel_model.target import check_gaps
    from echoscape.channel_model.target_file import read_routes

    routes = read_routes(path, "constant", {})
    for number, route in routes.items():
        check_gaps(route, *between, f"user {number}")
    return [route.motion for route in routes.values()]


def draw_users(
    count: int,
    station: "np.ndarray",
    radius: float,
    height: float,
    speed: float,
    between: tuple[float, float],
    rng: "np.random.Generator",
) -> "list[Motion]":
    """Draw users evenly over a ring of ground around a station, each on a straight way."""
    import jax.numpy as jnp
    import numpy as np

    from echoscape.channel_model import Motion
    from echoscape.checks import InputError

    if radius <= _NEAREST:
        raise InputError(f"--radius must be above {_NEAREST:g} m; got {radius:g}")
    away = np.sqrt(rng.uniform(_NEAREST**2, radius**2, count))
    bearing, heading = 2 * np.pi * rng.random((2, count))
    place = np.stack([station[0] + away * np.cos(bearing), station[1] + away * np.sin(bearing),
                      np.full(count, height)], axis=1)  # fmt: skip
    velocity = speed * np.stack([np.cos(heading), np.sin(heading), 0 * heading], axis=1)
    time = np.array([between[0], between[1] + 1.0])
    return [
        Motion(jnp.asarray(time), jnp.asarray(p + (time - time[0])[:, None] * v),
               jnp.asarray(np.stack([v, v])))
        for p, v in zip(place, velocity)
    ]  # fmt: skip
