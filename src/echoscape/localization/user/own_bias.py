"""The clock and the heading of a user who knows neither, marginalised at every place.

A clock that is off makes all lengths of a user too long alike; a heading that is off turns all its
arrival azimuths alike.  Which path of the map each path is stays a mixture.  At every place the two
start from what a single matching pair of paths says of them, follow by expectation maximisation,
and are integrated out by Laplace's approximation.  The map says where its paths come from: a
length grows along the direction in which its path arrives, whatever the kind of map.

Takes a `ChannelMap`, positions, and users' `PathEstimates`.
Gives `OwnBias`: the score of every position, with the clock and the heading that belong to it.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.channel_map import ChannelMap
from echoscape.estimation import AnyArray, PathEstimates
from echoscape.units import wrap_angle

UNKNOWNS = ("user-clock", "user-heading")
"""What a user may not know of itself."""
_UNMEASURED = 2.5  # standard deviation of an angle that was not measured [rad]
_MATCHES = 24  # paths of the map compared with each of a user's
_PROPOSING = 6  # of them, those that propose a clock
_STARTS = 2  # proposals that are followed
_STEPS = 4  # of expectation maximisation
_TOGETHER = 256  # positions in memory at a time
_APART = 9.0  # squared deviations between two starts


class OwnBias(NamedTuple):
    """What users' own clocks and headings are at each position; zero where known."""

    score: Float[AnyArray, "user cell"]
    """Log-likelihood of the position with both marginalised, up to a constant of the user."""
    clock: Float[AnyArray, "user cell"]
    """Length that all paths of the user are too long by [m]."""
    clock_variance: Float[AnyArray, "user cell"]
    """Its variance there [m^2]."""
    heading: Float[AnyArray, "user cell"]
    """Angle that all its arrival azimuths are turned by [rad]."""
    heading_variance: Float[AnyArray, "user cell"]
    """Its variance there [rad^2]."""


class _Pairs(NamedTuple):
    """Paths of a user beside the map's that match each, at one position: [path, match]."""

    log_weight: Float[Array, "path match"]
    """Log-density of the departure and odds of the map's path, lengths and arrivals left out."""
    late: Float[Array, "path match"]
    """Length over the map's [m]."""
    late_variance: Float[Array, "path match"]
    """Its variance."""
    turned: Float[Array, "path match"]
    """Arrival azimuth less the map's [rad]."""
    turned_variance: Float[Array, "path match"]
    """Its variance."""
    directed: Float[Array, "path match"]
    """1 where the arrival was measured and the map knows it, else 0."""
    stranger: Float[Array, " path"]
    """Log-density of a path that the map does not know."""


@eqx.filter_jit
def score_with_bias(
    channel_map: ChannelMap,
    position: Float[Array, "cell 3"],
    estimates: PathEstimates,
    numbers: Float[Array, "3"],
    unknown: tuple[str, ...],
) -> OwnBias:
    """Score positions of users whose clock or heading is unknown.

    Args:
        channel_map: Predicts paths.
        position: Where [m].
        estimates: Paths of every user, [user, path].
        numbers: Smallest deviation of an azimuth [rad] and of a length [m], and the expected number
            of paths that the map does not know.
        unknown: Which of `UNKNOWNS`; arrival azimuths count where the heading is.
    """
    clock, heading = (name in unknown for name in UNKNOWNS)

    def one(place):
        near = channel_map.around(place)
        prior = near(place)
        slope = jax.jacfwd(lambda p: near(p).length)(place)[:, :2]
        absent = jnp.sum(jnp.log1p(-jnp.clip(prior.probability, 0.0, 0.98)))

        def one_user(user):
            span = jnp.maximum(jnp.max(jnp.where(user.valid, user.length, 0.0)), 1.0)
            pairs = _match(prior, slope, user, numbers, span, clock, heading)
            found = _marginalise(pairs, span, clock, heading)
            return found._replace(score=found.score + absent)

        return jax.vmap(one_user)(estimates)

    found = jax.lax.map(one, position, batch_size=_TOGETHER)
    return OwnBias(*(jnp.swapaxes(leaf, 0, 1) for leaf in found))


def _match(prior, slope, user, numbers, span, clock: bool, heading: bool) -> _Pairs:
    """Compare each path of a user with the paths of the map that match it best."""
    azimuth_std, length_std, strangers = numbers
    spread = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)
    probability = jnp.clip(prior.probability, 0.0, 0.98)
    odds = jnp.log(jnp.maximum(probability, 1e-12)) - jnp.log1p(-probability)
    u = spread[None, :, 0] + jnp.maximum(user.departure_azimuth_std, azimuth_std)[:, None] ** 2
    w = spread[None, :, 2] + jnp.maximum(user.length_std, length_std)[:, None] ** 2
    zenith_std = jnp.minimum(user.departure_zenith_std, _UNMEASURED)
    v = spread[None, :, 1] + zenith_std[:, None] ** 2 + 1e-6
    square = wrap_angle(user.departure_azimuth[:, None] - prior.departure_azimuth[None]) ** 2 / u
    away = user.departure_zenith[:, None] - prior.departure_zenith[None]
    square += jnp.where(v < 0.5 * _UNMEASURED**2, away**2 / v + jnp.log(v), 0.0)
    late = user.length[:, None] - prior.length[None]
    measured = user.arrival_azimuth_std < 0.5 * _UNMEASURED
    own = jnp.where(measured, jnp.maximum(user.arrival_azimuth_std, azimuth_std), 1.0)
    coming = jnp.arctan2(-slope[:, 1], -slope[:, 0])
    moving = jnp.sum(slope**2, axis=1) > 0.25  # else nothing tells where the path comes from
    counted = (heading & measured)[:, None]
    log_weight = odds[None] - 0.5 * (square + jnp.log(u * w)) - jnp.log(2 * jnp.pi)
    log_weight -= jnp.where(counted & ~moving[None], jnp.log(2 * jnp.pi), 0.0)
    rank = log_weight if clock else log_weight - 0.5 * late**2 / w
    best = jax.lax.top_k(rank, min(_MATCHES, rank.shape[1]))[1]
    pick = lambda leaf: jnp.take_along_axis(leaf, best, axis=1)  # noqa: E731
    stranger = jnp.log(strangers / (2 * jnp.pi * span))
    stranger = stranger - jnp.where(heading & measured, jnp.log(2 * jnp.pi), 0.0)
    valid = user.valid
    return _Pairs(
        log_weight=jnp.where(valid[:, None], pick(log_weight), -1e9),
        late=pick(late),
        late_variance=pick(w),
        turned=pick(wrap_angle(user.arrival_azimuth[:, None] - coming[None])),
        turned_variance=pick(spread[None, :, 0] + own[:, None] ** 2),
        directed=1.0 * pick(counted & moving[None]),
        stranger=jnp.where(valid, stranger, 0.0),
    )


def _log_terms(pairs: _Pairs, clock, heading):
    """Give the log-density of every pair at one clock and heading."""
    late = (pairs.late - clock) ** 2 / pairs.late_variance
    turned = wrap_angle(pairs.turned - heading) ** 2 / pairs.turned_variance
    turned += jnp.log(2 * jnp.pi * pairs.turned_variance)
    return pairs.log_weight - 0.5 * (late + pairs.directed * turned)


def _total(pairs: _Pairs, log):
    return jnp.sum(jnp.logaddexp(jax.nn.logsumexp(log, axis=1), pairs.stranger))


def _marginalise(pairs: _Pairs, span, clock: bool, heading: bool) -> OwnBias:
    """Integrate the clock and the heading out of the likelihood of one position."""
    free = jnp.array([1.0 * clock, 1.0 * heading])
    blind = pairs._replace(directed=0.0 * pairs.directed)
    proposed = jnp.zeros(1)
    if clock:
        proposed = pairs.late[:, : min(_PROPOSING, pairs.late.shape[1])].reshape(-1)
    score = jax.vmap(lambda c: _total(blind, _log_terms(blind, c, 0.0)))(proposed)
    wide = jnp.mean(pairs.late_variance)
    starts = []
    for _ in range(_STARTS if clock else 1):
        best = proposed[jnp.argmax(score)]
        starts.append(best)
        score = jnp.where((proposed - best) ** 2 < _APART * wide, -jnp.inf, score)

    def follow(late):
        turn = jnp.zeros_like(late)
        if heading:  # each path proposes one, by what it is most probably
            likeliest = jnp.argmax(_log_terms(blind, late, 0.0), axis=1)
            tried = jnp.take_along_axis(pairs.turned, likeliest[:, None], axis=1)[:, 0]
            value = jax.vmap(lambda h: _total(pairs, _log_terms(pairs, late, h)))(tried)
            turn = tried[jnp.argmax(value)]

        def step(_, state):
            pull, weight = _pull(pairs, *state)
            moved = free * pull / jnp.maximum(weight, 1e-9)
            return state[0] + moved[0], wrap_angle(state[1] + moved[1])

        late, turn = jax.lax.fori_loop(0, _STEPS, step, (late, turn))
        value = _total(pairs, _log_terms(pairs, late, turn))
        information = _information(pairs, late, turn)
        variance = jnp.stack([
            1.0 / (information[0] + 12.0 / span**2), 1.0 / (information[1] + 3.0 / jnp.pi**2)
        ])  # fmt: skip
        # A flat prior: over lengths up to the longest, over all headings.
        flat = jnp.stack([span, jnp.asarray(2 * jnp.pi, span.dtype)])
        kept = jnp.minimum(jnp.sqrt(2 * jnp.pi * variance) / flat, 1.0)
        value += jnp.sum(jnp.log(kept) * free)
        return value, late, turn, variance * free

    value, late, turn, variance = jax.vmap(follow)(jnp.stack(starts))
    best = jnp.argmax(value)
    return OwnBias(value[best], late[best], variance[best, 0], turn[best], variance[best, 1])


def _shares(pairs: _Pairs, clock, heading):
    """Give the probability that each pair is the same path, and how far it is off."""
    log = _log_terms(pairs, clock, heading)
    whole = jnp.logaddexp(jax.nn.logsumexp(log, axis=1), pairs.stranger)
    late = (pairs.late - clock) / pairs.late_variance
    turned = pairs.directed * wrap_angle(pairs.turned - heading) / pairs.turned_variance
    return jnp.exp(log - whole[:, None]), jnp.stack([late, turned])


def _pull(pairs: _Pairs, clock, heading):
    """Sum up how far clock and heading are off, and the weight of that."""
    share, off = _shares(pairs, clock, heading)
    weight = jnp.stack([1.0 / pairs.late_variance, pairs.directed / pairs.turned_variance])
    return jnp.sum(share[None] * off, axis=(1, 2)), jnp.sum(share[None] * weight, axis=(1, 2))


def _information(pairs: _Pairs, clock, heading) -> Float[Array, "2"]:
    """Give the observed information of both: the pairs' less what is unsure of the pairs."""
    share, off = _shares(pairs, clock, heading)
    _, complete = _pull(pairs, clock, heading)
    mean = jnp.sum(share[None] * off, axis=2)
    missing = jnp.sum(jnp.sum(share[None] * off**2, axis=2) - mean**2, axis=1)
    return jnp.maximum(complete - missing, 0.1 * complete)
