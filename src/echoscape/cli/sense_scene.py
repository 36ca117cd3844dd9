"""What `echoscape sense` asks of its source: stations, arrays and the rays to each.

Takes a site, a folder of maps or a folder of tracks, and options.
Gives a `Scene`; times, sight of targets, and the scene without any.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from echoscape.cli.channel import read_array
from echoscape.cli.console import print_warning
from echoscape.cli.options import check_place, check_table, read_triple

if TYPE_CHECKING:
    import numpy as np
    from jax import Array

    from echoscape.channel_model import RaySet
    from echoscape.channel_model.target import Target
    from echoscape.scene import PlanarArray
    from echoscape.signals import Waveform

_ROUNDING = 1e-9  # share of a step


@dataclasses.dataclass
class Scene:
    """Two stations, perhaps the same one twice, and the static points as each meets them."""

    names: tuple[str, str]
    """Transmitting and receiving station."""
    rays: "list[RaySet]"
    """Rays of each."""
    arrays: "tuple[PlanarArray | None, PlanarArray | None]"
    """Arrays of each, where the source tells."""
    carrier: float
    """Carrier [Hz]."""
    bandwidth: float | None
    """Bandwidth, where the source tells [Hz]."""
    presence: "tuple[Callable[[np.ndarray], np.ndarray], ...] | None" = None
    """For each station, positions to the probability that each ray reaches them, where the source
    knows it; else every ray that is there reaches every place."""

    @property
    def alone(self) -> bool:
        """Whether one station does both."""
        return self.names[0] == self.names[1]


def check_outputs(
    out: Path | None, samples: Path | None, echoes: Path | None, truth: Path | None
) -> None:
    """Refuse names that nothing can be written to, before the work and not after it."""
    from echoscape.channel_model.channel_file import HDF5_SUFFIXES, check_suffix, require_hdf5
    from echoscape.checks import InputError
    from echoscape.files.archive import check_archive

    if out is not None:
        if check_suffix(out) in HDF5_SUFFIXES:
            require_hdf5()
        check_place(out)
    if samples is not None:
        check_archive(samples)
    for table, kind in ((echoes, "echoes"), (truth, "targets")):
        if table is not None:
            check_table(table, kind)
    given = [path for path in (out, samples, echoes, truth) if path is not None]
    if len(set(given)) < len(given):
        raise InputError("--out, --samples, --echoes and --truth need different names")


def choose_times(
    targets: "dict[int, Target]", between: tuple[float, float] | None, rate: float
) -> "np.ndarray":
    """Lay times over what the targets' table tells, or refuse those beyond it [s]."""
    import numpy as np

    from echoscape.channel_model.target import check_gaps, stands_still
    from echoscape.checks import InputError

    moving = [t for t in targets.values() if not stands_still(t)]
    if between is None:
        first, last = 0.0, 0.0
        if moving:
            first = max(float(t.motion.time[0]) for t in moving)
            last = min(float(t.motion.time[-1]) for t in moving)
        if last < first:
            raise InputError(
                f"no time is common to all targets: one begins at {first:g} s, another ends at "
                f"{last:g} s; give them apart"
            )
    else:
        first, last = between
    for number, target in targets.items():
        check_gaps(target, first, last, f"target {number}")
    count = int(np.floor((last - first) * rate * (1 + _ROUNDING))) + 1
    if count > 1_000_000:
        raise InputError(f"{count} instants are too many; take shorter --times or a lower --rate")
    return first + np.arange(count) / rate


def read_scene(
    source: Path,
    station: str | None,
    receiver: str | None,
    carrier: float | None,
    when: "np.ndarray",
) -> Scene:
    """Read the stations and the rays to each from a site, maps or tracks."""
    from echoscape.checks import InputError

    if carrier is not None and not 1e6 < carrier < 1e15:
        raise InputError(f"--carrier must be a frequency in Hz, such as 28e9; got {carrier:g}")
    span = float(when[0]), float(when[-1]) + 1.0
    if source.suffix == ".toml":
        return _from_site(source, station, receiver, carrier, span)
    if carrier is None:
        raise InputError("give --carrier, in Hz, such as 28e9: only a site file has its own")
    if (source / "tracks.parquet").exists():
        return _from_tracks(source, station, receiver, carrier, when)
    return _from_maps(source, station, receiver, carrier, span)


def _from_site(source, station, receiver, carrier, span) -> Scene:
    import numpy as np

    from echoscape.channel_model import rays_from_points
    from echoscape.checks import InputError
    from echoscape.scene import Site

    site = Site.from_toml(source)
    if carrier is not None and abs(carrier / site.carrier_frequency - 1) > 1e-9:
        raise InputError(
            f"--carrier {carrier:g} Hz is not that of {source}, {site.carrier_frequency:g} Hz; "
            "leave it out"
        )
    sender = 0 if station is None else site.station_index(station)
    listener = sender if receiver is None else site.station_index(receiver)
    ends = (sender, listener)
    points = site.static_points()
    rays = [rays_from_points(points, np.asarray(site.station_position[k]), span) for k in ends]
    names, arrays = site.station, site.array
    return Scene(
        (names[sender], names[listener]), rays, (arrays[sender], arrays[listener]),
        site.carrier_frequency, site.bandwidth,
    )  # fmt: skip


def _from_maps(source, station, receiver, carrier, span) -> Scene:
    import numpy as np

    from echoscape.channel_map import load_maps
    from echoscape.channel_model import has_rays, rays_from_points
    from echoscape.checks import InputError, unknown_name

    maps = load_maps(source)
    sender = next(iter(maps)) if station is None else station
    if station is None and len(maps) > 1:
        raise InputError(f"{source} holds maps of {', '.join(maps)}; say which by --station")
    listener = sender if receiver is None else receiver
    for name in (sender, listener):
        if name not in maps:
            raise unknown_name("station", name, maps)
    held = [maps[name] for name in dict.fromkeys((sender, listener))]
    rays, presence = [], []
    for each in held:
        points = each.static_points()
        usable = has_rays(points)
        if not usable.all():
            print_warning(
                f"{np.sum(~usable)} of {len(points)} points of the map of {each.station} are left "
                "out: edges, and points observed from one place only, whose rays are not known "
                "elsewhere"
            )
        stand = np.asarray(each.station_position, float)
        rays.append(rays_from_points(points[usable], stand, span))
        presence.append(lambda at, known=each, usable=usable: known.presence(at)[:, usable])
    return Scene(
        (sender, listener), [rays[k] for k in (0, -1)], (None, None), carrier, None,
        tuple(presence[k] for k in (0, -1)),
    )  # fmt: skip


def _from_tracks(source, station, receiver, carrier, when) -> Scene:
    import jax.numpy as jnp
    import numpy as np

    from echoscape.channel_model import rays_from_tracks, read_motion
    from echoscape.channel_model.sensing import move_station
    from echoscape.checks import InputError

    instants = np.asarray(read_motion(source / "user.parquet").time)
    if when[0] < instants[0] - 1e-9 or when[-1] > instants[-1] + 1e-9:
        raise InputError(
            f"--times must lie within the track, from {instants[0]:g} to {instants[-1]:g} s; got "
            f"{when[0]:g} to {when[-1]:g} s"
        )
    place = read_triple(station, "--station", "m")
    table = source / "tracks.parquet"
    rays = rays_from_tracks(table, instants, (float(when[0]), float(when[-1])), place)
    other = read_triple(receiver, "--receiver", "m")
    names = ("station", "station" if other is None else "receiver")
    both = [rays, rays if other is None else move_station(rays, jnp.asarray(other))]
    return Scene(names, both, (None, None), carrier, None)


def choose_arrays(
    scene: Scene, transmit: str | None, receive: str | None
) -> "tuple[PlanarArray, PlanarArray]":
    """Take the arrays of the options before those of the source; look as the source's do."""
    import dataclasses as dc

    from echoscape.scene import PlanarArray

    def pick(text: str | None, option: str, own: PlanarArray | None) -> PlanarArray:
        if text is None:
            return PlanarArray() if own is None else own
        found = read_array(text, option)
        if own is None:
            return found
        return dc.replace(found, azimuth=own.azimuth, tilt=own.tilt)

    first = pick(transmit, "--transmit", scene.arrays[0])
    if scene.alone and receive is None:
        return first, first
    return first, pick(receive, "--receive", scene.arrays[1])


def find_sight(
    mesh: Path, rays: "list[RaySet]", place: "np.ndarray", numbers: list[int], when: "np.ndarray"
) -> "tuple[Array, Array]":
    """Ask a mesh whether the straight way to each target is free; refuse targets inside walls.

    Returns:
        For each end, how much of each ray reaches each target at each time, 0 or 1.
    """
    import jax.numpy as jnp
    import numpy as np

    from echoscape.checks import InputError
    from echoscape.propagation.ray_cast import build_tree, cast, enclosed
    from echoscape.scene.mesh import read_mesh

    tree = build_tree(read_mesh(mesh))
    flat = jnp.asarray(place.reshape(-1, 3))
    inside = np.asarray(enclosed(tree, flat))
    if inside.any():
        k = int(np.argmax(inside))
        spot = ",".join(f"{value:g}" for value in np.asarray(flat[k]))
        raise InputError(
            f"target {numbers[k % len(numbers)]} is inside a building of {mesh} at "
            f"{when[k // len(numbers)]:g} s, at {spot} m; give targets and mesh in one frame, or "
            "leave --mesh out"
        )
    found = []
    for each in rays:
        start = jnp.broadcast_to(each.station, flat.shape)
        toward = flat - start
        away = jnp.linalg.norm(toward, axis=1)
        met = np.asarray(cast(tree, start, toward / away[:, None]).distance)
        free = (met > np.asarray(away) - 1e-3).reshape(place.shape[:2])
        direct = np.linalg.norm(np.asarray(each.point - each.station[None]), axis=1) < 1e-3
        found.append(jnp.asarray(np.where(direct[None, None], free[..., None], 1.0)))
    return found[0], found[1]


def draw_presence(scene: Scene, place: "np.ndarray", key) -> "tuple[Array, Array] | None":
    """Draw which rays reach which targets, with the probabilities that the source knows.

    Each point has one number for all places, times and targets, and its ray is there where the
    probability exceeds it: targets that stand together are reached by the same rays, and the number
    of rays at a place is the one that localization through the same map expects.

    Args:
        scene: What is sensed.
        place: Where the targets are, [time, target, 3] [m].
        key: Of the numbers.

    Returns:
        For each end, 0 or 1 for each ray at each time and target; None where all are there.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    if scene.presence is None:
        return None
    flat = np.asarray(place, float).reshape(-1, 3)
    found = []
    for probability, one in zip(scene.presence, jax.random.split(key)):
        if found and scene.alone:
            found.append(found[0])
            break
        likely = probability(flat)
        there = likely > np.asarray(jax.random.uniform(one, likely.shape[1:]))
        found.append(jnp.asarray(there.reshape(*place.shape[:2], -1), float))
    return found[0], found[1]


def make_empty(
    rays: "list[RaySet]",
    when: "np.ndarray",
    scene: Scene,
    arrays: "tuple[PlanarArray, PlanarArray]",
    waveform: "Waveform",
    with_clutter: bool,
    coupling: float | None,
    key,
) -> "np.ndarray | None":
    """Sum what is received without targets: clutter at the middle of the times, and the leak."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from echoscape.channel_model.sensing import clutter
    from echoscape.units import from_db

    if not with_clutter and coupling is None:
        return None
    shape = (arrays[1].elements, arrays[0].elements, waveform.subcarriers)
    total = np.zeros(shape, complex)
    if with_clutter:
        middle = jnp.asarray(when[len(when) // 2])
        wave, delay = clutter(rays[0], rays[1].station, middle, scene.carrier, *arrays)
        turned = np.exp(
            -2j * np.pi * np.outer(np.asarray(delay), np.asarray(waveform.frequencies()))
        )
        total += np.einsum("rsl,lk->rsk", np.asarray(wave), turned)
    if coupling is not None:
        turn = 2 * np.pi * np.asarray(jax.random.uniform(key, shape[:2]))
        total += np.sqrt(from_db(coupling)) * np.exp(1j * turn)[..., None]
    return total
