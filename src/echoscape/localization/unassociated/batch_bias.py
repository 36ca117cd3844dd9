"""What all targets of a batch have in common that no position explains: clock and heading.

A clock of the echoes that is off the map's adds one length to every echo, an array that is turned
adds one azimuth; both shift every fix a little and leave residuals whose sign is the same for all
targets.  From the residuals of the one-way paths at each fix, with the position marginalised,
follow the bias, its standard deviation, and whether it is significant (a health test on what the
fixes did not use).

Takes `LinearisedPaths` at fixes and the observed `OneWayPaths`.
Gives a `BatchBias`, and how far it moves each fix.
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from echoscape.estimation import AnyArray
from echoscape.localization.posterior_modes import PRIOR_INFORMATION
from echoscape.localization.unassociated.linearised_map import LinearisedPaths
from echoscape.localization.unassociated.one_way_paths import EchoSet, OneWayPaths
from echoscape.localization.unassociated.one_way_shares import match, responsibilities
from echoscape.units import delay_of

NUISANCES = ("clock", "heading")
"""What may be unknown: the echoes' clock against the map's, and the array's heading."""
_HUBER = 1.5  # standard deviations beyond which a target's bias is weighed down
_FEWEST = 8  # targets whose residuals must agree
_SIGNIFICANT = 3.0  # standard deviations of the mean; one clean batch in 400 reaches it
_MATERIAL = 0.25  # a bias matters that moves fixes by this share of their standard deviation


class Normal(NamedTuple):
    """Normal equations of one target in (x, y, z, clock [m], heading [rad])."""

    gradient: Float[AnyArray, "*batch 5"]
    information: Float[AnyArray, "*batch 5 5"]


class BatchBias(NamedTuple):
    """Bias of the echoes against the map, by `NUISANCES`: two-way length [m], azimuth [rad]."""

    value: Float[np.ndarray, "2"]
    std: Float[np.ndarray, "2"]
    targets: int
    """How many targets it is learnt from."""

    def stated(self) -> dict[str, float]:
        """State it in seconds and radians, by name."""
        unit = {"clock": delay_of(1.0), "heading": 1.0}
        numbers = {}
        for k, name in enumerate(NUISANCES):
            if np.isfinite(self.std[k]):
                numbers[f"{name}_bias"] = float(self.value[k] * unit[name])
                numbers[f"{name}_bias_std"] = float(self.std[k] * unit[name])
        return numbers


def normal_equations(
    paths: LinearisedPaths, observed: OneWayPaths, position, log_reflectivity
) -> Normal:
    """Linearise the residuals of the paths that the map knows, at one fix of one target."""
    log, residual, weight = match(paths, observed, position, log_reflectivity, 0.0)
    share, _ = responsibilities(log, observed)
    best = jnp.argmax(share, axis=1)
    rows = jnp.arange(len(best))
    known = share[rows, best] > 0.5
    gap = jnp.where(known[:, None], residual[rows, best], 0.0)
    slope = jnp.where(known[:, None, None], paths.slope[best], 0.0)
    one = 1.0 * known
    zero = jnp.zeros_like(one)
    jacobian = jnp.concatenate(
        [slope, jnp.stack([zero, zero, 0.5 * one], 1)[..., None],
         jnp.stack([one, zero, zero], 1)[..., None]],
        axis=2,
    )  # fmt: skip
    variance = 1.0 / weight[rows, best]
    both = known[:, None] & known[None]
    joint = jnp.where(both, observed.length_covariance, 0.0)
    joint += jnp.diag(jnp.where(known, variance[:, 2], 1.0) - jnp.diagonal(joint))
    precision = jnp.linalg.inv(joint) * both
    angle = jnp.where(known[:, None], 1.0 / variance[:, :2], 0.0)
    gradient = jnp.einsum("pa,pai,pa->i", angle, jacobian[:, :2], gap[:, :2])
    information = jnp.einsum("pa,pai,paj->ij", angle, jacobian[:, :2], jacobian[:, :2])
    gradient += jacobian[:, 2].T @ (precision @ gap[:, 2])
    information += jacobian[:, 2].T @ precision @ jacobian[:, 2]
    return Normal(gradient, information)


@jax.jit
def normal_equations_at_ends(
    paths: list[LinearisedPaths],
    observed: list[OneWayPaths],
    position: Float[Array, "target end 3"],
    log_reflectivity: Float[Array, "target end station"],
) -> Normal:
    """Add up the normal equations of all stations, at every end of every target."""

    def one(paths, observed, position, reflectivity):
        parts = [
            normal_equations(p, o, position, r) for p, o, r in zip(paths, observed, reflectivity)
        ]
        return jax.tree.map(lambda *leaves: functools.reduce(operator.add, leaves), *parts)

    over_ends = jax.vmap(one, in_axes=(0, None, 0, 0))
    return jax.vmap(over_ends)(paths, observed, position, log_reflectivity)


def marginalise(normal: Normal, free: int):
    """Marginalise the position: equations of the nuisances alone, and how they move the fix.

    Args:
        normal: Of every target (numpy).
        free: How many coordinates are unknown.

    Returns:
        Gradient [target, 2], information [target, 2, 2], and the derivative of the fix
        [target, 3, 2].
    """
    position, nuisance = np.arange(free), np.array([3, 4])
    inside = normal.information[:, position[:, None], position]
    inside = inside + PRIOR_INFORMATION * np.eye(free)
    cross = normal.information[:, position[:, None], nuisance]
    solved = np.linalg.solve(inside, cross)
    gradient = normal.gradient[:, nuisance] - np.einsum(
        "tij,ti->tj", solved, normal.gradient[:, position]
    )
    information = normal.information[:, nuisance[:, None], nuisance]
    information = information - np.einsum("tij,tik->tjk", cross, solved)
    moved = np.zeros((len(solved), 3, 2))
    moved[:, :free] = -solved
    return gradient, information, moved


def estimate_bias(
    gradient: Float[np.ndarray, "target 2"],
    information: Float[np.ndarray, "target 2 2"],
    trusted: Bool[np.ndarray, " target"],
    unknown: tuple[str, ...],
) -> BatchBias:
    """Estimate the bias that is left, robustly: each target's own is weighed by its agreement.

    Args:
        gradient: Of every target, with the position marginalised.
        information: Of every target.
        trusted: Which targets take part.
        unknown: Which nuisances; the others are taken for zero.
    """
    index = np.array([NUISANCES.index(name) for name in unknown])
    value, std = np.zeros(2), np.full(2, np.inf)
    g, h = gradient[trusted][:, index], information[trusted][:, index[:, None], index]
    enough = np.linalg.eigvalsh(h.sum(axis=0))[0] > 1e-9 if len(h) else False
    if not enough:
        return BatchBias(value, std, 0)
    weight, found, scale = np.ones(len(g)), np.zeros(len(index)), 1.0
    own_std = np.sqrt(np.maximum(np.einsum("tii->ti", h), 1e-12))
    for _ in range(20):
        total = np.einsum("t,tij->ij", weight, h)
        found = np.linalg.solve(total, np.einsum("t,ti->i", weight, g))
        score = np.max(np.abs(g - np.einsum("tij,j->ti", h, found)) / own_std, axis=1)
        scale = max(1.0, float(np.median(score)) / 0.6745) if len(g) >= _FEWEST else 1.0
        weight = np.minimum(1.0, _HUBER * scale / np.maximum(score, 1e-9))
    value[index] = found
    std[index] = scale * np.sqrt(np.diag(np.linalg.inv(np.einsum("t,tij->ij", weight, h))))
    return BatchBias(value, std, int(trusted.sum()))


def significant_causes(
    gradient, information, moved, covariance, trusted: Bool[np.ndarray, " target"]
) -> dict[str, BatchBias]:
    """Test each nuisance that was not declared for residuals of one sign that matter.

    Args:
        gradient: As for `estimate_bias`.
        information: As for `estimate_bias`.
        moved: Derivative of every fix by the nuisances.
        covariance: Of every fix [m^2].
        trusted: Which targets take part.
    """
    found = {}
    if trusted.sum() < _FEWEST:
        return found
    std = np.sqrt(np.trace(covariance[trusted][:, :2, :2], axis1=1, axis2=2))
    for k, name in enumerate(NUISANCES):
        bias = estimate_bias(gradient, information, trusted, (name,))
        shift = np.linalg.norm(moved[trusted][:, :2, k], axis=1) * abs(bias.value[k])
        if abs(bias.value[k]) > _SIGNIFICANT * bias.std[k] and np.median(shift / std) > _MATERIAL:
            found[name] = bias
    return found


def remove_bias(echo: EchoSet, value: Float[np.ndarray, "2"]) -> EchoSet:
    """Take a bias off echoes [m, rad]."""
    return echo._replace(
        length=echo.length - value[0],
        departure_azimuth=echo.departure_azimuth - value[1],
        arrival_azimuth=echo.arrival_azimuth - value[1],
    )
