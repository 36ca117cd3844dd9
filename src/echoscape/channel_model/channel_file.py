"""A channel on disk: laid out as Sionna's `cir` interface has it, or as `quadriga-lib` reads it.

Takes a `ChannelRealization`, or a file of one.
Gives a compressed NumPy archive, a MATLAB file or an HDF5 file, or the channel again.
"""

import importlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from echoscape.channel_model.coefficient import ChannelRealization
from echoscape.checks import InputError
from echoscape.extras import need
from echoscape.files import atomic_path, check_input, check_size, write_npz
from echoscape.files.matlab import load_matlab
from echoscape.files.npz import Arrays, open_npz

HDF5_SUFFIXES = (".hdf5", ".h5")
"""Endings of names for which `write_channel` writes what `quadriga-lib` reads."""
SUFFIXES = (".npz", ".mat", *HDF5_SUFFIXES)
"""Endings of names that tell the format of a channel."""
_TITLE = "channel 1"
_LARGEST_MATLAB = 2**31 - 4096  # bytes of one variable of a MATLAB file of version 5
_ENTRIES = 65536  # channels that such a file has room for, the library's own default


def cir_arrays(channel: ChannelRealization) -> tuple[np.ndarray, np.ndarray]:
    """Lay a channel out for Sionna.

    Returns:
        Coefficients ``[rx, rx_ant, tx, tx_ant, path, time]``, and delays at the first instant
        ``[rx, tx, path]``, or ``[rx, rx_ant, tx, tx_ant, path]`` where every pair has its own;
        Sionna holds them constant, absolute [s].
    """
    coefficient = np.asarray(channel.coefficient).transpose(1, 2, 3, 0)
    if channel.element_delay is not None:
        return coefficient[None, :, None], np.asarray(channel.element_delay)[0][None, :, None]
    return coefficient[None, :, None], np.asarray(channel.delay)[:1, None]


def write_channel(
    channel: ChannelRealization,
    path: str | Path,
    *,
    station: np.ndarray | None = None,
    user: np.ndarray | None = None,
) -> None:
    """Write a channel in the format that the end of the name tells.

    ``.npz`` and ``.mat`` hold ``a`` and ``tau`` as `cir_arrays`, and all delays over time, in
    double precision; ``.hdf5`` is what `quadriga-lib` reads.

    Args:
        channel: The channel.
        path: File to write.
        station: Position of the station, for HDF5 only; the origin if not given [m].
        user: Position of the user at each time, for HDF5 only; the origin if not given [m].

    Raises:
        InputError: An HDF5 file is asked for, but h5py is not installed; the name tells no
            format; or a MATLAB file cannot hold so much.
    """
    suffix = check_suffix(path)
    if suffix in HDF5_SUFFIXES:
        here = np.zeros((len(channel.time), 3)) if user is None else np.asarray(user, float)
        return _write_hdf5(channel, path, np.zeros(3) if station is None else station, here)
    a, tau = cir_arrays(channel)
    values = {
        "a": a,
        "tau": tau,
        "delay": np.asarray(channel.delay),
        "time": np.asarray(channel.time),
        "carrier_frequency": channel.carrier_frequency,
    }
    if channel.element_delay is not None:
        values["element_delay"] = np.asarray(channel.element_delay)
    if suffix == ".npz":
        return write_npz(path, values, _TITLE)
    if a.nbytes > _LARGEST_MATLAB:
        raise InputError(
            f"{path}: {a.nbytes / 1e9:.2f} GB of coefficients are more than a MATLAB file holds "
            "(2.1 GB); take .npz, a shorter time or smaller arrays"
        )
    from scipy.io import savemat

    antennas = np.array([a.shape[1], a.shape[3]], float)
    with atomic_path(path) as temporary:
        savemat(temporary, {"echoscape": _TITLE, "antennas": antennas, **values})


def read_channel(path: str | Path) -> ChannelRealization:
    """Read a channel that `write_channel` wrote.

    Args:
        path: The file, ``.npz``, ``.mat`` or ``.hdf5``; the last in single precision and with times
            counted from 0, since its layout has none.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is damaged or something else, or h5py is not installed.
    """
    suffix = check_suffix(path)
    if suffix in HDF5_SUFFIXES:
        return _read_hdf5(Path(path))
    if suffix == ".npz":
        with open_npz(path, "a channel") as stored:
            return _channel(stored, stored.array("a", "complex", (1, None, 1, None, None, "time")))
    found = load_matlab(path, "a channel")
    stored = Arrays(str(path), {n: v for n, v in found.items() if n != "echoscape"})
    time = np.atleast_1d(stored.array("time"))
    delay = stored.array("delay")
    antennas = stored.array("antennas", "real", (2,))
    paths = delay.size // max(1, time.size)
    shape = (1, int(antennas[0]), 1, int(antennas[1]), paths, time.size)
    a = stored.array("a", "complex")
    if a.size != np.prod(shape) or delay.size != paths * time.size:
        raise InputError(
            f"{path}: a has {a.size} entries and delay {delay.size}, which do not fit "
            f"{shape[1]} by {shape[3]} antennas and {time.size} times; write it again"
        )
    whole = {"delay": delay.reshape(time.size, paths), "time": time}
    if "element_delay" in found:
        late = stored.array("element_delay")
        if late.size != a.size:
            raise InputError(f"{path}: element_delay has {late.size} entries, not {a.size} as a")
        whole["element_delay"] = late.reshape(time.size, shape[1], shape[3], paths)
    carrier = stored.number("carrier_frequency")
    return _channel(Arrays(str(path), {**whole, "carrier_frequency": carrier}), a.reshape(shape))


def _channel(stored: Arrays, a: np.ndarray) -> ChannelRealization:
    paths, times = a.shape[4:]
    late = None
    if "element_delay" in stored:
        late = stored.array("element_delay", "real", (times, a.shape[1], a.shape[3], paths))
    return ChannelRealization(
        coefficient=jnp.asarray(a[0, :, 0].transpose(3, 0, 1, 2), complex),
        delay=jnp.asarray(stored.array("delay", "real", (times, paths)), float),
        time=jnp.asarray(stored.array("time", "real", (times,)), float),
        carrier_frequency=float(stored.number("carrier_frequency")),
        element_delay=None if late is None else jnp.asarray(late, float),
    )


def check_suffix(path: str | Path) -> str:
    """Refuse a name that tells no format of a channel, or return its end."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path} must end in .npz, .mat or .hdf5, which tells the format of the channel"
        )
    return suffix


def require_hdf5() -> None:
    """Refuse, in one sentence, to write HDF5 where h5py is not installed."""
    need("hdf5", "an HDF5 file", "let the name end in .npz or .mat")


def _write_hdf5(
    channel: ChannelRealization, path: str | Path, station: np.ndarray, user: np.ndarray
) -> None:
    """Write one channel, version 2 of the layout: a group a snapshot, the first axis last."""
    require_hdf5()
    if len(channel.time) < 2:
        raise InputError("an HDF5 file of a channel needs at least two times; take .npz for one")
    h5py = importlib.import_module("h5py")
    coefficient = np.asarray(channel.coefficient)
    delay = np.asarray(channel.delay)[:, None, None]
    if channel.element_delay is not None:
        delay = np.asarray(channel.element_delay)
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
            snapshot.attrs["NumPath"] = unsigned(late.shape[-1])
            snapshot["coeff_re"] = np.real(one).transpose(2, 1, 0).astype(np.float32)
            snapshot["coeff_im"] = np.imag(one).transpose(2, 1, 0).astype(np.float32)
            snapshot["delay"] = late.transpose(2, 1, 0).astype(np.float32)


def _read_hdf5(path: Path) -> ChannelRealization:
    """Read the one channel of a file in the layout of `_write_hdf5`."""
    require_hdf5()
    size = check_input(path, "a channel")
    h5py = importlib.import_module("h5py")
    try:
        with h5py.File(path, "r") as file:
            group = file["channel_1"]
            names = [f"Snap_{k}" for k in range(int(group.attrs["NumSnap"]))]
            shape = group[names[0]]["coeff_re"].shape
            check_size(path, 16 * len(names) * int(np.prod(shape)), "its coefficients")
            real, imaginary, late = (
                np.array([np.asarray(group[name][part], float) for name in names])
                for part in ("coeff_re", "coeff_im", "delay")
            )
            carrier = float(group.attrs["CenterFrequency"])
    except (KeyError, ValueError, TypeError, IndexError, OSError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} ({size} bytes) is no HDF5 file of a channel "
            f"({' '.join(str(error).split())[:100]}); write it again"
        ) from error
    coefficient = (real + 1j * imaginary).transpose(0, 3, 2, 1)
    late = late.transpose(0, 3, 2, 1) if late.ndim == 4 else late
    pairs = late.shape[1:3] in ((1, 1), coefficient.shape[1:3])
    if late.ndim != 4 or late.shape[3] != coefficient.shape[3] or not pairs:
        raise InputError(f"{path}: delays of shape {late.shape[1:]} do not fit the coefficients")
    if not (np.isfinite(coefficient).all() and np.isfinite(late).all()):
        raise InputError(f"{path} must hold finite numbers; it has NaN or infinity")
    return ChannelRealization(
        jnp.asarray(coefficient),
        jnp.asarray(late.mean(axis=(1, 2))),
        jnp.arange(len(names), dtype=float),
        carrier,
        None if late.shape[1:3] == (1, 1) else jnp.asarray(late),
    )
