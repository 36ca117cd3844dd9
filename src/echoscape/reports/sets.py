"""What reports, echoes and observations share: sets of paths, checked, counted, and picked.

Takes padded sets of paths with what belongs to a set.
Gives the same, complete and checked, or one sentence.
"""

import dataclasses
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import numpy as np

from echoscape.checks import InputError
from echoscape.display import Displayed, counted, expect, has_values, span
from echoscape.propagation.path import Paths
from echoscape.propagation.path_ranges import check_paths

Sets = TypeVar("Sets", bound="PathSets")
_VALUES = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith", "length")
_MEASURED = (*_VALUES, *(f"{name}_std" for name in _VALUES))


class PathSets(Displayed, eqx.Module):
    """Sets of paths, each of one instant, with what belongs to a set; never instantiated itself."""

    estimates: eqx.AbstractVar[Paths]
    """Paths of every set, shape [set, path] (numpy)."""
    time: eqx.AbstractVar[np.ndarray]
    """When [s]."""
    common: ClassVar[tuple[str, ...]] = ()
    """Fields that belong to no single set."""

    def __post_init__(self):
        self.estimates = set_estimates(self.estimates, type(self).__name__)

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self: Sets, index) -> Sets:
        """Take some sets, by a mask, a slice or numbers of rows; all stations stay."""
        return pick_sets(self, index)


def set_estimates(paths: Any, owner: str) -> Paths:
    """Complete the paths of sets: on the host, what is not known zero with infinite deviation.

    Args:
        paths: Paths, [set, path].
        owner: Who asks, for refusals.

    Raises:
        InputError: They are no paths, or hold no power.
    """
    expect(paths, Paths, owner)
    known: dict[str, Any] = {f.name: getattr(paths, f.name) for f in dataclasses.fields(paths)}
    complete = all(known[name] is not None for name in (*_MEASURED, "power"))
    if complete and isinstance(known["length"], np.ndarray):
        return paths
    if known["power"] is None:
        raise InputError(f"{owner} need the power of every path, received over transmitted [1]")
    shape = np.shape(known["length"])
    for name in _VALUES:
        std = f"{name}_std"
        if known[name] is None:
            known[name], known[std] = np.zeros(shape), np.full(shape, np.inf)
        elif known[std] is None:
            known[std] = np.zeros(shape)
    host: dict[str, Any] = {
        n: None if value is None else np.asarray(value) for n, value in known.items()
    }
    for name, value in host.items():
        if value is not None and value.dtype.kind == "f":
            host[name] = value.astype(np.float64, copy=False)
    return Paths(**host)


def check_sets(
    sets: eqx.Module,
    noun: str,
    number: np.ndarray,
    station_index: np.ndarray | None = None,
    station: tuple[str, ...] = (),
    **numbers: tuple[np.ndarray, tuple[int, ...], str],
) -> None:
    """Refuse sets whose arrays disagree in length or hold impossible values.

    Args:
        sets: With `estimates`.
        noun: What a set is: report, target, instant.
        number: Number of each set.
        station_index: Which station each set belongs to.
        station: Their names.
        numbers: Name to values, the shape of one set's, and the unit; all finite, deviations not
            negative.

    Raises:
        InputError: The first of these that fails.
    """
    paths: Paths = sets.estimates  # pyright: ignore[reportAttributeAccessIssue]
    if not has_values(paths.valid):
        return  # inside a transformation: what it was made of has been checked
    count = len(paths.valid) if paths.valid.ndim == 2 else -1
    if count < 0:
        raise InputError(
            f"paths need the axes [{noun}, path], one row a {noun}; got shape {paths.valid.shape}"
        )
    shapes = {noun: (number, ()), "station_index": (station_index, ())}
    shapes |= {name: (values, inner) for name, (values, inner, _) in numbers.items()}
    for name, (values, inner) in shapes.items():
        if values is not None and np.shape(values) != (count, *inner):
            raise InputError(
                f"{name} must have the shape {(count, *inner)}, one row for each {noun} of the "
                f"paths; got {np.shape(values)}"
            )
    for name, (values, _, unit) in numbers.items():
        bad = ~np.isfinite(values) | ((values < 0) & name.endswith("_std"))
        if bad.any():
            row = int(np.argmax(bad.reshape(count, -1).any(axis=1)))
            came = np.asarray(values)[row]
            needed = "finite and not negative" if name.endswith("_std") else "finite"
            raise InputError(
                f"{name} must be {needed} [{unit}], but {noun} {number[row]} has {came}"
            )
    if station_index is not None and count:
        low, high = int(np.min(station_index)), int(np.max(station_index))
        if low < 0 or high >= len(station):
            raise InputError(
                f"station_index must count the {len(station)} names of station from 0; got {low} "
                f"to {high}"
            )
    check_paths(paths, noun, number)


def pick_sets(sets: Sets, index: Any) -> Sets:
    """Take some sets, by a mask, a slice or numbers of rows.

    Args:
        sets: Reports, echoes or observations.
        index: Which; a single number gives one set.

    Raises:
        InputError: A mask has another length.
    """
    index = np.asarray(index) if not isinstance(index, slice) else index
    if not isinstance(index, slice):
        if index.dtype == bool and index.shape != (len(sets),):
            raise InputError(
                f"a mask needs one entry for each of the {len(sets)} sets; got shape {index.shape}"
            )
        index = np.atleast_1d(index)
    static = {f.name for f in dataclasses.fields(sets) if f.metadata.get("static")}
    values = {}
    for field in dataclasses.fields(sets):
        value = getattr(sets, field.name)
        whole = value is None or field.name in static or field.name in sets.common
        values[field.name] = value if whole else value[index]  # pyright: ignore[reportOptionalSubscript]
    return type(sets)(**values)


def path_rows(paths: Paths, noun: str = "path", plural: str = "paths") -> dict[str, str]:
    """Count the paths of sets, and give the spans of their lengths and powers."""
    valid = np.asarray(paths.valid)
    each = valid.sum(axis=1)
    power = np.asarray(paths.power)[valid]
    known = np.isfinite(np.asarray(paths.arrival_azimuth_std)[valid])
    share = f"{known.mean():.0%}" if len(known) else "none"
    return {
        plural: f"{counted(int(valid.sum()), noun, plural)}, {span(each, 'a set')}",
        "length": span(np.asarray(paths.length)[valid], "m"),
        "power": span(10 * np.log10(power[power > 0]), "dB"),
        "arrival known": share,
    }
