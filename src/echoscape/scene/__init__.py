"""What exists: sites with their arrays, directions, static points (virtual anchors, scatterers).

Takes a description written by a person, or what later stages learnt of the environment.
Gives a `Site`, the arrays that look at it, and `StaticPoints`.
"""

from echoscape.scene.antenna import (
    PlanarArray,
    beam_direction,
    dft_codebook,
    steering_vector,
)
from echoscape.scene.direction import (
    angles_of,
    array_rotation,
    distance,
    elevation,
    unit_vector,
)
from echoscape.scene.site import Site
from echoscape.scene.static_point_views import (
    MirrorWalls,
    image_of_station,
    image_of_user,
    mirror_walls,
    path_length,
    scatterer_position,
)
from echoscape.scene.static_points import (
    PointKind,
    StaticPoints,
    compose,
    concatenate,
    inverse,
    isometry,
    rotation_matrix,
    translate,
)

__all__ = [
    "MirrorWalls",
    "PlanarArray",
    "PointKind",
    "Site",
    "StaticPoints",
    "angles_of",
    "array_rotation",
    "beam_direction",
    "compose",
    "concatenate",
    "dft_codebook",
    "distance",
    "elevation",
    "image_of_station",
    "image_of_user",
    "inverse",
    "isometry",
    "mirror_walls",
    "path_length",
    "rotation_matrix",
    "scatterer_position",
    "steering_vector",
    "translate",
    "unit_vector",
]


def __dir__() -> list[str]:
    return sorted(__all__)
