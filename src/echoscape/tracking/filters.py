"""What follows a user and the points around: filters, each with its settings as fields.

The joint filter estimates the user with the points; `KnownUser` takes the user's position from the
observations; `BouncePoints` follows first and last bounces that move, as the paper does, on the
associations of a `KnownUser` filter.  The fields are what the command ``track`` offers.

Takes settings.
Gives a filter for `track`.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Literal

import equinox as eqx
import numpy as np

from echoscape.checks import InputError
from echoscape.files.limits import read_small_text

UNKNOWN = ("clock", "heading", "station-heading")
"""What deployments may not know and the joint filter can estimate with the rest."""
UNKNOWN_STD = {"clock_std": 30.0, "clock_drift_std": 0.05, "heading_std": 0.3,
               "station_heading_std": 0.1}  # fmt: skip
"""Prior deviations where one of `UNKNOWN` is named: 100 ns, an oscillator of 0.2 parts in 10^9,
a compass, and a bracket [m, m/s, rad, rad]."""
MOTIONS = {
    "pedestrian": (0.25, 1.0, 0.02, 0.05),
    "vehicle": (1.0, 4.0, 0.05, 0.1),
    "uav": (0.5, 2.0, 0.5, 2.0),
}
"""Acceleration densities, steady and in manoeuvres, level and vertical [m/s^2/sqrt(Hz)]."""
_MOTION_FIELDS = ("acceleration", "manoeuvre", "vertical_acceleration", "vertical_manoeuvre")


class TrackingFilter(eqx.Module):
    """A way to follow; never instantiated itself."""


class JointFilter(TrackingFilter):
    """User and static points in one Gaussian; the defaults serve a pedestrian.

    Thresholds were set on a ray-traced walk through one city and on walks between mirrors; other
    routes were used neither to set nor to check them; see ``docs/papers/isac-gbsm.md``.
    """

    slots: int = eqx.field(static=True, default=40)
    """Points held at once, detected or remembered; a multiple of `chunk`."""
    chunk: int = eqx.field(static=True, default=8)
    """Paths that one update takes together; changes speed only."""
    association: Literal["messages", "hungarian"] = eqx.field(static=True, default="messages")
    """Which detection belongs to which point: by the probability of each pair under all
    assignments, from belief propagation; or by the one likeliest assignment."""
    passes: int = 3
    """Linearisations of one update."""
    acceleration: float = 0.4
    """Level acceleration of the user, spectral density [m/s^2/sqrt(Hz)]."""
    manoeuvre: float = 1.0
    """The same after a change of velocity that it does not explain [m/s^2/sqrt(Hz)]."""
    vertical_acceleration: float = 0.02
    """Vertical acceleration of the user, spectral density [m/s^2/sqrt(Hz)]."""
    vertical_manoeuvre: float = 0.05
    """The same after an unexplained change of velocity [m/s^2/sqrt(Hz)]."""
    manoeuvre_gate: float = 16.0
    """Squared, normalised change of velocity over a second that counts as a manoeuvre; probability
    1e-3 with 3 coordinates."""
    manoeuvre_time: float = 1.5
    """How long a manoeuvre lasts [s]."""
    clock_std: float = 0.0
    """Prior deviation of the user's clock, times the speed of light; 0 where it is exact [m]."""
    clock_drift_std: float = 0.0
    """Prior deviation of its drift, times the speed of light [m/s]."""
    heading_std: float = 0.0
    """Prior deviation of the user's array heading; 0 where arrivals are in the site's frame
    [rad]."""
    station_heading_std: float = 0.0
    """Prior deviation of the station's array heading [rad]."""
    drift: float = 0.003
    """Random walk of a point, for walls that are not quite flat [m/sqrt(s)]."""
    start_std: float = 0.1
    """Error of every coordinate of the user's start [m]."""
    start_velocity_std: float = 0.1
    """Error of every coordinate of the user's first velocity [m/s]."""
    start_velocity_unknown: float = 2.0
    """The same where the first velocity is not given, for a user who walks [m/s]."""
    known_std: float = 0.05
    """Error of every coordinate where the file knows the user's position [m]."""
    level_std: float = 0.1
    """How well the height of an image in vertical walls is that of the station [m]."""
    gate: float = 30.0
    """Largest squared Mahalanobis distance of a path to its point; probability 1e-5 with 5
    numbers."""
    degrees_of_freedom: float = 4.0
    """Of the Student law of a path's five errors; fewer trust distant paths less."""
    residual_mean_weight: float = 0.2
    """Weight of the newest residual in the running mean that shows a wrong point [1]."""
    residual_mean_gate: float = 25.0
    """Squared running mean, in its standard deviations, from which on a point is given up;
    probability 1e-4 with 5 numbers."""
    memory: float = 3.0
    """How long a point that is not detected may be recognised by itself; after that it is recalled
    together with others only [s]."""
    sure: float = 0.99
    """Probability from which on the type of an image counts as decided."""
    recognised: float = 5.0
    """Log-ratio from which on an image after an odd number of walls becomes that of one wall."""
    refuted: float = -6.0
    """Log-ratio at which one wall is taken back."""
    scatterers: float = 0.02
    """Prior share of paths that come from scatterers [1]."""
    scattered: float = 8.0
    """Log-odds from which on a path is taken to come from a scatterer."""
    detection: float = 0.85
    """Probability that a point in sight is detected."""
    clutter: float = 1.0
    """False and first detections at an instant, expected."""
    sight_gate: float = 14.0
    """Squared, normalised misfit of line of sight up to which a path may be it; probability 3e-3
    with 3 numbers."""
    sight_loss: float = 2.5
    """How far below the strongest that any point has shown, both times the squared length, line of
    sight may be [dB]."""
    uncertain_std: float = 2.0
    """Claimed level error from which on a user counts as uncertain [m]."""
    uncertain_misfit: float = 2.5
    """Mean normalised innovation from which on a user counts as uncertain; 1 is expected."""
    uncertain_share: float = 0.2
    """Share of strong detections from established points below which a user counts as
    uncertain."""
    suspect_clock: bool = eqx.field(static=True, default=True)
    """From the first line of sight on, run a second filter that estimates the clock where this one
    does not, and call the user uncertain once it differs from zero; takes as long again."""
    lost_std: float = 10.0
    """Claimed level error from which on a user counts as lost [m]."""

    def __check_init__(self):
        if isinstance(self.slots, int) and self.slots % self.chunk:
            raise InputError(
                f"slots must be a multiple of chunk, {self.chunk}; got {self.slots} slots"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            signed = field.name == "refuted"
            if number and not (np.isfinite(value) and (signed or value >= 0)):
                raise InputError(f"{field.name} must be finite and not below zero; got {value}")

    def with_unknown(self, *names: str) -> "JointFilter":
        """Estimate what deployments may not know, each of `UNKNOWN` by its name.

        Raises:
            InputError: There is no such name.
        """
        wrong = [name for name in names if name not in UNKNOWN]
        if wrong:
            raise InputError(
                f"unknown may name {', '.join(UNKNOWN)}, with commas between; got {wrong[0]!r}"
            )
        prefixes = tuple(name.replace("-", "_") + "_" for name in names)
        return dataclasses.replace(
            self,
            **{
                field: max(std, getattr(self, field))
                for field, std in UNKNOWN_STD.items()
                if field.startswith(prefixes)
            },
        )

    def with_motion(self, motion: str) -> "JointFilter":
        """Take a motion profile, by name or from a TOML file of this class's acceleration fields.

        Raises:
            InputError: There is no such profile, or the file's settings cannot be used.
        """
        if motion in MOTIONS:
            return dataclasses.replace(self, **dict(zip(_MOTION_FIELDS, MOTIONS[motion])))
        path = Path(motion)
        if path.suffix != ".toml":
            raise InputError(
                f"motion needs one of {', '.join(MOTIONS)} or a .toml file; got {motion!r}"
            )
        try:
            given = tomllib.loads(read_small_text(path, "a profile of motion"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not TOML: {error}") from None
        for name, value in given.items():
            if name not in _MOTION_FIELDS:
                raise InputError(
                    f"{path} may set {', '.join(_MOTION_FIELDS)}, in m/s^2/sqrt(Hz); got {name!r}"
                )
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 100:
                raise InputError(
                    f"{path}: {name} must lie between 0 and 100 m/s^2/sqrt(Hz); got {value!r}"
                )
        return dataclasses.replace(self, **{name: float(value) for name, value in given.items()})


class KnownUser(TrackingFilter):
    """Follow the points around a user whose position the observations know at every instant."""

    position_std: float = 0.005
    """Error of every coordinate of the known positions [m]."""
    points: JointFilter = JointFilter()
    """How points are followed."""


class BouncePoints(TrackingFilter):
    """Follow moving first and last bounces, on the associations of `KnownUser`: baselines.

    Every path carries its own copy of the user, which drifts.
    """

    method: Literal["paper", "bootstrap", "rao-blackwellised", "extended", "unscented"] = eqx.field(
        static=True, default="paper"
    )
    """``paper`` keeps the heaviest particle, Eq. (23) of [isac-gbsm]; two particle and two Kalman
    filters on the same state."""
    particles: int = eqx.field(static=True, default=500)
    """How many, where the method has particles."""
