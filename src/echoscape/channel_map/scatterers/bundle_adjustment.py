"""Scatterers and users' positions adjusted together, from a good start.

A report whose position is two metres wrong still has five lengths of one user; two of them are
spent on the position, three remain for the scatterers.  Gauss-Newton on everything at once (bundle
adjustment), sparse; Cauchy weights limit the influence of wrong reports.

Takes `Bounces` and points that explain most of them.
Gives `Adjusted`: points, places, jitters, and which path follows which point.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import splu

from echoscape.progress import Progress, silent
from echoscape.units import wrap_angle


class Bounces(NamedTuple):
    """All paths of all reports; lengths from the station."""

    report: Int[np.ndarray, " path"]
    place: Float[np.ndarray, "path 3"]
    azimuth: Float[np.ndarray, " path"]
    zenith: Float[np.ndarray, " path"]
    length: Float[np.ndarray, " path"]
    azimuth_std: Float[np.ndarray, " path"]
    zenith_std: Float[np.ndarray, " path"]
    length_std: Float[np.ndarray, " path"]
    place_std: Float[np.ndarray, " path"]
    log_power: Float[np.ndarray, " path"]
    rank: Int[np.ndarray, " path"]


class Adjusted(NamedTuple):
    """Scatterers and users after the adjustment; lengths from the station."""

    point: Float[np.ndarray, "point 3"]
    """Where the scatterers are [m]."""
    covariance: Float[np.ndarray, "point 3 3"]
    """Error of those [m^2]."""
    jitter: Float[np.ndarray, " point"]
    """Standard deviation of each position from one report to the next, in every axis [m]."""
    place: Float[np.ndarray, "report 3"]
    """Where the users were [m]."""
    owner: Int[np.ndarray, " path"]
    """Which point a path goes by; -1 for none."""


def _misses(paths: Bounces, point, place, jitter):
    """Measure how far a path is from a point's, in deviations: angles and length; broadcasts."""
    rho = np.maximum(np.hypot(point[..., 0], point[..., 1]), 1e-3)
    reach = np.sqrt(rho**2 + point[..., 2] ** 2)
    turn = wrap_angle(paths.azimuth - np.arctan2(point[..., 1], point[..., 0]))
    tilt = paths.zenith - np.arctan2(rho, point[..., 2])
    length = reach + np.linalg.norm(place - point, axis=-1)
    return (
        turn / np.hypot(paths.azimuth_std, jitter / rho),
        tilt / np.hypot(paths.zenith_std, jitter / reach),
        (paths.length - length) / np.hypot(paths.length_std, 1.4 * jitter),
    )


def square_misses(paths: Bounces, point, place, jitter):
    """Square the miss, with the reported place's own error in the length."""
    turn, tilt, along = _misses(paths, point, place, jitter)
    own = np.hypot(paths.length_std, 1.4 * jitter)
    return turn**2 + tilt**2 + along**2 * own**2 / (own**2 + paths.place_std**2)


def linearise(paths: Bounces, point, place, jitter, planar):
    """Linearise the misses about points, each path by its own: slopes and rests, in deviations."""
    x, y, z = np.moveaxis(np.broadcast_to(point, place.shape), -1, 0)
    rho = np.maximum(np.hypot(x, y), 1e-3)
    reach = np.hypot(rho, z)
    zero = np.zeros_like(x)
    back = place - point
    legs = np.maximum(np.linalg.norm(back, axis=-1, keepdims=True), 1e-3)
    azimuth = np.stack([-y / rho**2, x / rho**2, zero], -1)
    zenith = np.stack([x * z / rho, y * z / rho, -rho], -1) / (reach**2)[:, None]
    length = np.stack([x, y, z], -1) / reach[:, None] - back / legs
    std = np.stack(
        [
            np.hypot(paths.azimuth_std, jitter / rho),
            np.hypot(paths.zenith_std, jitter / reach),
            np.hypot(paths.length_std, 1.4 * jitter),
        ],
        -1,
    )
    row = np.stack([azimuth, zenith, length], 1) / std[..., None]
    if planar:
        row[:, 1] = 0.0
    return row, np.stack(_misses(paths, point, place, jitter), -1) * ([1, 0, 1] if planar else 1)


def adjust(
    paths: Bounces, point, place, jitter, *, rounds, gate, planar, progress: Progress = silent
) -> Adjusted:
    """Adjust scatterers and users' places together, jitters and followers along with them."""
    given = place * [1.0, 1.0, 0.0 if planar else 1.0]
    place, count = given.copy(), len(point)
    std = np.zeros(len(place))
    std[paths.report] = paths.place_std
    fixed = bool(np.all(std < 0.02))
    jitters = np.full(count, float(jitter))
    owner = np.full(len(paths.report), -1)
    normal = None
    for turn in range(rounds):
        progress(turn, rounds, "adjusting")
        here = place[paths.report]
        square = np.full((len(here), count), np.inf)
        for k in range(count):
            # Until places are adjusted they are only as good as reported.
            known = paths if turn == 0 else paths._replace(place_std=0.3 * paths.place_std)
            square[:, k] = square_misses(known, point[k], here, jitters[k])
        cost = square + 2.0 * np.log(jitters)[None]
        owner = cost.argmin(axis=1)
        owner[square[np.arange(len(owner)), owner] > (2.0 * gate) ** 2] = -1
        mine = np.flatnonzero(owner >= 0)
        used = Bounces(*(column[mine] for column in paths))
        k, n = owner[mine], paths.report[mine]
        row, rest = linearise(used, point[k], here[mine], jitters[k], planar)
        joint = np.sum(rest**2, axis=1)
        trust = np.sqrt(1.0 / (1.0 + joint / 6.0))[:, None]
        row, rest = trust[..., None] * row, trust * rest
        step, normal = _solve(
            row, rest, used, k, n, point, place, given, std, planar, count, fixed, trust[:, 0],
            jitters[k],
        )  # fmt: skip
        point = point + step[: 3 * count].reshape(-1, 3)
        if not fixed:
            place = place.copy()
            place[:, :2] += step[3 * count :].reshape(-1, 2)
        jitters = _jitters(paths, owner, point, jitters, planar)
    assert normal is not None
    inverse = splu(normal.tocsc()).solve(np.eye(normal.shape[0])[:, : 3 * count])
    blocks = inverse[: 3 * count].reshape(count, 3, count, 3)
    covariance = blocks[np.arange(count), :, np.arange(count)]
    if planar:
        covariance = covariance * np.outer([1.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    return Adjusted(point, covariance, jitters, place, owner)


def _solve(row, rest, used, k, n, point, place, given, std, planar, count, fixed, trust, jitters):
    """Solve for the steps of all points, and of all places that are not exact."""
    total = 3 * count + (0 if fixed else 2 * len(place))
    at = np.arange(rest.size).reshape(rest.shape)
    rows = np.repeat(at[..., None], 3, axis=-1)
    columns = np.broadcast_to((3 * k)[:, None, None] + np.arange(3), rows.shape)
    parts = [(row.ravel(), rows.ravel(), columns.ravel())]
    right, size = [rest.ravel()], rest.size
    if not fixed:
        back = place[n] - point[k]
        legs = np.maximum(np.linalg.norm(back, axis=1, keepdims=True), 1e-3)
        lever = (back / legs)[:, :2] * (trust / np.hypot(used.length_std, 1.4 * jitters))[:, None]
        column = 3 * count + 2 * n[:, None] + np.arange(2)
        parts.append((lever.ravel(), np.repeat(at[:, 2], 2), column.ravel()))
        known = 1.0 / np.maximum(std, 1e-3)
        away = (given - place)[:, :2] * known[:, None]
        heavy = 1.0 / np.sqrt(1.0 + np.sum(away**2, axis=1) / 6.0)
        index = np.arange(2 * len(place))
        parts.append((np.repeat(known * heavy, 2), size + index, 3 * count + index))
        right.append((away * heavy[:, None]).ravel())
        size += 2 * len(place)
    value, line, column = (np.concatenate(part) for part in zip(*parts))
    matrix = csr_array(coo_array((value, (line, column)), shape=(size, total)))
    ridge = np.full(total, 1e-9)
    if planar:
        ridge[2 : 3 * count : 3] = 1e12
    normal = matrix.T @ matrix + coo_array((ridge, (np.arange(total),) * 2), shape=(total,) * 2)
    return splu(normal.tocsc()).solve(matrix.T @ np.concatenate(right)), normal


def _jitters(paths: Bounces, owner, point, before, planar):
    """Learn each jitter from its angles: delays hold the places' errors too."""
    jitters = np.zeros(len(point))
    weight = np.zeros(len(point))
    for k in range(len(point)):
        m = owner == k
        rho = np.hypot(point[k, 0], point[k, 1])
        across = rho * wrap_angle(paths.azimuth[m] - np.arctan2(point[k, 1], point[k, 0]))
        if not m.any():
            jitters[k], weight[k] = before[k], 0.0
            continue
        noise = np.median(rho * paths.azimuth_std[m])
        robust = np.median(np.abs(across)) / 0.6745
        jitters[k], weight[k] = np.sqrt(max(robust**2 - noise**2, 0.0)), m.sum()
    pooled = np.sqrt(np.average(jitters**2, weights=np.maximum(weight, 1e-9)))
    mixed = (weight * jitters**2 + 10.0 * pooled**2) / (weight + 10.0)
    return np.maximum(np.sqrt(mixed), 0.02)
