"""Likelihood of a position given unordered echoes, their associations marginalised.

At a position the map predicts paths, each with its probability of presence; some exist, and every
ordered pair of those is detected with the probability of detection, among false echoes.  Which
exist is selected greedily, from the map's paths and from paths of the echoes that the map may not
know.  Every echo has a mixture likelihood over all pairs of existing paths, and the gradient uses
the responsibilities.

Takes `LinearisedPaths`, an `EchoSet` and its `OneWayPaths`.
Gives the log-likelihood, its gradient and curvature in position, and the information.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.localization.unassociated.linearised_map import LinearisedPaths
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
_MOST_EXISTING = 10  # paths of one target that one station can resolve
_SELECTION_STEPS = 12  # paths added or removed


class SelectedPaths(NamedTuple):
    """The paths that exist, and how strongly the target reflects."""

    path: LinearisedPaths
    """Their predictions; a path estimated from the echoes does not move with the position."""
    exists: Bool[Array, " selected"]
    """False for padding."""
    known: Bool[Array, " selected"]
    """Whether the map knows the path."""
    log_reflectivity: Float[Array, ""]
    """Logarithm of the target's reflectivity; NaN where powers do not count."""
    prior: Float[Array, ""]
    """Log-probability of this selection among all paths of the map."""


def join_candidates(
    predicted: LinearisedPaths, observed: OneWayPaths, log_reflectivity
) -> tuple[LinearisedPaths, Bool[Array, " slot"]]:
    """List the map's paths, then those estimated from the echoes that it may not know.

    Returns:
        The paths, and which of them the map knows.
    """
    zero = jnp.zeros_like(observed.azimuth)
    volume = 1.5 * jnp.log(2 * jnp.pi) + 0.5 * jnp.log(
        observed.azimuth_variance * observed.zenith_variance * observed.length_variance
    )
    odds = jnp.log(_UNKNOWN_PATHS / _UNKNOWN_EXTENT) + jnp.clip(volume, -30.0, 0.0)
    # Of an unknown path's reflectivity half is the target's: the pair adds the whole.
    known = jnp.isfinite(log_reflectivity)
    shift = jnp.where(known, 0.5 * log_reflectivity, 0.0)
    unknown = LinearisedPaths(
        position=predicted.position,
        mean=jnp.stack([observed.azimuth, observed.zenith, observed.length], axis=-1),
        slope=jnp.zeros((*zero.shape, 3, 3), zero.dtype),
        variance=jnp.zeros((*zero.shape, 3), zero.dtype),
        log_odds=jnp.where(observed.valid, odds, -1e3),
        log_gain=jnp.asarray(observed.log_gain) - shift,
        log_gain_variance=zero + 0.25,
        log_absent=predicted.log_absent,
    )
    both = predicted.join(unknown)
    return both, jnp.arange(both.log_odds.shape[0]) < predicted.log_odds.shape[0]


def _at(path: LinearisedPaths, position) -> Candidates:
    """Predict the paths at a position nearby."""
    mean = path.mean + path.slope @ (position - path.position)
    columns = [*jnp.moveaxis(mean, -1, 0), *jnp.moveaxis(path.variance, -1, 0)]
    return Candidates._make([*columns, path.log_gain, path.log_gain_variance])


def select_paths(
    predicted: LinearisedPaths,
    echo: EchoSet,
    observed: OneWayPaths | None,
    model: EchoModel,
    log_reflectivity,
    position_variance,
) -> SelectedPaths:
    """Select greedily which paths exist, then estimate the target's reflectivity from their echoes.

    Args:
        predicted: The map's paths at the position.
        echo: The echoes.
        observed: The one-leg paths under the echoes; None where two stations took part.
        model: Detection, clutter, fluctuation.
        log_reflectivity: Logarithm of the reflectivity as far as it is known; NaN if not.
        position_variance: Of the target about the position, in each coordinate [m^2].
    """
    path, known = predicted, jnp.ones(predicted.log_odds.shape, bool)
    if observed is not None:
        path, known = join_candidates(predicted, observed, log_reflectivity)
    cand = _at(path, predicted.position)
    odds = path.log_odds
    pairs = _allow(
        pair_intensity(echo, cand, cand, model, log_reflectivity, position_variance), path
    )
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
    if path.leg is not None:  # no leg explains anything alone
        start = _best_pair(pairs, cross, odds, pd)
    (exists, _, _), _ = jax.lax.scan(step, start, None, _SELECTION_STEPS)
    # log p of what exists plus log(1 - p) of what does not, from the log-odds
    prior = jnp.sum(jnp.where(exists, odds, 0.0) - jnp.logaddexp(0.0, odds)) + predicted.log_absent
    _, index = jax.lax.top_k(exists.astype(odds.dtype), min(_MOST_EXISTING, count))
    path, exists, known = path.pick(index), exists[index], known[index]
    share = _share(pairs[:, index[:, None], index[None]], exists)
    new = _estimate_log_reflectivity(share, path, known, echo, model)
    # A path estimated from the echoes has the new reflectivity in its gain from here on.
    before = jnp.where(jnp.isfinite(log_reflectivity), log_reflectivity, 0.0)
    moved = jnp.where(jnp.isfinite(new), new, 0.0) - before
    path = path._replace(log_gain=jnp.where(known, path.log_gain, path.log_gain - 0.5 * moved))
    return SelectedPaths(path, exists, known, new, prior)


def _allow(pairs, path: LinearisedPaths):
    """Rule out pairs whose forward leg is the receiver's, or whose return leg the transmitter's."""
    if path.leg is None:
        return pairs
    out, back = path.leg != 2, path.leg != 1
    return jnp.where((out[:, None] & back[None])[None], pairs, 0.0)


def _count_pairs(path: LinearisedPaths, exists):
    """Count the pairs of existing paths that could be detected."""
    if path.leg is None:
        return jnp.sum(exists) ** 2
    return jnp.sum(exists & (path.leg != 2)) * jnp.sum(exists & (path.leg != 1))


def _more_pairs(path: LinearisedPaths, exists, sign: int):
    """Count the pairs that each path would add where it is not yet, or that it has a part in."""
    if path.leg is None:
        return 2 * jnp.sum(exists) + sign
    out, back = path.leg != 2, path.leg != 1
    forward, backward = jnp.sum(exists & out), jnp.sum(exists & back)
    return out * backward + back * forward + sign * (out & back)


def _best_pair(pairs, cross, odds, detection):
    """Begin with the one pair of legs that explains most, if any is better than clutter."""
    gain = jnp.sum(jnp.log1p(pairs), axis=0) + odds[:, None] + odds[None] - detection
    out, back = jnp.unravel_index(jnp.argmax(gain), gain.shape)
    good = gain[out, back] > 0
    exists = jnp.zeros(odds.shape, bool).at[jnp.stack([out, back])].set(good)
    share = good.astype(pairs.dtype)
    # what a path adds: its pairs with those that exist
    return exists, 1.0 + share * pairs[:, out, back], share * (cross[:, :, out] + cross[:, :, back])


def _estimate_log_reflectivity(
    share, path: LinearisedPaths, known, echo: EchoSet, model: EchoModel
):
    """Average how much stronger the echoes of known pairs are than the map's gains."""
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


def _value(selected: SelectedPaths, echo: EchoSet, model: EchoModel, pairs):
    """Log-likelihood ratio to clutter alone, with the prior of what exists.

    Pairs of existing paths that were not detected cost their expected number (a Poisson process).
    """
    both = selected.exists[:, None] & selected.exists[None]
    log_explained = jnp.sum(jnp.log1p(jnp.sum(jnp.where(both[None], pairs, 0.0), axis=(1, 2))))
    expected = model.detection * _count_pairs(selected.path, selected.exists)
    return jnp.where(jnp.any(echo.valid), log_explained - expected + selected.prior, 0.0)


def evaluate(
    selected: SelectedPaths,
    echo: EchoSet,
    model: EchoModel,
    position,
    position_variance: float | Array = 0.0,
):
    """Log-likelihood with its gradient and Gauss-Newton curvature in position.

    Each echo's pull is shared among the pairs in proportion to their intensity there.  A variance
    of the position [m^2] tempers the likelihood: sharp echoes attract from farther than their
    errors.
    """
    cand = _at(selected.path, position)
    subtended = position_variance / jnp.maximum(cand.length, 1.0) ** 2
    cand = cand._replace(
        azimuth_variance=cand.azimuth_variance + subtended,
        zenith_variance=cand.zenith_variance + subtended,
    )
    echo = echo._replace(length_std=jnp.sqrt(echo.length_std**2 + position_variance))
    pairs = _allow(
        pair_intensity(echo, cand, cand, model, selected.log_reflectivity), selected.path
    )
    share = _share(pairs, selected.exists)
    jacobian = selected.path.slope
    out, back = jnp.sum(share, axis=2), jnp.sum(share, axis=1)

    def angle(departure, arrival, departure_std, arrival_std, mean, variance, wrap):
        a = out / (departure_std[:, None] ** 2 + variance[None])
        b = back / (arrival_std[:, None] ** 2 + variance[None])
        pull = a * wrap(departure[:, None] - mean[None])
        pull += b * wrap(arrival[:, None] - mean[None])
        return jnp.sum(pull, axis=0), jnp.sum(a + b, axis=0)

    azimuth_pull, azimuth_weight = angle(
        echo.departure_azimuth, echo.arrival_azimuth, echo.departure_azimuth_std,
        echo.arrival_azimuth_std, cand.azimuth, cand.azimuth_variance, wrap_angle,
    )  # fmt: skip
    zenith_pull, zenith_weight = angle(
        echo.departure_zenith, echo.arrival_zenith, echo.departure_zenith_std,
        echo.arrival_zenith_std, cand.zenith, cand.zenith_variance, lambda angle: angle,
    )  # fmt: skip
    variance = cand.length_variance[:, None] + cand.length_variance[None]
    weight = share / (echo.length_std[:, None, None] ** 2 + variance[None])
    residual = echo.length[:, None, None] - (cand.length[:, None] + cand.length[None])[None]
    moved = jnp.sum(weight * residual, axis=0)
    push = moved.sum(axis=0) + moved.sum(axis=1)
    joint = _join(jnp.sum(weight, axis=0))
    gradient = azimuth_pull @ jacobian[:, 0] + zenith_pull @ jacobian[:, 1]
    gradient += push @ jacobian[:, 2]
    curvature = (
        jacobian[:, 0].T @ (azimuth_weight[:, None] * jacobian[:, 0])
        + jacobian[:, 1].T @ (zenith_weight[:, None] * jacobian[:, 1])
        + jacobian[:, 2].T @ joint @ jacobian[:, 2]
    )
    return _value(selected, echo, model, pairs), gradient, curvature


def _join(sums):
    """Turn the weights of sums of two lengths into those of the lengths themselves."""
    return sums + sums.T + jnp.diag(sums.sum(axis=0) + sums.sum(axis=1))


def fisher_information(selected: SelectedPaths, echo: EchoSet, model: EchoModel, position):
    """Fisher information of the position, a map's error being shared by all echoes of a path.

    Returns:
        The information [1/m^2], the number of echoes that known paths explain, of echoes detected,
        and the probability that each echo is of existing paths.
    """
    cand = _at(selected.path, position)
    pairs = _allow(
        pair_intensity(echo, cand, cand, model, selected.log_reflectivity), selected.path
    )
    share = _share(pairs, selected.exists)
    jacobian = selected.path.slope
    out, back = jnp.sum(share, axis=2), jnp.sum(share, axis=1)

    def information(departure_std, arrival_std, variance):
        count = jnp.sum(
            out / departure_std[:, None] ** 2 + back / arrival_std[:, None] ** 2, axis=0
        )
        return count / (1.0 + count * variance)

    azimuth = information(
        echo.departure_azimuth_std, echo.arrival_azimuth_std, cand.azimuth_variance
    )
    zenith = information(echo.departure_zenith_std, echo.arrival_zenith_std, cand.zenith_variance)
    joint = _join(jnp.sum(share / echo.length_std[:, None, None] ** 2, axis=0))
    # Unknown paths are uninformative.
    variance = jnp.where(selected.known, cand.length_variance, 1e6)
    delay = joint @ jnp.linalg.inv(jnp.eye(joint.shape[0]) + variance[:, None] * joint)
    total = (
        jacobian[:, 0].T @ (azimuth[:, None] * jacobian[:, 0])
        + jacobian[:, 1].T @ (zenith[:, None] * jacobian[:, 1])
        + jacobian[:, 2].T @ delay @ jacobian[:, 2]
    )
    explained = jnp.sum(share * (selected.known[:, None] & selected.known[None])[None])
    return total, explained, jnp.sum(echo.valid), jnp.sum(share, axis=(1, 2))
