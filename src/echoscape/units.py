"""Physical constants and the conversions allowed at the edges: the only home of both.

Inside the package everything is in metres, seconds, hertz, radians and linear power.

Takes and Gives numbers or arrays, of numpy or JAX alike.
"""

import math

SPEED_OF_LIGHT = 299_792_458.0
"""Speed of light in vacuum [m/s]."""

BOLTZMANN = 1.380_649e-23
"""Boltzmann constant [J/K]."""

STANDARD_TEMPERATURE = 290.0
"""Noise reference temperature [K]."""


def from_db(decibel):
    """Turn decibels into a linear power ratio."""
    return 10.0 ** (decibel / 10.0)


def wrap_angle(angle):
    """Wrap an angle to (-pi, pi] [rad]."""
    return -((math.pi - angle) % (2.0 * math.pi) - math.pi)
