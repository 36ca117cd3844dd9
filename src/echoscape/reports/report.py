"""Users' reports, kept: where a user was and which paths it had.

Takes path estimates at known places.
Gives `Reports`, what channel maps learn from, held in host memory in double precision.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.estimation import PathEstimates


class Reports(eqx.Module):
    """Reports of users to one or several base stations; an outage has no valid path."""

    estimates: PathEstimates
    """Paths of every report, strongest first, shape [report, path] (numpy)."""
    position: Float[np.ndarray, "report 3"]
    """Where the user was [m]."""
    position_std: Float[np.ndarray, " report"]
    """Standard deviation of each horizontal coordinate of `position` [m]."""
    time: Float[np.ndarray, " report"]
    """When [s]."""
    report: Int[np.ndarray, " report"]
    """The report's number in its file."""
    station_index: Int[np.ndarray, " report"]
    """Which of `station` was heard."""
    station_position: Float[np.ndarray, "station 3"]
    """Where the base stations are [m]."""
    station: tuple[str, ...] = eqx.field(static=True)
    """Names of the base stations."""
