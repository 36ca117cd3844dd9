"""Views of static points: the image of the user, the image of the station, the path, the wall.

The station sees the user's image under a point's isometry; the user sees the station's image under
the inverse.  Both are as far away as the path is long, whichever end is asked.  An isometry that
mirrors is the mirror in one line and a glide along it, so a single wall is known by its glide of
zero.

Takes `StaticPoints` and the ends of a path.
Gives positions, lengths and walls.
"""

from typing import NamedTuple

from jaxtyping import Float

from echoscape.scene.static_points import (
    AnyArray,
    PointKind,
    StaticPoints,
    inverse,
    isometry,
    library_of,
)


def image_of_user(
    points: StaticPoints, user: Float[AnyArray, "3"], station: Float[AnyArray, "3"]
) -> Float[AnyArray, "point 3"]:
    """Place the user where the station sees it: along the departure, as far as the path is long.

    Args:
        points: Static points.
        user: Position of the user [m].
        station: Position of the station [m].

    Returns:
        Positions [m].
    """
    lib = library_of(points.rotation, user)
    image = isometry(points, user)
    kind = points.kind[:, None]
    position = scatterer_position(points)
    user, station = user[None], station[None]
    out = position - station
    scattered = station + out * (1 + _norm(lib, user - position) / _norm(lib, out))
    out = points.offset - station[:, :2]
    stretch = 1 + _norm(lib, user[:, :2] - points.offset) / _norm(lib, out)
    along = lib.concatenate([station[:, :2] + out * stretch, image[:, 2:]], axis=-1)
    fixed = lib.concatenate([points.offset, image[:, 2:]], axis=-1)
    image = lib.where(kind == PointKind.SCATTERER, scattered, image)
    image = lib.where(kind == PointKind.EDGE, along, image)
    return lib.where(kind == PointKind.UNDETERMINED, fixed, image)


def image_of_station(
    points: StaticPoints, station: Float[AnyArray, "3"]
) -> Float[AnyArray, "point 3"]:
    """Place what the user sees: the virtual anchor, or the scatterer or edge itself [m].

    The height of an edge is that of the station's image; where it is UNDETERMINED, NaN.
    """
    lib = library_of(points.rotation, station)
    kind = points.kind[:, None]
    seen = isometry(inverse(points), station)
    position = scatterer_position(points)
    edge = lib.concatenate([position[:, :2], seen[:, 2:]], axis=-1)
    seen = lib.where(kind == PointKind.SCATTERER, position, seen)
    seen = lib.where(kind == PointKind.EDGE, edge, seen)
    return lib.where(kind == PointKind.UNDETERMINED, lib.nan, seen)


def path_length(
    points: StaticPoints, user: Float[AnyArray, "3"], station: Float[AnyArray, "3"]
) -> Float[AnyArray, " point"]:
    """Measure the path by way of each point [m]."""
    lib = library_of(points.rotation, user)
    return _norm(lib, image_of_user(points, user, station) - station[None])[:, 0]


def scatterer_position(points: StaticPoints) -> Float[AnyArray, "point 3"]:
    """Place scatterers: (offset, height_offset) [m]; no position for a virtual anchor."""
    lib = library_of(points.offset)
    return lib.concatenate([points.offset, points.height_offset[:, None]], axis=-1)


class MirrorWalls(NamedTuple):
    """Vertical walls behind reflected points: the planes ``normal . (x, y) = distance``."""

    normal: Float[AnyArray, "point 2"]
    """Unit normals [1]."""
    distance: Float[AnyArray, " point"]
    """Distance of the wall from the site's origin along the normal, not negative [m]."""
    glide: Float[AnyArray, " point"]
    """Shift along the wall [m]: zero for the wall of a single reflection."""


def mirror_walls(points: StaticPoints) -> MirrorWalls:
    """Find the wall of each point with `reflection` -1; NaN for the others.

    Any isometry of the plane that mirrors is the mirror in one line, and a glide along it.  One
    wall alone does not glide; three walls do, so a glide tells that there is no single wall.
    """
    lib = library_of(points.rotation)
    half = 0.5 * points.rotation
    along = lib.stack([lib.cos(half), lib.sin(half)], -1)
    normal = lib.stack([-along[:, 1], along[:, 0]], -1)
    distance = 0.5 * lib.sum(normal * points.offset, -1)
    sign = lib.where(distance < 0, -1.0, 1.0)
    mirrors = (points.reflection < 0) & (points.kind == PointKind.VIRTUAL_ANCHOR)
    only = lambda value: lib.where(mirrors, value, lib.nan)  # noqa: E731
    return MirrorWalls(
        lib.where(mirrors[:, None], sign[:, None] * normal, lib.nan),
        only(sign * distance),
        only(lib.sum(along * points.offset, -1)),
    )


def _norm(lib, vector):
    """Measure vectors, with a finite gradient at zero [m]."""
    return lib.sqrt(lib.maximum(lib.sum(vector**2, -1, keepdims=True), 1e-18))
