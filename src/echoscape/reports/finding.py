"""What a check of reports found: a likely cause and its cure.

Takes nothing.
Gives `Cause`, `Finding` and the category of their warnings.
"""

import dataclasses
import enum


class GeometryWarning(UserWarning):
    """Reports are possible, but probably wrong: the sentence of a `Finding`."""


class Cause(enum.StrEnum):
    """What is probably wrong with reports."""

    SWAPPED_ENDS = "swapped ends"
    """Departure and arrival are exchanged."""
    TRAVEL_DIRECTION = "travel direction"
    """A direction runs the way the wave travels, where it must look along the path from its end."""
    COMPASS = "compass bearings"
    """Azimuths run clockwise from +y."""
    CLOCKWISE = "clockwise azimuths"
    """Azimuths run clockwise from +x."""
    ELEVATION = "elevation for zenith"
    """Angles are counted from the horizon."""
    NADIR = "nadir for zenith"
    """Angles are counted from straight down."""
    TRANSPOSED = "azimuth and zenith exchanged"
    """Theta stands where phi belongs."""
    DEGREES = "degrees"
    """Angles are in degrees, though small enough to pass for radians."""
    TURNED = "turned"
    """All directions at an end are turned by one angle."""
    UNRELATED_DIRECTIONS = "unrelated directions"
    """Direct paths run anywhere but along the straight line."""
    LENGTH_UNIT = "unit of lengths"
    """Lengths and positions are in different units."""
    ROUND_TRIP = "round trip"
    """Delays are there and back."""
    GEOGRAPHIC = "latitude and longitude"
    """Positions are geographic."""
    RELATIVE_DELAY = "relative delays"
    """Delays count from each report's first path or from the straight line."""
    DELAY_OFFSET = "delay offset"
    """All delays are late or early by one amount."""
    STATION_BIAS = "station bias"
    """Clock and mounting of a station shift all its paths alike."""
    SHORT = "shorter than the straight line"
    """Single paths are shorter than light allows."""
    AMPLITUDE = "amplitudes for powers"
    """Powers fall as amplitudes do."""
    TOO_STRONG = "power too strong"
    """More is received than antennas could."""
    POWER_ABOVE_ONE = "power above one"
    """A gain says that more is received than was sent."""
    DOUBLED = "doubled paths"
    """One report lists one path several times."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something in reports that is possible but probably wrong."""

    cause: Cause
    """What is probably wrong."""
    sentence: str
    """The sign, the likely cause and the cure, in one sentence."""
    station: str = ""
    """The station whose reports show it; empty for all."""
    key: str = ""
    """Findings of several stations with one cause and key are one finding."""

    def at(self, place: str) -> "Finding":
        """Put a place before the sentence."""
        return dataclasses.replace(self, sentence=place + self.sentence)
