"""Where a user, or a pose of a campaign, is: from its own one-way paths and a map.

A user that nobody sees is found like a target, only simpler: each of its paths is one of the map's
at the place, or one that the map does not know (a multi-Bernoulli likelihood).  Every place of a
grid as fine as the reports ask for is scored, and the posterior over the grid is what is
returned: its peaks with their covariance and their share.

Takes `PathEstimates` of poses and a `ChannelMap`.
Gives a `Fix`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Bool, Float, Int
from scipy.spatial import KDTree

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.localization.fix import Fix, FixStatus
from echoscape.units import wrap_angle

_MOST_CELLS = 60_000
_UNMEASURED = 2.5  # standard deviation of an angle that says nothing [rad]
_PLACES = 4  # peaks that are told apart


class PoseSettings(pydantic.BaseModel):
    """How the area is searched; lengths that are not given follow from the reports' spacing."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    cell: float | None = pydantic.Field(default=None, gt=0)
    """Side of the grid's cells [m]; a fifth of the reports' spacing by default."""
    reach: float | None = pydantic.Field(default=None, gt=0)
    """How far from the nearest report to search [m]; three times the spacing by default."""
    azimuth_std: float = pydantic.Field(default=0.0, ge=0)
    """Smallest deviation believed of an azimuth [rad]."""
    length_std: float = pydantic.Field(default=0.0, ge=0)
    """Smallest deviation believed of a length [m]."""
    unknown: float = pydantic.Field(default=0.5, gt=0)
    """Expected number of paths that the map does not know."""
    ambiguous_below: float = pydantic.Field(default=0.9, gt=0, le=1)
    """A best place with less of the posterior than this is called ambiguous."""


def spacing_of(position: Float[np.ndarray, "report 3"]) -> float:
    """Measure the typical distance from a report to the nearest other [m]; 1 for a single one."""
    place = np.unique(np.asarray(position, float), axis=0)
    if len(place) < 2:
        return 1.0
    return max(float(np.median(KDTree(place).query(place, k=2)[0][:, 1])), 0.05)


def locate_poses(
    estimates: PathEstimates,
    channel_map: ChannelMap,
    *,
    number: Int[np.ndarray, " pose"] | None = None,
    height: float | None = None,
    settings: PoseSettings | None = None,
) -> Fix:
    """Locate poses from their own paths' departure angles and lengths.

    Args:
        estimates: Paths of every pose, shape [pose, path]; arrival angles and powers are not used.
        channel_map: Predicts paths.
        number: The poses' numbers; counted from 0 if not given.
        height: z of all poses [m]; the median of the map's reports if not given.
        settings: How to search.

    Raises:
        InputError: The poses hold no axis of paths, or the height is no number.
    """
    settings = settings or PoseSettings()
    if np.ndim(estimates.length) != 2:
        raise InputError(
            "paths of poses need the axes [pose, path]; got an array of "
            f"{np.ndim(estimates.length)} axes"
        )
    place, cell, reach = _grid(channel_map, height, settings)
    score = score_places(estimates, channel_map, place, settings)
    heard = np.any(np.asarray(estimates.valid), axis=1).reshape(-1)
    support = channel_map.support(place)
    number = np.arange(len(heard)) if number is None else np.asarray(number)
    return _gather(place, cell, support > 0.95 * reach, score, heard, number, settings)


def score_places(
    estimates: PathEstimates,
    channel_map: ChannelMap,
    place: Float[np.ndarray, "place 3"],
    settings: PoseSettings | None = None,
) -> Float[np.ndarray, "pose place"]:
    """Score places for every pose: log-likelihood, up to a constant of the pose."""
    settings = settings or PoseSettings()
    numbers = (settings.azimuth_std, settings.length_std, settings.unknown)
    paths = jax.tree.map(jnp.asarray, estimates)
    return np.asarray(_score(channel_map, jnp.asarray(place), paths, jnp.asarray(numbers, float)))


def _grid(channel_map: ChannelMap, height, settings) -> tuple[np.ndarray, float, float]:
    report = np.asarray(channel_map.report_position, float)
    level = float(np.median(report[:, 2])) if height is None else height
    if not np.isfinite(level):
        raise InputError(f"a height needs a finite number in metres; got {height}")
    spacing = spacing_of(report)
    reach = 3.0 * spacing if settings.reach is None else settings.reach
    low, high = report[:, :2].min(axis=0) - reach, report[:, :2].max(axis=0) + reach
    cell = 0.2 * spacing if settings.cell is None else settings.cell
    cell = max(cell, float(np.sqrt(np.prod(high - low) / _MOST_CELLS)))
    axes = [np.arange(low[i], high[i] + cell, cell) for i in (0, 1)]
    plane = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    place = np.concatenate([plane, np.full((len(plane), 1), level)], axis=1)
    return place[channel_map.support(place) < reach], cell, reach


@eqx.filter_jit
def _score(
    channel_map: ChannelMap,
    place: Float[Array, "cell 3"],
    estimates: PathEstimates,
    numbers: Float[Array, "3"],
) -> Float[Array, "pose cell"]:
    """Score every cell for every pose."""
    azimuth_std, length_std, unknown = numbers
    prior = jax.lax.map(channel_map, place, batch_size=512)
    mean_length = prior.length
    spread = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
    chance = jnp.clip(prior.probability, 0.0, 0.98)
    odds = jnp.log(jnp.maximum(chance, 1e-12)) - jnp.log1p(-chance)
    silent = jnp.sum(jnp.log1p(-chance), axis=-1)
    length = estimates.length
    span = jnp.maximum(jnp.max(jnp.where(estimates.valid, length, 0.0)), 1.0)
    even = jnp.log(unknown / (2 * jnp.pi * span))

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
        return jnp.logaddexp(jax.nn.logsumexp(density, axis=-1), even)

    def one_pose(pose):
        columns = (
            pose.departure_azimuth, pose.departure_zenith, pose.length,
            pose.departure_azimuth_std, pose.departure_zenith_std, pose.length_std,
        )  # fmt: skip

        def add(total, row):
            return total + jnp.where(row[-1], one_path(row[:-1]), 0.0), None

        return jax.lax.scan(add, silent, (*columns, pose.valid))[0]

    return jax.lax.map(one_pose, estimates)


def _gather(
    place: Float[np.ndarray, "cell 3"],
    cell: float,
    edge: Bool[np.ndarray, " cell"],
    score: Float[np.ndarray, "pose cell"],
    heard: Bool[np.ndarray, " pose"],
    number: Int[np.ndarray, " pose"],
    settings: PoseSettings,
) -> Fix:
    """Read the peaks of each pose's posterior off the grid."""
    count, width = len(heard), 7.0 * cell
    position = np.zeros((count, _PLACES, 3)) + place.mean(axis=0)
    covariance, share = np.zeros((count, _PLACES, 3, 3)), np.zeros((count, _PLACES))
    value, valid = np.zeros((count, _PLACES)), np.zeros((count, _PLACES), bool)
    status = np.full(count, int(FixStatus.NO_ECHO))
    for k in np.flatnonzero(heard):
        weight = np.exp(score[k] - score[k].max())
        weight /= weight.sum()
        left = weight.copy()
        for rank in range(_PLACES):
            best = int(np.argmax(left))
            if left[best] <= 0.0 or (rank and left.sum() < 0.01):
                break
            near = np.sum((place[:, :2] - place[best, :2]) ** 2, axis=1) < width**2
            mass = np.where(near, left, 0.0)
            mean = mass @ place / mass.sum()
            apart = place[:, :2] - mean[:2]
            inside = np.einsum("c,ci,cj->ij", mass / mass.sum(), apart, apart)
            position[k, rank] = mean
            covariance[k, rank, :2, :2] = inside + np.eye(2) * cell**2 / 12
            share[k, rank], value[k, rank] = mass.sum(), score[k, best]
            valid[k, rank] = True
            if rank == 0:
                status[k] = int(FixStatus.OUTSIDE if edge[best] else FixStatus.LOCATED)
            left = np.where(near, 0.0, left)
        if share[k, 0] < settings.ambiguous_below and status[k] == FixStatus.LOCATED:
            status[k] = int(FixStatus.AMBIGUOUS)
    starts = np.full(count, len(place))
    agreeing = np.where(valid, 1, 0)
    return Fix(
        number, position, covariance, value, share, agreeing, starts, status, valid
    )  # fmt: skip
