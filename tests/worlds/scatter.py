"""A world of single bounces in space, for the tests of maps: five scatterers, visible to all."""

import numpy as np

from echoscape.estimation import PathEstimates
from echoscape.reports import Reports

MAST = np.array([11.0, -4.0, 9.0])
SCATTERERS = np.array(
    [[31, 22, 3], [-14, 37, 14], [52, -9, 6], [4, -41, 1], [40, 48, 8]], dtype=float
)


def single_bounces(
    count=100, seed=0, jitter=0.0, angle_std=0.0, delay_std=0.0, position_std=0.0
) -> Reports:
    """Report all five paths of drawn users, strongest first."""
    rng = np.random.default_rng(seed)
    place = np.c_[rng.uniform(-30, 60, count), rng.uniform(-30, 60, count), np.full(count, 1.5)]
    point = SCATTERERS + jitter * rng.normal(size=(count, 5, 3))
    out, back = point - MAST, place[:, None] - point
    first, second = np.linalg.norm(out, axis=-1), np.linalg.norm(back, axis=-1)
    power = np.array([1.3, 0.7, 2.4, 1.1, 1.6]) / (first * second) ** 2
    order = np.argsort(-power, axis=1)
    take = lambda leaf: np.take_along_axis(leaf, order, axis=1)  # noqa: E731
    noise = lambda std: std * rng.normal(size=(count, 5))  # noqa: E731
    azimuth = take(np.arctan2(out[..., 1], out[..., 0])) + noise(angle_std)
    zenith = take(np.arccos(out[..., 2] / first)) + noise(angle_std)
    length = take(first + second) + noise(delay_std * 299_792_458.0)
    ones = np.ones((count, 5))
    estimates = PathEstimates(
        departure_azimuth=np.angle(np.exp(1j * azimuth)), departure_zenith=zenith,
        arrival_azimuth=0 * ones, arrival_zenith=0 * ones, length=length, power=take(power),
        departure_azimuth_std=max(angle_std, 1e-3) * ones,
        departure_zenith_std=max(angle_std, 1e-3) * ones, arrival_azimuth_std=np.inf * ones,
        arrival_zenith_std=np.inf * ones,
        length_std=max(delay_std * 299_792_458.0, 1e-2) * ones, valid=ones > 0,
    )  # fmt: skip
    return Reports(
        estimates=estimates,
        position=place + position_std * rng.normal(size=(count, 3)) * [1, 1, 0],
        position_std=np.full(count, position_std), time=np.zeros(count), report=np.arange(count),
        station_index=np.zeros(count, dtype=int), station_position=MAST[None], station=("mast",),
    )  # fmt: skip
