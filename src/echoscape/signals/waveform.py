"""Waveforms: which subcarriers carry pilots, how often, and what that can resolve.

Takes numbers of the numerology.
Gives a `Waveform` with its bandwidth and its unambiguous delay.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoscape.checks import InputError


class Waveform(eqx.Module):
    """Pilots on evenly spaced subcarriers about the carrier, the same in some symbols.

    The samples of a channel are those after division by the known pilots and after the mean over
    the symbols, in which nothing moves.
    """

    subcarriers: int = eqx.field(static=True)
    """Subcarriers that carry pilots."""
    spacing: float = eqx.field(static=True)
    """Between neighbouring pilots: the subcarrier spacing times the comb [Hz]."""
    symbols: int = eqx.field(default=1, static=True)
    """Symbols averaged; each lowers the noise, none adds information about delays."""

    def __check_init__(self):
        for name in ("subcarriers", "symbols"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"a waveform needs at least 1 of {name}; got {value}")
        if not 0 < self.spacing < float("inf"):
            raise InputError(f"spacing must be finite and above zero, in Hz; got {self.spacing:g}")

    @property
    def bandwidth(self) -> float:
        """Pilots times their spacing [Hz]."""
        return self.subcarriers * self.spacing

    @property
    def unambiguous_delay(self) -> float:
        """Delays that differ by this are the same [s]."""
        return 1.0 / self.spacing

    def frequencies(self) -> Float[Array, " subcarrier"]:
        """List the pilots' distances from the carrier [Hz]."""
        middle = 0.5 * (self.subcarriers - 1)
        return self.spacing * (jnp.arange(self.subcarriers, dtype=float) - middle)


def check_delays(waveform: Waveform, longest: float, what: str) -> None:
    """Refuse a waveform in which the scene's delays would fold.

    Args:
        waveform: The waveform.
        longest: Longest delay of the scene [s].
        what: What has that delay, for the message.

    Raises:
        InputError: The longest delay is not below the unambiguous one.
    """
    if longest >= waveform.unambiguous_delay:
        raise InputError(
            f"the waveform's delays repeat after {1e9 * waveform.unambiguous_delay:.0f} ns, but "
            f"{what} has {1e9 * longest:.0f} ns; choose a pilot spacing below "
            f"{1e-3 / longest:.1f} kHz"
        )
