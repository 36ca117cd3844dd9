"""MATLAB structs of a campaign as poses, however they are nested.

A file holds either a struct array with one element for each pose, its paths as vectors or as a
struct array of their own; or one struct of arrays that run over the poses, with the paths of a
pose in a cell or in a row padded by NaN.  What stands above, such as the station's place, holds
for all below.

Takes a ``.mat`` file.
Gives poses: names of quantities and their numbers in SI units, powers in decibels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoscape.checks import InputError
from echoscape.reports.importing.measured_names import Quantity, meaning

Pose = dict[str, np.ndarray]
"""Quantities of one pose by name."""

_PATHS = ("length", "departure", "arrival", "power", "departure_zenith", "arrival_zenith")
_HEADINGS = {"station_position": "station_heading", "user_position": "user_heading"}


def poses_of_structs(path: Path) -> list[Pose]:
    """Read all poses of a MATLAB file.

    Raises:
        InputError: The file is no MATLAB file up to version 7, or holds no poses.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, struct_as_record=False, squeeze_me=True)
    except NotImplementedError as error:
        raise InputError(
            f"{path} is a MATLAB 7.3 file; save it again with the option -v7"
        ) from error
    except (ValueError, TypeError, OSError, KeyError, MatReadError) as error:
        raise InputError(
            f"{path} cannot be read as a MATLAB file ({error}); save it again"
        ) from error
    top = {name: _plain(value) for name, value in content.items() if not name.startswith("__")}
    poses = [_with_headings(pose) for pose in _walk(top, {}, str(path))]
    if not poses:
        raise InputError(
            f"{path} holds no struct with a user's position; it has the fields "
            f"{', '.join(_names(top)) or 'none'}; name them as docs/formats.md says"
        )
    return poses


def _plain(value: Any) -> Any:
    """Turn MATLAB's structs into dictionaries and its cells into lists."""
    if hasattr(value, "_fieldnames"):
        return {name: _plain(getattr(value, name)) for name in value._fieldnames}
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_plain(item) for item in value.ravel()]
    return value


def _names(node: Any, limit: int = 14) -> list[str]:
    """List the names of fields, from the top down."""
    if isinstance(node, list):
        return _names(node[0]) if node else []
    if not isinstance(node, dict):
        return []
    below = [name for value in node.values() for name in _names(value)]
    return [*node, *below][:limit]


def _numeric(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_numeric(item) for item in value)
    return np.asarray(value).dtype.kind in "fiub"


def _walk(node: dict, above: dict[str, Any], source: str) -> Iterator[Pose]:
    """Yield the poses at and below a struct."""
    own, lists = _gather(node, "", source)
    known = {**above, **own}
    place = known.get("user_position")
    if (
        place is not None
        and not isinstance(place, list)
        and np.ndim(place) == 1
        and "user_position" in own
    ):
        for below in lists:  # its paths, one struct each
            rows = [_gather(item, "", source)[0] for item in below]
            names = {name for row in rows for name in row if name in _PATHS}
            for name in names:
                known[name] = np.array([float(np.ravel(row.get(name, np.nan))[0]) for row in rows])
        yield {name: np.ravel(np.asarray(value, float)) for name, value in known.items()}
        return
    if place is not None and "user_position" in own:
        yield from _split(known, source)
        return
    for below in lists:
        for item in below:
            yield from _walk(item, known, source)


def _gather(node: dict, prefix: str, source: str) -> tuple[dict[str, Any], list[list[dict]]]:
    """Collect the quantities of a struct and of single structs in it, and its struct arrays."""
    own: dict[str, Any] = {}
    lists: list[list[dict]] = []
    for name, value in node.items():
        full = f"{prefix}_{name}" if prefix else name
        if isinstance(value, dict):
            inner, more = _gather(value, full, source)
            own.update(inner)
            lists += more
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            lists.append(value)
        elif _numeric(value):
            quantity = meaning(full)
            if quantity is None or quantity.name == "pose":
                continue
            if quantity.name in own:
                raise InputError(
                    f"{source}: two fields mean {quantity.name.replace('_', ' ')}, one of them "
                    f"{full!r}; rename or remove one"
                )
            own[quantity.name] = _in_units(value, quantity)
            if quantity.pose:
                own[f"{quantity.name}_is_pose"] = np.ones(1)
    return _joined(own), lists


def _in_units(value: Any, quantity: Quantity) -> Any:
    if isinstance(value, list):
        return [_in_units(item, quantity) for item in value]
    return quantity.in_units(np.asarray(value, float))


def _joined(own: dict[str, Any]) -> dict[str, Any]:
    """Join x, y and z of a position where they come as three fields."""
    for vector in _HEADINGS:
        axes = [own.pop(f"{vector}_{axis}", None) for axis in "xyz"]
        if axes[0] is not None and axes[1] is not None:
            own[vector] = np.stack([np.asarray(axis) for axis in axes if axis is not None], axis=-1)
    return own


def _split(known: dict[str, Any], source: str) -> Iterator[Pose]:
    """Give each pose its part of arrays that run over the poses."""
    place = np.asarray(known["user_position"], float)
    if place.shape[1] not in (2, 3, 4) and place.shape[0] in (2, 3, 4):
        place = place.T
    count = len(place)
    for k in range(count):
        pose: Pose = {"user_position": place[k]}
        for name, value in known.items():
            if name == "user_position":
                continue
            if isinstance(value, list) and len(value) == count:
                pose[name] = np.ravel(np.asarray(value[k], float))
            elif name in _PATHS:
                rows = np.asarray(value, float)
                if rows.ndim != 2 or count not in rows.shape:
                    raise InputError(
                        f"{source}: the field of {name} needs a cell or a row for each of {count} "
                        f"poses; got an array of shape {rows.shape}"
                    )
                row = rows[k] if rows.shape[0] == count else rows[:, k]
                pose[name] = row
            else:
                array = np.asarray(value, float)
                mine = array.ndim > 0 and len(array) == count and name not in _HEADINGS
                mine |= array.ndim == 2 and len(array) == count
                pose[name] = np.ravel(array[k] if mine else array)
        yield pose


def _with_headings(pose: Pose) -> Pose:
    """Take the heading out of a field called pose, where no other field has it."""
    for position, heading in _HEADINGS.items():
        if pose.pop(f"{position}_is_pose", None) is None:
            continue
        size = len(pose[position])
        if size == 4 or (size == 3 and heading not in pose):
            pose.setdefault(heading, pose[position][-1:])
            pose[position] = pose[position][:-1]
    return pose
