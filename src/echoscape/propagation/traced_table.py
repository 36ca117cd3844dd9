"""Flat tables of ray-traced paths, checked as tables of reports are.

Rows ``offset[k]`` to ``offset[k + 1]`` are the paths of user k, or of one user at time k.  Angles
are azimuths and elevations in radians, delays nanoseconds; ``docs/formats.md`` lists all arrays.

Takes an ``.npz`` file, or its arrays.
Gives the arrays that exist, finite, in range and of shapes that agree.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from echoscape.checks import InputError, nearest_name
from echoscape.files.npz import Arrays, Kind, open_npz
from echoscape.units import length_of

_Shape = tuple[int | str | None, ...]
_ARRAYS: dict[str, tuple[Kind, _Shape]] = {
    "offset": ("integer", ("user + 1",)),
    "pos": ("real", ("user", 3)),
    "t": ("real", ("user",)),
    "vel": ("real", ("user", 3)),
    "los": ("boolean", ("user",)),
    "bs_pos": ("real", (3,)),
    "tx_pos": ("real", (3,)),
    "tau_ns": ("real", ("row",)),
    "aod": ("real", ("row",)),
    "eod": ("real", ("row",)),
    "aoa": ("real", ("row",)),
    "eoa": ("real", ("row",)),
    "a_re": ("real", ("row",)),
    "a_im": ("real", ("row",)),
    "A_re": ("real", ("row", 2, 2)),
    "A_im": ("real", ("row", 2, 2)),
    "doppler_hz": ("real", ("row",)),
    "nb": ("integer", ("row",)),
    "track": ("integer", ("row",)),
    "dup": ("boolean", ("row",)),
    "vert": ("real", ("row", "vertex", 3)),
}
_ROUNDING = 1e-5  # an angle of pi in single precision is a little above pi
_LONGEST = 1e6  # 300 km, as in tables of reports [ns]
_LOUDEST = 1.0 + 1e-6  # largest power gain of a passive path


def traced_arrays(
    source: str | Path | Mapping[str, np.ndarray], needed: Sequence[str]
) -> dict[str, np.ndarray]:
    """Read and check a flat table of ray-traced paths.

    Args:
        source: An ``.npz`` file or its arrays; unknown arrays are left out, unread.
        needed: Arrays that must be there.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: An array is missing, of another shape, not finite or out of range.
    """
    if isinstance(source, Mapping):
        return _checked(Arrays("the ray-traced table", source), needed)
    with open_npz(source, "a ray-traced .npz table") as archive:
        return _checked(archive, needed)


def _checked(stored: Arrays, needed: Sequence[str]) -> dict[str, np.ndarray]:
    for name in needed:
        if name not in stored:
            near = nearest_name(name, [key for key in stored if key not in _ARRAYS])
            hint = f"rename {near!r}" if near else "the layout is described in docs/formats.md"
            raise InputError(f"{stored.source} has no array {name!r}; {hint}")
    table = {}
    for name, (kind, shape) in _ARRAYS.items():
        if name in stored:
            table[name] = stored.array(name, kind, shape, finite=name != "vert")
    _check_offset(stored.source, table)
    _check_angles(stored.source, table)
    _check_delays(stored.source, table)
    _check_gains(stored.source, table)
    if "nb" in table and "vert" in table:
        bounces, most = table["nb"], table["vert"].shape[1]
        if len(bounces) and (bounces.min() < 0 or bounces.max() > most):
            raise InputError(
                f"{stored.source}: nb must lie between 0 and {most}, the vertices in vert; got "
                f"{bounces.min()} to {bounces.max()}"
            )
    return table


def _check_offset(source: str, table: Mapping[str, np.ndarray]) -> None:
    if "offset" not in table or "tau_ns" not in table:
        return
    offset, rows = table["offset"], len(table["tau_ns"])
    users = next((len(table[name]) for name in ("pos", "t") if name in table), len(offset) - 1)
    if (
        len(offset) != users + 1
        or len(offset) == 0
        or offset[0] != 0
        or offset[-1] != rows
        or (offset[1:] < offset[:-1]).any()
    ):
        raise InputError(
            f"{source} needs {users + 1} rising numbers in offset, from 0 to {rows}, its rows; got "
            f"{len(offset)}, {'none' if not len(offset) else f'{offset[0]} to {offset[-1]}'}"
        )


def _check_angles(source: str, table: Mapping[str, np.ndarray]) -> None:
    degrees = "if these are degrees, multiply them by pi/180"
    for name, most, words in (
        ("aod", 2 * math.pi, "azimuths between -2 pi and 2 pi"),
        ("aoa", 2 * math.pi, "azimuths between -2 pi and 2 pi"),
        ("eod", 0.5 * math.pi, "elevations between -pi/2 and pi/2"),
        ("eoa", 0.5 * math.pi, "elevations between -pi/2 and pi/2"),
    ):
        if name not in table or not len(table[name]):
            continue
        largest, lowest = np.abs(table[name]).max(), table[name].min()
        if largest > most + _ROUNDING:
            zenith = name[0] == "e" and lowest >= 0 and largest <= math.pi + _ROUNDING
            hint = "if these are angles from +z, take pi/2 - angle" if zenith else degrees
            raise InputError(
                f"{source}: {name} must hold {words}, in rad, but row "
                f"{int(np.argmax(np.abs(table[name])))} has {largest:.6g} in size; {hint}"
            )


def _check_delays(source: str, table: Mapping[str, np.ndarray]) -> None:
    if "tau_ns" not in table or not len(table["tau_ns"]):
        return
    delay = table["tau_ns"]
    if delay.min() < 0:
        raise InputError(f"{source}: tau_ns must not be negative, in ns; got {delay.min():g}")
    if delay.max() > _LONGEST:
        raise InputError(
            f"{source}: tau_ns must stay below {_LONGEST:g} ns, 300 km; got {delay.max():g}; if "
            "these are picoseconds, multiply them by 1e-3"
        )
    station = table.get("bs_pos", table.get("tx_pos"))
    if "pos" in table and station is not None and len(table["pos"]):
        farthest = np.linalg.norm(table["pos"] - station, axis=1).max()
        if length_of(1e-9 * delay.max()) < 0.1 * farthest:
            raise InputError(
                f"{source}: the longest delay in tau_ns, {delay.max():g} ns, is far shorter than "
                f"the way to a user {farthest:.4g} m away; if these are seconds, multiply them by "
                "1e9; relative delays cannot be used"
            )


def _check_gains(source: str, table: Mapping[str, np.ndarray]) -> None:
    for real, imaginary in (("a_re", "a_im"), ("A_re", "A_im")):
        if real in table and imaginary in table and table[real].size:
            largest = np.hypot(table[real].astype(float), table[imaginary]).max()
            if largest**2 > _LOUDEST:
                raise InputError(
                    f"{source}: {real} and {imaginary} must be amplitudes of received over "
                    f"transmitted field, at most 1, but the largest is {largest:.4g}; if these "
                    "are decibels or in other units, convert them"
                )
