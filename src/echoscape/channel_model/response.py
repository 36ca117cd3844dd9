"""A channel over frequency: what subcarriers see, one OFDM symbol for each time.

Takes a `ChannelRealization`.
Gives its frequency response, and a file of it laid out as Sionna's ``h_freq``.
"""

import math
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from echoscape.channel_model.coefficient import ChannelRealization, phasor
from echoscape.checks import InputError
from echoscape.files import write_npz


@eqx.filter_jit
def frequency_response(
    channel: ChannelRealization, offset: Float[Array, " tone"]
) -> Complex[Array, "time rx tx tone"]:
    """Sum the paths at tones around the carrier.

    With `ChannelRealization.element_delay` every pair of antennas has phases of its own at every
    tone, so beams squint; without, all have those of the arrays' centres.

    Args:
        channel: The channel.
        offset: Frequencies less the carrier [Hz].
    """
    late = channel.element_delay
    if late is None:
        cycles = channel.delay[:, :, None] * offset[None, None]
        return jnp.einsum(
            "trsp,tpf->trsf", channel.coefficient, phasor(cycles, jnp.ones(len(offset)))
        )

    def tone(frequency):
        turn = phasor(late * frequency, jnp.ones(late.shape[-1]))
        return jnp.sum(channel.coefficient * turn, axis=-1)

    return jnp.moveaxis(jax.lax.map(tone, offset), 0, -1)


def subcarrier_offsets(count: int, spacing: float) -> Float[np.ndarray, " tone"]:
    """Lay subcarriers about the carrier as Sionna does, number ``count // 2`` on it [Hz].

    Args:
        count: How many.
        spacing: Distance between them [Hz].

    Raises:
        InputError: There is none, or the spacing is no frequency.
    """
    if count < 1:
        raise InputError(f"a grid needs at least one subcarrier; got {count}")
    if not 0 < spacing < math.inf:
        raise InputError(
            f"the subcarriers' spacing must be finite and above zero, in Hz; got {spacing:g}"
        )
    return spacing * (np.arange(count) - count // 2)


def write_grid(
    response: Complex[np.ndarray, "time rx tx tone"],
    path: str | Path,
    *,
    time: Float[np.ndarray, " time"],
    offset: Float[np.ndarray, " tone"],
    carrier_frequency: float,
) -> None:
    """Write a frequency response as ``h_freq`` (1, 1, rx, 1, tx, symbols, subcarriers), ``.npz``.

    Args:
        response: The response.
        path: File to write.
        time: Times of the symbols [s].
        offset: Frequencies less the carrier [Hz].
        carrier_frequency: Carrier [Hz].
    """
    values = {
        "h_freq": response.transpose(1, 2, 0, 3)[None, None, :, None],
        "time": time,
        "offset": offset,
        "carrier_frequency": carrier_frequency,
    }
    write_npz(path, values, "OFDM grid 1")
