"""Where on a wall a path was reflected: from its image in one wall, or from a mesh of all walls.

Takes positions of user, image and station, or directions and a mesh.
Gives bounce points.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from echoscape.propagation.ray_cast import BoxTree, cast


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


def seen_points(
    tree: BoxTree,
    start: Float[np.ndarray, "path 3"],
    azimuth: Float[np.ndarray, " path"],
    zenith: Float[np.ndarray, " path"],
) -> Float[np.ndarray, "path 3"]:
    """Find what is seen in a direction: the first bounce from the station, the last from the user.

    Args:
        tree: The mesh.
        start: Where one epochs from [m].
        azimuth: Where to [rad].
        zenith: Where to, from +z [rad].

    Returns:
        The points; NaN where the ray leaves the mesh [m].
    """
    across = np.sin(zenith)
    ahead = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), np.cos(zenith)], axis=-1)
    away = np.asarray(cast(tree, jnp.asarray(start), jnp.asarray(ahead)).distance)
    reached = np.isfinite(away)
    point = start + np.where(reached, away, 0.0)[:, None] * ahead
    return np.where(reached[:, None], point, np.nan)
