"""The ranges that angles, lengths, powers and their deviations keep, from code or from a file.

A value outside its range is most often one of another unit: degrees, nanoseconds, decibels.  Each
rule here finds the bad values and says what was needed and how to repair them, in the same words
for a column of a table and for an array that a script hands over.

Takes arrays.
Gives the first violated rule, or one sentence.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from echoscape.checks import InputError
from echoscape.units import length_of

if TYPE_CHECKING:
    from echoscape.propagation.path import Paths

LONGEST = 3e5
"""No path is longer [m]: nanoseconds given as seconds are always noticed."""
LARGEST_LENGTH_STD = length_of(1e-5)
"""A larger deviation of a length is one of another unit [m]."""
_ROUNDING = 1e-5  # an angle of pi in single precision is a little above pi
_DEGREES = "if these are degrees, multiply them by pi/180"
_ANGLES = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith")


class Violation(NamedTuple):
    """A rule that some values break."""

    bad: np.ndarray
    """Which values."""
    needed: str
    """What was needed."""
    hint: str = ""
    """How to repair them; empty if nothing is certain."""


def azimuth_violation(values: np.ndarray) -> Violation | None:
    """Check azimuths; NaN is taken as absent [rad]."""
    bad = np.abs(values) > math.pi + _ROUNDING
    if not bad.any():
        return None
    wrapped = np.nanmax(np.abs(values)) <= 2 * math.pi + _ROUNDING and np.nanmin(values) >= 0
    hint = "subtract 2 pi from those above pi" if wrapped else _DEGREES
    return Violation(bad, "must lie between -pi and pi", hint)


def zenith_violation(values: np.ndarray) -> Violation | None:
    """Check angles from +z; NaN is taken as absent [rad]."""
    bad = (values < -_ROUNDING) | (values > math.pi + _ROUNDING)
    if not bad.any():
        return None
    elevation = np.nanmax(np.abs(values)) <= math.pi / 2 + _ROUNDING
    hint = "if these are elevations above the horizon, take pi/2 - elevation"
    return Violation(bad, "must lie between 0 (up) and pi", hint if elevation else _DEGREES)


def length_violation(values: np.ndarray) -> Violation | None:
    """Check lengths; NaN is taken as absent [m]."""
    if (values < 0).any():
        return Violation(values < 0, "must not be negative")
    if (values > LONGEST).any():
        return Violation(
            values > LONGEST, f"must stay below {LONGEST:.3g}",
            "a length is in metres: multiply delays in seconds by the speed of light",
        )  # fmt: skip
    return None


def power_violation(values: np.ndarray) -> Violation | None:
    """Check linear power gains; NaN is taken as absent [1]."""
    if not (values < 0).any():
        return None
    hint = "if these are decibels, take 10**(power/10)"
    return Violation(values < 0, "must not be negative", hint)


def deviation_violation(values: np.ndarray, most: float, hint: str = "") -> Violation | None:
    """Check standard deviations; NaN is taken as absent, infinity as not measured.

    Args:
        values: The deviations.
        most: No finite one is larger.
        hint: What a larger one is likely to be.
    """
    if (values < 0).any():
        return Violation(values < 0, "must not be negative")
    large = np.isfinite(values) & (values > most)
    if large.any():
        return Violation(large, f"must be at most {most:.3g}, or infinite", hint)
    return None


_RULES = {
    **{name: (zenith_violation if "zenith" in name else azimuth_violation, "rad")
       for name in _ANGLES},
    "length": (length_violation, "m"),
    "power": (power_violation, "linear"),
    **{f"{name}_std": (lambda v: deviation_violation(v, math.pi, _DEGREES), "rad")
       for name in _ANGLES},
    "length_std": (lambda v: deviation_violation(v, LARGEST_LENGTH_STD), "m"),
}  # fmt: skip


def check_paths(paths: "Paths", owner: str = "set", number: np.ndarray | None = None) -> None:
    """Refuse paths whose fields disagree in shape or, held by numpy, leave their range.

    Arrays of JAX are results of computation and are not looked into, traced or not.

    Args:
        paths: Any paths.
        owner: What a set of paths belongs to: a report, a target.
        number: The number of each set; counted from 0 if not given.

    Raises:
        InputError: A field has another shape, or a value is not possible.
    """
    shape = np.shape(paths.valid)
    for name, field in paths.__dataclass_fields__.items():
        values = getattr(paths, name)
        if not isinstance(values, np.ndarray | jax.Array):
            continue  # not given; or without a value yet, inside a transformation
        inner = {"covariance": 2, "first_bounce": 1, "last_bounce": 1}.get(field.name, 0)
        if values.shape[: values.ndim - inner] != shape:
            raise InputError(
                f"all fields of paths need one entry for each path: valid has the shape {shape}, "
                f"but {name} has {values.shape}"
            )
    valid = paths.valid
    if not isinstance(valid, np.ndarray):
        return
    for name, (rule, unit) in _RULES.items():
        values = getattr(paths, name)
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            _check(name, unit, rule, values, valid, owner, number)


def _check(name, unit, rule, values, valid, owner: str, number: Any) -> None:
    used = values[valid]
    unknown = np.isnan(used) if name.endswith("_std") else ~np.isfinite(used)
    found = Violation(unknown, "must be a number") if unknown.any() else rule(used)
    if found is None:
        return
    at = int(np.argmax(found.bad))
    index = tuple(int(axis[at]) for axis in np.nonzero(valid))
    where = f"path {index[-1]}"
    if len(index) > 1:
        count = index[0] if number is None else number[index[0]]
        where = f"{owner} {count}, {where}"
    raise InputError(
        f"{name} {found.needed} [{unit}], but {where} has {used[at]:.6g}"
        f"{'; ' + found.hint if found.hint else ''}"
    )
