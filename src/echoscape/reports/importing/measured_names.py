"""What the columns and fields of somebody else's campaign mean, told by the words in their names.

``bs_heading``, ``headingBS`` and ``station.heading_deg`` mean the same, the last in degrees.  A
name is cut into words; one says whose it is, one what it is, others in which unit.

Takes names.
Gives the `Quantity` behind each, or one sentence about a name that is missing or comes twice.
"""

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np

from echoscape.checks import InputError
from echoscape.units import SPEED_OF_LIGHT

WORDS = {
    "station": ("station", "bs", "tx", "transmitter", "gnb", "base", "basestation"),
    "user": ("user", "ue", "rx", "receiver", "mobile", "robot", "ms"),
    "position": ("position", "pos", "location", "place", "xy", "xyz", "coordinates", "pose"),
    "heading": ("heading", "orientation", "yaw", "rotation"),
    "length": ("length", "distance", "range", "dist", "pathlength"),
    "delay": ("delay", "toa", "tof", "tau"),
    "departure": ("departure", "aod", "dod"),
    "arrival": ("arrival", "aoa", "doa"),
    "power": ("power", "gain", "rss", "rsrp", "snr", "pathgain"),
    "time": ("time", "t", "timestamp"),
    "number": ("pose", "report", "index", "number", "snapshot"),
    "elevation": ("elevation", "el"),
    "zenith": ("zenith", "ze", "polar"),
}
"""Words and those that mean the same; documented in ``docs/formats.md``."""

VECTORS = ("station_position", "user_position")
"""Quantities that a table spells out as x, y and z."""

_COMPOUND = re.compile(r"(ao|do|to)[adf](?![^\W\d_])", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What a name means: the quantity, and what turns its numbers into SI units."""

    name: str
    """Such as ``user_position``, ``station_heading``, ``length``, ``departure_zenith``."""
    factor: float = 1.0
    """Multiplies the numbers."""
    elevation: bool = False
    """Whether the numbers are elevations, to be taken from a right angle."""
    linear: bool = False
    """Whether the numbers are linear powers, to become decibels."""
    pose: bool = False
    """Whether a position may hold a heading too."""

    def in_units(self, values: np.ndarray | float) -> np.ndarray:
        """Turn numbers of the file into SI units, zenith angles and decibels."""
        number = np.asarray(values, float) * self.factor
        if self.elevation:
            number = 0.5 * np.pi - number
        return np.asarray(10 * np.log10(np.maximum(number, 1e-40)) if self.linear else number)


def words_of(name: str) -> list[str]:
    """Cut a name into lower-case words."""
    name = _COMPOUND.sub(lambda found: f"_{found[0].lower()}_", name)
    name = re.sub(
        r"(?<=[0-9a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])", "_", name.replace("dB", "_db")
    )
    return [word for word in re.split(r"[^0-9a-z]+", name.lower()) if word]


def meaning(name: str) -> Quantity | None:
    """Tell what a name means; None if no word of it is known."""
    words = words_of(name)

    def has(kind: str) -> bool:
        return any(word in WORDS[kind] for word in words)

    degrees = math.pi / 180 if any(word in ("deg", "degree", "degrees") for word in words) else 1.0
    end = "station" if has("station") else "user" if has("user") else None
    for kind in ("departure", "arrival"):
        if has(kind):
            if has("elevation") or has("zenith"):
                return Quantity(f"{kind}_zenith", degrees, elevation=has("elevation"))
            return Quantity(kind, degrees)
    if has("heading"):
        return Quantity(f"{end}_heading", degrees) if end else None
    axis = next((word for word in words if word in ("x", "y", "z")), None)
    if axis is not None:
        return Quantity(f"{end or 'user'}_position_{axis}")
    if end is not None and has("position"):
        return Quantity(f"{end}_position", pose="pose" in words)
    if has("delay"):
        nano = 1e-9 if "ns" in words else 1.0
        return Quantity("length", nano * SPEED_OF_LIGHT)
    if has("length"):
        return Quantity("length")
    if has("power"):
        return Quantity("power", linear=any(word in ("linear", "lin") for word in words))
    if has("time"):
        return Quantity("time")
    if "path" not in words and (has("number") or words == ["id"]):
        return Quantity("pose")
    return Quantity("user_position") if has("position") and "path" not in words else None


def understand(names: Sequence[str], source: str, spelt_out: bool = False) -> dict[int, Quantity]:
    """Tell what the names of a table mean, by their place; those that mean nothing are left out.

    Args:
        names: The header.
        source: What refusals call the table.
        spelt_out: Whether positions must come as x, y and z.

    Raises:
        InputError: A quantity comes twice, or one that every list needs does not come.
    """
    found = {k: told for k, name in enumerate(names) if (told := meaning(name)) is not None}
    seen: dict[str, str] = {}
    for k, told in found.items():
        if told.name in seen:
            raise InputError(
                f"{source} has {seen[told.name]!r} and {names[k]!r}, which both mean "
                f"{told.name.replace('_', ' ')}; rename or remove one"
            )
        seen[told.name] = names[k]
    needed = [f"{end}_position_{axis}" for end in ("station", "user") for axis in "xy"]
    needed = [*needed, "station_heading", "length", "departure"] if spelt_out else []
    for name in needed:
        if name not in seen:
            raise InputError(
                f"{source} has no column for {name.replace('_', ' ')}; it has "
                f"{', '.join(names[:14])}; name one as docs/formats.md says"
            )
    return found
