"""What a store forgets of users before it keeps anything.

Takes reports.
Gives reports whose positions are rounded or moved at random, with that in their deviation.
"""

import dataclasses
import math

import numpy as np
import pydantic

from echoscape.checks import InputError
from echoscape.reports.report import Reports


class Privacy(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """What to forget; nothing by default."""

    anonymous: bool = False
    """Keep no report's own number: neither its sender nor what came with it is known then."""
    round_to: float = pydantic.Field(default=0.0, ge=0.0)
    """Squares of the ground, at whose centre a user is kept; 0 for exact places [m]."""
    jitter_std: float = pydantic.Field(default=0.0, ge=0.0)
    """Standard deviation of a random shift of each horizontal coordinate; 0 for none [m]."""

    def __str__(self) -> str:
        said = [
            "no numbers of reports" if self.anonymous else "",
            f"places rounded to {self.round_to:g} m" if self.round_to else "",
            f"places shifted by {self.jitter_std:g} m at random" if self.jitter_std else "",
        ]
        return ", ".join(filter(None, said)) or "nothing forgotten"


def forget(reports: Reports, privacy: Privacy) -> Reports:
    """Round or shift the users' places, and carry that into their deviation.

    A rounded coordinate errs evenly over the square's edge, which is ``edge / sqrt(12)`` as a
    deviation.  Shifts come from the system's own randomness: they cannot be undone.

    Args:
        reports: As they came.
        privacy: What to forget.
    """
    if not (privacy.round_to or privacy.jitter_std):
        return reports
    position = np.array(reports.position, dtype=float)
    if not np.isfinite(position).all():
        raise InputError("places that are no numbers cannot be rounded")
    if privacy.round_to:
        edge = privacy.round_to
        position[:, :2] = (np.floor(position[:, :2] / edge) + 0.5) * edge
    if privacy.jitter_std:
        shift = np.random.default_rng().normal(size=position[:, :2].shape)
        position[:, :2] += privacy.jitter_std * shift
    added = math.hypot(privacy.round_to / math.sqrt(12.0), privacy.jitter_std)
    return dataclasses.replace(
        reports, position=position, position_std=np.hypot(reports.position_std, added)
    )
