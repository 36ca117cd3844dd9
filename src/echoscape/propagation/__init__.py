"""How waves get from a base station to a place, and back from a target there.

Takes a `Site` and a position.
Gives `Paths`, one way or out and back.
"""

from echoscape.propagation.cascade import OneWay, one_way_statistics, two_way
from echoscape.propagation.free_space import (
    line_of_sight,
    path_amplitude,
    radar_gain,
    scattered_amplitude,
    target_gain,
)
from echoscape.propagation.path import Paths, strongest
from echoscape.propagation.point_scatterer import jitter_scatterers, scatter, square_world

__all__ = [
    "OneWay",
    "Paths",
    "jitter_scatterers",
    "line_of_sight",
    "one_way_statistics",
    "path_amplitude",
    "radar_gain",
    "scatter",
    "scattered_amplitude",
    "square_world",
    "strongest",
    "target_gain",
    "two_way",
]


def __dir__() -> list[str]:
    return sorted(__all__)
