"""What a convention of directions is called, and how to repair reports that follow it.

Takes nothing.
Gives `Hypothesis`, how directions were written, and the sentence that says so.
"""

import dataclasses
import math

from echoscape.reports.finding import Cause, Finding
from echoscape.reports.straight_line import StraightLine


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """How the directions were written."""

    swapped: bool = False
    """Whether departure and arrival are exchanged."""
    departure_azimuth: str = "stated"
    """Reading of the azimuth at the station."""
    departure_zenith: str = "stated"
    """Reading of the zenith at the station."""
    arrival_azimuth: str = "stated"
    """Reading of the azimuth at the user."""
    arrival_zenith: str = "stated"
    """Reading of the zenith at the user."""
    departure_turn: float = 0.0
    """What turns the azimuth at the station right [rad]."""
    arrival_turn: float = 0.0
    """What turns the azimuth at the user right [rad]."""


AS_STATED = Hypothesis()


def describe(hypothesis: Hypothesis, line: StraightLine, count: int) -> Finding:
    """Say what was probably done, and the cure."""
    paths = f"{count} direct path{'s' if count > 1 else ''}"
    if hypothesis.swapped:
        return Finding(
            Cause.SWAPPED_ENDS,
            f"{paths} would fit the straight line only with departure and arrival exchanged: "
            "departure belongs to the base station and arrival to the user, so exchange their "
            "columns; or both run the way opposite to ours: then add pi to azimuths and take "
            "pi - zenith",
            line.station,
            "swapped",
        )
    parts: dict[tuple[Cause, str, str], list[str]] = {}
    for name in ("departure", "arrival"):
        azimuth = getattr(hypothesis, f"{name}_azimuth")
        zenith = getattr(hypothesis, f"{name}_zenith")
        turn = getattr(hypothesis, f"{name}_turn")
        for each in _explain(azimuth, zenith, turn):
            parts.setdefault(each, []).append(name)
    sentences = []
    for (_, habit, cure), ends in parts.items():
        where = " and ".join(ends)
        sentences.append(f"the {where} {habit}; {cure.format(end=' and '.join(ends))}")
    causes = [cause for cause, _, _ in parts]
    return Finding(
        causes[0],
        f"{paths} would run along the straight line if " + ", and ".join(sentences),
        line.station,
        "/".join(sorted(causes)) + str(sorted(map(tuple, parts.values()))),
    )


def _explain(azimuth: str, zenith: str, turn: float) -> list[tuple[Cause, str, str]]:
    """Say what a reading of one end is, and the cure."""
    if azimuth == zenith == "reversed":
        return [(
            Cause.TRAVEL_DIRECTION,
            "directions run the way the wave travels, or the other way round",
            "they must look along the path from their own end: add pi to the azimuth and take "
            "pi - zenith",
        )]  # fmt: skip
    if azimuth == "transposed":
        return [(
            Cause.TRANSPOSED,
            "azimuth and zenith are exchanged (theta and phi)",
            "exchange those columns",
        )]  # fmt: skip
    if azimuth == "degrees":
        return [(Cause.DEGREES, "angles are in degrees", "multiply them by pi/180")]
    habits = []
    if azimuth == "reversed":
        habits.append((
            Cause.TRAVEL_DIRECTION,
            "azimuths run the way the wave travels, or the other way round",
            "add pi to them",
        ))  # fmt: skip
    if azimuth == "compass":
        habits.append((
            Cause.COMPASS,
            "azimuths are compass bearings, clockwise from +y (or x and y of the positions are "
            "exchanged)",
            "take pi/2 - azimuth",
        ))  # fmt: skip
    if azimuth == "mirrored":
        habits.append((
            Cause.CLOCKWISE,
            "azimuths run clockwise from +x",
            "change their sign (--clockwise for headings' angles)",
        ))  # fmt: skip
    if azimuth in ("turned", "mirror-turned"):
        mirrored = azimuth == "mirror-turned"
        habits.append((
            Cause.TURNED,
            f"azimuths were turned by {turn:+.3f} rad ({math.degrees(turn):+.1f} degrees)"
            + (" after changing their sign" if mirrored else ""),
            "check the heading of the antennas and its unit",
        ))  # fmt: skip
    if zenith == "elevation":
        habits.append((
            Cause.ELEVATION,
            "zenith angles are elevations, counted from the horizon, or their size",
            "take pi/2 - elevation, with the elevation's sign",
        ))  # fmt: skip
    if zenith == "reversed":
        habits.append((
            Cause.NADIR,
            "zenith angles are counted from straight down, or the heights of the two ends are "
            "exchanged",
            "take pi - zenith",
        ))  # fmt: skip
    return habits
