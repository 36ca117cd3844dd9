"""The frozen tasks: each a world, its sizes, what is measured, and what its data must be.

A task never changes: one that has to gets another version, and rows of the former no longer count.
Its data are compared with a stored fingerprint, so a world that drifts is noticed.

Takes the name of a task.
Gives its problem and reference answer.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any, Literal, NamedTuple

import numpy as np

from echoscape.checks import unknown_name
from echoscape.studies.benchmark import worlds
from echoscape.studies.benchmark.answers import Reference, arrays_of
from echoscape.studies.benchmark.problems import Problem
from echoscape.studies.benchmark.worlds import Sizes

_ROUND_OFF = 1e-8  # share by which data of another machine may differ
Size = Literal["full", "small"]
"""The size that counts, and one of seconds that shows whether a method works."""


class Measure(NamedTuple):
    """The number by which methods are ranked."""

    name: str
    """Its name among the scores."""
    unit: str
    """Its unit."""
    higher: bool = False
    """Whether more is better."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One task."""

    name: str
    """Its name."""
    kind: str
    """Which kind of problem it is."""
    summary: str
    """What it asks, in a line."""
    measure: Measure
    """What ranks methods."""
    make: Callable[[Sizes], tuple[Any, Any]]
    """Makes problem and reference answer."""
    full: Sizes
    """The sizes that count."""
    small: Sizes
    """Sizes of seconds."""
    version: int = 1
    """Rises with any change."""

    def problem(self, size: Size = "full") -> tuple[Problem, Reference]:
        """Make the problem and its reference answer."""
        return self.make(self.full if size == "full" else self.small)

    def hash(self, size: Size = "full") -> str:
        """Name the task by its content."""
        sizes = self.full if size == "full" else self.small
        text = json.dumps([self.name, self.kind, self.version, self.measure, size, sizes])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_ERROR = Measure("median", "m")
_F1 = Measure("f1", "1", True)
_RMSE = Measure("rmse", "m")
_CITY = {"reports": 1000, "targets": 60}
_FEW = {"reports": 150, "targets": 4}
_WIDE = {"tones": 8, "link_phase": True}
_SMALL_BOX = {"shape": [8, 7, 5], "users": 6}
_WALK = {"instants": 300}
_STEPS = {"instants": 30}

_LISTED = (
    Task("city-sample", "locate", "300 reports of a ray-traced city, targets out of sight", _ERROR,
         worlds.city, {"reports": 300, "targets": 60}, _FEW),
    Task("city-full", "locate", "the same city with all 1486 reports and 150 targets", _ERROR,
         worlds.city, {"reports": 1486, "targets": 150}, _FEW),
    Task("few-reports", "locate", "the same city with 100 reports", _ERROR, worlds.city,
         {"reports": 100, "targets": 60}, {"reports": 60, "targets": 4}),
    Task("dirty-echoes", "locate", "15 % of the echoes missed, 30 % false ones added", _ERROR,
         partial(worlds.city, missed=0.15, false=0.3), _CITY, _FEW),
    Task("clock-and-heading", "locate", "all echoes 10 ns late and turned by 3 degrees", _ERROR,
         partial(worlds.city, clock=10e-9, heading=np.radians(3.0)), _CITY, _FEW),
    Task("square", "locate", "the paper's square: eight scatterers, known pairs of paths", _ERROR,
         worlds.square, {"reports": 2000, "targets": 100}, {"reports": 200, "targets": 4}),
    Task("other-city", "locate", "a town made from a seed, paths by images in its walls", _ERROR,
         worlds.town, {"reports": 800, "targets": 60}, {"reports": 120, "targets": 4}),
    Task("height", "locate", "the same town, targets 2 to 16 m up, reports at 1.5 m", _ERROR,
         partial(worlds.town, heights=(2.0, 16.0)), {"reports": 800, "targets": 60},
         {"reports": 120, "targets": 4}),
    Task("room", "locate", "a measured campaign in a furnished room, a pose from its own paths",
         _ERROR, worlds.room, {"poses": 120}, {"poses": 24}),
    Task("image-coherent", "image", "40 points in 16 x 16 x 8 voxels that hide each other, 20 dB",
         _F1, worlds.voxels, {}, {**_SMALL_BOX, "scatterers": 10}),
    Task("image-positions", "image", "16 points off the grid, users 10 cm from where stated, no "
         "phases", _F1, partial(worlds.field, **_WIDE, off_grid=0.5, user_error=0.1), {},
         {**_SMALL_BOX, "scatterers": 5}),
    Task("image-solid", "image", "two solid boxes, users exact, no phases", _F1,
         partial(worlds.field, **_WIDE, body="box"), {}, _SMALL_BOX),
    Task("track-city", "track", "a walk of 30 s round a corner of the city", _RMSE,
         partial(worlds.walk, scene="city"), {"begin": 1100, "instants": 300},
         {"begin": 1250, "instants": 30}),
    Task("track-room", "track", "a walk round a room of 12 by 8 m", _RMSE,
         partial(worlds.walk, scene="room"), _WALK, _STEPS),
    Task("track-vehicle", "track", "a drive at 11 m/s that brakes and turns", _RMSE,
         partial(worlds.walk, scene="car", motion="vehicle"), _WALK, _STEPS),
    Task("track-uav", "track", "a flight from 2 to 50 m beside houses", _RMSE,
         partial(worlds.walk, scene="uav", motion="uav"), _WALK, _STEPS),
    Task("echo-estimation", "estimate", "nine echoes a snapshot, 16 x 16 antennas, 100 MHz, 20 dB",
         _F1, partial(worlds.samples, snr_db=20.0),
         {"elements": 16, "subcarriers": 192, "targets": 10, "listed": 3},
         {"elements": 6, "subcarriers": 32, "targets": 2, "listed": 2}),
    Task("channel-statistics", "spread", "delay and angular spreads along a walk, from noisy paths",
         Measure("ks", "1"), worlds.statistics, {"instants": 600}, _STEPS),
)  # fmt: skip
TASKS = {task.name: task for task in _LISTED}
"""All tasks by name."""


def task_named(name: str) -> Task:
    """Find a task.

    Raises:
        InputError: There is none of this name; the nearest is named.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]


Fingerprint = list[float]
"""How many numbers data have, their root mean square, and their projection on fixed weights."""


def fingerprint(problem: Problem, truth: Reference) -> Fingerprint:
    """Summarise data so that another machine's round-off does not show, and a change does.

    Args:
        problem: The problem.
        truth: Its reference answer.
    """
    parts = [np.abs(each.ravel()) for each in arrays_of((problem, truth))]
    parts = [each[np.isfinite(each)].astype(float) for each in parts if each.dtype.kind in "biufc"]
    # each array by its own scale, or lengths would drown delays
    parts = [each / max(float(each.max(initial=0.0)), 1e-300) for each in parts if each.size]
    values = np.concatenate(parts)
    weight = np.cos(np.arange(len(values)))
    size = np.sqrt(np.mean(values**2))
    return [float(len(values)), float(f"{size:.13g}"), float(f"{np.mean(values * weight):.13g}")]


def same_data(one: Fingerprint, other: Fingerprint) -> bool:
    """Say whether two fingerprints are of the same data."""
    if len(one) != 3 or len(other) != 3:
        return False
    room = _ROUND_OFF * other[1]
    return one[0] == other[0] and all(abs(a - b) < room for a, b in zip(one[1:], other[1:]))


def frozen() -> dict[str, dict[str, Fingerprint]]:
    """Read the stored fingerprints, by task and size."""
    file = resources.files(__package__ or "") / "frozen.json"
    return json.loads(file.read_text(encoding="utf-8"))
