"""MATLAB structs of a campaign as poses, however they are nested.

A file holds either a struct array with one element for each pose, its paths as vectors or as a
struct array of their own; or one struct of arrays that run over the poses, with the paths of a
pose in a cell or in a row padded by NaN.  What stands above, such as the station's place, holds
for all below.

A campaign may also keep the poses in ``sim.tx`` and ``sim.rx`` and the paths of pose k in ``y{k}``.

Takes a ``.mat`` file.
Gives columns, one row a path, under the names of the fields.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoscape.checks import InputError
from echoscape.files.matlab import load_matlab
from echoscape.reports.importing.column_names import meaning

Pose = dict[str, np.ndarray]
"""Fields of one pose by name; positions under ``user_position`` and ``station_position``."""

_PATHS = {
    "length", "delay", "excess_delay", "power", "path_loss", "received_power", "amplitude", "snr",
    "amplitude_real", "amplitude_imaginary", "departure_azimuth", "departure_zenith",
    "departure_elevation", "arrival_azimuth", "arrival_zenith", "arrival_elevation",
}  # fmt: skip
_HEADINGS = {"station_position": "station_heading", "user_position": "user_heading"}
_ENDS = {
    "tx": "station", "bs": "station", "ap": "station", "rx": "user", "ue": "user", "sta": "user",
}  # fmt: skip
_NUMBERED = re.compile(r"^[A-Za-z]+_?(\d+)$")


def columns_of_structs(path: Path) -> dict[str, np.ndarray]:
    """Read all poses of a MATLAB file as columns.

    Raises:
        InputError: The file is no MATLAB file up to version 7, or holds no poses.
    """
    top = load_structs(path)
    if "sim" in top and isinstance(top["sim"], dict):
        top = _numbered_poses(top, str(path))
    poses = [_with_headings(pose) for pose in _walk(top, {}, str(path))]
    if not poses:
        raise InputError(
            f"{path} holds no struct with a user's position; it has the fields "
            f"{', '.join(_names(top)) or 'none'}; name them as docs/formats.md says"
        )
    return _columns(poses, str(path))


def load_structs(path: Path) -> dict[str, Any]:
    """Read a MATLAB file, its structs as dictionaries and its cells as lists."""
    content = load_matlab(path, "a MATLAB file of paths")
    return {name: _plain(value) for name, value in content.items()}


def _numbered_poses(top: dict[str, Any], source: str) -> dict[str, Any]:
    """Give each pose of ``sim`` its paths out of ``y1``, ``y2``, ... beside it or in it."""
    sim = top["sim"]
    around = {**{k: v for k, v in sim.items() if isinstance(v, dict)}, **top}
    paths = {
        int(found[1]): value
        for name, value in around.items()
        if (found := _NUMBERED.match(name)) and isinstance(value, dict)
    }
    ends = {}
    for name, end in _ENDS.items():
        value = sim.get(name)
        if value is not None and _numeric(value):
            rows = np.atleast_2d(np.asarray(value, float))
            if rows.shape[1] not in (2, 3, 4) and rows.shape[0] in (2, 3, 4):
                rows = rows.T
            ends[end] = rows
    if not paths or "user" not in ends or "station" not in ends:
        return top
    users = ends["user"]
    start = min(paths)
    if sorted(paths) != list(range(start, start + len(users))):
        raise InputError(
            f"{source} has {len(users)} poses in sim.rx, but paths y{start} to y{max(paths)}; each "
            "pose needs its own"
        )
    poses = []
    for k, place in enumerate(users):
        station = ends["station"][k if len(ends["station"]) == len(users) else 0]
        poses.append({"rx_pose": place, "tx_pose": station, "pose": k, **paths[start + k]})
    return {"poses": poses}


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
    own, lists = _gather(node, "")
    known = {**above, **own}
    place = own.get("user_position")
    if place is None:
        for _, below in lists:
            for item in below:
                yield from _walk(item, known, source)
        return
    if isinstance(place, list) or np.ndim(place) != 1:
        yield from _split(known, source)
        return
    for prefix, below in lists:  # its paths, one struct each
        rows = [_gather(item, prefix)[0] for item in below]
        for name in {name for row in rows for name in row if _is_path(name)}:
            known[name] = np.array([float(np.ravel(row.get(name, np.nan))[0]) for row in rows])
    yield {name: np.ravel(np.asarray(value, float)) for name, value in known.items()}


def _is_path(name: str) -> bool:
    claim = meaning(name)
    return claim is not None and claim.quantity in _PATHS


def _gather(node: dict, prefix: str) -> tuple[dict[str, Any], list[tuple[str, list[dict]]]]:
    """Collect the fields of a struct and of single structs in it, and its struct arrays."""
    own: dict[str, Any] = {}
    lists: list[tuple[str, list[dict]]] = []
    for name, value in node.items():
        full = f"{prefix}_{name}" if prefix else name
        if isinstance(value, dict):
            inner, more = _gather(value, full)
            own.update(inner)
            lists += more
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            lists.append((full, value))
        elif _numeric(value):
            claim = meaning(full)
            if claim is None:
                continue
            if claim.quantity.endswith("_position"):
                own[claim.quantity] = _array(value)
                if claim.pose:
                    own[f"{claim.quantity}_is_pose"] = np.ones(1)
            elif claim.quantity[-2:] in ("_x", "_y", "_z"):
                own[claim.quantity] = _array(value)
            else:
                own[full] = _array(value)
    return _joined(own), lists


def _array(value: Any) -> Any:
    return [_array(item) for item in value] if isinstance(value, list) else np.asarray(value, float)


def _joined(own: dict[str, Any]) -> dict[str, Any]:
    """Join x, y and z of a position where they come as three fields."""
    for vector in _HEADINGS:
        end = vector.removesuffix("_position")
        axes = [own.pop(f"{end}_{axis}", None) for axis in "xyz"]
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
            elif _is_path(name):
                rows = np.asarray(value, float)
                if rows.ndim not in (1, 2) or count not in rows.shape:
                    raise InputError(
                        f"{source}: the field {name!r} needs a cell or a row for each of {count} "
                        f"poses; got an array of shape {rows.shape}"
                    )
                pose[name] = np.ravel(rows[k] if rows.shape[0] == count else rows[:, k])
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
        claims = {claim.quantity for name in pose if (claim := meaning(name)) is not None}
        if size == 4 or (size == 3 and heading not in claims):
            if heading not in claims:
                pose[heading] = pose[position][-1:]
            pose[position] = pose[position][:-1]
    return pose


def _columns(poses: list[Pose], source: str) -> dict[str, np.ndarray]:
    """Lay poses out as columns, one row a path; a pose without paths keeps one row."""
    for k, pose in enumerate(poses):
        for name, unit in (("user_position", "m"), ("station_position", "m")):
            if name not in pose or not np.isfinite(pose[name]).all():
                raise InputError(
                    f"{source}: pose {k + 1} of {len(poses)} lacks {name.replace('_', ' ')} "
                    f"[{unit}]; add it"
                )
        sizes = {name: len(values) for name, values in pose.items() if _is_path(name)}
        if len(set(sizes.values())) > 1:
            words = ", ".join(f"{size} of {name}" for name, size in sizes.items())
            raise InputError(
                f"{source}: pose {k + 1} of {len(poses)} needs as many values of each kind as it "
                f"has paths; got {words}"
            )
    counts = [max([1, *(len(v) for n, v in pose.items() if _is_path(n))]) for pose in poses]
    names = dict.fromkeys(name for pose in poses for name in pose)
    found: dict[str, np.ndarray] = {}
    for name in names:
        if name in _HEADINGS:
            end = name.removesuffix("_position")
            places = [np.append(pose[name], 0.0)[:3] for pose in poses]
            for axis, values in zip("xyz", np.repeat(np.array(places), counts, axis=0).T):
                found[f"{end}_{axis}"] = values
            continue
        parts = []
        for pose, count in zip(poses, counts):
            values = pose.get(name, np.full(1, np.nan))
            if _is_path(name):
                parts.append(np.resize(values, count) if len(values) else np.full(count, np.nan))
            else:
                parts.append(np.full(count, values[0] if len(values) else np.nan))
        found[name] = np.concatenate(parts)
    if not any((claim := meaning(name)) and claim.quantity == "pose" for name in found):
        found["pose"] = np.repeat(np.arange(len(poses)), counts)
    return found
