"""The Rician factor of a channel: how much stronger the straight way is than all others together.

Takes rays and the user's motion.
Gives the factor over time, or rays that have a stated one, Eq. (2) of [isac-gbsm].
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.channel_model.ray import Kind, Motion, Rays, evolve, move
from echoscape.checks import InputError
from echoscape.units import from_db


@eqx.filter_jit
def _powers(
    rays: Rays, motion: Motion, time: Float[Array, " time"]
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """Sum the power of the straight way and of all others over time."""

    def at(t):
        position, velocity = move(motion, t)
        return evolve(rays, position, velocity, t).power

    power = jax.vmap(at)(time)
    direct = rays.direct
    return power @ direct.astype(power.dtype), power @ (~direct).astype(power.dtype)


def rician_factor(rays: Rays, motion: Motion, time: Float[Array, " time"]) -> Float[Array, " time"]:
    """Measure the factor: power of the straight way over that of all others, 0 out of sight [1].

    Args:
        rays: The rays.
        motion: The user's.
        time: When [s].
    """
    direct, others = _powers(rays, motion, time)
    tiny = jnp.finfo(others.dtype).tiny
    return direct / jnp.maximum(others, tiny)


def with_rician_factor(rays: Kind, motion: Motion, factor_db: float) -> Kind:
    """Share the power of every instant in sight so that the factor is a stated one.

    The total stays, ``K / (K + 1)`` of it straight, at the instants of the rays; out of sight
    nothing changes.

    Args:
        rays: The rays.
        motion: The user's.
        factor_db: The factor [dB].

    Raises:
        InputError: The straight way is not among the rays, or is never there beside others.
    """
    direct, others = _powers(rays, motion, rays.time)
    straight = rays.direct
    both = (direct > 0) & (others > 0)
    if not bool(jnp.any(both)):
        raise InputError(
            "a Rician factor needs the straight way beside other rays, which these never have; "
            "leave it out or take times in sight"
        )
    total, factor = direct + others, from_db(factor_db)
    wanted = jnp.where(straight[None], factor, 1.0) / (1 + factor) * total[:, None]
    now = jnp.where(straight[None], direct[:, None], others[:, None])
    change = jnp.where(both[:, None], wanted / jnp.where(now > 0, now, 1.0), 1.0)
    return eqx.tree_at(lambda r: r.gain_db, rays, rays.gain_db + 10 * jnp.log10(change))
