"""Echoes of passive targets at a base station, of its own pulse or of another's.

An echo leaves along one path and returns along another; its departure is at the station that sent,
its arrival at the one that heard, and the delay is the sum of the two one-way delays.  Order and
identity are unknown, echoes may be missing and false ones present.

Takes path estimates grouped by target and station.
Gives `Echoes`, what `localization` reads.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.estimation import PathEstimates


class Echoes(eqx.Module):
    """One set of echoes for each target, station that heard it and station that sent."""

    estimates: PathEstimates
    """Echoes of every set, shape [set, echo] (numpy)."""
    target: Int[np.ndarray, " set"]
    """The target's number in its file."""
    time: Float[np.ndarray, " set"]
    """When [s]."""
    station_index: Int[np.ndarray, " set"]
    """Which of `station` heard the set."""
    station: tuple[str, ...] = eqx.field(static=True)
    """Names of the base stations."""
    sender_index: Int[np.ndarray, " set"] | None = None
    """Which of `station` sent what a set heard; the station that heard it where not given."""

    @property
    def sender(self) -> Int[np.ndarray, " set"]:
        """Which of `station` sent what each set heard."""
        return self.station_index if self.sender_index is None else self.sender_index

    def ways(self) -> list[tuple[str, str]]:
        """List who sent and who heard, by name, each pair once."""
        pairs = np.unique(np.stack([self.sender, self.station_index], axis=1), axis=0)
        return [(self.station[out], self.station[back]) for out, back in pairs]
