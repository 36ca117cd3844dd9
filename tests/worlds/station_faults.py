"""Reports of a station with a late clock and a turned array, among the walls of `direct_paths`."""

import dataclasses

import numpy as np

from echoscape.reports.station_bias import turn_matrix, unit_vector
from echoscape.units import SPEED_OF_LIGHT, wrap_angle
from tests.worlds.direct_paths import make_reports

CLOCK, TURN = 20e-9 * SPEED_OF_LIGHT, np.radians([3.0, 2.0, 1.0])
"""Late by 20 ns; yaw 3, pitch 2 and roll 1 degrees."""


def faulty(reports, clock=CLOCK, turn=TURN):
    """Report from a late clock and in the axes of a turned array."""
    paths = reports.estimates
    true = unit_vector(paths.departure_azimuth, paths.departure_zenith)
    seen = true @ turn_matrix(*turn)
    changed = {
        "departure_azimuth": np.arctan2(seen[..., 1], seen[..., 0]),
        "departure_zenith": np.arccos(np.clip(seen[..., 2], -1, 1)),
        "length": paths.length + clock,
    }
    return replace(reports, {k: np.where(paths.valid, v, 0.0) for k, v in changed.items()})


def measured(reports, seed=0, angle=0.01, length=0.3, stated=1.0):
    """Add errors to departures and lengths, and state a share of them."""
    rng, paths = np.random.default_rng(seed), reports.estimates
    draw = lambda std: std * rng.normal(size=paths.valid.shape)  # noqa: E731
    changed = {
        "departure_azimuth": wrap_angle(paths.departure_azimuth + draw(angle)),
        "departure_zenith": np.clip(paths.departure_zenith + draw(angle), 0, np.pi),
        "length": np.abs(paths.length + draw(length)),
        "departure_azimuth_std": angle * stated,
        "departure_zenith_std": angle * stated,
        "length_std": length * stated,
    }
    return replace(reports, {k: np.where(paths.valid, v, 0.0) for k, v in changed.items()})


def replace(reports, values):
    """Exchange fields of the estimates."""
    return dataclasses.replace(reports, estimates=dataclasses.replace(reports.estimates, **values))


def faulty_reports(seed=0, users=100, sight=0.3, **errors):
    """Draw reports of a faulty station; `sight` is the share of users that see it."""
    return measured(faulty(make_reports(seed, users, sight, walls=4)), seed, **errors)
