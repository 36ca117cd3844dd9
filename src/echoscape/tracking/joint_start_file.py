"""A station's own echoes from files, and the start that they and the first instant's paths give.

Takes a table of echoes, or ray-traced points as ``.npz``; observations.
Gives `StationEchoes`, `BounceStart` and it as a table.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from echoscape.checks import InputError
from echoscape.files.npz import open_npz
from echoscape.reports import Observations, read_echoes
from echoscape.reports.schema import COVARIANCE, POSITION
from echoscape.tracking.echo_surface import StationEchoes
from echoscape.tracking.joint_start import (
    BounceClass,
    BounceStart,
    check_directions,
    joint_start,
)
from echoscape.units import length_of, wrap_angle

_SAME = 0.05  # what a range may be off the distance of its point [m]
_RETURNED = 4.0  # deviations within which an echo returns the way it came
_UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def read_station_echoes(
    path: str | Path,
    station: Float[np.ndarray, "3"],
    angle_std: float | None = None,
    delay_std: float | None = None,
) -> StationEchoes:
    """Read what a station heard straight back of its own pulse.

    Args:
        path: Table of echoes, of which those that return the way they came are taken, or ``.npz``
            of ``point`` [m] and ``range_m``, exact as a ray tracer has them.
        station: Where the station is [m].
        angle_std: Deviation of angles that the file states none for [rad].
        delay_std: Deviation of delays, out and back, that the file states none for [s].

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be used, or its echoes are of another station.
    """
    path = Path(path)
    if path.suffix == ".npz":
        if angle_std is None or delay_std is None:
            raise InputError(
                f"{path} states no errors; give --angle-std [rad] and --delay-std [s] of its echoes"
            )
        return _from_points(path, station, angle_std, 0.5 * float(length_of(delay_std)))
    heard = read_echoes(path, angle_std, delay_std)
    stations = heard.station
    if len(stations) > 1 or heard.sender_index is not None:
        raise InputError(
            f"{path} holds echoes between several stations, {', '.join(stations)}; a start needs "
            "those of one that hears itself: leave the others out"
        )
    seen = heard.estimates
    valid = np.asarray(seen.valid)

    def take(name: str) -> np.ndarray:
        return np.asarray(getattr(seen, name), float)[valid]

    apart = [
        wrap_angle(take(f"departure_{kind}") - take(f"arrival_{kind}"))
        / np.hypot(take(f"departure_{kind}_std"), take(f"arrival_{kind}_std"))
        for kind in ("azimuth", "zenith")
    ]
    own = np.hypot(*apart) < _RETURNED
    if not own.any():
        raise InputError(f"{path} has no echo that returns the way it came, as a start needs them")
    # two looks at one direction: the mean of both
    half = wrap_angle(take("arrival_azimuth") - take("departure_azimuth"))
    spread = np.max([take(f"{end}_{kind}_std") for end in ("departure", "arrival")
                     for kind in ("azimuth", "zenith")], axis=0)  # fmt: skip
    return StationEchoes(
        azimuth=wrap_angle(take("departure_azimuth") + 0.5 * half)[own],
        zenith=0.5 * (take("departure_zenith") + take("arrival_zenith"))[own],
        range=0.5 * take("length")[own],
        angle_std=np.sqrt(0.5) * spread[own],
        range_std=0.5 * take("length_std")[own],
    )


def _from_points(
    path: Path, station: np.ndarray, angle_std: float, range_std: float
) -> StationEchoes:
    with open_npz(path, "points that a station heard") as stored:
        point = stored.array("point", "real", ("point", 3)).astype(float)
        length = stored.array("range_m", "real", ("point",)).astype(float)
    out = point - station
    away = np.linalg.norm(out, axis=1)
    off = np.abs(away - length)
    if np.median(off) > _SAME:
        raise InputError(
            f"{path} holds echoes of another station: its ranges are {np.median(off):.3g} m off "
            f"the distances from {','.join(f'{x:g}' for x in station)} m; give the --station that "
            "heard them"
        )
    one = np.ones(len(away))
    zenith = np.arccos(np.clip(out[:, 2] / away, -1.0, 1.0))
    azimuth = np.arctan2(out[:, 1], out[:, 0])
    return StationEchoes(azimuth, zenith, length, angle_std * one, range_std * one)


def start_of(
    echoes: StationEchoes, observations: Observations, station: Float[np.ndarray, "3"]
) -> tuple[BounceStart, np.ndarray]:
    """Place the bounces of the first instant's paths.

    Returns:
        The start, and the rows of those paths, counted from 0.

    Raises:
        InputError: The user's position is not known then, or most paths leave nowhere near an echo.
    """
    if not observations.user_known[0]:
        raise InputError(
            "a start from echoes needs the user's position at the first instant, in m; fill "
            "user_x, user_y, user_z"
        )
    seen = observations.estimates
    valid = np.asarray(seen.valid)[0]
    names = ("length", "arrival_azimuth", "arrival_zenith", "departure_azimuth", "departure_zenith")
    measured = np.stack([np.asarray(getattr(seen, n), float)[0, valid] for n in names], axis=1)
    std = np.stack([np.asarray(getattr(seen, f"{n}_std"), float)[0, valid] for n in names], axis=1)
    user = np.broadcast_to(np.asarray(observations.user_position[0], float), (valid.sum(), 3))
    found = joint_start(echoes, measured, std, np.asarray(station, float), user)
    check_directions(found)
    return found, np.arange(len(measured))


def start_table(start: BounceStart, row: np.ndarray) -> pa.Table:
    """Lay a start out as a table: class, probability of error, places and covariances."""
    names = np.array([member.name.lower() for member in BounceClass])
    columns: dict[str, np.ndarray] = {
        "observation": row,
        "class": names[start.kind],
        "class_error": start.class_error,
    }
    for end, place, covariance in (
        ("first", start.first, start.first_covariance),
        ("last", start.last, start.last_covariance),
    ):
        columns |= {f"{end}_{name}": place[:, i] for i, name in enumerate(POSITION)}
        columns |= {
            f"{end}_{name}": covariance[:, i, j] for name, (i, j) in zip(COVARIANCE, _UPPER)
        }
    return pa.table({name: pa.array(each, from_pandas=True) for name, each in columns.items()})
