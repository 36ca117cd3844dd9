"""SigMF recordings as samples of a channel: what an array received, from time to frequency.

A recording is ``NAME.sigmf-meta`` (JSON) beside ``NAME.sigmf-data``, after the specification of
SigMF 1.2 with its ``spatial`` extension 1.1.  Channels are the elements of the receiving array,
each segment of ``captures`` is a snapshot of one transmitting element: the response to a unit
pulse, or to a stated reference, whose spectrum is then divided out.

Bearings of ``spatial`` are degrees clockwise from true north, geometry is in metres with the
boresight along +x and +z up; the site's +x is east and +y north.

Takes the name of a recording.
Gives `EchoSnapshots` and notes.
"""

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np

from echoscape.checks import InputError
from echoscape.reports.importing.columns_to_rows import Note
from echoscape.reports.importing.sigmf_recording import Recording, read_recording
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform
from echoscape.units import wavenumber_of

MOST_SUBCARRIERS = 65536
"""Longest snapshot: beyond it a recording is one of minutes, not of pulses."""
_WEAKEST = 1e-4  # of a reference's strongest subcarrier; below it nothing was sent there
_STRAIGHT = 1e-3  # departure of elements from an even grid, of their spacing


def read_sigmf(
    path: str | Path,
    subcarriers: int | None = None,
    reference: str | Path | None = None,
    station: str | None = None,
) -> tuple[EchoSnapshots, tuple[Note, ...]]:
    """Read a recording as samples.

    Args:
        path: The recording, with or without its ending.
        subcarriers: Cut every capture into snapshots of so many samples; a capture is one snapshot
            if not given.
        reference: Recording, of one channel, of what was sent in a snapshot; a unit pulse if not
            given.
        station: Name of the station; that in the recording, else ``station``.

    Returns:
        The samples, and what each quantity was taken from.

    Raises:
        FileNotFoundError: A file is missing.
        InputError: It is damaged, or something it needs is missing; the message says what.
    """
    recording = read_recording(path)
    ours = _ours(recording)
    rate = recording.number("core:sample_rate")
    if rate is None or not rate > 0:
        raise InputError(f"{recording.path}: core:sample_rate must be above zero, in Hz; add it")
    segments, used = _segments(recording, subcarriers)
    length = segments.shape[1]
    box = np.stack([_shifted(segments[:, :, k]) for k in range(segments.shape[2])], axis=1)
    notes = [Note("samples", f"{recording.about['core:datatype']}, {segments.shape[2]} channels")]
    if reference is None:
        notes.append(Note("reference", "none given: captures are responses to a unit pulse"))
    else:
        box = box / _reference(read_recording(reference), length)
        notes.append(Note("reference", f"{reference}: its spectrum divided out"))
    name = station or ours.get("station", ["station"])[0]
    listener = station or ours.get("station", ["station", "station"])[-1]
    if ours:
        transmit, receive = (PlanarArray(int(a[0]), int(a[1]), *a[2:])
                             for a in (ours["transmit"], ours["receive"]))  # fmt: skip
        symbols = int(ours["symbols"])
        notes.append(Note("arrays", "echoscape:samples"))
    else:
        receive, order = _array(recording)
        transmit, symbols = PlanarArray(), 1
        box = box[:, order]
        told = f"receiving {receive.rows} by {receive.columns}"
        told += ", from spatial:element_geometry and aperture; transmitting one element"
        notes.append(Note("arrays", told))
    elements = transmit.elements
    if len(box) % elements or box.shape[1] != receive.elements:
        raise InputError(
            f"{recording.path}: {len(box)} captures of {box.shape[1]} channels do not fit "
            f"{elements} transmitting and {receive.elements} receiving elements"
        )
    box = box.reshape(-1, elements, receive.elements, length).transpose(0, 2, 1, 3)
    time, target = _when(recording, used[::elements], rate)
    empty = np.array([bool(c.get("echoscape:empty")) for c, _ in used[::elements]])
    notes.append(Note("waveform", f"core:sample_rate {rate:g} Hz over {length} samples"))
    return EchoSnapshots(
        received=np.ascontiguousarray(box[~empty]),
        target=target[~empty],
        time=time[~empty],
        waveform=Waveform(length, rate / length, symbols),
        transmit=transmit,
        receive=receive,
        transmit_station=name,
        receive_station=listener,
        noise_variance=ours.get("noise_variance"),
        empty=box[empty][0] if empty.any() else None,
    ), tuple(notes)


def _segments(
    recording: Recording, subcarriers: int | None
) -> tuple[np.ndarray, list[tuple[dict[str, Any], int]]]:
    """Cut the samples into snapshots; give each its capture and its start."""
    if subcarriers is not None and not 1 <= subcarriers <= MOST_SUBCARRIERS:
        raise InputError(f"subcarriers must be 1 to {MOST_SUBCARRIERS}; got {subcarriers}")
    starts = [recording.start(each) for each in recording.captures]
    ends = [*starts[1:], len(recording.samples)]
    pieces, used = [], []
    for capture, start, end in zip(recording.captures, starts, ends):
        if end <= start or end > len(recording.samples):
            raise InputError(
                f"{recording.path}: the capture at sample {start} is empty or beyond the "
                f"{len(recording.samples)} samples there are"
            )
        if "spatial:calibration" in capture:
            continue
        step = subcarriers or end - start
        turn = recording.number("spatial:phase_offset", capture) or 0.0
        for at in range(start, end - step + 1, step):
            pieces.append(recording.samples[at : at + step] * np.exp(-1j * math.radians(turn)))
            used.append((capture, at))
    lengths = {len(piece) for piece in pieces}
    if len(lengths) != 1 or max(lengths) > MOST_SUBCARRIERS:
        raise InputError(
            f"{recording.path}: snapshots need one length of at most {MOST_SUBCARRIERS} samples; "
            f"captures have {sorted(lengths)[:4] or 'none'}; state one by --subcarriers"
        )
    return np.stack(pieces), used


def _shifted(time: np.ndarray) -> np.ndarray:
    """Transform responses in time to subcarriers evenly about the carrier, lowest first."""
    count = time.shape[-1]
    turn = np.exp(1j * math.pi * (count - 1) * np.arange(count) / count)
    return np.fft.fft(time * turn, axis=-1)


def _reference(recording: Recording, length: int) -> np.ndarray:
    samples = recording.samples
    if samples.shape != (length, 1):
        raise InputError(
            f"{recording.path}: a reference needs one channel and {length} samples, as a snapshot "
            f"has; got {samples.shape[1]} channels and {len(samples)} samples"
        )
    spectrum = _shifted(samples[:, 0])
    if np.abs(spectrum).min() <= _WEAKEST * np.abs(spectrum).max():
        raise InputError(
            f"{recording.path}: the reference sends nothing on some of its {length} subcarriers, "
            "so that the channel is not known there; send on all of the band that is sampled"
        )
    return spectrum


def _array(recording: Recording) -> tuple[PlanarArray, np.ndarray]:
    """Make the receiving array of the first capture; also the order of channels as ours."""
    capture, path = recording.captures[0], recording.path
    channels = recording.samples.shape[1]
    bearing = capture.get("spatial:aperture_bearing")
    bearing = bearing if isinstance(bearing, dict) else {}
    azimuth = recording.number("azimuth", bearing)
    azimuth = recording.number("spatial:aperture_azimuth", capture) if azimuth is None else azimuth
    elevation = recording.number("elevation", bearing) or 0.0
    if recording.number("spatial:aperture_rotation", capture):
        raise InputError(f"{path}: an aperture turned about its boresight is not read; level it")
    east = 0.0 if azimuth is None else math.remainder(math.radians(90 - azimuth), math.tau)
    look = PlanarArray(azimuth=east, tilt=-math.radians(elevation))
    if channels == 1:
        return look, np.arange(1)
    if azimuth is None:
        raise InputError(
            f"{path}: where the array of {channels} channels looks is not known; add "
            "spatial:aperture_azimuth [degree east of north] to the first capture"
        )
    frequency = recording.number("core:frequency", capture)
    if not frequency or frequency < 0:
        raise InputError(f"{path}: core:frequency [Hz] of the first capture must be above zero")
    points = capture.get("spatial:element_geometry")
    try:
        place = np.array([each["point"] for each in points], float)  # type: ignore[union-attr]
    except (TypeError, KeyError, ValueError):
        place = np.zeros((0, 3))
    if place.shape != (channels, 3) or not np.isfinite(place).all():
        raise InputError(
            f"{path}: spatial:element_geometry of the first capture must have a known point "
            f"(x, y, z) [m] for each of {channels} channels; got {len(place)}"
        )
    return _planar(place * wavenumber_of(frequency), look, path)


def _planar(place: np.ndarray, look: PlanarArray, path: Path) -> tuple[PlanarArray, np.ndarray]:
    """Fit an even upright grid, rows along z and columns along y, to elements [wavelength]."""
    spread = max(np.ptp(place, axis=0).max(), 1e-9)
    rows, columns = (
        np.unique(np.round(place[:, axis] / spread / _STRAIGHT)) * spread * _STRAIGHT
        for axis in (2, 1)
    )
    order = np.lexsort((place[:, 1], np.round(place[:, 2] / spread / _STRAIGHT)))
    grid = {}
    for name, values in (("row", rows), ("column", columns)):
        grid[f"{name}_spacing"] = float((values[-1] - values[0]) / max(1, len(values) - 1)) or 0.5
    found = PlanarArray(len(rows), len(columns), **grid, azimuth=look.azimuth, tilt=look.tilt)
    if found.elements == len(place):
        level = PlanarArray(len(rows), len(columns), **grid)
        sorted_place = place[order] - place.mean(axis=0)
        if np.abs(sorted_place - np.asarray(level.positions())).max() < 5 * _STRAIGHT * spread:
            return found, order
    raise InputError(
        f"{path}: elements must form an even grid across the boresight (+x), rows along z and "
        f"columns along y; spatial:element_geometry has {len(place)} elsewhere"
    )


def _when(recording: Recording, used, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Take time [s] and number of the target of each snapshot."""
    time, target = np.zeros(len(used)), np.arange(len(used))
    for k, (capture, at) in enumerate(used):
        own = recording.number("echoscape:time", capture)
        stamp = capture.get("core:datetime")
        if own is None and stamp is not None:
            try:
                moment = datetime.datetime.fromisoformat(str(stamp).replace("Z", "+00:00"))
                own = moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()
            except ValueError:
                raise InputError(
                    f"{recording.path}: core:datetime must be ISO 8601; got {str(stamp)[:40]!r}"
                ) from None
            own += (at - recording.start(capture)) / rate
        time[k] = at / rate if own is None else own
        number = recording.number("echoscape:target", capture)
        if number is not None and not (abs(number) < 2**53 and number == int(number)):
            raise InputError(f"{recording.path}: echoscape:target must be a whole number")
        target[k] = k if number is None else int(number)
    return time, target


def _ours(recording: Recording) -> dict[str, Any]:
    """Read what our own export says beyond the standard, and check it."""
    stated = recording.about.get("echoscape:samples")
    if stated is None:
        return {}
    try:
        arrays = np.array([stated[name] for name in ("transmit", "receive")], float)
        noise = stated.get("noise_variance")
        right = (
            arrays.shape == (2, 6)
            and np.isfinite(arrays).all()
            and (arrays[:, :2] >= 1).all()
            and (arrays[:, 0] * arrays[:, 1] <= 2**16).all()
            and stated["symbols"] >= 1
            and [type(each) for each in stated["station"]] == [str, str]
            and (noise is None or math.isfinite(noise))
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        right = False
    if not right:
        raise InputError(
            f"{recording.path}: echoscape:samples is damaged; remove it, or write it again"
        )
    return stated
