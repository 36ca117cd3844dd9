"""From the unordered echoes of one target to its one-way paths.

An echo leaves along one path and returns along one; L paths give up to L^2 echoes, some missing,
some false, none labelled.  Paths are added greedily while they explain more echoes than chance:
first those whose own round trip was heard, then those known only together with a path already
found.  A few expectation-maximisation steps average each path over all echoes it takes part in
(the one-way statistics, lossless where labels are certain).

Takes `EchoSet`s of one target each.
Gives `OneWayPaths`.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoscape.estimation import AnyArray

_RANGE_OF_LOG_POWER = 9.2  # clutter may have any power within 40 dB


def wrap_angle(angle):
    """Wrap an angle to within half a turn [rad]; rounding is many times faster than a remainder."""
    return angle - 2 * math.pi * jnp.round(angle / (2 * math.pi))


class EchoSet(NamedTuple):
    """Echoes of one target at one station; lengths in metres, powers as natural logarithms."""

    departure_azimuth: Float[AnyArray, " echo"]
    departure_zenith: Float[AnyArray, " echo"]
    arrival_azimuth: Float[AnyArray, " echo"]
    arrival_zenith: Float[AnyArray, " echo"]
    length: Float[AnyArray, " echo"]
    log_power: Float[AnyArray, " echo"]
    departure_azimuth_std: Float[AnyArray, " echo"]
    departure_zenith_std: Float[AnyArray, " echo"]
    arrival_azimuth_std: Float[AnyArray, " echo"]
    arrival_zenith_std: Float[AnyArray, " echo"]
    length_std: Float[AnyArray, " echo"]
    valid: Bool[AnyArray, " echo"]


class EchoModel(NamedTuple):
    """What is expected of echoes beyond the paths themselves."""

    detection: Float[Array, ""]
    """Probability that an echo of two existing paths is heard."""
    false_share: Float[Array, ""]
    """Expected share of false echoes."""
    log_power_std: Float[Array, ""]
    """Fluctuation of one echo's natural logarithm of power."""
    power_counts: Float[Array, ""]
    """1 if powers are used, 0 if not."""


class OneWayPaths(NamedTuple):
    """One-way paths of one target; the log gain holds half of the target's reflectivity."""

    azimuth: Float[AnyArray, " path"]
    zenith: Float[AnyArray, " path"]
    length: Float[AnyArray, " path"]
    log_gain: Float[AnyArray, " path"]
    azimuth_variance: Float[AnyArray, " path"]
    zenith_variance: Float[AnyArray, " path"]
    length_variance: Float[AnyArray, " path"]
    gain_scatter: Float[AnyArray, ""]
    """Mean squared residual of the echoes' log powers."""
    gain_freedom: Float[AnyArray, ""]
    """Degrees of freedom behind `gain_scatter`."""
    valid: Bool[AnyArray, " path"]


class Candidates(NamedTuple):
    """One-way paths with their variances, from a map or from the echoes."""

    azimuth: Float[AnyArray, " slot"]
    zenith: Float[AnyArray, " slot"]
    length: Float[AnyArray, " slot"]
    azimuth_variance: Float[AnyArray, " slot"]
    zenith_variance: Float[AnyArray, " slot"]
    length_variance: Float[AnyArray, " slot"]
    log_gain: Float[AnyArray, " slot"]
    log_gain_variance: Float[AnyArray, " slot"]


def log_clutter_density(echo: EchoSet, model: EchoModel) -> Float[Array, ""]:
    """Density of false echoes over angles and length, uniform over what was heard."""
    far = jnp.max(jnp.where(echo.valid, echo.length, -jnp.inf))
    near = jnp.min(jnp.where(echo.valid, echo.length, jnp.inf))
    extent = jnp.where(jnp.any(echo.valid), far - near, 0.0) + 100.0
    expected = model.false_share * jnp.sum(echo.valid) + 0.1
    return jnp.log(expected / ((2 * jnp.pi * 0.6) ** 2 * extent))


def pair_intensity(
    echo: EchoSet, out: Candidates, back: Candidates, model: EchoModel, level, slack=0.0
) -> Float[Array, "echo out back"]:
    """Intensity of echoes out along one path and back along another, relative to clutter.

    Args:
        echo: The echoes.
        out: Paths out.
        back: Paths back.
        model: Detection, clutter and fluctuation.
        level: Logarithm of the target's reflectivity; the powers do not count where it is NaN.
        slack: Variance of the place that the paths are predicted for, in each coordinate [m^2].
    """

    def angle(azimuth, zenith, azimuth_std, zenith_std, path):
        turn = slack / jnp.maximum(path.length, 1.0) ** 2
        u = azimuth_std[:, None] ** 2 + (path.azimuth_variance + turn)[None]
        v = zenith_std[:, None] ** 2 + (path.zenith_variance + turn)[None]
        square = wrap_angle(azimuth[:, None] - path.azimuth[None]) ** 2 / u
        square += (zenith[:, None] - path.zenith[None]) ** 2 / v
        return -0.5 * (square + jnp.log(u * v)) - jnp.log(2 * jnp.pi)

    leave = angle(echo.departure_azimuth, echo.departure_zenith, echo.departure_azimuth_std,
                  echo.departure_zenith_std, out)  # fmt: skip
    arrive = angle(echo.arrival_azimuth, echo.arrival_zenith, echo.arrival_azimuth_std,
                   echo.arrival_zenith_std, back)  # fmt: skip
    # Differences are exact here; what is left of the work, on every echo and pair, is fast.
    single = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
    spread = single(out.length_variance)[:, None] + single(back.length_variance)[None]
    spread = spread[None] + single(echo.length_std**2 + slack)[:, None, None]
    miss = single(echo.length[:, None, None] - (out.length[:, None] + back.length[None])[None])
    log = single(leave)[:, :, None] + single(arrive)[:, None, :]
    log -= 0.5 * (miss**2 / spread + jnp.log(2 * jnp.pi * spread))
    v = out.log_gain_variance[:, None] + back.log_gain_variance[None] + model.log_power_std**2
    known = jnp.isfinite(level)
    gain = (out.log_gain[:, None] + back.log_gain[None])[None] + jnp.where(known, level, 0.0)
    v = single(v)
    fit = -0.5 * single(echo.log_power[:, None, None] - gain) ** 2 / v[None]
    fit += math.log(0.95 * _RANGE_OF_LOG_POWER) - 0.5 * jnp.log(2 * jnp.pi * v)[None]
    power = jnp.maximum(fit, math.log(0.05))
    log += jnp.where(known & (model.power_counts > 0), power, 0.0)
    log += single(jnp.log(model.detection) - log_clutter_density(echo, model))
    return jnp.where(echo.valid[:, None, None], jnp.exp(jnp.minimum(log, 60.0)), 0.0)


class _Found(NamedTuple):
    azimuth: AnyArray
    zenith: AnyArray
    length: AnyArray
    on: AnyArray


def _as_candidates(azimuth, zenith, length, echo: EchoSet, inflate) -> Candidates:
    """Give paths read off single echoes the variance that such a reading has."""

    def typical(std):
        return jnp.sum(jnp.where(echo.valid, std**2, 0.0)) / jnp.maximum(jnp.sum(echo.valid), 1)

    angle = inflate * typical(echo.departure_azimuth_std)
    tilt = inflate * typical(echo.departure_zenith_std)
    reach = 0.5 * inflate * typical(echo.length_std)
    one = jnp.ones_like(azimuth)
    return Candidates(
        azimuth, zenith, length, angle * one, tilt * one, reach * one, 0 * one, 0 * one
    )  # fmt: skip


def _add(found: _Found, new: _Found, echo, model, inflate) -> _Found:
    """Add candidates one by one while they explain more than they promise in vain."""
    count = new.on.shape[0]
    azimuth, zenith, length = (
        jnp.concatenate([some, have]) for some, have in zip(new[:3], found[:3])
    )
    every = _as_candidates(azimuth, zenith, length, echo, inflate)
    pairs = pair_intensity(echo, every, every, model, jnp.nan)
    have = 1.0 * found.on
    explained = 1.0 + jnp.einsum("ekl,k,l->e", pairs[:, count:, count:], have, have)
    cross = pairs + jnp.swapaxes(pairs, 1, 2)
    adds = 0.5 * jnp.diagonal(cross, axis1=1, axis2=2)[:, :count]
    adds += jnp.einsum("ecl,l->ec", cross[:, :count, count:], have)

    def step(carry, _):
        found, explained, adds = carry
        some = jnp.sum(found.on)
        gain = jnp.sum(jnp.log1p(adds / explained[:, None]), axis=0)
        gain = jnp.where(new.on, gain - model.detection * (2 * some + 1), -jnp.inf)
        best = jnp.argmax(gain)
        take = (gain[best] > 2.0) & (some < found.on.shape[0])
        slot = jnp.argmin(found.on)
        put = lambda old, value: jnp.where(take, old.at[slot].set(value), old)  # noqa: E731
        grown = _Found(
            put(found.azimuth, new.azimuth[best]), put(found.zenith, new.zenith[best]),
            put(found.length, new.length[best]), put(found.on, True),
        )  # fmt: skip
        return (
            grown,
            jnp.where(take, explained + adds[:, best], explained),
            jnp.where(take, adds + cross[:, :count, best], adds),
        ), None

    (found, _, _), _ = jax.lax.scan(step, (found, explained, adds), None, found.on.shape[0])
    return found


def _responsibility(found: _Found, echo, model, inflate):
    path = _as_candidates(found.azimuth, found.zenith, found.length, echo, inflate)
    both = found.on[:, None] & found.on[None]
    pairs = jnp.where(both, pair_intensity(echo, path, path, model, jnp.nan), 0.0)
    return pairs / (1.0 + jnp.sum(pairs, axis=(1, 2), keepdims=True))


def _sums(share, echo, value, weight):
    """Form the normal equations of ``value_e = x_k + x_l`` with shares of (k, l) in every echo."""
    scaled = share * weight[:, None, None]
    pairs = jnp.sum(scaled, axis=0)
    matrix = pairs + pairs.T + jnp.diag(pairs.sum(axis=0) + pairs.sum(axis=1))
    right = jnp.sum(scaled * value[:, None, None], axis=0)
    return matrix, right.sum(axis=0) + right.sum(axis=1)


def _refine(found: _Found, echo: EchoSet, model: EchoModel, inflate):
    """Average every path over its echoes by expectation maximisation."""
    count = found.on.shape[0]
    tiny = 1e-6 * jnp.eye(count)

    def step(found: _Found, _):
        share = _responsibility(found, echo, model, inflate)
        out, back = jnp.sum(share, axis=2), jnp.sum(share, axis=1)

        def mean(now, departure, arrival, departure_std, arrival_std, wrap):
            a, b = out / departure_std[:, None] ** 2, back / arrival_std[:, None] ** 2
            weight = jnp.sum(a + b, axis=0) + 1e-9
            moved = a * wrap(departure[:, None] - now[None])
            moved += b * wrap(arrival[:, None] - now[None])
            return wrap(now + jnp.sum(moved, axis=0) / weight), 1.0 / weight

        azimuth, azimuth_variance = mean(
            found.azimuth, echo.departure_azimuth, echo.arrival_azimuth,
            echo.departure_azimuth_std, echo.arrival_azimuth_std, wrap_angle,
        )  # fmt: skip
        zenith, zenith_variance = mean(
            found.zenith, echo.departure_zenith, echo.arrival_zenith,
            echo.departure_zenith_std, echo.arrival_zenith_std, lambda angle: angle,
        )  # fmt: skip
        matrix, right = _sums(share, echo, echo.length, 1.0 / echo.length_std**2)
        length = jnp.linalg.solve(matrix + tiny, right + tiny @ found.length)
        heard = jnp.sum(out + back, axis=0)
        now = _Found(azimuth, zenith, jnp.where(found.on, length, found.length),
                     found.on & (heard > 0.8))  # fmt: skip
        return now, (share, matrix, azimuth_variance, zenith_variance)

    found, parts = jax.lax.scan(step, found, None, 4)
    return found, jax.tree.map(lambda leaf: leaf[-1], parts)


@functools.partial(jax.jit, static_argnames="most")
def group_echoes(echo: EchoSet, model: EchoModel, *, most: int = 7) -> OneWayPaths:
    """Find the one-way paths behind the echoes of one target.

    Args:
        echo: Echoes of one target.
        model: Detection and clutter; powers are not used to group.
        most: Most paths to look for.
    """
    half = 0.5 * wrap_angle(echo.arrival_azimuth - echo.departure_azimuth)
    variance = echo.departure_azimuth_std**2 + echo.arrival_azimuth_std**2
    tilt = echo.departure_zenith_std**2 + echo.arrival_zenith_std**2
    apart = (2 * half) ** 2 / variance + (echo.departure_zenith - echo.arrival_zenith) ** 2 / tilt
    own = _Found(
        wrap_angle(echo.departure_azimuth + half),
        0.5 * (echo.departure_zenith + echo.arrival_zenith),
        0.5 * echo.length,
        echo.valid & (apart < 14.0),
    )
    zero = jnp.zeros(most, echo.length.dtype)
    found = _Found(zero, zero, zero + 1e3, jnp.zeros(most, bool))
    found = _add(found, own, echo, model, 0.6)
    found, _ = _refine(found, echo, model, 0.2)

    # Echoes least explained may belong to a path heard only together with a known one.
    told = jnp.sum(_responsibility(found, echo, model, 0.2), axis=(1, 2))
    _, puzzle = jax.lax.top_k(jnp.where(echo.valid, -told, -jnp.inf), min(6, len(told)))
    left = jax.tree.map(lambda leaf: leaf[puzzle], echo)

    def beside(azimuth, zenith, azimuth_std, zenith_std, other_azimuth, other_zenith):
        square = wrap_angle(azimuth[:, None] - found.azimuth[None]) ** 2 / azimuth_std[:, None] ** 2
        square += (zenith[:, None] - found.zenith[None]) ** 2 / zenith_std[:, None] ** 2
        rest = left.length[:, None] - found.length[None]
        good = (square < 9.0) & found.on[None] & left.valid[:, None] & (rest > 0)
        wide = jnp.ones_like(rest)
        return (
            (other_azimuth[:, None] * wide).ravel(), (other_zenith[:, None] * wide).ravel(),
            rest.ravel(), good.ravel(),
        )  # fmt: skip

    back = beside(left.arrival_azimuth, left.arrival_zenith, left.arrival_azimuth_std,
                  left.arrival_zenith_std, left.departure_azimuth,
                  left.departure_zenith)  # fmt: skip
    out = beside(left.departure_azimuth, left.departure_zenith, left.departure_azimuth_std,
                 left.departure_zenith_std, left.arrival_azimuth,
                 left.arrival_zenith)  # fmt: skip
    found = _add(
        found, _Found(*(jnp.concatenate(pair) for pair in zip(out, back))), echo, model, 0.9
    )
    found, (share, matrix, azimuth_variance, zenith_variance) = _refine(found, echo, model, 0.0)

    tiny = 1e-6 * jnp.eye(most)
    sums, right = _sums(share, echo, echo.log_power, jnp.ones_like(echo.length))
    log_gain = jnp.linalg.solve(sums + tiny, right)
    rest = echo.log_power[:, None, None] - (log_gain[:, None] + log_gain[None])[None]
    freedom = jnp.maximum(jnp.sum(share) - jnp.sum(found.on), 0.0)
    return OneWayPaths(
        azimuth=found.azimuth,
        zenith=found.zenith,
        length=found.length,
        log_gain=log_gain,
        azimuth_variance=azimuth_variance,
        zenith_variance=zenith_variance,
        length_variance=jnp.diagonal(jnp.linalg.inv(matrix + tiny)),
        gain_scatter=jnp.sum(share * rest**2) / jnp.maximum(freedom, 1.0),
        gain_freedom=freedom,
        valid=found.on,
    )
