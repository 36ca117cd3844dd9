"""Scatterers that move: what targets of the sensing channel do to communication.

The same table of targets gives echoes to `sense` and, here, paths from the station by way of every
scattering point to the user: so both channels of one scene agree.

Takes rays, targets and the user's motion.
Gives the rays with one more for each scattering point.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoscape.channel_model.cross_section import CrossSection
from echoscape.channel_model.ray import Motion, RaySet, move
from echoscape.channel_model.target import Target, check_gaps, motion_at
from echoscape.propagation import target_gain
from echoscape.units import wavelength_of


def add_moving_scatterers(
    rays: RaySet,
    targets: Sequence[Target],
    motion: Motion,
    carrier_frequency: float,
    between: tuple[float, float] | None = None,
) -> RaySet:
    """Put a moving scatterer behind the rays for every scattering point of targets.

    Its power gain is that of the bistatic radar equation, ``lambda^2 sigma / (4 pi)^3`` over the
    squares of both legs, with the cross-section from the station to the user at each instant of the
    rays.  Walls between are not seen, and nothing goes by way of a wall and a target.

    Args:
        rays: Static points.
        targets: What moves.
        motion: The user's.
        carrier_frequency: Carrier [Hz].
        between: Times for which the targets must be known; all those of the rays if not given [s].

    Raises:
        InputError: A target's table does not tell where it is then.
    """
    between = between or (float(rays.time[0]), float(rays.time[-1]))
    for number, target in enumerate(targets):
        check_gaps(target, *between, f"target {number}")
    wavelength = wavelength_of(carrier_frequency)
    user = np.asarray(jax.jit(jax.vmap(move, (None, 0)))(motion, rays.time)[0])
    station = np.asarray(rays.station)[None]
    place, speed, gain = [], [], []
    for target in targets:
        points, speeds, turns = (np.asarray(each) for each in motion_at(target, rays.time))
        ways = [_toward(end, points, turns) for end in (station, user)]
        for p, section in enumerate(target.type.section):
            size = _sections(section, *(jnp.asarray(way[:, p]) for way in ways))
            gain.append(np.asarray(size) * target_gain(1.0, wavelength))
        place.append(points)
        speed.append(speeds)
    points, speeds = np.concatenate(place, axis=1), np.concatenate(speed, axis=1)
    instants, count = points.shape[:2]
    # both ways are Friis': (lambda / 4 pi)^4 4 pi sigma / lambda^2
    once = 20 * np.log10(wavelength / (4 * np.pi))
    gain_db = 10 * np.log10(np.maximum(np.stack(gain, axis=1), 1e-30)) + 2 * once
    still = np.zeros((instants, len(rays.scattered), 3))

    def longer(name: str, new: np.ndarray) -> jax.Array:
        old = np.asarray(getattr(rays, name))
        return jnp.asarray(np.concatenate([old, new.astype(old.dtype)], axis=-1))

    def moving(old: jax.Array | None, new: np.ndarray) -> jax.Array:
        before = still if old is None else np.asarray(old)
        return jnp.asarray(np.concatenate([before, new], axis=1))

    jones = rays.jones
    if jones is not None:
        kept = np.diag([1.0, -1.0])[: jones.shape[-1], : jones.shape[-1]]
        new = np.broadcast_to(kept, (instants, count, *kept.shape))
        jones = jnp.asarray(np.concatenate([np.asarray(jones), new], axis=1))
    one = np.ones(count)
    return RaySet(
        station=rays.station,
        point=jnp.asarray(np.concatenate([np.asarray(rays.point), points[0]])),
        scattered=longer("scattered", one),
        rotation=longer("rotation", 0 * one),
        reflection=longer("reflection", one),
        vertical_reflection=longer("vertical_reflection", one),
        time=rays.time,
        gain_db=longer("gain_db", gain_db),
        presence=longer("presence", np.ones((instants, count))),
        jones=jones,
        shift=moving(rays.shift, points - points[:1]),
        shift_velocity=moving(rays.shift_velocity, speeds),
    )


@eqx.filter_jit
def _sections(section: CrossSection, incident: jax.Array, scattered: jax.Array) -> jax.Array:
    return jax.vmap(section.section)(incident, scattered)


def _toward(end: np.ndarray, points: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Point from scattering points to an end, in the targets' axes."""
    away = end[:, None] - points
    away = away / np.linalg.norm(away, axis=2, keepdims=True)
    return np.einsum("tpij,tpi->tpj", turns, away)
