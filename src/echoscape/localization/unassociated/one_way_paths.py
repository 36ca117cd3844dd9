"""From the unordered echoes of one target to its one-way paths.

An echo leaves along one path and returns along one; L paths give up to L^2 echoes, some missed,
some false, none labelled.  Paths are added greedily while the likelihood of the echoes grows:
first those whose own round trip was detected, then those that appear only together with a path
already found.  A few expectation-maximisation steps average each path over all echoes it takes
part in (the one-way statistics, lossless where the association is certain).

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

_RANGE_OF_LOG_POWER = 9.2  # false echoes may have any power within 40 dB


_RIDGE = 1e-6  # of the normal equations of lengths and gains, relative to the largest entry
_STEPS = 4  # of expectation maximisation
_SAME_DIRECTION = 14.0  # squared deviations between the directions out and back: one in a thousand
_LEAST_EXPLAINED = 6  # echoes whose other leg is tried for a path


def wrap_angle(angle):
    """Wrap an angle to within half a turn [rad]; rounding is faster than a remainder."""
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

    detection: Float[AnyArray, ""]
    """Probability that an echo of two existing paths is detected."""
    false_share: Float[AnyArray, ""]
    """Expected share of false echoes."""
    log_power_std: Float[AnyArray, ""]
    """Fluctuation of one echo's natural logarithm of power."""
    power_counts: Float[AnyArray, ""]
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
    length_covariance: Float[AnyArray, "path path"]
    """Covariance of the lengths: every echo measures the sum of two [m^2]."""
    log_gain_variance: Float[AnyArray, " path"]
    """Variance of `log_gain`; of unit fluctuation until that is learnt (`with_fluctuation`)."""
    log_gain_residual: Float[AnyArray, ""]
    """Mean squared residual of the echoes' log powers."""
    degrees_of_freedom: Float[AnyArray, ""]
    """Degrees of freedom behind `log_gain_residual`."""
    valid: Bool[AnyArray, " path"]

    def with_fluctuation(self, log_power_std: float) -> "OneWayPaths":
        """Scale the variances of the log gains by the fluctuation of the echoes' log powers."""
        variance = self.log_gain_variance * log_power_std**2
        return self._replace(log_gain_variance=variance)


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
    """Density of false echoes over angles and length, uniform over what was detected."""
    far = jnp.max(jnp.where(echo.valid, echo.length, -jnp.inf))
    near = jnp.min(jnp.where(echo.valid, echo.length, jnp.inf))
    extent = jnp.where(jnp.any(echo.valid), far - near, 0.0) + 100.0
    expected = model.false_share * jnp.sum(echo.valid) + 0.1
    return jnp.log(expected / ((2 * jnp.pi * 0.6) ** 2 * extent))


def log_power_ratio(difference, variance):
    """Compare a log power with its prediction: log density relative to any power at all.

    One in twenty is an outlier, as powers have deeper fades than any logarithm's Gaussian.
    """
    fit = -0.5 * (difference**2 / variance + jnp.log(2 * jnp.pi * variance))
    return jnp.maximum(fit + math.log(0.95 * _RANGE_OF_LOG_POWER), math.log(0.05))


def pair_intensity(
    echo: EchoSet,
    out: Candidates,
    back: Candidates,
    model: EchoModel,
    log_reflectivity,
    position_variance=0.0,
) -> Float[Array, "echo out back"]:
    """Intensity of echoes out along one path and back along another, relative to clutter.

    Args:
        echo: The echoes.
        out: Paths out.
        back: Paths back.
        model: Detection, clutter and fluctuation.
        log_reflectivity: Logarithm of the target's reflectivity; NaN where powers do not count.
        position_variance: Of the position that the paths are predicted for, in each coordinate
            [m^2].
    """

    def angle(azimuth, zenith, azimuth_std, zenith_std, path):
        subtended = position_variance / jnp.maximum(path.length, 1.0) ** 2
        u = azimuth_std[:, None] ** 2 + (path.azimuth_variance + subtended)[None]
        v = zenith_std[:, None] ** 2 + (path.zenith_variance + subtended)[None]
        square = wrap_angle(azimuth[:, None] - path.azimuth[None]) ** 2 / u
        square += (zenith[:, None] - path.zenith[None]) ** 2 / v
        return -0.5 * (square + jnp.log(u * v)) - jnp.log(2 * jnp.pi)

    leave = angle(echo.departure_azimuth, echo.departure_zenith, echo.departure_azimuth_std,
                  echo.departure_zenith_std, out)  # fmt: skip
    arrive = angle(echo.arrival_azimuth, echo.arrival_zenith, echo.arrival_azimuth_std,
                   echo.arrival_zenith_std, back)  # fmt: skip
    # Differences are exact here; what is left of the work, on every echo and pair, is fast.
    single = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
    variance = single(out.length_variance)[:, None] + single(back.length_variance)[None]
    variance = variance[None] + single(echo.length_std**2 + position_variance)[:, None, None]
    residual = single(echo.length[:, None, None] - (out.length[:, None] + back.length[None])[None])
    log = single(leave)[:, :, None] + single(arrive)[:, None, :]
    log -= 0.5 * (residual**2 / variance + jnp.log(2 * jnp.pi * variance))
    v = out.log_gain_variance[:, None] + back.log_gain_variance[None] + model.log_power_std**2
    known = jnp.isfinite(log_reflectivity)
    gain = (out.log_gain[:, None] + back.log_gain[None])[None]
    gain += jnp.where(known, log_reflectivity, 0.0)
    v = single(v)
    power = log_power_ratio(single(echo.log_power[:, None, None] - gain), v[None])
    log += jnp.where(known & (model.power_counts > 0), power, 0.0)
    log += single(jnp.log(model.detection) - log_clutter_density(echo, model))
    found = jnp.where(echo.valid[:, None, None], jnp.exp(jnp.minimum(log, 60.0)), 0.0)
    return jax.lax.optimization_barrier(found)  # used many times: not to be computed many times


class _Paths(NamedTuple):
    azimuth: AnyArray
    zenith: AnyArray
    length: AnyArray
    valid: AnyArray


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


def _add(paths: _Paths, new: _Paths, echo, model, inflate) -> _Paths:
    """Add candidates one by one while the likelihood of the echoes grows.

    What a path explains together with another is computed when the other is added: first the paths
    that there are, then the best candidates.
    """
    count, most = new.valid.shape[0], paths.valid.shape[0]
    whole = [jnp.concatenate([some, have]) for some, have in zip(new[:3], paths[:3])]
    every = _as_candidates(whole[0], whole[1], whole[2], echo, inflate)
    candidate = jnp.concatenate([new.valid, jnp.zeros(most, bool)])

    def own(one):
        alone = jax.tree.map(lambda leaf: leaf[None], one)
        return pair_intensity(echo, alone, alone, model, jnp.nan)[:, 0, 0]

    def with_all(index):
        one = jax.tree.map(lambda leaf: leaf[index][None], every)
        out = pair_intensity(echo, every, one, model, jnp.nan)[:, :, 0]
        return out + pair_intensity(echo, one, every, model, jnp.nan)[:, 0]

    def step(carry, number):
        paths, explained, adds = carry
        some = jnp.sum(paths.valid)
        gain = jnp.sum(jnp.log1p(adds / explained[:, None]), axis=0)
        gain = jnp.where(candidate, gain - model.detection * (2 * some + 1), -jnp.inf)
        first = number < most  # a path that there is
        best = jnp.where(first, count + number, jnp.argmax(gain))
        there = paths.valid[jnp.minimum(number, most - 1)]
        take = jnp.where(first, there, (gain[best] > 2.0) & (some < most))
        slot = jnp.argmin(paths.valid)
        put = lambda old, value: jnp.where(take & ~first, old.at[slot].set(value), old)  # noqa: E731
        columns = [put(old, new_[best]) for old, new_ in zip(paths[:3], whole)]
        grown = _Paths._make([*columns, put(paths.valid, True)])
        return (
            grown,
            jnp.where(take, explained + adds[:, best], explained),
            jnp.where(take, adds + with_all(best), adds),
        ), None

    start = (paths, jnp.ones_like(echo.length).astype(jnp.float32), jax.vmap(own, 0, 1)(every))
    (paths, _, _), _ = jax.lax.scan(step, start, jnp.arange(2 * most))
    return paths


def _responsibility(paths: _Paths, echo, model, inflate):
    path = _as_candidates(paths.azimuth, paths.zenith, paths.length, echo, inflate)
    both = paths.valid[:, None] & paths.valid[None]
    pairs = jnp.where(both, pair_intensity(echo, path, path, model, jnp.nan), 0.0)
    return pairs / (1.0 + jnp.sum(pairs, axis=(1, 2), keepdims=True))


def _sums(share, echo, value, weight):
    """Form the normal equations of ``value_e = x_k + x_l`` with shares of (k, l) in every echo."""
    scaled = share * weight[:, None, None]
    pairs = jnp.sum(scaled, axis=0)
    matrix = pairs + pairs.T + jnp.diag(pairs.sum(axis=0) + pairs.sum(axis=1))
    right = jnp.sum(scaled * value[:, None, None], axis=0)
    return matrix, right.sum(axis=0) + right.sum(axis=1)


def _solve(matrix, right):
    """Solve normal equations, whose null space is closed by a small ridge."""
    root = jnp.linalg.cholesky(matrix)
    half = jax.scipy.linalg.solve_triangular(root, right, lower=True)
    return jax.scipy.linalg.solve_triangular(root.T, half, lower=False)


def _ridge(matrix):
    return _RIDGE * jnp.maximum(jnp.max(jnp.diagonal(matrix)), 1.0) * jnp.eye(matrix.shape[0])


def _refine(paths: _Paths, echo: EchoSet, model: EchoModel, inflate):
    """Average every path over its echoes by expectation maximisation."""

    def step(paths: _Paths, _):
        share = _responsibility(paths, echo, model, inflate)
        out, back = jnp.sum(share, axis=2), jnp.sum(share, axis=1)

        def mean(now, departure, arrival, departure_std, arrival_std):
            a, b = out / departure_std[:, None] ** 2, back / arrival_std[:, None] ** 2
            weight = jnp.sum(a + b, axis=0) + 1e-9
            moved = a * wrap_angle(departure[:, None] - now[None])
            moved += b * wrap_angle(arrival[:, None] - now[None])
            return wrap_angle(now + jnp.sum(moved, axis=0) / weight), 1.0 / weight

        # Zenith angles lie within half a turn of one another: wrapping leaves them as they are.
        angles = zip(
            (paths.azimuth, paths.zenith), (echo.departure_azimuth, echo.departure_zenith),
            (echo.arrival_azimuth, echo.arrival_zenith),
            (echo.departure_azimuth_std, echo.departure_zenith_std),
            (echo.arrival_azimuth_std, echo.arrival_zenith_std),
        )  # fmt: skip
        stacked = [jnp.stack(column) for column in zip(*angles)]
        (azimuth, zenith), (azimuth_variance, zenith_variance) = jax.vmap(mean)(*stacked)
        matrix, right = _sums(share, echo, echo.length, 1.0 / echo.length_std**2)
        ridge = _ridge(matrix)
        length = _solve(matrix + ridge, right + ridge @ paths.length)
        detected = jnp.sum(out + back, axis=0)
        now = _Paths(azimuth, zenith, jnp.where(paths.valid, length, paths.length),
                     paths.valid & (detected > 0.8))  # fmt: skip
        return now, (share, matrix, azimuth_variance, zenith_variance)

    paths, parts = jax.lax.scan(step, paths, None, _STEPS)
    return paths, jax.tree.map(lambda leaf: leaf[-1], parts)


def _own_round_trips(echo: EchoSet) -> _Paths:
    """Take every echo that may have returned along the path it came by for a path."""
    half = 0.5 * wrap_angle(echo.arrival_azimuth - echo.departure_azimuth)
    azimuth_variance = echo.departure_azimuth_std**2 + echo.arrival_azimuth_std**2
    zenith_variance = echo.departure_zenith_std**2 + echo.arrival_zenith_std**2
    square = (2 * half) ** 2 / azimuth_variance
    square += (echo.departure_zenith - echo.arrival_zenith) ** 2 / zenith_variance
    return _Paths(
        wrap_angle(echo.departure_azimuth + half),
        0.5 * (echo.departure_zenith + echo.arrival_zenith),
        0.5 * echo.length,
        echo.valid & (square < _SAME_DIRECTION),
    )


def _beside_known(paths: _Paths, echo: EchoSet, model: EchoModel, inflate) -> _Paths:
    """Take the other leg of the echoes least explained, where one leg is a known path."""
    explained = jnp.sum(_responsibility(paths, echo, model, inflate), axis=(1, 2))
    count = min(_LEAST_EXPLAINED, len(explained))
    _, least = jax.lax.top_k(jnp.where(echo.valid, -explained, -jnp.inf), count)
    left = jax.tree.map(lambda leaf: leaf[least], echo)

    def beside(azimuth, zenith, azimuth_std, zenith_std, other_azimuth, other_zenith):
        square = wrap_angle(azimuth[:, None] - paths.azimuth[None]) ** 2 / azimuth_std[:, None] ** 2
        square += (zenith[:, None] - paths.zenith[None]) ** 2 / zenith_std[:, None] ** 2
        rest = left.length[:, None] - paths.length[None]
        good = (square < 9.0) & paths.valid[None] & left.valid[:, None] & (rest > 0)
        wide = jnp.ones_like(rest)
        return _Paths(
            (other_azimuth[:, None] * wide).ravel(), (other_zenith[:, None] * wide).ravel(),
            rest.ravel(), good.ravel(),
        )  # fmt: skip

    back = beside(left.arrival_azimuth, left.arrival_zenith, left.arrival_azimuth_std,
                  left.arrival_zenith_std, left.departure_azimuth,
                  left.departure_zenith)  # fmt: skip
    out = beside(left.departure_azimuth, left.departure_zenith, left.departure_azimuth_std,
                 left.departure_zenith_std, left.arrival_azimuth,
                 left.arrival_zenith)  # fmt: skip
    return _Paths(*(jnp.concatenate(pair) for pair in zip(out, back)))


@functools.partial(jax.jit, static_argnames="most")
def estimate_one_way_paths(echo: EchoSet, model: EchoModel, *, most: int = 7) -> OneWayPaths:
    """Find the one-way paths behind the echoes of one target.

    Args:
        echo: Echoes of one target.
        model: Detection and clutter; powers are not used to group.
        most: Most paths to look for.
    """
    zero = jnp.zeros(most, echo.length.dtype)
    paths = _Paths(zero, zero, zero + 1e3, jnp.zeros(most, bool))
    own = _own_round_trips(echo)

    def grow(paths, stage):
        """Look for paths of own round trips first, then for those beside a known one."""
        first, wide, narrow = stage
        beside = _beside_known(paths, echo, model, 0.2)
        own_now = own._replace(valid=own.valid & first)
        beside_now = beside._replace(valid=beside.valid & ~first)
        new = _Paths(*(jnp.concatenate(pair) for pair in zip(own_now, beside_now)))
        return _refine(_add(paths, new, echo, model, wide), echo, model, narrow)

    # Readings of single echoes have wider errors than averages of many.
    stages = (jnp.array([True, False]), jnp.array([0.6, 0.9]), jnp.array([0.2, 0.0]))
    paths, parts = jax.lax.scan(grow, paths, stages)
    share, matrix, azimuth_variance, zenith_variance = jax.tree.map(lambda leaf: leaf[-1], parts)
    sums, right = _sums(share, echo, echo.log_power, jnp.ones_like(echo.length))
    both = jnp.stack([sums + _ridge(sums), matrix + _ridge(matrix)])
    spread, length_covariance = jax.vmap(lambda m: _solve(m, jnp.eye(most)))(both)
    log_gain = spread @ right
    rest = echo.log_power[:, None, None] - (log_gain[:, None] + log_gain[None])[None]
    freedom = jnp.maximum(jnp.sum(share) - jnp.sum(paths.valid), 0.0)
    return OneWayPaths(
        azimuth=paths.azimuth,
        zenith=paths.zenith,
        length=paths.length,
        log_gain=log_gain,
        azimuth_variance=azimuth_variance,
        zenith_variance=zenith_variance,
        length_variance=jnp.diagonal(length_covariance),
        length_covariance=length_covariance,
        log_gain_variance=jnp.diagonal(spread),
        log_gain_residual=jnp.sum(share * rest**2) / jnp.maximum(freedom, 1.0),
        degrees_of_freedom=freedom,
        valid=paths.valid,
    )
