"""Positions over time, of a user or a target, and how far they are from the truth.

`echoscape track` writes the user's positions and `echoscape follow` a target's; both tables have
the columns time, x, y, z and the covariance.  A truth may be such a table too, or observations that
know where the user was.

Takes Parquet or CSV files.
Gives a `Trajectory`, and the `TrajectoryScores` of one beside another.
"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float

from echoscape.checks import InputError
from echoscape.reports.columns import Columns
from echoscape.reports.files import read_table
from echoscape.reports.schema import POSITION, USER_POSITION, Column, Schema

_PLANE = ("cov_xx", "cov_xy", "cov_yy")
_INSIDE_90 = 4.605  # chi-squared of two degrees of freedom
_ROUNDING = 1e-6  # times that differ by less are the same instant [s]


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Positions over time, in rising order of time."""

    time: Float[np.ndarray, " instant"]
    """When [s]."""
    position: Float[np.ndarray, "instant 3"]
    """Where [m]; NaN where nothing was known."""
    covariance: Float[np.ndarray, "instant 2 2"]
    """Covariance in the plane [m^2]; NaN where it was not stated."""


@dataclasses.dataclass(frozen=True)
class TrajectoryScores:
    """Errors in the plane over the instants with a position."""

    instants: int
    """Instants of the result."""
    lost: float
    """Share without a position."""
    rmse: float | None
    """Root mean square error [m]; None, as below, if no instant has a position."""
    median: float | None
    """Median error [m]."""
    p90: float | None
    """90th percentile of the error [m]."""
    largest: float | None
    """Largest error [m]."""
    last: float | None
    """Error at the last instant with a position [m]."""
    inside_90: float | None
    """Share inside the claimed 90 % ellipse; None if no covariance is stated."""


def read_trajectory(path: str | Path) -> Trajectory:
    """Read positions over time; rows of one instant must agree.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file cannot be used, or an instant has two positions.
    """
    table = read_table(path, _schema(POSITION))
    names = USER_POSITION if USER_POSITION[0] in table.column_names else POSITION
    columns = Columns(table, _schema(names), str(path))
    time = columns.finite("time")
    position = np.stack([columns.values(name) for name in names], axis=-1)
    plane = [columns.values(n) if columns.has(n) else np.full(len(time), np.nan) for n in _PLANE]
    time, first, row = np.unique(time, return_index=True, return_inverse=True)
    differ = np.nanmax(np.abs(position - position[first][row]), axis=-1, initial=0.0) > 0
    if differ.any():
        at = time[row[int(np.argmax(differ))]]
        raise InputError(f"{path} has two positions at time {at:g} s; leave one for each instant")
    covariance = np.stack([plane[0], plane[1], plane[1], plane[2]], axis=-1)[first]
    return Trajectory(time, position[first], covariance.reshape(-1, 2, 2))


def score_trajectory(found: Trajectory, truth: Trajectory) -> TrajectoryScores:
    """Compare positions with the truth, which is interpolated between its instants.

    Raises:
        InputError: The truth does not cover the time of the result, or knows no position.
    """
    known = np.isfinite(truth.position).all(axis=1)
    if not known.any():
        raise InputError("the truth has no position; give the columns x, y, z [m]")
    time, place = truth.time[known], truth.position[known]
    if found.time[0] < time[0] - _ROUNDING or found.time[-1] > time[-1] + _ROUNDING:
        raise InputError(
            f"the truth covers {time[0]:g} s to {time[-1]:g} s, but the result goes from "
            f"{found.time[0]:g} s to {found.time[-1]:g} s; give a truth of all of it"
        )
    exact = np.stack([np.interp(found.time, time, place[:, i]) for i in range(2)], axis=-1)
    difference = found.position[:, :2] - exact
    located = np.isfinite(difference).all(axis=1)
    difference = difference[located]
    error = np.linalg.norm(difference, axis=1)
    if not len(error):
        return TrajectoryScores(len(found.time), 1.0, *(None,) * 6)
    covariance = found.covariance[located]
    stated = np.isfinite(covariance).all(axis=(1, 2))
    inside = None
    if stated.any():
        residual, spread = difference[stated][..., None], covariance[stated] + 1e-12 * np.eye(2)
        distance = np.einsum("nij,nij->n", residual, np.linalg.solve(spread, residual))
        inside = float(np.mean(distance <= _INSIDE_90))
    return TrajectoryScores(
        instants=len(found.time),
        lost=float(np.mean(~located)),
        rmse=float(np.sqrt(np.mean(error**2))),
        median=float(np.median(error)),
        p90=float(np.quantile(error, 0.9)),
        largest=float(error.max()),
        last=float(error[-1]),
        inside_90=inside,
    )


def _schema(names: tuple[str, ...]) -> Schema:
    return Schema(
        "positions over time",
        "",
        (
            Column("time", "number", "[s]", True),
            *(Column(name, "number", "[m]", True) for name in names),
            *(Column(name, "number", "[m^2]") for name in _PLANE),
        ),
        others=("user", "followed", "observations"),
    )
