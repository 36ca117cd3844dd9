"""Spreads that a model draws without knowing the site: TR 38.901, urban micro.

Takes a carrier frequency and what of a route is in line of sight.
Gives spreads along the route, as the tables have them.
"""

from collections.abc import Mapping

import numpy as np

from echoscape.channel_model.urban_micro import spread_table
from echoscape.units import length_of

ANGLES = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith")
DECORRELATION = 10.0
"""Distance over which drawn spreads change, close to TR 38.901 table 7.5-6 for all of them [m]."""


def draw_spreads(
    name: str,
    position: np.ndarray,
    station: np.ndarray,
    line_of_sight: np.ndarray,
    frequency: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw one spread along a route, correlated over `DECORRELATION` [s or rad].

    Args:
        name: Of the spread.
        position: Where the user is [m].
        station: Where the station is [m].
        line_of_sight: At each instant.
        frequency: Carrier [GHz].
        rng: Random numbers.
    """
    step = np.linalg.norm(np.diff(position, axis=0, prepend=position[:1]), axis=1)
    keep = np.exp(-step / DECORRELATION)
    noise = rng.normal(size=len(position))
    state = np.empty(len(position))
    state[0] = noise[0]
    for i in range(1, len(position)):
        state[i] = keep[i] * state[i - 1] + np.sqrt(1 - keep[i] ** 2) * noise[i]
    distance = np.linalg.norm(position[:, :2] - station[:2], axis=1)
    rows = [spread_table(frequency, bool(s), d)[name] for s, d in zip(line_of_sight, distance)]
    value = 10.0 ** np.array([row.mean + row.std * s for row, s in zip(rows, state)])
    return value if name == "delay" else np.radians(value)


def scatter_at_random(
    position: np.ndarray,
    window: np.ndarray,
    wanted: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    count: int = 20,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw static scatterers anew in each window, with the truth's mean spreads and nothing else.

    What a stochastic model could do at best that was fitted to the site's averages.  Powers fall
    exponentially with delay; the last bounces stand still while the user passes them.

    Args:
        position: Where the user is [m].
        window: Number of the window of each instant.
        wanted: True spreads over time, by name [s or rad].
        rng: Random numbers.
        count: Scatterers at a time.

    Returns:
        Paths over time, `tracking.anchor.MEASURED` [m, rad], and their powers.
    """
    path, power = np.zeros((len(position), count, 5)), np.zeros((len(position), count))
    for number in np.unique(window):
        mine = np.flatnonzero(window == number)
        mean = {name: float(np.mean(values[mine])) for name, values in wanted.items()}
        late = rng.exponential(size=count)
        strength = np.exp(-late) * 10 ** (0.3 * rng.normal(size=count))
        weight = strength / strength.sum()

        def scaled(values, spread, weight=weight):
            values = values - weight @ values
            return values * spread / np.sqrt(weight @ values**2)

        extra = length_of(scaled(late, mean["delay"]))
        turn = [scaled(rng.normal(size=count), mean[name]) for name in ANGLES]
        departure, falling, arrival, rising = turn
        heading = rng.uniform(-np.pi, np.pi, 2)
        reach = rng.uniform(10.0, 100.0, count)
        middle = position[mine[len(mine) // 2]]
        up = 0.5 * np.pi + rising
        ahead = np.stack(
            [np.sin(up) * np.cos(heading[0] + arrival), np.sin(up) * np.sin(heading[0] + arrival),
             np.cos(up)], axis=1,
        )  # fmt: skip
        back = middle + reach[:, None] * ahead - position[mine, None]
        away = np.linalg.norm(back, axis=2)
        path[mine, :, 0] = 300.0 + extra - reach + away
        path[mine, :, 1] = np.arctan2(back[..., 1], back[..., 0])
        path[mine, :, 2] = np.arccos(back[..., 2] / away)
        path[mine, :, 3] = heading[1] + departure
        path[mine, :, 4] = 0.5 * np.pi + falling
        power[mine] = strength
    return path, power
