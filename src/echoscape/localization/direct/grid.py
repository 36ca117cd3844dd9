"""Every cell of a map scored by how much energy its echoes find in the samples.

The likelihood of `direct_likelihood` at an assumed ratio of the echoes: samples are compressed
along the delay once, and what overlapping echoes share is known of every cell beforehand; a cell
then costs a look-up and two short products for each echo, and one small matrix product.

Takes `DirectView`s and cells.
Gives scores, and the cells that stand out.
"""

import functools
import math
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Complex, Float, Int

from echoscape.localization.direct.forward import DirectView
from echoscape.localization.unassociated.grid import find_peaks
from echoscape.numerics.harmonics import centred, gram
from echoscape.scene.array_axes import phase_advance
from echoscape.signals.echo_channel import steering
from echoscape.units import delay_of

FINER = 8
"""Steps of the compressed delay for each resolved one."""
_PART = 512  # cells at a time
_RIDGE = 0.1  # noise over an echo's energy, assumed: cells miss the position and so the peak


class CellPaths(eqx.Module):
    """What both ends' maps predict at every cell, in single precision; transmitter first."""

    phases: list[Complex[Array, "*cell path _"]]
    """Conjugate phases of the array's elements."""
    step: Int[Array, "*cell echo"]
    """Delay of every echo in whole steps of the compressed delay."""
    present: Bool[Array, "*cell echo"]
    """Which echoes take part."""
    whiten: Float[Array, "*cell gain gain"]
    """Inverse root of the Gram matrix of the echoes with equal gains, ridge included."""
    log_volume: Float[Array, "*cell"]
    """What so many free gains explain of noise alone."""


def cell_paths(view: DirectView, cells: Float[np.ndarray, "cell 3"]) -> CellPaths:
    """Query the maps for their paths at every cell, as many at a time as compile once."""
    count = len(cells)
    index = np.minimum(np.arange(-(-count // _PART) * _PART), count - 1).reshape(-1, _PART)
    parts = [_paths_at(view, jnp.asarray(cells[rows])) for rows in index]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


@eqx.filter_jit
def _paths_at(view: DirectView, cells) -> CellPaths:
    tensor, mix = view.tensor, view.mix
    tones = tensor.waveform.subcarriers
    steps = tensor.waveform.spacing * FINER * tones
    # Echoes overlap by the product over the axes, real for phases that count from the middle: those
    # of an array depend on one path alone, and that of the delay on whole steps (of an even number
    # of tones with the sign of the turn).
    turns = jnp.arange(2 * FINER * tones) * (2 * math.pi / (FINER * tones))
    delay_overlap = jnp.mean(jnp.cos(turns[:, None] * centred(tones)[None]), axis=1)

    def one(cell):
        select = view.select(cell)
        predicted = [end.predict(cell, jnp.zeros((view.paths, 3))) for end in select.end]
        # The overlap at the delays looked up, not at the true ones a fraction of a step away.
        length = predicted[0][2][:, None] + predicted[-1][2][None]
        step = jnp.round(delay_of(length) * steps).ravel().astype(jnp.int32)
        overlap = (
            jnp.kron(
                gram(phase_advance(tensor.transmit, *predicted[0][:2]), tensor.whole[2:4]),
                gram(phase_advance(tensor.receive, *predicted[-1][:2]), tensor.whole[:2]),
            ).real
            * delay_overlap[(step[:, None] - step[None]) % len(delay_overlap)]
        )
        mask = jnp.where(select.present, 1.0, 0.0)
        matrix = mix.T @ (overlap * mask[:, None] * mask[None]) @ mix
        factor = jnp.linalg.cholesky(matrix + _RIDGE * jnp.eye(mix.shape[1]))
        whiten = solve_triangular(factor, jnp.eye(mix.shape[1], dtype=factor.dtype), lower=True)
        log_volume = 2 * jnp.sum(jnp.log(jnp.real(jnp.diagonal(factor)))) - len(factor) * math.log(
            _RIDGE
        )
        pairs = zip((predicted[0], predicted[-1]), (tensor.transmit, tensor.receive))
        return CellPaths(
            [jnp.conj(steering(array, each[0], each[1])).astype(jnp.complex64)
             for each, array in pairs],
            step,
            select.present,
            whiten.astype(jnp.float32),
            log_volume.astype(jnp.float32),
        )  # fmt: skip

    return jax.vmap(one)(cells)


@eqx.filter_jit
def score_cells(
    samples: list[Complex[Array, "_ _ _"]],
    views: list[CellPaths],
    mix: list[Float[Array, "_ _"]],
    noise: Float[Array, " view"],
) -> Float[Array, " cell"]:
    """Sum every cell's log-likelihoods over the views.

    Args:
        samples: Of every view.
        views: What the maps say at every cell.
        mix: Which unknown gain each echo has.
        noise: Mean squared noise of a sample.
    """
    parts = [_score(s, v, m, n) for s, v, m, n in zip(samples, views, mix, noise)]
    return functools.reduce(operator.add, parts)


def _score(samples, view: CellPaths, mix, noise):
    tones = samples.shape[-1]
    length = FINER * tones
    scale = jnp.sqrt(noise * math.prod(samples.shape))
    profile = jnp.moveaxis(length * jnp.fft.ifft(samples, length, axis=-1), -1, 0)
    # Overlapping echoes are resolved by their phases, which count from the band's middle.
    middle = jnp.exp(-1j * math.pi * (tones - 1) * jnp.arange(length) / length)
    profile = (profile * (middle / scale)[:, None, None]).astype(jnp.complex64)

    def part(view):
        size = (len(view.step), view.phases[0].shape[1], view.phases[1].shape[1])
        sample = profile[view.step.reshape(size) % length]  # [cell, out, back, receive, transmit]
        correlation = jnp.einsum("cijrt,cit,cjr->cij", sample, view.phases[0], view.phases[1])
        correlation = jnp.where(
            view.present, correlation.reshape(view.present.shape), 0.0
        ) @ mix.astype(jnp.complex64)
        half = jnp.einsum("cgh,ch->cg", view.whiten, correlation)
        return jnp.sum(jnp.abs(half) ** 2, axis=1) - view.log_volume

    split = jax.tree.map(lambda leaf: leaf.reshape(-1, 64, *leaf.shape[1:]), view)
    return jax.lax.map(part, split).ravel()


@eqx.filter_jit
def cell_peaks(
    score: Float[Array, " cell"],
    cells: Float[Array, "cell 3"],
    count: int,
    separation: float | Array,
) -> Int[Array, " peak"]:
    """Find the cells that stand out, at a distance from one another [m]."""
    return find_peaks(score, cells, count, separation)
