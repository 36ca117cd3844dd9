"""The sensing channel: what a base station receives of its own pulse from scatterers.

Takes scatterers, radar cross-sections and the array that transmits and receives.
Gives echoes, and the first bounces behind them.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from echoscape.propagation import radar_gain
from echoscape.scene import PlanarArray, angles_of, distance, steering_vector, unit_vector
from echoscape.units import delay_of, length_of, wavelength_of


class EchoRealization(eqx.Module):
    """A mono-static channel at one instant."""

    coefficient: Complex[Array, "element element_sent scatterer"]
    """From each transmitting to each receiving element, phase of the delay included [1]."""
    delay: Float[Array, " scatterer"]
    """Out and back [s]."""
    doppler: Float[Array, " scatterer"]
    """Positive where a scatterer comes closer [Hz]."""
    azimuth: Float[Array, " scatterer"]
    """Out and back alike [rad]."""
    zenith: Float[Array, " scatterer"]
    """Out and back alike [rad]."""


def sense(
    station: Float[Array, "3"],
    point: Float[Array, "scatterer 3"],
    velocity: Float[Array, "scatterer 3"],
    cross_section: Float[Array, " scatterer"],
    array: PlanarArray,
    carrier_frequency: float,
) -> EchoRealization:
    """Make the sensing channel, Eq. (1) of [isac-gbsm].

    The paper writes ``b a^T`` for two arrays; here one array transmits and receives, so both are
    its steering vector.  Its Doppler ``2 v f / c`` takes for ``v`` the speed of approach.

    Args:
        station: Position of the array [m].
        point: Where the scatterers are [m].
        velocity: How they move [m/s].
        cross_section: Radar cross-sections [m^2].
        array: Transmits and receives.
        carrier_frequency: Carrier [Hz].
    """
    wavelength = wavelength_of(carrier_frequency)
    ahead = point - station[None]
    length = distance(ahead)
    azimuth, zenith = angles_of(ahead)
    closing = -jnp.sum(ahead * velocity, axis=1) / jnp.maximum(length, wavelength)
    cycles = 2 * length / wavelength
    gain = jnp.sqrt(radar_gain(length, cross_section, wavelength))
    gain = gain * jnp.exp(-2j * math.pi * (cycles - jnp.round(cycles)))
    steering = jax.vmap(steering_vector, (None, 0, 0))(array, azimuth, zenith)
    coefficient = jnp.einsum("s,sa,sb->abs", gain, steering, steering)
    return EchoRealization(
        coefficient, delay_of(2 * length), 2 * closing / wavelength, azimuth, zenith
    )


def first_bounces(
    echoes: EchoRealization, station: Float[Array, "3"]
) -> Float[Array, "scatterer 3"]:
    """Place the scatterers that echoes come from [m]."""
    ahead = unit_vector(echoes.azimuth, echoes.zenith)
    return station[None] + 0.5 * length_of(echoes.delay)[:, None] * ahead
