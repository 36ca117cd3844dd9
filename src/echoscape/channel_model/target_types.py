"""Target types of TR 38.901, clause 7.9.2: cross-sections, and how many points stand for a target.

Values of 3GPP TR 38.901 V19.4.0, Tables 7.9.2.1-1 to 7.9.2.1-7 and the list of k1 and k2 below
Eq. (7.9.2-3).  Positions of the five points of a vehicle or an AGV are not in the tables: they lie
in the middles of the sides and of the roof, of the sizes of Table 7.9.1-4, option 1 (AGV), and of
TR 37.885, type 2 (vehicle).

Takes the name of a type.
Gives `TargetType`: positions and cross-sections of its points.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_model.cross_section import ConstantSection, CrossSection, PatternSection
from echoscape.checks import InputError, unknown_name

_ANY = (0.0, 180.0, 0.0, 360.0)
_NONE = math.inf
_MOST_LOBES = 6
# phi_center, phi_3dB, theta_center, theta_3dB, G_max, sigma_max, theta from, to, phi from, to
# [degree, dBsm, dB]
_UAV_LARGE = (  # Table 7.9.2.1-2
    (90, 7.13, 90, 8.68, 7.43, 14.30, 45, 135, 45, 135),
    (180, 10.09, 90, 11.43, 3.99, 10.86, 45, 135, 135, 225),
    (270, 7.13, 90, 8.68, 7.43, 14.30, 45, 135, 225, 315),
    (0, 14.19, 90, 16.53, 1.02, 7.89, 45, 135, -45, 45),
    (0, _NONE, 180, 4.93, 13.55, 20.42, 135, 180, 0, 360),
    (0, _NONE, 0, 4.93, 13.55, 20.42, 0, 45, 0, 360),
)
_HUMAN = (  # Table 7.9.2.1-3
    (0, 216.65, 90, 55.7, 2.14, 7.7, 0, 180, -90, 90),
    (180, 216.65, 90, 55.7, 2.14, 7.7, 0, 180, 90, 270),
)
_VEHICLE = (  # Table 7.9.2.1-4: left, back, right, front, roof
    (90, 26.90, 79.70, 44.42, 20.75, 13.68, 30, 180, 45, 135),
    (180, 36.32, 79.65, 36.73, 14.56, 7.50, 30, 180, 135, 225),
    (270, 26.90, 79.70, 44.42, 20.75, 13.68, 30, 180, 225, 315),
    (0, 40.54, 71.75, 29.13, 15.52, 8.45, 30, 180, -45, 45),
    (0, _NONE, 0, 18.13, 21.26, 14.19, 0, 30, 0, 360),
)
_VEHICLE_POINTS = (  # Table 7.9.2.1-5: left, back, right, front, roof
    (90, 26.90, 79.70, 44.42, 20.60, 20.52, *_ANY),
    (180, 36.32, 79.65, 36.73, 13.90, 13.82, *_ANY),
    (270, 26.90, 79.70, 44.42, 20.60, 20.52, *_ANY),
    (0, 40.54, 71.75, 29.13, 14.99, 14.91, *_ANY),
    (0, _NONE, 0, 18.13, 21.12, 21.05, *_ANY),
)
_AGV = (  # Table 7.9.2.1-6: front, left, back, right, roof
    (0, 13.68, 90, 13.68, 13.02, 23.29, 30, 180, -45, 45),
    (90, 15.53, 75, 20.03, 7.33, 17.60, 30, 180, 45, 135),
    (180, 12.49, 90, 11.89, 11.01, 21.28, 30, 180, 135, 225),
    (270, 15.53, 75, 20.03, 7.33, 17.60, 30, 180, 225, 315),
    (0, _NONE, 0, 11.44, 11.79, 22.06, 0, 30, 0, 360),
)
_AGV_POINTS = (  # Table 7.9.2.1-7: front, left, back, right, roof
    (0, 13.68, 90, 13.68, 13.00, 30.26, *_ANY),
    (90, 15.53, 75, 20.03, 7.27, 24.53, *_ANY),
    (180, 12.49, 90, 11.89, 10.98, 28.24, *_ANY),
    (270, 15.53, 75, 20.03, 7.27, 24.53, *_ANY),
    (0, _NONE, 0, 11.44, 11.77, 29.03, *_ANY),
)
_SIDES = {"left": (0, 0.5, 0), "back": (-0.5, 0, 0), "right": (0, -0.5, 0), "front": (0.5, 0, 0),
          "roof": (0, 0, 0.5)}  # fmt: skip
_VEHICLE_SIZE, _AGV_SIZE = (5.0, 2.0, 1.6), (0.5, 1.0, 0.5)  # length, width, height [m]
_VEHICLE_SIDES = ("left", "back", "right", "front", "roof")
_AGV_SIDES = ("front", "left", "back", "right", "roof")


class TargetType(eqx.Module):
    """The points that stand for a target, in its own axes: x ahead, y left, z up."""

    position: Float[Array, "point 3"]
    """Where they are from the target's centre [m]."""
    section: tuple[CrossSection, ...]
    """Cross-section of each."""
    mean_db: float | None = eqx.field(default=None, static=True)
    """Mean of the linear monostatic cross-section that the tables state, 10 lg sigma_M [dBsm]."""
    fluctuation_db: float = eqx.field(default=0.0, static=True)
    """Standard deviation of the log-normal part, sigma_S [dB]."""
    spin: Float[Array, "point 3"] | None = None
    """Radius [m], turns a second [Hz] and first angle [rad] of points that go round the vertical
    through their `position`; nothing rotates if not given."""
    swing: Float[Array, "point 3"] | None = None
    """Amplitude [m], rate [Hz] and first phase [rad] of points that swing ahead and back."""

    def __check_init__(self):
        if len(self.section) != len(self.position):
            raise ValueError(
                f"a target type needs one cross-section a point; got {len(self.section)} for "
                f"{len(self.position)}"
            )


def _pattern(rows, decline) -> PatternSection:
    unused = (0, _NONE, 0, _NONE, 0, 0, 1, 0, 0, 0)  # never picked; one shape compiles once
    table = np.array([*rows, *[unused] * (_MOST_LOBES - len(rows))], float)
    angles = [0, 1, 2, 3, 6, 7, 8, 9]
    table[:, angles] = np.radians(table[:, angles])
    return PatternSection(jnp.asarray(table), jnp.asarray(decline, float))


def _one(rows, k1, k2, mean, spread) -> TargetType:
    pattern = _pattern(rows, (k1, k2, 1.0))
    return TargetType(jnp.zeros((1, 3)), (pattern,), mean, spread)


def _flat(mean, spread) -> TargetType:
    """Make model 1, Eq. (7.9.2-2): no lobes, less by ``3 sin(beta / 2)`` dB."""
    row = (0, _NONE, 0, _NONE, mean, 300.0, *_ANY)
    return TargetType(jnp.zeros((1, 3)), (_pattern([row], (3.0, 1.0, 0.0)),), mean, spread)


def _several(rows, k1, k2, mean, spread, sides, size) -> TargetType:
    position = np.array([_SIDES[side] for side in sides]) * np.asarray(size)
    patterns = tuple(_pattern([row], (k1, k2, 1.0)) for row in rows)
    return TargetType(jnp.asarray(position), patterns, mean, spread)


_MAKERS = {
    "uav-small": lambda: _flat(-12.81, 3.74),  # Table 7.9.2.1-1
    "human": lambda: _flat(-1.37, 3.94),  # Table 7.9.2.1-1
    "human-pattern": lambda: _one(_HUMAN, 0.5714, 0.1, -1.37, 3.94),
    "uav-large": lambda: _one(_UAV_LARGE, 6.05, 1.33, -5.85, 2.50),
    "vehicle": lambda: _one(_VEHICLE, 6.0, 1.65, 11.25, 3.41),
    "vehicle-points": lambda: _several(
        _VEHICLE_POINTS, 6.0, 1.65, 11.25, 3.41, _VEHICLE_SIDES, _VEHICLE_SIZE
    ),
    "agv": lambda: _one(_AGV, 12.0, 1.45, -4.25, 2.51),
    "agv-points": lambda: _several(_AGV_POINTS, 12.0, 1.45, -4.25, 2.51, _AGV_SIDES, _AGV_SIZE),
}
TYPE_NAMES = ("constant", *_MAKERS)
"""Names of `target_type`."""


def target_type(name: str, cross_section: float = 10.0) -> TargetType:
    """Make a type by its name.

    Args:
        name: One of `TYPE_NAMES`.
        cross_section: Of the type ``constant`` [m^2].

    Raises:
        InputError: There is no such type, or the cross-section is no positive number.
    """
    if name == "constant":
        if not 0 < cross_section < math.inf:
            raise InputError(
                f"a cross-section must be finite and above zero, in m^2; got {cross_section:g}"
            )
        return TargetType(jnp.zeros((1, 3)), (ConstantSection(jnp.asarray(float(cross_section))),))
    if name not in _MAKERS:
        raise unknown_name("target type", name, TYPE_NAMES)
    return _MAKERS[name]()
