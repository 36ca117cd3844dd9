"""Where a user, or a pose of a campaign, is: from its own one-way paths and a map.

A user of unknown position is found like a target, only simpler: each of its paths is one of the
map's at the position, or one that the map does not know (a multi-Bernoulli likelihood).  Every cell
of a grid as fine as the reports' spacing is scored, and the posterior over the grid is returned:
its modes with their covariance and their share.  A clock or a heading that the user does not know
is estimated with it (`own_bias`).

Takes `PathEstimates` or `Reports` of users and a `ChannelMap`.
Gives a `Batch` for `run`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

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
from echoscape.localization.user.own_bias import UNKNOWNS, OwnBias, score_with_bias
from echoscape.reports import Reports
from echoscape.units import delay_of, wrap_angle

_MOST_CELLS = 60_000
_CELLS_TOGETHER = 512
_UNMEASURED = 2.5  # standard deviation of an angle that was not measured [rad]
_MODES = 4  # modes of a posterior that are listed
_MODE_REACH = 7.0  # cells about its peak that are one mode
_LEAST_SHARE = 0.01  # of the posterior that a further mode holds


class UserPaths(Localizer):
    """Locate users from their own paths' departure angles and lengths.

    Powers are not used, and arrival azimuths only where the heading is unknown.  Lengths that are
    not given follow from the reports' spacing.
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
    unknown: tuple[Literal["user-clock", "user-heading"], ...] = ()
    """What each user does not know of itself: its clock, one length more on all its paths; its
    heading, one angle more on all its arrival azimuths, which count then."""
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
        if "user-heading" in self.unknown:
            _refuse_without_arrivals(measurements)
        count = len(measurements.length)
        number = np.arange(count) if number is None else np.asarray(number)

        def search(paths: PathEstimates):
            measured = np.any(np.asarray(paths.valid), axis=1)
            found = score_own_bias(paths, prepared.channel_map, prepared.position, self)
            modes = _modes(prepared, np.asarray(found.score), measured, self.ambiguous_below)
            return *modes, _state_bias(prepared, modes[0], found, self.unknown)

        def conclude(found):
            starts = np.full(count, len(prepared.position))
            position, covariance, value, share, status, valid, bias = found
            unmeasured = status == FixStatus.NO_ECHO
            return Fix(
                number, position, covariance, value, share, np.where(valid, 1, 0), starts, status,
                valid, own={n: np.where(unmeasured, np.nan, v) for n, v in bias.items()} or None,
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
    return np.asarray(score_own_bias(estimates, channel_map, position, method or UserPaths()).score)


def score_own_bias(
    estimates: PathEstimates,
    channel_map: ChannelMap,
    position: Float[np.ndarray, "cell 3"],
    method: UserPaths,
) -> OwnBias:
    """Score positions for every user, with what the method says is unknown of them."""
    numbers = jnp.asarray((method.azimuth_std, method.length_std, method.unknown_paths), float)
    paths = jax.tree.map(jnp.asarray, estimates)
    count = len(position)  # filled up, so that grids of about one size are compiled once
    index = np.minimum(np.arange(-(-count // _CELLS_TOGETHER) * _CELLS_TOGETHER), count - 1)
    place = jnp.asarray(np.asarray(position)[index])
    if method.unknown:
        found = score_with_bias(channel_map, place, paths, numbers, method.unknown)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:, :count], found)
    score = np.asarray(_score(channel_map, place, paths, numbers))[:, :count]
    return OwnBias(score, *[np.zeros_like(score)] * 4)


def _refuse_without_arrivals(estimates: PathEstimates) -> None:
    known = np.asarray(estimates.valid)
    std = estimates.arrival_azimuth_std
    known = known & np.isfinite(np.inf if std is None else np.asarray(std))
    if not known.any():
        raise InputError(
            "user-heading cannot be estimated: it follows from arrival azimuths at the users, and "
            "these paths have none; leave user-heading out of what is unknown"
        )


def _state_bias(
    grid: "_Grid", mode: Float[np.ndarray, "user mode 3"], found: OwnBias, unknown: tuple[str, ...]
) -> dict[str, Float[np.ndarray, " user"]]:
    """Average clock [s] and heading [rad] over each user's best mode, with their deviations."""
    away = np.sum((grid.position[None, :, :2] - mode[:, :1, :2]) ** 2, axis=2)
    near = away < (_MODE_REACH * grid.side) ** 2
    log = np.where(near, found.score, -np.inf)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    stated = {}
    if UNKNOWNS[0] in unknown:
        mean = np.sum(weight * found.clock, axis=1)
        variance = np.sum(weight * (found.clock_variance + (found.clock - mean[:, None]) ** 2), 1)
        stated |= {"clock_bias": delay_of(mean), "clock_bias_std": delay_of(np.sqrt(variance))}
    if UNKNOWNS[1] in unknown:
        mean = np.angle(np.sum(weight * np.exp(1j * found.heading), axis=1))
        miss = wrap_angle(found.heading - mean[:, None])
        variance = np.sum(weight * (found.heading_variance + miss**2), axis=1)
        stated |= {"heading_bias": mean, "heading_bias_std": np.sqrt(variance)}
    return stated


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
    count, width = len(measured), _MODE_REACH * cell
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
