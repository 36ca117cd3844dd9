"""Where a user, or a pose of a campaign, is: from its own one-way paths and a map.

A user of unknown position is found like a target, only simpler: each of its paths is one of the
map's at the position, or one that the map does not know (a multi-Bernoulli likelihood).  Every cell
of a grid as fine as the reports' spacing is scored, and the posterior over the grid is returned:
its modes with their covariance and their share.

Takes `PathEstimates` or `Reports` of users and a `ChannelMap`.
Gives a `Batch` for `run`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Bool, Float
from scipy.spatial import KDTree

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.localization.fix import Fix, FixStatus
from echoscape.localization.localizer import (
    AmbiguousBelow,
    Batch,
    Chunk,
    Height,
    Localizer,
    height_range,
    only_map,
    station_map,
)
from echoscape.reports import Reports
from echoscape.units import wrap_angle

_MOST_CELLS = 60_000
_UNMEASURED = 2.5  # standard deviation of an angle that was not measured [rad]
_MODES = 4  # modes of a posterior that are listed
_LEAST_SHARE = 0.01  # of the posterior that a further mode holds


class UserPaths(Localizer):
    """Locate users from their own paths' departure angles and lengths.

    Arrival angles and powers are not used.  Lengths that are not given follow from the reports'
    spacing.
    """

    name: ClassVar[str] = "user-paths"
    measurements: ClassVar[tuple[type, ...]] = (PathEstimates, Reports)
    needs: ClassVar[str] = "users' own paths (PathEstimates or Reports)"

    cell: float | None = pydantic.Field(default=None, gt=0)
    """Side of the grid's cells [m]; a fifth of the reports' spacing by default."""
    reach: float | None = pydantic.Field(default=None, gt=0)
    """How far from the nearest report to search [m]; three times the spacing by default."""
    azimuth_std: float = pydantic.Field(default=0.0, ge=0)
    """Smallest standard deviation of an azimuth [rad]; smaller stated ones are raised to it."""
    length_std: float = pydantic.Field(default=0.0, ge=0)
    """Smallest standard deviation of a length [m]; smaller stated ones are raised to it."""
    unknown_paths: float = pydantic.Field(default=0.5, gt=0)
    """Expected number of paths that the map does not know."""
    ambiguous_below: AmbiguousBelow = 0.9
    chunk: Chunk = 256

    def prepare(
        self,
        maps: Mapping[str, ChannelMap],
        height: Height,
        measurements: PathEstimates | Reports,
    ) -> Any:
        """Lay a grid over the map's reports."""
        if isinstance(measurements, Reports) and len(measurements.station) == 1:
            channel_map = station_map(maps, measurements.station[0], "users' paths")
        else:
            channel_map = only_map(maps, "users' paths")
        low, high = height_range([channel_map], height)
        if low != high:
            raise InputError(
                f"UserPaths needs one height, in metres, not a range; got {low:g} to {high:g}"
            )
        return _grid(channel_map, low, self)

    def batch(self, prepared: "_Grid", measurements: PathEstimates | Reports) -> Batch:
        """Take the paths of every user."""
        number = None
        if isinstance(measurements, Reports):
            number, measurements = measurements.report, measurements.estimates
        if np.ndim(measurements.length) != 2:
            raise InputError(
                "paths of users need the axes [user, path]; got an array of "
                f"{np.ndim(measurements.length)} axes"
            )
        count = len(measurements.length)
        number = np.arange(count) if number is None else np.asarray(number)

        def search(paths: PathEstimates):
            score = score_positions(paths, prepared.channel_map, prepared.position, self)
            measured = np.any(np.asarray(paths.valid), axis=1)
            return _modes(prepared, score, measured, self.ambiguous_below)

        def conclude(found):
            starts = np.full(count, len(prepared.position))
            position, covariance, value, share, status, valid = found
            return Fix(
                number, position, covariance, value, share, np.where(valid, 1, 0), starts, status,
                valid,
            )  # fmt: skip

        return Batch(count, measurements, search, conclude)


class _Grid(NamedTuple):
    """A grid over the map's reports."""

    channel_map: ChannelMap
    position: Float[np.ndarray, "cell 3"]
    side: float
    outside: Bool[np.ndarray, " cell"]


def spacing_of(position: Float[np.ndarray, "report 3"]) -> float:
    """Measure the typical distance from a report to the nearest other [m]; 1 for a single one."""
    place = np.unique(np.asarray(position, float), axis=0)
    if len(place) < 2:
        return 1.0
    return max(float(np.median(KDTree(place).query(place, k=2)[0][:, 1])), 0.05)


def score_positions(
    estimates: PathEstimates,
    channel_map: ChannelMap,
    position: Float[np.ndarray, "cell 3"],
    method: UserPaths | None = None,
) -> Float[np.ndarray, "user cell"]:
    """Score positions for every user: log-likelihood, up to a constant of the user."""
    method = method or UserPaths()
    numbers = jnp.asarray((method.azimuth_std, method.length_std, method.unknown_paths), float)
    paths = jax.tree.map(jnp.asarray, estimates)
    return np.asarray(_score(channel_map, jnp.asarray(position), paths, numbers))


def _grid(channel_map: ChannelMap, height: float, method: UserPaths) -> _Grid:
    report = np.asarray(channel_map.report_position, float)
    spacing = spacing_of(report)
    reach = 3.0 * spacing if method.reach is None else method.reach
    low, high = report[:, :2].min(axis=0) - reach, report[:, :2].max(axis=0) + reach
    cell = 0.2 * spacing if method.cell is None else method.cell
    cell = max(cell, float(np.sqrt(np.prod(high - low) / _MOST_CELLS)))
    axes = [np.arange(low[i], high[i] + cell, cell) for i in (0, 1)]
    plane = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    position = np.concatenate([plane, np.full((len(plane), 1), height)], axis=1)
    support = channel_map.support(position)
    inside = support < reach
    return _Grid(channel_map, position[inside], cell, support[inside] > 0.95 * reach)


@eqx.filter_jit
def _score(
    channel_map: ChannelMap,
    position: Float[Array, "cell 3"],
    estimates: PathEstimates,
    numbers: Float[Array, "3"],
) -> Float[Array, "user cell"]:
    """Score every cell for every user."""
    azimuth_std, length_std, unknown = numbers
    prior = jax.lax.map(channel_map, position, batch_size=512)
    mean_length = prior.length
    spread = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
    probability = jnp.clip(prior.probability, 0.0, 0.98)
    odds = jnp.log(jnp.maximum(probability, 1e-12)) - jnp.log1p(-probability)
    log_absent = jnp.sum(jnp.log1p(-probability), axis=-1)
    length = estimates.length
    span = jnp.maximum(jnp.max(jnp.where(estimates.valid, length, 0.0)), 1.0)
    uniform = jnp.log(unknown / (2 * jnp.pi * span))

    def one_path(row):
        azimuth, zenith, away, azimuth_error, zenith_error, error = row
        u = spread[..., 0] + jnp.maximum(azimuth_error, azimuth_std) ** 2
        w = spread[..., 2] + jnp.maximum(error, length_std) ** 2
        v = spread[..., 1] + jnp.minimum(zenith_error, _UNMEASURED) ** 2 + 1e-6
        square = wrap_angle(prior.departure_azimuth - azimuth) ** 2 / u
        square += (mean_length - away) ** 2 / w
        # A zenith only counts against others that were measured.
        known = v < 0.5 * _UNMEASURED**2
        square += jnp.where(known, (prior.departure_zenith - zenith) ** 2 / v + jnp.log(v), 0.0)
        density = odds - 0.5 * (square + jnp.log(u * w)) - jnp.log(2 * jnp.pi)
        return jnp.logaddexp(jax.nn.logsumexp(density, axis=-1), uniform)

    def one_user(user):
        columns = (
            user.departure_azimuth, user.departure_zenith, user.length,
            user.departure_azimuth_std, user.departure_zenith_std, user.length_std,
        )  # fmt: skip

        def add(total, row):
            return total + jnp.where(row[-1], one_path(row[:-1]), 0.0), None

        return jax.lax.scan(add, log_absent, (*columns, user.valid))[0]

    return jax.lax.map(one_user, estimates)


def _modes(
    grid: _Grid,
    score: Float[np.ndarray, "user cell"],
    measured: Bool[np.ndarray, " user"],
    ambiguous_below: float,
):
    """Find the modes of each user's posterior over the grid."""
    position, cell = grid.position, grid.side
    count, width = len(measured), 7.0 * cell
    mean = np.zeros((count, _MODES, 3)) + position.mean(axis=0)
    covariance, share = np.zeros((count, _MODES, 3, 3)), np.zeros((count, _MODES))
    value, valid = np.zeros((count, _MODES)), np.zeros((count, _MODES), bool)
    status = np.full(count, int(FixStatus.NO_ECHO))
    for k in np.flatnonzero(measured):
        weight = np.exp(score[k] - score[k].max())
        weight /= weight.sum()
        left = weight.copy()
        for rank in range(_MODES):
            best = int(np.argmax(left))
            if left[best] <= 0.0 or (rank and left.sum() < _LEAST_SHARE):
                break
            near = np.sum((position[:, :2] - position[best, :2]) ** 2, axis=1) < width**2
            mass = np.where(near, left, 0.0)
            mean[k, rank] = mass @ position / mass.sum()
            difference = position[:, :2] - mean[k, rank, :2]
            inside = np.einsum("c,ci,cj->ij", mass / mass.sum(), difference, difference)
            covariance[k, rank, :2, :2] = inside + np.eye(2) * cell**2 / 12
            share[k, rank], value[k, rank] = mass.sum(), score[k, best]
            valid[k, rank] = True
            if rank == 0:
                status[k] = int(FixStatus.OUTSIDE if grid.outside[best] else FixStatus.LOCATED)
            left = np.where(near, 0.0, left)
        if share[k, 0] < ambiguous_below and status[k] == FixStatus.LOCATED:
            status[k] = int(FixStatus.AMBIGUOUS)
    return mean, covariance, value, share, status, valid
