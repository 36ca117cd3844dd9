"""From received samples, or from truth plus stated errors, to estimates of paths.

Takes paths of propagation and the errors a receiver would make.
Gives `PathEstimates`, and from a `LinkBudget` how large those errors are.
"""

from echoscape.estimation.link_budget import (
    LinkBudget,
    delay_deviation,
    direction_deviation,
    echo_power,
    integrated_snr,
)
from echoscape.estimation.path_estimates import AnyArray, PathEstimates

__all__ = [
    "AnyArray",
    "LinkBudget",
    "PathEstimates",
    "delay_deviation",
    "direction_deviation",
    "echo_power",
    "integrated_snr",
]
