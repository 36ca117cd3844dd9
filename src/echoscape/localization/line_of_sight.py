"""What geometry alone can do: one echo of each target is taken as the direct one.

Without a map a reflection cannot be distinguished from a line of sight, so the shortest echo is
taken for the direct one, Eq. (3) of [wu-ckm].  Behind a corner the answer is wrong by as much as
the detour; its claimed covariance, which is of measurement errors only, does not cover that.

Takes `Echoes` and where the stations are.
Gives a `Fix` with one mode a target.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from echoscape.checks import InputError, unknown_name
from echoscape.estimation import AnyArray, PathEstimates
from echoscape.localization.fix import Fix, FixStatus
from echoscape.reports import Echoes
from echoscape.units import wrap_angle

_UNKNOWN = 1e6  # standard deviation of a position without any echo [m]


def shortest_echo_direct(
    echoes: Echoes, station_position: Mapping[str, AnyArray], height: float | None = None
) -> Fix:
    """Locate every target by its shortest echo, as if that came straight back.

    Eq. (3) of [wu-ckm], ``x = b + c tau / 2 u``, in three dimensions, with the mean of the two
    angles weighted by their stated errors.  With a known height the delay gives the horizontal
    range, and the zenith angle is not used.

    Args:
        echoes: Sets of one or several stations; of several, the shortest echo of all decides.
        station_position: Where each station is [m].
        height: z of all targets [m]; from the zenith angle if not given.

    Returns:
        One mode a target, targets in rising order.  A target without a usable echo has status
        ``NO_ECHO``; an echo shorter than the way to the height has ``UNEXPLAINED``.
    """
    return _direct(echoes, station_position, height, np.asarray(echoes.estimates.length))


def _direct(
    echoes: Echoes,
    station_position: Mapping[str, AnyArray],
    height: float | None,
    cost: Float[np.ndarray, "set echo"],
) -> Fix:
    """Locate every target by its echo of least cost."""
    if np.any(echoes.sender != echoes.station_index):
        raise InputError(
            "an echo taken as direct needs the station that received it to have sent it; these are "
            "of another station's pulse: locate them through the maps of both"
        )
    for name in echoes.station:
        if name not in station_position:
            raise unknown_name("station with a position", name, station_position)
    station = np.array([np.asarray(station_position[name], float) for name in echoes.station])
    cost = np.where(_usable(echoes.estimates, height), cost, np.inf)
    rows = np.arange(len(cost))
    column = np.argmin(cost, axis=1)
    least = cost[rows, column]
    by_target = np.lexsort((least, echoes.target))
    target, first = np.unique(echoes.target[by_target], return_index=True)
    chosen = by_target[first]
    usable = np.isfinite(least[chosen])
    echo = echoes.estimates[chosen, column[chosen]]
    origin = station[echoes.station_index[chosen]]
    position, covariance, reached = _position(echo, origin, height, usable)
    status = np.where(reached, FixStatus.LOCATED, FixStatus.UNEXPLAINED)
    ones = np.ones(len(target), dtype=int)
    return Fix(
        target=target,
        position=position[:, None],
        covariance=covariance[:, None],
        log_likelihood=np.zeros((len(target), 1)),
        probability=np.ones((len(target), 1)),
        agreeing_starts=ones[:, None],
        starts=ones,
        status=np.where(usable, status, FixStatus.NO_ECHO).astype(int),
        valid=np.ones((len(target), 1), dtype=bool),
    )


def _usable(paths: PathEstimates, height: float | None) -> np.ndarray:
    """Tell which echoes measured what a position follows from."""
    azimuth = np.isfinite(paths.departure_azimuth_std) | np.isfinite(paths.arrival_azimuth_std)
    zenith = np.isfinite(paths.departure_zenith_std) | np.isfinite(paths.arrival_zenith_std)
    measured = azimuth & np.isfinite(paths.length_std) & np.asarray(paths.valid)
    return measured if height is not None else measured & zenith


def _position(echo: PathEstimates, origin: np.ndarray, height: float | None, usable: np.ndarray):
    """Turn one echo a target into a position, its covariance, and whether the echo reaches it."""
    length = np.where(usable, 0.5 * np.asarray(echo.length), 0.0)
    length_std = 0.5 * np.where(usable, echo.length_std, 0.0)
    azimuth, azimuth_std = _mean_angle(echo, "azimuth")
    if height is None:
        zenith, zenith_std = _mean_angle(echo, "zenith")
        horizontal, vertical, reached = np.sin(zenith), np.cos(zenith), usable
        position = origin + length[:, None] * _direction(azimuth, horizontal, vertical)
        std = [length_std, length * horizontal * azimuth_std, length * zenith_std]
    else:
        rise = height - origin[:, 2]
        reached = length >= np.abs(rise)
        distance = np.sqrt(np.maximum(length**2 - rise**2, 0.0))
        horizontal, vertical = np.ones_like(rise), np.zeros_like(rise)
        position = origin + distance[:, None] * _direction(azimuth, horizontal, vertical)
        position[:, 2] = height
        # Straight below, the range varies with the root of the length: its slope has an end.
        lever = np.maximum(distance, np.sqrt(2.0 * length * length_std))
        stretch = length / np.where(lever > 0, lever, 1.0)
        std = [stretch * length_std, distance * azimuth_std, np.zeros_like(rise)]
    axes = np.stack(
        [
            _direction(azimuth, horizontal, vertical),
            _direction(azimuth + np.pi / 2, np.ones_like(horizontal), np.zeros_like(vertical)),
            _direction(azimuth, vertical, -horizontal),
        ],
        axis=-1,
    )
    variance = np.stack(std, axis=-1) ** 2
    covariance = np.einsum("tia,ta,tja->tij", axes, variance, axes)
    nowhere = np.eye(3) * [1.0, 1.0, height is None] * _UNKNOWN**2
    return position, np.where(usable[:, None, None], covariance, nowhere), reached


def _mean_angle(echo: PathEstimates, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Join the angles out and back, which are one on a direct echo, by their errors."""
    out, back = getattr(echo, f"departure_{kind}"), getattr(echo, f"arrival_{kind}")
    trust = np.stack([getattr(echo, f"{end}_{kind}_std") for end in ("departure", "arrival")])
    trust = 1.0 / np.maximum(trust, 1e-9) ** 2  # zero where it was not measured
    total = np.where(trust.sum(axis=0) > 0, trust.sum(axis=0), 1.0)
    correction = trust[1] / total * wrap_angle(np.asarray(back) - np.asarray(out))
    return np.asarray(out) + correction, 1.0 / np.sqrt(total)


def _direction(azimuth: np.ndarray, horizontal: np.ndarray, vertical: np.ndarray) -> np.ndarray:
    return np.stack([horizontal * np.cos(azimuth), horizontal * np.sin(azimuth), vertical], axis=-1)
