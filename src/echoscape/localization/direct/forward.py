"""The echoes that a target at a position sends from a transmitting to a receiving station.

A target at a position sends an echo along every pair of a path that reaches it and a path that
leaves it.  The map's own errors are part of it: every path's angles and delay may be off by what
the map itself claims, alike in all echoes of that path.

Takes channel maps and an `SampleTensor`.
Gives frequencies [rad/sample] of all echoes as a function of position and map errors.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from echoscape.channel_map import ChannelMap
from echoscape.estimation.sample_tensor import SampleTensor
from echoscape.units import delay_of, length_of

_PRESENT = 0.3  # paths less probable than this do not take part
_LEAST = 1e-9  # deviation of a path that the map is certain of, in its own units squared
_UNITS = (1.0, 1.0, length_of(1e-9))  # azimuth, zenith, length: rad, rad, 1 ns of travel


class DirectView(eqx.Module):
    """Maps of both ends; a single station has one map at both."""

    transmitter: ChannelMap
    """From the transmitting station."""
    receiver: ChannelMap | None
    """From the receiving station; None where it is the same one."""
    tensor: SampleTensor
    """How samples are arranged."""
    paths: int = eqx.field(static=True)
    """Most one-way paths of each map."""
    reciprocal: bool = eqx.field(default=True, static=True)
    """Whether the gain out along i and back along j is that of the reverse, at one station."""

    @property
    def mix(self) -> Float[Array, "echo gain"]:
        """Which unknown gain each echo has."""
        if self.receiver is not None or not self.reciprocal:
            return jnp.eye(self.echoes)
        one, other = np.triu_indices(self.paths)
        matrix = np.zeros((self.echoes, len(one)))
        matrix[one * self.paths + other, np.arange(len(one))] = 1.0
        matrix[other * self.paths + one, np.arange(len(one))] = 1.0
        return jnp.asarray(matrix)

    @property
    def errors(self) -> int:
        """How many numbers describe the maps' errors."""
        return 3 * self.paths * (1 if self.receiver is None else 2)

    @property
    def echoes(self) -> int:
        """How many echoes at most."""
        return self.paths**2

    def select(self, position: Float[Array, "3"]) -> "SelectedView":
        """Select the paths that take part near a position, and hold them."""
        ends = [self.transmitter] if self.receiver is None else [self.transmitter, self.receiver]
        return SelectedView(
            [_SelectedMap.at(end, position, self.paths) for end in ends], self.tensor, self.mix
        )


class _SelectedMap(eqx.Module):
    near: eqx.Module
    slot: Array
    present: Array
    root: Array

    @classmethod
    def at(cls, channel_map: ChannelMap, position, paths: int) -> "_SelectedMap":
        near = channel_map.around(position)
        prior = near(position)
        mask = prior.probability > _PRESENT
        score = jnp.where(mask, prior.probability, -1.0)
        # Probable paths first; among those alike, the stronger.
        share = prior.power / jnp.maximum(jnp.max(prior.power), jnp.finfo(prior.power.dtype).tiny)
        slot = jnp.argsort(-(score + 1e-3 * share))[:paths]
        unit = 1.0 / jnp.asarray(_UNITS)
        covariance = prior.covariance[slot] * unit[None, :, None] * unit[None, None]
        root = jnp.linalg.cholesky(covariance + _LEAST**2 * jnp.eye(3)[None])
        extra = paths - slot.shape[0]
        if extra > 0:
            slot = jnp.pad(slot, (0, extra))
            root = jnp.pad(root, ((0, extra), (0, 0), (0, 0)))
        present = mask[slot] & (jnp.arange(paths) < paths - max(extra, 0))
        return cls(near, slot, present, root)  # pyright: ignore[reportArgumentType]

    def predict(self, position, error):
        """Give every path's azimuth, zenith and length at a position, its errors in deviations."""
        prior = self.near(position)  # pyright: ignore[reportCallIssue]
        off = jnp.einsum("lij,lj->li", self.root, error) * jnp.asarray(_UNITS)[None]
        return (
            prior.departure_azimuth[self.slot] + off[:, 0],
            prior.departure_zenith[self.slot] + off[:, 1],
            prior.length[self.slot] + off[:, 2],
        )


class SelectedView(eqx.Module):
    """A view whose paths are selected."""

    end: list[_SelectedMap]
    """One for a single station, otherwise transmitter and receiver."""
    tensor: SampleTensor
    """How samples are arranged."""
    mix: Float[Array, "echo gain"]
    """Which unknown gain each echo has."""

    @property
    def present(self) -> Bool[Array, " echo"]:
        """Which echoes take part: out along i and back along j is number ``i * paths + j``."""
        return (self.end[0].present[:, None] & self.end[-1].present[None]).ravel()

    def frequencies(
        self, position: Float[Array, "3"], error: Float[Array, " error"]
    ) -> Float[Array, "echo axis"]:
        """Predict the frequencies of all echoes.

        Args:
            position: Of the target [m].
            error: Errors of the maps, in their own deviations.
        """
        per_end = error.reshape(len(self.end), -1, 3)
        predicted = [end.predict(position, error) for end, error in zip(self.end, per_end)]
        out, back = predicted[0], predicted[-1]
        count = out[0].shape[0]
        i, j = jnp.repeat(jnp.arange(count), count), jnp.tile(jnp.arange(count), count)
        delay = delay_of(out[2][i] + back[2][j])
        return self.tensor.frequencies((out[0][i], out[1][i]), (back[0][j], back[1][j]), delay)
