"""Delay alignment modulation from a map: every path leaves early by as much as it is late.

One beam for each path, blind to the other paths, sends the same symbols ahead of time by the path's
delay, so that all arrive together and the channel has one tap.  How many paths are worth a
beam depends on how well the place is known: a symbol is metres long.  The rate expected over the
user's uncertainty, by quadrature through the map, decides.

Takes paths that a map predicts.
Gives beams and advances, and the rate that they reach over a channel.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from echoscape.channel_map.prior import PathPrior

_TAPS = 12  # before and after, in symbols
_TIMINGS = 13  # of the receiver that are tried, over three symbols
_LOADING = 1e-3  # keeps beams finite where two paths leave alike


class TappedPaths(NamedTuple):
    """What a channel is made of, or is expected to be; absent paths have gain zero."""

    gain: Complex[Array, " path"]
    """Amplitude with phase [1]."""
    steering: Complex[Array, "path element"]
    """Response of the station's array along each path."""
    delay: Float[Array, " path"]
    """Delay [s]."""


class Alignment(eqx.Module):
    """Beams that make paths arrive together."""

    beam: Complex[Array, "beam element"]
    """Weights, all beams of unit power together."""
    advance: Float[Array, " beam"]
    """How much earlier each beam sends than the last would [s]."""


def align(expected: TappedPaths, used: Float[Array, " path"]) -> Alignment:
    """Give each path that is used a beam that avoids the other paths expected.

    Args:
        expected: The paths, at the user's estimated position.
        used: 1 for paths that get a beam, 0 for those that are only avoided.
    """
    present = (jnp.abs(expected.gain) > 0).astype(used.dtype)
    a = expected.steering * present[:, None]
    gram = jnp.conj(a) @ a.T
    size = a.shape[1]
    loaded = gram + jnp.diag(_LOADING * size + (1.0 - present) * size).astype(gram.dtype)
    beam = jnp.linalg.solve(loaded, jnp.conj(a)).conj()  # rows answer one path each
    reach = jnp.maximum(jnp.linalg.norm(beam, axis=1), 1e-12)
    # Beams that must bend away from neighbours lose; the others get the power.
    weight = used * present * jnp.abs(expected.gain) / reach
    total = jnp.maximum(jnp.linalg.norm(weight), 1e-30)
    return Alignment((weight / reach / total)[:, None] * beam, -expected.delay)


def aligned_rate(
    truth: TappedPaths, chosen: Alignment, bandwidth: Float[Array, ""], snr: Float[Array, ""]
) -> Float[Array, ""]:
    """Measure the rate over a channel, what does not arrive together being interference.

    Each beam's phase is set by one pilot through it; the receiver samples when that serves best.

    Args:
        truth: The channel's paths.
        chosen: The beams.
        bandwidth: One over the length of a symbol [Hz].
        snr: Transmitted power over noise power, at unit gain.

    Returns:
        Rate [bit/s/Hz].
    """
    answer = truth.gain[:, None] * (jnp.conj(truth.steering) @ chosen.beam.T)
    offset = bandwidth * (truth.delay[:, None] + chosen.advance[None])
    shifts = jnp.linspace(-1.5, 1.5, _TIMINGS)
    return jnp.max(jax.vmap(lambda shift: _rate_at(answer, offset + shift, snr))(shifts))


def _rate_at(
    answer: Complex[Array, "path beam"], offset: Float[Array, "path beam"], snr: Float[Array, ""]
) -> Float[Array, ""]:
    """Measure the rate at one timing of the receiver; offsets in symbols."""
    tap = jnp.arange(-_TAPS, _TAPS + 1, dtype=offset.dtype)
    pulse = jnp.sinc(tap[:, None, None] - offset[None])
    each = jnp.sum(answer[None] * pulse, axis=1)  # [tap, beam]
    middle = each[_TAPS]
    size = jnp.abs(middle)
    turn = jnp.where(size > 0, jnp.conj(middle) / jnp.maximum(size, 1e-30), 1.0)
    power = jnp.abs(each @ turn) ** 2
    # What falls outside the taps interferes too, on average over its phase.
    beyond = jnp.sum(jnp.abs(answer) ** 2 * jnp.maximum(1.0 - jnp.sum(pulse**2, axis=0), 0.0))
    signal = power[_TAPS]
    interference = jnp.sum(power) - signal + beyond
    return jnp.log2(1.0 + snr * signal / (1.0 + snr * interference))


def expected_paths(prior: PathPrior, steering: Complex[Array, "slot element"], count: int):
    """Take the paths that carry the most expected power as a channel, with evenly spread phases."""
    power = prior.probability * prior.power
    strength, slot = jax.lax.top_k(power, count)
    phase = 2 * jnp.pi * jnp.arange(count) * 0.618034
    return TappedPaths(jnp.sqrt(strength) * jnp.exp(1j * phase), steering[slot], prior.delay[slot])


def choose_alignment(
    expected: TappedPaths,
    nodes: TappedPaths,
    weight: Float[Array, " node"],
    bandwidth: Float[Array, ""],
    snr: Float[Array, ""],
) -> tuple[Alignment, Float[Array, ""]]:
    """Choose how many of the strongest paths get a beam, by the rate expected.

    Args:
        expected: Paths at the estimated position, strongest first.
        nodes: Paths at each point of a quadrature over the user's uncertainty.
        weight: The quadrature's weights.
        bandwidth: One over the length of a symbol [Hz].
        snr: Transmitted power over noise power, at unit gain.

    Returns:
        The alignment, and the rate expected of it [bit/s/Hz].
    """
    count = expected.gain.shape[0]
    options = jnp.tril(jnp.ones((count, count)))
    plans = jax.vmap(lambda used: align(expected, used))(options)

    def predicted_gain(plan):
        rates = jax.vmap(lambda node: aligned_rate(node, plan, bandwidth, snr))(nodes)
        return weight @ rates

    predicted = jax.vmap(predicted_gain)(plans)
    best = jnp.argmax(predicted)
    return jax.tree.map(lambda leaf: leaf[best], plans), predicted[best]
