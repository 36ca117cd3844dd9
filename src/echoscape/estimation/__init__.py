"""From received samples, or from truth plus stated errors, to estimates of paths.

Takes `EchoSnapshots`, or paths of propagation and the errors a receiver would make.
Gives `PathEstimates`, and from a `LinkBudget` how large those errors are.
"""

from echoscape.estimation.echo_estimation import (
    METHODS,
    EchoMethod,
    Esprit,
    Greedy,
    Music,
    Spectrum,
    estimate_echoes,
)
from echoscape.estimation.link_budget import (
    LinkBudget,
    delay_deviation,
    direction_deviation,
    echo_power,
    integrated_snr,
)
from echoscape.estimation.path_estimates import AnyArray, PathEstimates

__all__ = [
    "METHODS",
    "AnyArray",
    "EchoMethod",
    "Esprit",
    "Greedy",
    "LinkBudget",
    "Music",
    "PathEstimates",
    "Spectrum",
    "delay_deviation",
    "direction_deviation",
    "echo_power",
    "estimate_echoes",
    "integrated_snr",
]


def __dir__() -> list[str]:
    return sorted(__all__)
