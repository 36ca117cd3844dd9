"""Clusters: every path as a bundle of rays around it, and a diffuse part that trails it.

A wall is no mirror and a scatterer no point: what a receiver resolves as one path is a cluster of
many rays, Eq. (4) of [isac-gbsm] with N(t) clusters of M rays.  Each ray is a static point near
that of its path, so that it keeps its own delay, angles and Doppler while the user moves.  Angles
and delays within a cluster are quantiles, shuffled, so that every cluster has the stated spreads,
where the user is half way through its life.

Takes a `RaySet` and the user's motion.
Gives a `RaySet` of as many clusters.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from echoscape.channel_model.ray import Motion, RaySet, move, spreading
from echoscape.checks import InputError
from echoscape.units import length_of

WIDER, LATER = 4.0, 4.0
"""How much wider in angle and in delay the diffuse part is than the cluster."""
_POLE = 0.01  # zeniths stay so far from the poles [rad]
_MOST_ENTRIES = 50_000_000  # of gains over instants and rays; each takes about 40 bytes


class Clusters(eqx.Module):
    """What clusters are like; of TR 38.901 they have 20 rays of one power."""

    rays: int = eqx.field(default=20, static=True)
    """Rays of each cluster."""
    azimuth_spread: float = 0.05
    """Root mean square of the rays' azimuths about the path's, at the user [rad]."""
    zenith_spread: float = 0.02
    """The same of zeniths [rad]."""
    departure_spread: float = 0.05
    """The same of azimuths at the station, for images; of scatterers it follows [rad]."""
    delay_spread: float = 2e-9
    """Standard deviation of the rays' delays, which begin with the path's [s]."""
    diffuse: float = 0.0
    """Share of the power in as many diffuse rays again, wider and later."""

    def __check_init__(self):
        if self.rays < 2:
            raise InputError(f"a cluster needs at least two rays; got {self.rays}")
        spreads = ("azimuth_spread", "zenith_spread", "departure_spread")
        for name in spreads:
            if not 0 <= getattr(self, name) <= 1.0:
                raise InputError(
                    f"{name} of a cluster must lie between 0 and 1, in rad; got "
                    f"{getattr(self, name):g}; if these are degrees, multiply by pi/180"
                )
        if not 0 <= self.delay_spread <= 1e-6:
            raise InputError(
                "delay_spread of a cluster must lie between 0 and 1e-6, in s; got "
                f"{self.delay_spread:g}; if these are nanoseconds, multiply by 1e-9"
            )
        if not 0 <= self.diffuse < 1:
            raise InputError(f"diffuse must be a share from 0 to below 1; got {self.diffuse:g}")


def clustered(rays: RaySet, motion: Motion, clusters: Clusters, *, key: PRNGKeyArray) -> RaySet:
    """Make a cluster of every ray but the line of sight.

    Each ray within has a random phase, times the Jones matrix of its path where that has one.

    Args:
        rays: The paths.
        motion: The user's.
        clusters: What clusters are like.
        key: Of the order of angles and delays, and of the phases.

    Raises:
        InputError: So many rays at so many instants do not fit.
    """
    direct = np.asarray(rays.direct)
    many = clusters.rays * (2 if clusters.diffuse > 0 else 1)
    total = len(rays.time) * (int(direct.sum()) + int((~direct).sum()) * many)
    if total > _MOST_ENTRIES:
        raise InputError(
            f"clusters of {many} rays make {total} gains over {len(rays.time)} instants, more than "
            f"{_MOST_ENTRIES}; take shorter --times or fewer --rays"
        )
    owner = np.concatenate([np.flatnonzero(direct), np.repeat(np.flatnonzero(~direct), many)])
    seed = np.asarray(jax.random.key_data(key))
    rng = np.random.default_rng(seed)
    alone, count = int(direct.sum()), int((~direct).sum())
    offset = [_draw(clusters, count, rng)]
    if clusters.diffuse > 0:
        offset.append(_draw(clusters, count, rng, WIDER, LATER))
    across, up, aside, late = np.concatenate(offset, axis=2).reshape(4, -1)
    inside = owner[alone:]
    point = np.array(rays.point)[owner]
    middle = _middles(rays, motion)[inside]
    away = point[alone:] - middle
    reach = np.linalg.norm(away, axis=1)
    azimuth = np.arctan2(away[:, 1], away[:, 0]) + across
    zenith = np.arccos(away[:, 2] / reach) + up
    zenith = np.clip(zenith, _POLE, math.pi - _POLE)
    length = reach + length_of(late)
    toward = [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)]
    moved = middle + length[:, None] * np.stack(toward, axis=1)
    scattered, station = np.asarray(rays.scattered)[inside], np.asarray(rays.station)
    legs = [np.linalg.norm(p - station, axis=1) for p in (point[alone:], moved)]
    fall = [
        np.asarray(spreading(one, leg, one, scattered)) for one, leg in zip((reach, length), legs)
    ]
    share = np.full((count, many), (1 - clusters.diffuse) / clusters.rays)
    share[:, clusters.rays :] = clusters.diffuse / clusters.rays
    change = 10 * np.log10(share.ravel() * fall[1] / fall[0])
    point[alone:] = moved
    rotation, reflection = (np.array(x)[owner] for x in (rays.rotation, rays.reflection))
    rotation[alone:] += np.where(scattered, 0.0, aside - reflection[alone:] * across)
    gain_db = np.array(rays.gain_db)[:, owner]
    gain_db[:, alone:] += change
    turn = np.ones(len(owner), complex)
    turn[alone:] = np.exp(2j * np.pi * rng.random(len(inside)))
    old = np.ones((len(rays.time), 1, 1, 1)) if rays.jones is None else np.asarray(rays.jones)
    old = old if rays.jones is None else old[:, owner]
    moving = [None if x is None else x[:, owner] for x in (rays.shift, rays.shift_velocity)]
    return RaySet(
        station=rays.station,
        point=jnp.asarray(point),
        scattered=jnp.asarray(np.asarray(rays.scattered)[owner]),
        rotation=jnp.asarray(rotation),
        reflection=jnp.asarray(reflection),
        vertical_reflection=jnp.asarray(np.asarray(rays.vertical_reflection)[owner]),
        time=rays.time,
        gain_db=jnp.asarray(gain_db),
        presence=jnp.asarray(np.asarray(rays.presence)[:, owner]),
        jones=jnp.asarray(old * turn[None, :, None, None]),
        shift=moving[0],
        shift_velocity=moving[1],
    )


def _draw(
    clusters: Clusters, count: int, rng: np.random.Generator, wider: float = 1.0, later: float = 1.0
) -> Float[np.ndarray, "4 cluster ray"]:
    """Shuffle quantiles: Laplacian angles in azimuth, zenith, departure, exponential delays."""
    share = (np.arange(clusters.rays) + 0.5) / clusters.rays
    side = np.sign(share - 0.5)
    laplacian = -side * np.log(1 - np.abs(2 * share - 1))
    laplacian /= np.sqrt(np.mean(laplacian**2))
    exponential = -np.log(1 - share)
    exponential = (exponential - exponential[0]) / np.std(exponential)
    spread = np.array([clusters.azimuth_spread, clusters.zenith_spread, clusters.departure_spread])
    rows = np.concatenate([wider * np.outer(spread, laplacian),
                           later * clusters.delay_spread * exponential[None]])  # fmt: skip
    whole = np.broadcast_to(rows[:, None], (4, count, clusters.rays)).copy()
    return rng.permuted(whole, axis=2)


def _middles(rays: RaySet, motion: Motion) -> Float[np.ndarray, "ray 3"]:
    """Find where the user is half way through each ray's life."""
    presence, time = np.asarray(rays.presence), np.asarray(rays.time)
    whole = np.maximum(presence.sum(axis=0), 1e-12)
    when = np.where(presence.any(axis=0), time @ presence / whole, time[0])
    return np.asarray(jax.jit(jax.vmap(move, (None, 0)))(motion, jnp.asarray(when))[0])
