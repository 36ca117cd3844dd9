"""What a station receives in a site: targets through all scatterers, clutter, its own transmitter.

Targets do not see one another; clutter is what the scatterers send straight back, or on to the
other station.  Both and the leak from the transmitter make the empty scene, which is known from
times without targets.

Takes a `Site`, targets, a `Waveform`.
Gives `EchoSnapshots`.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from echoscape.checks import InputError
from echoscape.propagation import scatter, strongest
from echoscape.propagation.free_space import carrier_phase, path_amplitude, scattered_amplitude
from echoscape.scene import Site, angles_of, distance
from echoscape.signals.echo_channel import echo_channel, point_channel, point_reflection
from echoscape.signals.echo_snapshot import EchoSnapshots
from echoscape.signals.noise import noise_for_ratio, thermal_noise
from echoscape.signals.waveform import Waveform, check_delays
from echoscape.units import delay_of, from_db


@eqx.filter_jit
def empty_scene(
    site: Site,
    waveform: Waveform,
    *,
    transmit: int = 0,
    receive: int | None = None,
    clutter: bool = True,
    coupling_db: float | None = None,
    key: PRNGKeyArray,
) -> Complex[Array, "receive transmit subcarrier"]:
    """Compute the channel between a site's stations while no target is there.

    Args:
        site: Stations and scatterers.
        waveform: The waveform.
        transmit: Index of the station that sends.
        receive: Index of the station that receives; the same if not given.
        clutter: Whether scatterers send straight on to the receiver.
        coupling_db: Power gain from each transmitting to each receiving element, flat over the
            band and of random phase; none if not given [dB].
        key: Phases of the scatterers and of the leak.
    """
    receive = transmit if receive is None else receive
    sender, listener = site.array[transmit], site.array[receive]
    first, second = jax.random.split(key)
    shape = (listener.elements, sender.elements, waveform.subcarriers)
    total = jnp.zeros(shape, dtype=complex)
    points = site.scatterer_position
    if clutter and points.shape[0]:
        out = points - site.station_position[transmit][None]
        back = points - site.station_position[receive][None]
        length = distance(out) + distance(back)
        amplitude = scattered_amplitude(
            distance(out), distance(back), site.scatterer_cross_section, site.wavelength
        )
        phase = jnp.exp(2j * math.pi * jax.random.uniform(first, amplitude.shape))
        total = total + point_channel(
            angles_of(out), angles_of(back), length, amplitude * phase,
            sender, listener, waveform,
        )  # fmt: skip
    if receive != transmit:  # straight from station to station
        ahead = site.station_position[receive] - site.station_position[transmit]
        azimuth, zenith = (angle[None] for angle in angles_of(ahead))
        home_azimuth, home_zenith = (angle[None] for angle in angles_of(-ahead))
        length = distance(ahead)[None]
        gain = path_amplitude(length, site.wavelength) * carrier_phase(site, length)
        total = total + point_channel(
            (azimuth, zenith), (home_azimuth, home_zenith), length, gain, sender, listener, waveform
        )
    if coupling_db is not None:
        turn = jnp.exp(2j * math.pi * jax.random.uniform(second, shape[:2]))
        total = total + math.sqrt(from_db(coupling_db)) * turn[..., None]
    return total


def fitting_spacing(
    site: Site,
    target: Float[np.ndarray, "target 3"],
    subcarriers: int,
    transmit: int = 0,
    receive: int | None = None,
) -> float:
    """Choose the widest spacing of pilots at which no echo folds, up to the site's bandwidth [Hz].

    Args:
        site: Stations and scatterers.
        target: Where the targets are [m].
        subcarriers: Subcarriers that carry pilots.
        transmit: Index of the station that sends.
        receive: Index of the station that receives; the same if not given.
    """
    points = np.asarray(site.scatterer_position, float).reshape(-1, 1, 3)
    place = np.asarray(target, float)
    legs = []
    for station in (transmit, transmit if receive is None else receive):
        at = np.asarray(site.station_position[station], float)
        straight = np.linalg.norm(place - at, axis=-1)
        bounced = np.linalg.norm(points - at, axis=-1) + np.linalg.norm(place - points, axis=-1)
        legs.append(max(straight.max(initial=0.0), bounced.max(initial=0.0)))
    whole = site.bandwidth / subcarriers
    return min(whole, 1 / (1.1 * float(delay_of(sum(legs)))) if sum(legs) > 0 else whole)


def sample_scene(
    site: Site,
    waveform: Waveform,
    target: Float[np.ndarray, "target 3"],
    *,
    key: PRNGKeyArray,
    number: np.ndarray | None = None,
    transmit: int = 0,
    receive: int | None = None,
    together: bool = False,
    cross_section: float = 10.0,
    paths: int = 5,
    line_of_sight: bool = False,
    reciprocal: bool = False,
    random_phases: bool = True,
    snr_db: float | None = None,
    power_dbm: float = 30.0,
    noise_figure_db: float = 7.0,
    clutter: bool = True,
    coupling_db: float | None = None,
) -> EchoSnapshots:
    """Sample the echoes of targets in a world of point scatterers.

    Args:
        site: Stations and scatterers.
        waveform: The waveform.
        target: Where the targets are [m].
        key: One key, one answer.
        number: The targets' numbers; 0, 1, ... if not given.
        transmit: Index of the station that sends.
        receive: Index of the station that receives; the same if not given.
        together: All targets in one snapshot instead of one each.
        cross_section: Of every target, the same in all directions [m^2].
        paths: Strongest one-way paths that take part.
        line_of_sight: Whether the straight path exists.
        reciprocal: Only echoes that return the way they came, Eq. (5) of [wu-ckm].
        random_phases: Give each pair of paths its own phase, the same for its reverse, as a target
            of several wavelengths does.
        snr_db: Integrated ratio of the mean echo, over all targets; from the powers if not given
            [dB].
        power_dbm: Transmitted power, for the noise where no ratio is stated [dBm].
        noise_figure_db: Of the receiver, likewise [dB].
        clutter: Whether the scatterers' own echoes are in the samples.
        coupling_db: As for `empty_scene`.

    Raises:
        InputError: There is no target or no path, a delay folds, or a ratio is no number.
    """
    receive = transmit if receive is None else receive
    place = jnp.asarray(np.asarray(target, dtype=float))
    if place.shape[0] == 0:
        raise InputError("there is no target to sample echoes of")
    if reciprocal and receive != transmit:
        raise InputError("reciprocal echoes need one station that transmits and receives; got two")
    if site.scatterer_position.shape[0] == 0 and not line_of_sight:
        raise InputError("the site has no scatterer and no line of sight: nothing reaches a target")
    if snr_db is not None and not math.isfinite(snr_db):
        raise InputError(f"the signal-to-noise ratio must be a finite number, in dB; got {snr_db}")
    sender, listener = site.array[transmit], site.array[receive]

    def reach(station):
        def one(where):
            every = scatter(site, where, station=station, with_line_of_sight=line_of_sight)
            return strongest(every, paths)

        return eqx.filter_jit(jax.vmap(one))(place)

    out = reach(transmit)
    back = out if receive == transmit else reach(receive)
    longest = [float(jnp.max(jnp.where(p.valid, p.delay, 0.0))) for p in (out, back)]
    check_delays(waveform, sum(longest), "the longest echo")
    first, second, third = jax.random.split(key, 3)

    def reflect(out, back, key):
        flat = point_reflection(out, back, jnp.asarray(cross_section, float), site.wavelength)
        if not random_phases:
            return flat
        angle = 2 * math.pi * jax.random.uniform(key, flat.shape)
        if receive == transmit:
            angle = jnp.triu(angle) + jnp.triu(angle, 1).T
        return flat * jnp.exp(1j * angle)

    reflection = eqx.filter_jit(jax.vmap(reflect))(
        out, back, jax.random.split(first, place.shape[0])
    )
    sample = jax.vmap(
        lambda out, back, reflection: echo_channel(
            out, back, sender, listener, waveform, reflection=reflection, reciprocal=reciprocal
        )
    )
    sampled = eqx.filter_jit(sample)(out, back, reflection)
    if snr_db is None:
        variance = thermal_noise(waveform, power_dbm, noise_figure_db)
    else:
        there = out.valid[:, :, None] & back.valid[:, None]
        if reciprocal:
            there &= jnp.eye(out.valid.shape[1], dtype=bool)[None]
        gain = out.gain[:, :, None] * back.gain[:, None] * reflection
        gain = jnp.where(there, gain, 0.0).ravel()
        variance = noise_for_ratio(gain, snr_db, sender, listener, waveform)
    empty = empty_scene(
        site, waveform, transmit=transmit, receive=receive, clutter=clutter,
        coupling_db=coupling_db, key=second,
    )  # fmt: skip
    if together:
        sampled = jnp.sum(sampled, axis=0, keepdims=True)
    real, imaginary = jax.random.normal(third, (2, *sampled.shape), float)
    noise = math.sqrt(variance / 2) * (real + 1j * imaginary)
    count = sampled.shape[0]
    known = np.arange(place.shape[0]) if number is None else np.asarray(number)
    return EchoSnapshots(
        received=np.asarray(sampled + empty[None] + noise),
        target=known[:count].astype(int),
        time=np.zeros(count),
        waveform=waveform,
        transmit=sender,
        receive=listener,
        transmit_station=site.station[transmit],
        receive_station=site.station[receive],
        noise_variance=variance,
        empty=np.asarray(empty) if np.any(np.asarray(empty)) else None,
    )
