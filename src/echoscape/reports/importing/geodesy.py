"""Latitude, longitude and height as metres east, north and up of an origin.

Takes geographic coordinates on the ellipsoid WGS 84.
Gives the local tangent plane: exact, whatever the distance.
"""

import numpy as np
from jaxtyping import Float

from echoscape.checks import InputError

_AXIS = 6_378_137.0
"""Semi-major axis of WGS 84 [m]."""
_FLATTENING = 1 / 298.257223563
"""Flattening of WGS 84 [1]."""


def local_metres(
    place: Float[np.ndarray, "place 3"], origin: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "place 3"]:
    """Turn geographic coordinates into metres east, north and up of an origin.

    Args:
        place: Latitude and longitude [deg], height [m].
        origin: The same of the origin.

    Returns:
        Coordinates in the tangent plane; up keeps the heights' own zero [m].

    Raises:
        InputError: A latitude is beyond 90 degrees, or a longitude beyond 180.
    """
    bad = (np.abs(place[:, 0]) > 90) | (np.abs(place[:, 1]) > 180) | ~np.isfinite(place).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"latitudes must lie within 90 degrees and longitudes within 180; row {row + 1} has "
            f"{place[row, 0]:.6g}, {place[row, 1]:.6g}"
        )
    latitude, longitude = np.radians(origin[:2])
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    north = np.array([
        -np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude),
        np.cos(latitude),
    ])  # fmt: skip
    ground = np.array([*origin[:2], 0.0])
    flat = _centred(np.c_[place[:, :2], np.zeros(len(place))]) - _centred(ground[None])
    return np.stack([flat @ east, flat @ north, place[:, 2]], axis=1)


def _centred(place: np.ndarray) -> np.ndarray:
    """Turn geographic into Earth-centred coordinates [m]."""
    latitude, longitude = np.radians(place[:, 0]), np.radians(place[:, 1])
    square = _FLATTENING * (2 - _FLATTENING)
    radius = _AXIS / np.sqrt(1 - square * np.sin(latitude) ** 2)
    return np.stack([
        (radius + place[:, 2]) * np.cos(latitude) * np.cos(longitude),
        (radius + place[:, 2]) * np.cos(latitude) * np.sin(longitude),
        (radius * (1 - square) + place[:, 2]) * np.sin(latitude),
    ], axis=1)  # fmt: skip
