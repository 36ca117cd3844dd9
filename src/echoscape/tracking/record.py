"""What every filter leaves behind: the user and the anchors, instant after instant.

Takes the states of a filter.
Gives `Record`, from which tables and figures are made.
"""

import equinox as eqx
from jaxtyping import Array, Float, Int


class Record(eqx.Module):
    """What a filter believed at each instant, after its detections."""

    user: Float[Array, "*time 6"]
    """Position and velocity [m, m/s]."""
    user_covariance: Float[Array, "*time 6 6"]
    """Their covariance."""
    anchor: Float[Array, "*time slot 3"]
    """Positions of the anchors [m]."""
    anchor_covariance: Float[Array, "*time slot 3 3"]
    """Their covariance [m^2]."""
    turn: Float[Array, "*time slot"]
    """Turn of each anchor [rad]."""
    predicted: Float[Array, "*time slot 5"]
    """`anchor.MEASURED` as expected before the detections [m, rad]."""
    detection: Int[Array, "*time slot"]
    """Which detection was the anchor's, -1 for none."""
    identity: Int[Array, "*time slot"]
    """Number of the track, -1 for an empty slot."""
    kind: Int[Array, "*time slot"]
    """One of `Kind`."""
    sign: Float[Array, "*time slot"]
    """Sense of turning."""
    flip: Float[Array, "*time slot"]
    """-1 after an odd number of level reflections."""
    odds: Float[Array, "*time slot"]
    """Log-odds that the path exists [nat]."""
    hits: Int[Array, "*time slot"]
    """How often it was detected."""
    explained: Float[Array, "*time"]
    """Share of recent detections that known anchors explain [1]."""
