"""Samples of a channel that holds echoes: the type, and what makes it unusable.

Takes arrays of numpy, antennas, a waveform.
Gives `EchoSnapshots`, which estimation and direct localization read.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Complex, Float, Int

from echoscape.checks import InputError
from echoscape.scene import PlanarArray
from echoscape.signals.waveform import Waveform


class EchoSnapshots(eqx.Module):
    """Channels from a transmitting to a receiving array, after division by the pilots."""

    received: Complex[np.ndarray, "snapshot receive transmit subcarrier"]
    """Samples of the channel [1, or any unit]."""
    target: Int[np.ndarray, " snapshot"]
    """Number of the target, or of the scene, that each snapshot holds."""
    time: Float[np.ndarray, " snapshot"]
    """When [s]."""
    waveform: Waveform = eqx.field(static=True)
    """Subcarriers; the noise is what the mean over the symbols leaves."""
    transmit: PlanarArray = eqx.field(static=True)
    """Transmitting array."""
    receive: PlanarArray = eqx.field(static=True)
    """Receiving array."""
    transmit_station: str = eqx.field(static=True)
    """Name of the station that sends."""
    receive_station: str = eqx.field(static=True)
    """Name of the station that receives; the same for a monostatic radar."""
    noise_variance: float | None = eqx.field(default=None, static=True)
    """Mean squared noise of a sample; estimated where it is not known."""
    empty: Complex[np.ndarray, "receive transmit subcarrier"] | None = None
    """The channel without any target, to be taken off; None where there is none to take off."""

    def __check_init__(self):
        sizes = (self.receive.elements, self.transmit.elements, self.waveform.subcarriers)
        count = self.received.shape[0]
        for name, shape in (
            ("received", (count, *sizes)),
            ("empty", sizes),
            ("target", (count,)),
            ("time", (count,)),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            if value.shape != shape:
                raise InputError(
                    f"{name} must have the shape {shape} that the arrays and the waveform ask "
                    f"for; got {value.shape}"
                )
            if not np.all(np.isfinite(value)):
                bad = int(np.sum(~np.isfinite(value)))
                raise InputError(
                    f"{name} must be finite numbers; {bad} of {value.size} are NaN or infinite: "
                    "leave those snapshots out"
                )
        if count < 1:
            raise InputError("echo snapshots need at least one snapshot; got none")
        if self.noise_variance is not None and not 0 < self.noise_variance < np.inf:
            raise InputError(
                "noise_variance must be finite and above zero, in the unit of received squared; "
                f"got {self.noise_variance:g}: leave it out to have it estimated"
            )

    @property
    def echoes(self) -> Complex[np.ndarray, "snapshot receive transmit subcarrier"]:
        """What the known empty scene does not explain."""
        return self.received if self.empty is None else self.received - self.empty[None]

    def noise(self) -> float:
        """Give the noise of a sample, estimated from the weaker half of the spectrum if need be.

        Of white noise, squared magnitudes of a spectrum are exponentially distributed: their
        median is ln 2 times their mean.  Echoes are few and sit in few cells, but their sidelobes
        reach everywhere; a taper on every axis keeps them down.
        """
        if self.noise_variance is not None:
            return self.noise_variance
        samples = self.echoes
        for axis, size in enumerate(samples.shape[1:], 1):
            if size < 4:
                continue
            taper = np.hanning(size + 2)[1:-1]
            taper = (taper / np.sqrt(np.mean(taper**2))).reshape(-1, *(1,) * (3 - axis))
            samples = np.fft.fft(samples * taper, axis=axis, norm="ortho")
        found = float(np.median(np.abs(samples) ** 2) / np.log(2))
        largest = float(np.max(np.abs(samples) ** 2))
        return max(found, 1e-12 * largest, np.finfo(float).tiny)
