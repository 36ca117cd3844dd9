"""What a channel map predicts at a place, and what every map must offer.

Takes a position.
Gives a `PathPrior`: for each path slot whether it exists, its direction, length and power.
"""

import abc
import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from echoscape.channel_map.station_reports import distance_to_nearest
from echoscape.checks import InputError
from echoscape.display import Plotted, counted
from echoscape.propagation.path import AnyArray, Paths
from echoscape.scene import StaticPoints

PathPrior = Paths
"""Paths that a map predicts: with probability, covariance and power, in falling probability.

A slot is one physical path where the map knows identities; slots beyond the known paths have
probability zero.
"""


class ChannelMap(Plotted, eqx.Module):
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

    def __repr__(self) -> str:
        count = np.shape(self.report_position)[0]
        return f"{type(self).__name__}(station={self.station!r}, {counted(count, 'report')})"

    def support(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, " place"]:
        """Measure the horizontal distance from each position to the nearest report [m]."""
        return distance_to_nearest(position, self.report_position)

    def predictor(self) -> "ChannelMap":
        """Give a map that predicts the same, in a shape that many maps share: compiled once.

        Where reports are no part of the prediction, or slots may be padded, a map overrides this.
        """
        return dataclasses.replace(self, station="")  # its name would be compiled in

    def extrapolates(self, position: Float[np.ndarray, "place 3"]) -> Bool[np.ndarray, " place"]:
        """Tell where visibility follows from a prior on buildings instead of from reports [m]."""
        return np.zeros(len(position), bool)

    def at_heights(self, low: float, high: float) -> "ChannelMap":
        """Give a map that predicts the same between two heights [m], and is no slower there.

        A map that predicts the street faster than what is above it overrides this.
        """
        del low, high
        return self

    def around(self, position: Float[Array, "3"]) -> Callable[[Float[Array, "3"]], PathPrior]:
        """Hold the slots' identities as they are at a position [m], for a search near it.

        A map whose slots change from place to place overrides this; the result is a pytree.
        """
        del position
        return self

    def static_points(self) -> StaticPoints:
        """Give the virtual anchors and scatterers that the map knows, in the site's frame.

        Raises:
            InputError: The map knows angles and lengths only.
        """
        raise InputError(
            f"a {type(self).__name__} holds no static points; fit the model 'virtual-anchors' or "
            "'scatterers' to get them"
        )

    def presence(self, position: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, "place point"]:
        """Give the probability that the path of each of the static points is reported at positions.

        Slots keep the points' order; a map whose slots change from place to place overrides this.

        Args:
            position: Where [m].

        Raises:
            InputError: The map holds no static points.
        """
        self.static_points()
        return np.asarray(jax.jit(jax.vmap(self))(jnp.asarray(position)).probability)
