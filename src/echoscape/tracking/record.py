"""What every filter leaves behind: the user and the anchors, instant after instant.

Takes the states of a filter.
Gives `Record`, from which tables and figures are made.
"""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int


class Record(eqx.Module):
    """What a filter believed at each instant, after its detections."""

    user: Float[Array, "*time 6"]
    """Position and velocity [m, m/s]."""
    user_covariance: Float[Array, "*time 6 6"]
    """Their covariance."""
    nuisance: Float[Array, "*time 4"]
    """Clock and its drift, headings of user and station [m, m/s, rad, rad]."""
    nuisance_std: Float[Array, "*time 4"]
    """Their standard deviations."""
    anchor: Float[Array, "*time slot 3"]
    """Positions of the anchors [m]."""
    anchor_covariance: Float[Array, "*time slot 3 3"]
    """Their covariance [m^2]."""
    rotation: Float[Array, "*time slot"]
    """Turn of each anchor [rad]."""
    predicted: Float[Array, "*time slot 5"]
    """`anchor.MEASURED` as expected before the detections [m, rad]."""
    detection: Int[Array, "*time slot"]
    """Which detection was the anchor's, -1 for none."""
    identity: Int[Array, "*time slot"]
    """Number of the track, -1 for an empty slot."""
    kind: Int[Array, "*time slot"]
    """One of `AnchorType`."""
    reflection: Float[Array, "*time slot"]
    """Sense of turning."""
    vertical_reflection: Float[Array, "*time slot"]
    """-1 after an odd number of level reflections."""
    odds: Float[Array, "*time slot"]
    """Log-odds that the path exists [nat]."""
    hits: Int[Array, "*time slot"]
    """How often it was detected."""
    misfit: Float[Array, "*time"]
    """Mean normalised innovation of older points; 1 is expected."""
    share: Float[Array, "*time"]
    """Share of recent strong detections that belong to established points [1]."""
    pending: Int[Array, "*time"]
    """Detections of line of sight within seconds that contradict the user's position."""
    relocated: Bool[Array, "*time"]
    """Where the user was moved to what line of sight, or an arrangement of points, says."""
    recalled: Bool[Array, "*time"]
    """Where it was an arrangement of points of before."""
    merged: Bool[Array, "*time slot"]
    """Slots whose track of the instant before is one of before, recalled, which goes on for it."""
