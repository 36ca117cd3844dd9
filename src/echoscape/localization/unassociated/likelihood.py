"""How well a place explains the echoes, and which way explains them better.

At a place the map offers paths, each with its presence; some exist, and every ordered pair of
those is heard with the probability of detection, among false echoes.  Which exist is chosen
greedily, from the map's paths and from paths of the echoes that the map may not know.  Echoes
keep no labels: each is a mixture over all pairs, by which also the gradient is shared out.

Takes `NearbyPaths`, an `EchoSet` and its `OneWayPaths`.
Gives the log-likelihood, its gradient and curvature in position, and the information.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.localization.unassociated.linearised_map import NearbyPaths
from echoscape.localization.unassociated.one_way_paths import (
    Candidates,
    EchoModel,
    EchoSet,
    OneWayPaths,
    pair_intensity,
    wrap_angle,
)

_UNKNOWN_PATHS = 0.5  # expected number of paths that the map does not know
_UNKNOWN_EXTENT = 2 * jnp.pi * 0.6 * 400.0  # where they may lie [rad^2 m]
_MOST_CHOSEN = 10  # paths of one target that one station can tell apart


class Chosen(NamedTuple):
    """The candidates that exist, and how strongly the target reflects."""

    path: NearbyPaths
    """Their predictions; a path read off the echoes does not move with the place."""
    exists: Bool[Array, " chosen"]
    """False for padding."""
    known: Bool[Array, " chosen"]
    """Whether the map knows the path."""
    level: Float[Array, ""]
    """Logarithm of the target's reflectivity; NaN where powers do not count."""
    prior: Float[Array, ""]
    """Log-probability of this choice among all paths of the map."""


def gather_candidates(
    near: NearbyPaths, heard: OneWayPaths, level
) -> tuple[NearbyPaths, Bool[Array, " slot"]]:
    """List the map's paths, then those of the echoes that it may not know.

    Returns:
        The paths, and which of them the map knows.
    """
    zero = jnp.zeros_like(heard.azimuth)
    volume = 1.5 * jnp.log(2 * jnp.pi) + 0.5 * jnp.log(
        heard.azimuth_variance * heard.zenith_variance * heard.length_variance
    )
    odds = jnp.log(_UNKNOWN_PATHS / _UNKNOWN_EXTENT) + jnp.clip(volume, -30.0, 0.0)
    # Of an unknown path's reflectivity half is the target's: `level` adds the whole of it.
    shift = jnp.where(jnp.isfinite(level), 0.5 * level, 0.0)
    free = NearbyPaths(
        place=near.place,
        mean=jnp.stack([heard.azimuth, heard.zenith, heard.length], axis=-1),
        slope=jnp.zeros((*zero.shape, 3, 3), zero.dtype),
        variance=jnp.zeros((*zero.shape, 3), zero.dtype),
        log_odds=jnp.where(heard.valid, odds, -1e3),
        log_gain=jnp.asarray(heard.log_gain) - shift,
        log_gain_variance=zero + 0.25,
        silent=near.silent,
    )
    both = near.join(free)
    return both, jnp.arange(both.log_odds.shape[0]) < near.log_odds.shape[0]


def _at(path: NearbyPaths, place) -> Candidates:
    """Predict the paths at a place nearby."""
    mean = path.mean + path.slope @ (place - path.place)
    columns = [*jnp.moveaxis(mean, -1, 0), *jnp.moveaxis(path.variance, -1, 0)]
    return Candidates._make([*columns, path.log_gain, path.log_gain_variance])


def choose(
    near: NearbyPaths, echo: EchoSet, heard: OneWayPaths | None, model: EchoModel, level, slack
) -> Chosen:
    """Choose greedily which candidates exist, then read the target's level off their echoes.

    Args:
        near: The map's paths at the place.
        echo: The echoes.
        heard: The echoes grouped into one-way paths; None where two stations took part.
        model: Detection, clutter, fluctuation.
        level: What is known of the target's level so far; NaN if nothing.
        slack: Variance of the target about the place, in each coordinate [m^2].
    """
    path, known = near, jnp.ones(near.log_odds.shape, bool)
    if heard is not None:
        path, known = gather_candidates(near, heard, level)
    cand = _at(path, near.place)
    odds = path.log_odds
    pairs = _allow(pair_intensity(echo, cand, cand, model, level, slack), path)
    count = odds.shape[0]
    pd = model.detection
    cross = (pairs + jnp.swapaxes(pairs, 1, 2)) * (1.0 - jnp.eye(count, dtype=pairs.dtype))[None]
    own = jnp.diagonal(pairs, axis1=1, axis2=2)

    def step(carry, _):
        exists, explained, adds = carry
        gain = jnp.sum(jnp.log1p(adds / explained[:, None]), axis=0)
        gain += odds - pd * _more_pairs(path, exists, 1)
        less = jnp.maximum(explained[:, None] - adds, 1.0) / explained[:, None]
        loss = jnp.sum(jnp.log(less), axis=0) - odds + pd * _more_pairs(path, exists, -1)
        value = jnp.where(exists, loss, gain)
        best = jnp.argmax(value)
        do, sign = value[best] > 0, jnp.where(exists[best], -1.0, 1.0).astype(pairs.dtype)
        flipped = exists.at[best].set(~exists[best])
        return (
            jnp.where(do, flipped, exists),
            jnp.where(do, jnp.maximum(explained + sign * adds[:, best], 1.0), explained),
            jnp.where(do, adds + sign * cross[:, :, best], adds),
        ), None

    start = (jnp.zeros(count, bool), jnp.ones(pairs.shape[:1], pairs.dtype), own)
    if path.way is not None:  # no path of one station explains anything alone
        start = _best_pair(pairs, cross, odds, pd)
    (exists, _, _), _ = jax.lax.scan(step, start, None, 12)
    # log p of what exists plus log(1 - p) of what does not, from the log-odds
    prior = jnp.sum(jnp.where(exists, odds, 0.0) - jnp.logaddexp(0.0, odds)) + near.silent
    _, index = jax.lax.top_k(exists.astype(odds.dtype), min(_MOST_CHOSEN, count))
    path, exists, known = path.pick(index), exists[index], known[index]
    share = _share(pairs[:, index[:, None], index[None]], exists)
    new = _target_level(share, path, known, echo, model)
    # A path read off the echoes has the level of this choice in its gain from here on.
    moved = jnp.where(jnp.isfinite(new), new, 0.0) - jnp.where(jnp.isfinite(level), level, 0.0)
    path = path._replace(log_gain=jnp.where(known, path.log_gain, path.log_gain - 0.5 * moved))
    return Chosen(path, exists, known, new, prior)


def _allow(pairs, path: NearbyPaths):
    """Rule out pairs whose way out is of the station that only hears, or the other way round."""
    if path.way is None:
        return pairs
    out, back = path.way != 2, path.way != 1
    return jnp.where((out[:, None] & back[None])[None], pairs, 0.0)


def _promised(path: NearbyPaths, exists):
    """Count the pairs of existing paths that could be heard."""
    if path.way is None:
        return jnp.sum(exists) ** 2
    return jnp.sum(exists & (path.way != 2)) * jnp.sum(exists & (path.way != 1))


def _more_pairs(path: NearbyPaths, exists, sign: int):
    """Count the pairs that each path would add where it is not yet, or that it has a part in."""
    if path.way is None:
        return 2 * jnp.sum(exists) + sign
    out, back = path.way != 2, path.way != 1
    leave, arrive = jnp.sum(exists & out), jnp.sum(exists & back)
    return out * arrive + back * leave + sign * (out & back)


def _best_pair(pairs, cross, odds, detection):
    """Begin with the one pair of paths that explains most, if any explains more than chance."""
    gain = jnp.sum(jnp.log1p(pairs), axis=0) + odds[:, None] + odds[None] - detection
    out, back = jnp.unravel_index(jnp.argmax(gain), gain.shape)
    good = gain[out, back] > 0
    exists = jnp.zeros(odds.shape, bool).at[jnp.stack([out, back])].set(good)
    share = good.astype(pairs.dtype)
    # what a path adds: its pairs with those that exist
    return exists, 1.0 + share * pairs[:, out, back], share * (cross[:, :, out] + cross[:, :, back])


def _target_level(share, path: NearbyPaths, known, echo: EchoSet, model: EchoModel):
    """Average what the echoes of known pairs have more than the map's gains."""
    variance = path.log_gain_variance
    both = (known[:, None] & known[None])[None]
    weight = share * both / (variance[:, None] + variance[None] + model.log_power_std**2)[None]
    gain = path.log_gain
    rest = echo.log_power[:, None, None] - (gain[:, None] + gain[None])[None]
    total = jnp.sum(weight)
    found = jnp.sum(weight * rest) / jnp.maximum(total, 1e-12)
    return jnp.where((total > 1e-6) & (model.power_counts > 0), found, jnp.nan)


def _share(pairs, exists):
    pairs = jnp.where((exists[:, None] & exists[None])[None], pairs, 0.0)
    return pairs / (1.0 + jnp.sum(pairs, axis=(1, 2), keepdims=True))


def _value(chosen: Chosen, echo: EchoSet, model: EchoModel, pairs):
    """Log-likelihood ratio of a place against clutter alone, with the prior of what exists."""
    both = chosen.exists[:, None] & chosen.exists[None]
    told = jnp.sum(jnp.log1p(jnp.sum(jnp.where(both[None], pairs, 0.0), axis=(1, 2))))
    promised = model.detection * _promised(chosen.path, chosen.exists)
    return jnp.where(jnp.any(echo.valid), told - promised + chosen.prior, 0.0)


def value_gradient_curvature(chosen: Chosen, echo: EchoSet, model: EchoModel, place, slack=0.0):
    """Log-likelihood with its gradient and Gauss-Newton curvature in position.

    Each echo's pull is shared among the pairs in proportion to their intensity there.  Slack, the
    variance of the target about the place in each coordinate [m^2], blurs the likelihood: sharp
    echoes do not pull from farther than their errors.
    """
    cand = _at(chosen.path, place)
    turn = slack / jnp.maximum(cand.length, 1.0) ** 2
    cand = cand._replace(
        azimuth_variance=cand.azimuth_variance + turn, zenith_variance=cand.zenith_variance + turn
    )
    echo = echo._replace(length_std=jnp.sqrt(echo.length_std**2 + slack))
    pairs = _allow(pair_intensity(echo, cand, cand, model, chosen.level), chosen.path)
    share = _share(pairs, chosen.exists)
    jacobian = chosen.path.slope
    out, back = jnp.sum(share, axis=2), jnp.sum(share, axis=1)

    def angle(departure, arrival, departure_std, arrival_std, mean, spread, wrap):
        a = out / (departure_std[:, None] ** 2 + spread[None])
        b = back / (arrival_std[:, None] ** 2 + spread[None])
        pull = a * wrap(departure[:, None] - mean[None])
        pull += b * wrap(arrival[:, None] - mean[None])
        return jnp.sum(pull, axis=0), jnp.sum(a + b, axis=0)

    turn, stiff = angle(
        echo.departure_azimuth, echo.arrival_azimuth, echo.departure_azimuth_std,
        echo.arrival_azimuth_std, cand.azimuth, cand.azimuth_variance, wrap_angle,
    )  # fmt: skip
    nod, firm = angle(
        echo.departure_zenith, echo.arrival_zenith, echo.departure_zenith_std,
        echo.arrival_zenith_std, cand.zenith, cand.zenith_variance, lambda angle: angle,
    )  # fmt: skip
    spread = cand.length_variance[:, None] + cand.length_variance[None]
    weight = share / (echo.length_std[:, None, None] ** 2 + spread[None])
    miss = echo.length[:, None, None] - (cand.length[:, None] + cand.length[None])[None]
    moved = jnp.sum(weight * miss, axis=0)
    push = moved.sum(axis=0) + moved.sum(axis=1)
    joint = _join(jnp.sum(weight, axis=0))
    gradient = turn @ jacobian[:, 0] + nod @ jacobian[:, 1] + push @ jacobian[:, 2]
    curvature = (
        jacobian[:, 0].T @ (stiff[:, None] * jacobian[:, 0])
        + jacobian[:, 1].T @ (firm[:, None] * jacobian[:, 1])
        + jacobian[:, 2].T @ joint @ jacobian[:, 2]
    )
    return _value(chosen, echo, model, pairs), gradient, curvature


def _join(sums):
    """Turn the weights of sums of two lengths into those of the lengths themselves."""
    return sums + sums.T + jnp.diag(sums.sum(axis=0) + sums.sum(axis=1))


def position_information(chosen: Chosen, echo: EchoSet, model: EchoModel, place):
    """Fisher information of the place, a map's error being shared by all echoes of a path.

    Returns:
        The information [1/m^2], the number of echoes explained, and of echoes heard.
    """
    cand = _at(chosen.path, place)
    pairs = _allow(pair_intensity(echo, cand, cand, model, chosen.level), chosen.path)
    share = _share(pairs, chosen.exists)
    jacobian = chosen.path.slope
    out, back = jnp.sum(share, axis=2), jnp.sum(share, axis=1)

    def information(departure_std, arrival_std, spread):
        looks = jnp.sum(
            out / departure_std[:, None] ** 2 + back / arrival_std[:, None] ** 2, axis=0
        )
        return looks / (1.0 + looks * spread)

    azimuth = information(
        echo.departure_azimuth_std, echo.arrival_azimuth_std, cand.azimuth_variance
    )
    zenith = information(echo.departure_zenith_std, echo.arrival_zenith_std, cand.zenith_variance)
    joint = _join(jnp.sum(share / echo.length_std[:, None, None] ** 2, axis=0))
    variance = jnp.where(chosen.known, cand.length_variance, 1e6)  # unknown paths tell nothing
    delay = joint @ jnp.linalg.inv(jnp.eye(joint.shape[0]) + variance[:, None] * joint)
    total = (
        jacobian[:, 0].T @ (azimuth[:, None] * jacobian[:, 0])
        + jacobian[:, 1].T @ (zenith[:, None] * jacobian[:, 1])
        + jacobian[:, 2].T @ delay @ jacobian[:, 2]
    )
    explained = jnp.sum(share * (chosen.known[:, None] & chosen.known[None])[None])
    return total, explained, jnp.sum(echo.valid)
