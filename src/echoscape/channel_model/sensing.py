"""The sensing channel: what a station receives of moving targets by way of the static points.

A target is reached as a user would be: along every ray of the communication channel from the
transmitting station, and left along every ray to the receiving one.  So echoes are pairs of rays,
which are kept as factors: one side of the transmitting array, one of the receiving, and what the
target does between each pair.  Wave fronts are spheres about the images of every element, as in
`realize`.

Takes rays to both stations, `Target`s, arrays and times.
Gives `EchoFactors`, and from them responses over frequency or a `ChannelRealization`.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, PRNGKeyArray

from echoscape.channel_model.coefficient import (
    ChannelRealization,
    image_lengths,
    phasor,
)
from echoscape.channel_model.ray import Kind, RaySet, RayState, evolve, jones_at
from echoscape.channel_model.target import Target, motion_at
from echoscape.checks import InputError
from echoscape.propagation import target_gain
from echoscape.scene import PlanarArray, distance, unit_vector
from echoscape.units import delay_of, from_db, wavelength_of


class EchoFactors(eqx.Module):
    """Echoes of all scattering points over time, as factors; a ray is one way out or back."""

    outward: Complex[Array, "time point ray tx"]
    """From each transmit element to the point, phase of the length included [1]."""
    inward: Complex[Array, "time point ray rx"]
    """From the point to each receive element [1]."""
    reflection: Complex[Array, "time point ray ray"]
    """What the point does between the ray out (first) and the ray back (second),
    ``sqrt(4 pi sigma) / wavelength`` and perhaps a phase [1]."""
    out: RayState
    """Rays from the transmitting station, [time, point, ray]."""
    back: RayState
    """Rays from the receiving station, [time, point, ray]."""
    target: Int[Array, " point"]
    """Which target each point belongs to."""
    time: Float[Array, " time"]
    """When [s]."""
    carrier_frequency: float = eqx.field(static=True)
    """Carrier [Hz]."""

    @property
    def delay(self) -> Float[Array, "time point ray ray"]:
        """Delay of each pair, absolute [s]."""
        return self.out.delay[..., :, None] + self.back.delay[..., None, :]

    @property
    def doppler(self) -> Float[Array, "time point ray ray"]:
        """Shift of each pair, positive where it shortens [Hz]."""
        speed = self.out.speed[..., :, None] + self.back.speed[..., None, :]
        return speed / wavelength_of(self.carrier_frequency)

    @property
    def power(self) -> Float[Array, "time point ray ray"]:
        """Power gain of each pair between isotropic antennas [1]."""
        between = jnp.abs(self.reflection) ** 2
        return self.out.power[..., :, None] * between * self.back.power[..., None, :]


def move_station(rays: RaySet, station: Float[Array, "3"]) -> RaySet:
    """Give the rays of the same static points from another station.

    The isometry of a virtual anchor depends on the walls alone, so its image moves with the
    station, turned and mirrored; a scatterer stays.

    Args:
        rays: Of one station.
        station: Where the other one is [m].
    """
    step = station - rays.station
    cos, sin = jnp.cos(rays.rotation), jnp.sin(rays.rotation)
    along = step[0] * cos + step[1] * sin
    across = (step[1] * cos - step[0] * sin) * rays.reflection
    moved = jnp.stack([along, across, step[2] * rays.vertical_reflection], axis=1)
    point = rays.point + jnp.where(rays.scattered[:, None], 0.0, moved)
    return eqx.tree_at(lambda r: (r.station, r.point), rays, (station, point))


def add_line_of_sight(rays: RaySet, wavelength: float) -> RaySet:
    """Put the straight way before other rays, by Friis' law; leave rays that have it as they are.

    Args:
        rays: The rays.
        wavelength: Of the carrier [m].
    """
    away = np.linalg.norm(np.asarray(rays.point - rays.station[None]), axis=1)
    if np.any((away < 1e-3) & ~np.asarray(rays.scattered)):
        return rays
    gain = 20 * math.log10(wavelength / (4 * math.pi))
    one = jnp.ones((len(rays.time), 1))

    def before(first, rest):
        return jnp.concatenate([jnp.asarray(first, rest.dtype), rest], axis=rest.ndim - 1)

    jones = rays.jones
    if jones is not None:
        straight = jnp.broadcast_to(jnp.eye(jones.shape[-1], dtype=complex), jones[:, :1].shape)
        jones = jnp.concatenate([straight, jones], axis=1)
    return RaySet(
        station=rays.station,
        point=jnp.concatenate([rays.station[None], rays.point]),
        scattered=before([False], rays.scattered),
        rotation=before([0.0], rays.rotation),
        reflection=before([1.0], rays.reflection),
        vertical_reflection=before([1.0], rays.vertical_reflection),
        time=rays.time,
        gain_db=before(gain * one, rays.gain_db),
        presence=before(one, rays.presence),
        jones=jones,
    )


def random_phases(rays: Kind, *, key: PRNGKeyArray) -> Kind:
    """Give every reflected ray a phase of its own, constant in time; the direct one keeps its.

    Walls and scatterers turn the phase by amounts that nobody knows; the key tells them.
    """
    count = rays.gain_db.shape[1]
    turn = jnp.exp(2j * math.pi * jax.random.uniform(key, (count,)))
    turn = jnp.where(rays.direct, 1.0, turn)
    jones = jnp.broadcast_to(turn[None, :, None, None], (len(rays.time), count, 1, 1))
    return eqx.tree_at(lambda r: r.jones, rays, jones, is_leaf=lambda leaf: leaf is None)


def sense(
    out: RaySet,
    back: RaySet,
    targets: Sequence[Target],
    time: Float[Array, " time"],
    carrier_frequency: float,
    transmit: PlanarArray,
    receive: PlanarArray,
    *,
    sight: tuple[Float[Array, "time target ray"], Float[Array, "time target ray"]] | None = None,
    key: PRNGKeyArray | None = None,
) -> EchoFactors:
    """Make the sensing channel, Eq. (1) of [isac-gbsm], mono- or bistatic.

    The paper has one straight way to each scatterer and ``b a^T`` of plane waves; here every ray
    out pairs with every ray back.  Its Doppler ``2 v f / c`` is the sum over both ways.

    Args:
        out: Rays of the transmitting station.
        back: Rays of the receiving station; the same for one that does both.
        targets: What is sensed.
        time: When [s].
        carrier_frequency: Carrier [Hz].
        transmit: Transmitting array.
        receive: Receiving array.
        sight: How much of each ray's amplitude reaches each target, out and back; all if not given.
        key: Draws the log-normal part of each point's cross-section, and a phase, once for each
            pair of rays and its reverse; neither if not given.
    """
    wavelength = wavelength_of(carrier_frequency)
    ways = [motion_at(target, time) for target in targets]
    points, speeds, turns = (jnp.concatenate(each, axis=1) for each in zip(*ways, strict=True))
    number = np.repeat(np.arange(len(targets)), [way[0].shape[1] for way in ways])
    sides = []
    for k, (rays, array) in enumerate(((out, transmit), (back, receive))):
        if k and back is out and receive == transmit and (sight is None or sight[0] is sight[1]):
            sides.append(sides[0])
            continue
        weight = jnp.ones((len(time), len(number), rays.point.shape[0]))
        if sight is not None:
            weight = sight[k][:, number]
        sides.append(_one_way(rays, points, speeds, time, array, wavelength, weight))
    ends = [_seen_from(turns, state.arrival_azimuth, state.arrival_zenith) for _, state in sides]
    sections = [each for target in targets for each in target.type.section]
    between = [_pairs(s, ends[0][:, p], ends[1][:, p]) for p, s in enumerate(sections)]
    reflection = jnp.sqrt(target_gain(jnp.stack(between, axis=1), wavelength)).astype(complex)
    if key is not None:
        std = np.repeat([t.type.fluctuation_db for t in targets], np.bincount(number))
        reflection = reflection * _drawn(jnp.asarray(std), reflection.shape[1:], key)[None]
    return EchoFactors(
        sides[0][0], sides[1][0], reflection, sides[0][1], sides[1][1],
        jnp.asarray(number), time, carrier_frequency,
    )  # fmt: skip


@eqx.filter_jit
def _one_way(rays, points, speeds, time, array, wavelength, weight):
    """Follow rays from one array to points over time: amplitude by element, and their states."""
    elements = array.positions() * wavelength
    centre = jnp.zeros((1, 3))

    def at(point, speed, time, weight):
        state = evolve(rays, point, speed, time)
        amplitude = jnp.sqrt(state.power) * weight
        length = image_lengths(rays, point, elements, centre)[0]
        wave = phasor(length / wavelength, amplitude)
        if rays.jones is not None:
            wave = wave * jones_at(rays, time)[None, :, 0, 0]
        state = eqx.tree_at(lambda s: s.power, state, amplitude**2)
        return wave.T, state

    return jax.vmap(jax.vmap(at, (0, 0, None, 0)))(points, speeds, time, weight)


@jax.jit
def _seen_from(turns, azimuth, zenith):
    """Give where rays come from in the targets' axes, as unit vectors."""
    return jnp.einsum("tpij,tpri->tprj", turns, unit_vector(azimuth, zenith))


@eqx.filter_jit
def _pairs(section, incident, scattered):
    """Evaluate a cross-section for all pairs of rays over time."""
    one = jax.vmap(jax.vmap(section.section, (None, 0)), (0, None))
    return jax.vmap(one)(incident, scattered)


def _drawn(
    std: Float[Array, " point"], shape: tuple[int, ...], key: PRNGKeyArray
) -> Complex[Array, "point ray ray"]:
    """Draw sigma_S, Eq. (7.9.2-1) of TR 38.901, and a phase, alike for a pair and its reverse."""
    spread, turn = jax.random.split(key)
    level = jax.random.normal(spread, shape)
    phase = jax.random.uniform(turn, shape)
    if shape[1] == shape[2]:
        level, phase = (jnp.triu(x) + jnp.swapaxes(jnp.triu(x, 1), 1, 2) for x in (level, phase))
    std = std[:, None, None]
    level = std * level - math.log(10) / 20 * std**2  # its linear mean is 1
    return jnp.sqrt(from_db(level)) * jnp.exp(2j * math.pi * phase)


@eqx.filter_jit
def echo_response(
    factors: EchoFactors, offset: Float[Array, " tone"], target: int | None = None
) -> Complex[Array, "time rx tx tone"]:
    """Sum all echoes at tones around the carrier, pair by pair never written out.

    Args:
        factors: The echoes.
        offset: Frequencies less the carrier [Hz].
        target: Number of the one target to sum; all of them if not given.
    """
    weight = jnp.ones(factors.target.shape) if target is None else 1.0 * (factors.target == target)

    def one(outward, inward, reflection, late, late_back):
        def tone(frequency):
            first, second = (_turned(frequency * each) for each in (late, late_back))
            sent = outward * (first * weight[:, None])[..., None]
            heard = inward * second[..., None]
            return jnp.einsum("pjr,pjt->rt", heard, jnp.einsum("pij,pit->pjt", reflection, sent))

        return jnp.moveaxis(jax.lax.map(tone, offset), 0, -1)

    sides = (factors.outward, factors.inward, factors.reflection)
    return jax.lax.map(lambda each: one(*each), (*sides, factors.out.delay, factors.back.delay))


def _turned(cycles):
    return jnp.exp(-2j * math.pi * (cycles - jnp.round(cycles)))


def echo_realization(factors: EchoFactors, most: int | None = None) -> ChannelRealization:
    """Write the strongest echoes out pair by pair, as a channel of paths.

    Args:
        factors: The echoes.
        most: How many pairs to keep, by their power over all times; all if not given.
    """
    power = np.asarray(jnp.sum(factors.power, axis=0))
    order = np.argsort(-power, axis=None, kind="stable")
    order = np.sort(order[: power.size if most is None else most])
    point, i, j = np.unravel_index(order, power.shape)
    coefficient = jnp.einsum(
        "tpr,tps->trsp",
        (factors.inward[:, point, j] * factors.reflection[:, point, i, j, None]),
        factors.outward[:, point, i],
    )
    delay = factors.delay[:, point, i, j]
    return ChannelRealization(coefficient, delay, factors.time, factors.carrier_frequency)


@eqx.filter_jit
def clutter(
    out: RaySet,
    station: Float[Array, "3"],
    time: Float[Array, ""],
    carrier_frequency: float,
    transmit: PlanarArray,
    receive: PlanarArray,
) -> tuple[Complex[Array, "rx tx ray"], Float[Array, " ray"]]:
    """Make what the static points alone send to the receiving station.

    It is the communication channel to a user who stands there.  Where a station hears itself, only
    what returns the way it came is there: scatterers and walls that face it, not the line of sight.

    Args:
        out: Rays of the transmitting station.
        station: Where the receiving one is [m].
        time: At which gains are taken [s].
        carrier_frequency: Carrier [Hz].
        transmit: Transmitting array.
        receive: Receiving array.

    Returns:
        Coefficients [1] and delays [s].
    """
    wavelength = wavelength_of(carrier_frequency)
    state = evolve(out, station, jnp.zeros(3), time)
    leave = unit_vector(state.departure_azimuth, state.departure_zenith)
    arrive = unit_vector(state.arrival_azimuth, state.arrival_zenith)
    own = distance(station - out.station) < 1e-6
    returned = (distance(leave - arrive) < 1e-6) & (state.length > wavelength)
    amplitude = jnp.where(own & ~returned, 0.0, jnp.sqrt(state.power))
    amplitude = jnp.where(state.length > wavelength, amplitude, 0.0)
    start, end = (array.positions() * wavelength for array in (transmit, receive))
    wave = phasor(image_lengths(out, station, start, end) / wavelength, amplitude)
    if out.jones is not None:
        wave = wave * jones_at(out, time)[None, None, :, 0, 0]
    return wave, delay_of(state.length)


def check_size(
    times: int, transmit: PlanarArray, receive: PlanarArray, entries: int, what: str, largest: int
) -> None:
    """Refuse results that are too large to write.

    Args:
        times: Instants.
        transmit: Transmitting array.
        receive: Receiving array.
        entries: Paths or subcarriers for each pair of elements.
        what: What the entries are, for the message.
        largest: Most bytes.

    Raises:
        InputError: There are more bytes.
    """
    size = 16 * times * transmit.elements * receive.elements * entries
    if size > largest:
        raise InputError(
            f"{times} times {receive.elements} x {transmit.elements} antennas {entries} {what} are "
            f"{size / 2**30:.1f} GiB, more than {largest / 2**30:.0f}; take shorter --times, a "
            f"lower --rate, smaller arrays or fewer {what}"
        )
