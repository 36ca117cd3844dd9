"""What one user's receiver measures of the paths, instant after instant, without identities.

Takes path estimates grouped by time; arrays or data frames, checked like files.
Gives `Observations`, what `tracking` reads.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from echoscape.checks import InputError
from echoscape.display import span
from echoscape.propagation.path import Paths
from echoscape.reports.arrays import table_from_arrays, table_from_dataframe
from echoscape.reports.sets import PathSets, check_sets, path_rows

if TYPE_CHECKING:
    import pyarrow as pa


class Observations(PathSets):
    """Path estimates of one user and one station over time; order and identity mean nothing."""

    estimates: Paths
    """Paths of every instant, shape [time, path] (numpy)."""
    time: Float[np.ndarray, " time"]
    """When, strictly rising [s]."""
    user_position: Float[np.ndarray, "time 3"]
    """Where the user was; zeros where that is not known [m]."""
    user_known: Bool[np.ndarray, " time"]
    """Whether `user_position` is known."""
    row: Int[np.ndarray, "time path"]
    """Row in the file, from 0; -1 for padding."""
    repeated: int = eqx.field(static=True, default=0)
    """How many rows repeated another one exactly and were left out."""

    made_by: ClassVar[str] = (
        "read_observations(path), Observations.from_dataframe(frame) or "
        "Observations.from_arrays(...)"
    )

    def __check_init__(self):
        check_sets(
            self, "instant", np.arange(len(self.time)), time=(self.time, (), "s"),
            user_position=(self.user_position, (3,), "m"),
        )  # fmt: skip
        if isinstance(self.time, np.ndarray) and (np.diff(self.time) <= 0).any():
            at = int(np.argmax(np.diff(self.time) <= 0))
            raise InputError(
                f"the times of observations must rise [s], but {self.time[at + 1]:.6g} follows "
                f"{self.time[at]:.6g}; sort them, and give each user observations of its own"
            )

    @classmethod
    def from_arrays(
        cls,
        *,
        time,
        departure_azimuth,
        departure_zenith,
        arrival_azimuth,
        arrival_zenith,
        power,
        delay=None,
        length=None,
        angle_std: float | None = None,
        departure_azimuth_std=None,
        departure_zenith_std=None,
        arrival_azimuth_std=None,
        arrival_zenith_std=None,
        delay_std=None,
        length_std=None,
        valid=None,
        user_position=None,
    ) -> "Observations":
        """Make observations of arrays with one row an instant and one column a path.

        The values are checked as those of a file are.  A deviation may be one number for all.

        Args:
            time: When, rising [s].
            departure_azimuth: At the station, from +x counter-clockwise [rad].
            departure_zenith: Angle from +z at the station [rad].
            arrival_azimuth: At the user, looking back along the path [rad].
            arrival_zenith: Angle from +z at the user [rad].
            power: Received over transmitted, linear [1].
            delay: Absolute one-way delays [s]; or give lengths.
            length: Lengths [m], instead of delays.
            angle_std: Standard deviation of the angles that are given none [rad].
            departure_azimuth_std: Standard deviation [rad].
            departure_zenith_std: Standard deviation [rad].
            arrival_azimuth_std: Standard deviation [rad].
            arrival_zenith_std: Standard deviation [rad].
            delay_std: Standard deviation [s].
            length_std: Standard deviation [m], instead of that of the delays.
            valid: False for padding; where not given, the paths whose delay is a number.
            user_position: Where the user was, [time, 3], NaN where not known [m].

        Raises:
            InputError: A value cannot be right; the message says how to repair it.
        """
        from echoscape.reports.observation_table import observations_from_table

        source = "Observations.from_arrays"
        paths = {
            "departure_azimuth": departure_azimuth, "departure_zenith": departure_zenith,
            "arrival_azimuth": arrival_azimuth, "arrival_zenith": arrival_zenith,
            "delay": delay, "length": length, "power": power,
            "departure_azimuth_std": departure_azimuth_std,
            "departure_zenith_std": departure_zenith_std,
            "arrival_azimuth_std": arrival_azimuth_std, "arrival_zenith_std": arrival_zenith_std,
            "delay_std": delay_std, "length_std": length_std,
        }  # fmt: skip
        sets: dict[str, Any] = {"time": time}
        if user_position is not None:
            place = np.asarray(user_position, float)
            if place.ndim != 2 or place.shape[1] != 3:
                raise InputError(
                    f"{source} needs user_position [m] of shape [time, 3]; got {place.shape}"
                )
            sets |= {f"user_{axis}": place[:, i] for i, axis in enumerate("xyz")}
        table = table_from_arrays(source, sets, paths, valid)
        return observations_from_table(table, angle_std, source=source)

    @classmethod
    def from_dataframe(
        cls, frame: Any, *, angle_std: float | None = None, delay_std: float | None = None
    ) -> "Observations":
        """Make observations of a data frame with the columns of ``docs/formats.md``.

        Args:
            frame: A data frame of pandas or polars, or an Arrow table; one row a path.
            angle_std: Standard deviation of angles that the frame gives none for [rad].
            delay_std: Standard deviation of delays that the frame gives none for [s].

        Raises:
            InputError: A value cannot be right; the message says how to repair it.
        """
        from echoscape.reports.observation_table import observations_from_table

        source = "Observations.from_dataframe"
        table = table_from_dataframe(frame, source, "read_observations(path)")
        return observations_from_table(table, angle_std, delay_std, source)

    def to_arrow(self) -> "pa.Table":
        """Lay the observations out as an Arrow table, one row a path and one an empty instant."""
        from echoscape.reports.observation_table import table_from_observations

        return table_from_observations(self)

    def summary_rows(self) -> dict[str, str]:
        """Count instants and paths, and give their spans."""
        return {
            "instants": f"{len(self):,}, the user known at {int(self.user_known.sum()):,}",
            **path_rows(self.estimates),
            "time": span(self.time, "s"),
        }
