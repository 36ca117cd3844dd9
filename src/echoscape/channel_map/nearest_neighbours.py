"""The map that remembers: paths of the nearest reports, recognised from one report to the next.

Interpolating the strongest path of one report with the strongest of another mixes different
paths.  Here the paths of neighbouring reports are joined if they can be one path: their unfolded
points (see `station_reports`) lie no farther apart than the users.  While a path keeps its walls
its unfolded point is a linear function of place, so a local plane through the joined points
predicts it exactly, and the plane's own uncertainty grows with the distance from the reports.

Takes `Reports`.
Gives a `NearestMap`.
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from echoscape.channel_map.model import MapModel
from echoscape.channel_map.prior import ChannelMap, PathPrior
from echoscape.channel_map.station_reports import unfolded_point
from echoscape.channel_map.storage import storable, upgraded
from echoscape.estimation import AnyArray
from echoscape.reports import Reports

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


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
    corner: Float[AnyArray, "2"]
    """South-west corner of a raster over the reports [m]."""
    cell: Float[AnyArray, ""]
    """Side of the raster's cells [m]."""
    candidate: Int[AnyArray, "column row candidate"]
    """Reports that can be nearest to a place in each cell."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""
    reported_paths: int = eqx.field(static=True)
    """Strongest paths that a receiver reports."""

    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]."""
        dtype = position.dtype
        here = self.nearest(position)
        near = jnp.asarray(self.neighbour)[here]
        member = jnp.asarray(self.member)[here]
        origin = jnp.asarray(self.report_position, dtype)[here]
        offset = jnp.asarray(self.report_position, dtype)[near] - origin[None]
        place = position - origin
        width = jnp.asarray(self.width, dtype)[here]
        distance = jnp.sum((offset - place[None]) ** 2, axis=-1)
        # Relative to the nearest, and never so small that a product of them vanishes.
        weight = jnp.exp(-jnp.minimum(0.5 * (distance - jnp.min(distance)) / width**2, 15.0))
        joined = member >= 0
        index = (near[None], jnp.maximum(member, 0))
        point = jnp.asarray(self.point, dtype)[index]
        precision = jnp.asarray(self.precision, dtype)[index]
        power = jnp.asarray(self.power, dtype)[index]

        share = weight[None] * joined
        reported = jnp.sum(share * (member < self.reported_paths), axis=-1) / jnp.sum(weight)
        predict = jax.vmap(_predict_path, in_axes=(None, None, 0, 0, 0))
        azimuth, zenith, length, covariance = predict(place, offset, point, precision, share)
        total = jnp.sum(share, axis=-1)
        total = jnp.where(total > 0, total, 1.0)
        prior = PathPrior(
            probability=jnp.clip(reported, 0.0, 0.98),
            departure_azimuth=azimuth,
            departure_zenith=zenith,
            length=length,
            covariance=covariance,
            power=jnp.sum(share * power, axis=-1) / total,
        )
        order = jnp.argsort(-prior.probability)
        return jax.tree.map(lambda leaf: leaf[order], prior)

    def nearest(self, position: Float[Array, "3"]) -> Int[Array, ""]:
        """Find the report nearest to a position; outside the raster, among its edge's reports."""
        step = (position[:2] - jnp.asarray(self.corner, position.dtype)) / self.cell
        size = jnp.asarray(self.candidate.shape[:2])
        column, row = jnp.clip(jnp.floor(step).astype(size.dtype), 0, size - 1)
        candidate = jnp.asarray(self.candidate)[column, row]
        away = jnp.asarray(self.report_position, position.dtype)[candidate] - position[None]
        return candidate[jnp.argmin(jnp.sum(away**2, axis=-1))]


def _predict_path(
    place: Float[Array, "3"],
    offset: Float[Array, "neighbour 3"],
    point: Float[Array, "neighbour 3"],
    precision: Float[Array, "neighbour 3"],
    weight: Float[Array, " neighbour"],
):
    """Fit a plane to one path's unfolded points and read it at a place.

    The plane's slopes have a prior of mean zero and, since an unfolded point never moves farther
    than the user, unit size; so one report alone claims an error as large as its distance.
    """
    seed = point[jnp.argmax(weight)]
    frame = _frame(seed)
    local = (point - seed[None]) @ frame.T  # along the path, in azimuth, in zenith
    trust = weight[:, None] * precision
    # All sums over neighbours in two products: one small product for each would be slower.
    square = jnp.stack([offset[:, i] * offset[:, j] for i, j in _PAIRS], axis=-1)
    basis = jnp.concatenate([jnp.ones_like(offset[:, :1]), offset, square], axis=-1)
    sums = trust.T @ basis
    pulls = (trust * local).T @ basis[:, :4]
    safe = jnp.where(sums[:, 0] > 0, sums[:, 0], 1.0)
    centre, mean = sums[:, 1:4] / safe[:, None], pulls[:, 0] / safe
    spread = sums[:, 4:] - jnp.stack(
        [safe * centre[:, i] * centre[:, j] for i, j in _PAIRS], axis=-1
    )
    pull = pulls[:, 1:] - pulls[:, :1] * centre
    inverse = _inverse(spread + jnp.asarray([2.0, 0.0, 0.0, 2.0, 0.0, 2.0], place.dtype)[None])
    slope = jnp.sum(inverse * pull[:, None], axis=-1)
    away = place[None] - centre
    residual = local - (mean - jnp.sum(slope * centre, axis=-1))[None] - offset @ slope.T
    misfit = (2.0 + jnp.sum(trust * residual**2, axis=0)) / (2.0 + jnp.sum(weight))
    variance = 1.0 / safe + jnp.sum(away[:, None] * inverse * away[:, :, None], axis=(1, 2))
    here = seed + (mean + jnp.sum(slope * away, axis=-1)) @ frame
    return _angles_and_length(here, frame, variance * jnp.maximum(misfit, 1.0))


def _frame(direction: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Give unit vectors along a direction, in azimuth and in zenith, as rows."""
    x, y, z = direction
    level = jnp.sqrt(jnp.maximum(x**2 + y**2, 1e-6))
    length = jnp.sqrt(level**2 + z**2)
    along = direction / length
    across = jnp.stack([-y, x, jnp.zeros_like(z)]) / level
    down = jnp.stack([x * z / level, y * z / level, -level]) / length
    return jnp.stack([along, across, down])


def _angles_and_length(
    point: Float[Array, "3"], frame: Float[Array, "3 3"], variance: Float[Array, "3"]
):
    """Turn an unfolded point with its variances along a frame into angles and a length."""
    x, y, z = point
    level = jnp.sqrt(jnp.maximum(x**2 + y**2, 1e-6))
    length = jnp.sqrt(level**2 + z**2)
    own = _frame(point)
    scale = jnp.stack([1.0 / level, 1.0 / length, jnp.ones_like(length)])
    turn = scale[:, None] * own[jnp.array([1, 2, 0])] @ frame.T
    factor = turn * jnp.sqrt(variance)[None]
    azimuth = jnp.arctan2(y, jnp.where(x**2 + y**2 > 1e-12, x, 1.0))
    return azimuth, jnp.arctan2(level, z), length, factor @ factor.T


def _inverse(matrix: Float[Array, "axis 6"]) -> Float[Array, "axis 3 3"]:
    """Invert positive 3x3 matrices, given as upper triangles, by their minors."""
    a, b, c, d, e, f = (matrix[:, k] for k in range(6))
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    rows = [
        [first, second, third],
        [second, a * f - c * c, b * c - a * e],
        [third, b * c - a * e, a * d - b * b],
    ]
    minors = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    return minors / (a * first + b * second + c * third)[:, None, None]


@upgraded("nearest")
def _read(fields: dict) -> dict:
    """Read a map of version 0.1, or of today's fields."""
    if "listed" in fields:
        fields["reported_paths"] = fields.pop("listed")
    return fields


def _raster(position: Float[np.ndarray, "report 3"]):
    """List, for each cell of a raster, the reports that can be nearest to a place in it.

    That search over all reports would take most of a query.  A cell about as large as a report's
    share of the area has few candidates; where very many are equally far, the first 32 stand for
    all.
    """
    level = position[:, :2]
    corner = level.min(axis=0)
    extent = np.ptp(level, axis=0)
    cell = max(np.sqrt(max(extent[0], 1.0) * max(extent[1], 1.0) / len(level)), 0.1)
    columns, rows = (max(1, int(np.ceil(side / cell))) for side in extent)
    grid = np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij")
    centre = corner + cell * (np.stack(grid, axis=-1).reshape(-1, 2) + 0.5)
    count = min(32, len(level))
    found = KDTree(level).query(centre, k=count)
    distance, candidate = (np.reshape(item, (-1, count)) for item in found)
    # A place is at most half a diagonal from the centre, and so is its nearest report's advantage.
    possible = distance <= distance[:, :1] + np.sqrt(2.0) * cell
    candidate = np.where(possible, candidate, candidate[:, :1])[:, : possible.sum(axis=1).max()]
    return corner, np.asarray(cell), candidate.reshape(columns, rows, -1).astype(np.int32)


def _point_variance(reports: Reports, model_error: float) -> Float[np.ndarray, "report path 3"]:
    """Propagate the errors that reports state into their unfolded points [m^2]."""
    paths = reports.estimates
    length = paths.length
    level = np.linalg.norm(unfolded_point(paths, np.zeros(3))[..., :2], axis=-1)
    per_unit = np.stack([np.ones_like(length), level, length], axis=-1)
    stated = np.stack(
        [paths.length_std, paths.departure_azimuth_std, paths.departure_zenith_std], axis=-1
    )
    measured = np.isfinite(stated)
    std = np.where(measured, per_unit * np.where(measured, stated, 0.0), 1e6)
    return std**2 + reports.position_std[:, None, None] ** 2 + model_error**2


def _join(position, point, error, valid, neighbour, model: "NearestReports"):
    """Gather, for each report, the paths of its neighbours into slots of one path each."""
    reports, paths = valid.shape
    rows = np.arange(reports)
    member = np.full((reports, model.slots, neighbour.shape[1]), -1)
    seed_point = np.zeros((reports, model.slots, 3))
    seed_position = np.zeros((reports, model.slots, 3))
    seed_error = np.zeros((reports, model.slots))
    used = np.zeros(reports, dtype=int)
    for column in range(neighbour.shape[1]):
        other = neighbour[:, column]
        moved = np.linalg.norm(position[other][:, None] - seed_position, axis=-1)[:, :, None]
        distance = np.linalg.norm(point[other][:, None] - seed_point[:, :, None], axis=-1)
        allowed = model.tolerance + 3.0 * np.hypot(seed_error[:, :, None], error[other][:, None])
        excess = (distance - moved) / allowed
        filled = np.arange(model.slots) < used[:, None]
        possible = filled[:, :, None] & valid[other][:, None] & (excess < 1.0)
        # Mirrors keep distances exactly, scatterers shrink them: prefer the first, allow both.
        cost = np.where(possible, np.abs(distance - moved) / allowed, np.inf)
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
        for path in range(min(model.reported_paths, paths)):
            new = np.flatnonzero(free[:, path] & (used < model.slots))
            member[new, used[new], column] = path
            seed_point[new, used[new]] = point[other[new], path]
            seed_position[new, used[new]] = position[other[new]]
            seed_error[new, used[new]] = error[other[new], path]
            used[new] += 1
    return member


class NearestReports(MapModel):
    """Paths of the nearest reports, joined where they can be one: assumes no geometry."""

    name: ClassVar[str] = "nearest-reports"

    neighbours: int = pydantic.Field(default=12, ge=1)
    """Reports joined at a place; 1 gives the plain nearest report."""
    reported_paths: int = pydantic.Field(default=5, ge=1)
    """Strongest paths that a receiver reports; a slot's probability is that of being among them."""
    slots: int = pydantic.Field(default=10, ge=1)
    """Most paths predicted at a place."""
    tolerance: float = pydantic.Field(default=0.5, gt=0)
    """How much farther than the users the points of one path may move [m]."""
    bandwidth: float = pydantic.Field(default=0.5, gt=0)
    """Width of the neighbours' weights, in distances to the last of them."""
    model_error: float = pydantic.Field(default=0.1, gt=0)
    """Standard deviation of unfolded points about the local plane, without any other error [m]."""

    def fit(self, reports, *, key, start=None, progress=None) -> NearestMap:
        """Join the paths of neighbouring reports of one station."""
        del key, progress
        self.refuse_start(start)
        paths = reports.estimates
        position = np.asarray(reports.position, dtype=float)
        count = min(self.neighbours, len(position))
        found = KDTree(position).query(position, k=count)
        distance, neighbour = (np.reshape(item, (-1, count)) for item in found)
        point = unfolded_point(paths, np.zeros(3))
        variance = _point_variance(reports, self.model_error)
        # A path without azimuth or length is nowhere.
        placed = np.isfinite(paths.departure_azimuth_std) & np.isfinite(paths.length_std)
        valid = np.asarray(paths.valid) & placed
        error = np.where(valid, np.sqrt(variance.min(axis=-1)), 0.0)
        member = _join(position, point, error, valid, neighbour, self)
        corner, cell, candidate = _raster(position)
        return NearestMap(
            report_position=position,
            point=point,
            precision=np.where(valid[..., None], 1.0 / variance, 0.0),
            power=paths.power,
            neighbour=neighbour.astype(np.int32),
            member=member.astype(np.int32),
            width=np.maximum(self.bandwidth * distance[:, -1], 0.1),
            corner=corner,
            cell=cell,
            candidate=candidate,
            station_position=reports.station_position[0],
            station=reports.station[0],
            reported_paths=self.reported_paths,
        )
