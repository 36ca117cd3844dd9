"""What stations receive while users send pilots, and the file that holds it.

Takes arrays, or an ``.npz`` file as `docs/formats.md` describes it.
Gives `Snapshots`, or one sentence about what is wrong with the file.
"""

import os
from pathlib import Path

import equinox as eqx
import numpy as np
from jaxtyping import Complex, Float

from echoscape.checks import InputError
from echoscape.reports.archive import read_arrays, write_arrays


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

    def __check_init__(self):
        station, antenna, pilot, subcarrier = self.received.shape
        user = self.pilots.shape[-1]
        needed = {
            "pilots": (pilot, user),
            "user_position": (user, 3),
            "antenna_position": (station, antenna, 3),
            "frequency": (subcarrier,),
            "line_of_sight": (station, antenna, user, subcarrier),
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
        if pilot < user:
            raise InputError(
                f"pilots must be at least as long as there are users, {user}; got {pilot}: send "
                "longer pilots or image fewer users at a time"
            )
        if np.linalg.matrix_rank(self.pilots.astype(complex)) < user:
            raise InputError(
                "pilots of the users must be linearly independent, or their channels cannot be "
                "told apart; use columns of a DFT matrix"
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


_ARRAYS = {
    "received": complex,
    "pilots": complex,
    "user_position": float,
    "antenna_position": float,
    "frequency": float,
}
_OPTIONAL = {"noise_variance": float, "line_of_sight": complex}


def read_snapshots(path: str | os.PathLike[str]) -> Snapshots:
    """Read snapshots from an ``.npz`` file, or refuse it in one sentence.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged, of another kind, or its content does not fit together.
    """
    path = Path(path)
    stored = read_arrays(path, "snapshots", tuple(_ARRAYS), tuple(_OPTIONAL))
    values: dict = {}
    for name, kind in (_ARRAYS | _OPTIONAL).items():
        if name not in stored:
            continue
        value = stored[name]
        if value.dtype.kind not in ("fiu" if kind is float else "fiuc"):
            raise InputError(f"{path}: {name} must be {kind.__name__} numbers; got {value.dtype}")
        if name == "noise_variance":
            if value.size != 1:
                raise InputError(
                    f"{path}: noise_variance must be one number for all samples; got shape "
                    f"{value.shape}"
                )
            values[name] = float(value.reshape(()))
        else:
            values[name] = value.astype(kind)
    ranks = {"received": 4, "pilots": 2, "user_position": 2, "antenna_position": 3, "frequency": 1}
    for name, rank in ranks.items():
        if values[name].ndim != rank:
            raise InputError(
                f"{path}: {name} must have {rank} axes, see docs/formats.md; got shape "
                f"{values[name].shape}"
            )
    try:
        return Snapshots(**values)
    except InputError as refusal:
        raise InputError(f"{path}: {refusal}") from None


def write_snapshots(snapshots: Snapshots, path: str | os.PathLike[str]) -> None:
    """Write snapshots as ``.npz``, whole or not at all."""
    names = (*_ARRAYS, *_OPTIONAL)
    values = {name: getattr(snapshots, name) for name in names}
    write_arrays(path, "snapshots", {n: v for n, v in values.items() if v is not None})
