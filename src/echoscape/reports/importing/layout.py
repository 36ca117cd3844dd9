"""What every foreign layout is: a name, a way to recognise it, a way to read it.

Takes nothing.
Gives `Layout`, `ImportOptions` and `Imported`.
"""

import abc
import dataclasses
import math
from pathlib import Path

from echoscape.checks import InputError
from echoscape.reports.finding import Finding
from echoscape.reports.geometry import check_geometry
from echoscape.reports.importing.column_names import parse_statements
from echoscape.reports.importing.columns_to_rows import Choices, Note
from echoscape.reports.report import Reports


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """What a user may state of a source."""

    station: tuple[str, ...] = ()
    """Names of the stations, in their order in the source."""
    strongest: int | None = None
    """How many paths of each report to keep; all if not given."""
    angle_std: float | None = None
    """Standard deviation of every angle; not stated if not given [rad]."""
    length_std: float | None = None
    """Standard deviation of every path's length; not stated if not given [m]."""
    clockwise: bool = False
    """Angles run clockwise from the headings."""
    transmit_power: float | None = None
    """What was transmitted, where powers are received powers [dBm]."""
    column: tuple[str, ...] = ()
    """Meanings of columns, each ``COLUMN=QUANTITY`` or ``COLUMN=QUANTITY:UNIT``."""

    def __post_init__(self):
        """Refuse deviations and powers that are none."""
        power = self.transmit_power
        if power is not None and not -200 < power < 200:
            raise InputError(f"transmit_power must lie between -200 and 200, in dBm; got {power:g}")
        for name, unit in (("angle_std", "rad"), ("length_std", "m")):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be finite and above zero, in {unit}; got {value:g}")

    def choices(self) -> Choices:
        """Give what the understanding of columns needs."""
        return Choices(
            parse_statements(self.column), self.station, self.clockwise, self.transmit_power
        )

    def names(self, found: list[str]) -> tuple[str, ...]:
        """Name the stations of a source that has so many."""
        if self.station and len(self.station) != len(found):
            raise InputError(
                f"{len(self.station)} names of stations came for {len(found)} stations: "
                f"{', '.join(found[:6])}"
            )
        return tuple(self.station or found)


@dataclasses.dataclass(frozen=True)
class Imported:
    """Reports out of a foreign source."""

    reports: Reports
    """The reports."""
    notes: tuple[Note, ...]
    """What each quantity was taken from."""
    layout: str = ""
    """Name of the layout."""

    def findings(self) -> tuple[Finding, ...]:
        """Check the reports against geometry."""
        return check_geometry(self.reports)


class Layout(abc.ABC):
    """One foreign layout."""

    name: str
    """What ``--layout`` calls it."""
    files: str
    """Which files it has, for people."""

    @abc.abstractmethod
    def recognises(self, source: Path) -> bool:
        """Tell whether a source is certainly of this layout; looks no deeper than it must."""

    @abc.abstractmethod
    def read(self, source: Path, options: ImportOptions) -> Imported:
        """Read a source.

        Raises:
            InputError: It cannot be read; the message says how to repair it.
        """
