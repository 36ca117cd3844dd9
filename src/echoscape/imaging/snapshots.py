"""What stations receive while users send pilots, and the file that holds it.

Takes arrays, or an ``.npz`` file as `docs/formats.md` describes it.
Gives `Snapshots`, or one sentence about what is wrong with the file.
"""

import os

import equinox as eqx
import numpy as np
from jaxtyping import Complex, Float

from echoscape.checks import InputError
from echoscape.files.archive import open_arrays, write_arrays
from echoscape.files.npz import Kind
from echoscape.units import length_of


class Snapshots(eqx.Module):
    """Pilots as received, and where everyone stood; arrays of numpy."""

    received: Complex[np.ndarray, "station antenna pilot subcarrier"]
    """Samples [root of W, or any unit]."""
    pilots: Complex[np.ndarray, "pilot user"]
    """What the users sent [unit of `received`]."""
    user_position: Float[np.ndarray, "user 3"]
    """Where the users were [m]."""
    antenna_position: Float[np.ndarray, "station antenna 3"]
    """Where every antenna of every station is [m]."""
    frequency: Float[np.ndarray, " subcarrier"]
    """Of each subcarrier [Hz]."""
    noise_variance: float | None = None
    """Mean squared noise of a sample; estimated where it is not known."""
    line_of_sight: Complex[np.ndarray, "station antenna user subcarrier"] | None = None
    """Channels straight from users to antennas, to be taken off [1]."""
    user_position_std: Float[np.ndarray, " user"] | None = None
    """Standard deviation of each coordinate of the users' positions; exact if not given [m]."""
    antenna_position_std: Float[np.ndarray, " station"] | None = None
    """Standard deviation of each coordinate of the stations' positions; exact if not given [m]."""
    user_clock_std: Float[np.ndarray, " user"] | None = None
    """Standard deviation of the users' clocks; exact if not given [s]."""

    def deviations(self) -> tuple[Float[np.ndarray, " user"], Float[np.ndarray, " user"]]:
        """Give the deviations of users' positions and clocks, zero where not given [m]."""
        nothing = np.zeros(len(self.user_position))
        place = nothing if self.user_position_std is None else self.user_position_std
        clock = nothing if self.user_clock_std is None else self.user_clock_std
        return place, length_of(clock)

    def __check_init__(self):
        station, antenna, pilot, subcarrier = self.received.shape
        user = self.pilots.shape[-1]
        needed = {
            "pilots": (pilot, user),
            "user_position": (user, 3),
            "antenna_position": (station, antenna, 3),
            "frequency": (subcarrier,),
            "line_of_sight": (station, antenna, user, subcarrier),
            "user_position_std": (user,),
            "antenna_position_std": (station,),
            "user_clock_std": (user,),
        }
        if min(self.received.shape) < 1 or user < 1:
            raise InputError(
                "snapshots need at least one station, antenna, pilot, subcarrier and user; got "
                f"received of shape {self.received.shape} and {user} users"
            )
        for name, shape in needed.items():
            value = getattr(self, name)
            if value is None:
                continue
            if value.shape != shape:
                raise InputError(
                    f"{name} must have the shape {shape} to go with received of shape "
                    f"{self.received.shape} and pilots of shape {self.pilots.shape}; got "
                    f"{value.shape}"
                )
        for name in ("received", *needed):
            value = getattr(self, name)
            if value is not None and not np.all(np.isfinite(value)):
                bad = int(np.sum(~np.isfinite(value)))
                raise InputError(
                    f"{name} must be finite numbers; {bad} of {value.size} are NaN or infinite: "
                    "leave out the stations, users or subcarriers they belong to"
                )
        for name, unit, most, other in (
            ("user_position_std", "m", 1e3, ""),
            ("antenna_position_std", "m", 1e3, ""),
            ("user_clock_std", "s", 1e-3, "; nanoseconds are 1e-9 s"),
        ):
            value = getattr(self, name)
            if value is not None and not np.all((value >= 0) & (value <= most)):
                raise InputError(
                    f"{name} must lie between 0 and {most:g}, in {unit}{other}; got "
                    f"{value[~((value >= 0) & (value <= most))][0]:g}"
                )
        if pilot < user:
            raise InputError(
                f"pilots must be at least as long as there are users, {user}; got {pilot}: send "
                "longer pilots or image fewer users at a time"
            )
        if np.linalg.matrix_rank(self.pilots.astype(complex)) < user:
            raise InputError(
                "pilots of the users must be linearly independent, or their channels cannot be "
                "separated; use columns of a DFT matrix"
            )
        if np.any(self.frequency <= 0):
            raise InputError(f"frequency must be above zero, in Hz; got {self.frequency.min():g}")
        if self.noise_variance is not None and not (
            self.noise_variance > 0 and np.isfinite(self.noise_variance)
        ):
            raise InputError(
                "noise_variance must be finite and above zero, in the unit of received squared; "
                f"got {self.noise_variance:g}: leave it out to have it estimated"
            )
        if not np.any(self.received):
            raise InputError("received holds only zeros; there is nothing to image")


_ARRAYS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "received": ("complex", ("station", "antenna", "pilot", "subcarrier")),
    "pilots": ("complex", ("pilot", "user")),
    "user_position": ("real", ("user", "axis")),
    "antenna_position": ("real", ("station", "antenna", "axis")),
    "frequency": ("real", ("subcarrier",)),
}
_LINE_OF_SIGHT = ("station", "antenna", "user", "subcarrier")
_DEVIATIONS = {
    "user_position_std": "user_position",
    "antenna_position_std": "antenna_position",
    "user_clock_std": "user_position",
}
"""Deviations, one for all or one for each item of another array."""


def read_snapshots(path: str | os.PathLike[str]) -> Snapshots:
    """Read snapshots from an ``.npz`` file, or refuse it in one sentence.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged, of another kind, or its content does not fit together.
    """
    with open_arrays(path, "snapshots", tuple(_ARRAYS)) as stored:
        values: dict = {
            name: stored.array(name, kind, shape).astype(float if kind == "real" else complex)
            for name, (kind, shape) in _ARRAYS.items()
        }
        if "noise_variance" in stored:
            values["noise_variance"] = float(stored.number("noise_variance"))
        if "line_of_sight" in stored:
            given = stored.array("line_of_sight", "complex", _LINE_OF_SIGHT)
            values["line_of_sight"] = given.astype(complex)
        for name, of in _DEVIATIONS.items():
            if name in stored:
                given = stored.array(name, "real").reshape(-1)
                values[name] = np.repeat(given, len(values[of])) if given.size == 1 else given
        return Snapshots(**values)


def write_snapshots(snapshots: Snapshots, path: str | os.PathLike[str]) -> None:
    """Write snapshots as ``.npz``, whole or not at all."""
    names = (*_ARRAYS, "noise_variance", "line_of_sight", *_DEVIATIONS)
    values = {name: getattr(snapshots, name) for name in names}
    write_arrays(path, "snapshots", {n: v for n, v in values.items() if v is not None})
