"""From results to one scene: what is given is shown, together with what follows from it.

Takes maps, reports, fixes, echoes, tracks, an image, a bound, a site and a mesh, each or none.
Gives a `ViewerScene`, and what the maps predict at a place.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.communication.at_place import forecast_at
from echoscape.imaging.voxel_image import VoxelImage
from echoscape.propagation.ray_cast import build_tree
from echoscape.reports import Echoes, Reports
from echoscape.scene import Site, beam_direction
from echoscape.scene.direction import unit_vector
from echoscape.scene.mesh import Mesh
from echoscape.units import length_of
from echoscape.viewer import layers
from echoscape.viewer.echo_lines import echo_lines
from echoscape.viewer.folded import fold
from echoscape.viewer.scene import PlaceMark, ViewerScene, flat

_PLACES = 100  # places of a page without a server


@dataclasses.dataclass(frozen=True)
class Results:
    """What is to be shown; every part may be missing."""

    maps: Mapping[str, ChannelMap] = dataclasses.field(default_factory=dict)
    """Maps by station."""
    reports: Reports | None = None
    """Users' reports."""
    fixes: Mapping[str, np.ndarray] | None = None
    """Columns of fixes."""
    echoes: Echoes | None = None
    """Echoes that the fixes were made of."""
    tracks: Sequence[Mapping[str, np.ndarray]] = ()
    """Columns of tracks, followed targets or the user, a table each."""
    image: VoxelImage | None = None
    """An image."""
    bound: Mapping[str, np.ndarray] | None = None
    """Columns of a bound."""
    site: Site | None = None
    """The site: stations with their arrays."""
    mesh: Mesh | None = None
    """Buildings and ground."""


class Place:
    """Answers what the maps predict at a place, with the corners of every path."""

    def __init__(self, results: Results):
        """Prepare to answer.

        Args:
            results: Maps, and the mesh that their paths are folded at.
        """
        self._maps = results.maps
        mesh = results.mesh
        self._walls = None if mesh is None else (mesh, build_tree(mesh))
        site = results.site
        self._arrays = {} if site is None else dict(zip(site.station, site.array))

    def __call__(self, position: Float[np.ndarray, "3"]) -> PlaceMark:
        """Ask the maps.

        Args:
            position: The place [m].
        """
        forecast = forecast_at(self._maps, position, arrays=self._arrays)
        lines, exact = [], []
        for path in forecast.paths:
            station = np.asarray(self._maps[path.station].station_position, float)
            angles = (path.departure_azimuth, path.departure_zenith)
            ahead = np.asarray(unit_vector(*(jnp.asarray(angle) for angle in angles)))
            line, real = fold(station, ahead, float(length_of(path.delay)), position, self._walls)
            lines.append(flat(line, 2))
            exact.append(bool(real))
        ways = [beam_direction(self._arrays[beam.station], beam.beam) for beam in forecast.beams]
        beams = [flat(way, 4) if np.isfinite(way).all() else [] for way in ways]
        return PlaceMark(forecast, lines, exact, beams)


def make_scene(results: Results, title: str, place: Place, *, live: bool = False) -> ViewerScene:
    """Lay everything out.

    Args:
        results: What is to be shown.
        title: What it is called.
        place: Answers what the maps predict.
        live: Whether a server will answer for any place; else some places stand in the scene.

    Raises:
        InputError: There is nothing to show, or echoes come without what they are drawn by.
    """
    if results.echoes is not None and (results.fixes is None or not results.maps):
        raise InputError(
            "echoes are drawn through the places of fixes along the paths of a map: give the map "
            "and --fixes too"
        )
    maps, reports = results.maps, results.reports
    fixes = () if results.fixes is None else layers.fix_marks(results.fixes)
    lines = () if results.echoes is None else echo_lines(results.echoes, fixes, maps, place)
    tracks = tuple(line for table in results.tracks for line in layers.track_lines(table))
    users = _users(results)
    lower, upper = _extent(results, users, fixes, tracks)
    scene = ViewerScene(
        title=title, lower=flat(lower, 2), upper=flat(upper, 2),
        ground=float(np.median(users[:, 2])) if len(users) else float(lower[2]),
        mesh=None if results.mesh is None else layers.triangles(results.mesh),
        walls=() if results.mesh is not None else _each(layers.wall_marks, maps),
        stations=layers.station_marks(maps, reports, results.site),
        reports=None if reports is None else layers.report_marks(reports),
        points=_each(layers.point_marks, maps), fixes=fixes, echoes=lines, tracks=tracks,
        voxels=None if results.image is None else layers.voxel_marks(results.image),
        bound=None if results.bound is None else layers.heat_map(results.bound),
        live=live and bool(maps),
    )  # fmt: skip
    if live or not maps:
        return scene
    chosen = users[np.unique(np.linspace(0, len(users) - 1, _PLACES).astype(int))]
    return dataclasses.replace(scene, places=tuple(place(each) for each in chosen))


def _each(draw, maps):
    return tuple(mark for each in maps.values() for mark in draw(each))


def _users(results: Results) -> Float[np.ndarray, "user 3"]:
    """Collect where users were."""
    parts = [np.asarray(each.report_position, float) for each in results.maps.values()]
    if results.reports is not None:
        parts.append(np.asarray(results.reports.position, float))
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _extent(results: Results, users, fixes, tracks):
    """Find what to look at first: a mesh and users; images of stations lie far outside."""
    parts = [users, np.array([fix.position for fix in fixes]).reshape(-1, 3)]
    parts += [np.array(line.position).reshape(-1, 3) for line in tracks if line.kind == "user"]
    parts += [np.asarray(each.station_position, float)[None] for each in results.maps.values()]
    if results.site is not None:
        parts.append(np.asarray(results.site.station_position, float))
    if results.mesh is not None:
        parts.append(results.mesh.vertex)
    if results.image is not None:
        grid = results.image.grid
        parts.append(np.array([grid.origin, grid.upper]))
    if results.bound is not None:
        parts.append(np.stack([results.bound[axis] for axis in "xyz"], axis=1))
    if not any(len(part) for part in parts):
        parts += [np.array(line.position).reshape(-1, 3) for line in tracks]
    every = np.concatenate(parts)
    if not len(every):
        raise InputError("there is nothing to show: give a map, or a file by one of the options")
    lower, upper = every.min(axis=0), every.max(axis=0)
    return lower, np.maximum(upper, lower + 1.0)
