"""One target as the one-way paths under its echoes, compared with a map at one position.

Echoes of known pairing hold no more than one-way paths with correlated lengths
(`propagation.one_way_statistics`), and a map's error of a path is one error, shared by all echoes
by way of it.  So the likelihood of a position is a Gaussian of a few numbers, once each is
assigned to a path of the map: by hard rank association, by soft one, or by none.  Each gives a
list of *assignments*, of which the few most plausible are compared in full.

Takes `OneWayTarget` and a map's paths near a position.
Gives the log-likelihood, its gradient and its curvature in position.
"""

import itertools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.channel_map import ChannelMap
from echoscape.localization.associated.paired_likelihood import PairedEchoes
from echoscape.localization.unassociated.one_way_paths import wrap_angle
from echoscape.numerics import spectrum
from echoscape.propagation import one_way_statistics
from echoscape.units import length_of

Ranks = Literal["hard", "soft", "none"]
"""Rank association: the order of the map's paths; that, but for exchanges of neighbours; none."""

_COMPARED = 3  # assignments whose likelihood is computed in full
_UNMEASURED = 1e4  # variance of a length that no echo measures [m^2]
_LOG_UNKNOWN = -12.0  # log density of a path that the map does not know [1/rad^2/m]
_NEVER = -1e3  # log probability of what cannot be


class OneWayTarget(NamedTuple):
    """Estimates of a target's one-way paths from its echoes, in falling power."""

    mean: Float[Array, "*batch path 3"]
    """Azimuth [rad], zenith [rad] and one-way length [m]."""
    angle_variance: Float[Array, "*batch path"]
    """Variance of each angle [rad^2]."""
    length_covariance: Float[Array, "*batch path path"]
    """Covariance of the lengths [m^2]."""
    detected: Bool[Array, "*batch path"]
    """Whether any echo contains the path."""


class NearPaths(NamedTuple):
    """A map's paths at a position, to first order, likely ones first in falling power."""

    position: Float[Array, "3"]
    mean: Float[Array, "path 3"]
    slope: Float[Array, "path 3 3"]
    covariance: Float[Array, "path 3 3"]
    log_odds: Float[Array, " path"]
    log_absent: Float[Array, ""]
    log_power: Float[Array, " path"]
    log_power_std: Float[Array, " path"]


def one_way_target(
    echo: PairedEchoes, angle_std: Float[Array, ""], delay_std: Float[Array, ""]
) -> OneWayTarget:
    """Condense the echoes of one target; nothing is lost where each has the same errors."""
    length, present = jnp.asarray(echo.length), jnp.asarray(echo.valid)
    horizontal = 0.5 * jnp.pi * jnp.ones_like(length)
    up, down = horizontal, horizontal
    if echo.departure_zenith is not None and echo.arrival_zenith is not None:
        up, down = jnp.asarray(echo.departure_zenith), jnp.asarray(echo.arrival_zenith)
    out, back = jnp.asarray(echo.departure_azimuth), jnp.asarray(echo.arrival_azimuth)
    found = one_way_statistics((out, up), (back, down), length, present)
    detected = found.looks > 0
    seen = spectrum(found.length_precision)
    lost = jnp.where(seen.observed, 0.0, 1.0)
    open_directions = (seen.direction * lost[None]) @ seen.direction.T
    scale = length_of(delay_std) ** 2
    return OneWayTarget(
        mean=jnp.stack([found.departure_azimuth, found.departure_zenith, found.length], -1),
        angle_variance=angle_std**2 / jnp.maximum(found.looks, 1.0),
        length_covariance=scale * seen.covariance + _UNMEASURED * open_directions,
        detected=detected,
    )


def near_paths(channel_map: ChannelMap, position: Float[Array, "3"], count: int) -> NearPaths:
    """Query a map for its paths at a position, padded to a number.

    Args:
        channel_map: Predicts paths.
        position: Where [m].
        count: How many paths.
    """
    near = channel_map.around(position)
    prior = near(position)
    probability = jnp.clip(prior.probability, 1e-9, 0.99)
    log_power = jnp.log(jnp.maximum(prior.power, jnp.finfo(prior.power.dtype).tiny))
    # Likely paths in falling power, then the others in falling probability.
    key = jnp.where(probability > 0.5, -log_power, 1e6 - jnp.log(probability))
    order = jnp.argsort(key)[:count]
    extra = count - order.shape[0]
    deviation = prior.log_power_std
    deviation = jnp.full_like(probability, 0.2) if deviation is None else deviation

    def measurement(position):
        there = near(position)
        columns = [there.departure_azimuth, there.departure_zenith, there.length]
        return jnp.stack(columns, axis=-1)[order].astype(position.dtype)

    spread = prior.covariance[order]
    pad = lambda leaf, value=0.0: jnp.pad(  # noqa: E731
        leaf, ((0, extra),) + ((0, 0),) * (leaf.ndim - 1), constant_values=value
    )
    return NearPaths(
        position=position,
        mean=pad(measurement(position)),
        slope=pad(jax.jacfwd(measurement)(position)),
        covariance=pad(spread),
        log_odds=pad((jnp.log(probability) - jnp.log1p(-probability))[order], _NEVER),
        log_absent=jnp.sum(jnp.log1p(-probability)),
        log_power=pad(log_power[order], _NEVER),
        log_power_std=pad(deviation[order], 1.0),
    )


def exchanges(paths: int) -> Int[np.ndarray, "assignment path"]:
    """List the orders that exchanges of neighbours lead to, one path below the list included.

    Exchanges that share no path may happen together: 1, 2, 3, 5, 8, 13 ... orders.
    """
    found = [np.arange(paths + 1)]
    for size in range(1, (paths + 1) // 2 + 1):
        for firsts in itertools.combinations(range(paths), size):
            if all(b - a > 1 for a, b in itertools.pairwise(firsts)):
                order = np.arange(paths + 1)
                for first in firsts:
                    order[[first, first + 1]] = order[[first + 1, first]]
                found.append(order)
    return np.array(found)[:, :paths]


def exchange_log_prior(near: NearPaths, orders: Int[np.ndarray, "assignment path"]):
    """Weigh each order by the gaps of power that it contradicts."""
    paths = orders.shape[1]
    gap = near.log_power[:paths] - near.log_power[1 : paths + 1]
    spread = jnp.hypot(near.log_power_std[:paths], near.log_power_std[1 : paths + 1])
    kept = jax.scipy.stats.norm.logcdf(gap / spread)
    changed = jnp.maximum(jax.scipy.stats.norm.logcdf(-gap / spread), _NEVER)
    swapped = orders == np.arange(paths)[None] + 1
    return jnp.where(jnp.asarray(swapped), changed[None], 0.0).sum(1) + jnp.where(
        jnp.asarray(_untouched(orders)), kept[None], 0.0
    ).sum(1)


def _untouched(orders: np.ndarray) -> np.ndarray:
    """Mark the pairs of neighbours that keep their own ranks."""
    full = np.concatenate([orders, np.full((len(orders), 1), -1)], axis=1)
    paths = orders.shape[1]
    own = full[:, :paths] == np.arange(paths)
    following = np.concatenate([own[:, 1:], np.ones((len(orders), 1), bool)], axis=1)
    return own & following


def match_matrix(near: NearPaths, target: OneWayTarget, zenith: bool, position: Float[Array, "3"]):
    """Score every observed path against every path of the map, each by itself."""
    mean = near.mean + near.slope @ (position - near.position)
    gap = target.mean[:, None] - mean[None]
    angle = wrap_angle(gap[..., 0])
    own = jnp.diagonal(near.covariance, axis1=-2, axis2=-1)
    across = own[None, :, 0] + target.angle_variance[:, None]
    along = own[None, :, 2] + jnp.diagonal(target.length_covariance)[:, None]
    score = angle**2 / across + gap[..., 2] ** 2 / along + jnp.log(across * along)
    constant = 2.0 * jnp.log(2.0 * jnp.pi)
    if zenith:
        up = own[None, :, 1] + target.angle_variance[:, None]
        score = score + gap[..., 1] ** 2 / up + jnp.log(up)
        constant = 1.5 * constant
    return jnp.where(target.detected[:, None], -0.5 * (score + constant), 0.0)


def evaluate(
    near: NearPaths, target: OneWayTarget, position: Float[Array, "3"], ranks: Ranks, zenith: bool
):
    """Evaluate a position near where the map was queried.

    The printed Eq. (40) of [wu-ckm] counts the map's error of a path once for every echo by way of
    it, as if these were independent; here it is one error.

    Args:
        near: The map's paths.
        target: The one-way paths of the target.
        position: Where [m].
        ranks: Rank association.
        zenith: Whether zenith angles were measured.

    Returns:
        The log-likelihood, its gradient [1/m], its Gauss-Newton curvature [1/m^2], and how many
        observed paths are paths of the map.
    """
    match = match_matrix(near, target, zenith, position)
    paths, known = match.shape
    if ranks == "none":
        table = jnp.maximum(match + near.log_odds[None], _NEVER)
        table = jnp.concatenate([table, jnp.full((paths, 1), _LOG_UNKNOWN, match.dtype)], axis=1)
        table = jnp.where(target.detected[:, None], table, 0.0)
        order, prior, base = _assignments(table), None, near.log_absent
    else:
        orders = exchanges(paths) if ranks == "soft" else np.arange(paths)[None]
        prior = exchange_log_prior(near, orders) if ranks == "soft" else jnp.zeros(1)
        base = jnp.zeros_like(near.log_absent)
        order = jnp.asarray(orders)
    cheap = jnp.take_along_axis(
        jnp.concatenate([match, jnp.full((paths, 1), _LOG_UNKNOWN, match.dtype)], axis=1)[None],
        order[:, :, None], 2,
    )[..., 0].sum(1)  # fmt: skip
    if prior is None:
        odds = jnp.concatenate([near.log_odds, jnp.zeros(1, match.dtype)])
        prior = jnp.where(target.detected[None], odds[order], 0.0).sum(1)
    compared = min(_COMPARED, order.shape[0])
    _, best = jax.lax.top_k(cheap + prior, compared)
    value, gradient, curvature = jax.vmap(
        lambda which: _gaussian(near, target, which, position, zenith)
    )(order[best])
    value = value + prior[best]
    share = jax.nn.softmax(value)
    unknown = jnp.sum(target.detected & (order[best[0]] == known))
    return (
        jax.nn.logsumexp(value) + base,
        share @ gradient,
        jnp.einsum("a,aij->ij", share, curvature),
        jnp.sum(target.detected) - unknown,
    )


def _assignments(table: Float[Array, "path known"]) -> Int[Array, "assignment path"]:
    """Assign observed paths to paths of the map, each to one: greedily, and all changes of two."""
    paths, known = table.shape[0], table.shape[1] - 1

    def take(carry, _):
        left, order = carry
        flat = jnp.argmax(left)
        row, column = flat // (known + 1), flat % (known + 1)
        order = order.at[row].set(column)
        left = left.at[row].set(-jnp.inf)
        # Any number of paths may be unknown to the map.
        left = jnp.where((jnp.arange(known + 1) == column) & (column < known), -jnp.inf, left)
        return (left, order), None

    start = (table, jnp.full(paths, known))
    order = jax.lax.scan(take, start, None, paths)[0][1]
    # An observed path may rather be the best of those left over, or two may be each other's.
    free = jnp.ones(known, bool).at[order].set(False, mode="drop")
    left = jnp.where(free[None], table[:, :known], -jnp.inf)
    left = jnp.concatenate([left, table[:, known:]], axis=1)
    second = jnp.argmax(left, axis=1)
    replaced = jnp.where(jnp.eye(paths, dtype=bool), second[None], order[None])
    pairs = np.array(list(itertools.combinations(range(paths), 2)), dtype=int).reshape(-1, 2)
    swap = np.tile(np.arange(paths), (len(pairs), 1))
    swap[np.arange(len(pairs)), pairs[:, 0]] = pairs[:, 1]
    swap[np.arange(len(pairs)), pairs[:, 1]] = pairs[:, 0]
    return jnp.concatenate([order[None], replaced, order[jnp.asarray(swap)]])


def _gaussian(near: NearPaths, target: OneWayTarget, order, position, zenith: bool):
    """Log-likelihood, gradient and curvature of one assignment, all correlations kept."""
    axes = np.array([0, 1, 2] if zenith else [0, 2])
    paths, width = order.shape[0], len(axes)
    known = near.log_odds.shape[0]
    used = (
        target.detected & (order < known) & (near.log_odds[order.clip(max=known - 1)] > _NEVER / 2)
    )
    index = order.clip(max=known - 1)
    mean = near.mean[index] + near.slope[index] @ (position - near.position)
    gap = target.mean - mean
    gap = gap.at[:, 0].set(wrap_angle(gap[:, 0]))
    gap = jnp.where(used[:, None], gap, 0.0)[:, axes].reshape(-1)
    slope = jnp.where(used[:, None, None], near.slope[index], 0.0)[:, axes].reshape(-1, 3)
    own = near.covariance[index][:, axes[:, None], axes[None]]
    same = np.arange(paths)
    covariance = jnp.zeros((paths, width, paths, width), gap.dtype)
    covariance = covariance.at[same, :, same, :].set(own)
    for angle in range(width - 1):
        covariance = covariance.at[same, angle, same, angle].add(target.angle_variance)
    covariance = covariance.at[:, width - 1, :, width - 1].add(target.length_covariance)
    size = paths * width
    keep = jnp.repeat(used, width)
    covariance = jnp.where(
        keep[:, None] & keep[None], covariance.reshape(size, size), jnp.eye(size)
    )
    root = jnp.linalg.cholesky(covariance)
    right = jnp.concatenate([gap[:, None], slope], axis=1)
    white = jax.scipy.linalg.solve_triangular(root, right, lower=True)
    rest, rows = white[:, 0], white[:, 1:]
    constant = 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(keep)
    value = -0.5 * rest @ rest - jnp.sum(jnp.log(jnp.diagonal(root))) - constant
    value = value + _LOG_UNKNOWN * jnp.sum(target.detected & ~used)
    return value, rows.T @ rest, rows.T @ rows
