"""A channel on disk: laid out as Sionna's `cir` interface has it, or as `quadriga-lib` reads it.

Takes a `ChannelRealization`.
Gives a compressed NumPy archive, or an HDF5 file.
"""

import importlib
import importlib.util
from pathlib import Path

import numpy as np

from echoscape.channel_model.coefficient import ChannelRealization
from echoscape.checks import InputError
from echoscape.files import atomic_path, write_npz

HDF5_SUFFIXES = (".hdf5", ".h5")
"""Endings of names for which `write_channel` writes what `quadriga-lib` reads."""
_ENTRIES = 65536  # channels that such a file has room for, the library's own default


def cir_arrays(channel: ChannelRealization) -> tuple[np.ndarray, np.ndarray]:
    """Lay a channel out for Sionna.

    Returns:
        Coefficients ``[rx, rx_ant, tx, tx_ant, path, time]``, and delays at the first instant
        ``[rx, tx, path]``, which Sionna holds constant, absolute [s].
    """
    coefficient = np.asarray(channel.coefficient).transpose(1, 2, 3, 0)
    delay = np.asarray(channel.delay)
    return coefficient[None, :, None], delay[:1, None]


def write_channel(
    channel: ChannelRealization,
    path: str | Path,
    *,
    station: np.ndarray | None = None,
    user: np.ndarray | None = None,
) -> None:
    """Write a channel, as ``.npz`` or, where the name ends in ``.hdf5``, for `quadriga-lib`.

    The archive holds ``a`` and ``tau`` as `cir_arrays`, and all delays over time.

    Args:
        channel: The channel.
        path: File to write.
        station: Position of the station, for HDF5 only; the origin if not given [m].
        user: Position of the user at each time, for HDF5 only; the origin if not given [m].

    Raises:
        InputError: An HDF5 file is asked for, but h5py is not installed; or the name tells no
            format.
    """
    if Path(path).suffix in HDF5_SUFFIXES:
        here = np.zeros((len(channel.time), 3)) if user is None else np.asarray(user, float)
        return _write_hdf5(channel, path, np.zeros(3) if station is None else station, here)
    if Path(path).suffix != ".npz":
        raise InputError(f"{path} must end in .npz or .hdf5, which tells the format of the channel")
    a, tau = cir_arrays(channel)
    write_npz(
        path,
        {
            "a": a,
            "tau": tau,
            "delay": channel.delay,
            "time": channel.time,
            "carrier_frequency": channel.carrier_frequency,
        },
        "channel 1",
    )


def require_hdf5() -> None:
    """Refuse, in one sentence, to write HDF5 where h5py is not installed."""
    if importlib.util.find_spec("h5py") is None:
        raise InputError(
            "an HDF5 file needs h5py, which is not installed; install it by "
            "`pip install 'echoscape[hdf5]'`, or let the name end in .npz"
        )


def _write_hdf5(
    channel: ChannelRealization, path: str | Path, station: np.ndarray, user: np.ndarray
) -> None:
    """Write one channel, version 2 of the layout: a group a snapshot, the first axis last."""
    require_hdf5()
    if len(channel.time) < 2:
        raise InputError("an HDF5 file of a channel needs at least two times; take .npz for one")
    h5py = importlib.import_module("h5py")
    coefficient, delay = np.asarray(channel.coefficient), np.asarray(channel.delay)
    order = np.zeros(_ENTRIES, np.uint32)
    order[0] = 1
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["generator"] = "echoscape"
        file["ChannelDims"] = np.array([_ENTRIES, 1, 1, 1], np.uint32)
        file["Order"] = order
        file["Version"] = np.uint32(2)
        group = file.create_group("channel_1")
        still = np.zeros(3, np.float32)
        unsigned = np.uint32
        group.attrs.update(
            {
                "Name": np.bytes_(b"echoscape"),
                "CenterFrequency": np.float32(channel.carrier_frequency),
                "Initial_position": np.int32(0),
                "NumRx": unsigned(coefficient.shape[1]),
                "NumTx": unsigned(coefficient.shape[2]),
                "NumSnap": unsigned(len(coefficient)),
                "rx_orientation": still,
                "tx_orientation": still,
                "rx_position": still,
                "tx_position": np.asarray(station, np.float32),
            }
        )
        group["rx_position"] = user.astype(np.float32)
        for k, (one, late) in enumerate(zip(coefficient, delay, strict=True)):
            snapshot = group.create_group(f"Snap_{k}")
            snapshot.attrs["NumPath"] = unsigned(len(late))
            snapshot["coeff_re"] = np.real(one).transpose(2, 1, 0).astype(np.float32)
            snapshot["coeff_im"] = np.imag(one).transpose(2, 1, 0).astype(np.float32)
            snapshot["delay"] = late[:, None, None].astype(np.float32)
