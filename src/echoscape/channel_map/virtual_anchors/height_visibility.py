"""Who is seen above the street: visibility at heights that no report was made at.

Reports at street level tell in which window of azimuths, seen from a point's virtual anchor, its
walls reflect; upright walls reflect in the same window at every height.  What ends a path in the
plane, a building in its way, ends it only below the roof; and a path that bounces above the roof
line meets no wall.  Neither roof is observed from the street, so both are random, by a prior of
the roofs of a city: the probability of a path falls with the height of its bounce, and rises with
the height at which it passes what shadows the street.

Takes the reports that hold each point.
Gives a `HeightVisibility`, which turns visibility at street level into that at any height.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.channel_map.storage import storable
from echoscape.channel_map.visibility import NOT_REPORTED
from echoscape.estimation import AnyArray
from echoscape.scene import PointKind, StaticPoints, image_of_station

_BINS = 48  # of a window
_FEWEST = 3  # reports that make a window
_WIDE = 4.0  # reports so near a ray tell how far it reaches [m]
_NO_WINDOW = 10.0  # gap that stands for no window [rad]
_BEYOND = 2.0  # a place so much nearer than a report is not behind it [m]
_BELOW, _ABOVE = 1.0, 2.0  # heights about the reports' at which their visibility holds [m]
_USERS = 1.5  # height of users where no reflection in the ground tells it [m]
# Prior of roofs, and how visibility falls beside a window and between reports: fitted to targets
# at 5-40 m in three parts of a city, each predicted from the other two (docs/choosing.md).
_WALL, _WALL_SPREAD = 1.12, 0.17  # height of walls met, logistic [roof heights]
_ROOF, _ROOF_SPREAD = 0.88, 0.13  # height of what stands in the way, logistic [roof heights]
_BESIDE, _BETWEEN = 1.3, 14.0  # scale outside the window, and in gaps inside it [m]
_MORE = 3.0  # variance of the number of stronger paths beyond that of known ones


@storable("height-visibility")
class HeightVisibility(eqx.Module):
    """Windows of all points in the frame of the station; nothing where a point has none."""

    source: Float[AnyArray, "point 2"]
    """Virtual anchors [m]."""
    middle: Float[AnyArray, " point"]
    """Azimuth of the window's middle from the virtual anchor [rad]."""
    half_width: Float[AnyArray, " point"]
    """Half the width of the window [rad]."""
    near: Float[AnyArray, "point bin"]
    """Range of the nearest report in each part of the window [m]."""
    far: Float[AnyArray, "point bin"]
    """Range of the farthest [m]."""
    gap: Float[AnyArray, "point bin"]
    """Angle to the next report [rad]."""
    levels: Float[AnyArray, "2"]
    """Lowest and highest of the reports, relative to the station [m]."""
    station_height: Float[AnyArray, ""]
    """Height of the station above the ground [m]."""
    roof_height: Float[AnyArray, ""]
    """Typical height of roofs above the ground [m]."""
    reported_paths: Int[AnyArray, ""]
    """Strongest paths that a receiver reports."""

    def at_street(self, height: Float[AnyArray, "*place"]) -> Bool[AnyArray, "*place"]:
        """Whether visibility at the reports' own heights holds at heights above the station [m]."""
        levels = self.levels
        if not isinstance(height, np.ndarray):  # a host's array needs no compiled step
            levels = jnp.asarray(levels, height.dtype)
        return (height >= levels[0] - _BELOW) & (height <= levels[1] + _ABOVE)

    def presence(
        self, points: StaticPoints, place: Float[Array, "3"], street: Float[Array, " point"]
    ) -> Float[Array, " point"]:
        """Predict the probability that each point's path exists at a place.

        Args:
            points: The points, in the frame of the station.
            place: Where, in the same frame [m].
            street: Probability that it is reported at street level below.
        """
        dtype = place.dtype
        half, roof, station = (
            jnp.asarray(x, dtype) for x in (self.half_width, self.roof_height, self.station_height)
        )
        ray = place[None, :2] - jnp.asarray(self.source, dtype)
        reach = jnp.sqrt(jnp.sum(ray**2, axis=-1) + 1e-9)
        aside = jnp.arctan2(ray[:, 1], ray[:, 0]) - jnp.asarray(self.middle, dtype)
        aside = aside - 2 * jnp.pi * jnp.round(aside / (2 * jnp.pi))
        bins = self.near.shape[1]
        part = jnp.floor(0.5 * bins * (1.0 + aside / half)).astype(int)
        row, part = jnp.arange(len(half)), jnp.clip(part, 0, bins - 1)
        near, far, gap = (jnp.asarray(x, dtype)[row, part] for x in (self.near, self.far, self.gap))
        outside = jnp.maximum(jnp.abs(aside) - half, 0.0) * reach
        window = jnp.exp(-outside / _BESIDE - gap * reach / _BETWEEN)
        image = jnp.asarray(points.vertical_reflection, dtype) * place[2]
        image = image + jnp.asarray(points.height_offset, dtype)
        above = lambda share: jnp.abs(station + image * jnp.minimum(share, 1.0))  # noqa: E731
        bounce = above(near / reach)
        behind = jnp.where(reach + _BEYOND > far, far, near)
        passed = above(jnp.where(reach + _BEYOND > near, behind / reach, 1.0))
        wall = jax.nn.sigmoid((_WALL * roof - bounce) / (_WALL_SPREAD * roof))
        clear = jax.nn.sigmoid((passed - _ROOF * roof) / (_ROOF_SPREAD * roof))
        return wall * (street + (1.0 - street) * window * clear)

    def among_strongest(
        self, present: Float[Array, " slot"], log_power: Float[Array, " slot"]
    ) -> Float[Array, " slot"]:
        """Turn the probability that paths exist into that of being among the strongest."""
        stronger = (log_power[None] > log_power[:, None]).astype(present.dtype)
        mean, variance = stronger @ present, stronger @ (present * (1.0 - present))
        free = (jnp.asarray(self.reported_paths, present.dtype) - 0.5 - mean) / jnp.sqrt(
            variance + _MORE
        )
        return present * jax.scipy.stats.norm.cdf(free)


def learn_heights(
    points: StaticPoints, place: Float[np.ndarray, "report 3"],
    rank: Int[np.ndarray, "report point"], *, roof_height: float, reported_paths: int,
) -> HeightVisibility:  # fmt: skip
    """Learn the windows of points from the reports that hold them.

    Args:
        points: The points, in the frame of the station.
        place: Where the reports are from, in the same frame [m].
        rank: Rank of every point in every report, `NOT_REPORTED` if it is not in it.
        roof_height: Typical height of roofs above the ground [m].
        reported_paths: Strongest paths that a receiver reports.
    """
    count = len(points)
    source = np.nan_to_num(np.asarray(image_of_station(points, np.zeros(3)))[:, :2])
    middle, half = np.zeros(count), np.full(count, 1e-3)
    near, far = np.zeros((count, _BINS)), np.zeros((count, _BINS))
    gap = np.full((count, _BINS), _NO_WINDOW)
    listed = rank < NOT_REPORTED
    moves = np.asarray(points.kind) == PointKind.VIRTUAL_ANCHOR
    for k in np.flatnonzero(moves & (listed.sum(axis=0) >= _FEWEST)):
        ray = place[listed[:, k], :2] - source[k]
        reach, unit = np.linalg.norm(ray, axis=1), np.arctan2(ray[:, 1], ray[:, 0])
        mean = ray.mean(axis=0)
        turn = np.angle(np.exp(1j * (unit - np.arctan2(mean[1], mean[0]))))
        middle[k] = np.arctan2(mean[1], mean[0]) + 0.5 * (turn.min() + turn.max())
        half[k] = max(0.5 * np.ptp(turn), 1e-3)
        centre = half[k] * ((np.arange(_BINS) + 0.5) * 2 / _BINS - 1)
        turn = turn - 0.5 * (turn.min() + turn.max())
        apart = np.abs(turn[None] - centre[:, None])
        gap[k] = np.maximum(apart.min(axis=1) - half[k] / _BINS, 0.0)
        second = np.sort(apart, axis=1)[:, 1]
        beside = apart <= np.maximum(_WIDE / np.median(reach), second)[:, None]
        near[k] = np.where(beside, reach, np.inf).min(axis=1)
        far[k] = np.where(beside, reach, -np.inf).max(axis=1)
    levels = np.array([place[:, 2].min(), place[:, 2].max()])
    mirrored = moves & (np.asarray(points.vertical_reflection) < 0)
    mirrored &= listed.sum(axis=0) >= _FEWEST
    ground = levels[0] - _USERS
    if mirrored.any():
        ground = min(float(np.median(0.5 * points.height_offset[mirrored])), levels[0])
    return HeightVisibility(
        source=source, middle=middle, half_width=half, near=near, far=far, gap=gap, levels=levels,
        station_height=np.array(-ground), roof_height=np.array(roof_height),
        reported_paths=np.array(reported_paths),
    )  # fmt: skip
