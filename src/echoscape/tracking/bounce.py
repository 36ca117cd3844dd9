"""Where on a wall a path was reflected, when its image in one wall is known.

Takes positions of user, image and station.
Gives bounce points.
"""

import numpy as np
from jaxtyping import Float


def one_wall_bounce(
    user: Float[np.ndarray, "path 3"],
    image: Float[np.ndarray, "path 3"],
    station: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "path 3"]:
    """Cut the ray from the user to the image with the plane halfway between station and image.

    Args:
        user: Where the paths arrive [m].
        image: The station mirrored in one wall [m].
        station: The station [m].

    Returns:
        The point of reflection; NaN where the ray runs along the wall [m].
    """
    normal = image - station
    toward = image - user
    along = np.sum(toward * normal, axis=-1, keepdims=True)
    reach = np.sum((0.5 * (image + station) - user) * normal, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        point = user + reach / along * toward
    return np.where(np.isfinite(point).all(axis=-1, keepdims=True), point, np.nan)
