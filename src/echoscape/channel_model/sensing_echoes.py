"""The sensing channel as a radar would have it: samples with noise, or echoes with errors.

Snapshots and sets of echoes are numbered one by one, by instant and within it by target, since to
those who locate them each is a target of its own; `truth_table` says which was where.

Takes `EchoFactors` and what the receiver is.
Gives `EchoSnapshots`, or the echoes of each target at each instant.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Complex, Float, PRNGKeyArray

from echoscape.channel_model.cross_section import ConstantSection
from echoscape.channel_model.sensing import EchoFactors, echo_response
from echoscape.channel_model.target import Target
from echoscape.channel_model.target_types import TargetType
from echoscape.estimation import LinkBudget
from echoscape.propagation import Paths
from echoscape.reports import Reports
from echoscape.reports.echo_making import SimulatedEchoes, make_echoes
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform, check_delays
from echoscape.signals.noise import noise_for_ratio, thermal_noise
from echoscape.units import wavelength_of


def centres(targets: Sequence[Target]) -> list[Target]:
    """Give the targets as one point each, at their centres, of 1 m^2."""
    one = TargetType(jnp.zeros((1, 3)), (ConstantSection(jnp.asarray(1.0)),))
    return [eqx.tree_at(lambda t: t.type, target, one) for target in targets]


def sample_echoes(
    factors: EchoFactors,
    waveform: Waveform,
    arrays: tuple[PlanarArray, PlanarArray],
    stations: tuple[str, str],
    *,
    together: bool,
    empty: Complex[np.ndarray, "rx tx tone"] | None = None,
    snr_db: float | None = None,
    power_dbm: float = 30.0,
    noise_figure_db: float = 7.0,
    key: PRNGKeyArray,
) -> EchoSnapshots:
    """Sample the response over the waveform's subcarriers, a snapshot an instant.

    Args:
        factors: The echoes.
        waveform: The waveform.
        arrays: Transmitting and receiving.
        stations: Their names.
        together: All targets in one snapshot instead of one each.
        empty: What is received without targets; in the samples and beside them.
        snr_db: Integrated ratio of the mean echo; from the powers if not given [dB].
        power_dbm: Transmitted power, for the noise where no ratio is stated [dBm].
        noise_figure_db: Of the receiver, likewise [dB].
        key: Of the noise.

    Raises:
        InputError: A delay folds, or there is no echo to refer the noise to.
    """
    longest = [
        float(jnp.max(side.delay * (side.power > 0))) for side in (factors.out, factors.back)
    ]
    check_delays(waveform, sum(longest), "the longest echo")
    offset = waveform.frequencies()
    count = int(np.max(np.asarray(factors.target))) + 1
    each = [None] if together else range(count)
    sampled = np.stack([np.asarray(echo_response(factors, offset, k)) for k in each], axis=1)
    times = sampled.shape[0]
    sampled = sampled.reshape(-1, *sampled.shape[2:])
    if snr_db is None:
        variance = thermal_noise(waveform, power_dbm, noise_figure_db)
    else:
        amplitude = jnp.sqrt(factors.power).ravel().astype(complex)
        variance = noise_for_ratio(amplitude, snr_db, *arrays, waveform)
    noise = np.asarray(jax.random.normal(key, (2, *sampled.shape), float))
    received = sampled + np.sqrt(variance / 2) * (noise[0] + 1j * noise[1])
    return EchoSnapshots(
        received=received if empty is None else received + empty[None],
        target=np.arange(len(received)),
        time=np.repeat(np.asarray(factors.time), len(received) // times),
        waveform=waveform,
        transmit=arrays[0],
        receive=arrays[1],
        transmit_station=stations[0],
        receive_station=stations[1],
        noise_variance=variance,
        empty=empty,
    )


def list_echoes(
    factors: EchoFactors,
    centre: EchoFactors,
    position: Float[np.ndarray, "time target 3"],
    stations: tuple[str, str],
    station_position: Float[np.ndarray, "2 3"],
    *,
    budget: LinkBudget | None = None,
    angle_std: float | None = None,
    delay_std: float | None = None,
    strongest: int = 5,
    missed: float = 0.0,
    false: float = 0.0,
    key: PRNGKeyArray,
) -> SimulatedEchoes:
    """List the echoes of each target at each instant as measured, without identities.

    An echo has the directions and the length of the target's centre, and the cross-sections of all
    its points added.

    Args:
        factors: The echoes of all points.
        centre: Those of `centres`.
        position: Where the targets are [m].
        stations: Names of the transmitting and the receiving station.
        station_position: Where they are [m].
        budget: Decides what is heard and how well; or give the two deviations.
        angle_std: Deviation of every angle [rad].
        delay_std: Deviation of every delay [s].
        strongest: How many of a target's rays take part.
        missed: Share of the echoes lost for other reasons.
        false: Mean number of false echoes for each true one.
        key: Of the errors.
    """
    times, count = position.shape[:2]
    wavelength = wavelength_of(factors.carrier_frequency)
    owner = np.asarray(factors.target)
    size = np.abs(np.asarray(factors.reflection)) ** 2 * wavelength**2 / (4 * np.pi)
    section = np.stack([size[:, owner == k].sum(axis=1) for k in range(count)], axis=1)
    section = section.reshape(times * count, *section.shape[2:])
    made = []
    for side, name, place in zip((centre.out, centre.back), stations, station_position):
        flat = {n: np.asarray(getattr(side, n)).reshape(times * count, -1)
                for n in ("departure_azimuth", "departure_zenith", "length", "power")}  # fmt: skip
        exact = np.zeros(flat["power"].shape)
        paths = Paths(
            **flat, valid=flat["power"] > 0, length_std=exact,
            departure_azimuth_std=exact, departure_zenith_std=exact,
        )  # fmt: skip
        made.append(
            Reports(
                estimates=paths,
                position=position.reshape(-1, 3),
                position_std=np.zeros(times * count),
                time=np.repeat(np.asarray(factors.time, float), count),
                report=np.arange(times * count),
                station_index=np.zeros(times * count, int),
                station_position=np.asarray(place, float)[None],
                station=(name,),
            )
        )
    alone = stations[0] == stations[1]
    return make_echoes(
        made[0], key, budget=budget, angle_std=angle_std, delay_std=delay_std,
        carrier_frequency=None if budget is not None else factors.carrier_frequency,
        strongest=strongest, missed=missed, false=false,
        listener=None if alone else made[1], sections=section,
    )  # fmt: skip


def truth_table(
    time: Float[np.ndarray, " time"], position: Float[np.ndarray, "time target 3"], together: bool
) -> pa.Table:
    """Lay out where the target of each number was, as `echoscape score` reads it.

    Args:
        time: When [s].
        position: Where the targets were [m].
        together: Whether one number stands for all targets of an instant.
    """
    count = position.shape[1]
    rows = np.arange(len(time) * count)
    flat = position.reshape(-1, 3)
    columns = {"target": rows // count if together else rows, "time": np.repeat(time, count)}
    return pa.table({**columns, **{name: flat[:, i] for i, name in enumerate("xyz")}})
