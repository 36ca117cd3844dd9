"""From rays to the coefficients between every pair of antennas.

Each ray's wave front is a sphere about its point: for a virtual anchor about the image of *each*
transmit element, which is exact for walls; for a scatterer in two legs.  The paper's form, two legs
to first and last bounce and a virtual delay, curves the front at the bounce and is worse than a
plane wave at large apertures; `BounceRays` keep it.

Takes rays, arrays, polarisation and times.
Gives `ChannelRealization`.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from echoscape.channel_model.bounce_ray import BounceRays
from echoscape.channel_model.ray import Motion, RaySet, evolve, jones_at, move
from echoscape.channel_model.turning import Turning, rotation_at
from echoscape.display import Plotted
from echoscape.scene import PlanarArray, array_rotation, distance
from echoscape.scene.antenna_pattern import Antenna, antenna_field
from echoscape.units import delay_of, from_db, wavelength_of

_TERMS = 11  # of the series: the first left out is below 1e-16


class Polarisation(NamedTuple):
    """Cross-polar ratio and co-polar imbalance; as in TR 38.901, UMi without line of sight."""

    cross_ratio_db: float = 8.0
    """Mean of the cross-polar ratio kappa [dB]."""
    cross_spread_db: float = 3.0
    """Its standard deviation from ray to ray [dB]."""
    imbalance_db: float = 0.0
    """Co-polar imbalance mu [dB]."""


class ChannelRealization(Plotted, eqx.Module):
    """A channel over time."""

    coefficient: Complex[Array, "time rx tx path"]
    """Baseband coefficients, ``exp(-j 2 pi f delay)`` included [1]."""
    delay: Float[Array, "time path"]
    """Delays between the centres of the arrays, absolute [s]."""
    time: Float[Array, " time"]
    """When [s]."""
    carrier_frequency: float = eqx.field(static=True)
    """Carrier [Hz]."""
    element_delay: Float[Array, "time rx tx path"] | None = None
    """Delays between every pair of antennas, absolute, where a wide band tells them apart [s]."""


def image_lengths(
    rays: RaySet,
    position: Float[Array, "3"],
    transmit: Float[Array, "tx 3"],
    receive: Float[Array, "rx 3"],
) -> Float[Array, "rx tx ray"]:
    """Measure each ray from each transmit to each receive element, exactly.

    Args:
        rays: The rays.
        position: Centre of the receive array [m].
        transmit: Offsets of the elements at the station [m].
        receive: Offsets of the elements at the user [m].
    """
    return _lengths(position[None] + receive, *_imaged(rays, transmit))


def _imaged(
    rays: RaySet, transmit: Float[Array, "tx 3"]
) -> tuple[Float[Array, "3 tx ray"], Float[Array, "tx ray"]]:
    """Place the image of every transmit element, and measure the leg before a scatterer [m]."""
    cos, sin = jnp.cos(rays.rotation), jnp.sin(rays.rotation)
    # a direction at the image, its azimuth times `reflection`, plus `rotation`, is that at the
    # station
    x, y, z = (transmit[:, i, None] for i in range(3))
    imaged = jnp.stack(
        [
            x * cos[None] + y * sin[None],
            (y * cos[None] - x * sin[None]) * rays.reflection[None],
            z * rays.vertical_reflection[None],
        ],
        axis=-1,
    )
    centre = rays.point[None] + jnp.where(rays.scattered[None, :, None], 0.0, imaged)
    start = rays.station[None, None] + transmit[:, None] - rays.point[None]
    return jnp.moveaxis(centre, -1, 0), jnp.where(rays.scattered[None], distance(start), 0.0)


def _lengths(
    end: Float[Array, "rx 3"], centre: Float[Array, "3 tx ray"], leg: Float[Array, "tx ray"]
) -> Float[Array, "rx tx ray"]:
    """Measure from images to receive elements.

    Axis by axis, so that the compiler works along rays and elements instead of three by three.
    """
    x, y, z = (end[:, i, None, None] - centre[i, None] for i in range(3))
    return jnp.sqrt(x * x + y * y + z * z) + leg[None]


def jones_matrices(
    count: int, polarisation: Polarisation, *, key: PRNGKeyArray
) -> Complex[Array, "ray 2 2"]:
    """Draw the 2 x 2 of Eq. (4) of [isac-gbsm] for each ray: four phases, kappa and mu."""
    key_phase, key_ratio = jax.random.split(key)
    phase = jnp.exp(2j * math.pi * jax.random.uniform(key_phase, (count, 2, 2)))
    drawn = jax.random.normal(key_ratio, (count,))
    kappa = from_db(polarisation.cross_ratio_db + polarisation.cross_spread_db * drawn)
    mu = from_db(polarisation.imbalance_db)
    one = jnp.ones(count)
    size = jnp.stack(
        [jnp.stack([one, jnp.sqrt(mu / kappa)]), jnp.stack([jnp.sqrt(1 / kappa), one * mu**0.5])]
    )
    return jnp.moveaxis(size, -1, 0) * phase


def phasor(
    cycles: Float[Array, "*batch ray"], amplitude: Float[Array, " ray"]
) -> Complex[Array, "*batch ray"]:
    """Turn amplitudes back by whole and broken cycles, ``a exp(-j 2 pi cycles)``, to round-off.

    Series for half the angle, then doubled: a compiler turns these into vector instructions, which
    it cannot do with a call for each sine.  Ten times faster on a CPU.

    Args:
        cycles: How often the wave turns on its way [1].
        amplitude: Of each ray [1].
    """
    half = cycles - jnp.round(cycles)  # in half turns, within a quarter turn of zero
    square = half * half
    sine = cosine = jnp.zeros_like(half)
    for k in range(_TERMS - 1, -1, -1):
        sign = 1 - 2 * (k % 2)
        sine = sine * square + sign * math.pi ** (2 * k + 1) / math.factorial(2 * k + 1)
        cosine = cosine * square + sign * math.pi ** (2 * k) / math.factorial(2 * k)
    sine = sine * half
    amplitude = jnp.broadcast_to(amplitude, half.shape)
    real = amplitude * (cosine * cosine - sine * sine)
    return jax.lax.complex(real, -2.0 * amplitude * sine * cosine)


@eqx.filter_jit
def realize(
    rays: RaySet | BounceRays,
    motion: Motion,
    time: Float[Array, " time"],
    carrier_frequency: float,
    transmit: PlanarArray,
    receive: PlanarArray,
    polarisation: Polarisation | None = None,
    *,
    antennas: tuple[Antenna, Antenna] | None = None,
    turning: Turning | None = None,
    squint: bool = False,
    key: PRNGKeyArray,
) -> ChannelRealization:
    """Make the communication channel, Eqs. (2)-(4) of [isac-gbsm], at any times.

    The line of sight, where it is present, is one of the rays; so the K-factor follows from the
    powers instead of being drawn.  Elements are isotropic and vertical, with `polarisation` a pair,
    vertical before horizontal; or they are `antennas`, whose fields meet the rays' Jones matrices.
    Those that the rays bring, from ray tracing, come first; with `polarisation` others are drawn,
    and without reflections keep the polarisation and leave the phase to the delay.

    Args:
        rays: The rays.
        motion: The user's.
        time: When [s].
        carrier_frequency: Carrier [Hz].
        transmit: Array at the station.
        receive: Array at the user.
        polarisation: What reflections do to polarisation.
        antennas: Elements of the transmitting and of the receiving array, turned as the arrays are.
        turning: How the user's axes turn, in which `receive` is given; the site's if not given.
        squint: Give delays between every pair of antennas too, by which beams of phases point
            elsewhere at the edges of a wide band.
        key: Random key of the Jones matrices.
    """
    wavelength = wavelength_of(carrier_frequency)
    start, end = (array.positions() * wavelength for array in (transmit, receive))
    axes = [array_rotation(jnp.asarray(a.azimuth, float), jnp.asarray(a.tilt, float))
            for a in (transmit, receive)]  # fmt: skip
    count = rays.gain_db.shape[1]
    straight = jnp.diag(jnp.array([1.0, -1.0], complex))  # Eq. (3)
    traced = rays.jones is not None and rays.jones.shape[-1] == 2
    plain = antennas is None and polarisation is None
    jones = jnp.broadcast_to(straight, (count, 2, 2))
    if polarisation is not None and not traced:
        drawn = jones_matrices(count, polarisation, key=key)
        jones = jnp.where(rays.direct[:, None, None], straight[None], drawn)

    imaged = None
    if isinstance(rays, RaySet) and rays.shift is None:
        imaged = jax.lax.optimization_barrier(_imaged(rays, start))

    def lengths(position, end, time):
        if isinstance(rays, BounceRays):
            return rays.lengths(position, start, end, time)
        if imaged is None:
            return _lengths(position[None] + end, *_imaged(rays.moved(time)[0], start))
        return _lengths(position[None] + end, *imaged)

    def at(time):
        position, velocity = move(motion, time)
        state = evolve(rays, position, velocity, time)
        amplitude = jax.lax.optimization_barrier(jnp.sqrt(state.power))
        turn = jnp.eye(3) if turning is None else rotation_at(turning, time)
        here = end if turning is None else end @ turn.T
        length = lengths(position, here, time)
        wave = phasor(length / wavelength, amplitude)
        late = delay_of(length) if squint else None
        if plain:
            change = 1.0 if rays.jones is None else jones_at(rays, time)[None, None, :, 0, 0]
            return wave * change, state.delay, late
        change = jones
        if traced:
            change = jones_at(rays, time)
        elif polarisation is None and rays.jones is not None:
            change = jones * jones_at(rays, time)  # one phase each
        if antennas is not None:
            sent = antenna_field(
                antennas[0], axes[0], state.departure_azimuth, state.departure_zenith
            )
            heard = antenna_field(
                antennas[1], turn @ axes[1], state.arrival_azimuth, state.arrival_zenith
            )
            change = jnp.einsum("ipx,pxy,jpy->pij", heard, change, sent)
        pairs = jnp.einsum("rsp,pij->risjp", wave, change)
        shape = (pairs.shape[0] * pairs.shape[1], pairs.shape[2] * pairs.shape[3], count)
        if late is not None:  # all antennas of an element stand in one place
            late = jnp.repeat(jnp.repeat(late, pairs.shape[1], axis=0), pairs.shape[3], axis=1)
        return pairs.reshape(shape), state.delay, late

    coefficient, delay, late = jax.lax.map(at, time)
    return ChannelRealization(coefficient, delay, time, carrier_frequency, late)
