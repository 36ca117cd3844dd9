"""Where point scatterers are, from reports alone: consensus, then everything adjusted at once.

A report's path inverts in closed form to the one point that explains it, ``r = (D^2 - |q|^2) / 2
(D - u.q)`` along its angle; points that many reports agree on are scatterers.  Then scatterers and
users' places are adjusted together (a bundle adjustment): a report that is two metres off in place
still has five delays of one user, and two unknowns leave three of them good to the sway.  Weights
after Cauchy keep wrong reports from pulling.

Takes `Reports` of one station.
Gives a `ScattererMap`.
"""

from typing import NamedTuple

import numpy as np
import pydantic
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import splu

from echoscape.channel_map.scatterers import ScattererMap
from echoscape.channel_map.station_reports import reports_of_station
from echoscape.checks import Refusal
from echoscape.reports import Reports
from echoscape.units import SPEED_OF_LIGHT, wrap_angle

_SEEDS = 600  # paths whose points are tried in one round
_VOTERS = 6000  # paths that vote
_HEARD_SHARE = 0.5  # less often heard where it should be, it is a coincidence of wrong reports


class ScattererSettings(pydantic.BaseModel):
    """How scatterers are searched."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    sway: float = pydantic.Field(default=0.5, gt=0)
    """How far a scatterer may stray from its place, before that is learnt [m]."""
    least_followers: int = pydantic.Field(default=4, ge=3)
    """Fewest paths that make a scatterer."""
    listed: int = pydantic.Field(default=5, ge=1)
    """Strongest paths that a receiver lists: presence is the probability of being among them."""
    rounds: int = pydantic.Field(default=12, ge=1)
    """Rounds of the adjustment."""
    gate: float = pydantic.Field(default=3.5, gt=0)
    """Standard deviations within which a path follows a scatterer."""


class _Bounces(NamedTuple):
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


def fit_scatterers(
    reports: Reports, *, station: str | None = None, settings: ScattererSettings | None = None,
    seed: int = 0,
) -> ScattererMap:  # fmt: skip
    """Reconstruct the scatterers of a world of single bounces.

    Paths that bounce otherwise are left aside as wrong ones; a world of walls needs the map of
    anchors instead.

    Args:
        reports: Reports of one or several stations.
        station: Which station; may be left out if there is only one.
        settings: How to search.
        seed: Seed of the draws.

    Raises:
        Refusal: No point explains enough paths.
    """
    settings = settings or ScattererSettings()
    reports = reports_of_station(reports, station)
    origin = np.asarray(reports.station_position[0], dtype=float)
    paths, planar = _bounces(reports, origin)
    points = _consensus(paths, settings, planar, np.random.default_rng(seed))
    if not len(points):
        raise Refusal(
            f"no point explains {settings.least_followers} of the {len(paths.report)} paths as "
            "single bounces; fit the model 'anchors', which knows walls"
        )
    place, sway = np.asarray(reports.position - origin, dtype=float), settings.sway
    fitted = _adjust(paths, points, place, sway, settings, planar)
    while True:
        strength, fluctuation, seen, share = _strengths(paths, fitted, settings)
        real = _real(fitted, share, sway)
        if real.all():
            break
        fitted = _adjust(paths, fitted.point[real], place, sway, settings, planar)
    at_place = np.eye(3) * [1.0, 1.0, 0.0 if planar else 1.0]
    return ScattererMap(
        scatterer=fitted.point + origin,
        covariance=fitted.sway[:, None, None] ** 2 * at_place + fitted.covariance,
        log_gain=strength,
        log_power_std=fluctuation,
        seen=seen,
        report_position=np.asarray(reports.position, dtype=float),
        station_position=origin,
        station=reports.station[0],
        listed=settings.listed,
        planar=planar,
    )


def _real(fitted: "_Fitted", share, sway) -> np.ndarray:
    """Tell scatterers from their doubles and from coincidences, the worst half at a time."""
    count = len(share)
    followers = np.bincount(fitted.owner[fitted.owner >= 0], minlength=count)
    apart = np.linalg.norm(fitted.point[:, None] - fitted.point[None], axis=2)
    place = np.argsort(np.argsort(-followers, kind="stable"))
    stronger = place[None] < place[:, None]
    double = np.any((apart < 2.0 * sway) & stronger, axis=1)
    if double.any():
        return ~double
    doubtful = np.flatnonzero(share < _HEARD_SHARE)
    real = np.ones(count, dtype=bool)
    real[doubtful[np.argsort(share[doubtful])][: -(-len(doubtful) // 2)]] = False
    return real if real.any() else ~real


class _Fitted(NamedTuple):
    point: np.ndarray
    covariance: np.ndarray
    sway: np.ndarray
    place: np.ndarray
    owner: np.ndarray


def _bounces(reports: Reports, origin) -> tuple[_Bounces, bool]:
    paths = reports.estimates
    report, rank = np.nonzero(np.asarray(paths.valid))
    take = (report, rank)
    zenith_std = np.asarray(paths.departure_zenith_std)[take]
    planar = not np.isfinite(zenith_std).any()
    place = np.asarray(reports.position - origin, dtype=float)[report]
    if planar:
        place = place * [1.0, 1.0, 0.0]
    zenith = np.where(np.isfinite(zenith_std), np.asarray(paths.departure_zenith)[take], np.pi / 2)
    power = np.asarray(paths.power)[take]
    return _Bounces(
        report=report,
        place=place,
        azimuth=np.asarray(paths.departure_azimuth)[take],
        zenith=zenith,
        length=SPEED_OF_LIGHT * np.asarray(paths.delay)[take],
        azimuth_std=np.asarray(paths.departure_azimuth_std)[take],
        zenith_std=np.where(np.isfinite(zenith_std), zenith_std, 1e3),
        length_std=SPEED_OF_LIGHT * np.asarray(paths.delay_std)[take],
        place_std=np.asarray(reports.position_std)[report],
        log_power=np.log(np.where(power > 0, power, np.nan)),
        rank=rank,
    ), planar  # fmt: skip


def _point_of(paths: _Bounces) -> np.ndarray:
    """Invert each path to the point that alone would explain it; NaN where none can."""
    level = np.sin(paths.zenith)
    out = np.stack(
        [level * np.cos(paths.azimuth), level * np.sin(paths.azimuth), np.cos(paths.zenith)], -1
    )
    slack = paths.length - np.sum(out * paths.place, axis=1)
    good = slack > 1e-6 * np.maximum(paths.length, 1.0)
    reach = (paths.length**2 - np.sum(paths.place**2, axis=1)) / (2 * np.where(good, slack, 1.0))
    good &= (reach > 0.1) & (reach < paths.length)
    return np.where(good[:, None], reach[:, None] * out, np.nan)


def _misses(paths: _Bounces, point, place, sway):
    """Measure how far a path is from a point's, in deviations: angles and length; broadcasts."""
    rho = np.maximum(np.hypot(point[..., 0], point[..., 1]), 1e-3)
    reach = np.sqrt(rho**2 + point[..., 2] ** 2)
    turn = wrap_angle(paths.azimuth - np.arctan2(point[..., 1], point[..., 0]))
    tilt = paths.zenith - np.arctan2(rho, point[..., 2])
    length = reach + np.linalg.norm(place - point, axis=-1)
    return (
        turn / np.hypot(paths.azimuth_std, sway / rho),
        tilt / np.hypot(paths.zenith_std, sway / reach),
        (paths.length - length) / np.hypot(paths.length_std, 1.4 * sway),
    )


def _square(paths: _Bounces, point, place, sway):
    """Square the miss, with the reported place's own error in the length."""
    turn, tilt, along = _misses(paths, point, place, sway)
    own = np.hypot(paths.length_std, 1.4 * sway)
    return turn**2 + tilt**2 + along**2 * own**2 / (own**2 + paths.place_std**2)


def _consensus(paths: _Bounces, settings: ScattererSettings, planar, rng) -> np.ndarray:
    """Take the point that most paths agree on, again and again."""
    start, gate = _point_of(paths), settings.gate**2
    free = np.ones(len(paths.report), dtype=bool)
    found: list[np.ndarray] = []
    for _ in range(200):
        left = np.flatnonzero(free & np.isfinite(start[:, 0]))
        if len(left) < settings.least_followers:
            break
        seeds = left if len(left) <= _SEEDS else rng.choice(left, _SEEDS, replace=False)
        voters = np.flatnonzero(free)
        if len(voters) > _VOTERS:
            voters = rng.choice(voters, _VOTERS, replace=False)
        some = _Bounces(*(column[voters] for column in paths))
        square = _square(some, start[seeds][:, None], some.place, settings.sway)
        vote = np.maximum(0.0, 1.0 - square / gate)
        new = 0
        for k in np.argsort(-vote.sum(axis=1), kind="stable")[:40]:
            if not free[seeds[k]]:
                continue
            point, member = _grow(paths, free, start[seeds[k]], settings, planar)
            if len(np.unique(paths.report[member])) >= settings.least_followers:
                found.append(point)
                free[member] = False
                new += 1
        if not new:
            break
    return np.array(found).reshape(-1, 3)


def _grow(paths: _Bounces, free, point, settings: ScattererSettings, planar):
    """Refine a point on the paths that follow it."""
    member = np.zeros(0, dtype=int)
    for _ in range(6):
        square = _square(paths, point, paths.place, settings.sway)
        member = np.flatnonzero(free & (square < settings.gate**2))
        if len(member) < settings.least_followers:
            break
        mine = _Bounces(*(column[member] for column in paths))
        row, rest = _rows(mine, point, mine.place, settings.sway, planar)
        scale = np.ones_like(rest)
        own = np.hypot(mine.length_std, 1.4 * settings.sway)
        scale[:, 2] = own / np.hypot(own, mine.place_std)
        trust = np.sqrt(1.0 / (1.0 + square[member] / 4.0))[:, None] * scale
        a = (trust[..., None] * row).reshape(-1, 3)
        normal = a.T @ a + 1e-9 * np.eye(3)
        normal[2, 2] += 1e12 if planar else 0.0
        point = point + np.linalg.solve(normal, a.T @ (trust * rest).ravel())
    return point, member


def _rows(paths: _Bounces, point, place, sway, planar):
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
            np.hypot(paths.azimuth_std, sway / rho),
            np.hypot(paths.zenith_std, sway / reach),
            np.hypot(paths.length_std, 1.4 * sway),
        ],
        -1,
    )
    row = np.stack([azimuth, zenith, length], 1) / std[..., None]
    if planar:
        row[:, 1] = 0.0
    return row, np.stack(_misses(paths, point, place, sway), -1) * ([1, 0, 1] if planar else 1)


def _adjust(paths: _Bounces, point, place, sway, settings: ScattererSettings, planar) -> _Fitted:
    """Adjust scatterers and users' places together, sways and followers along with them."""
    given = place * [1.0, 1.0, 0.0 if planar else 1.0]
    place, count = given.copy(), len(point)
    std = np.zeros(len(place))
    std[paths.report] = paths.place_std
    fixed = bool(np.all(std < 0.02))
    sways = np.full(count, float(sway))
    owner = np.full(len(paths.report), -1)
    normal = None
    for turn in range(settings.rounds):
        here = place[paths.report]
        square = np.full((len(here), count), np.inf)
        for k in range(count):
            # Until places are adjusted they are only as good as reported.
            known = paths if turn == 0 else paths._replace(place_std=0.3 * paths.place_std)
            square[:, k] = _square(known, point[k], here, sways[k])
        cost = square + 2.0 * np.log(sways)[None]
        owner = cost.argmin(axis=1)
        owner[square[np.arange(len(owner)), owner] > (2.0 * settings.gate) ** 2] = -1
        mine = np.flatnonzero(owner >= 0)
        used = _Bounces(*(column[mine] for column in paths))
        k, n = owner[mine], paths.report[mine]
        row, rest = _rows(used, point[k], here[mine], sways[k], planar)
        joint = np.sum(rest**2, axis=1)
        trust = np.sqrt(1.0 / (1.0 + joint / 6.0))[:, None]
        row, rest = trust[..., None] * row, trust * rest
        step, normal = _solve(
            row, rest, used, k, n, point, place, given, std, planar, count, fixed, trust[:, 0],
            sways[k],
        )  # fmt: skip
        point = point + step[: 3 * count].reshape(-1, 3)
        if not fixed:
            place = place.copy()
            place[:, :2] += step[3 * count :].reshape(-1, 2)
        sways = _sways(paths, owner, point, sways, planar)
    assert normal is not None
    inverse = splu(normal.tocsc()).solve(np.eye(normal.shape[0])[:, : 3 * count])
    blocks = inverse[: 3 * count].reshape(count, 3, count, 3)
    covariance = blocks[np.arange(count), :, np.arange(count)]
    if planar:
        covariance = covariance * np.outer([1.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    return _Fitted(point, covariance, sways, place, owner)


def _solve(row, rest, used, k, n, point, place, given, std, planar, count, fixed, trust, sways):
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
        lever = (back / legs)[:, :2] * (trust / np.hypot(used.length_std, 1.4 * sways))[:, None]
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


def _sways(paths: _Bounces, owner, point, before, planar):
    """Learn each sway from its angles: delays hold the places' errors too."""
    sways = np.zeros(len(point))
    weight = np.zeros(len(point))
    for k in range(len(point)):
        m = owner == k
        rho = np.hypot(point[k, 0], point[k, 1])
        across = rho * wrap_angle(paths.azimuth[m] - np.arctan2(point[k, 1], point[k, 0]))
        if not m.any():
            sways[k], weight[k] = before[k], 0.0
            continue
        noise = np.median(rho * paths.azimuth_std[m])
        robust = np.median(np.abs(across)) / 0.6745
        sways[k], weight[k] = np.sqrt(max(robust**2 - noise**2, 0.0)), m.sum()
    pooled = np.sqrt(np.average(sways**2, weights=np.maximum(weight, 1e-9)))
    mixed = (weight * sways**2 + 10.0 * pooled**2) / (weight + 10.0)
    return np.maximum(np.sqrt(mixed), 0.02)


def _strengths(paths: _Bounces, fitted: _Fitted, settings: ScattererSettings):
    """Learn each scatterer's gain, its fluctuation, and how often it is seen where it should."""
    count = len(fitted.point)
    place = fitted.place
    first = np.linalg.norm(fitted.point, axis=1)
    second = np.maximum(np.linalg.norm(place[:, None] - fitted.point, axis=2), 1e-3)
    gain, spread = np.zeros(count), np.zeros(count)
    for k in range(count):
        m = (fitted.owner == k) & np.isfinite(paths.log_power)
        value = paths.log_power[m] + 2 * np.log(first[k] * second[paths.report[m], k])
        gain[k] = np.median(value) if len(value) else -40.0
        spread[k] = np.median(np.abs(value - gain[k])) / 0.6745 if len(value) else 3.0
    spread = np.clip(spread, 0.01, 3.0)
    strength = gain[None] - 2 * np.log(first[None] * second)
    heard = np.zeros((len(place), count), dtype=bool)
    known = fitted.owner >= 0
    heard[paths.report[known], fitted.owner[known]] = True
    # Well inside the list it must be heard: half of the list, so that rank exchanges are no doubt.
    rank = np.argsort(np.argsort(-strength, axis=1), axis=1)
    sure = (rank < max(1, settings.listed // 2)) & heard.any(axis=1)[:, None]
    seen = (np.sum(sure & heard, axis=0) + 9.5) / (np.sum(sure, axis=0) + 10.0)
    expected = (rank < settings.listed) & heard.any(axis=1)[:, None]
    share = np.sum(heard, axis=0) / np.maximum(np.sum(expected, axis=0), 1)
    return gain, spread, np.clip(seen, 0.05, 0.99), share
