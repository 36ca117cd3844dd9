"""How well any estimator can locate a target with a given channel map.

Each path of the map at a position is part of several echoes.  If all ordered pairs of L paths echo,
every path's angle is measured 2L times and the delays, sums of two one-way delays each, leave
one-way delays with covariance ``s^2 / 2L (I - 11^T / 2L)``; with reciprocal pairs alone every
angle is measured twice and every delay once, doubled.  The map's own error is one error a path,
shared by all its echoes, and so is added to these statistics once.  The inverse of the Fisher
information bounds the covariance of every unbiased estimate, if all echoes are detected and their
paths are recognised.

Takes a `ChannelMap`, positions, and the errors of one echo.
Gives a `Bound`.
"""

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from echoscape.channel_map import ChannelMap, ExtrapolatedMap
from echoscape.checks import InputError
from echoscape.display import Plotted
from echoscape.estimation import AnyArray
from echoscape.numerics import information, spectrum, whiten_correlated
from echoscape.units import length_of

Pairs = Literal["all", "reciprocal"]

_TOGETHER = 256  # positions computed at once: memory does not grow with their number


class Bound(Plotted, eqx.Module):
    """Smallest horizontal covariance that an estimate can have at each position."""

    position: Float[np.ndarray, "position 3"]
    """The positions [m]."""
    information: Float[np.ndarray, "position 2 2"]
    """Fisher information of (x, y), at a known height [1/m^2]."""
    covariance: Float[np.ndarray, "position 2 2"]
    """Its inverse; infinite on the diagonal where a direction is not observed [m^2]."""
    observed: Bool[np.ndarray, " position"]
    """False where the paths leave a direction unobserved."""
    paths: Int[np.ndarray, " position"]
    """How many paths were taken."""

    @property
    def root_trace(self) -> Float[np.ndarray, " position"]:
        """Smallest root mean square error; infinite where a direction is not observed [m]."""
        return np.sqrt(np.trace(self.covariance, axis1=1, axis2=2))


def map_bound(
    channel_map: ChannelMap,
    position: Float[AnyArray, "position 3"],
    *,
    angle_std: float,
    delay_std: float,
    strongest: int = 5,
    probability: float = 0.3,
    pairs: Pairs = "all",
) -> Bound:
    """Bound the error of targets at positions of known height, through a map.

    Args:
        channel_map: Predicts paths and its own errors.
        position: The positions [m].
        angle_std: Deviation of each angle of an echo [rad].
        delay_std: Deviation of each echo's two-way delay [s].
        strongest: Most paths taken, those of highest probability.
        probability: Paths are taken that exist with a higher probability than this.
        pairs: Which pairs of paths echo.

    Raises:
        InputError: A deviation is not above zero, or the map is a carried one.
    """
    if isinstance(channel_map, ExtrapolatedMap):
        raise InputError(
            "a carried map has no bound: it holds each path once for every report nearby, not as "
            "paths of its own; fit --model anchors, scatterers or nearest for one"
        )
    for name, unit, value in (("angle_std", "rad", angle_std), ("delay_std", "s", delay_std)):
        if not 0 < value < np.inf:
            raise InputError(f"{name} must be finite and above zero, in {unit}; got {value}")
    position = np.asarray(position, dtype=float)
    options = (
        jnp.asarray(angle_std, dtype=float),
        jnp.asarray(delay_std, dtype=float),
        jnp.asarray(probability, dtype=float),
        strongest,
        pairs,
    )
    # Always as many positions at once, the last repeated: compiled once for any number of them.
    filled = np.arange(-(-len(position) // _TOGETHER) * _TOGETHER).clip(max=len(position) - 1)
    total, paths = np.zeros((len(filled), 2, 2)), np.zeros(len(filled), dtype=int)
    for first in range(0, len(filled), _TOGETHER):
        rows = slice(first, first + _TOGETHER)
        found = _map_information(channel_map, jnp.asarray(position[filled[rows]]), *options)
        total[rows], paths[rows] = (np.asarray(item) for item in found)
    return _invert(position, total[: len(position)], paths[: len(position)])


def join_bounds(bounds: Sequence[Bound]) -> Bound:
    """Bound the error of targets that several stations observe at the same positions."""
    total = np.sum([bound.information for bound in bounds], axis=0)
    paths = np.sum([bound.paths for bound in bounds], axis=0)
    return _invert(bounds[0].position, total, paths)


def path_information(
    jacobian: Float[Array, "path 3 2"],
    covariance: Float[Array, "path 3 3"],
    taken: Bool[Array, " path"],
    *,
    angle_std: float | Float[Array, ""],
    delay_std: float | Float[Array, ""],
    pairs: Pairs = "all",
) -> Float[Array, "2 2"]:
    """Sum the information on (x, y) of the echoes of some paths [1/m^2].

    With a covariance of zero it is that of the exact channel.

    Args:
        jacobian: Derivative of each path's (azimuth, zenith, one-way length) [rad/m, rad/m, 1].
        covariance: The map's own error of those [rad^2, rad^2, m^2].
        taken: Paths that take part.
        angle_std: Deviation of each angle of an echo [rad].
        delay_std: Deviation of each echo's two-way delay [s].
        pairs: Which pairs of paths echo.
    """
    # In units of the errors of one echo, radians and metres share a matrix of plain numbers.
    length_std = length_of(jnp.asarray(delay_std))
    unit = jnp.stack([jnp.asarray(angle_std), jnp.asarray(angle_std), length_std])
    count = taken.shape[0]
    used = taken.astype(jacobian.dtype)
    times = 2.0 * jnp.maximum(jnp.sum(used), 1.0) if pairs == "all" else jnp.asarray(2.0)
    together = jnp.outer(used, used) / times if pairs == "all" else jnp.zeros((count, count))
    delays = (jnp.eye(count) - together) / times
    if pairs == "reciprocal":
        delays = 0.5 * delays  # two-way delays are the one-way delays doubled
    measured = jnp.zeros((count, 3, count, 3))
    same = jnp.arange(count)
    measured = measured.at[same, 0, same, 0].set(1.0 / times)
    measured = measured.at[same, 1, same, 1].set(1.0 / times)
    measured = measured.at[:, 2, :, 2].set(delays)
    own = covariance / (unit[:, None] * unit[None, :])[None]
    own = jnp.where(taken[:, None, None], own, 0.0)
    measured = measured.at[same, :, same, :].add(own)
    slope = jnp.where(taken[:, None, None], jacobian / unit[None, :, None], 0.0)
    size = 3 * count
    rows = whiten_correlated(slope.reshape(size, 2), measured.reshape(size, size))
    return information(rows)


@eqx.filter_jit
def _map_information(
    channel_map: ChannelMap, position, angle_std, delay_std, probability, strongest, pairs
) -> tuple[Float[Array, "position 2 2"], Int[Array, " position"]]:
    def one(position):
        near = channel_map.around(position)
        prior = near(position)
        order = jnp.argsort(-prior.probability)[:strongest]
        taken = prior.probability[order] > probability

        def measurement(horizontal):
            there = near(jnp.concatenate([horizontal, position[2:]]))
            # Turned by the azimuth here, so that no wrap lies near.
            turned = there.departure_azimuth - prior.departure_azimuth
            azimuth = jnp.arctan2(jnp.sin(turned), jnp.cos(turned))
            stacked = jnp.stack([azimuth, there.departure_zenith, there.length], axis=-1)
            return stacked[order].astype(position.dtype)

        found = path_information(
            jax.jacfwd(measurement)(position[:2]),
            prior.covariance[order].astype(position.dtype),
            taken,
            angle_std=angle_std,
            delay_std=delay_std,
            pairs=pairs,
        )
        return found, jnp.sum(taken)

    return jax.vmap(one)(position)


def _invert(position: np.ndarray, total: np.ndarray, paths: np.ndarray) -> Bound:
    seen = jax.vmap(spectrum)(jnp.asarray(total))
    observed = np.asarray(jnp.all(seen.observed, axis=1))
    inverse = np.asarray(jax.vmap(lambda item: item.covariance)(seen))
    unknown = np.diag([np.inf, np.inf])
    return Bound(
        position=position,
        information=total,
        covariance=np.where(observed[:, None, None], inverse, unknown),
        observed=observed,
        paths=paths,
    )
