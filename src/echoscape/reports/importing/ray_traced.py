"""Reports out of ray-traced paths: exact, as a perfect receiver would have sent them.

Two layouts are known: flat tables of ``.npz`` files (elevations and nanoseconds), and the `Paths`
object of Sionna RT, read by its attributes so that Sionna need not be installed.

Takes paths of a ray tracer.
Gives `Reports` with the strongest paths of every user, in radians and seconds.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.propagation.traced_table import traced_arrays
from echoscape.reports.report import Reports
from echoscape.units import wrap_angle

FIELDS = ("pos", "bs_pos", "offset", "a_re", "a_im", "tau_ns", "aod", "eod", "aoa", "eoa")


def reports_from_ray_traced(
    source: str | Path | Mapping[str, np.ndarray],
    users: Sequence[int] | Int[np.ndarray, " report"] | None = None,
    strongest: int = 12,
    station: str = "bs",
) -> Reports:
    """Make reports of a flat table: rows of user k are ``offset[k]`` to ``offset[k + 1]``.

    Args:
        source: A ``.npz`` file or its arrays: `pos` and `bs_pos` [m], `offset`, the coefficient
            `a_re`, `a_im`, the delay `tau_ns` [ns], azimuth and elevation of departure `aod`,
            `eod` and of arrival `aoa`, `eoa` [rad].
        users: Which users, all by default; they keep their index as number of the report.
        strongest: How many paths of each user to keep.
        station: Name of the base station.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The layout is another one.
    """
    if strongest < 1:
        raise InputError(f"strongest must be at least 1 path; got {strongest}")
    table = traced_arrays(source, FIELDS)
    offset = table["offset"].astype(np.int64)
    users = np.arange(len(offset) - 1) if users is None else np.asarray(users, dtype=np.int64)
    if len(users) and not (users.min() >= 0 and users.max() < len(offset) - 1):
        raise InputError(f"users must lie between 0 and {len(offset) - 2}, the table has no others")
    power = table["a_re"].astype(float) ** 2 + table["a_im"].astype(float) ** 2
    owner = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    order = np.lexsort((-power, owner))  # rows stay with their user, strongest first
    count = np.minimum(np.diff(offset)[users], strongest)
    slot = np.arange(max(1, int(count.max(initial=0))))
    valid = slot < count[:, None]
    row = np.where(valid, offset[users][:, None] + slot, 0)

    def column(values: np.ndarray) -> Float[np.ndarray, "report path"]:
        values = values.astype(float)
        return np.where(valid, values[order][row] if len(values) else 0.0, 0.0)

    return Reports(
        estimates=_estimates(
            departure=(column(table["aod"]), math.pi / 2 - column(table["eod"])),
            arrival=(column(table["aoa"]), math.pi / 2 - column(table["eoa"])),
            delay=column(table["tau_ns"]) * 1e-9,
            power=column(power),
            valid=valid,
            strongest=strongest,
        ),
        position=np.asarray(table["pos"], dtype=np.float64)[users],
        position_std=np.zeros(len(users)),
        time=np.zeros(len(users)),
        report=users,
        station_index=np.zeros(len(users), dtype=np.int64),
        station_position=np.asarray(table["bs_pos"], dtype=np.float64).reshape(1, 3),
        station=(station,),
    )


def reports_from_sionna(
    paths: Any, strongest: int = 12, station: Sequence[str] | None = None
) -> Reports:
    """Make reports of a Sionna RT `Paths` object: one for each receiver and transmitter.

    The delays are those of ``paths.tau``.  The delays that ``paths.cir()`` returns start at zero
    unless it was called with ``normalize_delays=False``, and without the absolute delay there is
    nothing to locate.  Of traced arrays (``synthetic_array=False``) the paths of the first
    elements are taken, since those of other elements come in another order; power is averaged
    over synthetic elements and polarisations.

    Args:
        paths: The object, or one with its attributes `a` (real and imaginary part), `tau`,
            `theta_t`, `phi_t`, `theta_r`, `phi_r`, `valid`, `sources`, `targets`, `num_rx`,
            `num_tx`.
        strongest: How many paths of each report to keep.
        station: Names of the transmitters, ``tx-0`` and so on by default.
    """
    receivers, transmitters = int(paths.num_rx), int(paths.num_tx)
    source, target = _points(paths.sources), _points(paths.targets)
    elements = len(target) // receivers, len(source) // transmitters
    real, imaginary = (np.asarray(part, dtype=np.float64) for part in paths.a)
    power = real**2 + imaginary**2  # [rx, polarisation x element, tx, ..., path]
    shape = power.shape
    if np.asarray(paths.tau).ndim == 5:  # traced arrays: polarisations outside, elements inside
        power = power.reshape(
            receivers, -1, elements[0], transmitters, shape[3] // elements[1], elements[1], shape[4]
        )[:, :, 0, :, :, 0]
    power = power.mean(axis=(1, 3)).reshape(receivers * transmitters, shape[4])

    def pairs(name: str) -> np.ndarray:
        values = np.asarray(getattr(paths, name))
        values = values[:, 0, :, 0] if values.ndim == 5 else values
        return values.reshape(receivers * transmitters, -1)

    names = tuple(station or (f"tx-{i}" for i in range(transmitters)))
    if len(names) != transmitters:
        raise InputError(f"{len(names)} names of stations came for {transmitters} transmitters")
    valid = pairs("valid").astype(bool)
    delay = np.where(valid, pairs("tau"), 0.0)
    if valid.shape[1] == 0:  # nothing found anywhere
        valid, delay, power = (np.zeros((len(valid), 1), t) for t in (bool, float, float))

    def angle(name: str) -> np.ndarray:
        values = pairs(name)
        return np.where(valid, values if values.shape[1] else 0.0, 0.0).astype(np.float64)

    station_position = source[:: elements[1]]
    receiver, transmitter = np.divmod(np.arange(receivers * transmitters), transmitters)
    return Reports(
        estimates=_estimates(
            departure=(angle("phi_t"), angle("theta_t")),
            arrival=(angle("phi_r"), angle("theta_r")),
            delay=delay.astype(np.float64),
            power=np.where(valid, power, 0.0),
            valid=valid,
            strongest=strongest,
        ),
        position=target[:: elements[0]][receiver],
        position_std=np.zeros(len(receiver)),
        time=np.zeros(len(receiver)),
        report=receiver,
        station_index=transmitter,
        station_position=station_position,
        station=names,
    )


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
