"""Retrace reported paths between the walls of a map, to draw where they went.

A report tells the departure and the length of a path, not its bounces.  In a city the walls are
upright, so a path that only reflects is, seen from above, a straight line folded at the walls: it
is followed from the station with its horizontal length and kept if it ends where the user is.

Takes walls as segments seen from above, and departures.
Gives the corners of paths, and where the mirrored station of each appears to be.
"""

import numpy as np
from jaxtyping import Float

from echoscape.units import length_of

Walls = Float[np.ndarray, "wall end 2"]
Corners = Float[np.ndarray, "corner 2"]


def horizontal_length(delay: float, zenith: float) -> float:
    """Measure a reflected path from above: its slope is the same on every leg [m]."""
    return float(length_of(delay) * np.sin(zenith))


def retrace(
    walls: Walls, start: Float[np.ndarray, "2"], azimuth: float, length: float, most: int = 8
) -> Corners:
    """Follow a ray from wall to wall for a length.

    Args:
        walls: Segments, any order [m].
        start: Where the ray leaves [m].
        azimuth: Where it leaves to [rad].
        length: How long it is [m].
        most: Bounces after which it goes straight on.

    Returns:
        Start, bounces and end [m].
    """
    place = np.asarray(start, dtype=float)
    ahead = np.array([np.cos(azimuth), np.sin(azimuth)])
    corners = [place]
    along = np.asarray(walls[:, 1] - walls[:, 0], dtype=float)
    for _ in range(most):
        away = walls[:, 0] - place
        crossing = ahead[0] * along[:, 1] - ahead[1] * along[:, 0]
        crossing = np.where(np.abs(crossing) < 1e-12, np.inf, crossing)  # parallel: never
        distance = (away[:, 0] * along[:, 1] - away[:, 1] * along[:, 0]) / crossing
        share = (away[:, 0] * ahead[1] - away[:, 1] * ahead[0]) / crossing
        inside = (share >= 0) & (share <= 1)
        # A millimetre on: a ray does not meet again the wall that it just left.
        meets = inside & np.isfinite(crossing) & (distance > 1e-3) & (distance < length)
        if not meets.any():
            break
        wall = int(np.where(meets, distance, np.inf).argmin())
        place = place + distance[wall] * ahead
        length -= distance[wall]
        corners.append(place)
        normal = np.array([along[wall, 1], -along[wall, 0]]) / np.linalg.norm(along[wall])
        ahead = ahead - 2 * (ahead @ normal) * normal
    return np.array([*corners, place + length * ahead])


def mirrored_station(corners: Corners) -> Float[np.ndarray, "2"]:
    """Place the station's image: as far behind the last bounce as the path is long [m]."""
    legs = np.diff(corners, axis=0)
    length = np.linalg.norm(legs, axis=1)
    return corners[-1] - length.sum() * legs[-1] / length[-1]
