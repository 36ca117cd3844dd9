"""Samples of echoes on disk, and the echoes that estimation found in them.

Takes an ``.npz`` file as `docs/formats.md` describes it, or `EchoSnapshots`.
Gives `EchoSnapshots`, the file, or `Echoes`.
"""

import dataclasses
import os

import numpy as np

from echoscape.checks import InputError
from echoscape.files.archive import open_arrays, write_arrays
from echoscape.propagation import Paths
from echoscape.reports.echo import Echoes
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform

_KIND = "samples"
_ARRAY_FIELDS = ("rows", "columns", "row_spacing", "column_spacing", "azimuth", "tilt")
_NEEDED = ("received", "target", "time", "waveform", "transmit", "receive", "station")
_OPTIONAL = ("noise_variance", "empty")


def write_samples(snapshots: EchoSnapshots, path: str | os.PathLike[str]) -> None:
    """Write samples as ``.npz``, whole or not at all."""
    waveform = snapshots.waveform
    values = {
        "received": snapshots.received,
        "target": snapshots.target,
        "time": snapshots.time,
        "waveform": np.array([waveform.subcarriers, waveform.spacing, waveform.symbols], float),
        "transmit": _numbers(snapshots.transmit),
        "receive": _numbers(snapshots.receive),
        "station": np.array([snapshots.transmit_station, snapshots.receive_station]),
    }
    for name in _OPTIONAL:
        if getattr(snapshots, name) is not None:
            values[name] = np.asarray(getattr(snapshots, name))
    write_arrays(path, _KIND, values)


def _numbers(array: PlanarArray) -> np.ndarray:
    return np.array([getattr(array, name) for name in _ARRAY_FIELDS], dtype=float)


def read_samples(path: str | os.PathLike[str]) -> EchoSnapshots:
    """Read samples from an ``.npz`` file, or refuse it in one sentence.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged, of another kind, or its content does not fit together.
    """
    with open_arrays(path, _KIND, _NEEDED) as stored:
        snapshots = ("snapshot", None, None, None)
        received = stored.array("received", "complex", snapshots)
        empty = noise = None
        if "empty" in stored:
            empty = stored.array("empty", "complex", (None, None, None)).astype(complex)
        if "noise_variance" in stored:
            noise = float(stored.number("noise_variance"))
        station = stored.array("station", "text", (2,))
        return EchoSnapshots(
            received=received.astype(complex),
            target=stored.array("target", "integer", ("snapshot",)).astype(int),
            time=stored.array("time", "real", ("snapshot",)).astype(float),
            waveform=_waveform(stored.array("waveform", "real", (3,), finite=False)),
            transmit=_array(stored.array("transmit", "real", (6,)), "transmit"),
            receive=_array(stored.array("receive", "real", (6,)), "receive"),
            transmit_station=str(station[0]),
            receive_station=str(station[1]),
            noise_variance=noise,
            empty=empty,
        )


def _waveform(numbers: np.ndarray) -> Waveform:
    _whole(numbers[[0, 2]], "waveform")
    return Waveform(int(numbers[0]), float(numbers[1]), int(numbers[2]))


def _array(numbers: np.ndarray, name: str) -> PlanarArray:
    _whole(numbers[:2], name)
    if not np.all(np.isfinite(numbers)):
        raise InputError(f"{name} must be finite numbers; got {numbers.tolist()}")
    return PlanarArray(int(numbers[0]), int(numbers[1]), *(float(value) for value in numbers[2:]))


def _whole(numbers: np.ndarray, name: str) -> None:
    if not np.all(np.isfinite(numbers)) or np.any(numbers != np.round(numbers)):
        raise InputError(f"{name} must count in whole numbers; got {numbers.tolist()}")


def echoes_from_estimates(snapshots: EchoSnapshots, estimates: Paths) -> Echoes:
    """Give what was estimated from samples the targets, times and stations of the samples.

    A table of echoes needs every angle.  One that the array cannot tell gets the mean and the
    deviation of an angle that nobody knows: a zenith pi/2 and pi/sqrt(12), an azimuth 0 and
    pi/sqrt(3).
    """
    count = len(snapshots.target)
    own = snapshots.transmit_station == snapshots.receive_station
    told = {}
    for end in ("departure", "arrival"):
        for kind, mean, std in (("zenith", 0.5, 12.0), ("azimuth", 0.0, 3.0)):
            name = f"{end}_{kind}"
            unknown = np.isinf(getattr(estimates, f"{name}_std"))
            told[name] = np.where(unknown, mean * np.pi, getattr(estimates, name))
            told[f"{name}_std"] = np.where(
                unknown, np.pi / np.sqrt(std), getattr(estimates, f"{name}_std")
            )
    return Echoes(
        estimates=dataclasses.replace(estimates, **told),
        target=snapshots.target,
        time=snapshots.time,
        station_index=np.zeros(count, dtype=int),
        station=tuple(dict.fromkeys((snapshots.receive_station, snapshots.transmit_station))),
        sender_index=None if own else np.ones(count, dtype=int),
    )
