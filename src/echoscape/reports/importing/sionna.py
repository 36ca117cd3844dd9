"""Sionna RT's paths: its `Paths` object, also what its `RCSSolver` returns.

The object is read by its attributes, those of version 2.2, so that Sionna need not be installed.

Takes `Paths`.
Gives `Reports`, or `Echoes`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.reports.echo import Echoes
from echoscape.reports.geometry import warn_of_findings
from echoscape.reports.report import Reports
from echoscape.units import length_of, wrap_angle

_SAME_PLACE = 1e-3  # a receiver this near to a transmitter is the same station [m]


def reports_from_sionna(
    paths: Any, strongest: int = 12, station: Sequence[str] | None = None
) -> Reports:
    """Make reports of a Sionna RT `Paths` object: one for each receiver and transmitter.

    The delays are those of ``paths.tau``.  The delays that ``paths.cir()`` returns start at zero
    unless it was called with ``normalize_delays=False``, and without the absolute delay there is
    nothing to locate.  Power is what all received polarisations get together, over what is sent,
    divided evenly over the transmitted ones; see `docs/conventions.md`.  It is averaged over
    synthetic elements.  Of traced arrays (``synthetic_array=False``) the paths of the first
    elements are taken, since those of other elements come in another order.

    Args:
        paths: The object, or one with its attributes `a` (real and imaginary part), `tau`,
            `theta_t`, `phi_t`, `theta_r`, `phi_r`, `valid`, `sources`, `targets`, `num_rx`,
            `num_tx`, and for arrays `rx_array` and `tx_array`.
        strongest: How many paths of each report to keep.
        station: Names of the transmitters, ``tx-0`` and so on by default.

    Warns:
        GeometryWarning: Direct paths do not agree with the positions; see `check_geometry`.
    """
    return warn_of_findings(reports_of_paths(paths, strongest, station))


def reports_of_paths(paths: Any, strongest: int, station: Sequence[str] | None) -> Reports:
    """Make reports of a `Paths` object for an importer, which checks them itself."""
    links = sionna_links(paths)
    names = _names(station, links.transmitters)
    receiver, transmitter = links.ends()
    return Reports(
        estimates=links.strongest(strongest),
        position=links.target[receiver],
        position_std=np.zeros(len(receiver)),
        time=np.zeros(len(receiver)),
        report=receiver,
        station_index=transmitter,
        station_position=links.source,
        station=names,
    )


def echoes_from_sionna(
    paths: Any,
    *,
    angle_std: float,
    delay_std: float,
    target: int = 0,
    station: Sequence[str] | None = None,
) -> Echoes:
    """Make echoes of what Sionna RT's `RCSSolver` returns for one sensing target.

    It returns `Paths` from each transmitter over the target to each receiver, so that departures
    are at the station that sent and arrivals at the one that heard.  A receiver where a
    transmitter stands is the same station.  Paths of several targets do not tell which is whose:
    solve for one at a time.

    Args:
        paths: The object, as for `reports_from_sionna`.
        angle_std: Standard deviation to state for every angle [rad].
        delay_std: Standard deviation to state for every delay [s].
        target: Number of the target.
        station: Names of the transmitters, ``tx-0`` and so on by default.

    Returns:
        One set for each receiver and transmitter, the strongest echo first.
    """
    for name, unit, value in (("angle_std", "rad", angle_std), ("delay_std", "s", delay_std)):
        if not 0 < value < np.inf:
            raise InputError(f"{name} must be finite and above zero, in {unit}; got {value:g}")
    links = sionna_links(paths)
    sending = _names(station, links.transmitters)
    apart = np.linalg.norm(links.target[:, None] - links.source, axis=-1)
    hearing = tuple(
        sending[int(row.argmin())] if row.min() < _SAME_PLACE else f"rx-{k}"
        for k, row in enumerate(apart)
    )
    names = tuple(dict.fromkeys(sending + hearing))
    receiver, transmitter = links.ends()
    estimates = links.strongest(links.valid.shape[1])
    valid = estimates.valid
    angle, length = np.where(valid, angle_std, 0.0), np.where(valid, delay_std, 0.0)
    stated = {
        f"{end}_{part}_std": angle
        for end in ("departure", "arrival") for part in ("azimuth", "zenith")
    }  # fmt: skip
    return Echoes(
        estimates=dataclasses.replace(estimates, **stated, length_std=length_of(length)),
        target=np.full(len(receiver), target),
        time=np.zeros(len(receiver)),
        station_index=np.array([names.index(hearing[k]) for k in receiver]),
        station=names,
        sender_index=np.array([names.index(sending[k]) for k in transmitter]),
    )


@dataclasses.dataclass(frozen=True)
class SionnaLinks:
    """What `Paths` holds, a row for each receiver and transmitter, transmitters inside."""

    source: Float[np.ndarray, "transmitter 3"]
    """Where the transmitters are [m]."""
    target: Float[np.ndarray, "receiver 3"]
    """Where the receivers are [m]."""
    departure: tuple[Float[np.ndarray, "link path"], Float[np.ndarray, "link path"]]
    """Azimuth and zenith angle [rad]."""
    arrival: tuple[Float[np.ndarray, "link path"], Float[np.ndarray, "link path"]]
    """Azimuth and zenith angle [rad]."""
    delay: Float[np.ndarray, "link path"]
    """[s]."""
    power: Float[np.ndarray, "link path"]
    """Power gain [1]."""
    valid: Bool[np.ndarray, "link path"]
    """Which paths there are."""
    polarisations: tuple[int, int]
    """How many are received and transmitted."""

    @property
    def transmitters(self) -> int:
        """Count the transmitters."""
        return len(self.source)

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the receiver and the transmitter of each row."""
        return np.divmod(np.arange(len(self.valid)), self.transmitters)

    def strongest(self, count: int) -> PathEstimates:
        """Take the strongest paths of each row, without errors."""
        return _estimates(self.departure, self.arrival, self.delay, self.power, self.valid, count)


def sionna_links(paths: Any) -> SionnaLinks:
    """Read a `Paths` object; see `reports_from_sionna`.

    Raises:
        InputError: Nothing tells how many polarisations its antennas have.
    """
    receivers, transmitters = int(paths.num_rx), int(paths.num_tx)
    source, target = _points(paths.sources), _points(paths.targets)
    real, imaginary = (np.asarray(part, dtype=np.float64) for part in paths.a)
    power = real**2 + imaginary**2  # [rx, polarisation x element, tx, ..., path]
    shape = power.shape
    traced = np.asarray(paths.tau).ndim == 5
    if traced:
        elements = len(target) // receivers, len(source) // transmitters
        count = shape[1] // elements[0], shape[3] // elements[1]
    else:
        count = _polarisations(paths, "rx", power, 1), _polarisations(paths, "tx", power, 3)
        elements = shape[1] // count[0], shape[3] // count[1]
    power = power.reshape(
        receivers, count[0], elements[0], transmitters, count[1], elements[1], shape[4]
    )
    power = power[:, :, 0, :, :, 0] if traced else power.mean(axis=(2, 5))
    power = power.sum(axis=1).mean(axis=2).reshape(receivers * transmitters, shape[4])

    def pairs(name: str) -> np.ndarray:
        values = np.asarray(getattr(paths, name))
        values = values[:, 0, :, 0] if values.ndim == 5 else values
        return values.reshape(receivers * transmitters, -1)

    valid = pairs("valid").astype(bool)
    delay = np.where(valid, pairs("tau"), 0.0)
    if valid.shape[1] == 0:  # nothing found anywhere
        valid, delay, power = (np.zeros((len(valid), 1), t) for t in (bool, float, float))

    def angle(name: str) -> np.ndarray:
        values = pairs(name)
        return np.where(valid, values if values.shape[1] else 0.0, 0.0).astype(np.float64)

    first = (elements[0], elements[1]) if traced else (1, 1)
    return SionnaLinks(
        source=source[:: first[1]],
        target=target[:: first[0]],
        departure=(angle("phi_t"), angle("theta_t")),
        arrival=(angle("phi_r"), angle("theta_r")),
        delay=delay.astype(np.float64),
        power=np.where(valid, power, 0.0),
        valid=valid,
        polarisations=count,
    )


def _polarisations(paths: Any, end: str, power: np.ndarray, axis: int) -> int:
    """Count the polarisations of synthetic antennas, which run outside their elements.

    Where no array says it: all elements of one polarisation receive a path equally.
    """
    antennas = power.shape[axis]
    array = getattr(paths, f"{end}_array", None)
    if array is not None:
        return int(array.num_ant) // int(array.array_size)
    stated = getattr(paths, f"num_{end}_patterns", None)
    if stated is not None and int(stated) >= 1 and antennas % int(stated) == 0:
        return int(stated)
    each = np.moveaxis(power, axis, 0).reshape(antennas, -1)
    for count in (1, 2):
        if antennas % count == 0:
            parts = each.reshape(count, antennas // count, each.shape[1])
            if (np.ptp(parts, axis=1) <= 1e-3 * parts.max(axis=1)).all():
                return count
    raise InputError(
        f"the {antennas} antennas at {end} receive the paths unequally, so that they are more than "
        f"elements of one or two polarisations; state how many by num_{end}_patterns"
    )


def _names(station: Sequence[str] | None, transmitters: int) -> tuple[str, ...]:
    names = tuple(station or (f"tx-{i}" for i in range(transmitters)))
    if len(names) != transmitters:
        raise InputError(f"{len(names)} names of stations came for {transmitters} transmitters")
    return names


def _estimates(
    departure: tuple[np.ndarray, np.ndarray],
    arrival: tuple[np.ndarray, np.ndarray],
    delay: np.ndarray,
    power: np.ndarray,
    valid: np.ndarray,
    strongest: int,
) -> PathEstimates:
    """Keep the strongest paths, in falling power, and state no error."""
    if strongest < 1:
        raise InputError(f"strongest must be at least 1 path; got {strongest}")
    order = np.argsort(np.where(valid, -power, np.inf), axis=1, kind="stable")[:, :strongest]
    order = order[:, : max(1, int(valid.sum(axis=1).max(initial=0)))]
    valid = np.take_along_axis(valid, order, axis=1)

    def kept(values: np.ndarray) -> np.ndarray:
        return np.where(valid, np.take_along_axis(values, order, axis=1), 0.0)

    exact = np.zeros(valid.shape)
    return PathEstimates.from_delays(
        departure_azimuth=wrap_angle(kept(departure[0])),
        departure_zenith=kept(departure[1]),
        arrival_azimuth=wrap_angle(kept(arrival[0])),
        arrival_zenith=kept(arrival[1]),
        delay=kept(delay),
        power=kept(power),
        departure_azimuth_std=exact,
        departure_zenith_std=exact,
        arrival_azimuth_std=exact,
        arrival_zenith_std=exact,
        delay_std=exact,
        valid=valid,
    )


def _points(points: Any) -> Float[np.ndarray, "point 3"]:
    """Read points that are stored one a row or, as Mitsuba does, one a column."""
    points = np.asarray(points, dtype=np.float64)
    points = points.reshape(3, -1).T if points.shape[0] == 3 else points
    return np.ascontiguousarray(points)
