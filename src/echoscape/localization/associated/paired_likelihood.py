"""Likelihood of a position when every echo's pair of paths is known, for one or for many.

For one position it is Eq. (40) of [wu-ckm] with the echoes' own variances added to the map's.  For
a whole grid it is a matrix product: a target is a row of sums over its echoes, a cell a column of
what the map predicts there.

Takes `PairedEchoes` and `RankedPaths`.
Gives log-likelihoods, gradients and curvatures in position.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from echoscape.channel_map import ChannelMap
from echoscape.checks import InputError
from echoscape.estimation import AnyArray
from echoscape.localization.unassociated.one_way_paths import wrap_angle
from echoscape.units import length_of

_ABSENT_ANGLE, _ABSENT_LENGTH = 1.0, 100.0  # std of a path that the map lacks [rad], [m]
_FAR = 100.0  # unit of lengths in the sums, so that single precision serves [m]


class PairedEchoes(eqx.Module):
    """Echoes out along the path of one rank and back along that of another, strongest first."""

    departure_azimuth: Float[AnyArray, "*batch out back"]
    """Azimuth out [rad]."""
    arrival_azimuth: Float[AnyArray, "*batch out back"]
    """Azimuth back, at the same station [rad]."""
    delay: Float[AnyArray, "*batch out back"]
    """Out and back [s]."""
    valid: Bool[AnyArray, "*batch out back"]
    """Whether the pair was detected."""
    departure_zenith: Float[AnyArray, "*batch out back"] | None = None
    """Zenith angle out, if measured [rad]."""
    arrival_zenith: Float[AnyArray, "*batch out back"] | None = None
    """Zenith angle back, if measured [rad]."""
    angle_std: Float[AnyArray, "*batch"] | float | None = None
    """Standard deviation of every angle of a target, one for all or for each [rad]."""
    delay_std: Float[AnyArray, "*batch"] | float | None = None
    """Standard deviation of every delay of a target, one for all or for each [s]."""

    def __post_init__(self):
        for name in ("angle_std", "delay_std"):
            value = getattr(self, name)
            if isinstance(value, float | int):
                setattr(self, name, np.full(np.shape(self.delay)[:-2], float(value)))

    def __check_init__(self):
        shapes = {np.shape(leaf) for leaf in jax.tree.leaves(self.without_deviations())}
        if len(shapes) != 1 or next(iter(shapes))[-1] != next(iter(shapes))[-2]:
            raise ValueError(
                f"all fields need one entry for every ordered pair of paths, square in the last "
                f"two axes; got shapes {sorted(shapes)}"
            )
        if (self.departure_zenith is None) != (self.arrival_zenith is None):
            raise ValueError("give both zenith angles or neither; got one of them")

    def without_deviations(self) -> "PairedEchoes":
        """Leave the standard deviations out; every array then has the same shape."""
        both = lambda e: (e.angle_std, e.delay_std)  # noqa: E731
        return eqx.tree_at(both, self, (None, None), is_leaf=lambda leaf: leaf is None)

    def deviations(self) -> tuple[Float[np.ndarray, " target"], Float[np.ndarray, " target"]]:
        """Give the standard deviations of every target's angles [rad] and delays [s].

        Raises:
            InputError: They are not stated, or not above zero.
        """
        found = []
        for name, unit in (("angle_std", "rad"), ("delay_std", "s")):
            value = getattr(self, name)
            good = (
                value is not None and np.all(np.isfinite(value)) and np.all(np.asarray(value) > 0)
            )
            if not good:
                raise InputError(
                    f"the likelihood needs the echoes' own errors: {name} must be finite and above "
                    f"zero, in {unit}; got {value}"
                )
            found.append(np.broadcast_to(np.asarray(value, float), self.delay.shape[:1]))
        return found[0], found[1]

    @property
    def length(self) -> Float[AnyArray, "*batch out back"]:
        """Lengths, out and back [m]."""
        return length_of(self.delay)

    def of_pairs(self, pairs: str, paths: int) -> "PairedEchoes":
        """Take all pairs or the reciprocal ones, and check how many paths they are of.

        Raises:
            InputError: There is no target, or the number of paths is not what was prepared for.
        """
        if self.delay.ndim != 3:
            raise InputError(
                f"paired echoes need the axes [target, out, back]; got {self.delay.ndim} axes"
            )
        if len(self.delay) == 0:
            raise InputError("there are no echoes to locate a target from; the set is empty")
        if self.delay.shape[-1] != paths:
            raise InputError(
                f"the echoes pair {self.delay.shape[-1]} paths, but the maps were prepared for "
                f"{paths}; prepare them with echoes like these"
            )
        if pairs == "all":
            return self
        return eqx.tree_at(lambda e: e.valid, self, self.valid & np.eye(paths, dtype=bool))


class RankedPaths(eqx.Module):
    """A map's strongest paths at a position, in falling power, to first order in position."""

    position: Float[Array, "*batch 3"]
    """Where the map was queried [m]."""
    mean: Float[Array, "*batch path 3"]
    """Azimuth [rad], zenith [rad] and one-way length [m]."""
    slope: Float[Array, "*batch path 3 3"]
    """Their derivative in position."""
    variance: Float[Array, "*batch path 3"]
    """Variance of each."""


def ranked_paths(
    channel_map: ChannelMap, position: Float[Array, "3"], count: int, *, height_given: bool = False
) -> RankedPaths:
    """Query a map for its strongest paths at a position.

    Paths less probable than not come last; their claimed values are kept, but hardly trusted.

    Args:
        channel_map: Predicts paths.
        position: Where [m].
        count: How many paths; padded where the map has fewer.
        height_given: Spare the derivatives in height, which come out as zeros.
    """
    near = channel_map.around(position)
    prior = near(position)
    present = prior.probability > 0.5
    order = jnp.argsort(jnp.where(present, -prior.power, jnp.inf))[:count]

    def measurement(position):
        there = near(position)
        columns = [there.departure_azimuth, there.departure_zenith, there.length]
        return jnp.stack(columns, axis=-1)[order].astype(position.dtype)

    variance = jnp.diagonal(prior.covariance, axis1=-2, axis2=-1)[order]
    absent = jnp.array([_ABSENT_ANGLE, _ABSENT_ANGLE, _ABSENT_LENGTH], position.dtype) ** 2
    variance = variance + jnp.where(present[order][:, None], 0.0, absent[None])
    free = 2 if height_given else 3
    there = lambda moved: measurement(jnp.concatenate([moved, position[free:]]))  # noqa: E731
    mean, slope = measurement(position), jax.jacfwd(there)(position[:free])
    slope = jnp.pad(slope, ((0, 0), (0, 0), (0, 3 - free)))
    extra = count - order.shape[0]
    return RankedPaths(
        position=position,
        mean=jnp.pad(mean, ((0, extra), (0, 0))),
        slope=jnp.pad(slope, ((0, extra), (0, 0), (0, 0))),
        variance=jnp.concatenate([variance, jnp.broadcast_to(absent, (extra, 3))]),
    )


def log_likelihood(
    paths: RankedPaths, echo: PairedEchoes, angle_std, delay_std, position: Float[Array, "3"]
):
    """Evaluate Eq. (40) of [wu-ckm] near where the map was queried.

    Args:
        paths: The map's paths.
        echo: Echoes of one target.
        angle_std: Deviation of every angle of an echo, added to the map's [rad].
        delay_std: Deviation of every delay of an echo, added to the map's [s].
        position: Where [m].

    Returns:
        The log-likelihood up to a constant, its gradient [1/m] and its Gauss-Newton curvature
        [1/m^2]; the map's variances are those where it was queried.
    """
    mean = paths.mean + paths.slope @ (position - paths.position)
    angle_variance = paths.variance[:, :2] + angle_std**2
    gradient, curvature = jnp.zeros_like(position), jnp.zeros((3, 3), position.dtype)
    value = jnp.zeros_like(position[0])
    times = jnp.sum(echo.valid, axis=1) + jnp.sum(echo.valid, axis=0)
    for axis, (out, back) in enumerate(_angles(echo)):
        variance, slope = angle_variance[:, axis], paths.slope[:, axis]
        miss_out = jnp.where(echo.valid, wrap_angle(out - mean[:, axis][:, None]), 0.0)
        miss_back = jnp.where(echo.valid, wrap_angle(back - mean[:, axis][None]), 0.0)
        square = jnp.sum(miss_out**2, axis=1) + jnp.sum(miss_back**2, axis=0)
        pull = jnp.sum(miss_out, axis=1) + jnp.sum(miss_back, axis=0)
        value -= 0.5 * jnp.sum(square / variance + times * jnp.log(variance))
        gradient += (pull / variance) @ slope
        curvature += slope.T @ ((times / variance)[:, None] * slope)
    length, slope = mean[:, 2], paths.slope[:, 2]
    variance = paths.variance[:, 2][:, None] + paths.variance[:, 2][None]
    variance = variance + length_of(delay_std) ** 2
    residual = echo.length - (length[:, None] + length[None])
    weight = jnp.where(echo.valid, 1.0 / variance, 0.0)
    value -= 0.5 * jnp.sum(weight * residual**2 + jnp.where(echo.valid, jnp.log(variance), 0.0))
    moved = weight * residual
    gradient += (moved.sum(axis=0) + moved.sum(axis=1)) @ slope
    joint = weight + weight.T + jnp.diag(weight.sum(axis=0) + weight.sum(axis=1))
    return value, gradient, curvature + slope.T @ joint @ slope


def _angles(echo: PairedEchoes):
    yield echo.departure_azimuth, echo.arrival_azimuth
    if echo.departure_zenith is not None and echo.arrival_zenith is not None:
        yield echo.departure_zenith, echo.arrival_zenith


def target_sums(echo: PairedEchoes) -> Float[Array, " sum"]:
    """Sum over a target's echoes all that a grid needs of them.

    Squared differences of angles become ``2 - 2 cos``, which wraps by itself and is a sum of
    products; it only finds the cells from which the likelihood is then refined.
    """
    upper = np.triu_indices(echo.delay.shape[-1])
    detected = jnp.where(echo.valid, 1.0, 0.0)
    times = detected.sum(axis=1) + detected.sum(axis=0)
    parts = []
    for out, back in _angles(echo):

        def across(f, out=out, back=back):
            return (detected * f(out)).sum(1) + (detected * f(back)).sum(0)

        parts += [times, across(jnp.cos), across(jnp.sin)]
    length = echo.length / _FAR
    for power in (0, 1, 2):
        both = detected * length**power
        parts.append((jnp.tril(both, -1).T + jnp.triu(both))[upper])
    return jnp.concatenate(parts)


@eqx.filter_jit
def cell_weights(paths: RankedPaths, angle_std, delay_std, zenith: bool = False):
    """Weigh every sum of `target_sums` at every cell.

    Args:
        paths: The map's paths at every cell.
        angle_std: Deviation of every angle of an echo [rad].
        delay_std: Deviation of every delay of an echo [s].
        zenith: Whether the echoes have zenith angles.
    """
    one, other = np.triu_indices(paths.mean.shape[1])
    rows = []
    for axis in range(1 + zenith):
        mean, variance = paths.mean[..., axis], paths.variance[..., axis] + angle_std**2
        rows += [
            -1.0 / variance - 0.5 * jnp.log(variance),
            jnp.cos(mean) / variance,
            jnp.sin(mean) / variance,
        ]
    length, variance = paths.mean[..., 2] / _FAR, paths.variance[..., 2] / _FAR**2
    variance = variance[:, one] + variance[:, other] + (length_of(delay_std) / _FAR) ** 2
    total = length[:, one] + length[:, other]
    rows += [
        -0.5 * (total**2 / variance + jnp.log(variance)),
        total / variance,
        -0.5 / variance,
    ]
    return jnp.concatenate(rows, axis=1).T.astype(jnp.float32)
