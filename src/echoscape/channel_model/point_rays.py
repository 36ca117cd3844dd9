"""The rays of a channel from static points alone: a map, a site or tracks, without observations.

Takes `StaticPoints` with gains, and the station.
Gives a `RaySet`, constant over time.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from echoscape.channel_model.ray import RaySet
from echoscape.checks import InputError
from echoscape.scene.static_points import PointKind, StaticPoints
from echoscape.tracking.map_start import known_points


def has_rays(points: StaticPoints) -> Bool[np.ndarray, " point"]:
    """Tell which points have a ray wherever the user is: virtual anchors and scatterers."""
    usable = np.isin(points.kind, (int(PointKind.VIRTUAL_ANCHOR), int(PointKind.SCATTERER)))
    return usable if points.valid is None else usable & np.asarray(points.valid)


def rays_from_points(
    points: StaticPoints,
    station: Float[np.ndarray, "3"],
    between: tuple[float, float],
    default_gain: float | None = None,
) -> RaySet:
    """Make rays of static points, all of them present between two times.

    Args:
        points: Virtual anchors and scatterers; others are left out.
        station: Position of the station [m].
        between: First and last time [s].
        default_gain: Power times squared length of points without `StaticPoints.log_gain` [m^2].

    Raises:
        InputError: A point has no gain, and there is none by default.
    """
    gain = np.full(len(points), np.nan) if points.log_gain is None else np.asarray(points.log_gain)
    if default_gain is not None:
        gain = np.where(np.isfinite(gain), gain, np.log(default_gain))
    usable = has_rays(points)
    gain = gain[usable]
    if not np.isfinite(gain).all():
        raise InputError(
            f"a channel needs the gain of every static point, and {np.sum(~np.isfinite(gain))} of "
            f"{len(gain)} have none; give log_gain or default_gain"
        )
    known = known_points(points, np.asarray(station, float))
    gain_db = jnp.asarray(np.tile(10 / np.log(10) * gain, (2, 1)))
    return RaySet(
        station=jnp.asarray(station, float),
        point=known.coordinate[:, :3],
        scattered=jnp.asarray(np.asarray(points.kind)[usable] == PointKind.SCATTERER),
        rotation=known.coordinate[:, 3],
        reflection=known.reflection,
        vertical_reflection=known.vertical_reflection,
        time=jnp.asarray(between),
        gain_db=gain_db,
        presence=jnp.ones_like(gain_db),
    )
