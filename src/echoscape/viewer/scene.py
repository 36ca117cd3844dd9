"""What the page shows, as one value: everything in metres of the site, ready to be drawn.

The page draws what stands here and nothing else, so a scene that is stored as JSON is the page, and
another renderer can take its place.  Lists of places are flat, ``x, y, z, x, y, z, ...``.

Takes plain numbers.
Gives a `ViewerScene` and its JSON.
"""

import dataclasses
import json
import math
from typing import Any

import numpy as np

from echoscape.communication.at_place import PlaceForecast
from echoscape.text import printable


@dataclasses.dataclass(frozen=True)
class Triangles:
    """Buildings and ground."""

    vertex: list[float]
    """Corners, flat [m]."""
    face: list[int]
    """Three corners a triangle, flat."""


@dataclasses.dataclass(frozen=True)
class StationMark:
    """A base station and how its array stands."""

    name: str
    """Its name."""
    position: list[float]
    """Where it is [m]."""
    rows: int | None
    """Elements upwards; None where the array is not known."""
    columns: int | None
    """Elements across."""
    azimuth: float | None
    """Where the array looks, from +x counter-clockwise [rad]."""
    tilt: float | None
    """How far it looks below the horizon [rad]."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One number a report, to colour by."""

    name: str
    """What it is."""
    unit: str
    """Its unit; empty for a pure number."""
    value: list[float | None]
    """The numbers; None where there is none, as in an outage."""


@dataclasses.dataclass(frozen=True)
class ReportMarks:
    """Users' reports."""

    position: list[float]
    """Where the users were, flat [m]."""
    number: list[int]
    """Numbers of the reports."""
    station: list[str]
    """Station that each is of."""
    column: list[Column]
    """What they can be coloured by."""


@dataclasses.dataclass(frozen=True)
class PointMark:
    """A static point: a virtual anchor stands where the path comes straight from."""

    station: str
    """Station whose map holds it."""
    kind: str
    """`virtual anchor`, `scatterer`, `edge` or `undetermined`."""
    position: list[float]
    """Where the user sees it [m]."""
    std: float
    """Standard deviation, the root mean square over the axes [m]."""
    gain: float | None
    """Power times the squared length of the path [dB m^2]."""
    region: list[float]
    """Visibility region: places of reports at which the map lists the point, flat [m]."""


@dataclasses.dataclass(frozen=True)
class WallMark:
    """An upright rectangle that the map knows from reflections."""

    line: list[float]
    """Its ends from above: x, y, x, y [m]."""
    low: float
    """Lower edge [m]."""
    high: float
    """Upper edge [m]."""


@dataclasses.dataclass(frozen=True)
class FixMark:
    """Where a target may be."""

    target: int
    """Number of the target."""
    rank: int
    """0 for the best place, 1, 2, ... for alternatives."""
    status: str
    """How it was located."""
    position: list[float]
    """The place [m]."""
    axes: list[float]
    """Half axes of the ellipsoid of 90 %, three vectors, flat [m]; zeros where not known."""
    probability: float | None
    """Share of the posterior that is at this place [1]."""


@dataclasses.dataclass(frozen=True)
class EchoLine:
    """An echo, out along one path and back along another, drawn through the place of a fix."""

    target: int
    """Number of the target."""
    station: str
    """Station that received it."""
    line: list[float]
    """Corners of the path, flat [m]; empty where the map explains it by no pair of paths."""
    exact: bool
    """Whether every reflection is on a wall of the mesh; else a path of several reflections is
    drawn with one, of the same direction and length."""
    delay: float
    """Two-way delay [s]."""
    power: float
    """Power gain [1]."""
    departure: list[float]
    """Unit vector of the departure at the station that sent [1]."""


@dataclasses.dataclass(frozen=True)
class TrackLine:
    """Something that is followed."""

    name: str
    """`user`, or the number of the track."""
    kind: str
    """`user`, `target`, or the kind of static point."""
    time: list[float]
    """When, rising [s]."""
    position: list[float]
    """Where, flat [m]."""
    std: list[float]
    """Standard deviation, the root mean square over the axes [m]."""
    status: list[str]
    """How it stands at each instant."""


@dataclasses.dataclass(frozen=True)
class VoxelMarks:
    """An image: voxels that may be occupied."""

    edge: float
    """Side of a voxel [m]."""
    position: list[float]
    """Centres, flat [m]."""
    occupancy: list[float]
    """Probability that each is occupied [1]."""
    std: list[float]
    """Standard deviation of its coefficient [1]."""
    magnitude: list[float]
    """Magnitude of its coefficient [1]."""


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """A bound of the error over the ground."""

    step: float
    """Side of a cell [m]."""
    position: list[float]
    """Centres, flat [m]."""
    value: list[float | None]
    """Smallest horizontal root mean square error [m]; None where nothing is bounded."""


@dataclasses.dataclass(frozen=True)
class PlaceMark:
    """What maps predict at a place, ready to be drawn."""

    forecast: PlaceForecast
    """What they say."""
    lines: list[list[float]]
    """Corners of each predicted path, flat [m]."""
    exact: list[bool]
    """Of each path, as `EchoLine.exact`."""
    beams: list[list[float]]
    """Where each beam of the forecast points, a unit vector [1]; empty beyond what is visible."""


@dataclasses.dataclass(frozen=True)
class ViewerScene:
    """Everything that the page shows; right-handed, x east, y north, z up."""

    title: str
    """What it is."""
    lower: list[float]
    """Lowest corner of what is shown at first [m]."""
    upper: list[float]
    """Highest corner [m]."""
    ground: float
    """Height of the plane that a click meets where it meets nothing else [m]."""
    mesh: Triangles | None = None
    """Buildings and ground."""
    walls: tuple[WallMark, ...] = ()
    """Walls that maps know."""
    stations: tuple[StationMark, ...] = ()
    """Base stations."""
    reports: ReportMarks | None = None
    """Users' reports."""
    points: tuple[PointMark, ...] = ()
    """Static points of the maps."""
    fixes: tuple[FixMark, ...] = ()
    """Located targets."""
    echoes: tuple[EchoLine, ...] = ()
    """Echoes of the located targets."""
    tracks: tuple[TrackLine, ...] = ()
    """What is followed."""
    voxels: VoxelMarks | None = None
    """An image."""
    bound: HeatMap | None = None
    """A bound."""
    places: tuple[PlaceMark, ...] = ()
    """What the maps predict at some places; a page without a server answers from these."""
    live: bool = False
    """Whether the server answers what the maps predict at any place."""


def to_json(scene: ViewerScene | PlaceMark) -> str:
    """Write a scene or a place as JSON; numbers have seven digits, and what is not finite is null.

    Text, which is shown, has no characters that turn the direction of writing or control anything.

    Args:
        scene: What to write.
    """
    return json.dumps(_plain(dataclasses.asdict(scene)), separators=(",", ":"), allow_nan=False)


def flat(values: Any, digits: int = 3) -> list[float]:
    """Lay an array out flat, rounded.

    Args:
        values: Finite numbers of any shape.
        digits: How many after the point; three are a millimetre.
    """
    return np.round(np.asarray(values, float).ravel(), digits).tolist()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value
