"""Parameters of TR 38.901 V17, urban micro street canyon: Tables 7.4.1-1, 7.4.2-1, 7.5-6 and 7.5-8.

Takes a carrier frequency, distances and heights.
Gives path loss, probability of sight, and the large-scale parameters' distributions.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from echoscape.units import wavelength_of


class LogNormal(NamedTuple):
    """Mean and standard deviation of a decimal logarithm."""

    mean: float
    std: float


class Small(NamedTuple):
    """What clusters are like, the lower part of Table 7.5-6."""

    clusters: int
    delay_factor: float
    """r_tau, delays' spread over that of powers."""
    cross_ratio_db: tuple[float, float]
    """Mean and standard deviation of the cross-polar ratio [dB]."""
    delay_spread: float
    """c_DS within a cluster [s]."""
    departure_spread: float
    """c_ASD [degree]."""
    arrival_spread: float
    """c_ASA [degree]."""
    zenith_spread: float
    """c_ZSA [degree]."""
    shadowing_db: float
    """Of each cluster [dB]."""
    fading_db: float
    """Standard deviation of shadow fading, Table 7.4.1-1 [dB]."""


SMALL = {
    True: Small(12, 3.0, (9.0, 3.0), 5e-9, 3.0, 17.0, 7.0, 3.0, 4.0),
    False: Small(19, 2.1, (8.0, 3.0), 11e-9, 10.0, 22.0, 7.0, 3.0, 7.82),
}
"""By line of sight."""
RICIAN_DB = (9.0, 5.0)
"""Mean and standard deviation of the K-factor in sight [dB]."""
ORDER: tuple[str, ...] = ("fading", "rician", "delay", "departure_azimuth", "arrival_azimuth",
         "departure_zenith", "arrival_zenith")  # fmt: skip
"""Of the large-scale parameters in `correlation`."""
_LOWER = {
    True: ((0.5,), (-0.4, -0.7), (-0.5, -0.2, 0.5), (-0.4, -0.3, 0.8, 0.4),
           (0.0, 0.0, 0.0, 0.5, 0.0), (0.0, 0.0, 0.2, 0.3, 0.0, 0.0)),
    False: ((0.0,), (-0.7, 0.0), (0.0, 0.0, 0.0), (-0.4, 0.0, 0.4, 0.0),
            (0.0, 0.0, -0.5, 0.5, 0.0), (0.0, 0.0, 0.0, 0.5, 0.2, 0.0)),
}  # fmt: skip
OFFSETS = (0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551)
"""Angles of rays within a cluster of unit spread, on both sides, Table 7.5-3 [1]."""


def correlation(sight: bool) -> Float[np.ndarray, "7 7"]:
    """Correlate the large-scale parameters in `ORDER`, Table 7.5-6."""
    whole = np.eye(len(ORDER))
    for row, values in enumerate(_LOWER[sight], start=1):
        whole[row, : len(values)] = whole[: len(values), row] = values
    return whole


def spread_table(
    frequency: float, sight: bool, distance: float, height: float = 0.0
) -> dict[str, LogNormal]:
    """Look up the spreads, Tables 7.5-6 and 7.5-8.

    Args:
        frequency: Carrier [GHz].
        sight: Which column.
        distance: Level distance from station to user, for departure zenith [m].
        height: Of the user above the station, for departure zenith [m].

    Returns:
        For each spread the logarithm of seconds or degrees.
    """
    f = np.log10(1 + frequency)
    if sight:
        zenith = max(-0.21, -14.8 * distance / 1000 + 0.01 * abs(height) + 0.83)
        return {
            "delay": LogNormal(-0.24 * f - 7.14, 0.38),
            "departure_azimuth": LogNormal(-0.05 * f + 1.21, 0.41),
            "departure_zenith": LogNormal(zenith, 0.35),
            "arrival_azimuth": LogNormal(-0.08 * f + 1.73, 0.014 * f + 0.28),
            "arrival_zenith": LogNormal(-0.1 * f + 0.73, -0.04 * f + 0.34),
        }
    zenith = max(-0.5, -3.1 * distance / 1000 + 0.01 * max(height, 0.0) + 0.2)
    return {
        "delay": LogNormal(-0.24 * f - 6.83, 0.16 * f + 0.28),
        "departure_azimuth": LogNormal(-0.23 * f + 1.53, 0.11 * f + 0.33),
        "departure_zenith": LogNormal(zenith, 0.35),
        "arrival_azimuth": LogNormal(-0.08 * f + 1.81, 0.05 * f + 0.3),
        "arrival_zenith": LogNormal(-0.04 * f + 0.92, -0.07 * f + 0.41),
    }


def sight_probability(distance: float) -> float:
    """Give the probability of line of sight at a level distance, Table 7.4.2-1 [1]."""
    if distance <= 18:
        return 1.0
    return 18 / distance + np.exp(-distance / 36) * (1 - 18 / distance)


def path_loss(frequency: float, sight: bool, distance: float, station: float, user: float) -> float:
    """Give the path loss without fading, Table 7.4.1-1 [dB].

    Args:
        frequency: Carrier [GHz].
        sight: Whether there is line of sight.
        distance: Level [m].
        station: Height of the station [m].
        user: Height of the user [m].
    """
    whole = float(np.hypot(distance, station - user))
    beyond = 4 * max(station - 1, 0.1) * max(user - 1, 0.1) / wavelength_of(1e9 * frequency)
    loss = 32.4 + 21 * np.log10(whole) + 20 * np.log10(frequency)
    if distance > beyond:
        loss = 32.4 + 40 * np.log10(whole) + 20 * np.log10(frequency)
        loss -= 9.5 * np.log10(beyond**2 + (station - user) ** 2)
    if sight:
        return loss
    other = 35.3 * np.log10(whole) + 22.4 + 21.3 * np.log10(frequency) - 0.3 * (user - 1.5)
    return max(loss, other)
