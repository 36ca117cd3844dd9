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


def length_of(delay):
    """Turn a delay [s] into the length that light travels in it [m]."""
    return SPEED_OF_LIGHT * delay


def delay_of(length):
    """Turn a length [m] into the time that light takes for it [s]."""
    return length / SPEED_OF_LIGHT


def wavelength_of(frequency):
    """Give the wavelength of a frequency in vacuum [m]."""
    return SPEED_OF_LIGHT / frequency


def wavenumber_of(frequency):
    """Give how many cycles of a frequency, or of a difference of two, stand in a metre [1/m]."""
    return frequency / SPEED_OF_LIGHT


def from_db(decibel):
    """Turn decibels into a linear power ratio."""
    return 10.0 ** (decibel / 10.0)


def wrap_angle(angle):
    """Wrap an angle to (-pi, pi] [rad]."""
    return -((math.pi - angle) % (2.0 * math.pi) - math.pi)
