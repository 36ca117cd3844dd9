"""A world of infinite vertical walls and a ground whose paths have a closed form: mirror images."""

import itertools

import numpy as np

from echoscape.estimation import PathEstimates
from echoscape.reports import Observations
from echoscape.units import wrap_angle

STATION = np.array([12.0, 31.0, 9.0])
#: (unit normal, offset) of vertical walls around a crossing, none parallel to an axis
WALLS = [
    (np.array([np.cos(a), np.sin(a), 0.0]), b)
    for a, b in ((0.31, 74.0), (1.93, 60.0), (3.38, 41.0), (4.87, 66.0))
]
GROUND = (np.array([0.0, 0.0, 1.0]), -0.4)


def reflect(point, plane):
    normal, offset = plane
    return point - 2 * (point @ normal - offset) * normal


def image_path(user, planes, station=STATION):
    """Trace one specular path bounce by bounce: length, arrival and departure angles, points."""
    images = [station]
    for plane in planes:
        images.append(reflect(images[-1], plane))
    points, end = [], user
    for image, (normal, offset) in zip(images[:0:-1], planes[::-1]):
        ahead = image - end
        end = end + (offset - end @ normal) / (ahead @ normal) * ahead
        points.append(end)
    arrival = images[-1] - user
    departure = (points[-1] if points else user) - station
    length = np.linalg.norm(arrival)
    angles = [
        np.arctan2(arrival[1], arrival[0]),
        np.arccos(arrival[2] / length),
        np.arctan2(departure[1], departure[0]),
        np.arccos(departure[2] / np.linalg.norm(departure)),
    ]
    return np.array([length, *angles]), images[-1], points[::-1]


def sequences():
    """One and two walls, some with the ground before them, and the line of sight."""
    singles = [[wall] for wall in WALLS]
    doubles = [list(pair) for pair in itertools.permutations(WALLS, 2)][:5]
    return [[], *singles, *doubles, [WALLS[1], GROUND], [GROUND, WALLS[2]]]


def route(instants, rate=5.0):
    """Walk straight, turn by 80 degrees half way, walk on: positions and the first velocity."""
    time = np.arange(instants) / rate
    half = time[instants // 2]
    first, second = np.array([1.1, 0.4, 0.0]), np.array([-0.2, 1.2, 0.0])
    place = np.minimum(time, half)[:, None] * first + np.maximum(time - half, 0)[:, None] * second
    return time, np.array([-14.0, -21.0, 1.3]) + place, first


def scattered_path(user, point):
    """Give length, arrival and departure angles of the path that one point scatters."""
    back, out = point - user, point - STATION
    angles = [
        [np.arctan2(leg[1], leg[0]), np.arccos(leg[2] / np.linalg.norm(leg))] for leg in (back, out)
    ]
    return np.array([np.linalg.norm(back) + np.linalg.norm(out), *angles[0], *angles[1]])


def observe(
    rng, *, instants=120, missed=0.1, false=0.05, std=(0.3, 1.0, 0.5), hidden=(0.2, 0.8), points=()
):
    """Observe the walk with noise, misses and false alarms; line of sight is hidden in between.

    Paths that `points` scatter have numbers from 100 on.
    """
    time, user, velocity = route(instants)
    deviation = np.array([std[0], *np.radians([std[1], std[1], std[2], std[2]])])
    width = 2 * (len(sequences()) + len(points))
    measured, valid = np.zeros((instants, width, 5)), np.zeros((instants, width), bool)
    truth = np.full((instants, width), -1)
    for k in range(instants):
        rows = []
        for number, planes in enumerate(sequences()):
            shadow = not planes and hidden[0] < k / instants < hidden[1]
            if shadow or rng.random() < missed:
                continue
            exact = image_path(user[k], planes)[0]
            rows.append((exact + deviation * rng.normal(size=5), number))
        for number, point in enumerate(points, 100):
            if rng.random() >= missed:
                rows.append(
                    (scattered_path(user[k], point) + deviation * rng.normal(size=5), number)
                )
        for _ in range(rng.binomial(len(rows), false)):
            low, high = [20, -np.pi, 1.3, -np.pi, 1.3], [200, np.pi, 1.8, np.pi, 1.8]
            rows.append((rng.uniform(low, high), -1))
        for slot, at in enumerate(rng.permutation(len(rows))):
            measured[k, slot], truth[k, slot] = rows[at]
            valid[k, slot] = True
    measured[..., [1, 3]] = wrap_angle(measured[..., [1, 3]])
    spread = np.where(valid[..., None], deviation, 0.0)
    estimates = PathEstimates(
        departure_azimuth=measured[..., 3],
        departure_zenith=np.clip(measured[..., 4], 0, np.pi),
        arrival_azimuth=measured[..., 1],
        arrival_zenith=np.clip(measured[..., 2], 0, np.pi),
        length=np.abs(measured[..., 0]),
        power=np.where(valid, 1e-9, 0.0),
        departure_azimuth_std=spread[..., 3],
        departure_zenith_std=spread[..., 4],
        arrival_azimuth_std=spread[..., 1],
        arrival_zenith_std=spread[..., 2],
        length_std=spread[..., 0],
        valid=valid,
    )
    number = np.cumsum(valid.reshape(-1)).reshape(valid.shape) - 1
    observations = Observations(
        estimates=estimates,
        time=time,
        user_position=np.zeros((instants, 3)),
        user_known=np.zeros(instants, bool),
        row=np.where(valid, number, -1),
    )
    return observations, user, velocity, truth
