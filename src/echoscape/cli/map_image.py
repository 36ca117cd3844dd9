"""Maps that begin with an image of the site, before or beside users' reports.

Takes an image file, a site.
Gives the image's scatterers, and maps of stations that nobody has reported of.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from echoscape.cli.console import print_warning

if TYPE_CHECKING:
    import numpy as np

    from echoscape.channel_map import ChannelMap, MapModel
    from echoscape.scene import Site, StaticPoints


class SeenPoints(NamedTuple):
    """What an image shows."""

    points: "StaticPoints"
    """Its scatterers."""
    place: "np.ndarray"
    """Places about which targets are searched: the imaged columns, at the height of the image's
    users or, where it has none, of its lowest voxels [m]."""


def points_of_image(path: Path, model: "MapModel", walls: Path | None) -> SeenPoints:
    """Read an image for a fit to begin with.

    Raises:
        InputError: The model is not of scatterers, walls are given too, or nothing is occupied.
    """
    import numpy as np

    from echoscape.channel_map import Scatterers
    from echoscape.checks import InputError
    from echoscape.imaging import read_image

    if not isinstance(model, Scatterers):
        raise InputError(
            f"an image shows scatterers, with which a map of {model.name} cannot begin; "
            "add --model scatterers"
        )
    if walls is not None:
        raise InputError("a fit begins either with --walls or with --image; leave one out")
    image = read_image(path)
    if not image.certificate.holds:
        print_warning(f"{path} cannot be trusted ({image.status}): {image.status.advice}")
    points = image.static_points()
    if not len(points):
        raise InputError(f"{path} has no occupied voxel, with which a map could begin")
    place = np.unique(image.grid.centres()[:, :2], axis=0)
    users = image.user_position
    height = image.grid.origin[2] if users is None else float(np.median(users[:, 2]))
    return SeenPoints(points, np.c_[place, np.full(len(place), float(height))])


def maps_from_image(
    seen: SeenPoints, site: "Site | None", known: tuple[str, ...]
) -> "dict[str, ChannelMap]":
    """Make maps of the stations of a site that have none from what an image shows.

    Raises:
        InputError: There is no site.
    """
    import numpy as np

    from echoscape.channel_map.scatterers.map import map_of_points
    from echoscape.checks import InputError

    if site is None:
        raise InputError(
            "a map of an image needs reports, or the station: give reports, or --site FILE"
        )
    return {
        name: map_of_points(seen.points, name, np.asarray(position), seen.place)
        for name, position in zip(site.station, site.station_position)
        if name not in known
    }
