"""How noisy samples of a channel are: from a stated ratio, or from power, bandwidth and figure.

Takes gains, ratios, powers.
Gives the mean squared noise of a sample.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Complex

from echoscape.checks import InputError
from echoscape.scene import PlanarArray
from echoscape.signals.waveform import Waveform
from echoscape.units import BOLTZMANN, STANDARD_TEMPERATURE, from_db


def noise_for_ratio(
    gain: Complex[Array, " echo"],
    snr_db: float,
    transmit: PlanarArray,
    receive: PlanarArray,
    waveform: Waveform,
) -> float:
    """Choose the noise so that the mean echo has a stated *integrated* ratio.

    That is ``|g|^2 N_r N_t N_f / variance`` with the mean of ``|g|^2`` over the echoes: the ratio
    behind a filter matched to one echo, after all elements, subcarriers and symbols.

    Args:
        gain: Amplitudes of the echoes; those of zero do not count.
        snr_db: Integrated ratio of the mean echo [dB].
        transmit: The transmitting array.
        receive: The receiving array.
        waveform: The waveform.

    Raises:
        InputError: The ratio is no number, or there is no echo.
    """
    if not math.isfinite(snr_db):
        raise InputError(f"the signal-to-noise ratio must be a finite number, in dB; got {snr_db}")
    power = jnp.abs(gain) ** 2
    there = jnp.sum(power > 0)
    if int(there) == 0:
        raise InputError("a signal-to-noise ratio needs at least one echo; there is none")
    mean = float(jnp.sum(power) / there)
    samples = transmit.elements * receive.elements * waveform.subcarriers
    return mean * samples / from_db(snr_db)


def thermal_noise(waveform: Waveform, power_dbm: float, noise_figure_db: float) -> float:
    """Compute the noise of a channel sample, ``k T_0 F spacing subcarriers / (P symbols)`` [1].

    The power is shared by the pilots; transmit elements send one after the other, or by orthogonal
    codes of the same energy.

    Args:
        waveform: The waveform.
        power_dbm: Transmitted by each element while its pilot lasts [dBm].
        noise_figure_db: Of the receiver [dB].

    Raises:
        InputError: A number is not finite, or the figure is negative.
    """
    if not math.isfinite(power_dbm):
        raise InputError(f"the transmitted power must be a finite number, in dBm; got {power_dbm}")
    if not (math.isfinite(noise_figure_db) and noise_figure_db >= 0):
        raise InputError(f"the noise figure must be zero or more, in dB; got {noise_figure_db}")
    density = BOLTZMANN * STANDARD_TEMPERATURE * from_db(noise_figure_db)
    each = from_db(power_dbm - 30.0) / waveform.subcarriers
    return density * waveform.spacing / (each * waveform.symbols)
