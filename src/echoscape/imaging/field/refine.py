"""Positions of points and users, and clocks, refined by variable projection.

Links are eliminated exactly; what is left is a small nonlinear least-squares problem in the
positions, to which Gauss-Newton steps with Gaussian priors are taken.

Takes a `Scene`, points, nuisances and the links' posterior.
Gives better points and nuisances, and their covariance.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from echoscape.imaging.field.links import (
    Factors,
    Links,
    Nuisance,
    Scene,
    blocks_of,
    columns_of,
)
from echoscape.units import wavenumber_of


class Priors(NamedTuple):
    """Standard deviations of what is refined."""

    point: float
    """Of a point about the centre of its voxel [m]; zero keeps it there."""
    user: Float[np.ndarray, " user"]
    """Of each coordinate of a user's stated position [m]; zero keeps it."""
    clock: Float[np.ndarray, " user"]
    """Of a user's clock, as a length [m]; zero keeps it."""


class Step(NamedTuple):
    """One Gauss-Newton step."""

    point: Float[np.ndarray, "point 3"]
    offset: Float[np.ndarray, "user 3"]
    clock: Float[np.ndarray, " user"]
    covariance: Float[np.ndarray, "parameter parameter"]
    """Of points unless they stay, then offsets, then clocks [m^2]."""


def gauss_newton(
    scene: Scene,
    point: Float[np.ndarray, "point 3"],
    centre: Float[np.ndarray, "point 3"],
    nuisance: Nuisance,
    factors: Factors,
    links: Links,
    noise: Float[np.ndarray, "user station"],
    priors: Priors,
) -> Step:
    """Take the step that raises the posterior most, links eliminated (variable projection).

    Args:
        scene: What was received.
        point: Where the points are [m].
        centre: Where their priors are centred [m].
        nuisance: Offsets and clocks so far.
        factors: Factors of the points there.
        links: Posterior of the links there.
        noise: Mean squared noise of each block.
        priors: How far anything may be off.
    """
    users, points = len(scene.user), len(point)
    moving = points if priors.point > 0 else 0
    middle = scene.frequency.mean()
    band = wavenumber_of(scene.frequency - middle)  # turns per metre
    columns = columns_of(factors) * (links.mean != 0)[:, :, None]
    weighted = columns * links.mean[:, :, None]
    residual = blocks_of(scene.channel) - np.sum(weighted, -1)

    def unit(start):
        ray = point - start[..., None, :]
        return ray / np.maximum(np.linalg.norm(ray, axis=-1, keepdims=True), 1e-9)

    to_user = unit(scene.user + nuisance.offset)  # [user, point, 3]
    to_antenna = unit(scene.antenna)
    to_station = unit(scene.station)
    subcarriers, (stations, antennas) = len(band), scene.antenna.shape[:2]
    shape = (users, stations, subcarriers, antennas, points, 3)
    user_part = band[None, None, :, None, None, None] * to_user[:, None, None, None]
    whole = wavenumber_of(scene.frequency)[None, :, None, None, None] * to_antenna[:, None]
    whole = whole - wavenumber_of(middle) * to_station[:, None, None]
    turn = -2j * np.pi * weighted
    slope = np.broadcast_to(user_part + whole[None], shape).reshape(users, stations, -1, points, 3)
    by_point = turn[..., :moving, None] * slope[..., :moving, :]
    by_point = by_point.reshape(users, stations, subcarriers * antennas, 3 * moving)
    along = np.broadcast_to(user_part, shape).reshape(users, stations, -1, points, 3)
    by_user = -np.einsum("kbns,kbnsd->kbnd", turn, along)
    tone = np.broadcast_to(band[:, None], (subcarriers, antennas)).reshape(-1)
    by_clock = (np.sum(turn, -1) * tone)[..., None]
    jacobian = np.concatenate([by_point, by_user, by_clock], -1)
    # Single precision is enough for the curvature and takes half the time; not for the gradient.
    root = np.sqrt(noise)[..., None, None]
    jacobian = (jacobian / root).astype(np.complex64)
    columns, residual = (columns / root).astype(np.complex64), residual / root[..., 0]
    conjugate = np.conj(np.swapaxes(jacobian, -1, -2))
    parts = np.concatenate([jacobian.real, jacobian.imag], -2)
    cross = np.conj(np.swapaxes(columns, -1, -2)) @ jacobian
    taken = np.conj(np.swapaxes(cross, -1, -2)) @ (links.covariance.astype(np.complex64) @ cross)
    hessian = np.swapaxes(parts, -1, -2) @ parts - taken.real
    gradient = (conjugate @ residual[..., None])[..., 0]
    # Ridge: the residual of the posterior mean is already what the projection leaves.
    hessian, gradient = 2 * hessian.astype(float).sum(1), 2 * gradient.real.sum(1)

    size = 3 * moving + 4 * users
    total, right = np.zeros((size, size)), np.zeros(size)
    for k in range(users):
        place = np.r_[0 : 3 * moving, 3 * moving + 3 * k + np.arange(3), 3 * moving + 3 * users + k]
        total[np.ix_(place, place)] += hessian[k]
        right[place] += gradient[k]
    spread = np.concatenate(
        [np.full(3 * moving, priors.point), np.repeat(priors.user, 3), priors.clock]
    )
    away = np.concatenate(
        [(point - centre)[:moving].ravel(), nuisance.offset.ravel(), nuisance.clock]
    )
    free = spread > 0
    inverse = 1 / np.where(free, spread, 1.0) ** 2
    total = total[np.ix_(free, free)] + np.diag(inverse[free])
    covariance = np.zeros((size, size))
    covariance[np.ix_(free, free)] = np.linalg.inv(total)
    step = covariance @ (right - inverse * away)
    by_points, offset, clock = np.split(step, [3 * moving, 3 * moving + 3 * users])
    still = np.zeros((points - moving, 3))
    return Step(
        np.concatenate([by_points.reshape(-1, 3), still]), offset.reshape(-1, 3), clock, covariance
    )
