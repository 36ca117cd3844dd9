"""What `echoscape channel` writes: the channel, an OFDM grid of it, its statistics.

Takes a `ChannelRealization` and names of files.
Gives the files, and what of them belongs into the summary.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoscape.cli.options import check_place

_TITLE = "channel statistics 1"

if TYPE_CHECKING:
    import numpy as np

    from echoscape.channel_model import ChannelRealization


def check_outputs(out: Path | None, grid: Path | None, statistics: Path | None) -> None:
    """Refuse names that nothing can be written to, before the work and not after it."""
    from echoscape.channel_model.channel_file import HDF5_SUFFIXES, check_suffix, require_hdf5
    from echoscape.checks import InputError
    from echoscape.files.npz import check_archive

    given = [path for path in (out, grid, statistics) if path is not None]
    if not given:
        raise InputError("give at least one of --out, --grid and --statistics to write")
    if len(set(given)) < len(given):
        raise InputError("--out, --grid and --statistics need different names")
    if out is not None and check_suffix(out) in HDF5_SUFFIXES:
        require_hdf5()
    if grid is not None:
        check_archive(grid)
    if statistics is not None and statistics.suffix != ".json":
        raise InputError(f"--statistics needs a name that ends in .json; got {statistics}")
    for path in given:
        check_place(path)


def write_outputs(
    channel: "ChannelRealization",
    out: Path | None,
    grid: Path | None,
    statistics: Path | None,
    *,
    subcarriers: int,
    spacing: float,
    window: float | None,
    station: "np.ndarray",
    user: "np.ndarray",
) -> dict[str, Any]:
    """Write what was asked for; give coherence time and bandwidth where statistics were."""
    import jax.numpy as jnp
    import numpy as np

    from echoscape.channel_model import describe_channel, frequency_response, write_channel
    from echoscape.channel_model.response import subcarrier_offsets, write_grid
    from echoscape.files import atomic_path

    if out is not None:
        write_channel(channel, out, station=station, user=user)
    if grid is None and statistics is None:
        return {}
    offset = subcarrier_offsets(subcarriers, spacing)
    response = np.asarray(frequency_response(channel, jnp.asarray(offset)))
    time = np.asarray(channel.time)
    if grid is not None:
        write_grid(response, grid, time=time, offset=offset,
                   carrier_frequency=channel.carrier_frequency)  # fmt: skip
    if statistics is None:
        return {}
    found = {"echoscape": _TITLE, **describe_channel(response, time, spacing, window)}
    with atomic_path(statistics) as temporary:
        Path(temporary).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return {
        "coherence time [ms]": _rounded(found["coherence_time"], 1e3),
        "coherence bandwidth [MHz]": _rounded(found["coherence_bandwidth"], 1e-6),
    }


def _rounded(value: float | None, factor: float) -> float | str:
    return "beyond what was sampled" if value is None else round(factor * value, 4)
