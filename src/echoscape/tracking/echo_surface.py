"""The surfaces around a station as it hears them: planes through its own echoes, and the ground.

The inverse range of a plane is linear in direction, so the echoes around a direction are fitted by
planes, outliers left out, whatever the slope; where several surfaces meet, each is a candidate with
the share of the echoes that lie on it.

Takes `StationEchoes` and a direction.
Gives `Candidate`s, and the level of the ground.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from echoscape.checks import InputError
from echoscape.units import wrap_angle

NEAREST = 24
"""Echoes around a direction that are looked at."""
_SEEDS = 6  # of which each of so many begins a plane
_FEWEST = 4  # echoes that make a plane
_GATE = 3.0  # deviations
_FLAT = 0.3  # what a surface may stand off its plane [m]
_AROUND = 60.0  # how far from the station the ground is looked for [m]


@dataclasses.dataclass(frozen=True)
class StationEchoes:
    """What a station heard straight back from the surfaces around it."""

    azimuth: Float[np.ndarray, " echo"]
    """Direction [rad]."""
    zenith: Float[np.ndarray, " echo"]
    """Direction, from +z [rad]."""
    range: Float[np.ndarray, " echo"]
    """Distance, half of the way out and back [m]."""
    angle_std: Float[np.ndarray, " echo"]
    """Standard deviation of both angles [rad]."""
    range_std: Float[np.ndarray, " echo"]
    """Standard deviation of the range [m]."""

    def __post_init__(self):
        if not len(self.range):
            raise InputError("a joint start needs echoes of the station; there is none")
        for name in ("azimuth", "zenith", "range", "angle_std", "range_std"):
            values = getattr(self, name)
            if not np.isfinite(values).all():
                raise InputError(f"{name} of a station's echoes must be finite numbers")
        if np.min(self.range) <= 0:
            raise InputError(
                f"ranges of a station's echoes must be above zero, in m; got {np.min(self.range):g}"
            )


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A surface that a ray from the station may meet."""

    inverse: float
    """1 / range along the ray [1/m]."""
    slope: np.ndarray
    """Of that by azimuth and zenith [1/m/rad]."""
    variance: float
    """Of the inverse range, the direction given [1/m^2]."""
    log_share: float
    """Logarithm of the share of the nearby echoes that lie on it."""


class Surface:
    """Echoes by direction."""

    def __init__(self, echoes: StationEchoes):
        self.echoes = echoes
        self.tree = KDTree(unit_vectors(echoes.azimuth, echoes.zenith))
        near = np.asarray(self.tree.query(self.tree.data, min(2, len(echoes.range)))[0])
        self.spacing = float(np.median(near[:, -1])) if len(echoes.range) > 1 else 0.0

    def candidates(self, azimuth: float, zenith: float, std: float) -> list[Candidate]:
        """Fit planes to the echoes around a direction."""
        echoes, here = self.echoes, unit_vectors(np.array(azimuth), np.array(zenith))
        away, near = self.tree.query(here, min(NEAREST, len(echoes.range)))
        away, near = np.atleast_1d(away), np.atleast_1d(near)
        reach = np.hypot(std, np.median(echoes.angle_std)) + self.spacing
        if away[0] > _GATE * reach:
            return []
        weight = np.exp(-0.5 * (away / reach) ** 2)
        offset = np.stack(
            [wrap_angle(echoes.azimuth[near] - azimuth), echoes.zenith[near] - zenith], 1
        )
        inverse = 1 / echoes.range[near]
        place = echoes.range[near, None] * unit_vectors(echoes.azimuth[near], echoes.zenith[near])
        free, found = np.ones(len(near), bool), []
        for seed in range(min(_SEEDS, len(near))):
            if not free[seed]:
                continue
            order = np.argsort(np.linalg.norm(place - place[seed], axis=1))
            inside = np.zeros(len(near), bool)
            inside[order[:_FEWEST]] = True
            fit = self._plane(offset, inverse, near, inside, weight)
            for _ in range(3):
                residual = np.abs(inverse - fit[0] - offset @ fit[1])
                wider = residual < _GATE * fit[3]
                wider[seed] = True
                if wider.sum() < 1 or np.array_equal(wider, inside):
                    break
                inside = wider
                fit = self._plane(offset, inverse, near, inside, weight)
            free &= ~inside
            if fit[0] > 1e-4:
                share = float(weight[inside].sum() / weight.sum())
                found.append(Candidate(fit[0], fit[1], fit[2], math.log(max(share, 1e-6))))
        return found

    def _plane(self, offset, inverse, near, inside, weight):
        """Fit inverse range linearly in direction; few echoes pull the slopes towards none."""
        echoes = self.echoes
        rows = np.column_stack([np.ones(len(near)), offset])
        slope = np.zeros(2)
        for _ in range(2):
            noise = (np.hypot(echoes.range_std[near], _FLAT) * inverse**2) ** 2
            noise = noise + np.sum(slope**2) * echoes.angle_std[near] ** 2
            use = np.where(inside, np.maximum(weight, 1e-3), 0.0) / noise
            # slopes of a wall 45 degrees off are as large as the inverse range itself
            prior = np.diag([0.0, 1.0, 1.0]) / (3 * inverse[inside].mean()) ** 2
            information = rows.T @ (use[:, None] * rows) + prior + 1e-12 * np.eye(3)
            covariance = np.linalg.inv(information)
            fitted = covariance @ (rows.T @ (use * inverse))
            slope = fitted[1:]
        return fitted[0], slope, covariance[0, 0], np.sqrt(noise)


def ground_level(echoes: StationEchoes, station: np.ndarray) -> float | None:
    """Find the level of the ground around the station: where most of the lowest echoes lie [m]."""
    height = station[2] + echoes.range * np.cos(echoes.zenith)
    near = (echoes.range * np.sin(echoes.zenith) < _AROUND) & (height < station[2] - 1.0)
    if near.sum() < NEAREST:
        return None
    error = np.hypot(echoes.range_std * np.cos(echoes.zenith),
                     echoes.range * np.sin(echoes.zenith) * echoes.angle_std)  # fmt: skip
    lowest = near & (height < np.quantile(height[near], 0.2) + 0.5)
    return float(np.average(height[lowest], weights=1 / (error[lowest] ** 2 + 0.01)))


def unit_vectors(azimuth, zenith) -> np.ndarray:
    """Point along directions, numbers or arrays.

    Args:
        azimuth: From +x counter-clockwise [rad].
        zenith: From +z [rad].
    """
    across = np.sin(zenith)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), np.cos(zenith)], axis=-1)
