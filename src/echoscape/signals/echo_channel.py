"""MIMO-OFDM channels: what arrays and subcarriers make of paths, two-way echoes included.

An echo leaves along any path to the target and returns along any path from it.  With L paths each
way these are L^2 echoes, but never L^2 atoms: transmit side, target and receive side are factors.
Phases are those of physics on both sides, ``exp(+j 2 pi r.u / wavelength)`` for an element at r
and a wave that goes to, or comes from, the direction u; [wu-ckm] writes the conjugate on the
transmit side, which numbers the elements of a centred array backwards and changes nothing else.

Takes `Paths`, arrays, a `Waveform`.
Gives channels [receive, transmit, subcarrier].
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from echoscape.propagation import Paths, target_gain
from echoscape.propagation.path import AnyArray
from echoscape.scene import PlanarArray, steering_vector
from echoscape.signals.waveform import Waveform
from echoscape.units import delay_of


def steering(
    array: PlanarArray, azimuth: Float[AnyArray, " path"], zenith: Float[AnyArray, " path"]
) -> Complex[Array, "path element"]:
    """Phase an array's elements for every path."""
    return jax.vmap(lambda a, z: steering_vector(array, a, z))(azimuth, zenith)


def delay_phases(
    waveform: Waveform, delay: Float[AnyArray, " path"]
) -> Complex[Array, "path subcarrier"]:
    """Turn the subcarriers' phases by every path's delay."""
    return jnp.exp(-2j * math.pi * delay[:, None] * waveform.frequencies()[None])


def echo_channel(
    out: Paths,
    back: Paths,
    transmit: PlanarArray,
    receive: PlanarArray,
    waveform: Waveform,
    *,
    reflection: Complex[Array, "path path"],
    reciprocal: bool = False,
) -> Complex[Array, "receive transmit subcarrier"]:
    """Compute the channel of one target, Eqs. (4)-(6) and (27)-(29) of [wu-ckm].

    Args:
        out: Paths from the transmitting station to the target.
        back: Paths from the receiving station to the target; the same for a single station.
        transmit: The transmitting array.
        receive: The receiving array.
        waveform: The waveform.
        reflection: What the target does to a wave that comes along path i and leaves along path
            j, entry (i, j): ``sqrt(4 pi sigma) / wavelength`` times a phase; symmetric for
            materials that are reciprocal [1].
        reciprocal: Only the echoes that return the way they came, Eq. (5), which makes sense for
            a single station alone.
    """
    if reciprocal:
        reflection = reflection * jnp.eye(reflection.shape[0], reflection.shape[1])
    outward = jnp.where(out.valid, out.gain, 0.0)[:, None] * delay_phases(waveform, out.delay)
    inward = jnp.where(back.valid, back.gain, 0.0)[:, None] * delay_phases(waveform, back.delay)
    sent = steering(transmit, out.departure_azimuth, out.departure_zenith)
    received = steering(receive, back.departure_azimuth, back.departure_zenith)
    arriving = jnp.einsum("it,ik,ij->jtk", sent, outward, reflection)
    return jnp.einsum("jr,jk,jtk->rtk", received, inward, arriving)


def point_reflection(
    out: Paths, back: Paths, cross_section: float | Float[Array, ""], wavelength: float
) -> Complex[Array, "path path"]:
    """Make the reflection of a target that scatters alike in all directions."""
    size = (out.valid.shape[0], back.valid.shape[0])
    return jnp.full(size, jnp.sqrt(target_gain(cross_section, wavelength)), dtype=complex)


def point_channel(
    departure: tuple[Float[Array, " point"], Float[Array, " point"]],
    arrival: tuple[Float[Array, " point"], Float[Array, " point"]],
    length: Float[Array, " point"],
    gain: Complex[Array, " point"],
    transmit: PlanarArray,
    receive: PlanarArray,
    waveform: Waveform,
) -> Complex[Array, "receive transmit subcarrier"]:
    """Compute the channel of independent paths from the transmitting to the receiving array.

    Args:
        departure: (azimuth, zenith) at the transmitting array [rad].
        arrival: (azimuth, zenith) at the receiving array [rad].
        length: All the way [m].
        gain: Complex amplitudes [1].
        transmit: The transmitting array.
        receive: The receiving array.
        waveform: The waveform.
    """
    sent, received = steering(transmit, *departure), steering(receive, *arrival)
    turned = gain[:, None] * delay_phases(waveform, delay_of(length))
    return jnp.einsum("lr,lt,lk->rtk", received, sent, turned)
