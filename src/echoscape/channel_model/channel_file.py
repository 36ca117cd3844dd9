"""A channel on disk, laid out as Sionna's `cir` interface has it.

Takes a `ChannelRealization`.
Gives a compressed NumPy archive.
"""

from pathlib import Path

import numpy as np

from echoscape.channel_model.coefficient import ChannelRealization
from echoscape.reports import atomic_path


def cir_arrays(channel: ChannelRealization) -> tuple[np.ndarray, np.ndarray]:
    """Lay a channel out for Sionna.

    Returns:
        Coefficients ``[rx, rx_ant, tx, tx_ant, path, time]``, and delays at the first instant
        ``[rx, tx, path]``, which Sionna holds constant, absolute [s].
    """
    coefficient = np.asarray(channel.coefficient).transpose(1, 2, 3, 0)
    delay = np.asarray(channel.delay)
    return coefficient[None, :, None], delay[:1, None]


def write_channel(channel: ChannelRealization, path: str | Path) -> None:
    """Write ``a`` and ``tau`` as `cir_arrays`, and all delays over time, as ``.npz``."""
    a, tau = cir_arrays(channel)
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            a=a.astype(np.complex64),
            tau=tau,
            delay=np.asarray(channel.delay),
            time=np.asarray(channel.time),
            carrier_frequency=channel.carrier_frequency,
        )
