"""Multipath lists of a measurement campaign as reports.

A sounder's list says for each pose where station and user stood and which way they looked, and for
each path its length, its angles relative to those headings, and its power in decibels.  Names of
columns differ from campaign to campaign: `measured_names` understands them by their words.

Takes a CSV file, or a MATLAB file of structs (nested ones too).
Gives `Reports` in the site's frame: radians from +x, seconds, linear power.
"""

import csv
import math
from pathlib import Path

import numpy as np

from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.reports.importing.measured_names import VECTORS, Quantity, understand
from echoscape.reports.importing.measured_structs import Pose, poses_of_structs
from echoscape.reports.report import Reports
from echoscape.units import wrap_angle

_MOST_TURNED = 20.0  # headings may have been unwrapped over a few turns [rad]
_LONGEST = 3e5  # a longer path is an error of units [m]
_PATH_NEEDS = ("length", "departure")


def read_measured(
    path: str | Path,
    *,
    angle_std: float | None = None,
    length_std: float | None = None,
    clockwise: bool = False,
    station: str = "bs",
) -> Reports:
    """Read the multipath lists of a measurement campaign.

    Args:
        path: A ``.csv`` or ``.mat`` file; see ``docs/formats.md``.
        angle_std: Standard deviation of every angle [rad]; not stated if not given.
        length_std: Standard deviation of every length [m]; not stated if not given.
        clockwise: Whether the angles of the paths run clockwise from the headings.
        station: Name of the base station.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: Something is missing or cannot be right; the message says how to repair it.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; a measured multipath list was needed")
    for name, unit, value in (("angle_std", "rad", angle_std), ("length_std", "m", length_std)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} must be finite and above zero, in {unit}; got {value:g}")
    if path.suffix.lower() == ".csv":
        poses = _poses_of_csv(path)
    elif path.suffix.lower() == ".mat":
        poses = poses_of_structs(path)
    else:
        raise InputError(f"{path} must end in .csv or .mat, which tells the format of the list")
    return _reports(poses, str(path), angle_std, length_std, clockwise, station)


def direct_path_offsets(reports: Reports) -> dict[str, float]:
    """Compare direct paths with the straight line: how the campaign's frame and clock fit.

    A pose has a direct path if its shortest path is about as long as the straight line.

    Returns:
        How many poses have one, the median of length minus distance [m], of departure azimuth minus
        bearing [rad], and of their sizes with the angles as they are and mirrored at the heading
        that the direct paths suggest [rad].
    """
    paths = reports.estimates
    away = reports.position - reports.station_position[reports.station_index]
    distance = np.linalg.norm(away, axis=1)
    length = np.where(paths.valid, paths.length, np.inf)
    first = length.argmin(axis=1)
    rows = np.arange(len(first))
    gap = length[rows, first] - distance
    direct = np.abs(gap) < np.maximum(0.7, 0.05 * distance)
    if not direct.any():
        return {"poses": 0.0}
    bearing = np.arctan2(away[:, 1], away[:, 0])[direct]
    azimuth = np.asarray(paths.departure_azimuth)[rows, first][direct]

    def spread(angle: np.ndarray) -> tuple[float, float]:
        mean = np.angle(np.exp(1j * angle).mean())
        middle = mean + np.median(wrap_angle(angle - mean))
        return float(wrap_angle(middle)), float(np.median(np.abs(wrap_angle(angle - middle))))

    turned, straight = spread(wrap_angle(azimuth - bearing))
    _, mirrored = spread(wrap_angle(-azimuth - bearing))
    return {
        "poses": float(direct.sum()),
        "length": float(np.median(gap[direct])),
        "azimuth": turned,
        "scatter": straight,
        "scatter_mirrored": mirrored,
    }


def _poses_of_csv(path: Path) -> list[Pose]:
    """Gather the rows of a pose; without a column for it, those at one place and time."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
        lines = [line for line in stream if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) < 2:
        raise InputError(f"{path} has no rows; one row for each path was needed below a header")
    table = list(csv.reader(lines))
    header = [name.strip() for name in table[0]]
    found = understand(header, str(path), spelt_out=True)
    poses: dict[tuple, Pose] = {}
    for number, row in enumerate(table[1:], 1):
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {number} has {len(row)} cells, but the header has {len(header)}"
            )
        cells = {q.name: _number(row[k], q, header[k], number, path) for k, q in found.items()}
        vectors = {}
        for vector in VECTORS:
            axes = [cells.pop(f"{vector}_{axis}", math.nan) for axis in "xyz"]
            if not math.isnan(axes[0]):
                vectors[vector] = np.array(axes if not math.isnan(axes[2]) else axes[:2])
        whole = {
            name: cells.pop(name)
            for name in ("station_heading", "user_heading", "time")
            if name in cells
        }
        where = (*vectors.get("user_position", ()), whole.get("time", 0.0))
        key = (cells.pop("pose"),) if "pose" in cells else where
        whole["number"] = key[0] if len(key) == 1 else float(len(poses))
        pose = poses.setdefault(key, {**{k: np.atleast_1d(v) for k, v in whole.items()}, **vectors})
        for name, vector in vectors.items():
            if pose[name].shape != vector.shape or np.abs(pose[name] - vector).max() > 1e-6:
                raise InputError(
                    f"{path}: row {number} has another {name.replace('_', ' ')} than the rows of "
                    "its pose before; give each pose its own number"
                )
        if not all(math.isnan(value) for value in cells.values()):
            for name, value in cells.items():
                pose[name] = np.append(pose.get(name, np.zeros(0)), value)
    return list(poses.values())


def _number(text: str, quantity: Quantity, column: str, row: int, path: Path) -> float:
    if not text.strip() or text.strip().lower() == "nan":
        return math.nan
    try:
        return float(quantity.in_units(np.asarray(float(text))))
    except ValueError:
        raise InputError(
            f"{path}: column {column!r} must hold numbers, but row {row} has {text!r}; leave "
            "unknown cells empty"
        ) from None


def _reports(poses, source, angle_std, length_std, clockwise, station) -> Reports:
    _check_whole(poses, source)
    width = max(1, max(len(pose.get("length", ())) for pose in poses))
    shape = (len(poses), width)
    columns = {name: np.zeros(shape) for name in ("length", "departure", "arrival", "power")}
    zeniths = {name: np.full(shape, np.nan) for name in ("departure_zenith", "arrival_zenith")}
    has_arrival, valid = np.zeros(shape, bool), np.zeros(shape, bool)
    sense = -1.0 if clockwise else 1.0
    for k, pose in enumerate(poses):
        length = pose.get("length", np.zeros(0))
        told = np.isfinite(length)
        power = 10 ** (pose.get("power", np.zeros(len(length))) / 10)
        order = np.flatnonzero(told)[np.argsort(-power[told], kind="stable")]
        take = np.arange(len(order))
        valid[k, take] = True
        columns["length"][k, take], columns["power"][k, take] = length[order], power[order]
        out = pose["station_heading"][0] + sense * pose.get("departure", np.zeros(0))[order]
        columns["departure"][k, take] = wrap_angle(out)
        if "arrival" in pose:
            back = pose["user_heading"][0] + sense * pose["arrival"][order]
            has_arrival[k, take] = np.isfinite(back)
            columns["arrival"][k, take] = np.nan_to_num(wrap_angle(back))
        for name, values in zeniths.items():
            if name in pose:
                values[k, take] = pose[name][order]
    std, exact = 0.0 if angle_std is None else angle_std, np.zeros(shape)

    def zenith(name: str) -> tuple[np.ndarray, np.ndarray]:
        known = np.isfinite(zeniths[name])
        level = np.where(valid, 0.5 * math.pi, 0.0)
        return np.where(known, zeniths[name], level), np.where(known | ~valid, std, np.inf)

    out_zenith, out_std = zenith("departure_zenith")
    back_zenith, back_std = zenith("arrival_zenith")
    position = np.stack([_in_space(pose["user_position"]) for pose in poses])
    station_position = np.stack([_in_space(pose["station_position"]) for pose in poses])
    if np.ptp(station_position, axis=0).max() > 1e-6:
        raise InputError(
            f"{source}: the station stands at several places; split the campaign into one file for "
            "each of them"
        )
    return Reports(
        estimates=PathEstimates(
            departure_azimuth=columns["departure"],
            departure_zenith=out_zenith,
            arrival_azimuth=columns["arrival"],
            arrival_zenith=back_zenith,
            length=columns["length"],
            power=columns["power"],
            departure_azimuth_std=exact + std,
            departure_zenith_std=out_std,
            arrival_azimuth_std=np.where(has_arrival | ~valid, std, np.inf),
            arrival_zenith_std=back_std,
            length_std=exact + (0.0 if length_std is None else length_std),
            valid=valid,
        ),
        position=position,
        position_std=np.zeros(len(poses)),
        time=np.array([float(np.ravel(pose.get("time", 0.0))[0]) for pose in poses]),
        report=_numbers(poses),
        station_index=np.zeros(len(poses), int),
        station_position=station_position[:1],
        station=(station,),
    )


def _numbers(poses: list[Pose]) -> np.ndarray:
    """Keep the poses' own numbers where they are whole and all different."""
    told = np.array([float(np.ravel(pose.get("number", np.nan))[0]) for pose in poses])
    whole = np.isfinite(told).all() and np.all(told == np.floor(told))
    return told.astype(int) if whole and len(set(told)) == len(told) else np.arange(len(poses))


def _in_space(position: np.ndarray) -> np.ndarray:
    """Put a position of the plane at height zero."""
    return np.append(position, 0.0) if len(position) == 2 else position


def _check_whole(poses: list[Pose], source: str) -> None:
    """Refuse poses without what they need, or with numbers that cannot be right."""
    if not poses:
        raise InputError(f"{source} holds no pose; at least one was needed")
    for k, pose in enumerate(poses):
        number = float(np.ravel(pose.get("number", np.nan))[0])
        place = f"{source}: pose {k + 1} of {len(poses)}"
        if np.isfinite(number):
            place = f"{source}: pose {number:g}"
        for name, unit in (("user_position", "m"), ("station_position", "m")):
            if name not in pose or not np.isfinite(pose[name]).all():
                raise InputError(f"{place} lacks {name.replace('_', ' ')} [{unit}]; add it")
        paths = {name: pose[name] for name in pose if name in (*_PATH_NEEDS, "arrival", "power")}
        if not paths:
            continue  # an outage
        for name in _PATH_NEEDS:
            if name not in paths:
                what = (
                    "path length [m] or delay [s]" if name == "length" else "departure angle [rad]"
                )
                raise InputError(
                    f"{place} has paths without {what}; see the names in docs/formats.md"
                )
        sizes = {name: len(values) for name, values in paths.items()}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{size} of {name}" for name, size in sizes.items())
            raise InputError(
                f"{place} needs as many values of each kind as it has paths; got {told}"
            )
        for end, angle in (("station", "departure"), ("user", "arrival")):
            if angle in paths and not np.isfinite(pose.get(f"{end}_heading", [np.nan])).all():
                raise InputError(
                    f"{place} has angles of {angle} but no {end} heading [rad]; add it, zero where "
                    "the angles run from +x"
                )
            turned = float(np.abs(pose.get(f"{end}_heading", np.zeros(1))).max())
            if angle in paths and turned > _MOST_TURNED:
                raise InputError(
                    f"{place} has a {end} heading of {turned:.4g}, which is no radian; if these "
                    "are degrees, end the name in _deg"
                )
            if (
                angle in paths
                and np.abs(np.nan_to_num(paths[angle])).max(initial=0) > 2 * math.pi + 1e-5
            ):
                worst = float(np.nanmax(np.abs(paths[angle])))
                raise InputError(
                    f"{place} has an angle of {angle} of {worst:.4g}, which is no radian; if these "
                    f"are degrees, end the name in _deg"
                )
        length = paths["length"]
        if np.any(length < 0) or np.nanmax(length, initial=0.0) > _LONGEST:
            worst = length[np.nanargmax(np.abs(length))]
            raise InputError(
                f"{place} has a path of {worst:.4g} m; lengths must lie between 0 and 300 km, "
                "delays in seconds unless the name ends in _ns"
            )
        told = np.isfinite(length)
        if np.isnan(paths["departure"][told]).any():
            raise InputError(
                f"{place} has a path without departure angle [rad]; fill it or leave its row out"
            )
        power = paths.get("power", np.zeros(1))
        if np.nanmax(np.abs(power), initial=0.0) > 400:
            raise InputError(
                f"{place} has a power of {power[np.nanargmax(np.abs(power))]:.4g} dB, which is none"
            )
