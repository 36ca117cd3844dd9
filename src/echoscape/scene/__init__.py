"""What exists: directions, antenna arrays, base stations, scatterers, all in one TOML file.

Takes a description written by a person.
Gives a `Site`, and the arrays that look at it.
"""

from echoscape.scene.antenna import PlanarArray, beam_gains, dft_codebook, steering_vector
from echoscape.scene.direction import (
    angles_of,
    array_rotation,
    distance,
    elevation,
    seen_from_array,
    unit_vector,
)
from echoscape.scene.site import Site

__all__ = [
    "PlanarArray",
    "Site",
    "angles_of",
    "array_rotation",
    "beam_gains",
    "dft_codebook",
    "distance",
    "elevation",
    "seen_from_array",
    "steering_vector",
    "unit_vector",
]
