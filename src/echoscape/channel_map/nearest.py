"""The map that remembers: paths of the nearest reports, recognised from one report to the next.

Interpolating the strongest path of one report with the strongest of another mixes different
paths.  Here the paths of neighbouring reports are joined if they can be one path: their unfolded
points (see `station_reports`) lie no farther apart than the users.  While a path keeps its walls
its unfolded point is a linear function of place, so a local plane through the joined points
predicts it exactly, and the plane's own uncertainty grows with the distance from the reports.

Takes `Reports`.
Gives a `NearestMap`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.station_reports import (
    distance_to_nearest,
    reports_of_station,
    unfolded_point,
)
from echoscape.channel_map.storage import storable
from echoscape.estimation import AnyArray
from echoscape.reports import Reports
from echoscape.units import SPEED_OF_LIGHT


class NearestSettings(pydantic.BaseModel):
    """How neighbouring reports are joined."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    neighbours: int = pydantic.Field(default=12, ge=1)
    """Reports joined at a place; 1 gives the plain nearest report."""
    listed: int = pydantic.Field(default=5, ge=1)
    """Strongest paths that a receiver lists: a path's probability is that of being among them."""
    slots: int = pydantic.Field(default=10, ge=1)
    """Most paths predicted at a place."""
    tolerance: float = pydantic.Field(default=0.5, gt=0)
    """How much farther than the users the points of one path may move [m]."""
    bandwidth: float = pydantic.Field(default=0.5, gt=0)
    """Width of the neighbours' weights, in distances to the last of them."""
    model_error: float = pydantic.Field(default=0.1, gt=0)
    """Standard deviation of unfolded points about the local plane, without any other error [m]."""


@storable("nearest")
class NearestMap(ChannelMap):
    """Reports of one station, and which of their paths are one."""

    report_position: Float[AnyArray, "report 3"]
    """Where the users were [m]."""
    point: Float[AnyArray, "report path 3"]
    """Unfolded point of each path, from the station [m]."""
    precision: Float[AnyArray, "report path 3"]
    """Inverse variance of `point` along the path, in azimuth and in zenith [1/m^2]."""
    power: Float[AnyArray, "report path"]
    """Power gain, linear [1]."""
    neighbour: Int[AnyArray, "report neighbour"]
    """The reports nearest to each report, itself first."""
    member: Int[AnyArray, "report slot neighbour"]
    """Path of each neighbour that belongs to each slot; -1 where it has none."""
    width: Float[AnyArray, " report"]
    """Width of the neighbours' weights [m]."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    listed: int = eqx.field(static=True)
    """Strongest paths that a receiver lists."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        dtype = position.dtype
        offset = jnp.asarray(self.report_position, dtype) - position[None]
        here = jnp.argmin(jnp.sum(offset**2, axis=-1))
        near = jnp.asarray(self.neighbour)[here]
        member = jnp.asarray(self.member)[here]
        offset = offset[near]
        width = jnp.asarray(self.width, dtype)[here]
        distance = jnp.sum(offset**2, axis=-1)
        # Relative to the nearest, and never so small that a product of them vanishes.
        weight = jnp.exp(-jnp.minimum(0.5 * (distance - jnp.min(distance)) / width**2, 15.0))
        joined = member >= 0
        index = (near[None], jnp.maximum(member, 0))
        point = jnp.asarray(self.point, dtype)[index]
        precision = jnp.asarray(self.precision, dtype)[index]
        power = jnp.asarray(self.power, dtype)[index]

        share = weight[None] * joined
        listed = jnp.sum(share * (member < self.listed), axis=-1) / jnp.sum(weight)
        predict = jax.vmap(_predict_path, in_axes=(None, 0, 0, 0))
        azimuth, zenith, delay, covariance = predict(offset, point, precision, share)
        total = jnp.sum(share, axis=-1)
        total = jnp.where(total > 0, total, 1.0)
        prior = PathPrior(
            probability=jnp.clip(listed, 0.0, 0.98),
            departure_azimuth=azimuth,
            departure_zenith=zenith,
            delay=delay,
            covariance=covariance,
            power=jnp.sum(share * power, axis=-1) / total,
        )
        order = jnp.argsort(-prior.probability)
        return jax.tree.map(lambda leaf: leaf[order], prior)

    def support(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, " place"]:
        """Measure the horizontal distance from each position to the nearest report [m]."""
        return distance_to_nearest(position, self.report_position)


def _predict_path(
    offset: Float[Array, "neighbour 3"],
    point: Float[Array, "neighbour 3"],
    precision: Float[Array, "neighbour 3"],
    weight: Float[Array, " neighbour"],
):
    """Fit a plane to one path's unfolded points and read it at offset zero.

    The plane's slopes have a prior of mean zero and, since an unfolded point never moves farther
    than the user, unit size; so one report alone claims an error as large as its distance.
    """
    seed = point[jnp.argmax(weight)]
    frame = _frame(seed)
    local = (point - seed[None]) @ frame.T  # along the path, in azimuth, in zenith
    trust = weight[:, None] * precision
    total = jnp.sum(trust, axis=0)
    safe = jnp.where(total > 0, total, 1.0)
    mean = jnp.sum(trust * local, axis=0) / safe
    centre = (trust.T @ offset) / safe[:, None]
    away = offset[None] - centre[:, None]
    spread = jnp.einsum("na,ani,anj->aij", trust, away, away)
    inverse = _inverse(spread + 2.0 * jnp.eye(3, dtype=offset.dtype)[None])
    slope = jnp.einsum("aij,anj,na->ai", inverse, away, trust * (local - mean[None]))
    residual = local - mean[None] - jnp.einsum("ani,ai->na", away, slope)
    misfit = (2.0 + jnp.sum(trust * residual**2, axis=0)) / (2.0 + jnp.sum(weight))
    variance = 1.0 / safe + jnp.einsum("ai,aij,aj->a", centre, inverse, centre)
    here = seed + (mean - jnp.sum(slope * centre, axis=-1)) @ frame
    return _angles_and_delay(here, frame, variance * jnp.maximum(misfit, 1.0))


def _frame(direction: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Give unit vectors along a direction, in azimuth and in zenith, as rows."""
    x, y, z = direction
    level = jnp.sqrt(jnp.maximum(x**2 + y**2, 1e-6))
    length = jnp.sqrt(level**2 + z**2)
    along = direction / length
    across = jnp.stack([-y, x, jnp.zeros_like(z)]) / level
    down = jnp.stack([x * z / level, y * z / level, -level]) / length
    return jnp.stack([along, across, down])


def _angles_and_delay(
    point: Float[Array, "3"], frame: Float[Array, "3 3"], variance: Float[Array, "3"]
):
    """Turn an unfolded point with its variances along a frame into angles and a delay."""
    x, y, z = point
    level = jnp.sqrt(jnp.maximum(x**2 + y**2, 1e-6))
    length = jnp.sqrt(level**2 + z**2)
    own = _frame(point)
    scale = jnp.stack([1.0 / level, 1.0 / length, jnp.full_like(length, 1.0 / SPEED_OF_LIGHT)])
    turn = scale[:, None] * own[jnp.array([1, 2, 0])] @ frame.T
    factor = turn * jnp.sqrt(variance)[None]
    azimuth = jnp.arctan2(y, jnp.where(x**2 + y**2 > 1e-12, x, 1.0))
    return azimuth, jnp.arctan2(level, z), length / SPEED_OF_LIGHT, factor @ factor.T


def _inverse(matrix: Float[Array, "axis 3 3"]) -> Float[Array, "axis 3 3"]:
    """Invert symmetric positive 3x3 matrices by their minors: many times faster than a solver."""
    a, b, c = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 0, 2]
    d, e, f = matrix[:, 1, 1], matrix[:, 1, 2], matrix[:, 2, 2]
    rows = [
        [d * f - e * e, c * e - b * f, b * e - c * d],
        [c * e - b * f, a * f - c * c, b * c - a * e],
        [b * e - c * d, b * c - a * e, a * d - b * b],
    ]
    minors = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    determinant = a * minors[:, 0, 0] + b * minors[:, 0, 1] + c * minors[:, 0, 2]
    return minors / determinant[:, None, None]


def fit_nearest(
    reports: Reports, *, station: str | None = None, settings: NearestSettings | None = None
) -> NearestMap:
    """Join the paths of neighbouring reports of one station.

    Args:
        reports: Reports of one or several stations.
        station: Which station; may be left out if there is only one.
        settings: How to join.
    """
    settings = settings or NearestSettings()
    reports = reports_of_station(reports, station)
    paths = reports.estimates
    position = np.asarray(reports.position, dtype=float)
    count = min(settings.neighbours, len(position))
    found = KDTree(position).query(position, k=count)
    distance, neighbour = (np.reshape(item, (-1, count)) for item in found)
    point = unfolded_point(paths, np.zeros(3))
    variance = _point_variance(reports, settings.model_error)
    error = np.sqrt(np.min(np.where(paths.valid[..., None], variance, np.inf), axis=-1))
    error = np.where(paths.valid, error, 0.0)
    member = _join(position, point, error, paths.valid, neighbour, settings)
    return NearestMap(
        report_position=position,
        point=point,
        precision=np.where(paths.valid[..., None], 1.0 / variance, 0.0),
        power=paths.power,
        neighbour=neighbour.astype(np.int32),
        member=member.astype(np.int32),
        width=np.maximum(settings.bandwidth * distance[:, -1], 0.1),
        station_position=reports.station_position[0],
        station=reports.station[0],
        listed=settings.listed,
    )


def _point_variance(reports: Reports, model_error: float) -> Float[np.ndarray, "report path 3"]:
    """Propagate the errors that reports state into their unfolded points [m^2]."""
    paths = reports.estimates
    length = SPEED_OF_LIGHT * paths.delay
    std = np.stack(
        [
            SPEED_OF_LIGHT * paths.delay_std,
            length * np.sin(paths.departure_zenith) * paths.departure_azimuth_std,
            length * paths.departure_zenith_std,
        ],
        axis=-1,
    )
    std = np.where(np.isfinite(std), std, 1e6)  # not measured: known to nobody's benefit
    return std**2 + reports.position_std[:, None, None] ** 2 + model_error**2


def _join(position, point, error, valid, neighbour, settings: NearestSettings):
    """Gather, for each report, the paths of its neighbours into slots of one path each."""
    reports, paths = valid.shape
    rows = np.arange(reports)
    member = np.full((reports, settings.slots, neighbour.shape[1]), -1)
    seed_point = np.zeros((reports, settings.slots, 3))
    seed_position = np.zeros((reports, settings.slots, 3))
    seed_error = np.zeros((reports, settings.slots))
    used = np.zeros(reports, dtype=int)
    for column in range(neighbour.shape[1]):
        other = neighbour[:, column]
        moved = np.linalg.norm(position[other][:, None] - seed_position, axis=-1)[:, :, None]
        apart = np.linalg.norm(point[other][:, None] - seed_point[:, :, None], axis=-1)
        allowed = settings.tolerance + 3.0 * np.hypot(seed_error[:, :, None], error[other][:, None])
        excess = (apart - moved) / allowed
        filled = np.arange(settings.slots) < used[:, None]
        possible = filled[:, :, None] & valid[other][:, None] & (excess < 1.0)
        # Mirrors keep distances exactly, scatterers shrink them: prefer the first, allow both.
        cost = np.where(possible, np.abs(apart - moved) / allowed, np.inf)
        free = valid[other].copy()
        for _ in range(paths):
            best = cost.reshape(reports, -1).argmin(axis=1)
            slot, path = np.unravel_index(best, cost.shape[1:])
            take = np.flatnonzero(np.isfinite(cost[rows, slot, path]))
            if not len(take):
                break
            member[take, slot[take], column] = path[take]
            free[take, path[take]] = False
            cost[take, slot[take], :] = np.inf
            cost[take, :, path[take]] = np.inf
        for path in range(min(settings.listed, paths)):
            new = np.flatnonzero(free[:, path] & (used < settings.slots))
            member[new, used[new], column] = path
            seed_point[new, used[new]] = point[other[new], path]
            seed_position[new, used[new]] = position[other[new]]
            seed_error[new, used[new]] = error[other[new], path]
            used[new] += 1
    return member
