"""How well a place explains the echoes, and the nearest place that explains them best.

At a place the map offers paths, each with its presence; some exist, and every ordered pair of
those is heard with the probability of detection, among false echoes.  Which exist is chosen
greedily, from the map's paths and from paths of the echoes that the map may not know.  Echoes
keep no labels: each is a mixture over all pairs, by which also the gradient is shared out.

Takes a map's predictions near a place, an `EchoSet` and its `OneWayPaths`.
Gives the log-likelihood, the refined place and its information.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.channel_map import PathPrior
from echoscape.localization.grouping import (
    Candidates,
    EchoModel,
    EchoSet,
    OneWayPaths,
    pair_intensity,
    wrap_angle,
)
from echoscape.units import SPEED_OF_LIGHT

_UNKNOWN_PATHS = 0.5  # expected number of paths that the map does not know
_UNKNOWN_EXTENT = 2 * jnp.pi * 0.6 * 400.0  # where they may lie [rad^2 m]


class View(NamedTuple):
    """One station's part of the search for one target, near one start."""

    near: Callable[[Float[Array, "3"]], PathPrior]
    """The map's predictions with identities held (`ChannelMap.around`)."""
    slot: Array
    """Slots of the map that matter here."""
    echo: EchoSet
    """What the station heard."""
    paths: OneWayPaths
    """The same, grouped."""
    model: EchoModel
    """Detection, clutter, fluctuation."""
    silent: Float[Array, ""]
    """Log-probability that the map's other slots are absent."""


class Choice(NamedTuple):
    """Which candidates exist, and how strongly the target reflects."""

    exists: Bool[Array, " slot"]
    level: Float[Array, ""]


def make_view(near, start, echo, paths, model, keep: int, slack) -> View:
    """Keep the map's slots that match the grouped paths best."""
    prior = near(start)
    spread_a = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
    turn = slack / jnp.maximum(SPEED_OF_LIGHT * prior.delay, 1.0) ** 2
    tilt = (spread_a[:, 1] + turn)[None] + paths.zenith_variance[:, None]
    square = (
        wrap_angle(prior.departure_azimuth[None] - paths.azimuth[:, None]) ** 2
        / ((spread_a[:, 0] + turn)[None] + paths.azimuth_variance[:, None])
        + (prior.departure_zenith[None] - paths.zenith[:, None]) ** 2 / (tilt + 1e-6)
        + (SPEED_OF_LIGHT * prior.delay[None] - paths.length[:, None]) ** 2
        / (SPEED_OF_LIGHT**2 * spread_a[None, :, 2] + paths.length_variance[:, None] + slack)
    )
    match = jnp.max(jnp.where(paths.valid[:, None], -0.5 * square, -1e9), axis=0)
    chance = jnp.clip(prior.probability, 1e-7, 0.98)
    _, slot = jax.lax.top_k(match + jnp.log(chance), min(keep, chance.shape[0]))
    silent = jnp.sum(jnp.log1p(-chance)) - jnp.sum(jnp.log1p(-chance[slot]))
    return View(near, slot, echo, paths, model, silent)


def _mean(view: View, place) -> Float[Array, "slot 3"]:
    prior = view.near(place)
    return jnp.stack(
        [prior.departure_azimuth, prior.departure_zenith, SPEED_OF_LIGHT * prior.delay], axis=-1
    )[view.slot]


def candidates(view: View, place) -> tuple[Candidates, Float[Array, " slot"]]:
    """List the map's paths at a place, then those of the echoes; with their log-odds."""
    prior = view.near(place)
    pick = lambda leaf: leaf[view.slot]  # noqa: E731
    spread = pick(jnp.diagonal(prior.covariance, axis1=-2, axis2=-1))
    chance = jnp.clip(pick(prior.probability), 1e-7, 0.98)
    paths = view.paths
    gain_std = 3.0 if prior.log_power_std is None else pick(prior.log_power_std)
    own = Candidates(
        azimuth=pick(prior.departure_azimuth),
        zenith=pick(prior.departure_zenith),
        length=SPEED_OF_LIGHT * pick(prior.delay),
        azimuth_variance=spread[:, 0],
        zenith_variance=spread[:, 1] + 1e-6,
        length_variance=SPEED_OF_LIGHT**2 * spread[:, 2],
        log_gain=jnp.log(jnp.maximum(pick(prior.power), 1e-30)),
        log_gain_variance=gain_std**2 * jnp.ones_like(chance),
    )
    zero = jnp.zeros_like(paths.azimuth)
    # Of an unknown path's reflectivity half is the target's: `level` adds the whole of it.
    free = Candidates(
        paths.azimuth, paths.zenith, paths.length, zero, zero, zero,
        paths.log_gain, zero + 0.25,
    )  # fmt: skip
    volume = 1.5 * jnp.log(2 * jnp.pi) + 0.5 * jnp.log(
        paths.azimuth_variance * paths.zenith_variance * paths.length_variance
    )
    odds = jnp.log(_UNKNOWN_PATHS / _UNKNOWN_EXTENT) + jnp.clip(volume, -30.0, 0.0)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), own, free)
    odds = jnp.where(paths.valid, odds, -1e3)
    return both, jnp.concatenate([jnp.log(chance) - jnp.log1p(-chance), odds])


def _level_free(cand: Candidates, view: View, level):
    """Take the target's level out of the gains of paths read off the echoes."""
    own = view.slot.shape[0]
    shift = jnp.where(jnp.isfinite(level), 0.5 * level, 0.0)
    return cand._replace(log_gain=jnp.asarray(cand.log_gain).at[own:].add(-shift))


def _intensity(view: View, place, level, slack):
    cand, odds = candidates(view, place)
    cand = _level_free(cand, view, level)
    return pair_intensity(view.echo, cand, cand, view.model, level, slack), cand, odds


def choose(view: View, place, level, slack) -> Choice:
    """Choose greedily which candidates exist, then read the target's level off their echoes."""
    pairs, cand, odds = _intensity(view, place, level, slack)
    count = odds.shape[0]
    pd = view.model.detection
    cross = (pairs + jnp.swapaxes(pairs, 1, 2)) * (1.0 - jnp.eye(count, dtype=pairs.dtype))[None]

    def step(carry, _):
        exists, explained, adds = carry
        some = jnp.sum(exists)
        gain = jnp.sum(jnp.log1p(adds / explained[:, None]), axis=0)
        gain += odds - pd * (2 * some + 1)
        less = jnp.maximum(explained[:, None] - adds, 1.0) / explained[:, None]
        loss = jnp.sum(jnp.log(less), axis=0) - odds + pd * (2 * some - 1)
        value = jnp.where(exists, loss, gain)
        best = jnp.argmax(value)
        do, sign = value[best] > 0, jnp.where(exists[best], -1.0, 1.0).astype(pairs.dtype)
        flipped = exists.at[best].set(~exists[best])
        return (
            jnp.where(do, flipped, exists),
            jnp.where(do, jnp.maximum(explained + sign * adds[:, best], 1.0), explained),
            jnp.where(do, adds + sign * cross[:, :, best], adds),
        ), None

    start = (
        jnp.zeros(count, bool), jnp.ones(pairs.shape[:1], pairs.dtype),
        jnp.diagonal(pairs, axis1=1, axis2=2),
    )  # fmt: skip
    (exists, _, _), _ = jax.lax.scan(step, start, None, 12)
    share = _share(pairs, exists)
    fixed = jnp.arange(count) < view.slot.shape[0]
    spread = cand.log_gain_variance[:, None] + cand.log_gain_variance[None]
    weight = (
        share * (fixed[:, None] & fixed[None])[None] / (spread + view.model.log_power_std**2)[None]
    )
    rest = view.echo.log_power[:, None, None] - (cand.log_gain[:, None] + cand.log_gain[None])[None]
    total = jnp.sum(weight)
    found = jnp.sum(weight * rest) / jnp.maximum(total, 1e-12)
    level = jnp.where((total > 1e-6) & (view.model.power_counts > 0), found, jnp.nan)
    return Choice(exists, level)


def _share(pairs, exists):
    pairs = jnp.where((exists[:, None] & exists[None])[None], pairs, 0.0)
    return pairs / (1.0 + jnp.sum(pairs, axis=(1, 2), keepdims=True))


def _value(view, choice, pairs, odds):
    """Log-likelihood ratio of a place against clutter alone, with the prior of what exists."""
    both = choice.exists[:, None] & choice.exists[None]
    told = jnp.sum(jnp.log1p(jnp.sum(jnp.where(both[None], pairs, 0.0), axis=(1, 2))))
    promised = view.model.detection * jnp.sum(choice.exists) ** 2
    # log p of what exists plus log(1 - p) of what does not, from the log-odds
    prior = jnp.sum(jnp.where(choice.exists, odds, 0.0) - jnp.logaddexp(0.0, odds))
    heard = jnp.any(view.echo.valid)
    return jnp.where(heard, told - promised + prior + view.silent, 0.0)


def value_gradient_curvature(view: View, choice: Choice, place):
    """Log-likelihood with its gradient and Gauss-Newton curvature in position.

    Each echo's pull is shared among the pairs in proportion to their intensity there.
    """
    pairs, cand, odds = _intensity(view, place, choice.level, 0.0)
    share = _share(pairs, choice.exists)
    own = view.slot.shape[0]
    jacobian = jax.jacfwd(lambda x: _mean(view, x))(place)
    echo = view.echo
    out, back = jnp.sum(share, axis=2)[:, :own], jnp.sum(share, axis=1)[:, :own]

    def angle(departure, arrival, departure_std, arrival_std, mean, spread, wrap):
        a = out / (departure_std[:, None] ** 2 + spread[None, :own])
        b = back / (arrival_std[:, None] ** 2 + spread[None, :own])
        pull = a * wrap(departure[:, None] - mean[None, :own])
        pull += b * wrap(arrival[:, None] - mean[None, :own])
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
    push = (moved.sum(axis=0) + moved.sum(axis=1))[:own]
    sums = jnp.sum(weight, axis=0)
    joint = sums + sums.T + jnp.diag(sums.sum(axis=0) + sums.sum(axis=1))
    gradient = turn @ jacobian[:, 0] + nod @ jacobian[:, 1] + push @ jacobian[:, 2]
    curvature = (
        jacobian[:, 0].T @ (stiff[:, None] * jacobian[:, 0])
        + jacobian[:, 1].T @ (firm[:, None] * jacobian[:, 1])
        + jacobian[:, 2].T @ joint[:own, :own] @ jacobian[:, 2]
    )
    return _value(view, choice, pairs, odds), gradient, curvature


def position_information(view: View, choice: Choice, place):
    """Fisher information of the place, a map's error being shared by all echoes of a path.

    Returns:
        The information [1/m^2], the number of echoes explained, and of echoes heard.
    """
    pairs, cand, _ = _intensity(view, place, choice.level, 0.0)
    share = _share(pairs, choice.exists)
    own = view.slot.shape[0]
    jacobian = jax.jacfwd(lambda x: _mean(view, x))(place)
    echo = view.echo
    out, back = jnp.sum(share, axis=2)[:, :own], jnp.sum(share, axis=1)[:, :own]

    def information(departure_std, arrival_std, spread):
        looks = jnp.sum(
            out / departure_std[:, None] ** 2 + back / arrival_std[:, None] ** 2, axis=0
        )
        return looks / (1.0 + looks * spread[:own])

    azimuth = information(
        echo.departure_azimuth_std, echo.arrival_azimuth_std, cand.azimuth_variance
    )
    zenith = information(echo.departure_zenith_std, echo.arrival_zenith_std, cand.zenith_variance)
    sums = jnp.sum(share / echo.length_std[:, None, None] ** 2, axis=0)
    joint = sums + sums.T + jnp.diag(sums.sum(axis=0) + sums.sum(axis=1))
    fixed = jnp.arange(joint.shape[0]) < own
    variance = jnp.where(fixed, cand.length_variance, 1e6)  # unknown paths tell nothing
    delay = joint @ jnp.linalg.inv(jnp.eye(joint.shape[0]) + variance[:, None] * joint)
    total = (
        jacobian[:, 0].T @ (azimuth[:, None] * jacobian[:, 0])
        + jacobian[:, 1].T @ (zenith[:, None] * jacobian[:, 1])
        + jacobian[:, 2].T @ delay[:own, :own] @ jacobian[:, 2]
    )
    known = jnp.sum(share * (fixed[:, None] & fixed[None])[None])
    return total, known, jnp.sum(echo.valid)
