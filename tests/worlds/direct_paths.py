"""Reports of users among a few mirrors, some of them in sight, and every fault of convention.

Paths are exact: the straight line, and one reflection in each of a few planes.  `FAULTS` does to
them what files of others do.
"""

import dataclasses
import math

import numpy as np

from echoscape.estimation import PathEstimates
from echoscape.reports import Reports
from echoscape.reports.finding import Cause
from echoscape.units import SPEED_OF_LIGHT, wrap_angle

ENDS = ("departure", "arrival")


def make_reports(seed=0, users=30, sight=0.7, walls=3, stations=1, ground=False):
    """Draw users, walls and stations; `sight` is the share of users that see the station."""
    rng = np.random.default_rng(seed)
    place = np.c_[rng.uniform(-60, 60, (users, 2)), rng.uniform(1.2, 2.2, users)]
    base = np.c_[rng.uniform(-25, 25, (stations, 2)), rng.uniform(6, 14, stations)]
    angle = rng.uniform(0, 2 * math.pi, walls)
    normal = np.stack([np.cos(angle), np.sin(angle), np.zeros(walls)], axis=1)
    beyond = rng.uniform(80, 110, walls)  # all users and stations are on one side
    if ground:
        normal, beyond, walls = np.r_[normal, [[0, 0, -1]]], np.r_[beyond, 0.0], walls + 1
    rows = [(u, s) for u in range(users) for s in range(stations)]
    shape = (len(rows), walls + 1)
    out, back = np.zeros((*shape, 3)), np.zeros((*shape, 3))
    length, power, valid = np.ones(shape), np.zeros(shape), np.ones(shape, bool)
    for k, (u, s) in enumerate(rows):
        away = place[u] - base[s]
        length[k, 0], out[k, 0], back[k, 0] = np.linalg.norm(away), away, -away
        valid[k, 0] = rng.uniform() < sight
        for w in range(walls):
            image = place[u] + 2 * (beyond[w] - normal[w] @ place[u]) * normal[w]
            ray = image - base[s]
            length[k, 1 + w], out[k, 1 + w] = np.linalg.norm(ray), ray
            back[k, 1 + w] = -(ray - 2 * (normal[w] @ ray) * normal[w])
        power[k] = (0.0107 / (4 * math.pi * length[k])) ** 2 * np.r_[
            1, rng.uniform(0.1, 0.4, walls)
        ]
    if sight < 1:
        valid[:, 1:] &= rng.uniform(size=(len(rows), walls)) < 0.8
        valid[:, 1] |= ~valid.any(axis=1)
    owner = np.array(rows)
    values = {"delay": length / SPEED_OF_LIGHT, "power": power}
    for end, ray in zip(ENDS, (out, back)):
        values[f"{end}_azimuth"] = np.arctan2(ray[..., 1], ray[..., 0])
        values[f"{end}_zenith"] = np.arccos(ray[..., 2] / np.linalg.norm(ray, axis=-1))
    values = {name: np.where(valid, each, 0.0) for name, each in values.items()}
    stds = {f"{name}_std": np.zeros(shape) for name in values if name not in ("power",)}
    return Reports(
        estimates=PathEstimates.from_delays(**values, **stds, valid=valid),
        position=place[owner[:, 0]],
        position_std=np.zeros(len(rows)),
        time=np.zeros(len(rows)),
        report=owner[:, 0],
        station_index=owner[:, 1],
        station_position=base,
        station=tuple(f"bs-{s}" for s in range(stations)),
    )


def edit(reports, **changes):
    """Replace fields of the paths."""
    for name, other in (("delay", "length"), ("delay_std", "length_std")):
        if name in changes:
            changes[other] = SPEED_OF_LIGHT * changes.pop(name)
    return dataclasses.replace(reports, estimates=dataclasses.replace(reports.estimates, **changes))


def noisy(reports, seed, angle=0.03, length=0.3, stated=False):
    """Add Gaussian errors, stated or not."""
    rng, paths = np.random.default_rng(seed), reports.estimates
    changes = {}
    for end in ENDS:
        azimuth, zenith = (getattr(paths, f"{end}_{x}") for x in ("azimuth", "zenith"))
        changes[f"{end}_azimuth"] = wrap_angle(azimuth + rng.normal(0, angle, azimuth.shape))
        changes[f"{end}_zenith"] = math.pi - np.abs(
            math.pi - np.abs(zenith + rng.normal(0, angle, zenith.shape))
        )
    late = rng.normal(0, length, paths.delay.shape) / SPEED_OF_LIGHT
    changes["delay"] = np.maximum(paths.delay + late, 0)
    if stated:
        for name in tuple(changes):
            size = length / SPEED_OF_LIGHT if name == "delay" else angle
            changes[f"{name}_std"] = np.full(paths.delay.shape, size)
    return edit(reports, **changes)


def without(reports, *names):
    """Take quantities for not measured."""
    changes = {}
    for name in names:
        changes[name] = np.zeros_like(reports.estimates.delay)
        changes[f"{name}_std"] = np.full(reports.estimates.delay.shape, np.inf)
    return edit(reports, **changes)


def _each(reports, part, change, ends=ENDS):
    paths = reports.estimates
    return edit(reports, **{
        f"{end}_{part}": change(getattr(paths, f"{end}_{part}")) for end in ends
    })  # fmt: skip


def _swap(reports, rng):
    paths = reports.estimates
    return edit(reports, **{
        f"{a}_{part}": getattr(paths, f"{b}_{part}")
        for a, b in (ENDS, ENDS[::-1]) for part in ("azimuth", "zenith")
    })  # fmt: skip


def _travel(reports, rng, ends=("arrival",)):
    turned = _each(reports, "azimuth", lambda a: wrap_angle(a + math.pi), ends)
    return _each(turned, "zenith", lambda z: math.pi - z, ends)


def _elevation(reports, rng):
    return _each(reports, "zenith", lambda z: np.abs(0.5 * math.pi - z), _some(rng))


def _some(rng):
    return [("departure",), ("arrival",), ENDS][rng.integers(3)]


def _transposed(reports, rng):
    paths, changes = reports.estimates, {}
    for end in _some(rng):
        # a reader takes no zenith below zero; a file of theta and phi has phi from 0 to pi here
        azimuth, zenith = (getattr(paths, f"{end}_{x}") for x in ("azimuth", "zenith"))
        changes[f"{end}_azimuth"], changes[f"{end}_zenith"] = zenith, np.abs(azimuth)
        valid = changes.get("valid", paths.valid)
        changes["valid"] = valid & (azimuth >= 0)
    return edit(reports, **changes)


def _doubled(reports, rng):
    paths = reports.estimates
    return dataclasses.replace(reports, estimates=PathEstimates(**{
        field.name: np.tile(getattr(paths, field.name), (1, 2))
        for field in dataclasses.fields(paths)
        if getattr(paths, field.name) is not None
    }))  # fmt: skip


def _moved(reports, change):
    return dataclasses.replace(
        reports,
        position=change(reports.position),
        station_position=change(reports.station_position),
    )


def _geographic(reports, rng):
    latitude, longitude = rng.uniform(-60, 60), rng.uniform(-170, 170)
    order = rng.permutation(2)

    def change(place):
        north = latitude + np.degrees(place[:, 1] / 6_371_000)
        east = longitude + np.degrees(place[:, 0] / 6_371_000) / math.cos(math.radians(latitude))
        return np.c_[np.stack([north, east], axis=1)[:, order], place[:, 2]]

    return _moved(reports, change)


def _relative(reports, rng):
    paths = reports.estimates
    if rng.integers(2):  # from the first path
        start = np.where(paths.valid, paths.delay, np.inf).min(axis=1, keepdims=True)
    else:  # from the straight line
        away = reports.position - reports.station_position[reports.station_index]
        start = np.linalg.norm(away, axis=1, keepdims=True) / SPEED_OF_LIGHT
    return edit(reports, delay=np.where(paths.valid, np.maximum(paths.delay - start, 0), 0))


def _delays(change):
    return lambda reports, rng: edit(reports, delay=change(reports.estimates.delay, rng))


def _turned(reports, rng):
    turn = rng.choice([-1, 1]) * rng.uniform(0.03, 3.0)
    return _each(reports, "azimuth", lambda a: wrap_angle(a + turn), ("departure",))


FAULTS = {
    "swapped": (_swap, {Cause.SWAPPED_ENDS}),
    "travel": (_travel, {Cause.TRAVEL_DIRECTION}),
    "compass": (
        lambda r, rng: _each(r, "azimuth", lambda a: wrap_angle(0.5 * math.pi - a), _some(rng)),
        {Cause.COMPASS},
    ),
    "clockwise": (
        lambda r, rng: _each(r, "azimuth", lambda a: -a, _some(rng)),
        {Cause.CLOCKWISE},
    ),
    "elevation": (_elevation, {Cause.ELEVATION}),
    "transposed": (_transposed, {Cause.TRANSPOSED}),
    "kilometres": (
        lambda r, rng: _moved(r, lambda p: p / 1000), {Cause.LENGTH_UNIT},
    ),
    "feet": (lambda r, rng: _moved(r, lambda p: p / 0.3048), {Cause.LENGTH_UNIT}),
    "geographic": (_geographic, {Cause.GEOGRAPHIC}),
    "relative": (_relative, {Cause.RELATIVE_DELAY}),
    "round trip": (_delays(lambda d, rng: 2 * d), {Cause.ROUND_TRIP}),
    "offset": (
        _delays(lambda d, rng: d + rng.uniform(1e-9, 300e-9)), {Cause.DELAY_OFFSET},
    ),
    "amplitudes": (
        lambda r, rng: edit(r, power=np.sqrt(r.estimates.power)), {Cause.AMPLITUDE},
    ),
    "decibels": (
        lambda r, rng: edit(r, power=80 + 10 * r.estimates.power), {Cause.POWER_ABOVE_ONE},
    ),
    "doubled": (_doubled, {Cause.DOUBLED}),
    "turned": (_turned, {Cause.TURNED, Cause.TRAVEL_DIRECTION}),
}  # fmt: skip
"""Each kind of fault: what it does to reports, and the causes that may be named."""
