"""Study part `city`: unseen targets among ray-traced buildings, many bounces and no labels.

Reports of users teach each kind of map; targets stand where other users stood, without line of
sight; their echoes come unordered, of unknown pairs of paths, some missing and some false.

Takes a setting, and a ray-traced table of users or the sample that the package carries.
Gives rows: one for every map.
"""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from echoscape.channel_map.fitting import fit_map, model_named
from echoscape.checks import InputError
from echoscape.localization import FixStatus, localize
from echoscape.localization.scores import claimed_level
from echoscape.propagation.traced_table import traced_arrays
from echoscape.reports import Reports
from echoscape.reports.echo_making import make_echoes
from echoscape.reports.importing.ray_traced import FIELDS, reports_from_ray_traced
from echoscape.sample import load_sample
from echoscape.studies.nlos_ckm.square import summary
from echoscape.studies.sweep import Row, Setting
from echoscape.units import length_of, wrap_angle

ANGLE, DELAY = 0.05, 5e-9
_FIRST_TARGET = 9000  # users from here on are targets, those before may report
_MODELS = {
    "anchors": "virtual-anchors",
    "nearest": "nearest-reports",
    "geometry network": "virtual-anchor-network",
}
"""Rows' names of the models whose own names are others."""
_QUALITIES: dict[str, dict[str, Any]] = {
    "exact": {},
    "exact, no arrival angles": {"arrival": False},
    "noisy": {"noisy": True},
    "exact, echoes missing and false": {"missed": 0.15, "false": 0.1},
}


def points(quick: bool, seed: int = 0, source: Path | None = None) -> list[Setting]:
    """List numbers and kinds of reports.

    Args:
        quick: A few targets of the sample.
        seed: Seed of errors and fits.
        source: Ray-traced table of users (.npz); the package's sample if not given.
    """
    counts = (1000,) if quick else (300, 1000) if source is None else (300, 1000, 3000)
    qualities = ["exact, echoes missing and false"] if quick else list(_QUALITIES)
    maps = ["anchors"] if quick else ["anchors", "nearest", "network", "geometry network"]
    return [
        {
            "part": "city", "reports": count, "quality": quality,
            # rotations of anchors start from directions of arrival
            "maps": maps[:3] if quality == "exact, no arrival angles" else maps,
            "targets": 15 if quick else 400, "source": None if source is None else str(source),
            "seed": seed,
        }
        for count in counts
        for quality in qualities
    ]  # fmt: skip


def measure(setting: Setting) -> list[Row]:
    """Fit every map to one set of reports and locate all targets through each."""
    reports, targets = _world(setting)
    quality = _QUALITIES[setting["quality"]]
    rng = np.random.default_rng([setting["seed"], setting["reports"]])
    if not quality.get("arrival", True):
        reports = _without_arrival(reports)
    if quality.get("noisy", False):
        reports = _blur(reports, rng)
    echoes = make_echoes(
        targets, jax.random.key(setting["seed"]), angle_std=ANGLE, delay_std=DELAY,
        missed=quality.get("missed", 0.0), false=quality.get("false", 0.0),
    ).echoes  # fmt: skip
    rows = []
    for name in setting["maps"]:
        channel_map = fit_map(
            reports, model_named(str(_MODELS.get(name, name))), key=jax.random.key(setting["seed"])
        )
        fix = localize(echoes, channel_map)
        error = np.linalg.norm((fix.best - targets.position)[:, :2], axis=1)
        located = fix.status == FixStatus.LOCATED
        rows.append(
            {
                "method": name,
                "located": float(located.mean()),
                "located_beyond_10": float(np.mean(error[located] > 10.0))
                if located.any()
                else 0.0,
                "inside_90": float(np.mean(claimed_level(fix, targets.position) <= 0.9)),
            }
            | summary(error)
        )
    return rows


def _world(setting: Setting) -> tuple[Reports, Reports]:
    count, most = setting["reports"], setting["targets"]
    if setting["source"] is None:
        sample = load_sample()
        keep = np.arange(len(sample.reports.position)) < count
        first = np.arange(len(sample.targets.position)) < most
        return sample.reports[keep], sample.targets[first]
    source = Path(setting["source"])
    table = traced_arrays(source, (*FIELDS, "los"))  # los tells which users see the station
    sight, listed = table["los"], np.diff(table["offset"])
    if len(sight) <= _FIRST_TARGET:
        raise InputError(
            f"{source} has {len(sight)} users; targets are taken from number {_FIRST_TARGET} on"
        )
    users = np.flatnonzero(~sight & (listed >= 3) & (np.arange(len(sight)) >= _FIRST_TARGET))
    targets = reports_from_ray_traced(table, users[:most])
    return reports_from_ray_traced(table, np.arange(count)), targets


def _without_arrival(reports: Reports) -> Reports:
    """Take the arrival angles away: what a user with one antenna cannot know."""
    paths = reports.estimates
    unknown = np.full_like(np.asarray(paths.length), np.inf)
    return eqx.tree_at(
        lambda r: (
            r.estimates.arrival_azimuth, r.estimates.arrival_zenith,
            r.estimates.arrival_azimuth_std, r.estimates.arrival_zenith_std,
        ),
        reports,
        (np.zeros_like(unknown), np.zeros_like(unknown), unknown, unknown),
    )  # fmt: skip


def _blur(reports: Reports, rng: np.random.Generator) -> Reports:
    """Misread positions by 1 m, angles by 0.005 rad and delays by 1 ns, and say so."""
    paths = reports.estimates
    shape = np.shape(paths.length)
    place = np.asarray(reports.position, dtype=float).copy()
    place[:, :2] += rng.normal(size=(len(place), 2))
    blurred = {}
    for name, std in (
        ("departure_azimuth", 0.005), ("departure_zenith", 0.005), ("arrival_azimuth", 0.005),
        ("arrival_zenith", 0.005), ("length", length_of(1e-9)),
    ):  # fmt: skip
        value = np.asarray(getattr(paths, name)) + std * rng.normal(size=shape)
        value = wrap_angle(value) if "azimuth" in name else np.maximum(value, 0.0)
        value = np.minimum(value, np.pi) if "zenith" in name else value
        blurred[name] = np.where(paths.valid, value, 0.0)
        blurred[f"{name}_std"] = np.where(paths.valid, std, np.inf)
    names = list(blurred)
    paths = eqx.tree_at(
        lambda p: [getattr(p, name) for name in names], paths, [blurred[name] for name in names]
    )
    return eqx.tree_at(
        lambda r: (r.estimates, r.position, r.position_std), reports,
        (paths, place, np.ones(len(place))),
    )  # fmt: skip
