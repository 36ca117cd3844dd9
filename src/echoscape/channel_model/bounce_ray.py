"""Rays in the paper's form: legs to the first and from the last bounce, a virtual delay between.

Bounce points move as whatever found them says; between its instants they go straight.  Wave fronts
curve about the bounces, which for mirrors is worse than plane waves at large apertures; image
points (`RaySet`) are exact there.  Where only directions and a delay are known, as in a model that
draws them, this form needs no isometry.

Takes bounce points over time.
Gives `BounceRays`, which `realize` takes as it takes a `RaySet`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from echoscape.channel_model.ray import Rays, RayState, between_instants, instant_of
from echoscape.scene import angles_of, distance


class BounceRays(Rays):
    """First and last bounces, and how strong each ray is over time."""

    station: Float[Array, "3"]
    """Position of the station [m]."""
    line_of_sight: Bool[Array, " ray"]
    """Which ray has no bounce; its bounces and virtual delay are ignored."""
    time: Float[Array, " instant"]
    """When all else is given, rising [s]."""
    first: Float[Array, "instant ray 3"]
    """First bounces [m]."""
    last: Float[Array, "instant ray 3"]
    """Last bounces [m]."""
    beyond: Float[Array, "instant ray"]
    """Virtual delay times the speed of light: the way between the bounces [m]."""
    gain_db: Float[Array, "instant ray"]
    """Power gain times squared length, in decibels [dB m^2]."""
    presence: Float[Array, "instant ray"]
    """How much of the ray's amplitude is there, 0 to 1."""
    jones: Complex[Array, "instant ray pol pol"] | None = None
    """What a ray does to phase and polarisation, as of `RaySet`."""

    @property
    def direct(self) -> Bool[Array, " ray"]:
        """Which ray is the line of sight."""
        return self.line_of_sight

    def _ends(self, position, time):
        """Find both bounces and the way between them; of the line of sight, the other ends."""
        i, u = instant_of(self, time)
        first, last, beyond = (
            x[i] + u * (x[i + 1] - x[i]) for x in (self.first, self.last, self.beyond)
        )
        direct = self.line_of_sight
        first = jnp.where(direct[:, None], position[None], first)
        last = jnp.where(direct[:, None], self.station[None], last)
        return first, last, jnp.where(direct, 0.0, beyond)

    def lengths(
        self,
        position: Float[Array, "3"],
        transmit: Float[Array, "tx 3"],
        receive: Float[Array, "rx 3"],
        time: Float[Array, ""],
    ) -> Float[Array, "rx tx ray"]:
        """Measure rays between all elements, Eqs. (5)-(7) of [isac-gbsm].

        Args:
            position: Centre of the receive array [m].
            transmit: Offsets of the elements at the station [m].
            receive: Offsets of the elements at the user [m].
            time: When [s].
        """
        first, last, beyond = self._ends(position, time)
        start, end = self.station[None] + transmit, position[None] + receive
        out = distance(first[None] - start[:, None])
        back = distance(last[None] - end[:, None])
        straight = distance(end[:, None] - start[None])[..., None]
        return jnp.where(
            self.line_of_sight, straight, out[None] + back[:, None] + beyond[None, None]
        )

    def state(self, position, velocity, time):
        """Find every ray at one time, Eqs. (5)-(9) of [isac-gbsm]."""
        centre = jnp.zeros((1, 3))

        def length_at(time, position):
            return self.lengths(position, centre, centre, time)[0, 0]

        length, slope = jax.jvp(length_at, (time, position), (jnp.ones_like(time), velocity))
        first, last, _ = self._ends(position, time)
        gain_db, presence = between_instants(self, time)
        power = presence**2 * 10 ** (0.1 * gain_db) / length**2
        arrival, departure = angles_of(last - position[None]), angles_of(first - self.station[None])
        return RayState(length, *arrival, *departure, speed=-slope, power=power)
