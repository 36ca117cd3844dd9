"""Echo samples as a tensor of tones: one axis for each thing an echo has an angle or delay along.

A planar array splits into rows and columns, so that an echo is a product of up to five tones:
receive rows and columns, transmit rows and columns, subcarriers.  Axes of one element are left
out.  Every estimator works on this tensor, whatever the arrays.

Takes `EchoSnapshots`, directions and delays.
Gives tensors and frequencies [rad/sample], and directions and delays again.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from echoscape.checks import InputError
from echoscape.scene import PlanarArray
from echoscape.scene.array_axes import check_unambiguous, direction_of_advance, phase_advance
from echoscape.signals import EchoSnapshots, Waveform


class SampleTensor(eqx.Module):
    """How samples of a pair of arrays and a waveform make a tensor."""

    transmit: PlanarArray = eqx.field(static=True)
    """Transmitting array."""
    receive: PlanarArray = eqx.field(static=True)
    """Receiving array."""
    waveform: Waveform = eqx.field(static=True)
    """The waveform."""

    @property
    def whole(self) -> tuple[int, int, int, int, int]:
        """Sizes of all five axes."""
        return (
            self.receive.rows, self.receive.columns, self.transmit.rows, self.transmit.columns,
            self.waveform.subcarriers,
        )  # fmt: skip

    @property
    def kept(self) -> tuple[int, ...]:
        """Which of the five axes have more than one sample."""
        return tuple(axis for axis, size in enumerate(self.whole) if size > 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes kept."""
        return tuple(self.whole[axis] for axis in self.kept)

    @property
    def samples(self) -> int:
        """Samples in all."""
        return math.prod(self.whole)

    def fold(self, samples: Complex[Array, "receive transmit subcarrier"]):
        """Arrange one snapshot's samples as a tensor."""
        return samples.reshape(self.shape)

    def frequencies(
        self,
        departure: tuple[Float[Array, " echo"], Float[Array, " echo"]],
        arrival: tuple[Float[Array, " echo"], Float[Array, " echo"]],
        delay: Float[Array, " echo"],
    ) -> Float[Array, "echo axis"]:
        """Turn (azimuth, zenith) at both ends and delays into frequencies [rad/sample]."""
        turn = -2 * math.pi * self.waveform.spacing * delay[:, None]
        parts = [phase_advance(self.receive, *arrival), phase_advance(self.transmit, *departure)]
        return jnp.concatenate([*parts, turn], axis=1)[:, jnp.asarray(self.kept)]

    def spread(self, frequency: Float[Array, " axis"]) -> Float[Array, "5"]:
        """Put an echo's frequencies at their places among all five axes, zero elsewhere."""
        return jnp.zeros(5).at[jnp.asarray(self.kept)].set(frequency)

    def parameters(self, frequency: Float[Array, " axis"]) -> Float[Array, "5"]:
        """Turn one echo's frequencies into departure and arrival azimuth and zenith, and delay."""
        every = self.spread(frequency)
        arrival = direction_of_advance(self.receive, every[:2])
        departure = direction_of_advance(self.transmit, every[2:4])
        turns = jnp.remainder(-every[4] / (2 * math.pi), 1.0)
        return jnp.stack([*departure, *arrival, turns / self.waveform.spacing])


def tensor_of(snapshots: EchoSnapshots) -> SampleTensor:
    """Take what a set of snapshots says about its arrays and waveform.

    Raises:
        InputError: There is nothing to estimate, or angles would be ambiguous.
    """
    tensor = SampleTensor(snapshots.transmit, snapshots.receive, snapshots.waveform)
    if not tensor.kept:
        raise InputError("one antenna at each end and one subcarrier give no angle and no delay")
    if tensor.whole[4] < 2:
        raise InputError(f"delays need at least 2 subcarriers; got {tensor.whole[4]}")
    check_unambiguous(snapshots.transmit, "transmitting")
    check_unambiguous(snapshots.receive, "receiving")
    return tensor


@eqx.filter_jit
def _slopes(
    tensor: SampleTensor, frequency: Float[Array, "echo axis"]
) -> Float[Array, "echo 5 axis"]:
    return jax.vmap(jax.jacfwd(tensor.parameters))(frequency)


def parameter_deviations(
    tensor: SampleTensor, frequency: Float[np.ndarray, "echo axis"], covariance: np.ndarray
) -> Float[np.ndarray, "echo 5"]:
    """Carry the covariances of echoes' frequencies over to directions and delays.

    A zenith angle of a single row is infinite, as is an azimuth of a single column: not measured.

    Args:
        tensor: The tensor.
        frequency: Of every echo [rad/sample].
        covariance: Of each echo's frequencies, [echo, axis, axis].
    """
    slopes = np.asarray(_slopes(tensor, jnp.asarray(frequency)))
    variance = np.einsum("eia,eab,eib->ei", slopes, covariance, slopes)
    ends = ((0, 1, tensor.transmit), (2, 3, tensor.receive))
    for azimuth, zenith, array in ends:
        if array.rows == 1:
            variance[:, zenith] = np.inf
        if array.columns == 1:
            variance[:, azimuth] = np.inf
    return np.sqrt(variance)
