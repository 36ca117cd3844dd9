"""Users' reports, kept: where a user was and which paths it had.

Takes path estimates at known places; arrays or data frames of a script, checked like files.
Gives `Reports`, what channel maps learn from, held in host memory in double precision.
"""

import weakref
from collections.abc import Mapping, Sequence
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

    from echoscape.scene import Site


_JUDGED: "weakref.WeakValueDictionary[int, Reports]" = weakref.WeakValueDictionary()
"""Reports whose geometry was checked, while they live; no field, as it is no part of the data."""


class Reports(PathSets):
    """Reports of users to one or several base stations; an outage has no valid path."""

    estimates: Paths
    """Paths of every report, strongest first, shape [report, path] (numpy)."""
    position: Float[np.ndarray, "report 3"]
    """Where the user was [m]."""
    position_std: Float[np.ndarray, " report"]
    """Standard deviation of each horizontal coordinate of `position` [m]."""
    time: Float[np.ndarray, " report"]
    """When [s]."""
    report: Int[np.ndarray, " report"]
    """The report's number in its file."""
    station_index: Int[np.ndarray, " report"]
    """Which of `station` was received."""
    station_position: Float[np.ndarray, "station 3"]
    """Where the base stations are [m]."""
    station: tuple[str, ...] = eqx.field(static=True)
    """Names of the base stations."""

    common: ClassVar[tuple[str, ...]] = ("station_position",)
    made_by: ClassVar[str] = (
        "read_reports(path), Reports.from_dataframe(frame) or Reports.from_arrays(...)"
    )

    def __check_init__(self):
        check_sets(
            self, "report", self.report, self.station_index, self.station,
            position=(self.position, (3,), "m"), position_std=(self.position_std, (), "m"),
            time=(self.time, (), "s"),
        )  # fmt: skip
        if np.shape(self.station_position) != (len(self.station), 3):
            raise InputError(
                f"station_position must be one (x, y, z) [m] for each of the {len(self.station)} "
                f"stations; got shape {np.shape(self.station_position)}"
            )

    def __getitem__(self, index) -> "Reports":
        """Take some reports, by a mask, a slice or numbers of rows; all stations stay."""
        some = super().__getitem__(index)
        if self.judged:
            some.mark_judged()
        return some

    def mark_judged(self) -> None:
        """Remember that the geometry was checked, so that nobody is warned twice."""
        _JUDGED[id(self)] = self

    @property
    def judged(self) -> bool:
        """Whether the geometry of these reports was checked, and its warnings given."""
        return _JUDGED.get(id(self)) is self

    @classmethod
    def from_arrays(
        cls,
        *,
        position,
        station_position,
        departure_azimuth,
        power,
        delay=None,
        length=None,
        departure_zenith=None,
        arrival_azimuth=None,
        arrival_zenith=None,
        departure_azimuth_std=None,
        departure_zenith_std=None,
        arrival_azimuth_std=None,
        arrival_zenith_std=None,
        delay_std=None,
        length_std=None,
        valid=None,
        position_std=None,
        time=None,
        report=None,
        station: str | Sequence[str] = "station",
    ) -> "Reports":
        """Make reports of arrays with one row a report and one column a path.

        The values are checked as those of a file are.  A deviation may be one number for all.

        Args:
            position: Where the users were, [report, 3] [m].
            station_position: Where the station is [m]; a mapping from name to place for several.
            departure_azimuth: At the station, from +x counter-clockwise [rad].
            power: Received over transmitted, linear [1].
            delay: Absolute one-way delays [s]; or give lengths.
            length: Lengths [m], instead of delays.
            departure_zenith: Angle from +z at the station [rad]; not measured if not given.
            arrival_azimuth: At the user, looking back along the path [rad].
            arrival_zenith: Angle from +z at the user [rad].
            departure_azimuth_std: Standard deviation [rad].
            departure_zenith_std: Standard deviation [rad].
            arrival_azimuth_std: Standard deviation [rad].
            arrival_zenith_std: Standard deviation [rad].
            delay_std: Standard deviation [s].
            length_std: Standard deviation [m], instead of that of the delays.
            valid: False for padding; where not given, the paths whose delay is a number.
            position_std: Standard deviation of each horizontal coordinate of the position [m].
            time: When [s].
            report: Numbers of the reports; counted from 0 if not given.
            station: Name of the station, or of each report's.

        Raises:
            InputError: A value cannot be right; the message says how to repair it.

        Warns:
            GeometryWarning: Direct paths do not agree with the positions; see `check_geometry`.
        """
        from echoscape.reports.geometry import warn_of_findings
        from echoscape.reports.table import reports_from_table

        place = np.asarray(position, float)
        if place.ndim != 2 or place.shape[1] != 3:
            raise InputError(
                f"Reports.from_arrays needs position [m] of shape [report, 3]; got {place.shape}"
            )
        named = station_position if isinstance(station_position, Mapping) else None
        names = np.broadcast_to(np.asarray(station, dtype=str), len(place))
        if named is not None and not set(names) <= set(named):
            lacking = str(sorted(set(names) - set(named))[0])
            raise InputError(f"Reports.from_arrays has no station_position of station {lacking!r}")
        at = [np.asarray(station_position if named is None else named[n], float) for n in names]
        if any(each.shape != (3,) for each in at):
            raise InputError("Reports.from_arrays needs station_position as (x, y, z) [m]")
        stand = np.reshape(at, (-1, 3))
        sets = {
            "report": report,
            "station": names,
            **{f"station_{axis}": stand[:, i] for i, axis in enumerate("xyz")},
            **{axis: place[:, i] for i, axis in enumerate("xyz")},
            "time": time,
            "position_std": position_std,
        }
        paths = {
            "departure_azimuth": departure_azimuth, "departure_zenith": departure_zenith,
            "arrival_azimuth": arrival_azimuth, "arrival_zenith": arrival_zenith,
            "delay": delay, "length": length, "power": power,
            "departure_azimuth_std": departure_azimuth_std,
            "departure_zenith_std": departure_zenith_std,
            "arrival_azimuth_std": arrival_azimuth_std, "arrival_zenith_std": arrival_zenith_std,
            "delay_std": delay_std, "length_std": length_std,
        }  # fmt: skip
        source = "Reports.from_arrays"
        table = table_from_arrays(source, sets, paths, valid, "report")
        return warn_of_findings(reports_from_table(table, source=source))

    @classmethod
    def from_dataframe(cls, frame: Any, site: "Site | None" = None) -> "Reports":
        """Make reports of a data frame with the columns of ``docs/formats.md``, one row a path.

        Args:
            frame: A data frame of pandas or polars, or an Arrow table.
            site: Places the stations where the frame does not.

        Raises:
            InputError: A value cannot be right; the message says how to repair it.

        Warns:
            GeometryWarning: Direct paths do not agree with the positions; see `check_geometry`.
        """
        from echoscape.reports.geometry import warn_of_findings
        from echoscape.reports.table import reports_from_table

        source = "Reports.from_dataframe"
        table = table_from_dataframe(frame, source, "read_reports(path)")
        return warn_of_findings(reports_from_table(table, site, source))

    def to_arrow(self) -> "pa.Table":
        """Lay the reports out as an Arrow table, one row a path and one an outage."""
        from echoscape.reports.table import table_from_reports

        return table_from_reports(self)

    def summary_rows(self) -> dict[str, str]:
        """Count reports and paths, and give their spans."""
        outages = int((~self.estimates.valid.any(axis=1)).sum())
        return {
            "reports": f"{len(self):,}, {counted(outages, 'outage')}",
            "stations": ", ".join(self.station),
            **path_rows(self.estimates),
            **{axis: span(self.position[:, i], "m") for i, axis in enumerate("xyz")},
            "time": span(self.time, "s"),
            "position error": span(self.position_std, "m"),
        }
