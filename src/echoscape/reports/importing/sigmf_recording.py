"""SigMF recordings as such: metadata and samples, checked.

Takes the name of a recording.
Gives `Recording`.
"""

import dataclasses
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from echoscape.checks import InputError
from echoscape.files import check_input, check_size, committed

META, DATA = ".sigmf-meta", ".sigmf-data"
_LARGEST_META = 64 * 2**20  # bytes
_TYPE = re.compile(r"^([cr])(f|i|u)(8|16|32|64)(?:_(le|be))?$")


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording's metadata and its samples."""

    path: Path
    """The metadata's file."""
    about: dict[str, Any]
    """The object ``global``."""
    captures: list[dict[str, Any]]
    """Segments by rising start."""
    samples: np.ndarray
    """Samples, one row a time, one column a channel."""

    def start(self, capture: dict[str, Any]) -> int:
        """Count the samples before a capture."""
        start = self.number("core:sample_start", capture)
        offset = self.number("core:offset") or 0
        if start is None or start < offset or start != int(start) or start > 2**53:
            raise InputError(f"{self.path}: core:sample_start of each capture must count samples")
        return int(start - offset)

    def number(self, name: str, holder: dict[str, Any] | None = None) -> float | None:
        """Take a number of ``global``, or of a capture."""
        value = (self.about if holder is None else holder).get(name)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise InputError(
                f"{self.path}: {name} must be a finite number; got {str(value)[:40]!r}"
            )
        return float(value)


def read_recording(path: str | Path) -> Recording:
    """Read metadata and samples of one recording, or refuse it in one sentence."""
    path = Path(path)
    if path.suffix == ".sigmf":
        raise InputError(f"{path} is an archive; unpack it by tar xf and name the recording in it")
    if path.suffix == ".sigmf-collection":
        raise InputError(f"{path} is a collection; name one recording with all channels")
    meta, data = map(committed, files_of(path))
    size = check_input(meta, "the metadata of a SigMF recording")
    if size > _LARGEST_META:
        raise InputError(f"{meta} has {size / 1e6:.0f} MB, more than any metadata; it is damaged")
    try:
        content = json.loads(meta.read_bytes())
        about, captures = content["global"], content["captures"]
        right = isinstance(about, dict) and isinstance(captures, list) and all(
            isinstance(each, dict) for each in captures
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{meta} is no metadata of SigMF ({str(error)[:80]}); write it again"
        ) from None
    if not right or not captures:
        raise InputError(f"{meta} needs an object global and at least one object in captures")
    for name, cure in (
        ("core:metadata_only", "its samples are needed"),
        ("core:dataset", "convert it to a conforming recording"),
        ("core:trailing_bytes", "convert it to a conforming recording"),
    ):
        if about.get(name):
            raise InputError(f"{meta} states {name}, which is not read; {cure}")
    if any(each.get("core:header_bytes") for each in captures):
        raise InputError(f"{meta} states core:header_bytes; convert it to a conforming recording")
    found = Recording(meta, about, captures, np.zeros(0))
    return dataclasses.replace(found, samples=_samples(found, data), captures=sorted(
        captures, key=lambda each: found.start(each)
    ))  # fmt: skip


def _samples(recording: Recording, data: Path) -> np.ndarray:
    kind = _TYPE.match(str(recording.about.get("core:datatype")))
    if kind is None or (kind[3] != "8" and kind[4] is None):
        raise InputError(
            f"{recording.path}: core:datatype must be one of SigMF's, such as cf32_le; got "
            f"{str(recording.about.get('core:datatype'))[:40]!r}"
        )
    if kind[1] == "r" or (kind[2] == "f" and kind[3] in ("8", "16")):
        raise InputError(
            f"{recording.path}: samples of {kind[0]} are no complex baseband; mix them down first"
        )
    channels = recording.number("core:num_channels")
    channels = 1 if channels is None else channels
    if not 1 <= channels <= 2**16 or channels != int(channels):
        raise InputError(
            f"{recording.path}: core:num_channels must count channels; got {channels:g}"
        )
    channels = int(channels)
    size = check_input(data, "the samples of a SigMF recording")
    dtype = np.dtype(f"{'>' if kind[4] == 'be' else '<'}{kind[2]}{int(kind[3]) // 8}")
    one = 2 * dtype.itemsize * channels
    if size % one:
        raise InputError(
            f"{data} has {size} bytes, which are no whole samples of {channels} channels of "
            f"{kind[0]}; it is cut short"
        )
    check_size(data, 16 * (size // (2 * dtype.itemsize)), "its samples")
    content = data.read_bytes()
    stated = recording.about.get("core:sha512")
    if stated is not None and hashlib.sha512(content).hexdigest() != str(stated).lower():
        raise InputError(
            f"{data} is not what was recorded (core:sha512 differs); copy or export both again"
        )
    parts = np.frombuffer(content, dtype).astype(np.float64).reshape(-1, channels, 2)
    if kind[2] != "f":
        full = 2.0 ** (int(kind[3]) - 1)
        parts = (parts - full if kind[2] == "u" else parts) / full
    values = parts[..., 0] + 1j * parts[..., 1]
    if not np.isfinite(values).all():
        raise InputError(f"{data} must hold finite samples; it has NaN or infinity")
    return values


def files_of(path: Path) -> tuple[Path, Path]:
    """Name the files of metadata and of samples of a recording.

    Args:
        path: Name of the recording, with or without the suffix of either.
    """
    if not path.name:
        raise InputError(f"a recording needs a name, such as recording{META}; got {str(path)!r}")
    base = path.with_suffix("") if path.suffix in (META, DATA) else path
    return base.with_name(base.name + META), base.with_name(base.name + DATA)
