"""The one-way paths of a target, each shared among the map's paths at a position.

Each observed path is one of the map's, weighted by its odds of being present, or one that the map
does not know.

Takes `LinearisedPaths` and `OneWayPaths` of one target.
Gives residuals and the shares of the map's paths in every observed one.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.localization.unassociated.linearised_map import LinearisedPaths
from echoscape.localization.unassociated.one_way_paths import (
    OneWayPaths,
    log_power_ratio,
    wrap_angle,
)

LOG_UNKNOWN_DENSITY = math.log(1e-3)
"""Density of paths that the map does not know: about half a path over the sphere's belt in which
paths arrive and some 130 m of length [1/rad^2/m]."""


def match(
    paths: LinearisedPaths,
    observed: OneWayPaths,
    position: Float[Array, "3"],
    log_reflectivity,
    position_variance,
):
    """Compare every observed path with every path of the map.

    Args:
        paths: The map near the position.
        observed: One-way paths of the target.
        position: Where the target may be [m].
        log_reflectivity: Logarithm of its reflectivity; NaN where powers do not count.
        position_variance: Of the target about the position, in each coordinate [m^2].

    Returns:
        Log of odds times density, residuals and inverse variances of azimuth, zenith and length
        [path, slot, 3].
    """
    mean = paths.mean + paths.slope @ (position - paths.position)
    subtended = position_variance / jnp.maximum(mean[:, 2], 1.0) ** 2
    added = jnp.stack([subtended, subtended, position_variance + 0 * subtended], axis=-1)
    measured = jnp.stack([observed.azimuth, observed.zenith, observed.length], axis=-1)
    error = jnp.stack(
        [observed.azimuth_variance, observed.zenith_variance, observed.length_variance], axis=-1
    )
    residual = measured[:, None] - mean[None]
    residual = residual.at[..., 0].set(wrap_angle(residual[..., 0]))
    weight = 1.0 / (error[:, None] + (paths.variance + added)[None])
    log = 0.5 * jnp.sum(jnp.log(weight) - weight * residual**2, axis=-1)
    log += paths.log_odds[None] - 1.5 * math.log(2 * math.pi)
    gain = paths.log_gain[None] + 0.5 * jnp.where(
        jnp.isfinite(log_reflectivity), log_reflectivity, 0.0
    )
    variance = paths.log_gain_variance[None] + observed.log_gain_variance[:, None]
    power = log_power_ratio(observed.log_gain[:, None] - gain, variance)
    log += jnp.where(jnp.isfinite(log_reflectivity), power, 0.0)
    return log, residual, weight


def responsibilities(log: Float[Array, "path slot"], observed: OneWayPaths):
    """Share every observed path among those of the map, one unknown to it included.

    Returns:
        The shares of the map's paths, and each observed path's log-likelihood.
    """
    top = jnp.maximum(jnp.max(log, axis=1), LOG_UNKNOWN_DENSITY)
    mass = jnp.exp(log - top[:, None])
    total = jnp.sum(mass, axis=1) + jnp.exp(LOG_UNKNOWN_DENSITY - top)
    share = jnp.where(observed.valid[:, None], mass / total[:, None], 0.0)
    return share, jnp.where(observed.valid, top + jnp.log(total), 0.0)
