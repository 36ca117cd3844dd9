"""From received samples, or from truth plus stated errors, to estimates of paths.

Takes `EchoSnapshots`, or paths of propagation and the errors a receiver would make.
Gives `PathEstimates`, and from a `LinkBudget` how large those errors are.
"""

from echoscape.checks import former_names
from echoscape.estimation.echo_estimation import (
    METHODS,
    EchoMethod,
    Esprit,
    Fft,
    Greedy,
    Music,
    estimate,
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
    "Fft",
    "Greedy",
    "LinkBudget",
    "Music",
    "PathEstimates",
    "delay_deviation",
    "direction_deviation",
    "echo_power",
    "estimate",
    "integrated_snr",
]


def __dir__() -> list[str]:
    return sorted(__all__)


__getattr__ = former_names(__name__, {"Spectrum": Fft, "estimate_echoes": estimate})
