"""Mathematics that knows no radio, each piece tested against a closed form.

Takes functions, Jacobians and starting points.
Gives minima with a result code, and Fisher information with its bounds.
"""

from echoscape.numerics.descent import (
    Descent,
    DescentSettings,
    DescentStatus,
    damped_newton,
)
from echoscape.numerics.fisher import (
    Spectrum,
    bound,
    information,
    spectrum,
    whiten,
    whiten_correlated,
)

__all__ = [
    "Descent",
    "DescentSettings",
    "DescentStatus",
    "Spectrum",
    "bound",
    "damped_newton",
    "information",
    "spectrum",
    "whiten",
    "whiten_correlated",
]


def __dir__() -> list[str]:
    return sorted(__all__)
