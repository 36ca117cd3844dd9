"""Likelihood of a position given the one-way paths of a target: a multi-Bernoulli mixture.

Each observed path is one of the map's at the position, weighted by its odds of being present, or
one that the map does not know.  Echoes enter only through the one-way paths under them
(`one_way_paths`), which is lossless where their association is certain; a position then costs a
table of observed by predicted paths instead of one of echoes by pairs.

Takes `LinearisedPaths` and `OneWayPaths` of one target.
Gives the log-likelihood, its gradient and Gauss-Newton curvature in position.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.localization.unassociated.linearised_map import LinearisedPaths
from echoscape.localization.unassociated.one_way_paths import (
    EchoModel,
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


def evaluate_one_way(
    paths: LinearisedPaths,
    observed: OneWayPaths,
    position: Float[Array, "3"],
    log_reflectivity,
    position_variance: float | Array = 0.0,
):
    """Evaluate a position; arguments as for `match`.

    Returns:
        Log-likelihood, gradient [1/m] and Gauss-Newton curvature [1/m^2].
    """
    log, residual, weight = match(paths, observed, position, log_reflectivity, position_variance)
    share, total = responsibilities(log, observed)
    pull = share[..., None] * weight
    gradient = jnp.einsum("pka,pka,kai->i", pull, residual, paths.slope)
    curvature = jnp.einsum("ka,kai,kaj->ij", pull.sum(axis=0), paths.slope, paths.slope)
    absent = paths.log_absent - jnp.sum(jnp.logaddexp(0.0, paths.log_odds))
    value = jnp.where(jnp.any(observed.valid), jnp.sum(total) + absent, 0.0)
    return value, gradient, curvature


@jax.jit
def one_way_values(
    paths: LinearisedPaths,
    observed: OneWayPaths,
    position: Float[Array, "target point 3"],
    log_reflectivity: Float[Array, "target point"],
    presence_weight: float | Array = 1.0,
) -> Float[Array, "target point"]:
    """Evaluate positions of targets where the map was linearised; as `evaluate_one_way`.

    Args:
        paths: The map at every position.
        observed: One-way paths of the targets.
        position: Where [m].
        log_reflectivity: Of the targets.
        presence_weight: Power of the probabilities of presence: below one where these are not
            independent, as one wall shadows several paths.
    """

    def one(paths, observed, position, log_reflectivity):
        value, _, _ = evaluate_one_way(
            paths._replace(log_odds=presence_weight * paths.log_odds), observed, position,
            log_reflectivity,
        )  # fmt: skip
        full = paths.log_absent - jnp.sum(jnp.logaddexp(0.0, paths.log_odds))
        used = paths.log_absent - jnp.sum(jnp.logaddexp(0.0, presence_weight * paths.log_odds))
        return value + jnp.where(jnp.any(observed.valid), presence_weight * full - used, 0.0)

    over_points = jax.vmap(one, in_axes=(0, None, 0, 0))
    return jax.vmap(over_points)(paths, observed, position, log_reflectivity)


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


def estimate_log_reflectivity(
    paths: LinearisedPaths,
    observed: OneWayPaths,
    position: Float[Array, "3"],
    log_reflectivity,
    position_variance,
    model: EchoModel,
):
    """Average how much stronger the observed paths are than the map's; NaN where none is known."""
    log, _, _ = match(paths, observed, position, log_reflectivity, position_variance)
    share, _ = responsibilities(log, observed)
    variance = paths.log_gain_variance[None] + observed.log_gain_variance[:, None]
    weight = share / variance
    excess = 2.0 * (observed.log_gain[:, None] - paths.log_gain[None])
    total = jnp.sum(weight)
    found = jnp.sum(weight * excess) / jnp.maximum(total, 1e-12)
    return jnp.where((total > 1e-6) & (model.power_counts > 0), found, jnp.nan)
