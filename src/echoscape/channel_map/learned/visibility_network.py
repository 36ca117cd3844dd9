"""A network from a position to which of some static points are among the strongest paths there.

Takes reports' positions, and a number of slots.
Gives the fields, first weights and standardised positions that networks of points share.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from echoscape.channel_map.learned.network import forward
from echoscape.channel_map.prior import ChannelMap
from echoscape.estimation import AnyArray

LISTED = 5
"""Strongest paths of a report that are learnt."""
_HIDDEN = (128, 256)

Layers = tuple[tuple[Float[AnyArray, "_ _"], ...], tuple[Float[AnyArray, " _"], ...]]
"""Weights and offsets of each layer, in single precision."""


class VisibilityNetwork(ChannelMap):
    """Static points, and a network from position to which are among the strongest paths."""

    weights: tuple[Float[AnyArray, "_ _"], ...]
    """Weights of each layer, in single precision."""
    biases: tuple[Float[AnyArray, " _"], ...]
    """Offsets of each layer."""
    position_mean: Float[AnyArray, "3"]
    """Middle of the reports [m]."""
    position_scale: Float[AnyArray, "3"]
    """Scale of each coordinate [m]; infinite where all reports agree."""
    station_position: Float[AnyArray, "3"]
    """Where the base station is [m]."""
    report_position: Float[AnyArray, "report 3"]
    """Where the reports were [m]."""
    station: str = eqx.field(static=True)
    """Name of the base station."""

    def visibility(self, position: Float[Array, "3"]) -> Float[Array, " point"]:
        """Give the probability that each point is among the strongest paths at a position [m]."""
        features = ((position - self.position_mean) / self.position_scale).astype(jnp.float32)
        weights, biases = jax.tree.map(jnp.asarray, (self.weights, self.biases))
        return jax.nn.sigmoid(forward(weights, biases, features).astype(position.dtype))

    def predictor(self) -> ChannelMap:
        """Leave the reports out."""
        return eqx.tree_at(lambda m: m.report_position, self, np.zeros((1, 3)))


def position_scales(
    position: Float[np.ndarray, "report 3"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Measure middle and scale of the reports' positions [m]; infinite where they agree."""
    size = position.std(0)
    return position.mean(0), np.where(size > 0.1, size, np.inf)


def first_layers(slots: int, key: PRNGKeyArray) -> Layers:
    """Draw first weights; every slot is as probable as if all were alike."""
    sizes = (3, *_HIDDEN, slots)
    weights = [
        (6.0 / a) ** 0.5 * jax.random.uniform(k, (a, b), jnp.float32, -1.0, 1.0)
        for a, b, k in zip(sizes, sizes[1:], jax.random.split(key, len(sizes) - 1))
    ]
    weights[-1] = 0.05 * weights[-1]
    biases = [jnp.zeros(b, jnp.float32) for b in sizes[1:-1]]
    biases.append(jnp.full(slots, np.log(LISTED / slots), jnp.float32))
    return tuple(weights), tuple(biases)


def keep_slots(layers: Layers, kept: np.ndarray) -> Layers:
    """Let the other slots go."""
    (*weights, last), (*biases, offset) = layers
    return (*weights, last[:, kept]), (*biases, offset[kept])


def parts_of(data, count: int):
    """Cut reports into parts small enough to compare with all slots at once."""
    return [jax.tree.map(lambda leaf, k=k: leaf[k : k + 256], data) for k in range(0, count, 256)]
