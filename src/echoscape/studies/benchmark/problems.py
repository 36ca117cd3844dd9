"""What a method is given: five kinds of problems, none with a trace of the truth.

A Python method gets the problem itself; a program finds the same as files in its folder.

Takes reports, echoes, snapshots, observations, samples.
Gives problems, and their files.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from echoscape.checks import InputError
from echoscape.estimation import PathEstimates
from echoscape.files import write_npz
from echoscape.files.tabular import read_columns
from echoscape.imaging import Snapshots, write_snapshots
from echoscape.localization import PairedEchoes
from echoscape.localization.fix import fix_from_columns
from echoscape.reports import (
    Echoes,
    Observations,
    Reports,
    read_echoes,
    write_echoes,
    write_observations,
    write_reports,
)
from echoscape.reports.sample_file import write_samples
from echoscape.reports.trajectory import read_trajectory
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.signals import EchoSnapshots

Heard = Echoes | PairedEchoes | PathEstimates
"""Echoes of targets, unordered or by pair of paths, or users' own paths."""


@dataclasses.dataclass(frozen=True)
class Locate:
    """Locate targets or users by what was heard of them and by reports of other users."""

    reports: Reports
    """What to learn from, of one station."""
    heard: Heard
    """What was heard of the targets, a set each."""
    height: float | tuple[float, float]
    """Height of all targets, or the range that holds theirs [m]."""
    unknown: tuple[str, ...] = ()
    """What the echoes share that nobody knows: "clock", "heading"."""
    kind: ClassVar[str] = "locate"
    answer: ClassVar[str] = (
        "a Fix or an array [target, 3] [m]; as a file answer.parquet or answer.csv with the "
        "columns target, x, y, z and, if there are any, cov_xx, cov_xy, cov_yy"
    )

    @property
    def count(self) -> int:
        """How many targets there are."""
        if isinstance(self.heard, Echoes):
            return len(self.heard.target)
        return len(self.heard.valid)


@dataclasses.dataclass(frozen=True)
class Image:
    """Image a grid of voxels by users' pilots as stations received them."""

    snapshots: Snapshots
    """What was received, and what is stated of the users."""
    grid: VoxelGrid
    """The voxels."""
    unknown: tuple[str, ...] = ()
    """What is not known of the users, as `echoscape.image` takes it."""
    bodies: bool = False
    """Whether solid bodies are expected rather than points."""
    kind: ClassVar[str] = "image"
    answer: ClassVar[str] = (
        "a VoxelImage or an array of coefficients of the grid's shape; as a file answer.npz with "
        "the array mean"
    )

    @property
    def count(self) -> int:
        """How many voxels there are."""
        return self.grid.voxels


@dataclasses.dataclass(frozen=True)
class Track:
    """Track a user whose paths are observed and whose start is known."""

    observations: Observations
    """What was observed; the user is known at the first instant only."""
    station: np.ndarray
    """Position of the station [m]."""
    start: np.ndarray
    """Where the user is at first [m]."""
    velocity: np.ndarray
    """The user's first velocity [m/s]."""
    motion: str = "pedestrian"
    """How the user moves: "pedestrian", "vehicle" or "uav"."""
    kind: ClassVar[str] = "track"
    answer: ClassVar[str] = (
        "Tracks, a Trajectory or an array [instant, 3] [m]; as a file answer.parquet or "
        "answer.csv with the columns time, x, y, z"
    )

    @property
    def count(self) -> int:
        """How many instants there are."""
        return len(self.observations.time)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Estimate which echoes are in samples of the echo channel."""

    samples: EchoSnapshots
    """A snapshot for each target."""
    kind: ClassVar[str] = "estimate"
    answer: ClassVar[str] = (
        "PathEstimates or Echoes, a set for each snapshot; as a file answer.parquet or answer.csv, "
        "a table of echoes whose targets are the snapshots' numbers"
    )

    @property
    def count(self) -> int:
        """How many snapshots there are."""
        return len(self.samples.target)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Say how widely the true channel spreads along a route whose paths are observed."""

    observations: Observations
    """What was observed; the user is known at the first instant only."""
    station: np.ndarray
    """Position of the station [m]."""
    position: np.ndarray
    """Where the user is at every instant, for models that draw channels by place [m]."""
    velocity: np.ndarray
    """The user's first velocity [m/s]."""
    line_of_sight: np.ndarray
    """Whether the user sees the station, for the same models."""
    carrier: float
    """Carrier [Hz]."""
    kind: ClassVar[str] = "spread"
    answer: ClassVar[str] = (
        "Spreads over the instants; as a file answer.parquet or answer.csv with the columns delay "
        "[s], departure_azimuth, departure_zenith, arrival_azimuth, arrival_zenith [rad]"
    )

    @property
    def count(self) -> int:
        """How many instants there are."""
        return len(self.observations.time)


Problem = Locate | Image | Track | Estimate | Spread
KINDS = {each.kind: each for each in (Locate, Image, Track, Estimate, Spread)}
"""Kinds of problems by name."""


def write_problem(problem: Problem, folder: Path) -> list[str]:
    """Write what a program is to solve: ``problem.json`` and our own files beside it.

    Args:
        problem: The problem.
        folder: An empty folder.

    Returns:
        Names of the files.
    """
    plain: dict[str, Any] = {"kind": problem.kind, "answer": problem.answer}
    for field in dataclasses.fields(problem):
        value = getattr(problem, field.name)
        for kind, (suffix, write) in _WRITERS.items():
            if isinstance(value, kind):
                write(value, folder / f"{field.name}{suffix}")
                plain[field.name] = f"{field.name}{suffix}"
                break
        else:
            plain[field.name] = _plain(value)
    (folder / "problem.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return sorted(path.name for path in folder.iterdir())


def _write_fields(value: Any, path: Path) -> None:
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    write_npz(path, {name: each for name, each in fields.items() if each is not None})


_WRITERS: dict[type, tuple[str, Callable[[Any, Path], Any]]] = {
    Reports: (".parquet", write_reports),
    Echoes: (".parquet", write_echoes),
    PairedEchoes: (".npz", _write_fields),
    PathEstimates: (".npz", _write_fields),
    Snapshots: (".npz", write_snapshots),
    Observations: (".parquet", write_observations),
    EchoSnapshots: (".npz", write_samples),
}


def _plain(value: Any) -> Any:
    if isinstance(value, VoxelGrid):
        return {"origin": list(value.origin), "shape": list(value.shape), "edge": value.edge}
    return value.tolist() if isinstance(value, np.ndarray) else value


def read_answer(problem: Problem, folder: Path) -> Any:
    """Read what a program answered.

    Args:
        problem: What it was to solve.
        folder: Where it worked.

    Raises:
        InputError: There is no answer, or it cannot be read.
    """
    suffixes = (".npz",) if isinstance(problem, Image) else (".parquet", ".csv")
    for suffix in suffixes:
        path = folder / f"answer{suffix}"
        if path.exists():
            return _READERS[problem.kind](path)
    raise InputError(f"the program left no answer{' or answer'.join(suffixes)}")


def _columns(path: Path) -> dict[str, np.ndarray]:
    table = read_columns(path, "an answer")
    return {n: table[n].to_numpy(zero_copy_only=False) for n in table.column_names}


def _read_fixes(path: Path) -> Any:
    columns = _columns(path)
    if "target" not in columns:
        raise InputError(f"{path.name} needs the column target")
    columns.setdefault("status", np.full(len(columns["target"]), "located"))
    return fix_from_columns(columns)


def _read_image(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as stored:
        return np.asarray(stored["mean"])


_READERS = {
    "locate": _read_fixes,
    "image": _read_image,
    "track": read_trajectory,
    "estimate": read_echoes,
    "spread": _columns,
}
