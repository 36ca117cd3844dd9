"""Echoes of passive targets at a base station, of its own pulse or of another's.

An echo leaves along one path and returns along another; its departure is at the station that
transmits, its arrival at the one that receives, and the length is the sum of the two one-way
lengths.  Order and identity are unknown, echoes may be missing and false ones present.

Takes path estimates grouped by target and station; arrays or data frames, checked like files.
Gives `Echoes`, what `localization` reads.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.display import counted, span
from echoscape.propagation.path import Paths
from echoscape.reports.arrays import table_from_arrays, table_from_dataframe
from echoscape.reports.sets import PathSets, check_sets, path_rows

if TYPE_CHECKING:
    import pyarrow as pa


class Echoes(PathSets):
    """One set of echoes for each target, station that received it and station that transmitted."""

    estimates: Paths
    """Echoes of every set, shape [set, echo] (numpy)."""
    target: Int[np.ndarray, " set"]
    """The target's number in its file."""
    time: Float[np.ndarray, " set"]
    """When [s]."""
    station_index: Int[np.ndarray, " set"]
    """Which of `station` received the set."""
    station: tuple[str, ...] = eqx.field(static=True)
    """Names of the base stations."""
    sender_index: Int[np.ndarray, " set"] | None = None
    """Which of `station` transmitted what a set holds; the receiving one where not given."""

    made_by: ClassVar[str] = (
        "read_echoes(path), make_echoes(...).echoes, Echoes.from_dataframe(frame) or "
        "Echoes.from_arrays(...)"
    )

    def __check_init__(self):
        check_sets(
            self, "target", self.target, self.station_index, self.station,
            time=(self.time, (), "s"),
        )  # fmt: skip
        if self.sender_index is not None and np.shape(self.sender_index) != np.shape(self.target):
            raise InputError(
                f"sender_index must have one entry for each of the {len(self.target)} sets; got "
                f"shape {np.shape(self.sender_index)}"
            )

    @property
    def sender(self) -> Int[np.ndarray, " set"]:
        """Which of `station` transmitted what each set holds."""
        return self.station_index if self.sender_index is None else self.sender_index

    def ways(self) -> list[tuple[str, str]]:
        """List who transmitted and who received, by name, each pair once."""
        pairs = np.unique(np.stack([self.sender, self.station_index], axis=1), axis=0)
        return [(self.station[out], self.station[back]) for out, back in pairs]

    @classmethod
    def from_arrays(
        cls,
        *,
        departure_azimuth,
        arrival_azimuth,
        power,
        delay=None,
        length=None,
        departure_zenith=None,
        arrival_zenith=None,
        departure_azimuth_std,
        arrival_azimuth_std,
        delay_std=None,
        length_std=None,
        departure_zenith_std=None,
        arrival_zenith_std=None,
        valid=None,
        time=None,
        target=None,
        station: str | Sequence[str] = "station",
        sender: str | Sequence[str] | None = None,
    ) -> "Echoes":
        """Make echoes of arrays with one row a target and one column an echo.

        The values are checked as those of a file are.  A deviation may be one number for all.

        Args:
            departure_azimuth: At the transmitting station, from +x counter-clockwise [rad].
            arrival_azimuth: At the receiving station, looking back along the path [rad].
            power: Received over transmitted, linear [1].
            delay: Absolute delays, out and back [s]; or give lengths.
            length: Lengths, out and back [m], instead of delays.
            departure_zenith: Angle from +z [rad]; not measured if not given.
            arrival_zenith: Angle from +z [rad]; not measured if not given.
            departure_azimuth_std: Standard deviation [rad].
            arrival_azimuth_std: Standard deviation [rad].
            delay_std: Standard deviation [s].
            length_std: Standard deviation [m], instead of that of the delays.
            departure_zenith_std: Standard deviation [rad].
            arrival_zenith_std: Standard deviation [rad].
            valid: False for padding; where not given, the echoes whose delay is a number.
            time: When [s].
            target: Numbers of the targets; counted from 0 if not given.
            station: Name of the receiving station, or of each set's.
            sender: Name of the transmitting station, or of each set's; the receiving one if not
                given.

        Raises:
            InputError: A value cannot be right; the message says how to repair it.
        """
        from echoscape.reports.table import echoes_from_table

        source = "Echoes.from_arrays"
        if arrival_zenith is None:  # not measured: level, of no weight
            arrival_zenith, arrival_zenith_std = 0.5 * np.pi, np.inf
        paths = {
            "departure_azimuth": departure_azimuth, "departure_zenith": departure_zenith,
            "arrival_azimuth": arrival_azimuth, "arrival_zenith": arrival_zenith,
            "delay": delay, "length": length, "power": power,
            "departure_azimuth_std": departure_azimuth_std,
            "departure_zenith_std": departure_zenith_std,
            "arrival_azimuth_std": arrival_azimuth_std, "arrival_zenith_std": arrival_zenith_std,
            "delay_std": delay_std, "length_std": length_std,
        }  # fmt: skip
        sets = {
            "target": target,
            "station": station, "sender": sender, "time": time,
        }  # fmt: skip
        return echoes_from_table(
            table_from_arrays(source, sets, paths, valid, "target"), source=source
        )

    @classmethod
    def from_dataframe(
        cls, frame: Any, *, angle_std: float | None = None, delay_std: float | None = None
    ) -> "Echoes":
        """Make echoes of a data frame with the columns of ``docs/formats.md``, one row an echo.

        Args:
            frame: A data frame of pandas or polars, or an Arrow table.
            angle_std: Standard deviation of angles that the frame gives none for [rad].
            delay_std: Standard deviation of delays that the frame gives none for [s].

        Raises:
            InputError: A value cannot be right; the message says how to repair it.
        """
        from echoscape.reports.table import echoes_from_table

        source = "Echoes.from_dataframe"
        table = table_from_dataframe(frame, source, "read_echoes(path)")
        return echoes_from_table(table, angle_std, delay_std, source)

    def to_arrow(self) -> "pa.Table":
        """Lay the echoes out as an Arrow table, one row an echo and one a set without any."""
        from echoscape.reports.table import table_from_echoes

        return table_from_echoes(self)

    def summary_rows(self) -> dict[str, str]:
        """Count targets and echoes, and give their spans."""
        silent = int((~self.estimates.valid.any(axis=1)).sum())
        count = len(np.unique(self.target))
        return {
            "targets": f"{count:,} in {counted(len(self), 'set')}, {silent} without an echo",
            "links": ", ".join(f"{out} to {back}" for out, back in self.ways()),
            **path_rows(self.estimates, "echo", "echoes"),
            "time": span(self.time, "s"),
        }
