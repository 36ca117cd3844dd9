"""What message passing over an occlusion-aware cascade carries from one iteration to the next.

Takes samples, a `Cascade`, a first mask and `GampSettings`.
Gives the state to start from, and the types of what comes out.
"""

import enum
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int, UInt8

from echoscape.imaging.operator.cascade import Cascade, Mask
from echoscape.numerics.denoisers import BernoulliGaussian

CARRIED = 0.2
"""Occupied voxels at first for each real sample, or each complex one if coefficients are."""


class MaskModel(enum.Enum):
    """Where the mask comes from."""

    KNOWN = "given"
    """It is known, or everything is taken to be in sight."""
    GEOMETRIC = "geometry"
    """Voxels above a threshold hide what is behind them; nothing else is assumed."""
    LEARNED = "bits"
    """Every segment has a visibility variable, with the geometry as its prior and the samples as
    evidence."""
    UNSTRUCTURED = "free"
    """Every segment has a visibility variable, with the same prior everywhere: no geometry."""


HARD_MASKS = (MaskModel.KNOWN, MaskModel.GEOMETRIC)
"""Where segments are open or closed, and not likely so: what stands in them is counted."""


class GampSettings(eqx.Module):
    """How the messages are passed."""

    mask_model: MaskModel = eqx.field(default=MaskModel.LEARNED, static=True)
    """Where the mask comes from."""
    iterations: Int[Array, ""] | int = 150
    """The most iterations."""
    learn_noise: Bool[Array, ""] | bool = False
    """Whether the noise is learnt too."""
    radius: Float[Array, ""] | float = 0.5
    """A voxel hides what lies within this distance behind it [m]."""
    first_update: Float[Array, ""] | float = 3.0
    """Iteration before which the mask is left alone."""
    step: Float[Array, ""] | float = 0.3
    """Part of each new message that is taken."""
    rate: Float[Array, ""] | float = 0.05
    """First guess of the share of occupied voxels; less where the samples could not carry it."""
    threshold: Float[Array, ""] | float = 0.15
    """A voxel below this part of the typical coefficient hides nothing."""
    false_occlusion: Float[Array, ""] | float = 0.05
    """Probability that a segment is hidden by what no estimate shows."""
    presence_threshold: Float[Array, ""] | float = 0.2
    """A voxel less probable than this has no say about its visibility variables."""
    message_step: Float[Array, ""] | float = 0.3
    """Part of each new message that is taken."""
    message_cap: Float[Array, ""] | float = 3.0
    """Largest log-odds by which closed segments make a voxel on them more probable."""
    segment_message_limit: Float[Array, ""] | float = 5.0
    """Largest log-odds that one segment contributes."""
    visibility_step: Float[Array, ""] | float = 0.5
    """Part of each new probability of visibility that is taken."""


class GampState(NamedTuple):
    """State of the message passing."""

    mean: Inexact[Array, "chunk voxel"]
    variance: Float[Array, "chunk voxel"]
    present: Float[Array, "chunk voxel"]
    residual: Complex[Array, "subcarrier user station antenna"]
    precision: Float[Array, "subcarrier user station antenna"]
    spread: Float[Array, "subcarrier user station antenna"]
    mask: Mask
    prior: BernoulliGaussian
    noise: Float[Array, ""]
    cast: Float[Array, " padded"]
    """What each voxel has contributed to the shadows."""
    occupancy_message: Float[Array, " padded"]
    misfit: Float[Array, ""]
    iteration: Int[Array, ""]
    moved: Float[Array, ""]


class Guess(NamedTuple):
    """What an earlier run found, as a place to start from."""

    mean: Inexact[Array, "chunk voxel"]
    """Coefficients."""
    prior: BernoulliGaussian
    """Their prior."""
    given: Bool[Array, ""]
    """Whether this is a guess at all; if not, the run begins from nothing."""


class BestIterate(NamedTuple):
    """What is kept of the iterate whose residual was lowest: no more, or it would fill memory."""

    mean: Inexact[Array, "chunk voxel"]
    variance: Float[Array, "chunk voxel"]
    present: Float[Array, "chunk voxel"]
    user: UInt8[Array, "chunk user byte"]
    """Bits of whether each user is likelier to see each voxel than not."""
    station: UInt8[Array, "chunk station byte"]
    """Bits of whether each station is."""
    prior: BernoulliGaussian
    noise: Float[Array, ""]
    misfit: Float[Array, ""]

    def segments(
        self, voxels: int
    ) -> tuple[Bool[np.ndarray, "user voxel"], Bool[np.ndarray, "station voxel"]]:
        """Unpack the segments from users and to stations, flat over the first voxels."""

        def flat(packed):
            segments = np.unpackbits(np.asarray(packed), axis=2, count=self.mean.shape[1])
            return (
                np.moveaxis(segments, 1, 0).reshape(segments.shape[1], -1)[:, :voxels].astype(bool)
            )

        return flat(self.user), flat(self.station)


class Outcome(NamedTuple):
    """How one run ended."""

    best: BestIterate
    """The iterate whose residual was lowest."""
    iterations: int
    """How many were made."""
    finite: bool
    """Whether the last misfit was a number."""
    misfit: Float[np.ndarray, " iteration"]
    """Mean squared residual over the noise, at each iteration."""


class Counts(NamedTuple):
    """How much there is, padding apart."""

    samples: Float[Array, ""] | np.ndarray | int
    voxels: Float[Array, ""] | np.ndarray | int


def largest_rate(counts: Counts, is_complex: bool) -> Any:
    """Say how many voxels in one the samples can tell apart at best, about.

    Told more, message passing explains the samples by tens of thousands of small coefficients.
    """
    return CARRIED * counts.samples * (1 if is_complex else 2) / counts.voxels


def init(
    received: Complex[Array, "subcarrier user station antenna"],
    cascade: Cascade,
    mask: Mask,
    noise: Float[Array, ""],
    settings: GampSettings,
    counts: Counts,
    is_complex: bool = False,
) -> GampState:
    """Start from nothing: no coefficient known, everything in sight."""
    real = cascade.real_type
    power = jnp.sum(jnp.abs(received) ** 2) / counts.samples
    rate = jnp.minimum(settings.rate, largest_rate(counts, is_complex)).astype(real)
    size = jnp.maximum(power - noise, 0.01 * power) * counts.samples
    size = (size / (rate * counts.voxels * cascade.mean_column_norm())).astype(real)
    shape = cascade.padded
    kind = cascade.complex_type if is_complex else real
    return GampState(
        mean=jnp.zeros(shape, kind),
        variance=jnp.full(shape, rate * size),
        present=jnp.full(shape, rate),
        residual=jnp.zeros_like(received),
        precision=jnp.zeros(received.shape, real),
        spread=jnp.zeros(received.shape, real),
        mask=mask,
        prior=BernoulliGaussian(rate, jnp.zeros((), kind), size),
        noise=jnp.asarray(noise, real),
        cast=jnp.zeros(shape[0] * shape[1], real),
        occupancy_message=jnp.zeros(shape[0] * shape[1], real),
        misfit=jnp.asarray(jnp.inf, real),
        iteration=jnp.zeros((), jnp.int32),
        moved=jnp.asarray(jnp.inf, real),
    )
