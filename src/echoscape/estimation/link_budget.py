"""Which echoes a base station can detect, and how well it can measure them.

The echo that leaves along path i and returns along path j arrives with

    P_t G_t G_r (4 pi sigma / wavelength^2) g_i g_j

where g are the one-way power gains between isotropic antennas that a user would report.  With
``g = (wavelength / 4 pi d)^2`` it is the radar equation; a path of many bounces pays its loss on
the way out and on the way back.  A receiver that adds coherently for a time T raises the ratio
to the noise ``k T_0 B F`` by ``B T``, and the accuracy of angles and delay follows from that
ratio: the bounds of a single complex tone.

The defaults are a 28 GHz small cell on a lamp post and a car.  The beam is thought to dwell for
the whole coherent time on each pair of paths, so that both array gains count in full.  Elements
are isotropic, panels upright.  Interference between echoes, clutter and the leak from the
station's own transmitter are left out: the figures are those of a good receiver.

Takes one-way power gains and directions (numpy, on the host).
Gives ratios of signal to noise and standard deviations.
"""

import math
import os
from typing import Annotated

import numpy as np
import pydantic
from jaxtyping import Float

from echoscape.checks import read_settings
from echoscape.propagation.free_space import target_gain
from echoscape.units import BOLTZMANN, STANDARD_TEMPERATURE, from_db, wavelength_of, wrap_angle

_Number = Annotated[float, pydantic.Field(strict=True)]
_Count = Annotated[int, pydantic.Field(strict=True, ge=1)]

Values = Float[np.ndarray, "..."] | np.floating | float
"""A number or an array of any shape, double precision on the host."""

_NO_KNOWLEDGE = math.pi / math.sqrt(3)  # [rad] deviation of an angle uniform on the circle


class LinkBudget(pydantic.BaseModel):
    """Transmitter, arrays, target and receiver; decibels and degrees are allowed here alone."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    carrier_frequency: _Number = pydantic.Field(default=28e9, gt=0, description="in Hz")
    bandwidth: _Number = pydantic.Field(default=400e6, gt=0, description="in Hz")
    coherent_time: _Number = pydantic.Field(default=10e-3, gt=0, description="in s")
    transmit_power_dbm: _Number = pydantic.Field(default=30.0, description="in dBm")
    transmit_rows: _Count = pydantic.Field(default=8, description="elements upwards")
    transmit_columns: _Count = pydantic.Field(default=8, description="elements across")
    receive_rows: _Count = pydantic.Field(default=8, description="elements upwards")
    receive_columns: _Count = pydantic.Field(default=8, description="elements across")
    element_spacing: _Number = pydantic.Field(default=0.5, gt=0, description="in wavelengths")
    panels: _Count = pydantic.Field(default=4, description="panels evenly around the mast")
    panel_azimuth_deg: _Number = pydantic.Field(
        default=0.0, description="where the first panel points, in degrees"
    )
    cross_section_dbsm: _Number = pydantic.Field(
        default=10.0, description="the target's mean radar cross-section, in dB of 1 m^2"
    )
    fluctuating: bool = pydantic.Field(
        default=False,
        strict=True,
        description="whether the cross-section is exponentially distributed (Swerling I), drawn "
        "anew for each pair of paths and equal for its reverse",
    )
    noise_figure_db: _Number = pydantic.Field(default=7.0, ge=0, description="in dB")
    threshold_db: _Number = pydantic.Field(
        default=13.0, description="integrated signal-to-noise ratio that is detected, in dB"
    )
    angle_floor_deg: _Number = pydantic.Field(
        default=0.1, ge=0, description="deviation left at any ratio (calibration), in degrees"
    )
    delay_floor: _Number = pydantic.Field(
        default=0.1e-9, ge=0, description="deviation left at any ratio (calibration), in s"
    )

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> "LinkBudget":
        """Read a budget from a file of these very keys, or refuse it in one sentence."""
        return read_settings(os.fspath(path), cls)

    @property
    def wavelength(self) -> float:
        """Wavelength of the carrier [m]."""
        return wavelength_of(self.carrier_frequency)

    @property
    def array_gain(self) -> float:
        """Gain of both arrays together, elements times elements [1]."""
        transmit = self.transmit_rows * self.transmit_columns
        return float(transmit * self.receive_rows * self.receive_columns)

    @property
    def target_gain(self) -> float:
        """What a target multiplies both one-way gains with, ``4 pi sigma / wavelength^2`` [1]."""
        return target_gain(from_db(self.cross_section_dbsm), self.wavelength)

    @property
    def threshold(self) -> float:
        """Ratio above which an echo is detected [1]."""
        return from_db(self.threshold_db)


def echo_power(budget: LinkBudget, outward: Values, back: Values) -> Values:
    """Compute the power received from an echo of the mean cross-section [W].

    Args:
        budget: The link.
        outward: One-way power gain of the path out, between isotropic antennas.
        back: The same of the path back.
    """
    transmitted = from_db(budget.transmit_power_dbm - 30.0)
    return transmitted * budget.array_gain * budget.target_gain * outward * back


def integrated_snr(budget: LinkBudget, power: Values) -> Values:
    """Compute the ratio of signal to noise after coherent integration.

    ``power / (k T_0 B F)`` times ``B T``: the bandwidth cancels.

    Args:
        budget: The link.
        power: Received power [W].
    """
    noise_density = BOLTZMANN * STANDARD_TEMPERATURE * from_db(budget.noise_figure_db)
    return power * budget.coherent_time / noise_density


def delay_deviation(budget: LinkBudget, snr: Values) -> Values:
    """Bound the deviation of a delay: ``sqrt(6 / snr) / (2 pi B)``, with the floor added [s]."""
    tone = np.sqrt(6.0 / snr) / (2 * math.pi * budget.bandwidth)
    return np.hypot(tone, budget.delay_floor)


def direction_deviation(
    budget: LinkBudget,
    snr: Values,
    azimuth: Values,
    zenith: Values,
    *,
    rows: int,
    columns: int,
) -> tuple[Values, Values]:
    """Bound the deviations of (azimuth, zenith) seen by the panel that faces them most [rad].

    On a planar array the cosines to its two axes are the frequencies of two tones that do not
    disturb one another, each known to ``sqrt(6 / ((N^2 - 1) snr)) / (2 pi spacing)`` with the N
    elements of its axis.  (Often N^2 is written for N^2 - 1; the exact form says that one element
    knows no direction.)  The zenith angle follows from the upward cosine alone; the
    azimuth from the sideways cosine, and off the boresight also from the zenith angle.  The
    correlation of the two, present off both axes, is dropped.

    Args:
        budget: The link.
        snr: Integrated ratio of signal to noise.
        azimuth: Of the echo in the site's frame [rad].
        zenith: Of the echo [rad].
        rows: Elements upwards.
        columns: Elements across.

    Returns:
        Deviations with the floor added; infinite, which means not measured, where the bound is
        larger than that of an angle nobody knows.
    """

    def cosine(elements: int):
        if elements == 1:
            return np.full_like(snr, np.inf)
        scale = 2 * math.pi * budget.element_spacing * math.sqrt(elements**2 - 1)
        return np.sqrt(6.0 / snr) / scale

    sector = 2 * math.pi / budget.panels
    aside = azimuth - math.radians(budget.panel_azimuth_deg)
    aside = wrap_angle(aside - sector * np.round(aside / sector))
    horizontal = np.maximum(np.sin(zenith), np.finfo(float).eps)
    zenith_std = cosine(rows) / horizontal
    tilted = np.abs(np.cos(zenith) * np.sin(aside))
    coupled = np.where(tilted > 0, tilted * np.where(tilted > 0, zenith_std, 0.0), 0.0)
    facing = np.maximum(np.abs(np.cos(aside)), np.finfo(float).eps)
    azimuth_std = np.hypot(cosine(columns), coupled) / (horizontal * facing)
    floor = math.radians(budget.angle_floor_deg)
    azimuth_std, zenith_std = np.hypot(azimuth_std, floor), np.hypot(zenith_std, floor)
    return (
        np.where(azimuth_std < _NO_KNOWLEDGE, azimuth_std, np.inf),
        np.where(zenith_std < _NO_KNOWLEDGE, zenith_std, np.inf),
    )
