"""A ray-traced table of our own, by mirror images in the walls of `tests.worlds.walls`."""

import numpy as np

from tests.worlds.walls import STATION, image_path, sequences

#: every third user is out of the station's sight
USERS = 30


def in_sight():
    return np.arange(USERS) % 3 > 0


def tables(seed=2):
    """Arrays in the layout of ray-traced tables: elevations, nanoseconds, amplitudes."""
    rng = np.random.default_rng(seed)
    place = np.concatenate([rng.uniform(-12, 12, (USERS, 2)), np.full((USERS, 1), 1.5)], axis=1)
    rows, offset = [], [0]
    for user, sight in zip(place, in_sight()):
        paths = [image_path(user, planes)[0] for planes in sequences()]
        rows += paths if sight else paths[1:]
        offset.append(len(rows))
    length, arrival, arrival_zenith, departure, departure_zenith = np.array(rows).T
    phase = 2 * np.pi * rng.random(len(length))
    amplitude = 1e-3 / length * np.exp(1j * phase)
    return {
        "pos": place,
        "bs_pos": STATION,
        "offset": np.array(offset, dtype=np.int32),
        "a_re": amplitude.real,
        "a_im": amplitude.imag,
        "tau_ns": length / 0.299792458,
        "aod": departure,
        "eod": np.pi / 2 - departure_zenith,
        "aoa": arrival,
        "eoa": np.pi / 2 - arrival_zenith,
    }
