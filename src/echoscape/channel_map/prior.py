"""What a channel map promises at a place, and what every map must offer.

Takes a position.
Gives a `PathPrior`: for each path slot whether it exists, its direction, delay and power.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from echoscape.channel_map.station_reports import distance_to_nearest
from echoscape.estimation import AnyArray


class PathPrior(eqx.Module):
    """Distribution of the paths between the base station and a place, in falling probability.

    A slot is one physical path where the map knows identities; slots beyond the known paths have
    probability zero.
    """

    probability: Float[AnyArray, "*batch path"]
    """Probability that the path exists and is among the strongest that a receiver lists."""
    departure_azimuth: Float[AnyArray, "*batch path"]
    """Mean azimuth at the base station [rad]."""
    departure_zenith: Float[AnyArray, "*batch path"]
    """Mean zenith angle at the base station [rad]."""
    delay: Float[AnyArray, "*batch path"]
    """Mean one-way delay [s]."""
    covariance: Float[AnyArray, "*batch path 3 3"]
    """Covariance of (azimuth, zenith, delay) [rad^2, rad^2, s^2]."""
    power: Float[AnyArray, "*batch path"]
    """Expected power gain, linear [1]."""
    log_power_std: Float[AnyArray, "*batch path"] | None = None
    """Standard deviation of the natural logarithm of `power` [1]; None where it is not known."""


class ChannelMap(eqx.Module):
    """Place to paths, for one base station.  Concrete maps are `eqx.Module`s with these members."""

    station: eqx.AbstractVar[str]
    """Name of the base station."""
    station_position: eqx.AbstractVar[Float[AnyArray, "3"]]
    """Where the base station is [m]."""
    report_position: eqx.AbstractVar[Float[AnyArray, "report 3"]]
    """Where the reports were that the map was learnt from [m]."""

    @abc.abstractmethod
    def __call__(self, position: Float[Array, "3"]) -> PathPrior:
        """Predict the paths at one position [m]; pure, differentiable in position, `vmap`-able."""

    def support(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, " place"]:
        """Measure the horizontal distance from each position to the nearest report [m]."""
        return distance_to_nearest(position, self.report_position)

    def predictor(self) -> "ChannelMap":
        """Give a map that predicts the same, in a shape that many maps share: compiled once.

        Where reports are no part of the prediction, or slots may be padded, a map overrides this.
        """
        return self

    def around(self, position: Float[Array, "3"]) -> Callable[[Float[Array, "3"]], PathPrior]:
        """Hold the slots' identities as they are at a position [m], for a search near it.

        A map whose slots change from place to place overrides this; the result is a pytree.
        """
        del position
        return self
