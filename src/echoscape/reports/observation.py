"""What one user's receiver sees of the paths, instant after instant, without identities.

Takes path estimates grouped by time.
Gives `Observations`, what `tracking` reads.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.estimation import PathEstimates


class Observations(eqx.Module):
    """Path estimates of one user and one station over time; order and identity mean nothing."""

    estimates: PathEstimates
    """Paths of every instant, shape [time, path] (numpy)."""
    time: Float[np.ndarray, " time"]
    """When, strictly rising [s]."""
    user_position: Float[np.ndarray, "time 3"]
    """Where the user was; zeros where that is not known [m]."""
    user_known: Bool[np.ndarray, " time"]
    """Whether `user_position` is known."""
    row: Int[np.ndarray, "time path"]
    """Row in the file, from 0; -1 for padding."""
    repeated: int = eqx.field(static=True, default=0)
    """How many rows repeated another one exactly and were left out."""
