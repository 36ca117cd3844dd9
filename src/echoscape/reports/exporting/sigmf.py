"""Samples of a channel as a SigMF recording: a capture a snapshot and transmitting element.

Each capture is the response of all receiving elements to a unit pulse of one transmitting
element, sampled at the bandwidth.  The receiving array stands in the fields of the ``spatial``
extension; what these lack is in ``echoscape:``, an optional namespace of our own.

Takes `EchoSnapshots` and the carrier.
Gives ``NAME.sigmf-meta`` and ``NAME.sigmf-data``.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

from echoscape.checks import InputError
from echoscape.files import atomic_files, check_output
from echoscape.files.output import is_protecting, is_written_here, protecting
from echoscape.reports.importing.sigmf_recording import files_of
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots
from echoscape.units import wavelength_of

_FIELDS = ("rows", "columns", "row_spacing", "column_spacing", "azimuth", "tilt")


def write_sigmf(snapshots: EchoSnapshots, path: str | Path, carrier: float) -> tuple[Path, Path]:
    """Write samples as a recording; `read_sigmf` reads them back to rounding.

    Args:
        snapshots: The samples.
        path: Name of the recording, with or without ``.sigmf-meta``.
        carrier: Carrier frequency [Hz]; the spacing of elements in metres follows from it.

    Returns:
        The files of metadata and of samples.
    """
    if not 1e6 < carrier < 1e15:
        raise InputError(f"carrier must be a frequency in Hz, such as 28e9; got {carrier:g}")
    path = Path(path)
    meta, data = files_of(path)
    box = snapshots.received
    marks = [
        {"echoscape:target": int(target), "echoscape:time": float(time)}
        for target, time in zip(snapshots.target, snapshots.time)
    ]
    if snapshots.empty is not None:
        box = np.concatenate([box, snapshots.empty[None]])
        marks.append({"echoscape:empty": True})
    count, receive, transmit, length = box.shape
    turn = np.exp(-1j * math.pi * (length - 1) * np.arange(length) / length)
    pulses = (np.fft.ifft(box, axis=-1) * turn).transpose(0, 2, 3, 1)
    samples = np.ascontiguousarray(pulses.reshape(-1, receive)).astype("<c16")
    about = {
        "core:datatype": "cf64_le",
        "core:sample_rate": snapshots.waveform.bandwidth,
        "core:version": "1.2.0",
        "core:num_channels": receive,
        "core:sha512": hashlib.sha512(samples.tobytes()).hexdigest(),
        "core:recorder": "echoscape",
        "core:description": "Responses of a channel to a unit pulse, a capture for each snapshot "
        "and transmitting element.",
        "core:extensions": [
            {"name": "spatial", "version": "1.1.0", "optional": True},
            {"name": "echoscape", "version": "1.0.0", "optional": True},
        ],
        "spatial:num_elements": receive,
        "spatial:channel_index": 0,
        "echoscape:samples": {
            "transmit": _numbers(snapshots.transmit),
            "receive": _numbers(snapshots.receive),
            "symbols": snapshots.waveform.symbols,
            "station": [snapshots.transmit_station, snapshots.receive_station],
            "noise_variance": snapshots.noise_variance,
        },
    }
    aperture = _aperture(snapshots.receive, carrier)
    captures = [
        {
            "core:sample_start": (k * transmit + element) * length,
            "core:frequency": carrier,
            **aperture,
            **marks[k],
            "echoscape:element": element,
        }
        for k in range(count)
        for element in range(transmit)
    ]
    content = {"global": about, "captures": captures, "annotations": []}
    check_output(meta)
    # Samples carry no name: they are ours where their metadata are.
    ours = not is_protecting() or is_written_here(meta)
    with protecting(ours), atomic_files(meta, data) as (new_meta, new_data):
        new_data.write_bytes(np.ascontiguousarray(samples).data)  # tofile says not why it fails
        new_meta.write_text(json.dumps(content, indent=1) + "\n")
    return meta, data


def _numbers(array: PlanarArray) -> list[float]:
    return [float(getattr(array, name)) for name in _FIELDS]


def _aperture(array: PlanarArray, carrier: float) -> dict[str, object]:
    """Describe an array by the fields of ``spatial``: bearing and places of its elements."""
    level = PlanarArray(array.rows, array.columns, array.row_spacing, array.column_spacing)
    metres = np.asarray(level.positions(), float) * wavelength_of(carrier)
    azimuth = (90 - math.degrees(array.azimuth)) % 360
    return {
        "spatial:aperture_bearing": {
            "azimuth": azimuth, "elevation": -math.degrees(array.tilt),
        },
        "spatial:element_geometry": [{"point": point} for point in metres.tolist()],
    }  # fmt: skip
