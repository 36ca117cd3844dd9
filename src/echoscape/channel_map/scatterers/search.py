"""Where point scatterers are, from reports alone: consensus, adjustment, doubt.

A report's path inverts in closed form to the one point that explains it, ``r = (D^2 - |q|^2) / 2
(D - u.q)`` along its angle; points that many reports agree on are scatterers.  They are adjusted
together with the users' places (`scatterer_adjustment`), and what is heard too seldom where it
should be heard is let go: wrong reports agree on something now and then.

Takes `Reports` of one station.
Gives a `ScattererMap`.
"""

import equinox as eqx
import jax
import numpy as np
import pydantic
from jaxtyping import Int

from echoscape.channel_map.scatterers.bundle_adjustment import (
    Adjusted,
    Bounces,
    adjust,
    linearise,
    square_misses,
)
from echoscape.channel_map.scatterers.map import ScattererMap
from echoscape.channel_map.station_reports import reports_of_station
from echoscape.checks import InputError
from echoscape.reports import Reports

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
        InputError: No point explains enough paths.
    """
    settings = settings or ScattererSettings()
    reports = reports_of_station(reports, station)
    origin = np.asarray(reports.station_position[0], dtype=float)
    paths, planar = read_bounces(reports, origin)
    points = _consensus(paths, settings, planar, np.random.default_rng(seed))
    if not len(points):
        raise InputError(
            f"no point explains {settings.least_followers} of the {len(paths.report)} paths as "
            "single bounces; fit the model 'anchors', which knows walls"
        )
    place, sway = np.asarray(reports.position - origin, dtype=float), settings.sway
    how = {"rounds": settings.rounds, "gate": settings.gate, "planar": planar}
    fitted = adjust(paths, points, place, sway, **how)
    while True:
        strength, fluctuation, seen, share = _strengths(paths, fitted, settings)
        real = _real(fitted, share, sway)
        if real.all():
            break
        fitted = adjust(paths, fitted.point[real], place, sway, **how)
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


def name_paths(reports: Reports, scatterers: ScattererMap) -> Int[np.ndarray, "report path"]:
    """Say which scatterer every path of every report goes by; -1 for none of them.

    Args:
        reports: Reports of the map's station.
        scatterers: The map.
    """
    reports = reports_of_station(reports, scatterers.station)
    origin = np.asarray(scatterers.station_position, dtype=float)
    paths, _ = read_bounces(reports, origin)
    sway = np.sqrt(np.maximum(np.trace(scatterers.covariance, axis1=1, axis2=2) / 2.0, 1e-4))
    points = np.asarray(scatterers.scatterer) - origin
    square = np.stack(
        [square_misses(paths, at, paths.place, size) for at, size in zip(points, sway)], axis=1
    )
    owner = square.argmin(axis=1)
    near = square[np.arange(len(owner)), owner] < 5.0**2
    named = np.full(np.shape(reports.estimates.valid), -1)
    named[paths.report, paths.rank] = np.where(near, owner, -1)
    return named


def arrange_paths(reports: Reports, name: Int[np.ndarray, "report path"]) -> Reports:
    """Give every path the column of its name, so that a network learns one slot for each.

    Args:
        reports: Reports of one station.
        name: Column of every path; negative ones are left out, and of two alike the stronger stays.
    """
    paths, count = reports.estimates, int(name.max()) + 1
    report, rank = np.nonzero(np.asarray(paths.valid) & (name >= 0))
    weakest_first = np.argsort(-rank, kind="stable")
    report, rank = report[weakest_first], rank[weakest_first]
    column = name[report, rank]

    def move(leaf):
        moved = np.zeros((len(name), count), dtype=np.asarray(leaf).dtype)
        moved[report, column] = np.asarray(leaf)[report, rank]
        return moved

    arranged = jax.tree.map(move, paths)
    return eqx.tree_at(lambda item: item.estimates, reports, arranged)


def _real(fitted: "Adjusted", share, sway) -> np.ndarray:
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


def read_bounces(reports: Reports, origin) -> tuple[Bounces, bool]:
    """List every path of every report, as the station sees users; and whether all is planar."""
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
    return Bounces(
        report=report,
        place=place,
        azimuth=np.asarray(paths.departure_azimuth)[take],
        zenith=zenith,
        length=np.asarray(paths.length)[take],
        azimuth_std=np.asarray(paths.departure_azimuth_std)[take],
        zenith_std=np.where(np.isfinite(zenith_std), zenith_std, 1e3),
        length_std=np.asarray(paths.length_std)[take],
        place_std=np.asarray(reports.position_std)[report],
        log_power=np.log(np.where(power > 0, power, np.nan)),
        rank=rank,
    ), planar  # fmt: skip


def points_of(paths: Bounces) -> np.ndarray:
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


def _consensus(paths: Bounces, settings: ScattererSettings, planar, rng) -> np.ndarray:
    """Take the point that most paths agree on, again and again."""
    start, gate = points_of(paths), settings.gate**2
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
        some = Bounces(*(column[voters] for column in paths))
        square = square_misses(some, start[seeds][:, None], some.place, settings.sway)
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


def _grow(paths: Bounces, free, point, settings: ScattererSettings, planar):
    """Refine a point on the paths that follow it."""
    member = np.zeros(0, dtype=int)
    for _ in range(6):
        square = square_misses(paths, point, paths.place, settings.sway)
        member = np.flatnonzero(free & (square < settings.gate**2))
        if len(member) < settings.least_followers:
            break
        mine = Bounces(*(column[member] for column in paths))
        row, rest = linearise(mine, point, mine.place, settings.sway, planar)
        scale = np.ones_like(rest)
        own = np.hypot(mine.length_std, 1.4 * settings.sway)
        scale[:, 2] = own / np.hypot(own, mine.place_std)
        trust = np.sqrt(1.0 / (1.0 + square[member] / 4.0))[:, None] * scale
        a = (trust[..., None] * row).reshape(-1, 3)
        normal = a.T @ a + 1e-9 * np.eye(3)
        normal[2, 2] += 1e12 if planar else 0.0
        point = point + np.linalg.solve(normal, a.T @ (trust * rest).ravel())
    return point, member


def _strengths(paths: Bounces, fitted: Adjusted, settings: ScattererSettings):
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
        if not len(value):
            spread[k] = 3.0
            continue
        swayed = 2.0 * fitted.sway[k] * np.hypot(1 / first[k], 1 / second[paths.report[m], k])
        spread[k] = np.median(np.abs(value - gain[k]) / np.maximum(swayed, 1e-3)) / 0.6745
        spread[k] = np.median(swayed) * np.sqrt(max(spread[k] ** 2 - 1.0, 0.0))
    spread = np.clip(spread, 0.005, 3.0)
    strength = gain[None] - 2 * np.log(first[None] * second)
    heard = np.zeros((len(place), count), dtype=bool)
    known = fitted.owner >= 0
    heard[paths.report[known], fitted.owner[known]] = True
    # Well inside the list it must be heard: half of the list, so that rank exchanges are no doubt.
    rank = np.argsort(np.argsort(-strength, axis=1), axis=1)
    sure = (rank < max(1, settings.listed // 2)) & np.any(heard, axis=1, keepdims=True)
    seen = (np.sum(sure & heard, axis=0) + 9.5) / (np.sum(sure, axis=0) + 10.0)
    expected = (rank < settings.listed) & np.any(heard, axis=1, keepdims=True)
    share = np.sum(heard, axis=0) / np.maximum(np.sum(expected, axis=0), 1.0)
    return gain, spread, np.clip(seen, 0.05, 0.99), share
