"""Links drawn by the tables of TR 38.901, urban micro, about a station that stands where it does.

Directions of the line of sight, distances and heights are the site's; clusters, their delays,
powers, angles and polarisations are drawn, steps 4 to 11 of clause 7.5.  A link is in the paper's
form: two legs and a virtual delay, so that it goes on as the user moves.  Links are drawn one by
one, without correlation between places.

Takes places of a station and a user, and random numbers.
Gives `BounceRays`, and what was drawn of the link.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from echoscape.channel_model.bounce_ray import BounceRays
from echoscape.channel_model.urban_micro import (
    OFFSETS,
    ORDER,
    RICIAN_DB,
    SMALL,
    correlation,
    path_loss,
    sight_probability,
    spread_table,
)
from echoscape.checks import InputError
from echoscape.units import length_of

RAYS = 20
"""Of each cluster."""
MOST_CLUSTERS = max(small.clusters for small in SMALL.values())
"""Links with fewer have rays without presence, so that all are of one size."""
_AZIMUTH = {12: 1.146, 19: 1.273}  # C_phi, Table 7.5-2, and C_theta, Table 7.5-4, by clusters
_ZENITH = {12: 1.104, 19: 1.184}
_LOWEST_DB = -25.0  # clusters below are left out
_LEG = 0.4  # of a ray's length lies on each side of the virtual delay
_SUBCLUSTER = np.array([0] * 8 + [1] * 4 + [2] * 4 + [1] * 2 + [0] * 2)  # Table 7.5-5
_RANGE = (0.5, 100.0)  # carriers [GHz]


def draw_link(
    station: Float[np.ndarray, "3"],
    user: Float[np.ndarray, "3"],
    carrier_frequency: float,
    rng: np.random.Generator,
    sight: bool | None = None,
) -> tuple[BounceRays, dict[str, Any]]:
    """Draw one link.

    Args:
        station: Where the station is [m].
        user: Where the user is at first [m].
        carrier_frequency: Carrier [Hz].
        rng: Random numbers.
        sight: Whether there is line of sight; drawn if not given.

    Returns:
        The rays, the line of sight first, `MOST_CLUSTERS` times `RAYS` after it; and
        ``line_of_sight``, ``path_loss`` with fading [dB], ``rician`` [dB, none out of sight] and
        the five spreads [s, degree] as drawn.

    Raises:
        InputError: The places coincide, or the tables do not hold at the carrier.
    """
    frequency = 1e-9 * carrier_frequency
    if not _RANGE[0] <= frequency <= _RANGE[1]:
        raise InputError(
            f"the tables of TR 38.901 hold from {_RANGE[0]:g} to {_RANGE[1]:g} GHz; got "
            f"{frequency:g} GHz"
        )
    away = np.asarray(user, float) - station
    distance, whole = float(np.hypot(*away[:2])), float(np.linalg.norm(away))
    if distance < 1.0:
        raise InputError(
            f"a user must stand 1 m or more beside the station, level; got {distance:.3g} m"
        )
    if sight is None:
        sight = bool(rng.random() < sight_probability(distance))
    small = SMALL[sight]
    spread, rician, fading = _large_scale(frequency, sight, distance, away[2], rng)
    loss = path_loss(frequency, sight, distance, station[2], user[2]) + fading

    delay, power = _delays_and_powers(spread["delay"], rician, small, rng)
    direct = 10 ** (0.1 * rician) / (10 ** (0.1 * rician) + 1) if sight else 0.0
    weight = power * (1 - direct)
    weight[0] += direct
    # below the strongest but for the line of sight: below that one too, half the delay spread of
    # links with 15 dB of K-factor and more would be lost, which the standard's scaling restores
    strong = power >= power.max() * 10 ** (0.1 * _LOWEST_DB)
    if sight:
        k = rician
        delay = delay / (0.7705 - 0.0433 * k + 0.0002 * k**2 + 0.000017 * k**3)  # Eq. (7.5-3)
    azimuth = math.degrees(math.atan2(away[1], away[0]))
    zenith = math.degrees(math.acos(away[2] / whole))
    mean_zenith = spread_table(frequency, sight, distance, away[2])["departure_zenith"].mean
    drop_angle = 0.0 if sight else -(10 ** (-1.5 * math.log10(max(10.0, distance)) + 3.3))
    share = weight / weight.max()
    angles = [
        _azimuths(share, spread["arrival_azimuth"], azimuth + 180.0, rician, small, sight, rng),
        _zeniths(share, spread["arrival_zenith"], 180.0 - zenith, 0.0, rician, small, sight, rng),
        _azimuths(share, spread["departure_azimuth"], azimuth, rician, small, sight, rng),
        _zeniths(share, spread["departure_zenith"], zenith, drop_angle, rician, small, sight, rng),
    ]
    offset = np.concatenate([[x, -x] for x in OFFSETS])
    inside = (small.arrival_spread, small.zenith_spread, small.departure_spread,
              0.375 * 10**mean_zenith)  # fmt: skip
    count = small.clusters
    rays = np.zeros((4, count, RAYS))
    late = np.repeat(delay[:, None], RAYS, axis=1)
    order = np.argsort(-np.where(strong, power, 0.0))[:2]
    late[order] += np.array([0.0, 1.28, 2.56])[_SUBCLUSTER] * small.delay_spread
    for n in range(count):
        for a in range(4):
            mixed = np.arange(RAYS)
            groups = range(3) if n in order else (None,)
            for group in groups:
                mine = mixed if group is None else np.flatnonzero(group == _SUBCLUSTER)
                mixed[mine] = rng.permutation(mine)
            rays[a, n] = angles[a][n] + inside[a] * offset[mixed]
    total = 10 ** (-0.1 * loss)
    each = np.where(strong, power, 0.0)
    each = each / each.sum() * (1 - direct) * total / RAYS
    made = _bounces(station, user, whole, rays, late, np.repeat(each[:, None], RAYS, axis=1),
                    direct * total, small, rng)  # fmt: skip
    drawn = {"line_of_sight": sight, "path_loss": loss, "rician": rician if sight else None}
    return made, drawn | spread


def _large_scale(frequency, sight, distance, height, rng):
    """Draw correlated spreads, K-factor and fading, step 4."""
    drawn = dict(zip(ORDER, np.linalg.cholesky(correlation(sight)) @ rng.normal(size=len(ORDER))))
    table = spread_table(frequency, sight, distance, height)
    spread = {name: 10 ** (row.mean + row.std * drawn[name]) for name, row in table.items()}
    for name, limit in (("departure_azimuth", 104.0), ("arrival_azimuth", 104.0),
                        ("departure_zenith", 52.0), ("arrival_zenith", 52.0)):  # fmt: skip
        spread[name] = min(spread[name], limit)
    rician = RICIAN_DB[0] + RICIAN_DB[1] * drawn["rician"]
    return spread, rician, SMALL[sight].fading_db * drawn["fading"]


def _delays_and_powers(spread, rician, small, rng):
    """Draw clusters' delays and normalised powers, steps 5 and 6."""
    delay = -small.delay_factor * spread * np.log(rng.random(small.clusters))
    delay = np.sort(delay) - delay.min()
    fall = delay * (small.delay_factor - 1) / (small.delay_factor * spread)
    power = np.exp(-fall) * 10 ** (-0.1 * small.shadowing_db * rng.normal(size=small.clusters))
    return delay, power / power.sum()


def _azimuths(share, spread, straight, rician, small, sight, rng):
    """Draw clusters' azimuths, Eqs. (7.5-9) to (7.5-12) [degree]."""
    k = rician
    scale = _AZIMUTH[small.clusters]
    if sight:
        scale *= 1.1035 - 0.028 * k - 0.002 * k**2 + 0.0001 * k**3
    wide = 2 * (spread / 1.4) * np.sqrt(-np.log(np.maximum(share, 1e-12))) / scale
    turned = _signs(rng, len(share)) * wide + rng.normal(size=len(share)) * spread / 7
    return turned - (turned[0] if sight else 0.0) + straight


def _zeniths(share, spread, straight, drop_angle, rician, small, sight, rng):
    """Draw clusters' zeniths, Eqs. (7.5-14) to (7.5-19) [degree]."""
    k = rician
    scale = _ZENITH[small.clusters]
    if sight:
        scale *= 1.3086 + 0.0339 * k - 0.0077 * k**2 + 0.0002 * k**3
    wide = -spread * np.log(np.maximum(share, 1e-12)) / scale
    turned = _signs(rng, len(share)) * wide + rng.normal(size=len(share)) * spread / 7
    return turned - (turned[0] if sight else 0.0) + straight + (0.0 if sight else drop_angle)


def _signs(rng, count):
    return rng.choice([-1.0, 1.0], size=count)


def _bounces(station, user, whole, rays, late, each, direct, small, rng) -> BounceRays:
    """Lay rays out as legs and virtual delays, the line of sight first, padded."""
    most = 1 + MOST_CLUSTERS * RAYS
    count = 1 + each.size
    arrival, up, departure, down = (np.radians(part.ravel()) for part in rays)
    up, down = (np.abs(np.mod(z + np.pi, 2 * np.pi) - np.pi) for z in (up, down))
    length = whole + length_of(late.ravel())
    first, last = np.zeros((most, 3)), np.zeros((most, 3))
    first[:], last[:] = user, station
    first[1:count] = station + _LEG * length[:, None] * _unit(departure, down)
    last[1:count] = user + _LEG * length[:, None] * _unit(arrival, up)
    beyond, power = np.zeros(most), np.zeros(most)
    beyond[1:count] = (1 - 2 * _LEG) * length
    power[0], power[1:count] = direct, each.ravel()
    whole_length = np.full(most, whole)
    whole_length[1:count] = length
    ratio = 10 ** (
        0.1 * (small.cross_ratio_db[0] + small.cross_ratio_db[1] * rng.normal(size=most))
    )
    jones = np.exp(2j * np.pi * rng.random((most, 2, 2)))
    jones *= np.array([[1.0, 0.0], [0.0, 1.0]]) + np.array([[0.0, 1.0], [1.0, 0.0]]) * np.sqrt(
        1 / ratio[:, None, None]
    )
    jones[0] = np.diag([1.0, -1.0])
    there = power > 0
    gain_db = 10 * np.log10(np.where(there, power * whole_length**2, 1e-30))

    def twice(values):
        return jnp.asarray(np.stack([values, values]))

    return BounceRays(
        station=jnp.asarray(station, float),
        line_of_sight=jnp.arange(most) == 0,
        time=jnp.array([0.0, 1.0]),
        first=twice(first),
        last=twice(last),
        beyond=twice(beyond),
        gain_db=twice(gain_db),
        presence=twice(there.astype(float)),
        jones=twice(jones),
    )


def _unit(azimuth, zenith):
    across = np.sin(zenith)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), np.cos(zenith)], axis=1)
