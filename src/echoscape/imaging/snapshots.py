"""What stations receive while users send pilots, and the file that holds it.

Takes arrays, or an ``.npz`` file as `docs/formats.md` describes it.
Gives `Snapshots`, or one sentence about what is wrong with the file.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Complex, Float

from echoscape.checks import Refusal
from echoscape.reports.files import atomic_path

VERSION = 1
"""Version of the formats of snapshots and images."""


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
            raise Refusal(
                "snapshots need at least one station, antenna, pilot, subcarrier and user; got "
                f"received of shape {self.received.shape} and {user} users"
            )
        for name, shape in needed.items():
            value = getattr(self, name)
            if value is None:
                continue
            if value.shape != shape:
                raise Refusal(
                    f"{name} must have the shape {shape} to go with received of shape "
                    f"{self.received.shape} and pilots of shape {self.pilots.shape}; got "
                    f"{value.shape}"
                )
        for name in ("received", *needed):
            value = getattr(self, name)
            if value is not None and not np.all(np.isfinite(value)):
                bad = int(np.sum(~np.isfinite(value)))
                raise Refusal(
                    f"{name} must be finite numbers; {bad} of {value.size} are NaN or infinite: "
                    "leave out the stations, users or subcarriers they belong to"
                )
        if pilot < user:
            raise Refusal(
                f"pilots must be at least as long as there are users, {user}; got {pilot}: send "
                "longer pilots or image fewer users at a time"
            )
        if np.linalg.matrix_rank(self.pilots.astype(complex)) < user:
            raise Refusal(
                "pilots of the users must be linearly independent, or their channels cannot be "
                "told apart; use columns of a DFT matrix"
            )
        if np.any(self.frequency <= 0):
            raise Refusal(f"frequency must be above zero, in Hz; got {self.frequency.min():g}")
        if self.noise_variance is not None and not (
            self.noise_variance > 0 and np.isfinite(self.noise_variance)
        ):
            raise Refusal(
                "noise_variance must be finite and above zero, in the unit of received squared; "
                f"got {self.noise_variance:g}: leave it out to have it estimated"
            )
        if not np.any(self.received):
            raise Refusal("received holds only zeros; there is nothing to image")


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
        Refusal: The file is damaged, of another kind, or its content does not fit together.
    """
    path = Path(path)
    stored = read_arrays(path, "snapshots", tuple(_ARRAYS), tuple(_OPTIONAL))
    values: dict = {}
    for name, kind in (_ARRAYS | _OPTIONAL).items():
        if name not in stored:
            continue
        value = stored[name]
        if value.dtype.kind not in ("fiu" if kind is float else "fiuc"):
            raise Refusal(f"{path}: {name} must be {kind.__name__} numbers; got {value.dtype}")
        if name == "noise_variance":
            if value.size != 1:
                raise Refusal(
                    f"{path}: noise_variance must be one number for all samples; got shape "
                    f"{value.shape}"
                )
            values[name] = float(value.reshape(()))
        else:
            values[name] = value.astype(kind)
    ranks = {"received": 4, "pilots": 2, "user_position": 2, "antenna_position": 3, "frequency": 1}
    for name, rank in ranks.items():
        if values[name].ndim != rank:
            raise Refusal(
                f"{path}: {name} must have {rank} axes, see docs/formats.md; got shape "
                f"{values[name].shape}"
            )
    try:
        return Snapshots(**values)
    except Refusal as refusal:
        raise Refusal(f"{path}: {refusal}") from None


def write_snapshots(snapshots: Snapshots, path: str | os.PathLike[str]) -> None:
    """Write snapshots as ``.npz``, whole or not at all."""
    names = (*_ARRAYS, *_OPTIONAL)
    values = {name: getattr(snapshots, name) for name in names}
    write_arrays(path, "snapshots", {n: v for n, v in values.items() if v is not None})


def read_arrays(
    path: Path, kind: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Read named arrays of one kind of file, or refuse it in one sentence."""
    check_archive(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; {kind} were needed")
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Refusal(
            f"{path} cannot be read as npz, it is damaged, cut short or holds something else; "
            "write it again"
        ) from error
    title = str(found.get("echoscape", f"{kind} {VERSION}"))
    got, _, version = title.partition(" ")
    if got != kind:
        raise Refusal(f"{path} holds {got}, but {kind} were needed")
    if not version.isdecimal() or int(version) > VERSION:
        raise Refusal(
            f"{path} has version {version} of the format of {kind}, this echoscape reads up to "
            f"version {VERSION}; install a newer one"
        )
    for name in needed:
        if name not in found:
            raise Refusal(f"{path} lacks the array '{name}'; {kind} need {', '.join(needed)}")
    return {name: found[name] for name in (*needed, *optional) if name in found}


def write_arrays(path: str | os.PathLike[str], kind: str, values: dict[str, Any]) -> None:
    """Write named arrays as ``.npz`` with their kind and version, whole or not at all."""
    path = Path(path)
    check_archive(path)
    arrays: Any = {name: np.asarray(value) for name, value in values.items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, echoscape=np.array(f"{kind} {VERSION}"), **arrays)


def check_archive(path: Path) -> None:
    """Refuse a name that does not say that it is an ``.npz`` file."""
    if path.suffix.lower() != ".npz":
        raise Refusal(f"{path} must end in .npz")
    if path.is_dir():
        raise Refusal(f"{path} is a folder; give the name of a file")
