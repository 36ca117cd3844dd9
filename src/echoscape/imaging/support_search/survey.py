"""Every voxel as what might be added to a list, or as what a list hides.

Every open segment of the list tells that nothing stands in it, every closed one that something
does; so what might be added is asked about all the segments it would close.  The geometry comes
from lists kept on the host, or on large grids from compiled cones; the sum over all samples is one
compiled program, whatever the list.

Takes a `Scene` and a `Support`.
Gives a `Survey`: what adding each voxel, on its own, would raise the posterior by.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from echoscape.imaging.occlusion.shadow_lists import shadow_lists
from echoscape.imaging.occlusion.shadows import SMALL_GRID, cast_shadows, occupancy_messages
from echoscape.imaging.operator.active_voxels import ActiveVoxels
from echoscape.imaging.operator.cascade import Cascade
from echoscape.imaging.operator.padding import pad_samples
from echoscape.imaging.operator.products import correlate, correlate_power
from echoscape.imaging.support_search.support import (
    BLOCKED,
    FALSE_OCCLUSION,
    CoefficientPrior,
    Scene,
    Support,
    coefficient_log_prior,
    voxel_log_prior,
)

_LEVELS = 9
"""Sizes of a coefficient that are tried where one might be added."""
_LISTED = 64
"""Lists are padded to this times a power of two, so that few lengths are compiled."""


class Candidates(NamedTuple):
    """What might be added, best first."""

    index: Int[np.ndarray, " candidate"]
    gain: Float[np.ndarray, " candidate"]
    value: Inexact[np.ndarray, " candidate"]
    user: Bool[np.ndarray, "user candidate"]
    station: Bool[np.ndarray, "station candidate"]


class Survey(NamedTuple):
    """Every kept voxel as what might be added; flat over these."""

    gain: Float[np.ndarray, " kept"]
    """How much the posterior would rise; minus infinity where the voxel is listed."""
    best: Candidates
    """The best of them."""
    hidden: Bool[np.ndarray, "view kept"]
    """Segments that listed voxels hide."""


def hidden_and_accused(
    scene: Scene, support: Support
) -> tuple[Bool[np.ndarray, "view kept"], Float[np.ndarray, " kept"]]:
    """Say what the list hides, and how far its segments make every voxel more probable."""
    segments = np.concatenate([support.user, support.station])
    on_grid, grid = scene.on_grid(support.index), scene.active.grid
    if grid.voxels <= SMALL_GRID:
        lists = shadow_lists(grid, scene.view, scene.radius)
        hidden = lists.cast(on_grid, np.ones(len(on_grid))) > 0
        message = lists.messages(
            on_grid,
            np.where(segments, 30.0, -30.0),
            np.ones(len(on_grid)),
            np.where(hidden[:, on_grid], -30.0, 0.0),
            np.zeros(grid.voxels),
            FALSE_OCCLUSION,
            BLOCKED,
        )
        return scene.pick(hidden), scene.pick(message)
    count, room = len(on_grid), padded_length(len(on_grid))
    listed = np.pad(on_grid, (0, room - count))
    segments = np.pad(segments, ((0, 0), (0, room - count)), constant_values=True)
    found = _by_cones(scene.active, scene.view, listed, segments, count, scene.radius)
    hidden, message = (np.asarray(each) for each in found)
    return hidden, message


def padded_length(count: int) -> int:
    """Round the length of a list up to one of few."""
    room = _LISTED
    while room < count:
        room *= 2
    return room


@jax.jit
def _by_cones(active: ActiveVoxels, view, listed, segments, count, radius):
    grid, real = active.grid, jnp.float32
    nothing = jnp.zeros((len(view), grid.voxels), real)
    standing = (jnp.arange(len(listed)) < count).astype(real)
    hidden = cast_shadows(nothing, grid, view, listed, standing, count, radius) > 0
    message = occupancy_messages(
        grid,
        view,
        listed,
        count,
        jnp.where(segments, 30.0, -30.0),
        standing,
        jnp.where(hidden[:, listed], -30.0, 0.0).astype(real),
        jnp.zeros(grid.voxels, real),
        FALSE_OCCLUSION,
        BLOCKED,
        radius,
    )
    return active.pick(hidden), active.pick(message)


def survey(scene: Scene, support: Support, width: int = 12) -> Survey:
    """Ask for every voxel how much adding it, on its own, would raise the posterior.

    Args:
        scene: What does not change.
        support: The list.
        width: Candidates that are distinguished.
    """
    hidden, message = hidden_and_accused(scene, support)
    cascade, kept = scene.padded, hidden.shape[1]
    chunks, size = cascade.padded
    real = cascade.real_type
    users, stations = len(support.user), len(support.station)
    _, more_users, more_stations, _ = cascade.samples
    # A view that is not there is closed for certain, and adds nothing.
    odds = np.full((more_users + more_stations, chunks * size), -np.inf, real)
    rows = np.r_[:users, more_users : more_users + stations]
    odds[rows] = -BLOCKED
    clear = np.log((1 - FALSE_OCCLUSION) / FALSE_OCCLUSION)
    odds[rows, :kept] = np.where(hidden, -BLOCKED, clear)
    extra = np.full(chunks * size, -np.inf, real)
    extra[:kept] = message + voxel_log_prior(scene.prior.rate)
    extra[support.index] = -np.inf
    kind = cascade.complex_type if scene.is_complex else real
    prior = CoefficientPrior(
        *(
            np.asarray(leaf, each)
            for leaf, each in zip(scene.prior, (real, kind, real), strict=True)
        )
    )
    residual = pad_samples(support.residual.astype(cascade.complex_type), cascade.samples)
    odds = np.moveaxis(odds.reshape(-1, chunks, size), 0, 1)
    noise = np.asarray(scene.noise, real)
    width = min(width, kept)
    gain, best = _gains(cascade, residual, odds, extra, prior, noise, width)
    best = Candidates(*(np.asarray(each) for each in best))
    best = best._replace(user=best.user[:users], station=best.station[:stations])
    return Survey(np.asarray(gain)[:kept], best, hidden)


@functools.partial(jax.jit, static_argnames="width")
def _gains(
    cascade: Cascade,
    residual: Array,
    odds: Float[Array, "chunk view voxel"],
    extra: Float[Array, " padded"],
    prior: CoefficientPrior,
    noise: Float[Array, ""],
    width: int,
):
    """Give the gain of every voxel, and the best candidates."""
    users, real, size = residual.shape[1], cascade.real_type, cascade.padded[1]
    is_complex = jnp.iscomplexobj(prior.mean)
    typical, spread = jnp.abs(prior.mean), jnp.sqrt(prior.variance)
    level = typical + spread * jnp.linspace(-1.7, 1.7, _LEVELS, dtype=real)
    level = jnp.maximum(level, 0.15 * (typical + spread))
    ones = jnp.ones(residual.shape, real)

    def chunk(_, parts):
        user, antenna, odds = parts
        power = correlate_power(user, antenna, ones) / noise
        link = correlate(user, antenna, residual) / noise
        for_user, for_station = odds[:users], odds[users:]

        def turned(station, seen):
            if not is_complex:
                return jnp.where(jnp.real(prior.mean) < 0, -1.0, 1.0) * jnp.ones(size, real)
            total = jnp.einsum("kbn,bn,kn->n", link, station, seen)
            return total / jnp.maximum(jnp.abs(total), 1e-30)

        def improve(number, found):
            """Choose stations' segments by the users', then these, the size and the phase."""
            _, x, phase, seen, station = found
            size = x[None, None]
            q = 2 * size * jnp.real(jnp.conj(phase)[None, None] * link) - size**2 * power
            chosen = jnp.einsum("kbn,kn->bn", q, seen) + for_station > 0
            station = jnp.where(number == 0, station, chosen.astype(real))
            phase = turned(station, seen)
            a = jnp.einsum("kbn,bn->kn", jnp.real(jnp.conj(phase)[None, None] * link), station)
            w = jnp.einsum("kbn,bn->kn", power, station)

            def at(x):
                # The last round alone needs the exact sum.
                score = 2 * x * a - x**2 * w + for_user
                soft = jax.lax.cond(number == 2, jax.nn.softplus, jax.nn.relu, score)
                return jnp.sum(soft, 0)

            gain = jax.lax.map(at, level)
            x = level[jnp.argmax(gain, 0)]
            gain = jnp.max(gain, 0) - jnp.sum(jax.nn.softplus(for_user), 0)
            seen = 2 * x[None] * a - (x**2)[None] * w + for_user > 0
            return gain, x, phase, seen.astype(real), station

        nothing, phase = jnp.zeros(size, real), jnp.zeros(size, prior.mean.dtype)
        seen, station = (for_user > 0).astype(real), (for_station > 0).astype(real)
        start = nothing, nothing, phase, seen, station
        gain, x, phase, seen, station = jax.lax.fori_loop(0, 3, improve, start)
        gain -= jnp.sum(jnp.logaddexp(0, jnp.where(station > 0, -for_station, for_station)), 0)
        sure = jnp.einsum("kbn,bn,kn->n", power, station, seen)
        half = 1.0 if is_complex else 0.5
        value = x.astype(phase.dtype) * phase
        gain += coefficient_log_prior(prior, value, half / jnp.maximum(sure, 1e-9), jnp)
        alive = jnp.any(seen > 0, 0) & jnp.any(station > 0, 0)
        gain = jnp.where(alive, gain, -jnp.inf)
        return None, (gain, value, seen > 0, station > 0)

    gain, value, seen, station = jax.lax.scan(chunk, None, (cascade.user, cascade.antenna, odds))[1]
    gain = gain.reshape(-1) + extra
    most, index = jax.lax.top_k(gain, width)
    user, station = (
        jnp.moveaxis(segments[index // size, :, index % size], 0, -1)
        for segments in (seen, station)
    )
    return gain, (index, most, value.reshape(-1)[index], user, station)
