"""A street of mirrors whose paths are known in closed form, for the tests of maps.

Path k shows the user at ``R_k x + t_k``: straight on, or through one or two upright walls.
"""

import jax
import numpy as np

from echoscape.estimation import PathEstimates
from echoscape.reports import Reports

C = 299_792_458.0  # [m/s]
STATION = np.array([31.0, 12.0, 9.0])


def wall(angle, offset):
    """Mirror points at an upright wall whose normal has this azimuth."""
    normal = np.array([np.cos(angle), np.sin(angle), 0.0])
    return np.eye(3) - 2 * np.outer(normal, normal), 2 * offset * normal


def both(first, second):
    return second[0] @ first[0], second[0] @ first[1] + second[1]


EAST, NORTH, SOUTH = wall(0.1, 75.0), wall(1.45, 64.0), wall(-1.7, 40.0)
SEQUENCES = [
    (np.eye(3), np.zeros(3)),
    EAST,
    NORTH,
    SOUTH,
    both(NORTH, EAST),
    both(SOUTH, NORTH),
]
LOSS = np.array([1.0, 0.25, 0.2, 0.15, 0.05, 0.03])


def paths_at(position):
    """Give the true (azimuth, zenith, delay, power) of every path, each [user, path]."""
    point = np.stack([position @ turn.T + shift for turn, shift in SEQUENCES], axis=1) - STATION
    length = np.linalg.norm(point, axis=-1)
    azimuth = np.arctan2(point[..., 1], point[..., 0])
    return azimuth, np.arccos(point[..., 2] / length), length / C, LOSS / length**2


def users(count, seed=0, corner=(-40.0, -20.0), size=(60.0, 55.0), height=1.5):
    """Draw places west of the station, where the direct azimuth crosses pi."""
    draw = np.random.default_rng(seed).uniform(size=(count, 2))
    return np.c_[np.array(corner) + draw * size, np.full(count, height)]


def street_reports(
    count=200, seed=0, paths=6, position_std=0.0, angle_std=0.0, delay_std=0.0, wrong=0.0
):
    """Report the strongest paths of drawn users, with errors and wrong places as asked."""
    rng = np.random.default_rng(seed + 1)
    place = users(count, seed)
    azimuth, zenith, delay, power = paths_at(place)
    order = np.argsort(-power, axis=1)[:, :paths]
    azimuth, zenith, delay, power = (
        np.take_along_axis(value, order, axis=1) for value in (azimuth, zenith, delay, power)
    )
    azimuth = azimuth + angle_std * rng.normal(size=azimuth.shape)
    azimuth = np.angle(np.exp(1j * azimuth))
    zenith = zenith + angle_std * rng.normal(size=azimuth.shape)
    delay = delay + delay_std * rng.normal(size=azimuth.shape)
    place = place + position_std * rng.normal(size=place.shape) * [1, 1, 0]
    lost = np.flatnonzero(rng.uniform(size=count) < wrong)
    place[lost] = place[np.roll(lost, 1)]
    ones = np.ones_like(azimuth)
    estimates = PathEstimates.from_delays(
        departure_azimuth=azimuth,
        departure_zenith=zenith,
        arrival_azimuth=0 * ones,
        arrival_zenith=0 * ones,
        delay=delay,
        power=power,
        departure_azimuth_std=angle_std * ones,
        departure_zenith_std=angle_std * ones,
        arrival_azimuth_std=np.inf * ones,
        arrival_zenith_std=np.inf * ones,
        delay_std=delay_std * ones,
        valid=ones > 0,
    )
    return Reports(
        estimates=estimates,
        position=place,
        position_std=np.full(count, float(position_std)),
        time=np.zeros(count),
        report=np.arange(count),
        station_index=np.zeros(count, dtype=int),
        station_position=STATION[None],
        station=("roof",),
    )


def two_stations(reports):
    """Append an unheard-of second station that heard the first ten reports again."""
    twice = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf[:10]]), reports.estimates)
    return Reports(
        estimates=twice,
        position=np.concatenate([reports.position, reports.position[:10]]),
        position_std=np.concatenate([reports.position_std, reports.position_std[:10]]),
        time=np.concatenate([reports.time, reports.time[:10]]),
        report=np.arange(len(reports.report) + 10),
        station_index=np.concatenate([reports.station_index, np.ones(10, dtype=int)]),
        station_position=np.concatenate([reports.station_position, [[500.0, 20.0, 12.0]]]),
        station=("roof", "tower"),
    )
