"""Echoes of passive targets at the base station that sent the pulse.

An echo leaves along one path and returns along another; both angles are at the base station and
the delay is the sum of the two one-way delays.  Order and identity are unknown, echoes may be
missing and false ones present.

Takes path estimates grouped by target and station.
Gives `Echoes`, what `localization` reads.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.estimation import PathEstimates


class Echoes(eqx.Module):
    """One set of echoes for each pair of a target and a station that heard it."""

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
