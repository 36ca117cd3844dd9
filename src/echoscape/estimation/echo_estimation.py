"""From samples to echoes: one verb, four methods, deviations from the joint bound.

Static clutter goes first, by taking off the known empty scene.  The deviations are those of the
bound for all echoes found, jointly and with unknown gains, so echoes that overlap say so; a method
that does not reach the bound is less exact than it claims (`docs/signals.md` says by how much).

Takes `EchoSnapshots` and a method.
Gives `Paths`, one set for each snapshot.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoscape.checks import InputError
from echoscape.estimation.greedy import Order, find_greedily
from echoscape.estimation.periodogram import find_by_spectrum
from echoscape.estimation.sample_tensor import SampleTensor, parameter_deviations, tensor_of
from echoscape.estimation.subspace import find_by_esprit, find_by_music
from echoscape.estimation.tone_fit import ToneFit
from echoscape.numerics.harmonics import frequency_covariances, frequency_information
from echoscape.progress import Progress
from echoscape.propagation.path import Paths
from echoscape.signals import EchoSnapshots

LARGEST_MOST = 1000
"""So many echoes of a snapshot are never resolved."""


class EchoMethod(eqx.Module):
    """A way to find tones in a sample tensor; its fields are its settings."""

    most: eqx.AbstractVar[int]
    """Most echoes of a snapshot."""

    @abc.abstractmethod
    def __call__(self, samples: np.ndarray, noise: float) -> ToneFit:
        """Find the tones."""


class Greedy(EchoMethod):
    """One after the other, moved together off the grid; the number from the noise."""

    most: int = eqx.field(default=40, static=True)
    """Most echoes of a snapshot."""
    order: Order = eqx.field(default="cfar", static=True)
    """How many: "cfar", or "bic" where the noise is not known."""
    false_alarm: float = eqx.field(default=1e-2, static=True)
    """Probability that noise alone makes an echo, with "cfar"."""

    def __call__(self, samples: np.ndarray, noise: float) -> ToneFit:
        """Find the tones."""
        fit = find_greedily(
            jnp.asarray(samples), jnp.asarray(noise, float), most=self.most, order=self.order,
            false_alarm=self.false_alarm,
        )  # fmt: skip
        return jax.tree.map(np.asarray, fit)


class Fft(EchoMethod):
    """Peaks of a tapered Fourier spectrum with parabolic interpolation."""

    most: int = eqx.field(default=40, static=True)
    """Most echoes of a snapshot."""
    false_alarm: float = eqx.field(default=1e-2, static=True)
    """Probability that noise alone makes an echo."""

    def __call__(self, samples: np.ndarray, noise: float) -> ToneFit:
        """Find the tones."""
        return find_by_spectrum(samples, noise, most=self.most, false_alarm=self.false_alarm)


class Esprit(EchoMethod):
    """Shift invariance of the smoothed samples' subspace."""

    most: int = eqx.field(default=40, static=True)
    """Most echoes of a snapshot."""
    sources: int | None = eqx.field(default=None, static=True)
    """How many echoes, if known; from the singular values otherwise."""

    def __call__(self, samples: np.ndarray, noise: float) -> ToneFit:
        """Find the tones."""
        return find_by_esprit(samples, noise, most=self.most, sources=self.sources)


class Music(EchoMethod):
    """Peaks of the smoothed samples' subspace over all axes jointly."""

    most: int = eqx.field(default=40, static=True)
    """Most echoes of a snapshot."""
    sources: int | None = eqx.field(default=None, static=True)
    """How many echoes, if known; from the singular values otherwise."""

    def __call__(self, samples: np.ndarray, noise: float) -> ToneFit:
        """Find the tones."""
        return find_by_music(samples, noise, most=self.most, sources=self.sources)


METHODS: tuple[type[EchoMethod], ...] = (Greedy, Music, Esprit, Fft)
"""The methods that the command line offers."""


def estimate(
    snapshots: EchoSnapshots,
    *,
    method: EchoMethod | None = None,
    progress: Progress | None = None,
) -> Paths:
    """Estimate directions, delay and power of every echo of every snapshot.

    What an array cannot measure (the zenith angle of a single row, the azimuth of a single column)
    has an infinite deviation; its other angle is then that of a wave without a component along
    the axis that is missing, so horizontal for an upright row.

    Args:
        snapshots: Samples.
        method: How to look for echoes; `Greedy` if not given.
        progress: Called as ``progress(done, total, stage)``.

    Returns:
        One set for each snapshot, strongest echoes first.

    Raises:
        InputError: The samples are of two stations, an angle would be ambiguous, or the method
            cannot resolve as many sources.
    """
    method = Greedy() if method is None else method
    if not 1 <= method.most <= LARGEST_MOST:
        raise InputError(
            f"a snapshot must be allowed at least 1 echo and at most {LARGEST_MOST}, which each "
            f"take memory of all its samples; got {method.most}"
        )
    tensor, noise = tensor_of(snapshots), snapshots.noise()
    rows, count = [], len(snapshots.received)
    for number, samples in enumerate(snapshots.echoes):
        folded = np.asarray(samples, dtype=complex).reshape(tensor.shape)
        rows.append(_described(tensor, method(folded, noise), noise))
        if progress is not None:
            progress(number + 1, count, "snapshots")
    width = max(1, max(int(row["valid"].sum()) for row in rows))
    rows = [{name: _fitted(value, width) for name, value in row.items()} for row in rows]
    return Paths.from_delays(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _fitted(value: np.ndarray, width: int) -> np.ndarray:
    return np.pad(value[:width], (0, max(0, width - len(value))))


@eqx.filter_jit
def _covariances(shape, frequency, gain, noise):
    return frequency_covariances(frequency_information(frequency, gain, shape, noise))


def _described(tensor: SampleTensor, fit: ToneFit, noise: float) -> dict[str, np.ndarray]:
    """Turn tones into directions and delays with deviations, strongest first."""
    power = np.where(fit.valid, np.abs(fit.gain) ** 2, 0.0)
    order = np.argsort(-power, kind="stable")
    frequency, gain, valid = (
        np.asarray(leaf)[order] for leaf in (fit.frequency, fit.gain, fit.valid)
    )
    tones = jnp.asarray(frequency)
    covariance = _covariances(tensor.shape, tones, jnp.asarray(np.where(valid, gain, 0.0)), noise)
    values = np.array(_parameters(tensor, tones))
    deviation = parameter_deviations(tensor, frequency, np.asarray(covariance))
    unknown = np.isinf(deviation)
    values = np.where(unknown | ~valid[:, None], 0.0, values)
    deviation = np.where(valid[:, None], deviation, 0.0)
    names = ("departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith", "delay")
    columns = {name: values[:, i] for i, name in enumerate(names)}
    columns |= {f"{name}_std": deviation[:, i] for i, name in enumerate(names)}
    return columns | {"power": np.where(valid, power[order], 0.0), "valid": valid}


@eqx.filter_jit
def _parameters(tensor: SampleTensor, frequency):
    return jax.vmap(tensor.parameters)(frequency)
