"""What is wrong with all reports of a station alike: its clock, and how its array is turned.

Takes nothing.
Gives `StationBias`, and how it is taken off `Reports`.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from echoscape.estimation import AnyArray
from echoscape.reports.report import Reports
from echoscape.units import delay_of, length_of, wrap_angle

_PARAMETERS = ("clock", "yaw", "pitch", "roll")


@dataclasses.dataclass(frozen=True)
class StationBias:
    """Errors that a station's reports share: late by its clock, in the axes of a turned array.

    The array stands turned by ``Rz(yaw) Ry(pitch) Rx(roll)``, from its own axes to the site's, and
    directions are reported in its own: azimuths too small by the yaw.
    """

    clock: float
    """Length that every path is too long by [m]."""
    yaw: float
    """Of the array, counter-clockwise about z [rad]."""
    pitch: float
    """Of the array, about its y: positive lowers its +x [rad]."""
    roll: float
    """Of the array, about its x: positive raises its +y [rad]."""
    covariance: Float[np.ndarray, "4 4"]
    """Of the four in this order; infinite variance where unobservable, zero where known."""
    direct_paths: int
    """How many first arrivals run straight; zero if heights alone tell."""
    angle_scale: float
    """Angle errors over stated ones [1]."""
    length_scale: float
    """Length errors over stated ones [1]."""
    sure: bool = True
    """Whether direct paths are too many to agree by chance."""

    @property
    def values(self) -> Float[np.ndarray, "4"]:
        """Clock, yaw, pitch and roll."""
        return np.array([self.clock, self.yaw, self.pitch, self.roll])

    def stated(self) -> dict[str, float | int | None]:
        """State it in seconds and radians, by name; no deviation where unobservable."""
        std = np.sqrt(np.diag(self.covariance))
        numbers: dict[str, float | int | None] = {}
        for name, value, error in zip(_PARAMETERS, self.values, std):
            unit = delay_of(1.0) if name == "clock" else 1.0
            known = bool(np.isfinite(error))
            numbers[name] = float(value * unit) if known else None
            numbers[f"{name}_std"] = float(error * unit) if known else None
        return numbers | {
            "direct_paths": self.direct_paths,
            "angle_error_scale": self.angle_scale,
            "length_error_scale": self.length_scale,
        }

    @classmethod
    def from_stated(cls, found: Mapping[str, float | int | None]) -> "StationBias":
        """Read what `stated` gave; what was unobservable counts for zero."""
        number = lambda name: float(found.get(name) or 0.0)  # noqa: E731
        std = np.array([number(f"{name}_std") for name in _PARAMETERS])
        std[0] = length_of(std[0])
        return cls(
            clock=length_of(number("clock")),
            yaw=number("yaw"),
            pitch=number("pitch"),
            roll=number("roll"),
            covariance=np.diag(std**2),
            direct_paths=int(number("direct_paths")),
            angle_scale=number("angle_error_scale"),
            length_scale=number("length_error_scale"),
        )


def turn_matrix(yaw, pitch, roll) -> Float[np.ndarray, "*batch 3 3"]:
    """Build ``Rz(yaw) Ry(pitch) Rx(roll)``."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(np.broadcast_arrays(*row), -1) for row in rows], -2)


def unit_vector(azimuth, zenith) -> Float[AnyArray, "*batch 3"]:
    """Point along a direction."""
    return np.stack(
        [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], -1
    )


def remove_station_bias(reports: Reports, bias: Mapping[str, StationBias]) -> Reports:
    """Take biases off reports, and widen errors that are stated too small.

    Args:
        reports: Of one or several stations.
        bias: What is wrong with them, by station; the others stay.
    """
    paths = reports.estimates
    none = StationBias(0.0, 0.0, 0.0, 0.0, np.zeros((4, 4)), 0, 1.0, 1.0)
    each = [bias.get(name, none) for name in reports.station]
    of_station = lambda values: np.array(values)[reports.station_index]  # noqa: E731
    clock, yaw, *tilt = of_station([item.values for item in each]).T
    angle = of_station([max(item.angle_scale, 1.0) for item in each])[:, None]
    length = of_station([max(item.length_scale, 1.0) for item in each])[:, None]
    known = np.isfinite(np.asarray(paths.departure_zenith_std))
    seen = unit_vector(paths.departure_azimuth, np.where(known, paths.departure_zenith, np.pi / 2))
    true = np.einsum("rij,rpj->rpi", turn_matrix(yaw, *tilt), seen)
    flat = wrap_angle(paths.departure_azimuth + yaw[:, None])
    valid = np.asarray(paths.valid)
    changed = {
        "departure_azimuth": np.where(known, np.arctan2(true[..., 1], true[..., 0]), flat),
        "departure_zenith": np.where(
            known, np.arccos(np.clip(true[..., 2], -1, 1)), paths.departure_zenith
        ),
        "length": np.maximum(paths.length - clock[:, None], 0.0),
        "length_std": length * np.asarray(paths.length_std),
    }
    for name in (f"{e}_{k}_std" for e in ("departure", "arrival") for k in ("azimuth", "zenith")):
        changed[name] = angle * np.asarray(getattr(paths, name))
    changed = {name: np.where(valid, value, 0.0) for name, value in changed.items()}
    return dataclasses.replace(reports, estimates=dataclasses.replace(paths, **changed))
